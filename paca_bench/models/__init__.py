"""The controlled host pyramid."""
