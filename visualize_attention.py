"""`python visualize_attention.py` is `fusiqa attention`."""

import sys

from fusiqa.cli import run

if __name__ == "__main__":
    run("attention", sys.argv[1:], "visualize_attention.py")
