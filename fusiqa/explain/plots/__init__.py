"""Figures from tables, written atomically and returned; the suffix is the format. The only home of matplotlib."""
