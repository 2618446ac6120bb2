"""`fusiqa ablate`: train the variants of a question over several seeds, compare them paired, and report."""
