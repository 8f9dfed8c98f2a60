"""Blocks of a page, and a page as HTML with its figures and tables as files."""
