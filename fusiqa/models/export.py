"""A trained model as one file for other runtimes, ONNX or torch.export, held against torch before it is kept."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from fusiqa.errors import FusiqaError
from fusiqa.io import write_atomically
from fusiqa.models.crops import to_unit_range
from fusiqa.models.quality import QualityModel
from fusiqa.scoring.image import OVERLAP
from fusiqa.scoring.models import Batch
from fusiqa.scoring.onnx import METADATA, OnnxNetwork

if TYPE_CHECKING:
    from fusiqa.scoring.torch import TorchNetwork

TOLERANCE = 1e-4
"""Largest difference to torch, as a fraction of the score range, with which a file is kept."""
BATCHES = (1, 2, 5)  # with which it is tried
INPUT, OUTPUTS = "crops", ("score", "scale_weights")
Outputs = tuple[Tensor] | tuple[Tensor, Tensor]


class CropScorer(nn.Module):
    """The network with its preprocessing: bytes in, so that a runtime needs nothing but crops."""

    def __init__(self, model: QualityModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, crops: UInt8[Tensor, "batch height width 3"]) -> Outputs:
        score, weights = self.model(to_unit_range(crops.permute(0, 3, 1, 2)))
        return (score,) if weights is None else (score, weights)


def export(network: TorchNetwork, output: Path, *, source: str = "", half: bool = False) -> float:
    """Write a model as .onnx or .pt2.

    Its input is `crops`, uint8 (batch, side, side, 3), RGB; its outputs are `score` (batch,), on the score range, and
    for a fusion that weighs `scale_weights` (batch, 4). The batch may have any size.

    Args:
        network: the model, on the CPU.
        output: the file.
        source: what the file depends on, kept in its metadata (`fusiqa.scoring.models.source_of`).
        half: store matrices and kernels of an ONNX file in 16 bits; they compute in 32 all the same.

    Returns:
        The largest difference to torch that was seen, as a fraction of the score range.

    Raises:
        FusiqaError: the model cannot be exported, or what came out differs; there is then no file.
    """
    write = write_onnx if output.suffix.lower() == ".onnx" else write_exported
    differences: list[float] = []

    def write_and_try(temporary: Path) -> None:
        write(network, temporary, metadata(network, source), half=half)
        differences.append(difference(network, loader_of(output)(temporary)))
        if not differences[0] <= TOLERANCE:
            raise FusiqaError(f"{output} was not written: it differs from torch by {differences[0]:.1e} of the range")

    write_atomically(output, write_and_try)
    return differences[0]


def write_onnx(network: TorchNetwork, path: Path, stated: dict[str, Any], *, half: bool) -> None:
    """ONNX with the description of the model in its metadata. Raises FusiqaError where onnx is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as reason:
        raise FusiqaError("exporting to ONNX needs onnx and onnxscript: pip install 'fusiqa[onnx]'") from reason
    program = traced(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own workings
        names = OUTPUTS[: len(program.graph_signature.user_outputs)]
        made = torch.onnx.export(
            program,
            (),
            input_names=[INPUT],
            output_names=list(names),
            dynamo=True,
            verbose=False,
            external_data=False,
            optimize=not half,  # it would merge batch norms into kernels, which then no longer fit into 16 bits
        )
    assert made is not None
    made.model.metadata_props[METADATA] = json.dumps(stated)
    made.save(path, external_data=False)
    if half:
        store_in_half(path)


def store_in_half(path: Path) -> None:
    """Keep the matrices and kernels of an ONNX file in 16 bits, which halves it; the graph casts them to 32."""
    import onnx

    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue  # vectors stay: a variance may be too small or too large for 16 bits, and they are few
        name, half = tensor.name, onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = list(model.graph.node)
    for node in nodes:
        del node.metadata_props[:]  # stack traces of the exporter, a megabyte
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    del model.graph.value_info[:]
    onnx.save(model, path)


def write_exported(network: TorchNetwork, path: Path, stated: dict[str, Any], *, half: bool) -> None:
    """torch.export's format; `torch.export.load(path, extra_files=...)` gives back the description."""
    program = traced(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it remarks on weights that share memory, which are on the CPU here
        torch.export.save(program, path, extra_files={f"{METADATA}.json": json.dumps(stated)})


def traced(network: TorchNetwork) -> torch.export.ExportedProgram:
    """The network as a graph whose batch may have any size."""
    crops = torch.zeros(3, network.info.crop_size, network.info.crop_size, 3, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(CropScorer(network.model).eval(), (crops,), dynamic_shapes=({0: batch},))


def metadata(network: TorchNetwork, source: str) -> dict[str, Any]:
    """What is to be known of a model before it is fed: the preprocessing is all that is not in the graph."""
    return {
        **asdict(network.info),
        "source": source,
        "higher_is_better": True,
        "colour": "upright sRGB, bytes; the graph normalises",
        "crops": f"square, to the image's edges, overlapping by {OVERLAP:.4f} of a crop; scores are averaged",
        "smaller": "an image smaller than a crop is mirrored outwards",
    }


def loader_of(output: Path) -> Callable[[Path], Callable[[Batch], Any]]:
    if output.suffix.lower() == ".onnx":
        return lambda path: OnnxNetwork(path, device="cpu")
    return load_exported


def load_exported(path: Path) -> Callable[[Batch], Any]:
    """A .pt2 file as a function of crops."""
    graph = torch.export.load(path).module()
    return lambda crops: [each.numpy() for each in graph(torch.from_numpy(crops))]


def difference(network: TorchNetwork, other: Callable[[Batch], Any]) -> float:
    """The largest difference of scores and scale weights, as fractions of their range, over several batch sizes."""
    random = np.random.default_rng(0)
    side, width = network.info.crop_size, network.info.score_range.width
    worst = 0.0
    for batch in BATCHES:
        crops = random.integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
        expected, found = network(crops), other(crops)
        worst = max(worst, _largest(expected[0], found[0]) / width)
        if expected[1] is not None:
            worst = max(worst, _largest(expected[1], found[1]))
    return worst


def _largest(first: Float[np.ndarray, ...], second: Float[np.ndarray, ...]) -> float:
    return float(np.abs(first - second).max()) if first.shape == second.shape else float("inf")
