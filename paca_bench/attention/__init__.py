"""Attention mechanisms behind one interface; see ``registry`` and ``base``."""
