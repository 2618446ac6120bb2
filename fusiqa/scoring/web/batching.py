"""Images of many requests scored together: read by some threads, scored by one. It knows no HTTP."""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from fusiqa.scoring.inputs import ImageInput
from fusiqa.scoring.result import Score
from fusiqa.scoring.scorer import Prepared, Scorer

READERS = 2
READY_AT_MOST = 16  # images that are read and wait for the network: what bounds the memory

Waiting = tuple[Prepared, Future[Score]]


class BusyError(Exception):
    """More images wait than may."""


class Batcher:
    """Scores images from any number of tasks; those that wait at the same time go through the network together.

    Args:
        scorer: what scores them; an image's score does not depend on the others.
        max_waiting: images that may wait; one more is a `BusyError`.
    """

    def __init__(self, scorer: Scorer, *, max_waiting: int) -> None:
        self.scorer = scorer
        self.max_waiting = max_waiting
        self.waiting = 0
        self.batches = 0
        self._ready: queue.Queue[Waiting | None] = queue.Queue()
        self._room = asyncio.Semaphore(READY_AT_MOST)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._worker = threading.Thread(target=self._work, name="scorer", daemon=True)
        self._worker.start()

    async def score(self, image: ImageInput) -> Score:
        """The score of an image, or a `Score` with its error. Raises BusyError at once where too many wait."""
        if self.waiting >= self.max_waiting:
            raise BusyError
        self.waiting += 1
        try:
            async with self._room:
                loop = asyncio.get_running_loop()
                prepared = await loop.run_in_executor(self._readers, self.scorer.prepare, image)
                result: Future[Score] = Future()
                self._ready.put((prepared, result))
                return await asyncio.wrap_future(result)
        finally:
            self.waiting -= 1

    @property
    def alive(self) -> bool:
        """Whether the thread that scores runs."""
        return self._worker.is_alive()

    def close(self) -> None:
        """End the threads; what waits is not scored."""
        self._ready.put(None)
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _work(self) -> None:
        while (first := self._ready.get()) is not None:
            batch = [first, *self._others(len(first[0].corners))]
            self.batches += 1
            self._answer(batch)

    def _others(self, crops: int) -> list[Waiting]:
        """What else is ready, until one pass of the network is full."""
        others = []
        while crops < self.scorer.network.crops_at_once:
            try:
                each = self._ready.get_nowait()
            except queue.Empty:
                break
            if each is None:
                self._ready.put(None)
                break
            others.append(each)
            crops += len(each[0].corners)
        return others

    def _answer(self, batch: list[Waiting]) -> None:
        """Score and hand out; a fault of the network is every waiting task's, and must not end the thread."""
        wanted = [each for each in batch if each[1].set_running_or_notify_cancel()]
        try:
            scores = self.scorer.score_prepared([prepared for prepared, _ in wanted])
            for (_, result), score in zip(wanted, scores, strict=True):
                result.set_result(score)
        except Exception as fault:
            for _, result in wanted:
                if not result.done():
                    result.set_exception(fault)
