"""Sections of a report: each takes analysis and gives blocks with their few sentences."""
