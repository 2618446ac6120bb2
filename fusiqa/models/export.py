"""A trained model as one file for other runtimes, ONNX or torch.export, compared with torch before it is kept."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import UInt8
from timm.layers import Conv2dSame
from torch import Tensor, nn

from fusiqa.errors import FusiqaError
from fusiqa.io import WEIGHTS_FILE, write_atomically
from fusiqa.models.backbone import to_unit_range
from fusiqa.models.quality import SEEN, QualityModel
from fusiqa.models.rounding import as_bytes, fits_half
from fusiqa.scoring.image import Resize
from fusiqa.scoring.models import Batch
from fusiqa.scoring.onnx import METADATA, OnnxNetwork
from fusiqa.scoring.views import STRIDE, layout

if TYPE_CHECKING:
    from fusiqa.scoring.torch import TorchNetwork

TOLERANCE = 1e-4
"""Largest difference to torch, as a fraction of the score range, with which a file is kept."""
BATCHES = (1, 2, 5)  # sizes of the batches that are compared
WHOLE_SIZES = ((224, 288), (64, 64), (160, 96))
SHARED_FROM = 1024  # bytes of a tensor that is read from another file: smaller ones are not worth the entry


class CropScorer(nn.Module):
    """The network with its preprocessing: bytes in, so that a runtime needs nothing but crops."""

    def __init__(self, model: QualityModel, size: tuple[int, int]) -> None:
        super().__init__()
        self.whole = model.config.view == "whole"
        self.model = copy.deepcopy(model) if self.whole else model
        if self.whole:
            with_fixed_padding(self.model)
            with_fixed_masks(self.model, size)
        self.examine = self.model.examine

    def named(self, crops: UInt8[Tensor, "batch height width 3"]) -> dict[str, Tensor]:
        examined = self.examine(to_unit_range(crops.permute(0, 3, 1, 2)), windows=self.whole)
        return {name: each for name, each in examined._asdict().items() if each is not None}

    def forward(self, crops: UInt8[Tensor, "batch height width 3"]) -> tuple[Tensor, ...]:
        return tuple(self.named(crops).values())


def with_fixed_padding(module: nn.Module) -> None:
    """Give "same" convolutions the padding that they compute for every even side; the sides are multiples of 32.

    As an expression in the sides it grows with every layer, beyond what the exporter can simplify.
    """
    for name, child in list(module.named_children()):
        if isinstance(child, Conv2dSame):
            (high, wide), (down, across), bias = child.kernel_size, child.stride, child.bias is not None
            right, below = max(0, wide - across), max(0, high - down)
            padding = nn.ZeroPad2d((right // 2, right - right // 2, below // 2, below - below // 2))
            channels, groups = (child.in_channels, child.out_channels), child.groups
            plain = nn.Conv2d(*channels, (high, wide), (down, across), groups=groups, bias=bias)
            plain.load_state_dict(child.state_dict())
            plain.requires_grad_(False)
            setattr(module, name, nn.Sequential(padding, plain))
        else:
            with_fixed_padding(child)


@torch.no_grad()
def with_fixed_masks(model: QualityModel, size: tuple[int, int]) -> None:
    """Keep the masks of attention for images of one size: made in every pass, they are hundreds of operations."""

    def keep(block: Any, inputs: tuple[Tensor]) -> None:
        high, wide = (
            -(-cells // side) * side for cells, side in zip(inputs[0].shape[1:3], block.window_size, strict=True)
        )
        block.register_buffer("attn_mask", block.get_attn_mask(inputs[0].new_zeros(1, high, wide, 1)), persistent=False)
        block.dynamic_mask = False

    blocks = [block for block in model.modules() if getattr(block, "dynamic_mask", False)]
    hooks = [block.register_forward_pre_hook(keep) for block in blocks]
    if hooks:
        model(torch.zeros(1, 3, *size))
    for hook in hooks:
        hook.remove()


def export(network: TorchNetwork, output: Path, *, source: str = "", share_weights: bool = False) -> float:
    """Write a model as .onnx or .pt2.

    Its input is `crops`, uint8 (batch, side, side, 3), RGB; its outputs are `score` (batch,), on the score range, for a
    fusion that weighs `scale_weights` (batch, 4), with a flaw head `flaws` (batch, 8), and with `view` whole `windows`
    (batch, 9). The batch may have any size; with `view` whole the height and width too, in multiples of 32 from 64.

    Args:
        network: the model, on the CPU. Matrices and kernels that 16 bits hold exactly, as those of a model that was
            saved so, are stored in 16 bits in an .onnx too; they compute in 32 all the same.
        output: the file.
        source: what the file depends on, kept in its metadata (`fusiqa.scoring.models.source_of`).
        share_weights: leave out of an .onnx the tensors that the model.safetensors beside it holds byte for byte, and
            read them from there; `source` must be that of these weights. The two files then belong together.

    Returns the largest difference to torch that was seen, as a fraction of the score range. Raises FusiqaError where
    what came out differs; there is then no file.
    """
    onnx, differences = output.suffix.lower() == ".onnx", list[float]()
    stated = {"source": source, "higher_is_better": True, "colour": "upright sRGB, bytes; the graph normalises"}
    description = json.dumps({**asdict(network.info), **stated, "preprocessing": SEEN[network.info.view]})

    def write_and_try(temporary: Path) -> None:
        (write_onnx if onnx else write_exported)(network, temporary, description)
        if onnx and share_weights:
            take_weights_from(output.with_name(WEIGHTS_FILE), temporary)
        written = OnnxNetwork(temporary, device="cpu", windows=True) if onnx else load_exported(temporary)
        differences.append(difference(network, written))
        if not differences[0] <= TOLERANCE:
            raise FusiqaError(f"{output} was not written: it differs from torch by {differences[0]:.1e} of the range")

    write_atomically(output, write_and_try)
    return differences[0]


def write_onnx(network: TorchNetwork, path: Path, description: str) -> None:
    """ONNX with the description of the model in its metadata."""
    program, names = traced(network)
    named: dict[str, Any] = {"input_names": ["crops"], "output_names": names, "external_data": False}
    half = all(fits_half(tensor.numpy()) for tensor in network.model.state_dict().values() if tensor.ndim > 1)
    with warnings.catch_warnings(action="ignore"):  # of the exporter's own workings
        # In halves not optimised, which merges batch norms into kernels, which then no longer fit into 16 bits.
        made = torch.onnx.export(program, (), dynamo=True, verbose=False, optimize=not half, **named)
    assert made is not None
    if half:  # ONNX Runtime sees what CastLike hides too late to merge batch norms and clips into convolutions
        from onnxscript import optimizer

        optimizer.fold_constants(made.model)
        optimizer.remove_unused_nodes(made.model)
    made.model.metadata_props[METADATA] = description
    made.save(path, external_data=False)
    if half:
        store_compactly(path)


def store_compactly(path: Path) -> None:
    """Keep matrices and kernels of an ONNX file in 8 or 16 bits, where they hold them; the graph casts them to 32."""
    import onnx

    model, casts = onnx.load(path), []
    for tensor in list(model.graph.initializer):  # to which the scales are appended
        name, values = tensor.name, onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2 or not fits_half(values):
            continue
        whole = as_bytes(values)
        stored = values.astype(np.float16) if whole is None else whole[0]
        tensor.CopyFrom(onnx.numpy_helper.from_array(stored, f"{name}_stored"))
        cast = name if whole is None else f"{name}_cast"
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [cast], to=onnx.TensorProto.FLOAT))
        if whole is not None:
            model.graph.initializer.append(onnx.numpy_helper.from_array(whole[1], f"{name}_scale"))
            casts.append(onnx.helper.make_node("Mul", [cast, f"{name}_scale"], [name]))
    nodes = list(model.graph.node)
    for node in nodes:
        del node.metadata_props[:]  # stack traces of the exporter, a megabyte
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, path)


def take_weights_from(weights: Path, path: Path) -> None:
    """Let an ONNX file read from a safetensors file beside it what both hold.

    A safetensors file is its header's length in 8 bytes, the header, a JSON object, and the bytes of the tensors.
    """
    import onnx

    model, content = onnx.load(path), weights.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    ranges = [each["data_offsets"] for name, each in header.items() if name != "__metadata__"]
    places = {content[start + first : start + end]: start + first for first, end in ranges}
    for tensor in model.graph.initializer:
        held = tensor.raw_data
        if len(held) >= SHARED_FROM and held in places:
            onnx.external_data_helper.set_external_data(tensor, WEIGHTS_FILE, places[held], len(held))
            tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())


def write_exported(network: TorchNetwork, path: Path, description: str) -> None:
    """torch.export's format; `torch.export.load(path, extra_files=...)` gives back the description."""
    with warnings.catch_warnings(action="ignore"):  # of weights that share memory, which are on the CPU here
        torch.export.save(traced(network)[0], path, extra_files={f"{METADATA}.json": description})


