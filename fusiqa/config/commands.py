"""The settings of each command but `train`; the docstrings are its help."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fusiqa.config.checks import COUNT, NOT_NEGATIVE, POSITIVE, SEED, Bounds, Device, Progress, Settings, refuse
from fusiqa.config.train import DISTORTED, TrainConfig

LEVEL = Bounds(at_least=1, below=6)
# Fields of several commands, with what they do.
Runtime = Literal["auto", "torch", "onnx"]
Backend = Annotated[Runtime, "auto is ONNX Runtime on a CPU if the model has a model.onnx, else torch."]
DataFolder = Annotated[Path | None, "Folder of the data set; by default $FUSIQA_DATA/<name> or ./data/<name>."]
NoiseSeed = Annotated[int, SEED, "Seed of the random distortions; each image has other noise, directions and places."]
Model = Annotated[
    str | None,
    "A model of the package, a run folder, a model.safetensors or model.onnx, or owner/name on the Hugging Face hub; "
    "by default the model of the package.",
]
ModelArgument = Annotated[
    Path,
    tyro.conf.Positional,
    "A run folder, a model.safetensors, or a name as for `score`; also as --model MODEL.",
]
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TABLES, PICTURES, EXPORTS, HTML = ".csv, .jsonl, .parquet", ".png, .jpg, .jpeg", ".onnx or .pt2", ".html, .htm"


def has(path: str | Path | None, endings: str) -> bool:
    """Whether a file's name has one of the endings."""
    return Path(path or "").suffix.lower() in re.split(", | or ", endings)


