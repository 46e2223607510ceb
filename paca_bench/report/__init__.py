"""Pure functions from results to HTML and terminal text; no torch."""
