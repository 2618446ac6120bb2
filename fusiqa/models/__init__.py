"""The network in plain torch: it knows no data set and no trainer."""
