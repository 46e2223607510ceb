"""Labelled images for the accuracy metric."""
