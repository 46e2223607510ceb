"""What happens inside a worker: latency, memory and accuracy of one case."""
