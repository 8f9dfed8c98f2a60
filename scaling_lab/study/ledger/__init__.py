"""The ledger of a run as the study engine writes it: the SQLite database, its rows, samples and provenance."""
