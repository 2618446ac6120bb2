"""fusiqa beside pyiqa on the same work, in one run and in turns: python benchmarks/peers.py --output peers.json

fusiqa scores in an environment of its own, with the core install alone; pyiqa is installed into another on the first
run. Networks other than the packaged ones have random weights, which cost the same, and images are generated, so that
only packages are downloaded. Every task is a process of its own. A round does every row once; figures are medians over
rounds, and the file is rewritten after each row, so that a run that is stopped leaves what it measured. fusiqa's passes
in torch and steps of training run as its command line runs them (`fusiqa.machine.prepare_cpu`). Folders are few files
again and again; pyiqa reads three images of one, because the time per image is what counts.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

WORKER = Path(__file__).resolve()
ROOT = WORKER.parents[1]
BATCHES = (1, 8, 32)
PEERS = {"hyperiqa": "pyiqa, HyperIQA", "topiq_nr": "pyiqa, TOPIQ-NR"}
PACKAGED = ("fusiqa-fast", "fusiqa-accurate", "biq2021")
SWIN = "swin_tiny_patch4_window7_224"
NETWORKS = {
    "ResNet-50": ("resnet50", "single", "crops"),
    "Swin-Tiny": (SWIN, "attention", "crops"),
    "Swin-Tiny, whole": (SWIN, "attention", "whole"),
}
"""Backbone, fusion and view; random weights."""
RESIZE = "512x384"  # of KonIQ-10k, for the networks with random weights
COUNTS = (100, 300, 1_000, 3_000, 10_000)  # of small images, for time and memory against the number
BESIDE = {"pip", "setuptools", "wheel"}  # packages of an environment that neither tool needs

Figures = dict[str, float]


# Runs in its own process, in the environment of one of the tools.


def peak_megabytes(of: int = resource.RUSAGE_SELF) -> float:
    """Peak memory of this process, or of the largest of those that it started."""
    status = Path("/proc/self/status")
    if of == resource.RUSAGE_SELF and status.is_file():  # on Linux ru_maxrss begins with that of the parent
        return float(status.read_text().partition("VmHWM:")[2].split()[0]) * 1.024e-3
    return resource.getrusage(of).ru_maxrss * (1e-6 if platform.system() == "Darwin" else 1.024e-3)


def per_second(work: Callable[[], Any], count: int, *, seconds: float = 1.0) -> float:
    """Items per second of calls that do `count` items each, after one call that is not counted."""
    work()
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        work()
        calls += 1
    return count * calls / (time.perf_counter() - started)


def peer_metric(name: str) -> Any:
    """A pyiqa metric with random weights; the functions that download some are replaced."""
    import timm
    from pyiqa.models.inference_model import InferenceModel

    create = timm.create_model
    timm.create_model = lambda *given, **named: create(*given, **{**named, "pretrained": False})
    for path, module in list(sys.modules.items()):
        if path.startswith("pyiqa.archs") and hasattr(module, "load_pretrained_network"):
            module.load_pretrained_network = lambda *_, **__: None
    return InferenceModel(name, metric_mode="NR", device="cpu")


def scorer_of(tool: str, model: str) -> Callable[[str | Path], float]:
    """A function from a path to a score."""
    if tool == "pyiqa":
        metric = peer_metric(model)
        return lambda path: float(metric(str(path)))
    import fusiqa

    scorer = fusiqa.Scorer(model)
    return lambda path: scorer(path).score


def network_of(tool: str, model: str) -> tuple[Any, Callable[[Any], Any]]:
    """The network in torch and a function from crops (batch, 3, 224, 224) to its scores."""
    if tool == "pyiqa":
        net = peer_metric("hyperiqa").net
        return net, net.forward_patch
    from fusiqa.machine import prepare_cpu

    prepare_cpu()
    from fusiqa.scoring.scorer import load_network

    network = load_network(model, device="cpu", backend="torch").model
    return network, lambda crops: network(crops).score


def crops_for(tool: str, batch: int) -> Any:
    import torch

    crops = torch.rand(batch, 3, 224, 224)
    return crops.contiguous(memory_format=torch.channels_last) if tool == "fusiqa" else crops


def autocast(precision: str) -> Any:
    import torch

    return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()


def task_image(tool: str, model: str, path: str) -> Figures:
    """One image: seconds until its first score, imports included, then seconds per image, and peak memory."""
    started = time.perf_counter()
    score = scorer_of(tool, model)
    score(path)
    first = time.perf_counter() - started
    return {"first": first, "seconds": 1 / per_second(lambda: score(path), 1), "megabytes": peak_megabytes()}


def task_folder(tool: str, model: str, folder: str, count: str) -> Figures:
    """`count` JPEGs, the files of a folder again and again: from file to score."""
    paths = list(islice(cycle(sorted(Path(folder).iterdir())), int(count)))
    if tool == "pyiqa":
        score = scorer_of(tool, model)
        score(paths[0])
        started = time.perf_counter()
        scored = len([score(path) for path in paths])
    else:
        import fusiqa

        scorer = fusiqa.Scorer(model)
        scorer(paths[0])
        started = time.perf_counter()
        scored = sum(result.ok for result in scorer.stream(paths))
    return {"per second": scored / (time.perf_counter() - started), "megabytes": peak_megabytes()}


def task_halves(_: str, model: str, folder: str) -> Figures:
    """The two halves of scoring a folder, each alone on all cores: images a second."""
    import fusiqa
    from fusiqa.scoring.inputs import image_of

    scorer = fusiqa.Scorer(model)
    images = [image_of(path) for path in sorted(Path(folder).iterdir())]
    with ThreadPoolExecutor(scorer.readers) as readers:
        reading = per_second(lambda: list(readers.map(scorer.prepare, images)), len(images), seconds=2)
    prepared = [scorer.prepare(each) for each in images[:10]]
    network = per_second(lambda: [list(scorer.score_prepared([each])) for each in prepared], 10, seconds=2)
    return {"reading": reading, "network": network}


def task_forward(tool: str, model: str, precision: str) -> Figures:
    """Crops per second of forward passes, peak memory so far, and floating-point operations of one crop."""
    found: Figures = {}
    if precision == "onnx":
        import numpy as np

        from fusiqa.scoring.scorer import load_network

        network = load_network(model, device="cpu", backend="onnx")
        for batch in BATCHES:
            views = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8)
            found[f"batch {batch}"] = per_second(lambda views=views: network(views), batch)
            found[f"batch {batch}, MB"] = peak_megabytes()
        return found
    net, forward = network_of(tool, model)
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    net.eval()
    with torch.inference_mode(), autocast(precision):
        for batch in BATCHES:
            crops = crops_for(tool, batch)
            found[f"batch {batch}"] = per_second(lambda crops=crops: forward(crops), batch)
            found[f"batch {batch}, MB"] = peak_megabytes()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        forward(crops_for(tool, 1))
    return {**found, "GFLOP a crop": counter.get_total_flops() / 1e9}


def task_step(tool: str, model: str, precision: str) -> Figures:
    """Crops per second of training steps (forward, L1, backward, AdamW), and peak memory so far."""
    net, forward = network_of(tool, model)
    import torch

    if tool == "fusiqa":
        from fusiqa.training.recipe import Hyperparameters, create_optimizer

        rates = Hyperparameters(1e-6, 1e-6, 0.1, 0.0)
        optimizer = create_optimizer(net.requires_grad_(), rates, weight_decay=0.01, fused=True)
    else:
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-6)
    net.train()
    found: Figures = {}
    for batch in BATCHES[1:]:
        crops, target = crops_for(tool, batch), torch.rand(batch)

        def step(crops: Any = crops, target: Any = target) -> None:
            with autocast(precision):
                scores = forward(crops)
            torch.nn.functional.l1_loss(scores.float().flatten(), target).backward()
            optimizer.step()
            optimizer.zero_grad()

        found[f"batch {batch}"] = per_second(step, batch, seconds=batch / 8)
        found[f"batch {batch}, MB"] = peak_megabytes()
    return found


def task_ceiling(_: str, kind: str, path: str) -> Figures:
    """What the machine can do: GFLOP/s of matrix products, by torch or numpy, or JPEG decodes a second of one core."""
    if kind == "decode":
        from PIL import Image

        return {"per second": per_second(lambda: Image.open(path).convert("RGB"), 1)}
    if kind == "fp32, numpy":
        import numpy as np

        each = np.random.default_rng(0).random((2048, 2048), dtype=np.float32)
        return {"GFLOP/s": per_second(lambda: each @ each, 2) * 2048**3 / 1e9}
    import torch

    capable: dict[str, Any] = torch.cpu.get_capabilities()
    native = kind == "fp32" or any(capable.get(name) for name in ("avx512_bf16", "amx_bf16", "avx512_vnni", "bf16"))
    side = 2048 if native else 512  # without instructions for it a large product takes minutes
    one = torch.rand(side, side)
    if kind == "int8":
        whole = (one * 127).to(torch.int8)
        rate = per_second(lambda: torch._int_mm(whole, whole), 2)
    else:
        one = one.to({"fp32": torch.float32, "bf16": torch.bfloat16}[kind])
        rate = per_second(lambda: one @ one, 2)
    return {"GFLOP/s": rate * side**3 / 1e9}


def task_command(_: str, *words: str) -> Figures:
    """A command line of this environment, from its start to its end."""
    os.chdir(tempfile.mkdtemp(dir=os.environ["PEERS_FOLDER"]))
    started = time.perf_counter()
    program = [sys.executable, "-I", *words] if words[0] == "-c" else [Path(sys.executable).with_name("fusiqa"), *words]
    subprocess.run(program, check=True, capture_output=True)
    return {"seconds": time.perf_counter() - started, "megabytes": peak_megabytes(resource.RUSAGE_CHILDREN)}


def task_make(_: str, backbone: str, fusion: str, view: str, folder: str) -> Figures:
    """A run folder with random weights and its ONNX file, as training leaves them."""
    import fusiqa
    from fusiqa.scoring.torch import export_model

    config: Any = {"backbone": backbone, "fusion": fusion, "view": view}
    model = fusiqa.build_model(fusiqa.ModelConfig(**config), resize=RESIZE)
    model.save_pretrained(folder)
    return {"difference": export_model(Path(folder), Path(folder, "model.onnx"), name=backbone)}


TASKS: dict[str, Callable[..., Figures]] = {
    name.removeprefix("task_"): each for name, each in list(globals().items()) if name.startswith("task_")
}


# Runs in an environment with torch and starts the others.


def peer_python(folder: Path) -> Path:
    """The interpreter of pyiqa's environment, made on the first run with the torch that runs here."""
    import torch
    import torchvision

    python, same = folder / "bin" / "python", {"torch": torch.__version__, "torchvision": torchvision.__version__}
    if not (folder / "complete").is_file():
        print(f"installing pyiqa into {folder}, once", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        versions = [f"{name}=={version.partition('+')[0]}" for name, version in same.items()]
        subprocess.run([python, "-m", "pip", "install", "--quiet", "pyiqa", *versions], check=True)
        (folder / "complete").touch()
    return python


def core_python(folder: Path) -> Path:
    """The interpreter of a new environment with the core install of this checkout, without torch."""
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*pip, ROOT], check=True)
    return python


