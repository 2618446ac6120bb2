"""`python visualize_attention.py` is `fusiqa attention`."""

from fusiqa.cli import main_of

if __name__ == "__main__":
    main_of("attention", "visualize_attention.py")
