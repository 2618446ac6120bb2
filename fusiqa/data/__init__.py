"""Images and their ratings."""
