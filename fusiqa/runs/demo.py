"""The whole loop in minutes, without data or download: `fusiqa demo`. Each step is a command of its own."""

from __future__ import annotations

import json
import time
from pathlib import Path

from fusiqa.config import AttentionConfig, CompareConfig, DemoConfig, TrainConfig
from fusiqa.explain.plots import score_scatter, training_curves
from fusiqa.runs.compare import CSV_FILE, MARKDOWN_FILE, compare_runs
from fusiqa.runs.explain import BARS_FILE, HEATMAP_FILE, SUMMARY_FILE, WEIGHTS_FILE, explain
from fusiqa.runs.notices import Say
from fusiqa.runs.run_folder import PREDICTIONS_FILE, TEST_FILE
from fusiqa.runs.tables import read_table
from fusiqa.runs.train import train
from fusiqa.training.history import HISTORY_FILE

# A small convolutional pyramid learns this set from random weights in minutes on two cores; a Swin would not.
SETTINGS = TrainConfig.of(
    dataset="synthetic",
    backbone="test_resnet",
    backbone_weights="none",
    crop_size=64,
    batch_size=32,
    epochs=12,
    lr=2e-3,
    overwrite=True,
    spaq=False,
)


def demo(config: DemoConfig, *, say: Say = print) -> Path:
    """Train with attention fusion and with concatenation, test both on unseen contents, compare, explain.

    Returns:
        The folder that holds it all.
    """
    started = time.monotonic()
    settings = SETTINGS.replace(seed=config.seed, progress=config.progress)
    concat, attention = config.output / "concat", config.output / "attention"
    say("1/4 training with attention fusion (the images are drawn first)")
    train(settings.replace(attention_fusion=True, run_dir=attention), say=say)
    say("\n2/4 training with concatenation, everything else equal")
    train(settings.replace(run_dir=concat), say=say)
    say("\n3/4 comparing the two on the same unseen images")
    compare_runs(CompareConfig((concat, attention), output=config.output), say=say)
    say("\n4/4 explaining the scale weights by distortion")
    explain(AttentionConfig(attention, progress=config.progress), say=say)
    training_curves(read_table(attention / HISTORY_FILE), attention / "training.png")
    predictions = read_table(attention / PREDICTIONS_FILE)
    score_scatter(predictions["score"], predictions["mos"], attention / "scatter.png")
    say(closing_words(config.output, attention, minutes=(time.monotonic() - started) / 60))
    return config.output


def closing_words(output: Path, attention: Path, *, minutes: float) -> str:
    """Where everything is."""
    result = json.loads((attention / TEST_FILE).read_text(encoding="utf-8"))["srcc"]
    explained = attention / "attention"
    places = {
        "scale weights by distortion": explained / BARS_FILE,
        "every image's scale weights": explained / HEATMAP_FILE,
        "the same as tables": f"{explained / SUMMARY_FILE}, {explained / WEIGHTS_FILE}",
        "attention against concat": f"{output / MARKDOWN_FILE}, {output / CSV_FILE}",
        "scores against ratings": attention / "scatter.png",
        "training curves": attention / "training.png",
        "the trained model": attention / "model.safetensors",
        "all test figures": attention / TEST_FILE,
    }
    lines = [f"  {what:<28} {where}" for what, where in places.items()]
    figure = f"test SRCC {result['value']:.3f} [{result['low']:.3f}, {result['high']:.3f}]"
    return "\n".join([f"\ndone in {minutes:.1f} minutes; attention fusion: {figure} on unseen contents", *lines])
