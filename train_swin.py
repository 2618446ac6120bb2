"""`python train_swin.py` is `fusiqa train`."""

import sys

from fusiqa.cli import run

if __name__ == "__main__":
    run("train", sys.argv[1:], "train_swin.py")
