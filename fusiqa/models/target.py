"""The target network as a pure function: one small network per image, over batched matrices. It has no parameters."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

SIZES = (224, 112, 56, 28, 14, 1)  # d_0 .. d_5
DROPPED_LAYERS = 3  # dropout follows the first three layers in training


class TargetWeights(NamedTuple):
    """The weights of one target network per image: W_k (batch, d_k+1, d_k) and b_k (batch, d_k+1), k = 0 .. 4."""

    matrices: list[Float[Tensor, "batch _ _"]]
    biases: list[Float[Tensor, "batch _"]]


def target_network(
    vector: Float[Tensor, "batch 224"], weights: TargetWeights, *, dropout: float = 0.0, training: bool = False
) -> Float[Tensor, " batch"]:
    """The quality of each image: x_0 = v, x_k+1 = sigmoid(W_k x_k + b_k), and no sigmoid after the last layer.

    Batched matrix products, not grouped convolutions: an image's score does not depend on the others in the batch.
    It computes in float32, whatever precision its weights were written in.

    Args:
        vector: local distortion vectors v.
        weights: each image's own network.
        dropout: share of values dropped after each of the first three layers, 0-1; only where `training`.
        training: whether to drop.

    Returns:
        Unbounded numbers, trained towards 0-1, higher is better.

    Source: Su et al., CVPR 2020, section 3.2, equation 5.
    """
    x = vector.float().unsqueeze(2)
    last = len(weights.matrices) - 1
    for k, (matrix, bias) in enumerate(zip(weights.matrices, weights.biases, strict=True)):
        x = torch.baddbmm(bias.float().unsqueeze(2), matrix.float(), x)
        if k < last:
            x = torch.sigmoid(x)
        if k < DROPPED_LAYERS:
            x = F.dropout(x, dropout, training)
    return x.flatten()
