"""Chooses the next trial: strategies, limits, selection of finalists and early stopping."""
