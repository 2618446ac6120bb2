"""Fitting a model to ratings: the only home of Lightning."""