@dataclass(frozen=True)
class TableSettings(Settings):
    """Settings of all commands that write a table of images."""

    paths: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Files, folders, patterns such as 'holiday/**/*.jpg', or - for a list on standard input: one path a line, or each
    ended by NUL."""
    # common
    model: Model = None
    output: str | None = None
    """Table to write: .csv, .jsonl or .parquet; by default the terminal, or CSV to a pipe."""
    device: Device = "auto"
    # output
    resume: Annotated[bool, "Continue --output: images that have a row are not scored again."] = False
    overwrite: Annotated[bool, "Replace earlier outputs of these names."] = False
    sheet: Path | None = None
    # computing
    backend: Backend = "auto"
    readers: Annotated[int, COUNT, "Threads that decode images while the network computes."] = 2
    progress: Progress = True

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse(
            (not self.paths, "no images: give files, folders, or - for a list on standard input"),
            ("" in self.paths, "the path of an image is empty"),
            (self.resume and self.output is None, "`resume` needs the table to continue: add `output` FILE"),
            (self.resume and self.overwrite, "`resume` and `overwrite` exclude each other"),
            (self.sheet and not has(self.sheet, PICTURES), f"`sheet` must end in {PICTURES}, got {self.sheet}"),
        )

    @property
    def table(self) -> Path:
        """The output as a file, where there is one."""
        return Path(self.output or "")

    @property
    def leaves_out(self) -> bool:
        """Whether some rows are left out."""
        return False


@dataclass(frozen=True)
class ScoreConfig(TableSettings):
    """Score images: files, folders and what is below them, patterns, or a list on standard input."""

    output: str | None = None
    """Table to write, row by row: .csv, .jsonl or .parquet; by default the terminal, or CSV to a pipe. With --engine
    ray a folder or URL for Parquet files."""
    sheet: Annotated[Path | None, "Picture to draw (.png or .jpg) of the worst and best images."] = None
    # output
    report: Annotated[Path | None, "Page to write (.html): histogram, worst and best, flaws, all rows."] = None
    # selection
    top: Annotated[int | None, COUNT, "Keep this many of the best, best first."] = None
    bottom: Annotated[int | None, COUNT, "Keep this many of the worst, worst first."] = None
    below: Annotated[float | None, Bounds(), "Keep scores below this."] = None
    above: Annotated[float | None, Bounds(), "Keep scores above this."] = None
    sort: Literal["given", "worst", "best", "path"] = "given"
    """Order of the rows: as given, worst first, best first, or by path."""
    # computing
    windows: bool = False
    """With a model of whole images, fill the column spread too, from windows of each image: half as much work again."""
    tolerate_truncated: Annotated[bool, "Score JPEGs that break off too; their column note says so."] = False
    engine: Literal["local", "ray"] = "local"
    """ray is Ray Data on this machine or a cluster ($RAY_ADDRESS): also reads URLs such as s3://bucket/folder, and
    Parquet files with a column path or bytes."""
    workers: Annotated[int | None, COUNT, "Processes of --engine ray; by default one per GPU, or per two cores."] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        cluster, file = self.engine == "ray", self.output is not None and self.engine == "local"
        refuse(
            (self.top and self.bottom, "`top` and `bottom` exclude each other; `sheet` draws both ends"),
            (self.sort != "given" and (self.top or self.bottom), "`sort` has no effect with `top` or `bottom`"),
            (file and not has(self.output, TABLES), f"`output` must end in {TABLES}, got {self.output}"),
            (cluster and self.output is None, "`engine` ray writes Parquet files: add `output` FOLDER"),
            (cluster and (self.chooses or self.drawn), "`engine` ray writes every row: select from its Parquet files"),
            (self.report and not has(self.report, HTML), f"`report` must end in {HTML}, got {self.report}"),
        )

    @property
    def leaves_out(self) -> bool:
        """Whether some rows are left out."""
        return any(limit is not None for limit in (self.below, self.above, self.top, self.bottom))

    @property
    def drawn(self) -> list[Path]:
        """The files that show the rows at the end: sheet and report."""
        return [path for path in (self.sheet, self.report) if path is not None]

    @property
    def chooses(self) -> bool:
        """Whether rows are left out or sorted, so that none can be shown before all are known."""
        return self.sort != "given" or self.leaves_out


@dataclass(frozen=True)
class SortConfig(TableSettings):
    """Group photographs of one scene and find the best of each burst; no image is changed, moved or deleted."""

    sheet: Annotated[Path | None, "Picture to draw (.png or .jpg) of the bursts, the best of each framed."] = None
    # output
    link: Annotated[Path | None, "Folder for links to the best image of each group; earlier links are replaced."] = None
    # bursts
    distance: Annotated[int, Bounds(at_least=0, below=33)] = 12
    """Bits of 64 in which the perceptual hashes of two images of one scene differ at most."""
    distance_in_time: Annotated[int, Bounds(at_least=0, below=33)] = 16
    """The same for two images that one camera took within --seconds, by their EXIF."""
    seconds: Annotated[float, NOT_NEGATIVE] = 3.0
    """Between two images of one burst at most, where both say when they were taken; else the hash decides alone."""
    # sidecars
    xmp: Annotated[bool, "Write or update an XMP sidecar beside each image: rating, label, keywords."] = False
    xmp_name: Literal["full", "stem"] = "full"
    """full is IMG_1.CR3.xmp (darktable, digiKam, immich), stem is IMG_1.xmp (Lightroom, for raw files)."""
    stars: Literal["quantile", "limits"] = "quantile"
    """quantile gives each fifth of these images a rating from 1 to 5; limits go by --star_limits."""
    star_limits: Annotated[tuple[float, ...], Bounds()] = ()
    """Four scores from which an image has 2, 3, 4 and 5 stars; by default the fifths of the score range."""
    overwrite_ratings: Annotated[bool, "Replace ratings and labels that a person gave too."] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        stars = self.star_limits
        refuse(
            (self.output and not has(self.output, TABLES), f"`output` must end in {TABLES}, got {self.output}"),
            (stars and self.stars == "quantile", "`star_limits` has no effect without `stars` limits"),
            (stars and len(stars) != 4, f"`star_limits` must be four scores, got {len(stars)}"),
            (list(stars) != sorted(stars), f"`star_limits` must ascend, got {' '.join(map(str, stars))}"),
        )


@dataclass(frozen=True)
class ReportConfig(Settings):
    """Make one HTML file of a table of scores: histogram, worst and best with heat maps, flaws, scores over time."""

    table: Annotated[Path, tyro.conf.Positional, "Table that fusiqa score or fusiqa sort wrote."]
    output: Annotated[Path | None, "File to write (.html); by default beside the table, under its name."] = None
    overwrite: Annotated[bool, "Replace an earlier report of that name."] = False
    each_end: Annotated[int, NOT_NEGATIVE, "Images with heat maps among the worst, and among the best."] = 12
    thumbnails: Annotated[int, NOT_NEGATIVE, "Rows with a small picture: the worst and the best."] = 1_000
    model: Annotated[str | None, "Model for heat maps; by default that of the table, if it is in the package."] = None
    device: Device = "auto"
    progress: Progress = True

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse((not has(self.file, HTML), f"`output` must end in {HTML}, got {self.output}"))

    @property
    def file(self) -> Path:
        """The output."""
        return self.output or self.table.with_suffix(".html")


@dataclass(frozen=True)
class ServeConfig(Settings):
    """Serve a page on which images are dropped and scored, and an HTTP API."""

    model: Model = None
    host: str = "127.0.0.1"
    """Address to listen on. With another than this machine's own, others can use the server without a password."""
    port: Annotated[int, Bounds(at_least=0, below=65_536), "Port to listen on; 0 takes a free one."] = 8000
    root_path: Annotated[str, "Path at which a proxy shows this server, such as /quality."] = ""
    allowed_hosts: tuple[str, ...] = ()
    """Host names that a proxy passes on, such as photos.example.org; others than these and this machine's are refused.
    Without any, other hosts are refused only where this machine alone can reach the server."""
    device: Device = "auto"
    backend: Backend = "auto"
    # limits
    max_megabytes: Annotated[float, POSITIVE, "Largest image file, MB."] = 40.0
    max_megapixels: Annotated[float, POSITIVE, "Largest image, millions of pixels."] = 100.0
    max_files: Annotated[int, COUNT, "Most images in one request."] = 16
    max_waiting: Annotated[int, COUNT] = 256
    """Most images that wait at once; further requests are answered 503, retry later."""
    timeout_seconds: Annotated[float, POSITIVE, "Longest that a request may take to arrive, and to score."] = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        path = re.fullmatch(r"(/[\w.~-]+)*", self.root_path)
        refuse(
            (not path, f"`root_path` must be a path such as /quality, got {self.root_path}"),
            (self.max_waiting < self.max_files, "`max_waiting` must be at least `max_files`, the images of a request"),
        )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK or self.host.startswith("127.")


