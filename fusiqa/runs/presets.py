"""The questions that `fusiqa ablate` settles: named sets of variants, each an edit of the settings of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fusiqa.config import COARSEST, ScaleWeighing, TrainConfig

COMMON = frozenset(
    (
        *("dataset", "data_dir", "score_range", "resize", "validation_fraction", "split_seed", "split_file"),
        *("skip_broken", "cache_dir", "cache_gb", "spaq", "spaq_dir"),
        *("seed", "run_dir", "resume", "overwrite", "progress", "device", "num_devices", "num_nodes", "num_workers"),
    )
)
"""Settings that no variant edits: the images are looked at once for all runs, and the runs are paired by seed."""


@dataclass(frozen=True)
class Variant:
    """A design: its name, and what it changes in the settings of a run."""

    name: str
    edits: Mapping[str, Any] = field(default_factory=dict)

    def of(self, base: TrainConfig) -> TrainConfig:
        return base.replace(**self.edits)


@dataclass(frozen=True)
class Preset:
    """A question: its variants, and the one that the others are compared with."""

    question: str
    variants: tuple[Variant, ...]
    reference: str


def _fusion(name: str) -> Variant:
    return Variant(name, {"fusion": name})


def _scale(number: int) -> Variant:
    return Variant(f"scale {number}", {"fusion": "single", "single_scale": number})


def _attention(name: str, *, entropy_weight: float = 0.0, **weighing: Any) -> Variant:
    edits = {"fusion": "attention", "weighing": ScaleWeighing(**weighing), "entropy_weight": entropy_weight}
    return Variant(name, edits)


def _backbone(name: str) -> Variant:
    return Variant(name, {"backbone": name})


PRESETS: Mapping[str, Preset] = {
    "attention": Preset(
        "Does weighing the scales for every image beat putting them side by side?",
        (_fusion("concat"), _fusion("attention")),
        "concat",
    ),
    "scales": Preset(
        "One scale, four scales side by side, or four weighed scales?",
        (_fusion("single"), _fusion("concat"), _fusion("attention")),
        "concat",
    ),
    "fusions": Preset(
        "Which fusion of four scales?",
        tuple(map(_fusion, ("single", "concat", "attention", "spatial", "cross-scale"))),
        "concat",
    ),
    "one-scale": Preset(
        "Does any one scale alone do as well as all four side by side?",
        (_fusion("concat"), *map(_scale, range(COARSEST + 1))),
        "concat",
    ),
    "weighing": Preset(
        "Does it pay to weigh the scales, with a softmax or with gates of their own?",
        (_fusion("single"), _fusion("concat"), _fusion("attention"), _attention("sigmoid gates", gate="sigmoid")),
        "concat",
    ),
    "collapse": Preset(
        "What keeps the scale weights from collapsing onto one scale, and what does it cost?",
        (
            _attention("attention"),
            _attention("gain 4", gain=4.0),
            _attention("normalised maps", normalised=True),
            _attention("normalised maps, gain 4", normalised=True, gain=4.0),
            _attention("temperature 4", temperature=4.0),
            _attention("sigmoid gates", gate="sigmoid"),
            _attention("entropy term 0.05", entropy_weight=0.05),
        ),
        "attention",
    ),
    "backbones": Preset(
        "Which kind of backbone?",
        tuple(
            map(
                _backbone,
                (
                    "swin_tiny_patch4_window7_224",
                    "swinv2_tiny_window8_256",
                    "convnext_tiny",
                    "resnet50",
                    "mobilenetv2_100",
                ),
            )
        ),
        "swin_tiny_patch4_window7_224",
    ),
    "swin": Preset(
        "How large a Swin Transformer?",
        tuple(_backbone(f"swin_{size}_patch4_window7_224") for size in ("tiny", "small", "base")),
        "swin_tiny_patch4_window7_224",
    ),
}
