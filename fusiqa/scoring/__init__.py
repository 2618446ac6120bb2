"""Scores for images that nobody rated: from Python, the command line, a page, other runtimes and clusters."""