@dataclass(frozen=True)
class ExportConfig(Settings):
    """Write a model for other runtimes: ONNX, or torch.export. The file is run and compared with torch."""

    output: Annotated[Path, "File to write: .onnx, or .pt2 for torch.export."]
    model: Annotated[str | None, tyro.conf.Positional] = None
    """A model of the package, a run folder, a model.safetensors, or owner/name on the Hugging Face hub; by default the
    model of the package. Also as --model MODEL."""
    overwrite: Annotated[bool, "Replace an earlier export of that name."] = False
    share_weights: bool = False
    """Read the weights from the model.safetensors of the model in place of a second copy: the .onnx is written beside
    it, and the two must stay together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse(
            (not has(self.output, EXPORTS), f"`output` must end in {EXPORTS}, got {self.output}"),
            (self.share_weights and not has(self.output, ".onnx"), f"`share_weights` is for .onnx, got {self.output}"),
        )


@dataclass(frozen=True)
class AttentionConfig(Settings):
    """Explain a model: which feature scales its scores came from, over images or a data set."""

    model: ModelArgument
    images: Annotated[tuple[Path, ...], tyro.conf.Positional, "Images, or folders of them."] = ()
    dataset: str | None = None
    """A data set to explain instead: the run's own by default, when no images are given."""
    data_dir: DataFolder = None
    split: Annotated[Literal["train", "validation", "test"], "Split of the data set; images given have none."] = "test"
    groups: Literal["auto", "distortion", "quality", "make", "every-distortion"] = "auto"
    """How images are grouped: distortion (of the synthetic set), quality (thirds by rating or score), make (blur, JPEG,
    colour and undistorted versions of each image), every-distortion (KADID-10k's 25 at 5 levels, with statistics).
    auto: make for images, distortion for synthetic, quality for other data sets."""
    level: Annotated[int, LEVEL, "Level of the distortions of --groups make, 1 (hardly visible) to 5."] = 4
    seed: NoiseSeed = 0
    limit: Annotated[int | None, COUNT, "Use at most this many images, evenly spaced through the list."] = None
    other_seeds: tuple[Path, ...] = ()
    """With every-distortion: more runs of the same design; the hypothesis is then tested over seeds too."""
    output: Path | None = None
    """Folder for the figures and tables; by default attention/ in the run folder, or attention_NAME/ here."""
    device: Device = "auto"
    progress: Progress = True

    def __post_init__(self) -> None:
        super().__post_init__()
        without = self.other_seeds and self.groups != "every-distortion"
        refuse((without, "`other_seeds` needs `groups` every-distortion"))


@dataclass(frozen=True)
class CompareConfig(Settings):
    """Compare finished runs on the same test images, paired: each against the first."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Two or more run folders; the first is what the others are compared with."""
    output: Annotated[Path | None, "Folder for comparison.md and comparison.csv; by default only printed."] = None


