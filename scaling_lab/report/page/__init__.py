"""A page from blocks, written as HTML, with its figures and tables as files."""
