"""Runs as something to read: one self-contained HTML file, and a terminal summary."""
