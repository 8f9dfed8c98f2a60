"""Sections of a report: each turns analysis into blocks with a few sentences."""
