"""Faster gradients of depthwise convolutions on a CPU in bfloat16.

oneDNN has fast kernels for their forward pass and for the weights of 3x3 ones; it computes the gradient of a strided
one's input and of 5x5 weights 10 to 50 times slower. Both are expressed by the fast ones: the first is a convolution
of the gradient, spread out by zeros, with the mirrored weights; the second consists of four overlapping 3x3 parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


def fast_depthwise(device_type: str, precision: str) -> AbstractContextManager[Any]:
    """A context of `FastDepthwise` where that is faster."""
    return FastDepthwise() if (device_type, precision) == ("cpu", "bf16") else nullcontext()


class FastDepthwise(TorchFunctionMode):
    """Within this context, depthwise convolutions of 3x3 and 5x5 have the faster gradients, the same up to rounding."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.conv2d and not kwargs and len(args) == 7 and torch.is_grad_enabled():
            x, weight, bias, stride, padding, _, _ = args
            if _covered(x, weight, *args[3:]):
                if torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:  # which autocast leaves as it is
                    dtype = torch.get_autocast_dtype("cpu")
                    x, weight, bias = x.to(dtype), weight.to(dtype), bias if bias is None else bias.to(dtype)
                return _Depthwise.apply(x, weight, bias, stride[0], padding[0])
        return func(*args, **(kwargs or {}))


def _covered(x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> bool:
    depthwise = x.ndim == 4 and groups == x.shape[1] == weight.shape[0] > 1
    if not depthwise or not all(isinstance(each, tuple) for each in (stride, padding, dilation)):
        return False
    square = weight.shape[2] == weight.shape[3] in (3, 5) and stride[0] == stride[1] and dilation == (1, 1)
    return square and padding[0] == padding[1] < weight.shape[2]


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = _of_input(gradient, x, weight, ctx.stride, ctx.padding) if ctx.needs_input_grad[0] else None
        of_weight = _of_weight(gradient, x, weight, ctx.stride, ctx.padding) if ctx.needs_input_grad[1] else None
        return of_x, of_weight, gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None, None


def _of_input(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    size = weight.shape[2]
    if stride > 1:
        sides = [side + 2 * padding - size + 1 for side in x.shape[2:]]
        spread = torch.empty((*x.shape[:2], *sides), dtype=x.dtype, memory_format=torch.channels_last).zero_()
        spread[:, :, ::stride, ::stride] = gradient
        gradient = spread
    return F.conv2d(gradient, weight.flip(2, 3), None, 1, size - 1 - padding, 1, len(weight))


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    if weight.shape[2] == 3:
        return _of_three(gradient, x, weight, stride, padding)
    padded, result, three = F.pad(x, (padding,) * 4), torch.empty_like(weight), weight[:, :, :3, :3]
    rows, columns = ((side - 1) * stride + 3 for side in gradient.shape[2:])
    for top in (0, 2):
        for left in (0, 2):
            part = padded[:, :, top : top + rows, left : left + columns].contiguous(memory_format=torch.channels_last)
            result[:, :, top : top + 3, left : left + 3] = _of_three(gradient, part, three, stride, 0)
    return result


def _of_three(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    sizes: tuple[Any, ...] = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight))
    return torch.ops.aten.convolution_backward(gradient, x, weight, None, *sizes, [False, True, False])[1]
