"""Tables of a report, computed from runs: numbers in, numbers out."""