def run(python: Path, tool: str, task: str, *arguments: str) -> Figures:
    """One task in a process of its own; only this interpreter's own sees $PYTHONPATH."""
    alone = [] if python == Path(sys.executable) else ["-I"]
    command = [str(python), *alone, str(WORKER), "--worker", tool, task, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "TQDM_DISABLE": "1"})
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def install_size(python: Path) -> Figures:
    """Packages and megabytes of an environment; pip's own are in its size alone."""
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True)
    names = {package["name"].lower() for package in json.loads(listed.stdout)} - BESIDE
    files = (path.lstat().st_size for path in python.parents[1].rglob("*") if path.is_file())
    return {"packages": len(names), "megabytes": round(sum(files) / 1e6)}


def machine() -> str:
    import torch

    capable = [name for name, value in torch.cpu.get_capabilities().items() if value is True]
    return f"{platform.machine()}, {os.cpu_count()} cores, {', '.join(capable)}"


def commit() -> str:
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def rows_of(folder: Path, *, quick: bool) -> dict[str, tuple[str, ...]]:
    """What is measured in every round: where it runs, the tool, its task and the arguments."""
    from data import generate

    small = generate(folder / "small", width=1024, height=768, count=20)
    one = str(small[0])
    rows: dict[str, tuple[str, ...]] = {
        "image: fusiqa, fusiqa-fast": ("core", "fusiqa", "image", "fusiqa-fast", one),
        "image: fusiqa, Swin-Tiny attention": ("core", "fusiqa", "image", str(folder / "Swin-Tiny, whole"), one),
        "image: fusiqa, Swin-Tiny attention, 20 crops": ("core", "fusiqa", "image", str(folder / "Swin-Tiny"), one),
        **{f"image: {words}": ("pyiqa", "pyiqa", "image", name, one) for name, words in PEERS.items()},
        "command: import fusiqa": ("core", "fusiqa", "command", "-c", "import fusiqa; fusiqa.Scorer"),
        "command: fusiqa --help": ("core", "fusiqa", "command", "--help"),
        "command: fusiqa score one.jpg": ("core", "fusiqa", "command", "score", one),
    }
    for kind in ("fp32", "fp32, numpy", "bf16", "int8", "decode"):
        rows[f"ceiling: {kind}"] = ("torch", "fusiqa", "ceiling", kind, one)
    models = {"ResNet-50": str(folder / "ResNet-50"), "Swin-Tiny": str(folder / "Swin-Tiny")}
    models |= {name: name for name in PACKAGED}
    for name, model in models.items():
        for precision in ("fp32",) if quick else ("fp32", "bf16", "onnx"):
            rows[f"forward: fusiqa, {name}, {precision}"] = ("torch", "fusiqa", "forward", model, precision)
    rows["forward: pyiqa, ResNet-50, fp32"] = ("pyiqa", "pyiqa", "forward", "", "fp32")
    if quick:
        return rows
    resnet = str(folder / "ResNet-50")
    for precision in ("fp32", "bf16"):
        rows[f"step: fusiqa, ResNet-50, {precision}"] = ("torch", "fusiqa", "step", resnet, precision)
        rows[f"step: pyiqa, ResNet-50, {precision}"] = ("pyiqa", "pyiqa", "step", "", precision)
    large = generate(folder / "large", width=4000, height=3000, count=10)
    for name, files, count in (("1024x768", small, "500"), ("12 megapixels", large, "60")):
        place = str(files[0].parent)
        rows[f"folder, {name}: fusiqa, {count} images"] = ("core", "fusiqa", "folder", "fusiqa-fast", place, count)
        rows[f"folder, {name}: fusiqa, halves"] = ("core", "fusiqa", "halves", "fusiqa-fast", place)
        rows[f"folder, {name}: pyiqa, HyperIQA, 3 images"] = ("pyiqa", "pyiqa", "folder", "hyperiqa", place, "3")
    return rows


