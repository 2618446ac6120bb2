"""Scale weights turned into tables and figures; plots.py is the only home of matplotlib."""
