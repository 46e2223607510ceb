"""Pure functions from a DataFrame to estimates with intervals; no torch."""
