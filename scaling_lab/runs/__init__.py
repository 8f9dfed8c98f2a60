"""The folder of a run: how it lies on the disk, the tables of its ledger, and readers of both."""
