"""Settings held against the interval that they are allowed in."""

from __future__ import annotations

import math

from fusiqa.errors import FusiqaError

FINITE = ", but finite"


def require_positive(name: str, value: float) -> None:
    """Raise FusiqaError if a setting is 0, negative, infinite or no number.

    Example:
        >>> require_positive("temperature", 0.0)
        Traceback (most recent call last):
        fusiqa.errors.FusiqaError: --temperature 0.0: allowed is above 0
    """
    if not 0 < value < math.inf:
        raise FusiqaError(f"--{name} {value}: allowed is above 0" + FINITE * (value == math.inf))


def require(name: str, value: float | None, *, at_least: float, below: float | None = None) -> None:
    """Raise FusiqaError if a setting is given and outside its interval, infinite or no number.

    Example:
        >>> require("epochs", 0, at_least=1)
        Traceback (most recent call last):
        fusiqa.errors.FusiqaError: --epochs 0: allowed is 1 and more
    """
    if value is None or at_least <= value < (math.inf if below is None else below):
        return
    finite = FINITE * (value == math.inf)
    allowed = f"{at_least} and more{finite}" if below is None else f"{at_least} to below {below}"
    raise FusiqaError(f"--{name} {value}: allowed is {allowed}")
