"""fusiqa beside pyiqa on the same work, in one run and in turns: python benchmarks/peers.py

pyiqa is installed from the package index into its own environment on the first run. Its HyperIQA and TOPIQ-NR have
random weights, which cost the same. Every figure is the median of `repeats` processes that alternate between the tools;
images are generated, so that only the packages are downloaded.
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
from pathlib import Path
from statistics import median
from typing import Any

WORKER = Path(__file__).resolve()
BATCHES = (1, 8, 32)
PEERS = {"hyperiqa": "pyiqa, HyperIQA", "topiq_nr": "pyiqa, TOPIQ-NR"}


# Runs in its own process, in the environment of one of the tools.


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if platform.system() == "Darwin" else 1e3)


def per_second(work: Any, count: int, *, seconds: float = 3.0) -> float:
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


def scorer_of(tool: str, model: str) -> Any:
    """A function from a path to a score."""
    if tool == "fusiqa":
        import fusiqa

        scorer = fusiqa.Scorer(model or None)
        return lambda path: scorer(path).score
    metric = peer_metric(model)
    return lambda path: float(metric(str(path)))


def network_of(tool: str, backbone: str) -> Any:
    """HyperIQA over a backbone with random weights, crops (batch, 3, 224, 224) in, scores out."""
    if tool == "fusiqa":
        import fusiqa

        fusion = "single" if backbone == "resnet50" else "attention"
        model = fusiqa.build_model(fusiqa.ModelConfig(backbone=backbone, fusion=fusion))
        return model, lambda crops: model(crops).score
    net = peer_metric("hyperiqa").net
    return net, net.forward_patch


def task_image(tool: str, model: str, path: str) -> dict[str, float]:
    """One image: seconds until its first score, imports included, then seconds per image, and peak memory."""
    started = time.perf_counter()
    score = scorer_of(tool, model)
    score(path)
    first = time.perf_counter() - started
    return {"first": first, "seconds": 1 / per_second(lambda: score(path), 1), "megabytes": peak_megabytes()}


def task_folder(tool: str, model: str, folder: str) -> dict[str, float]:
    """A folder of JPEGs, file to score."""
    paths = sorted(Path(folder).iterdir())
    if tool == "fusiqa":
        import fusiqa

        scorer = fusiqa.Scorer(model or None)
        scorer(paths[0])
        started = time.perf_counter()
        scored = sum(result.ok for result in scorer.stream(paths))
    else:
        score = scorer_of(tool, model)
        score(paths[0])
        started = time.perf_counter()
        scored = len([score(path) for path in paths])
    return {"per second": scored / (time.perf_counter() - started), "megabytes": peak_megabytes()}


def task_forward(tool: str, backbone: str, batch: str) -> dict[str, float]:
    """Crops per second of the forward pass."""
    import torch

    model, forward = network_of(tool, backbone)
    model.eval()
    crops = torch.rand(int(batch), 3, 224, 224)
    if tool == "fusiqa":
        model.to(memory_format=torch.channels_last)
        crops = crops.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        return {"per second": per_second(lambda: forward(crops), int(batch)), "megabytes": peak_megabytes()}


def task_step(tool: str, backbone: str, batch: str) -> dict[str, float]:
    """Crops per second of a training step: forward, L1, backward, AdamW."""
    import torch

    model, forward = network_of(tool, backbone)
    model.train()
    crops, target = torch.rand(int(batch), 3, 224, 224), torch.rand(int(batch))
    if tool == "fusiqa":
        model.to(memory_format=torch.channels_last)
        crops = crops.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def step() -> None:
        loss = torch.nn.functional.l1_loss(forward(crops).flatten(), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return {"per second": per_second(step, int(batch), seconds=8), "megabytes": peak_megabytes()}


def task_ceiling(tool: str, kind: str, path: str) -> dict[str, float]:
    """What the machine can do: GFLOP/s of matrix products, or JPEG decodes per second."""
    if kind == "decode":
        from PIL import Image

        return {"per second": per_second(lambda: Image.open(path).convert("RGB"), 1)}
    import torch

    side = 512 if kind == "bf16" else 2048  # without native bfloat16 a large product takes minutes
    one = torch.rand(side, side)
    if kind == "int8":
        left = (one * 127).to(torch.int8)
        rate = per_second(lambda: torch._int_mm(left, left), 2)
    else:
        left = one.to({"fp32": torch.float32, "bf16": torch.bfloat16}[kind])
        rate = per_second(lambda: left @ left, 2)
    return {"per second": rate * side**3 / 1e9}


TASKS = {
    "image": task_image, "folder": task_folder, "forward": task_forward, "step": task_step, "ceiling": task_ceiling,
}  # fmt: skip


# Runs in fusiqa's environment and starts the others.


def peer_python(folder: Path) -> Path:
    """The interpreter of pyiqa's environment, made on the first run with the torch that runs here."""
    python = folder / "bin" / "python"
    if not (folder / "complete").is_file():
        import torch
        import torchvision

        versions = [
            f"torch=={torch.__version__.split('+')[0]}",
            f"torchvision=={torchvision.__version__.split('+')[0]}",
        ]
        print(f"installing pyiqa into {folder}, once", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "pyiqa", *versions], check=True)
        (folder / "complete").touch()
    return python


