"""What a command says of images that it goes on without. It knows no model."""

from __future__ import annotations

from collections.abc import Callable

from fusiqa.data.audit import check
from fusiqa.data.ratings import Ratings
from fusiqa.errors import LISTED_AT_MOST

Say = Callable[[str], None]
"""Receives each line that is meant for the user."""


def usable(ratings: Ratings, *, rated: bool, progress: bool, say: Say) -> Ratings:
    """The images that can be read; of those that cannot, the first five are said, and how many there are.

    Args:
        ratings: to be looked at.
        rated: whether a row without a rating is unusable too.
        progress: show a bar on standard error.
        say: told what is left out.

    Raises:
        FusiqaError: nothing can be read.
    """
    checked = check(ratings, skip_broken=True, progress=progress, rated=rated)
    for row in checked.broken[:LISTED_AT_MOST]:
        say(f"notice: left out {row.image}: {row.reason}")
    if len(checked.broken) > LISTED_AT_MOST:
        say(f"notice: {len(checked.broken)} images were left out in all")
    return checked.ratings
