"""What a server counts, for Prometheus. Each application has a registry of its own."""

from __future__ import annotations

from contextlib import AbstractContextManager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from fusiqa.scoring.result import Score
from fusiqa.scoring.web.batching import Batcher


class Metrics:
    """Images by outcome, seconds of requests, passes through the network, images that wait."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, batcher: Batcher) -> None:
        self.registry = CollectorRegistry()
        self._images = Counter("fusiqa_images", "Images by outcome", ["outcome"], registry=self.registry)
        self._seconds = Histogram("fusiqa_request_seconds", "Seconds of scoring requests", registry=self.registry)
        waiting = Gauge("fusiqa_waiting", "Images that wait for their score", registry=self.registry)
        waiting.set_function(lambda: batcher.waiting)
        batches = Gauge("fusiqa_batches", "Groups of images scored together so far", registry=self.registry)
        batches.set_function(lambda: batcher.batches)

    def count(self, score: Score) -> None:
        self._images.labels("scored" if score.ok else "unreadable").inc()

    def timed(self) -> AbstractContextManager:
        """Takes the time of a request."""
        return self._seconds.time()

    def text(self) -> bytes:
        return generate_latest(self.registry)
