"""Weights in 8 and 16 bits: rounded so that these hold them exactly, and stored so in a file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from fusiqa.errors import FusiqaError

BYTE = 127  # largest whole number of a weight
SMALLEST = 2.0**-21  # scale whose multiples 16 bits hold exactly
SCALE = "_byte_scale"  # ends the name of the scales of a tensor of bytes


def fits_half(values: np.ndarray) -> bool:
    """Whether 16 bits hold every value exactly."""
    with np.errstate(over="ignore"):
        return np.array_equal(values, values.astype(np.float16))


def four_bits(least: Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
    """The smallest scales of four significant bits that are at least so large."""
    least = np.maximum(least, SMALLEST)
    power = 2.0 ** np.floor(np.log2(least))
    return np.ceil(least / power * 8) / 8 * power


def round_to_bytes(model: nn.Module) -> None:
    """Round matrices and kernels, in place, to whole numbers of -127 to 127 times a scale of each output channel.

    Depthwise kernels, few and the most sensitive ones, are rounded to 16 bits. The scales have four significant bits,
    so that 16 bits hold every product exactly: a file of halves, one of bytes and an ONNX file are the same model,
    which computes in 32 bits. Activations are not rounded. Raises FusiqaError for weights that 16 bits cannot hold.
    """
    for name, weights in ((name, each.data) for name, each in model.named_parameters() if each.ndim > 1):
        rounded = weights.half().float()
        if (weights.ndim != 4 or weights.shape[1] > 1) and rounded.isfinite().all():
            rows = weights.flatten(1).double().cpu().numpy()
            scale = four_bits(np.abs(rows).max(axis=1, keepdims=True) / BYTE)
            rounded = torch.from_numpy(np.round(rows / scale) * scale).float().view_as(weights)
        if not rounded.half().isfinite().all():
            raise FusiqaError(f"{name} has values of 65,504 and more, or no numbers: 16 bits cannot hold them")
        weights.copy_(rounded)


def as_bytes(values: Float[np.ndarray, ...]) -> tuple[Int8[np.ndarray, ...], Float[np.ndarray, ...]] | None:
    """Whole numbers of -127 to 127 and the scales of the rows or columns that give exactly these values, as
    `round_to_bytes` left them; None where none do."""
    for axis in (0, 1):
        if values.shape[axis] == values.size or not values.size:
            continue  # a scale for each value would save nothing
        rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).astype(np.float64)
        # The largest number of a row, rounded itself, may call for a scale one step below that of the rounding.
        first = four_bits(np.abs(rows).max(axis=1, keepdims=True) / BYTE)
        scales = first, four_bits(first * 1.01)
        fits = [(np.round(rows / scale) * scale == rows).all(axis=1, keepdims=True) for scale in scales]
        if (fits[0] | fits[1]).all():
            scale = np.where(fits[0], *scales).astype(np.float32)
            along = np.expand_dims(scale[:, 0], [place for place in range(values.ndim) if place != axis])
            return np.round(values / along).astype(np.int8), along
    return None


def compacted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as a compact file holds them: matrices and kernels in bytes and scales where these give exactly the same
    numbers, in 16 bits elsewhere. Vectors stay: a variance may be too small or too large for 16 bits, and they are few.
    """
    held: dict[str, Tensor] = {}
    for name, values in state.items():
        matrix = values.ndim > 1 and values.is_floating_point()
        if matrix and (whole := as_bytes(values.numpy())) is not None:
            held[name], held[name + SCALE] = map(torch.from_numpy, whole)
        else:
            held[name] = values.half() if matrix else values
    return held


def restored(held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that a file holds, compact or not."""
    scales = {name + SCALE for name in held} & held.keys()
    state = {name: values for name, values in held.items() if name not in scales}
    return {name: values * held[name + SCALE] if name + SCALE in scales else values for name, values in state.items()}
