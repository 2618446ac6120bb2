"""How many cores this process may use, which threads and worker processes are counted by. It knows no image."""

from __future__ import annotations

import os


def cores() -> int:
    """Cores that this process may use, at least 1: fewer than the machine has where it is bound to some of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
