"""Many settings and seeds: sweeps, many runs, the experiments of the papers."""
