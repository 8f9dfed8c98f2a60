"""Answers to the paper's questions: kept beside the code that made them, in sentences, and checked against it."""
