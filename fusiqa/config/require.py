"""Settings held against the interval that they are allowed in."""

from __future__ import annotations

from fusiqa.errors import FusiqaError


def require_positive(name: str, value: float) -> None:
    """Raise FusiqaError if a setting is 0, negative or no number.

    Example:
        >>> require_positive("temperature", 0.0)
        Traceback (most recent call last):
        fusiqa.errors.FusiqaError: --temperature 0.0: allowed is above 0
    """
    if not value > 0:
        raise FusiqaError(f"--{name} {value}: allowed is above 0")


def require(name: str, value: float | None, *, at_least: float, below: float | None = None) -> None:
    """Raise FusiqaError if a setting is given and outside its interval.

    Example:
        >>> require("epochs", 0, at_least=1)
        Traceback (most recent call last):
        fusiqa.errors.FusiqaError: --epochs 0: allowed is 1 and more
    """
    if value is None or (value >= at_least and (below is None or value < below)):
        return
    allowed = f"{at_least} and more" if below is None else f"{at_least} to below {below}"
    raise FusiqaError(f"--{name} {value}: allowed is {allowed}")
