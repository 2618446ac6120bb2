"""What a server counts, for Prometheus. Each application has a registry of its own."""

from __future__ import annotations

from contextlib import AbstractContextManager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from fusiqa.serving.score import Score
from fusiqa.serving.web.batching import Batcher


class Metrics:
    """Photographs by outcome, seconds of requests, passes through the network, photographs that wait."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, batcher: Batcher) -> None:
        self.registry = CollectorRegistry()
        self._photographs = Counter("fusiqa_photographs", "Photographs by outcome", ["outcome"], registry=self.registry)
        self._seconds = Histogram("fusiqa_request_seconds", "Seconds of scoring requests", registry=self.registry)
        waiting = Gauge("fusiqa_waiting", "Photographs that wait for their score", registry=self.registry)
        waiting.set_function(lambda: batcher.waiting)
        batches = Gauge("fusiqa_batches", "Groups of photographs scored together so far", registry=self.registry)
        batches.set_function(lambda: batcher.batches)

    def count(self, score: Score) -> None:
        self._photographs.labels("scored" if score.ok else "unreadable").inc()

    def timed(self) -> AbstractContextManager:
        """Takes the time of a request."""
        return self._seconds.time()

    def text(self) -> bytes:
        return generate_latest(self.registry)
