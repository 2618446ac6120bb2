"""One queue for the images of all requests: decoded ahead by two threads, scored by one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from fusiqa.scoring.inputs import ImageInput
from fusiqa.scoring.result import Result
from fusiqa.scoring.scorer import Prepared, Scorer

READING_THREADS = 2
READY_AT_MOST = 16  # decoded images in memory


class BusyError(Exception):
    """More images wait than may."""


class ScoringQueue:
    """Scores images from any number of tasks, in order; at most `max_waiting` wait.

    Images that wait at the same time share a pass of the network where it takes that many views: on a GPU. On a CPU
    one image fills a pass.
    """

    def __init__(self, scorer: Scorer, *, max_waiting: int) -> None:
        self.scorer, self.max_waiting = scorer, max_waiting
        self.waiting = self.batches = 0
        self.closed = False
        self._room = asyncio.Semaphore(READY_AT_MOST)
        self._ready: deque[tuple[Prepared, Future[Result]]] = deque()
        self._readers = ThreadPoolExecutor(READING_THREADS, thread_name_prefix="reader")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")

    async def score(self, images: Sequence[ImageInput]) -> list[Result]:
        """The results of images, in order, with its error for one that cannot be read. Raises BusyError."""
        if self.waiting + len(images) > self.max_waiting:
            raise BusyError
        self.waiting += len(images)
        try:
            return await asyncio.gather(*map(self._score_one, images))
        finally:
            self.waiting -= len(images)

    async def _score_one(self, image: ImageInput) -> Result:
        async with self._room:
            prepared = await asyncio.get_running_loop().run_in_executor(self._readers, self.scorer.prepare, image)
            result: Future[Result] = Future()
            self._ready.append((prepared, result))
            self._thread.submit(self._score_next)
            return await asyncio.wrap_future(result)

    def close(self) -> None:
        """End the threads after the image that each works on; images that wait are not scored."""
        self.closed = True
        for pool in (self._readers, self._thread):
            pool.shutdown(cancel_futures=True)

    def _score_next(self) -> None:
        """Score the first image that waits, and those after it that fit into the same pass.

        It is called once for each image, so that none is left; images whose task has ended are skipped.
        """
        batch: list[tuple[Prepared, Future[Result]]] = []
        while self._ready and (not batch or self.scorer.passes([self._ready[0][0], *(each for each, _ in batch)]) <= 1):
            prepared, result = self._ready.popleft()
            if result.set_running_or_notify_cancel():
                batch.append((prepared, result))
        self.batches += bool(batch)
        try:
            scores = self.scorer.score_prepared([prepared for prepared, _ in batch])
            for (_, result), score in zip(batch, scores, strict=True):
                result.set_result(score)
        except Exception as fault:  # of the network: raised in the tasks of this batch, the thread goes on
            for _, result in batch:
                if not result.done():
                    result.set_exception(fault)
