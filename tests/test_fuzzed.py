"""Small inputs that fuzzing kept because they reach other code: each is read, or refused by a FusiqaError."""

import base64
import json
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from fusiqa.data.catalog import CUSTOM_COLUMNS
from fusiqa.data.table import labels_of_table
from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import Resize, decode_resized, naming
from fusiqa.scoring.models import describe
from fusiqa.scoring.table import is_table, read_rows

CORPUS = {
    target: [base64.b64decode(each) for each in found]
    for target, found in json.loads(Path(__file__).with_name("fuzzed.json").read_text()).items()
}
ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".xlsx")


def test_images():
    for content in CORPUS["image"]:
        with suppress(FusiqaError), naming("fuzzed"):
            assert decode_resized(content, Resize(short_side=8)).pixels.shape[2] == 3


def test_tables(tmp_path):
    for content in CORPUS["table"]:
        path = tmp_path / f"t{ENDINGS[content[0] % 6]}"
        path.write_bytes(content[1:])
        with suppress(FusiqaError):
            labels_of_table(path, tmp_path, CUSTOM_COLUMNS)
        with suppress(FusiqaError):
            assert not is_table(path) or list(read_rows(path)) is not None


def test_descriptions(tmp_path):
    (tmp_path / "model.safetensors").touch()
    for content in CORPUS["description"]:
        (tmp_path / "model.json").write_bytes(content)
        with suppress(FusiqaError):
            describe(tmp_path, "fuzzed")


def test_forms():
    pytest.importorskip("fastapi")
    import asyncio

    from fusiqa.config import ServeConfig
    from fusiqa.scoring.scorer import Scorer
    from fusiqa.scoring.web.app import make_app

    app = make_app(Scorer(), ServeConfig(max_megapixels=0.1))

    async def ask(content: bytes) -> int:
        kind = "multipart/form-data; boundary=b"
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return (await client.post("/v1/score", content=content[1:], headers={"Content-Type": kind})).status_code

    statuses = {asyncio.run(ask(content)) for content in CORPUS["form"]}
    assert statuses <= {200, 400, 413}
