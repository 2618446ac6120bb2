"""The scoring engine of the command line, the page, evaluation and Python: images of any size to results."""

from __future__ import annotations

import math
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache, cached_property, partial
from importlib.util import find_spec
from itertools import chain, islice
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Shaped

from fusiqa.config.commands import Runtime
from fusiqa.config.model import FLAWS, ScoreRange
from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import Resize
from fusiqa.scoring.inputs import ImageInput, image_of, images_in, is_many
from fusiqa.scoring.models import ONNX_FILE, ModelInfo, Network, find, source_of
from fusiqa.scoring.onnx import OnnxNetwork
from fusiqa.scoring.result import CropScores, Result
from fusiqa.scoring.views import NO_VIEWS, Views, stacked, views_of, windows_of

if TYPE_CHECKING:
    from torch import Tensor

OtherViews = Shaped[np.ndarray, "_ ..."]  # of a network that sees something else than images
SCORER_SETTINGS = ("device", "backend", "readers", "tolerate_truncated", "windows")  # of `score`, by either engine
OUT_OF_MEMORY = re.compile(
    "out of memory|(can't|failed to) allocate|bad.alloc|alloc_failed|could not create a (memory|primitive)",
    re.IGNORECASE,
)
NO_NUMBER = "the model gives no finite number for it; its weights or its arithmetic are damaged"
GPU_FILES = ("/dev/nvidia0", "/dev/dxg", "/dev/kfd", "C:/Windows/System32/nvcuda.dll")
"""One of them exists where there may be a GPU that torch can use: asking torch would import it."""


class Scored(NamedTuple):
    """Of one image: weighted means over its views, and the scores of its parts with their standard deviation."""

    score: float
    spread: float  # NaN of one part
    scale_weights: list[float] | None
    flaws: list[float] | None
    parts: Float[np.ndarray, " parts"]  # the windows of its views where the network gave them, else the views


def score_views(network: Network, images: Sequence[Views | OtherViews]) -> Iterator[Scored]:
    """Score images by a network, in float64; their views are packed into passes of bounded size.

    An image is its views, or an array of views that weigh the same; one without views scores NaN.
    """
    stacks = stacked(chain.from_iterable(images), network.at_once)
    passes = zip(*(part for stack in stacks for part in in_parts(network, stack)), strict=True)
    outputs: list[Any] = [None if given[0] is None else np.concatenate(given) for given in passes]
    end = 0
    for views in images:
        start, end = end, end + len(views)
        if start == end:
            yield Scored(np.nan, np.nan, None, None, np.empty(0))
            continue
        weights = views.weights if isinstance(views, Views) else np.ones(len(views))
        mine: list[Any] = [None if given is None else given[start:end] for given in outputs]
        yield averaged(weights, *mine)


def in_parts(network: Callable[[Any], Any], stack: Any) -> Iterator[Any]:
    """The outputs of a network for views: of all at once, or out of memory of halves, recursively, with one notice.

    Raises FusiqaError where the memory does not suffice for a single view.
    """
    try:
        made = [network(stack)]
    except Exception as fault:
        if not is_out_of_memory(fault):
            raise
        made = []
    if not made and len(stack) == 1:
        raise FusiqaError(f"the memory does not suffice for one view of shape {tuple(stack.shape[1:])}")
    if not made:
        _say_once("notice: out of memory; the network takes fewer views at once")
        half = len(stack) // 2
        made = [*in_parts(network, stack[:half]), *in_parts(network, stack[half:])]
    yield from made


def is_out_of_memory(fault: Exception) -> bool:
    """Whether torch, CUDA, ONNX Runtime or numpy ran out of memory, for which each has its own error."""
    return isinstance(fault, MemoryError) or OUT_OF_MEMORY.search(str(fault)) is not None


@cache
def _say_once(text: str) -> None:
    print(text, file=sys.stderr)


def averaged(
    weights: Float[np.ndarray, " views"],
    score: Float[np.ndarray, " views"],
    scale_weights: Float[np.ndarray, "views 4"] | None,
    flaws: Float[np.ndarray, "views flaws"] | None,
    windows: Float[np.ndarray, "views 9"] | None,
) -> Scored:
    """The `Outputs` for the views of one image, averaged by weight."""
    parts = score[:, None] if windows is None else windows
    mean = np.average(parts.mean(axis=1), weights=weights)
    variance = np.average(((parts - mean) ** 2).mean(axis=1), weights=weights)
    spread = float(np.sqrt(variance)) if parts.size > 1 else np.nan
    means: list[Any] = [
        None if given is None else np.average(given, axis=0, weights=weights).tolist()
        for given in (score, scale_weights, flaws)
    ]
    return Scored(means[0], spread, means[1], means[2], parts.ravel())


