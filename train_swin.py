"""`python train_swin.py` is `fusiqa train`."""

from fusiqa.cli import main_of

if __name__ == "__main__":
    main_of("train", "train_swin.py")
