"""Statistics on plain numbers and arrays: estimates, tests, ranks, resampling, posterior samples, fronts, scaling laws.

Each module takes numbers and gives numbers, as arrays or small frozen dataclasses. Distribution functions, rank correlations
and special functions are scipy's. Tables and sentences belong to the report.
"""
