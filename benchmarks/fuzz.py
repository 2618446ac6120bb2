"""Fuzz what reads the bytes of others: pip install atheris; python benchmarks/fuzz.py image --minutes 30

An input may be refused by a FusiqaError. Anything else ends the run and is kept as `crash-...` in the corpus: another
exception, 20 seconds without an end, 2 GB of memory, an answer of 5xx from the server.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

import atheris

os.environ.setdefault("OMP_NUM_THREADS", "1")
INSTRUMENTED = ["PIL", "fusiqa", "csv", "json", "python_multipart", "starlette"]
with atheris.instrument_imports(include=INSTRUMENTED):
    import numpy as np
    from PIL import Image, ImageCms

    from fusiqa.errors import FusiqaError
    from fusiqa.scoring.image import Resize, decode_resized, naming, size_of
    from fusiqa.scoring.models import IN_THE_PACKAGE, describe

Target = Callable[[bytes], object]
FOLDER = Path(mkdtemp(prefix="fusiqa-fuzz-"))  # files that the readers open
LARGEST_PIXELS = 100_000  # of an image that is decoded too: what is fuzzed stands before the pixels
SECONDS, MEGABYTES, LONGEST = 20, 2_048, 20_000  # for one input; memory of the process; bytes of an input


def image(content: bytes) -> None:
    """Headers, EXIF and profiles of all formats, and the pixels of small images."""
    with naming("fuzzed"):
        height, width = size_of(content)
        if height * width <= LARGEST_PIXELS:
            decode_resized(content, Resize(short_side=8))


class Table:
    """Ratings and tables of scores; the first byte chooses the ending."""

    def __init__(self) -> None:
        with atheris.instrument_imports(include=INSTRUMENTED):
            from fusiqa.data.catalog import CUSTOM_COLUMNS
            from fusiqa.data.table import labels_of_table
            from fusiqa.scoring.table import is_table, read_rows
        self.readers = (
            lambda path: labels_of_table(path, FOLDER, CUSTOM_COLUMNS),
            lambda path: is_table(path) and list(read_rows(path)),
        )

    def __call__(self, content: bytes) -> None:
        path = FOLDER / f"t{('.csv', '.tsv', '.json', '.jsonl', '.parquet', '.xlsx')[content[0] % 6]}"
        path.write_bytes(content[1:])
        for read in self.readers:
            with suppress(FusiqaError):
                read(path)


def description(content: bytes) -> None:
    """model.json, beside weights."""
    (FOLDER / "model.json").write_bytes(content)
    (FOLDER / "model.safetensors").touch()
    describe(FOLDER, "fuzzed")


class Form:
    """The HTTP form, through the whole application."""

    def __init__(self) -> None:
        with atheris.instrument_imports(include=INSTRUMENTED):
            from fusiqa.config.commands import ServeConfig
            from fusiqa.scoring.scorer import Scorer
            from fusiqa.scoring.web.app import make_app
        self.app = make_app(Scorer(), ServeConfig(max_megapixels=LARGEST_PIXELS / 1e6))
        self.loop = asyncio.new_event_loop()

    def __call__(self, content: bytes) -> None:
        kind = b"multipart/form-data; boundary=b" if content[0] % 8 else content[1:40].partition(b"\r")[0]
        headers = [(b"host", b"localhost"), (b"content-type", kind)]
        scope = {"type": "http", "method": "POST", "path": "/v1/score", "query_string": b"", "headers": headers}
        parts, sent = [content[1:60], content[60:]], []

        async def receive() -> dict[str, object]:
            if not parts:
                await asyncio.sleep(3600)
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        self.loop.run_until_complete(self.app({**scope, "http_version": "1.1", "scheme": "http"}, receive, send))
        assert sent[0]["status"] < 500, sent


def seeds(target: str) -> list[bytes]:
    """Small good inputs."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274], exif[305] = 6, "a program"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pictures = []
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000", "MPO"):
        for more in ({}, {"exif": exif.tobytes(), "icc_profile": profile}):
            file = io.BytesIO()
            with suppress(OSError, KeyError, TypeError):
                Image.fromarray(pixels).save(file, kind, **more)
                pictures.append(file.getvalue())
    stated = (IN_THE_PACKAGE / "fusiqa-fast" / "model.json").read_bytes()
    ratings = [b"\0image,mos,split\na.png,3.5,train\n", b"\1image;MOS\na;3,5\n", b'\2[{"image": "a", "mos": 1}]']
    part = b'\1--b\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n%s\r\n--b--\r\n'
    forms = [part % (name, picture) for name in (b"a.png", b"\xc3\xa9") for picture in pictures[:3]]
    scores = json.dumps({"path": "a", "score": 1.0}).encode()
    made = {"image": pictures, "description": [stated]}
    return (made | {"table": [*ratings, b"\3" + scores], "form": forms})[target]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=("image", "table", "description", "form"))
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"))
    given = parser.parse_args()
    corpus = given.corpus / given.target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(given.target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    targets: dict[str, Callable[[], Target]] = {"table": Table, "form": Form}
    tried = (
        targets[given.target]()
        if given.target in targets
        else {"image": image, "description": description}[given.target]
    )

    def once(content: bytes) -> None:
        with suppress(FusiqaError):
            tried(content or b"\0")

    limits = {"max_total_time": round(60 * given.minutes), "timeout": SECONDS, "rss_limit_mb": MEGABYTES}
    options = {**limits, "max_len": LONGEST, "print_final_stats": 1, "artifact_prefix": f"{corpus}/"}
    atheris.Setup([sys.argv[0], str(corpus), *(f"-{name}={value}" for name, value in options.items())], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
