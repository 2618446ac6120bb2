"""`fusiqa score --engine ray`: the same scorer in many processes, on one machine or a cluster, to Parquet."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial, reduce
from itertools import islice
from pathlib import Path
from typing import Any

from fusiqa.config import ScoreConfig
from fusiqa.errors import FusiqaError, needing
from fusiqa.io import hold
from fusiqa.scoring.image import ENDINGS
from fusiqa.scoring.inputs import ImageInput, check_any, file_image, is_url, nothing_in, printable, walk
from fusiqa.scoring.result import COLUMNS
from fusiqa.scoring.scorer import SCORER_SETTINGS, Scorer
from fusiqa.scoring.table import check_model, is_parquet, parquet_columns, parquet_schema, pyarrow

PATHS_AT_ONCE = 1_000  # in a block of a list of paths, which is repeated when a process is killed
IMAGES_PER_CALL = 32  # of a process
CORES_EACH = 2
UNFINISHED = "_unfinished"  # folder below the output: files are moved out of it once they are whole


def score_on_cluster(config: ScoreConfig) -> int:
    """Score images with Ray Data, and write Parquet files with the rows. Returns how many have no score.

    A process that is killed is restarted and its images are scored again: no row is lost or duplicated.
    FusiqaError: Ray is not installed or does not answer, nothing to score, or an output that must not be written.
    """
    with needing("ray", "`engine` ray"):
        import ray.data
        from pyarrow import compute
    assert config.output is not None
    output = config.output if is_url(config.output) else os.path.abspath(config.output)
    with nullcontext() if is_url(output) else hold(Path(output)):
        done = earlier(output, config)
        if config.overwrite and not any(is_url(path) or is_parquet(path) for path in config.paths):
            check_any(config.paths)  # others are listed before a row is removed
        address = os.environ.get("RAY_ADDRESS", "local")  # not a cluster that once ran here and left its address
        try:
            ray.init(address, ignore_reinit_error=True, log_to_driver=False)
        except ConnectionError as reason:
            advice = "check $RAY_ADDRESS (and $RAY_AUTH_MODE, for a token), or unset it to use this machine alone"
            raise FusiqaError(f"no Ray cluster answers at {address}: {advice}") from reason
        resources = ray.cluster_resources()
        gpus, cores = int(resources.get("GPU", 0)), resources.get("CPU", 1)
        workers = config.workers or gpus or max(1, int(cores) // CORES_EACH)
        wanted = rows_to_score(config, done, blocks=2 * workers)
        asked = wanted.count()
        if config.overwrite:  # now that it is known what comes in their place
            discard(output)
        expected = stored(output).count_rows() + asked
        if asked:
            scored = wanted.map_batches(
                ScoringProcess,
                fn_constructor_args=(config.model, {name: getattr(config, name) for name in SCORER_SETTINGS}),
                batch_size=IMAGES_PER_CALL,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=workers),
                # One core is left free: with none, Ray's own tasks would wait for ever.
                num_cpus=min(1.0, max(0.1, (cores - 1) / workers)),
                num_gpus=1 if gpus else None,
            )
            scored.write_parquet(f"{output}/{UNFINISHED}")
            keep_whole_files(output)
        rows = stored(output)
        total, failed = rows.count_rows(), rows.count_rows(filter=compute.field("score").is_null())
    if total != expected:
        raise FusiqaError(f"{output} has {total:,} rows, expected {expected:,}: was something else written there?")
    print(f"{total - failed:,} of {total:,} images have a score; written to {output}", file=sys.stderr)
    return failed


class ScoringProcess:
    """One process with one scorer; Ray calls it with tables of images."""

    def __init__(self, model: str | None, settings: dict[str, Any]) -> None:
        self.scorer = Scorer(model, **settings)

    def __call__(self, table: Any) -> Any:
        """An Arrow table with `path` or `bytes` -> one with the columns of every table of scores."""
        rows = [result.row() for result in self.scorer.stream(map(image_in_row, table.to_pylist()))]
        return pyarrow().Table.from_pylist(rows, parquet_schema())


def image_in_row(row: dict[str, Any]) -> ImageInput:
    """The image that a row holds in `bytes`, or names by `path`."""
    path, content = row["path"], row["bytes"]
    if content is not None:
        return ImageInput(path, partial(bytes, content))
    return ImageInput(path, lambda: files_at(path)[0].cat_file(path), path) if is_url(path) else file_image(path)


def rows_to_score(config: ScoreConfig, done: set[str], *, blocks: int) -> Any:
    """A Ray data set with `path`, or `path` and `bytes`, of all images that have no row yet."""
    import ray

    pa, schema, parts = pyarrow(), images_schema(), []
    for part in (ray.data.read_parquet(path) for path in config.paths if is_parquet(path)):
        names = part.schema().names
        if not {"path", "bytes"} & set(names):
            raise FusiqaError(f"the Parquet has the columns {', '.join(names)}; expected path or bytes (of an image)")
        parts.append(part.map_batches(partial(without_done, done=done), batch_format="pyarrow"))
    if others := [path for path in config.paths if not is_parquet(path)]:
        names = (name for name in named(others) if name not in done)
        tables = []  # a block each, made when the one before it is stored
        while taken := list(islice(names, PATHS_AT_ONCE)):
            tables.append(pa.table({"path": taken, "bytes": [None] * len(taken)}, schema))
        listed = ray.data.from_arrow(tables or [schema.empty_table()])
        parts.append(listed if len(tables) > blocks else listed.repartition(blocks))
    return reduce(ray.data.Dataset.union, parts)


def without_done(table: Any, done: set[str]) -> Any:
    """Rows of a Parquet file of images, each with a name, without those that are done."""
    rows = [{"path": row.get("path"), "bytes": row.get("bytes")} for row in table.to_pylist()]
    for row in rows:
        row["path"] = row["path"] or f"sha256:{hashlib.sha256(row['bytes'] or b'').hexdigest()[:16]}"
    return pyarrow().Table.from_pylist([row for row in rows if row["path"] not in done], images_schema())


def images_schema() -> Any:
    return pyarrow().schema([("path", pyarrow().string()), ("bytes", pyarrow().binary())])


def named(paths: list[str]) -> Iterator[str]:
    """Paths and URLs of the images in files, folders, and folders at URLs. Raises FusiqaError where there are none."""
    found = False
    for url in filter(is_url, paths):
        try:
            files, root = files_at(url)
            images = [name for name in files.find(root) if os.path.splitext(name)[1].lower() in ENDINGS]
        except Exception as reason:  # each store's client raises its own
            raise FusiqaError(f"{url} cannot be listed: {str(reason) or type(reason).__name__}") from reason
        found = found or bool(images)
        yield from map(files.unstrip_protocol, images)
    if here := [path for path in paths if not is_url(path)]:
        files_and_urls = (image.path or image.name for image in walk(here, say=partial(print, file=sys.stderr)))
        yield from (each if is_url(each) else printable(os.path.abspath(each)) for each in files_and_urls)
    elif not found:
        raise FusiqaError(nothing_in(paths))


def earlier(output: str, config: ScoreConfig) -> set[str]:
    """Paths that have a row in the output already, which stays.

    FusiqaError: no model, the output is a file, or exists and neither `resume` nor `overwrite` was given, it has files
    that are not tables of scores, it has scores of another model, or it has the input.
    """
    files, root = files_at(output)
    if files.isfile(root):
        raise FusiqaError(f"{output} is a file; `engine` ray writes Parquet files into a folder")
    for path in filter(is_parquet, config.paths):
        if f"{files_at(path)[1]}/".startswith(f"{root}/"):
            raise FusiqaError(f"{path} is one of the inputs; choose an output folder without it")
    found = [name for name in tables_below(files, root) if f"/{UNFINISHED}/" not in name]
    for name in found:
        if parquet_columns(name, files) != COLUMNS:
            raise FusiqaError(f"{name} is not a table of scores; choose another output folder")
    scorer = Scorer(config.model, device="cpu", backend=config.backend)
    if config.overwrite:
        return set()
    if found and not config.resume:
        raise FusiqaError(f"{output} has rows already; add `resume` to continue it, or `overwrite` to discard them")
    keep_whole_files(output)
    rows = stored(output).to_table(columns=["path", "model"])
    for model in rows["model"].unique().to_pylist():
        check_model(output, model, scorer.info.name)
    return set(rows["path"].to_pylist())


def keep_whole_files(output: str) -> None:
    """Move complete files into the output, and remove incomplete ones of a killed run."""
    files, root = files_at(output)
    unfinished = f"{root}/{UNFINISHED}"
    for name in tables_below(files, unfinished):
        if parquet_columns(name, files) == COLUMNS:
            files.mv(name, f"{root}/{os.path.basename(name)}")
    if files.exists(unfinished):
        files.rm(unfinished, recursive=True)


def discard(output: str) -> None:
    """Remove the rows in the output, also those of a killed run."""
    files, root = files_at(output)
    for name in tables_below(files, root):
        files.rm(name)


def files_at(path: str) -> tuple[Any, str]:
    """The file system or store of a path or URL, and the path there."""
    import fsspec

    return fsspec.url_to_fs(path)


def tables_below(files: Any, folder: str) -> list[str]:
    return [name for name in files.find(folder) if is_parquet(name)] if files.exists(folder) else []


def stored(output: str) -> Any:
    """The rows in the output, as an Arrow data set."""
    from pyarrow import dataset

    files, root = files_at(output)
    return dataset.dataset(tables_below(files, root), parquet_schema(), format="parquet", filesystem=files)
