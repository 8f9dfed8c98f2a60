"""Figures of a report: one file each, every figure a function of a table."""
