"""Backbones as pyramids: their channels and strides, sizes, weights and refusals."""

import json

import pytest
import torch
from hostile_values import HOSTILE, refusal_of
from safetensors.torch import save_file

from fusiqa.config import ModelConfig
from fusiqa.errors import FusiqaError
from fusiqa.models.backbone import Pyramid
from fusiqa.models.quality import build_model
from fusiqa.models.weights import find_weights

BACKBONES = {
    "swin_tiny_patch4_window7_224": [96, 192, 384, 768],
    "swinv2_tiny_window8_256": [96, 192, 384, 768],
    "convnext_tiny": [96, 192, 384, 768],
    "resnet50": [256, 512, 1024, 2048],
    "mobilenetv2_100": [24, 32, 96, 320],
}


@pytest.mark.parametrize(("backbone", "channels"), BACKBONES.items())
def test_last_four_stages_are_nchw_maps_of_stride_4_to_32(backbone, channels):
    pyramid = Pyramid(ModelConfig(backbone=backbone, crop_size=64)).eval()
    with torch.no_grad():
        maps = pyramid(torch.rand(1, 3, 64, 64))
    assert pyramid.channels == channels
    assert pyramid.strides == [4, 8, 16, 32]
    assert [tuple(m.shape) for m in maps] == [
        (1, c, 64 // s, 64 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]
    assert pyramid.scale_sizes() == [(16, 16), (8, 8), (4, 4), (2, 2)]


def test_a_convolutional_backbone_takes_other_sizes_than_it_was_built_for():
    pyramid = Pyramid(ModelConfig(backbone="test_resnet")).eval()
    assert pyramid(torch.rand(1, 3, 101, 67))[0].shape[-2:] == (26, 17)


def test_a_windowed_backbone_names_the_sizes_that_it_takes():
    pyramid = Pyramid(ModelConfig(backbone="swin_tiny_patch4_window7_224", crop_size=96))
    with pytest.raises(FusiqaError, match=r"`crop_size` 96 and takes no other size, got images of 64x96"):
        pyramid(torch.rand(1, 3, 64, 96))


@pytest.mark.parametrize("backbone", ["swin_tiny_patch4_window7_224", "test_resnet"])
def test_sides_below_the_last_stride_are_refused(backbone):
    with pytest.raises(FusiqaError, match=r"at least 32x32, got 31x31"):
        Pyramid(ModelConfig(backbone=backbone, crop_size=31))


def test_an_unknown_backbone_names_close_ones():
    with pytest.raises(FusiqaError, match=r"'resnet5O'.*resnet50"):
        build_model(ModelConfig(backbone="resnet5O"))


def test_a_backbone_of_one_stride_is_no_pyramid():
    with pytest.raises(FusiqaError, match=r"\[16, 16, 16, 16\]"):
        Pyramid(ModelConfig(backbone="test_vit"))


def test_the_input_is_normalised_inside():
    pyramid = Pyramid(ModelConfig(backbone="test_resnet", mean=(0.2, 0.3, 0.5), std=(0.7, 0.11, 0.13)))
    seen = []
    pyramid.body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pyramid.eval()(torch.full((1, 3, 32, 32), 0.5))
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx([0.3 / 0.7, 0.2 / 0.11, 0.0], abs=1e-6)


def save_backbone(path, backbone, *, leave_out=(), **metadata):
    import timm

    state = timm.create_model(backbone, pretrained=False).state_dict()
    kept = {name: value for name, value in state.items() if not name.endswith(leave_out)}
    save_file(kept, path, metadata=metadata)
    return state


@pytest.mark.parametrize(
    ("backbone", "tensor"), [("test_resnet", "conv1.0.weight"), ("test_efficientnet", "conv_stem.weight")]
)
def test_a_local_file_is_loaded_with_what_its_metadata_says(tmp_path, backbone, tensor):
    path = tmp_path / "weights.safetensors"
    state = save_backbone(
        path, backbone, architecture=backbone, mean="[0.5, 0.25, 0.75]", std=json.dumps([0.1, 0.2, 0.3])
    )
    model = build_model(ModelConfig(backbone=backbone), str(path))
    loaded = dict(model.pyramid.body.state_dict())
    assert torch.equal(loaded[tensor], state[tensor])
    assert model.config.mean == (0.5, 0.25, 0.75)
    assert model.config.std == (0.1, 0.2, 0.3)


def test_timm_arguments_of_the_file_reach_timm(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_backbone(path, "test_efficientnet", timm_args='{"pad_type": "same"}')
    model = build_model(ModelConfig(backbone="test_efficientnet"), str(path))
    assert model.config.timm_args == (("pad_type", "same"),)
    assert type(model.pyramid.body.conv_stem).__name__ == "Conv2dSame"


@pytest.mark.parametrize("name", ["timm_args", "mean", "std"])
def test_what_the_metadata_of_a_file_may_not_say_is_one_line(tmp_path, name):
    path, config = tmp_path / "weights.safetensors", ModelConfig(backbone="test_resnet")
    texts = [json.dumps(each) for each in HOSTILE] + ["[" * 100_000, "9" * 5_000, "{"]
    texts += ['{"checkpoint_path": "a.pth"}', '{"pretrained_cfg_overlay": {"url": "http://a"}}']
    refused = 0
    for text in texts:
        save_file({"a": torch.zeros(1)}, path, metadata={name: text})
        said = refusal_of(lambda: find_weights(str(path), "test_resnet").configure(config))
        assert "\n" not in said, text[:50]
        refused += bool(said)
    assert refused > len(texts) / 2


def test_a_file_of_another_architecture_is_refused(tmp_path):
    save_backbone(tmp_path / "w.safetensors", "test_resnet", architecture="test_resnet")
    with pytest.raises(FusiqaError, match=r"is for `backbone` test_resnet, got resnet50"):
        build_model(ModelConfig(backbone="resnet50"), str(tmp_path / "w.safetensors"))


def test_a_file_without_metadata_that_does_not_fit_is_refused(tmp_path):
    save_backbone(tmp_path / "w.safetensors", "test_resnet")
    with pytest.raises(FusiqaError, match=r"w.safetensors do not fit test_convnext"):
        build_model(ModelConfig(backbone="test_convnext"), str(tmp_path / "w.safetensors"))


def test_a_file_with_a_hole_is_refused(tmp_path):
    save_backbone(tmp_path / "w.safetensors", "test_efficientnet", leave_out=("conv_stem.weight",))
    with pytest.raises(FusiqaError, match=r"lacks conv_stem.weight"):
        build_model(ModelConfig(backbone="test_efficientnet"), str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet"])
def test_a_file_without_the_counters_of_batch_norm_is_whole(backbone, tmp_path):
    """No forward pass reads `num_batches_tracked`; files that were converted for inference leave it out."""
    path = tmp_path / "w.safetensors"
    state = save_backbone(path, backbone, leave_out=("num_batches_tracked",))
    loaded = build_model(ModelConfig(backbone=backbone), str(path)).pyramid.body.state_dict()
    assert sum(name.endswith("num_batches_tracked") for name in loaded) > 5
    assert all(torch.equal(loaded[name], state[name]) for name in loaded if not name.endswith("num_batches_tracked"))


def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(FusiqaError, match=r"w.pth is not a safetensors file .*save_file"):
        find_weights(str(tmp_path / "w.pth"), "test_resnet")


def test_a_missing_file_names_the_three_choices():
    with pytest.raises(FusiqaError, match=r"`backbone_weights` must be imagenet, none, .*; nowhere.bin does not exist"):
        find_weights("nowhere.bin", "test_resnet")


@pytest.mark.parametrize("backbone", ["inception_v3", "mobilenetv2_100"])
def test_the_sizes_of_the_scales_are_those_of_a_forward_pass(backbone):
    pyramid = Pyramid(ModelConfig(backbone=backbone, crop_size=107)).train()
    sizes = pyramid.scale_sizes()
    assert all(module.training for module in pyramid.modules())
    with torch.no_grad():
        assert sizes == [tuple(m.shape[2:]) for m in pyramid.eval()(torch.rand(1, 3, 107, 107))]
