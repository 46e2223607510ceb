"""Fair, uncertainty-aware benchmarks of vision attention."""
