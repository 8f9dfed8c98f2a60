"""The folder of a run: its layout, the tables of its ledger, and readers."""
