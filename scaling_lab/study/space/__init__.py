"""A study's search space: calling it, enumerating it, its baseline, candidates drawn from it."""