class Prepared(NamedTuple):
    """An image that is read and resized: its result before it is scored, and its views, none if unreadable."""

    result: Result
    views: Views


class Scorer:
    """Scores images. The same image gets the same score alone, in any batch and in any order.

    A score is that of the whole image, or the mean over crops that cover it to its edges, as the model sees images.

    Args:
        model: a name (`fusiqa.list_models()` lists those in the package), a run folder, a model.safetensors or
            model.onnx, or "owner/name" on the Hugging Face hub; by default the model in the package.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        backend: "onnx" is ONNX Runtime, which needs no torch where the model has a model.onnx; "torch"; "auto" takes
            ONNX Runtime on a CPU if the model has a model.onnx, else torch.
        readers: threads that decode images while the network computes.
        windows: with a model that sees images whole, score 3x3 windows of each too, for `Result.spread` and heat maps:
            half as much work again. A model of crops always has them.
        tolerate_truncated: score JPEGs that break off; `Result.note` says so. By default they are errors.

    Raises:
        FusiqaError: no such model or device, or what runs it is not installed.

    Example:
        >>> scorer = Scorer()
        >>> result = scorer(np.full((240, 320, 3), 127, np.uint8))
        >>> result.score_range.low <= result.score <= result.score_range.high, result.higher_is_better
        (True, True)
        >>> [result.ok for result in scorer.many(["missing.jpg", np.zeros((64, 64, 3), np.uint8)])]
        [False, True]
    """

    def __init__(
        self,
        model: str | PathLike[str] | None = None,
        *,
        device: str = "auto",
        backend: Runtime = "auto",
        readers: int = 2,
        windows: bool = False,
        tolerate_truncated: bool = False,
    ) -> None:
        self._chosen = model, device, backend
        self.network: Network = load_network(model, device=device, backend=backend, windows=windows)
        self.readers, self.tolerate_truncated = max(1, readers), tolerate_truncated
        self._resize = Resize.parse(self.info.resize, view=self.info.view)

    def __repr__(self) -> str:
        low, high = self.score_range
        return f"Scorer({self.info.name}, scores {low:g} to {high:g}, higher is better)"

    @property
    def info(self) -> ModelInfo:
        """Name, score range, crop size and preprocessing of the model, and where it comes from."""
        return self.network.info

    @property
    def score_range(self) -> ScoreRange:
        return self.info.score_range

    def passes(self, prepared: Sequence[Prepared]) -> float:
        """How many passes of the network the views of images fill."""
        return round(sum(1 / self.network.at_once(view.shape) for _, views in prepared for view in views), 9)

    def __call__(self, image: Any) -> Result:
        """Score one image. Raises FusiqaError for one that cannot be read, and for several of them.

        Args:
            image: a path, bytes, a file object, a PIL image, an array (height, width, 3) of uint8 or of floats in 0-1,
                or a tensor (3, height, width).
        """
        if is_many(image):
            raise FusiqaError("expected one image; `many` or `stream` score several")
        (result,) = self.score_prepared([self.prepare(image_of(image))])
        if not result.ok:
            raise FusiqaError(f"{result.name}: {result.error}")
        return result

    def many(self, images: Any) -> list[Result]:
        """Score several images, in order; the result of one that cannot be read has an `error`.

        Args:
            images: a list or generator of what a call takes, a 4-D array (images, height, width, 3), or a 4-D tensor
                (images, 3, height, width). A single image raises FusiqaError.
        """
        return list(self.stream(images))

    def stream(self, images: Any) -> Iterator[Result]:
        """As `many`, one result after the other in bounded memory; a generator may go on for ever.

        Images are read ahead: a generator must not change an array that it has given. Where a generator raises, so does
        this, after the results of the images before.
        """
        if not is_many(images):
            raise FusiqaError("expected several images; call the scorer itself with one")
        return self._stream(images_in(images))

    def _stream(self, images: Iterator[ImageInput]) -> Iterator[Result]:
        """Images are decoded ahead by the readers, in order; as many as there are readers, and one, are in memory."""
        ready: list[Prepared] = []
        failures: list[Exception] = []  # of a generator, raised when what it gave before is scored
        pool = ThreadPoolExecutor(self.readers, thread_name_prefix="reader")

        def submitted() -> Iterator[Future[Prepared]]:
            try:
                for each in images:
                    yield pool.submit(self.prepare, each)
            except Exception as failure:
                failures.append(failure)

        try:
            coming = submitted()
            waiting = deque(islice(coming, self.readers))
            while waiting:
                ready.append(waiting.popleft().result())
                waiting.extend(islice(coming, 1))
                if self.passes(ready) >= 1 or not ready[-1].result.ok:
                    yield from self.score_prepared(ready)
                    ready = []
            yield from self.score_prepared(ready)
            if failures:
                raise failures[0]
        finally:
            pool.shutdown(cancel_futures=True)

    def prepare(self, image: ImageInput) -> Prepared:
        """Read and resize an image; the slow part that many threads can do at once. Raises nothing."""
        known = partial(Result, image.name, math.nan, self.score_range, self.info.name)
        image = replace(image, tolerate_truncated=self.tolerate_truncated)
        try:
            resized, (height, width), note = image.resized(self._resize)
        except FusiqaError as error:
            return Prepared(known(error=" ".join(str(error).removeprefix(f"{image.name}: ").split())), NO_VIEWS)
        views = views_of(resized, self.info.crop_size, view=self.info.view)
        return Prepared(known(width=width, height=height, note=note, image=image), views)

    def score_prepared(self, prepared: Sequence[Prepared]) -> Iterator[Result]:
        """Score images that were prepared, together."""
        scored = score_views(self.network, [views for _, views in prepared])
        for (result, views), (score, spread, weights, flaws, parts) in zip(prepared, scored, strict=True):
            if result.ok and not math.isfinite(score):
                result = replace(result, error=NO_NUMBER)
            if result.ok:
                boxes = views.boxes if len(parts) == len(views) else windows_of(views.boxes)
                found: dict[str, Any] = {"score": score, "spread": spread, "crops": CropScores(boxes, parts)}
                found["scale_weights"] = None if weights is None else tuple(weights)
                found["flaws"] = None if flaws is None else dict(zip(FLAWS, flaws, strict=True))
                result = replace(result, **found)
            yield result

    def loss(self, images: Tensor) -> Tensor:
        """How far images fall short of the best score, 0 (best) to 1, averaged; gradients reach the pixels.

        Args:
            images: (batch, 3, height, width), floats in 0-1, of any size; FusiqaError for others, and with ONNX.
        """
        from fusiqa.scoring.loss import quality_loss

        return quality_loss(self._differentiable, images)

    @cached_property
    def _differentiable(self) -> Network:
        """The network in torch with backend "auto"; else the one that was asked for."""
        model, device, backend = self._chosen
        swap = backend == "auto" and isinstance(self.network, OnnxNetwork)
        return load_network(model, device=device, backend="torch") if swap else self.network


