"""Images per second of `fusiqa score`, torch beside ONNX: python benchmarks/scoring.py

From the file to the score, with the default model. Memory is the peak of the process, imports included, after the
images and after one of 100 megapixels.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from data import generate, peak_memory

from fusiqa import Scorer
from fusiqa.machine import prepare_cpu

Engine = Literal["torch", "onnx"]


@dataclass(frozen=True)
class Settings:
    """Measure how many images a second are scored."""

    count: int = 60
    """Images of 1024x768, and a quarter as many of 12 megapixels."""
    output: Path | None = None
    """JSON file for the figures; by default they are only printed."""


def measure(engine: Engine, small: list[Path], large: list[Path], panorama: Path) -> dict[str, float | str]:
    """The figures of one runtime, in its own process, after one image that is not counted."""
    prepare_cpu()
    scorer = Scorer(backend=engine)
    scorer(small[0])
    found: dict[str, float | str] = {"engine": engine}
    for name, files in (("1024x768", small), ("12 megapixels", large)):
        started = time.perf_counter()
        scored = sum(result.error is None for result in scorer.stream(files))
        found[f"{name}, images per second"] = round(scored / (time.perf_counter() - started), 2)
    found["peak memory, MB"] = round(peak_memory() / 1e6)
    scorer(panorama)
    found["peak memory after 100 megapixels, MB"] = round(peak_memory() / 1e6)
    return found


def main() -> None:
    settings = tyro.cli(Settings)
    engines: tuple[Engine, ...] = ("torch", "onnx")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        small = generate(folder / "small", width=1024, height=768, count=settings.count)
        large = generate(folder / "large", width=4000, height=3000, count=max(2, settings.count // 4))
        (panorama,) = generate(folder / "panorama", width=20000, height=5000, count=1)
        found = []
        for engine in engines:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                found.append(process.submit(measure, engine, small, large, panorama).result())
            print(json.dumps(found[-1], indent=2), flush=True)
    if settings.output is not None:
        settings.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
