"""What the scale weights of a model say: tables, paired shifts, a test of the hypothesis, and figures (plots/)."""