def load_network(model: str | PathLike[str] | None, *, device: str, backend: str, windows: bool = False) -> Network:
    """A model by name, in the runtime asked for or the one that suits it. Raises FusiqaError as `Scorer`."""
    if backend not in get_args(Runtime):
        raise FusiqaError(f"`backend` must be auto, torch or onnx, got {backend!r}")
    path, name = find(model)
    if path.suffix.lower() == ".onnx" and backend != "torch":
        return OnnxNetwork(path, device=device, windows=windows)
    made, has_torch = (path if path.is_dir() else path.parent) / ONNX_FILE, find_spec("torch") is not None
    with_torch = has_torch and (path.is_file() or _has_gpu(device))  # whoever names the weights means them
    if made.is_file() and (backend == "onnx" or (backend == "auto" and not with_torch)):
        why = f"{made} was exported from another model than the one beside it"
        try:
            network = OnnxNetwork(made, device=device, windows=windows)
            if network.stated.get("source") == source_of(path):
                return network
        except FusiqaError as reason:
            if backend == "onnx" or not has_torch:
                raise
            why = str(reason)
        print(f"notice: {made.name} is not used: {why}", file=sys.stderr)
    if not has_torch:
        raise FusiqaError(f"{name} needs torch, as it has no {ONNX_FILE} that fits it: pip install 'fusiqa[torch]'")
    from fusiqa.scoring.torch import exported_once, load_torch_network

    if backend == "onnx":
        return OnnxNetwork(exported_once(path, name=name), device=device, windows=windows)
    return load_torch_network(path, name=name, device=device, windows=windows)


def _has_gpu(device: str) -> bool:
    """Whether a device is, or with "auto" would be, not the CPU. Imports torch only where there may be a GPU."""
    if device != "auto" or not any(map(os.path.exists, GPU_FILES)):
        return device not in ("auto", "cpu")
    from fusiqa.scoring.torch import choose_device

    return choose_device(device).type != "cpu"
