"""Scores of images, without torch: from Python, the command line, a page and clusters."""
