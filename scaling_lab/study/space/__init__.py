"""A study's search space: calling and enumerating it, its baseline, and candidates sampled from it."""
