"""A trained network run by onnxruntime. It imports no torch, unless a model has to be exported first."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from fusiqa.config import ScoreRange
from fusiqa.errors import FusiqaError
from fusiqa.scoring.runtime import Crops, Facts, fingerprint_of, weights_of

METADATA = "fusiqa"
"""Key of the facts, as JSON, in the metadata of an ONNX file."""
CROPS_AT_ONCE = 8


class OnnxNetwork:
    """A `Network` in onnxruntime.

    Args:
        session: an onnxruntime session of a file that `fusiqa export` wrote.
        facts: of the model.
    """

    crops_at_once = CROPS_AT_ONCE

    def __init__(self, session: Any, facts: Facts) -> None:
        self.session = session
        self.facts = facts

    def __call__(self, crops: Crops) -> tuple[Float[np.ndarray, " crops"], Float[np.ndarray, "crops 4"] | None]:
        score, *weights = self.session.run(None, {"crops": crops})
        return score.astype(np.float64), weights[0].astype(np.float64) if weights else None


def load_onnx_network(path: Path, *, name: str) -> OnnxNetwork:
    """The network of a model.onnx; another model is exported once, and kept in the cache.

    Raises:
        FusiqaError: onnxruntime is not installed, or the file is none that `fusiqa export` wrote.
    """
    try:
        import onnxruntime
    except ImportError as reason:
        raise FusiqaError("backend onnx needs onnxruntime: pip install 'fusiqa[onnx]'") from reason
    file = path if path.suffix.lower() == ".onnx" else exported_once(path, name=name)
    try:
        session = onnxruntime.InferenceSession(str(file))
        facts = facts_of(json.loads(session.get_modelmeta().custom_metadata_map[METADATA]))
    except Exception as reason:  # onnxruntime raises its own
        told = str(reason).splitlines()[0] if str(reason) else type(reason).__name__
        raise FusiqaError(f"{file} is no model that `fusiqa export` wrote: {told}") from reason
    return OnnxNetwork(session, facts)


def exported_once(path: Path, *, name: str) -> Path:
    """The ONNX file of a model that is none, from the cache; written there, with torch, the first time."""
    from fusiqa.data.cache import default_folder

    kept = default_folder().expanduser() / "onnx" / f"{fingerprint_of(weights_of(path))}.onnx"
    if not kept.is_file():
        from fusiqa.models.export import export

        print(f"exporting {name} to {kept}, once", file=sys.stderr)
        export(path, name=name, output=kept)
    return kept


def facts_of(stated: dict[str, Any]) -> Facts:
    """The facts that an ONNX file's metadata states."""
    return Facts(
        name=stated["name"],
        score_range=ScoreRange(*stated["score_range"]),
        crop_size=stated["crop_size"],
        resize=stated["resize"],
        scale_sizes=tuple((height, width) for height, width in stated["scale_sizes"]),
    )