def traced(network: TorchNetwork) -> tuple[torch.export.ExportedProgram, list[str]]:
    """The network as a graph whose batch may have any size, and its images where it sees them whole; its outputs."""
    sizes, (height, width) = {0: torch.export.Dim("batch", min=1)}, sizes_of(network)[0]
    if network.info.view == "whole" and not network.model.windowed:
        sizes |= {side: STRIDE * torch.export.Dim(f"cells_{side}", min=2) for side in (1, 2)}
    crops = torch.zeros(3, height, width, 3, dtype=torch.uint8)
    scorer = CropScorer(network.model, (height, width)).eval()
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        return torch.export.export(scorer, (crops,), dynamic_shapes=(sizes,)), list(scorer.named(crops))


def sizes_of(network: TorchNetwork) -> Sequence[tuple[int, int]]:
    """Height and width of the images that are compared; of windows of attention and of crops they are all the same.

    Raises FusiqaError for whole images of many sizes where the backbone cuts them into windows: the number of windows,
    and what is added to fill the last of them, are part of the graph.
    """
    info = network.info
    if info.view == "crops":
        return [(info.crop_size,) * 2] * len(BATCHES)
    if not network.model.windowed:
        return WHOLE_SIZES
    exact = Resize.parse(info.resize).exact
    parts = {place[2:] for place in layout(*exact, info.crop_size, view=info.view)[1]} if exact else set()
    if len(parts) != 1:
        raise FusiqaError(
            f"whole images of {info.backbone} are exported in one size alone, as with `resize` 512x384; "
            f"got {info.resize}, which torch can score"
        )
    return list(parts) * len(BATCHES)


def load_exported(path: Path) -> Callable[[Batch], Any]:
    """A .pt2 file as a function of crops."""
    graph = torch.export.load(path).module()
    return lambda crops: [each.numpy() for each in graph(torch.from_numpy(crops))]


def difference(network: TorchNetwork, other: Callable[[Batch], Any]) -> float:
    """The largest difference of an output, of scores as a fraction of their range, over several batch sizes."""
    random, network = np.random.default_rng(0), type(network)(network.model, network.info, windows=True)
    found = list[float]()
    for batch, size in zip(BATCHES, sizes_of(network), strict=True):
        crops = random.integers(0, 256, (batch, *size, 3), dtype=np.uint8)
        expected = {name: each for name, each in network(crops)._asdict().items() if each is not None}
        given = [each for each in other(crops) if each is not None]
        for (name, mine), theirs in zip(expected.items(), given, strict=True):
            unit = network.info.score_range.width if name in ("score", "windows") else 1.0
            same = mine.shape == theirs.shape
            found.append(float(np.abs(mine - theirs).max()) / unit if same else float("inf"))
    return float(np.max(found))  # NaN where one is
