"""Figures of a report: one file a figure, each a function of a table."""
