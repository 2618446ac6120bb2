"""Figures from arrays and tables, the only home of matplotlib.

Each function writes its file atomically and returns the figure. The path's suffix is the format: .png, .pdf or .svg.
"""
