"""Studies: one recipe in several variants, each run with several seeds and compared by seed and by example."""
