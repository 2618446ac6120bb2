"""Settings held against bounds one by one; `check_fields` does it from annotations."""

from __future__ import annotations

from typing import Annotated

from fusiqa.config.checks import Bounds, check


def require_positive(name: str, value: float) -> None:
    """Raise FusiqaError if a setting is 0, negative, infinite or no number.

    Example:
        >>> require_positive("temperature", 0.0)
        Traceback (most recent call last):
        fusiqa.errors.FusiqaError: `temperature` must be above 0, got 0.0
    """
    check(name, value, Annotated[float, Bounds(above=0)])


def require(name: str, value: float | None, *, at_least: float, below: float | None = None) -> None:
    """Raise FusiqaError if a setting is given and outside its interval, infinite or no number.

    Example:
        >>> require("epochs", 0, at_least=1)
        Traceback (most recent call last):
        fusiqa.errors.FusiqaError: `epochs` must be at least 1, got 0
    """
    check(name, value, Annotated[float | None, Bounds(at_least=at_least, below=below)])