def run(python: Path, tool: str, task: str, *arguments: str) -> dict[str, float]:
    """One task in a process of its own."""
    command = [str(python), str(WORKER), "--worker", tool, task, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "TQDM_DISABLE": "1"})
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def in_turns(pythons: dict[str, Path], rows: dict[str, tuple[str, ...]], repeats: int) -> dict[str, dict[str, float]]:
    """Medians of every row's figures; each round does every row once. A row is (tool, task, arguments)."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
    for _ in range(repeats):
        for name, (tool, task, *arguments) in rows.items():
            found[name].append(run(pythons[tool], tool, task, *arguments))
    return {
        name: {key: round(median(each[key] for each in runs), 4) for key in runs[0]} for name, runs in found.items()
    }


def install_size(python: Path) -> dict[str, float]:
    """Packages and megabytes of an environment."""
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True)
    files = (path.lstat().st_size for path in python.parents[1].rglob("*") if path.is_file())
    return {"packages": len(json.loads(listed.stdout)), "megabytes": round(sum(files) / 1e6)}


def main() -> None:
    from dataclasses import dataclass

    import tyro
    from data import generate

    @dataclass(frozen=True)
    class Settings:
        """Measure fusiqa and pyiqa on the same work."""

        repeats: int = 5
        """Processes per figure; the median is reported."""
        images: int = 500
        """Images of the folder of 1024x768; a tenth as many have 12 megapixels."""
        quick: bool = False
        """Five minutes: one image and the forward passes, three repeats, 20 images."""
        environment: Path = Path("~/.cache/fusiqa/peers")
        """Where pyiqa's environment is made."""
        output: Path | None = None
        """JSON file for the figures; by default they are only printed."""

    settings = tyro.cli(Settings)
    repeats, images = (3, 20) if settings.quick else (settings.repeats, settings.images)
    pythons = {"fusiqa": Path(sys.executable), "pyiqa": peer_python(settings.environment.expanduser())}
    with tempfile.TemporaryDirectory() as temporary:
        small = generate(Path(temporary) / "small", width=1024, height=768, count=images)
        one = str(small[0])
        rows: dict[str, tuple[str, ...]] = {"image: fusiqa": ("fusiqa", "image", "", one)}
        rows |= {f"image: {words}": ("pyiqa", "image", name, one) for name, words in PEERS.items()}
        for batch in map(str, BATCHES):
            rows[f"forward, ResNet-50, batch {batch}: fusiqa"] = ("fusiqa", "forward", "resnet50", batch)
            rows[f"forward, ResNet-50, batch {batch}: pyiqa"] = ("pyiqa", "forward", "resnet50", batch)
            swin = "swin_tiny_patch4_window7_224"
            rows[f"forward, Swin-Tiny, batch {batch}: fusiqa"] = ("fusiqa", "forward", swin, batch)
        rows |= {f"ceiling: {kind}": ("fusiqa", "ceiling", kind, one) for kind in ("fp32", "bf16", "int8", "decode")}
        if not settings.quick:
            large = generate(Path(temporary) / "large", width=4000, height=3000, count=max(1, images // 10))
            for batch in ("8", "32"):
                for tool in pythons:
                    rows[f"training step, ResNet-50, batch {batch}: {tool}"] = (tool, "step", "resnet50", batch)
            for name, folder in (("1024x768", small[0].parent), ("12 megapixels", large[0].parent)):
                rows[f"folder, {name}: fusiqa"] = ("fusiqa", "folder", "", str(folder))
                rows[f"folder, {name}: pyiqa"] = ("pyiqa", "folder", "hyperiqa", str(folder))
        found = in_turns(pythons, rows, repeats)
    report = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "figures": found,
        "install": {"pyiqa": install_size(pythons["pyiqa"])},
    }
    text = json.dumps(report, indent=2)
    print(text)
    if settings.output is not None:
        settings.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        tool, task, *arguments = sys.argv[2:]
        print(json.dumps(TASKS[task](tool, *arguments)))
    else:
        main()
