"""The CPU: how many cores this process may use, settings to make before torch is loaded, and one while training.

Only the command line makes the settings before; a library does not change the process that imports it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names and numbers of glibc's malloc.h
LARGEST_FROM_THE_HEAP = 32 * 2**20  # bytes; glibc takes no higher threshold
KEPT_FREE = 2**27  # bytes; with 2**30 a training step took 3 to 6 % more memory, and no less time


def prepare_cpu() -> None:
    """Let idle OpenMP threads sleep, and keep freed memory instead of returning it to the system after every layer.

    Idle threads spin by default, which slows a busy machine: on two cores shared with another program, scoring went
    from 0.24 to 3.3 images a second. Memory that is returned after each layer is mapped again page by page: 3.0 to 5.1
    images a second by keeping it. $OMP_WAIT_POLICY and $MALLOC_... of the user take precedence.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not any(name.startswith("MALLOC_") for name in os.environ):
        keep_memory()


def keep_memory() -> bool:
    """Let malloc keep what is freed, up to 128 MiB. Returns whether this system's malloc can (glibc)."""
    mallopt = getattr(ctypes.CDLL(None) if os.name == "posix" else None, "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_FROM_THE_HEAP) and mallopt(M_TRIM_THRESHOLD, KEPT_FREE))


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Within this context torch takes numbers below 1.2e-38 for zero, on processors that can.

    The gradients of a target network whose sigmoids are saturated are full of them, and a processor computes with them
    many times slower. It holds for this thread and for those that it starts, so enter it before the first computation.
    """
    import torch  # here, because scoring does without

    before = torch.tensor(1e-40).mul(1).item() == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def cores() -> int:
    """Cores that this process may use, at least 1: fewer than the machine has where it is bound to some of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
