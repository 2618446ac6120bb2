"""Whole runs, from a configuration to a run folder."""
