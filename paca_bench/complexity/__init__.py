"""What a mechanism must cost: closed forms, counters and predicted memory."""
