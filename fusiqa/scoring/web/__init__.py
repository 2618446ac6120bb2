"""A page and an HTTP API around a scorer; the only home of the web framework."""
