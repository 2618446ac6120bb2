"""Metrics, intervals and comparisons: arrays in, numbers out."""
