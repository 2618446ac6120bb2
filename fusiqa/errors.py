"""The error that a user's mistake raises, and words for its messages."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

LISTED_AT_MOST = 5


class FusiqaError(ValueError):
    """Invalid input from the user; the message says what was expected, what was given and what to do.

    The command line prints the message without a traceback and ends with exit code 2.
    """


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Turn a missing package into a FusiqaError that names what needs it and the extra that installs it."""
    try:
        yield
    except ImportError as absent:
        raise FusiqaError(f"{what} needs {absent.name}: pip install 'fusiqa[{extra}]'") from absent


def listed(offenders: Sequence[str]) -> str:
    """The first five offenders, then how many there are in all.

    Example:
        >>> listed(["a.jpg", "b.jpg"])
        'a.jpg, b.jpg'
        >>> listed([f"{n}.jpg" for n in range(7)])
        '0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, ... (7 in all)'
    """
    shown = ", ".join(offenders[:LISTED_AT_MOST])
    return shown if len(offenders) <= LISTED_AT_MOST else f"{shown}, ... ({len(offenders)} in all)"
