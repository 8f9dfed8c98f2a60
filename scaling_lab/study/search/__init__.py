"""Which trial is next: strategies, limits, the selection of finalists, early stopping."""
