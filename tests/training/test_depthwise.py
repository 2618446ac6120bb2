"""The faster gradients of depthwise convolutions are those of torch, and only they are replaced."""

import pytest
import torch
from tiny_models import TINY_RUN
from torch.nn import functional as F

from fusiqa.cli import main
from fusiqa.training import depthwise
from fusiqa.training.depthwise import FastDepthwise

CHANNELS = 6


def gradients(inputs, stride, padding, *, faster, groups=CHANNELS):
    leaves = [None if value is None else value.clone().requires_grad_() for value in inputs]
    if faster:
        with FastDepthwise():
            y = F.conv2d(*leaves, stride, padding, (1, 1), groups)
    else:
        y = F.conv2d(*leaves, stride, padding, (1, 1), groups)
    weights = torch.linspace(-1, 1, y.numel()).view_as(y)
    return y, torch.autograd.grad((y * weights).sum(), [leaf for leaf in leaves if leaf is not None])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(11, 11), (12, 9)])
@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 1, 1), (3, 2, 0), (3, 2, 1), (5, 1, 2), (5, 2, 0), (5, 2, 2)]
)
def test_gradients_are_those_of_torch(size, stride, padding, shape, bias):
    torch.manual_seed(0)
    values = torch.randn(2, CHANNELS, *shape), torch.randn(CHANNELS, 1, size, size)
    inputs = [each.double() for each in values] + [torch.randn(CHANNELS).double() if bias else None]
    ours, found = gradients(inputs, (stride, stride), (padding, padding), faster=True)
    theirs, expected = gradients(inputs, (stride, stride), (padding, padding), faster=False)
    assert type(ours.grad_fn).__name__ == "_DepthwiseBackward"
    assert torch.equal(ours, theirs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("weight", "stride", "padding", "groups"),
    [
        ((6, 6, 3, 3), (1, 1), (1, 1), 1),
        ((6, 2, 3, 3), (1, 1), (1, 1), 3),
        ((12, 1, 3, 3), (1, 1), (1, 1), 6),
        ((6, 1, 7, 7), (1, 1), (3, 3), 6),
        ((6, 1, 5, 3), (1, 1), (2, 1), 6),
        ((6, 1, 3, 3), (2, 1), (1, 1), 6),
        ((6, 1, 3, 3), (1, 1), "same", 6),
        ((6, 1, 3, 3), (1, 1), (3, 3), 6),
        ((6, 1, 3, 3), 1, 1, 6),
    ],
)
def test_any_other_convolution_is_left_to_torch(weight, stride, padding, groups):
    torch.manual_seed(0)
    inputs = [torch.randn(2, CHANNELS, 9, 9), torch.randn(weight), None]
    ours, _ = gradients(inputs, stride, padding, faster=True, groups=groups)
    theirs, _ = gradients(inputs, stride, padding, faster=False, groups=groups)
    assert type(ours.grad_fn) is type(theirs.grad_fn)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("precision", "used"), [("bf16", True), ("32", False)])
def test_training_in_bfloat16_on_a_cpu_uses_them(biq2021, tmp_path, monkeypatch, precision, used):
    strides, of_weight = set(), depthwise._of_weight
    monkeypatch.setattr(depthwise, "_of_weight", lambda *inputs: (strides.add(inputs[3]), of_weight(*inputs))[1])
    run = ["--backbone", "test_efficientnet", "--epochs", "1", "--precision", precision, "--run_dir", tmp_path / "run"]
    main(["train", *TINY_RUN, "--data_dir", str(biq2021), *map(str, run)])
    assert strides == ({2} if used else set())
