"""Scores for photographs that nobody rated: from Python, the command line, a page, other runtimes and clusters."""
