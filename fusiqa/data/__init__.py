"""Images and their ratings. This package knows no model and no trainer."""
