"""`fusiqa score --engine ray`: the same scorer in many processes, on one machine or a cluster, to Parquet."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from functools import partial, reduce
from itertools import islice
from pathlib import Path
from typing import Any

from fusiqa.config.score import ScoreConfig
from fusiqa.errors import FusiqaError
from fusiqa.io import hold
from fusiqa.scoring.batch import listed_names
from fusiqa.scoring.image import ENDINGS, Pixels, decode
from fusiqa.scoring.inputs import ImageInput, file_image, walk
from fusiqa.scoring.result import COLUMNS
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.table import check_model, parquet_library, parquet_schema

PATHS_AT_ONCE = 1_000  # of one block of a list of paths: what is done again where a process is killed
IMAGES_AT_ONCE = 32  # that a process is handed at once
CORES_EACH = 2
UNFINISHED = "_unfinished"  # folder below the output: files are moved out of it once they are whole
NOTHING_FOUND = "no images in {}; in folders, these endings are taken: {}"


def score_on_cluster(config: ScoreConfig) -> int:
    """Score what the settings name with Ray Data, and write Parquet files with the rows.

    A process that is killed is started again, and its images are scored again: rows are neither lost nor doubled.

    Returns:
        The number of images without a score.

    Raises:
        FusiqaError: Ray is not installed, nothing to score, or an output that must not be written.
    """
    ray = ray_library()
    assert config.output is not None
    output = config.output if is_url(config.output) else os.path.abspath(config.output)
    with nullcontext() if is_url(output) else hold(Path(output)):
        done = earlier(output, config)
        ray.init(ignore_reinit_error=True, log_to_driver=False)
        wanted = rows_to_score(config, done)
        asked = wanted.count()
        if asked:
            workers = config.workers or processes()
            scored = wanted.map_batches(
                ScoringProcess,
                fn_constructor_args=(config.model, config.device, config.backend, config.readers),
                batch_size=IMAGES_AT_ONCE,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=workers),
                num_cpus=cores_for(workers),
                num_gpus=1 if ray.cluster_resources().get("GPU") else None,
            )
            scored.write_parquet(f"{output}/{UNFINISHED}")
            keep_whole_files(output)
        total, good = count(output)
    if total != len(done) + asked:
        expected = len(done) + asked
        raise FusiqaError(f"{output} has {total:,} rows, expected {expected:,}: was something else written there?")
    print(f"{good:,} of {total:,} images have a score; written to {output}", file=sys.stderr)
    return total - good


class ScoringProcess:
    """One process with one scorer; Ray calls it with tables of images."""

    def __init__(self, model: str | None, device: str, backend: Any, readers: int) -> None:
        self.scorer = Scorer(model, device=device, backend=backend, readers=readers)

    def __call__(self, table: Any) -> Any:
        """An Arrow table with `path` or `bytes` -> one with the columns of every table of scores."""
        import pyarrow as pa

        rows = [result.row() for result in self.scorer.stream(images_of(table))]
        return pa.Table.from_pylist(rows, parquet_schema())


def images_of(table: Any) -> Iterator[ImageInput]:
    """The images that rows of an Arrow table name by `path`, or hold in `bytes`."""
    for row in table.to_pylist():
        if row.get("bytes") is not None:
            yield ImageInput(row["path"], partial(decode, row["bytes"]))
        elif is_url(row["path"]):
            yield ImageInput(row["path"], partial(decode_url, row["path"]), row["path"])
        else:
            yield file_image(row["path"])


def decode_url(url: str) -> Pixels:
    """The pixels of an object in a store."""
    import fsspec

    with fsspec.open(url, "rb") as file:
        return decode(file.read())


# --- what is to be scored --------------------------------------------------------------------------------------------


def rows_to_score(config: ScoreConfig, done: set[str]) -> Any:
    """A Ray data set with `path`, or `path` and `bytes`, of all images that have no row yet."""
    import ray

    tables = [path for path in config.paths if is_parquet(path)]
    others = [path for path in config.paths if path not in tables]
    parts = [ray.data.read_parquet(path) for path in tables]
    for part in parts:
        names = part.schema().names
        if not {"path", "bytes"} & set(names):
            raise FusiqaError(f"the Parquet has the columns {', '.join(names)}; expected path or bytes (of an image)")
    parts = [part.map_batches(WithNames(done), batch_format="pyarrow") for part in parts]
    if others:
        parts.append(listed(name for name in named(others) if name not in done))
    return reduce(lambda first, second: first.union(second), parts)


class WithNames:
    """Rows of a Parquet with a name each, without those that are done."""

    def __init__(self, done: set[str]) -> None:
        self.done = done

    def __call__(self, table: Any) -> Any:
        import pyarrow as pa

        rows = [{"path": row.get("path"), "bytes": row.get("bytes")} for row in table.to_pylist()]
        for row in rows:
            row["path"] = row["path"] or f"sha256:{hashlib.sha256(row['bytes'] or b'').hexdigest()[:16]}"
        left = [row for row in rows if row["path"] not in self.done]
        return pa.Table.from_pylist(left, pa.schema([("path", pa.string()), ("bytes", pa.binary())]))


def named(paths: Iterable[str]) -> Iterator[str]:
    """Paths and URLs of the images in files, folders, and folders at URLs."""
    paths = list(paths)
    found = 0
    for path in (path for path in paths if is_url(path)):
        for url in below_url(path):
            found += 1
            yield url
    here = [path for path in paths if not is_url(path)]
    if here:
        for image in walk(here, listed_names(sys.stdin)):
            found += 1
            yield os.path.abspath(image.path or image.name)
    if not found:
        raise FusiqaError(NOTHING_FOUND.format(", ".join(paths), " ".join(sorted(ENDINGS))))


def below_url(url: str) -> Iterator[str]:
    """The images at and below a URL. Raises FusiqaError where it cannot be listed."""
    import fsspec

    try:
        files, root = fsspec.url_to_fs(url)
        names = files.find(root)
    except Exception as reason:  # each store's client raises its own
        raise FusiqaError(f"{url} cannot be listed: {str(reason) or type(reason).__name__}") from reason
    for name in names:
        if os.path.splitext(name)[1].lower() in ENDINGS:
            yield files.unstrip_protocol(name)


def listed(names: Iterator[str]) -> Any:
    """A list of paths as a Ray data set of blocks, each made when the one before it is stored."""
    import pyarrow as pa
    import ray

    schema = pa.schema([("path", pa.string()), ("bytes", pa.binary())])
    blocks = []
    while taken := list(islice(names, PATHS_AT_ONCE)):
        blocks.append(pa.table({"path": taken, "bytes": [None] * len(taken)}, schema))
    table = ray.data.from_arrow(blocks or [schema.empty_table()])
    return table if len(blocks) > 2 * processes() else table.repartition(2 * processes())


# --- what is there already -------------------------------------------------------------------------------------------


def earlier(output: str, config: ScoreConfig) -> set[str]:
    """Paths that have a row in the output already.

    Raises:
        FusiqaError: the output exists and neither `resume` nor `overwrite` was given, it has files that are not tables
            of scores, it has scores of another model, or it has the input.
    """
    import fsspec

    files, root = fsspec.url_to_fs(output)
    for path in filter(is_parquet, config.paths):
        if f"{fsspec.url_to_fs(path)[1]}/".startswith(f"{root}/"):
            raise FusiqaError(f"{path} is one of the inputs; choose an output folder without it")
    found = [name for name in tables_below(files, root) if f"/{UNFINISHED}/" not in name]
    for name in found:
        if columns_of(files, name) != COLUMNS:
            raise FusiqaError(f"{name} is not a table of scores; choose another output folder")
    if config.overwrite:
        files.rm(tables_below(files, root))
        return set()
    if found and not config.resume:
        raise FusiqaError(f"{output} has rows already; add `resume` to continue it, or `overwrite` to discard them")
    keep_whole_files(output)
    paths: set[str] = set()
    models: set[str] = set()
    for name in tables_below(files, root):
        with files.open(name, "rb") as file:
            table = parquet_library().read_table(file, columns=["path", "model"])
        paths.update(table["path"].to_pylist())
        models.update(table["model"].unique().to_pylist())
    if models:
        name = Scorer(config.model, device="cpu", backend=config.backend).info.name
        for model in models:
            check_model(output, model, name)
    return paths


def keep_whole_files(output: str) -> None:
    """Move the files that were written to their end into the output, and remove those of a run that was killed."""
    import fsspec

    files, root = fsspec.url_to_fs(output)
    for name in tables_below(files, f"{root}/{UNFINISHED}"):
        if columns_of(files, name) == COLUMNS:
            files.mv(name, f"{root}/{os.path.basename(name)}")
    if files.exists(f"{root}/{UNFINISHED}"):
        files.rm(f"{root}/{UNFINISHED}", recursive=True)


def tables_below(files: Any, folder: str) -> list[str]:
    return [name for name in files.find(folder) if is_parquet(name)] if files.exists(folder) else []


def columns_of(files: Any, name: str) -> tuple[str, ...]:
    """The columns of a Parquet file; none of one that is cut short."""
    try:
        with files.open(name, "rb") as file:
            return tuple(parquet_library().read_schema(file).names)
    except (OSError, ValueError):
        return ()


def count(output: str) -> tuple[int, int]:
    """Rows in the output, and how many have a score, without reading anything else of them."""
    import fsspec

    files, root = fsspec.url_to_fs(output)
    total = good = 0
    for name in tables_below(files, root):
        with files.open(name, "rb") as file:
            scores = parquet_library().read_table(file, columns=["score"])["score"]
        total += len(scores)
        good += len(scores) - scores.null_count
    return total, good


# --- the cluster -----------------------------------------------------------------------------------------------------


def is_url(path: str) -> bool:
    return "://" in path


def is_parquet(path: str) -> bool:
    return path.rstrip("/").endswith(".parquet")


def processes() -> int:
    """One for each GPU of the cluster, or for each two of its cores; at least one."""
    import ray

    there = ray.cluster_resources()
    return int(there.get("GPU", 0)) or max(1, int(there.get("CPU", 1)) // CORES_EACH)


def cores_for(workers: int) -> float:
    """Cores that each process asks of the cluster: at most one, and in all one less than there are.

    Processes that held every core would wait for ever for a task of Ray's own, which waits for a core.
    """
    import ray

    return min(1.0, max(0.1, (ray.cluster_resources().get("CPU", 1) - 1) / workers))


def ray_library() -> Any:
    """Ray with its data library. Raises FusiqaError where it is not installed."""
    try:
        import fsspec  # noqa: F401
        import ray
        import ray.data
    except ImportError as reason:
        raise FusiqaError("`engine` ray needs Ray Data: pip install 'fusiqa[ray]'") from reason
    return ray
