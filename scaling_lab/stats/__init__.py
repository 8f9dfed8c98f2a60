"""Statistics on plain numbers and arrays: estimates, tests, ranks, resampling, posterior samples, fronts, scaling laws.

Each module maps numbers to numbers, as arrays or small frozen dataclasses. Distribution functions, rank correlations
and special functions are scipy's. The report makes tables and sentences.
"""
