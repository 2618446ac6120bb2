"""The network, in plain torch."""
