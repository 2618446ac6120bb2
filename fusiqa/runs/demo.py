"""The whole workflow in minutes, without data or download: `fusiqa demo`. Each step is a command of its own."""

from __future__ import annotations

import time
from itertools import product
from pathlib import Path

from fusiqa.config import AttentionConfig, CompareConfig, DemoConfig, TrainConfig
from fusiqa.data.distortions import distort
from fusiqa.data.synthetic import SIZE
from fusiqa.explain.plots.runs import score_scatter, training_curves
from fusiqa.explain.plots.style import sample_photograph
from fusiqa.io import claim
from fusiqa.progress import Say
from fusiqa.runs.compare import CSV_FILE, MARKDOWN_FILE, compare_runs
from fusiqa.runs.explain import BARS_FILE, HEATMAP_FILE, SCALE_WEIGHTS_FILE, SUMMARY_FILE, explain
from fusiqa.runs.folder import PREDICTIONS_FILE, TEST_FILE, read_json, read_run_table
from fusiqa.runs.train import train
from fusiqa.scoring.inputs import file_image
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.sheet import Shown, contact_sheet
from fusiqa.stats.intervals import Estimate
from fusiqa.training.fit import HISTORY_FILE

SAMPLES_FILE = "samples.png"
SAMPLES = (*product(("gaussian_blur", "jpeg", "white_noise"), (3, 5)), ("pixelate", 5))  # distortions and their levels
# A small convolutional network learns this set from random weights in minutes on two cores; a Swin would not. The head
# costs more than this backbone, so whole images, of one crop each, cost a twentieth of crops of 64 in evaluation.
NETWORK = {"backbone": "test_resnet", "backbone_weights": "none", "crop_size": SIZE}
SETTINGS = TrainConfig.of(
    dataset="synthetic", batch_size=16, epochs=4, lr=2e-3, loss="both", overwrite=True, spaq=False, **NETWORK
)


def demo(config: DemoConfig, *, say: Say = print) -> Path:
    """Score samples; train with attention fusion and with concatenation, test, compare and explain."""
    started = time.monotonic()
    claim(config.output, "*")
    settings = SETTINGS.replace(seed=config.seed, progress=config.progress)
    output, concat, attention = config.output, config.output / "concat", config.output / "attention"
    say("1/5 scoring a photograph and distorted versions of it with the packaged model")
    score_samples(output / SAMPLES_FILE, say=say)
    say("\n2/5 training with attention fusion (the images are drawn first)")
    train(settings.replace(attention_fusion=True, run_dir=attention), say=say)
    say("\n3/5 training with concatenation, with equal settings")
    train(settings.replace(run_dir=concat, export=False), say=say)
    say("\n4/5 comparing the two on the same test images")
    compare_runs(CompareConfig((concat, attention), output=output), say=say)
    say("\n5/5 explaining the scale weights by distortion")
    explained = explain(AttentionConfig(attention, progress=config.progress), say=say)
    training_curves(read_run_table(attention / HISTORY_FILE), attention / "training.png")
    predictions = read_run_table(attention / PREDICTIONS_FILE)
    score_scatter(predictions["score"], predictions["mos"], attention / "scatter.png")
    srcc = Estimate(**read_json(attention / TEST_FILE)["srcc"])
    minutes = (time.monotonic() - started) / 60
    say(f"\ndone in {minutes:.1f} minutes; attention fusion: test SRCC {srcc:.3f} on unseen contents")
    places = {
        "scored sample images": output / SAMPLES_FILE,
        "scale weights by distortion": explained / BARS_FILE,
        "scale weights by image": explained / HEATMAP_FILE,
        "both as tables": f"{explained / SUMMARY_FILE}, {explained / SCALE_WEIGHTS_FILE}",
        "attention against concat": f"{output / MARKDOWN_FILE}, {output / CSV_FILE}",
        "scores against MOS": attention / "scatter.png",
        "training curves": attention / "training.png",
        "trained model": attention / "model.safetensors",
        "test results": attention / TEST_FILE,
    }
    say("\n".join(f"  {what:<28} {where}" for what, where in places.items()))
    return output


def score_samples(path: Path, *, say: Say) -> None:
    """Score a photograph, undistorted and distorted, with the packaged model, and draw its versions on a sheet."""
    scorer, photograph = Scorer(), file_image(str(sample_photograph())).read()
    versions = {"undistorted": photograph}
    for name, level in SAMPLES:
        versions[f"{name.replace('_', ' ')}, level {level}"] = distort(photograph, name, level, seed=0)
    scores = dict(zip(versions, (result.score for result in scorer.many(list(versions.values()))), strict=True))
    low, high = scorer.score_range
    title = f"Scores of the packaged model, {low:g} to {high:g}, higher is better"
    contact_sheet([Shown(versions[name], (name, f"{scores[name]:.1f}")) for name in versions], path, title=title)
    for name, score in scores.items():
        say(f"  {score:5.1f}  {name}")
    say(f"written to {path}")
