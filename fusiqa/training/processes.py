"""Where another process of a training on several devices ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from lightning.pytorch.callbacks import Callback

PROCESS_LOST = re.compile("connection (reset|closed|refused)|broken pipe|remote process exited|NCCL", re.IGNORECASE)
"""What gloo and NCCL say where another process of the training is gone."""
LOST = "another process of this training ended; run the same command with `resume` to continue"
PATIENCE_S = 30.0  # after the end of another process, for this one to fail by itself


class WatchProcesses(Callback):
    """End this process with a line where one that it started failed and this one waits for it, as NCCL does."""

    # Lightning's own watch kills this process within five seconds, before it has said why.
    def __init__(self) -> None:
        self.failed = threading.Event()  # this process did

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        launcher = trainer.strategy.launcher
        if watched := list(getattr(launcher, "procs", [])):
            launcher.procs.clear()  # the list that Lightning watches
            launcher.procs = watched  # what it ends where this process fails
            threading.Thread(target=self.watch, args=[watched], daemon=True).start()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.failed.set()

    def watch(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        while not any(each.poll() for each in processes):
            time.sleep(1)
        if self.failed.wait(PATIENCE_S):
            return
        print(f"error: {LOST.replace('`resume`', '--resume')}", file=sys.stderr, flush=True)
        for each in processes:
            each.kill()
            each.wait()
        os._exit(2)  # the only way out of a call that waits