@dataclass(frozen=True)
class EvaluateConfig(Settings):
    """Evaluate a trained model on data sets: metrics, scatter plots, errors by distortion, the worst errors."""

    model: ModelArgument
    dataset: tuple[str, ...] = ()
    """Data sets by name, or paths of tables; of the model's own its test split is measured, of others and
    distorted all. A published set is resized by its own protocol, the model's own and a table by the model's."""
    data_dir: Path | None = None
    """Folder of the data set, if there is one; for the data set distorted, which measures whether scores follow what
    people think of 25 distortions, a folder of sharp images."""
    data_root: Path | None = None
    """Folder that holds the data sets' folders; by default $FUSIQA_DATA or ./data."""
    score_range: tuple[float, float] | None = None
    """Bounds of the ratings of a table; by default its lowest and highest rating."""
    lower_is_better: Annotated[bool, "Invert a table's ratings, of distortion as DMOS is, within their range."] = False
    worst: Annotated[int, NOT_NEGATIVE, "Images on the sheet of the worst errors of each data set; 0 draws none."] = 12
    output: Path | None = None
    """Folder for tables and figures; by default evaluation/ in the run folder, or evaluation_NAME/ here."""
    device: Device = "auto"
    progress: Progress = True

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse(
            (not self.dataset, "`dataset`: name at least one data set to measure on"),
            (self.data_dir and len(self.dataset) > 1, "`data_dir` is of one data set; several lie below `data_root`"),
            (self.of_distortions and not self.data_dir, "`data_dir`: name a folder of sharp images"),
            (self.of_distortions and len(self.dataset) > 1, f"`dataset` {DISTORTED} is measured alone"),
        )

    @property
    def of_distortions(self) -> bool:
        return DISTORTED in map(str.lower, self.dataset)


@dataclass(frozen=True)
class AblateConfig(Settings):
    """Compare network designs: train variants over several seeds, test the differences paired, report."""

    preset: Annotated[str, tyro.conf.Positional] = "scales"
    """attention (or none), scales (single, multi-scale, attention), fusions (all five), one-scale (each alone),
    weighing (none, softmax, gates), collapse (what keeps scale weights even), backbones (five kinds), swin (Tiny,
    Small, Base), or a TOML file with a question of your own."""
    base: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    """Settings of every run but for what its variant edits; --seed is the first seed, --run_dir the folder of all."""
    variants: tuple[str, ...] = ()
    """Only these variants, by name; the first is the reference of the others."""
    seeds: Annotated[int, COUNT, "Runs of each variant, with the same consecutive seeds."] = 5
    jobs: Annotated[int | None, COUNT] = None
    """Runs at once; by default one per GPU, without a GPU one, or with --freeze_backbone one per core (at most 8)."""


@dataclass(frozen=True)
class DistortConfig(Settings):
    """Distort images as KADID-10k does: any of its 25 distortions at its five levels."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional, "Images, or folders of them."]
    output: Annotated[Path, "Folder for the distorted images: <distortion>/<level>/<image>.png."] = Path("distorted")
    distortion: Annotated[tuple[str, ...], "Names of distortions, such as gaussian_blur; by default all 25."] = ()
    level: Annotated[tuple[int, ...], LEVEL, "Levels, 1 (hardly visible) to 5."] = (1, 2, 3, 4, 5)
    resize: str = "none"
    """Resize first: none, the short side in pixels, or WIDTHxHEIGHT; KADID-10k's images have 512x384."""
    seed: NoiseSeed = 0
    sheet: Annotated[bool, "Write one sheet of all versions for each image instead."] = False
    progress: Progress = True


@dataclass(frozen=True)
class DemoConfig(Settings):
    """The whole workflow in minutes, without data: score, train, test, compare, explain on synthetic images."""

    output: Annotated[Path, "Folder for all results; only an earlier demo there is replaced."] = Path("runs/demo")
    seed: Annotated[int, SEED, "Seed of both runs."] = 0
    progress: Progress = True


@dataclass(frozen=True)
class DataListConfig(Settings):
    """List the data sets that are read by name."""


@dataclass(frozen=True)
class DataInfoConfig(Settings):
    """Print what is known of a data set: figures, licence, citation, layout, source."""

    name: Annotated[str, tyro.conf.Positional, "Name of the data set."]


@dataclass(frozen=True)
class DataCheckConfig(Settings):
    """Check a copy of a data set: counts, files, ratings, duplicates across the split."""

    name: Annotated[str, tyro.conf.Positional, "Name of the data set, or the path of a CSV with image and mos columns."]
    data_dir: DataFolder = None
    output: Annotated[Path | None, "JSON file for the report, which is printed too."] = None
    progress: Progress = True


@dataclass(frozen=True)
class DataDownloadConfig(Settings):
    """Download a data set that may be redistributed; for others, print where to request them."""

    name: Annotated[str, tyro.conf.Positional, "Name of the data set."]
    data_dir: DataFolder = None
    accept_licence: Annotated[bool, "Accept the licence without being asked; it is printed all the same."] = False
    progress: Progress = True
