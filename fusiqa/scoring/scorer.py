"""Any image, of any size, from anywhere -> its score: the one way in for the command line, the page and users."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fusiqa.config import ScoreRange
from fusiqa.errors import FusiqaError
from fusiqa.scoring.decode import Pixels
from fusiqa.scoring.find import load_network
from fusiqa.scoring.geometry import OVERLAP, Resize, cover, pad_to
from fusiqa.scoring.inputs import ImageInput, image_of, images_in, is_many
from fusiqa.scoring.result import CropScores, Score
from fusiqa.scoring.runtime import Facts, Network

if TYPE_CHECKING:
    from torch import Tensor

READERS = 2  # threads that decode while the network computes; each holds one image
Corner = tuple[int, int]


@dataclass(frozen=True)
class Prepared:
    """An image after the resize protocol, at least one crop large, and where its crops lie.

    Attributes:
        image: which one.
        pixels: uint8 (height, width, 3); empty where it could not be read.
        corners: (top, left) of each crop in `pixels`.
        boxes: (crops, 4), each crop as shares of the image.
        size: (height, width) of the image as it came.
        error: why it could not be read.
    """

    image: ImageInput
    pixels: Pixels
    corners: list[Corner]
    boxes: np.ndarray
    size: tuple[int, int]
    error: str | None = None


class Scorer:
    """Scores images. The same image gets the same score alone, in any batch and in any order.

    A score is the mean over crops that cover the image to its edges, after the resize protocol of the model.

    Args:
        model: a name (`fusiqa.scoring.find.names()` lists those in the package), a run folder, a model.safetensors or
            model.onnx, or "owner/name" on the Hugging Face hub; by default the model in the package.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        backend: "torch", or "onnx", which needs onnxruntime and, for a model.onnx, no torch.
        readers: threads that decode images while the network computes.

    Raises:
        FusiqaError: no such model or device.

    Example:
        >>> scorer = Scorer()
        >>> score = scorer(np.full((240, 320, 3), 127, np.uint8))
        >>> score.score_range.low <= score.score <= score.score_range.high, score.higher_is_better
        (True, True)
    """

    def __init__(
        self,
        model: str | PathLike[str] | None = None,
        *,
        device: str = "auto",
        backend: Literal["torch", "onnx"] = "torch",
        readers: int = READERS,
    ) -> None:
        self.network: Network = load_network(model, device=device, backend=backend)
        self.readers = readers
        self._resize = Resize.parse(self.facts.resize)

    def __repr__(self) -> str:
        low, high = self.score_range
        return f"Scorer({self.facts.name}, scores {low:g} to {high:g}, higher is better)"

    @property
    def facts(self) -> Facts:
        """Name, score range, crop size and preprocessing of the model."""
        return self.network.facts

    @property
    def score_range(self) -> ScoreRange:
        return self.facts.score_range

    def __call__(self, given: Any) -> Score | list[Score]:
        """Score one image, or a list of them.

        Args:
            given: a path, bytes, a file object, a PIL image, an array (height, width, 3) of uint8 or of floats in 0-1,
                a tensor (3, height, width); or a list, generator, 4-D array or 4-D tensor of them.

        Returns:
            A `Score`; for several, a list of them, in order.

        Raises:
            FusiqaError: a single image that cannot be read. In a list, its `Score` has the `error` instead.
        """
        if is_many(given):
            return list(self.stream(given))
        (score,) = self.score_prepared([self.prepare(image_of(given))])
        if score.error is not None:
            raise FusiqaError(f"{score.name}: {score.error}")
        return score

    def stream(self, given: Any) -> Iterator[Score]:
        """Score images one after the other, in order, in bounded memory; what cannot be read has an `error`.

        Args:
            given: as for a call; a generator may go on for ever.
        """
        ready: list[Prepared] = []
        for prepared in self._prepared(images_in(given)):
            ready.append(prepared)
            if sum(len(each.corners) for each in ready) >= self.network.crops_at_once or not prepared.corners:
                yield from self.score_prepared(ready)
                ready = []
        yield from self.score_prepared(ready)

    def loss(self, images: Tensor) -> Tensor:
        """How far images fall short of the best score, 0 (best) to 1, averaged; gradients reach the pixels.

        Args:
            images: (batch, 3, height, width), floats in 0-1, of any size.

        Raises:
            FusiqaError: other shapes or types, or another backend than torch.
        """
        from fusiqa.scoring.loss import quality_loss

        return quality_loss(self.network, images)

    def _prepared(self, images: Iterable[ImageInput]) -> Iterator[Prepared]:
        """Images decoded ahead by the readers, in order; as many as there are readers, and one, are in memory."""
        waiting: deque[Future[Prepared]] = deque()
        pool = ThreadPoolExecutor(max(1, self.readers), thread_name_prefix="reader")
        try:
            coming = iter(images)
            waiting.extend(pool.submit(self.prepare, each) for each in islice(coming, max(1, self.readers)))
            while waiting:
                prepared = waiting.popleft().result()
                waiting.extend(pool.submit(self.prepare, each) for each in islice(coming, 1))
                yield prepared
        finally:
            pool.shutdown(cancel_futures=True)

    def prepare(self, image: ImageInput) -> Prepared:
        """Read and resize an image; the slow part that many threads can do at once. Raises nothing."""
        try:
            pixels = image.read()
            resized = self._resize.apply(pixels)
        except FusiqaError as error:
            reason = " ".join(str(error).removeprefix(f"{image.name}: ").split())
            return Prepared(image, np.empty((0, 0, 3), np.uint8), [], np.empty((0, 4)), (0, 0), reason)
        side = self.facts.crop_size
        padded = pad_to(resized, side, side)
        corners = cover(padded.shape[0], padded.shape[1], side, overlap=OVERLAP)
        return Prepared(image, padded, corners, boxes_of(corners, side, resized, padded), pixels.shape[:2])

    def score_prepared(self, prepared: list[Prepared]) -> Iterator[Score]:
        """Score images that were prepared, their crops packed into passes of bounded size."""
        parts = [self.network(crops) for crops in self._passes(prepared)]
        scores = np.concatenate([part for part, _ in parts]) if parts else np.empty(0)
        weights = np.concatenate([part for _, part in parts]) if parts and parts[0][1] is not None else None
        start = 0
        for each in prepared:
            mine = slice(start, start + len(each.corners))
            start = mine.stop
            yield self._result(each, scores[mine], None if weights is None else weights[mine])

    def _passes(self, prepared: list[Prepared]) -> Iterator[np.ndarray]:
        """The crops of images, uint8 (crops, side, side, 3), as many at once as suits the network."""
        side = self.facts.crop_size
        crops = (p.pixels[top : top + side, left : left + side] for p in prepared for top, left in p.corners)
        while taken := list(islice(crops, self.network.crops_at_once)):
            yield np.stack(taken)

    def _result(self, prepared: Prepared, scores: np.ndarray, weights: np.ndarray | None) -> Score:
        name, facts = prepared.image.name, self.facts
        if prepared.error is not None:
            return Score(name, float("nan"), facts.score_range, facts.name, error=prepared.error)
        return Score(
            name=name,
            score=float(scores.mean()),
            score_range=facts.score_range,
            model=facts.name,
            scale_weights=None if weights is None else tuple(weights.mean(axis=0).tolist()),
            spread=float(scores.std()),
            width=prepared.size[1],
            height=prepared.size[0],
            crops=CropScores(prepared.boxes, scores),
            image=prepared.image,
        )


def boxes_of(corners: list[Corner], side: int, resized: np.ndarray, padded: np.ndarray) -> np.ndarray:
    """Each crop as (left, top, right, bottom), shares of the image; what was mirrored outwards is cut off."""
    height, width = resized.shape[:2]
    above, before = (padded.shape[0] - height) // 2, (padded.shape[1] - width) // 2
    places = np.array([(left - before, top - above) for top, left in corners], float)
    return np.clip(np.hstack([places, places + side]) / [width, height, width, height], 0, 1)