def series_of(folder: Path) -> dict[str, tuple[str, ...]]:
    """`fusiqa score` on folders of 100 to 10,000 images of 320x240, which are links to twenty."""
    from data import generate

    files, rows = generate(folder / "tiny", width=320, height=240, count=20), {}
    for count in COUNTS:
        place = folder / f"{count} images"
        place.mkdir()
        for number, file in enumerate(islice(cycle(files), count)):
            (place / f"{number:05d}.jpg").symlink_to(file)
        command = ("core", "fusiqa", "command", "score", str(place), "--output", "scores.csv")
        rows[f"number of images: {count}"] = command
    return rows


def main() -> None:
    from dataclasses import dataclass

    import tyro

    @dataclass(frozen=True)
    class Settings:
        """Measure fusiqa and pyiqa on the same work."""

        repeats: int = 5
        """Processes per figure; the median is reported."""
        only: tuple[str, ...] = ()
        """Beginnings of the names of rows to measure, such as image or "forward: fusiqa"; by default all."""
        quick: bool = False
        """Five minutes: one image, the command line, forward passes and ceilings in 32 bits, three repeats."""
        environment: Path = Path("~/.cache/fusiqa/peers")
        """Where pyiqa's environment is made."""
        output: Path | None = None
        """JSON file for the figures; by default they are only printed."""

    settings = tyro.cli(Settings)
    repeats = 3 if settings.quick else settings.repeats
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["PEERS_FOLDER"] = temporary
        pythons = {
            "torch": Path(sys.executable),
            "core": core_python(folder / "core"),
            "pyiqa": peer_python(settings.environment.expanduser()),
        }
        install = {name: install_size(pythons[name]) for name in ("core", "pyiqa")}
        for name, network in NETWORKS.items():
            run(pythons["torch"], "fusiqa", "make", *network, str(folder / name))
        rows, series = rows_of(folder, quick=settings.quick), {} if settings.quick else series_of(folder)
        found: dict[str, list[Figures]] = {}

        def measure(name: str, place: str, *task: str) -> None:
            if settings.only and not name.startswith(settings.only):
                return
            found.setdefault(name, []).append(run(pythons[place], *task))
            print(f"{time.strftime('%H:%M:%S')} {name}: {found[name][-1]}", file=sys.stderr)
            if settings.output is not None:
                settings.output.write_text(json.dumps(report(install, found), indent=2) + "\n", encoding="utf-8")

        for name, row in series.items():
            measure(name, *row)
        for _ in range(repeats):
            for name, row in rows.items():
                measure(name, *row)
    print(json.dumps(report(install, found), indent=2))


def report(install: dict[str, Figures], found: dict[str, list[Figures]]) -> dict[str, Any]:
    """The medians so far, of how many processes, and where."""
    medians = {
        name: {key: round(median(each[key] for each in runs), 4) for key in runs[0]} | {"of": len(runs)}
        for name, runs in found.items()
    }
    return {"machine": machine(), "commit": commit(), "install": install, "figures": medians}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        tool, task, *arguments = sys.argv[2:]
        print(json.dumps(TASKS[task](tool, *arguments)))
    else:
        main()
