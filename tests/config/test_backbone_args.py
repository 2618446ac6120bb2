"""NAME=VALUE arguments of a backbone: what they come to, what is refused, and that they reach the network."""

import pytest
import torch

from fusiqa.config import ModelConfig, TrainConfig
from fusiqa.config.backbone_args import parse_backbone_args
from fusiqa.errors import FusiqaError
from fusiqa.models.quality import build_model, load_checkpoint

SMALL_SWIN = ("embed_dim=16", "depths=1,1,2,1", "num_heads=1,1,2,4")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("embed_dim=3", 3), ("embed_dim=0.25", 0.25), ("embed_dim=1e-3", 1e-3), ("ape=True", True),
        ("ape=false", False),
        ("pad_type=same", "same"),
        ("embed_dim=1,2", (1, 2)), ("embed_dim=7,", (7,)), ("embed_dim=x=y", "x=y"),
    ],
)  # fmt: skip
def test_a_value_is_what_it_looks_like(word, value):
    ((_, parsed),) = parse_backbone_args([word])
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["embed_dim"], "`backbone_args` must be NAME=VALUE, .* got embed_dim"),
        (["embed_dim="], "NAME=VALUE, .* got embed_dim="),
        (["embed-dim=3"], "NAME=VALUE, .* got embed-dim=3"),
        (["img_size=64"], "'img_size' is set by `crop_size`"),
        (["drop_path_rate=0.1"], "'drop_path_rate' is set by `drop_path`"),
        (["pretrained_cfg_overlay=x"], "'pretrained_cfg_overlay' is not allowed"),
        (["checkpoint_path=x"], "'checkpoint_path' is not allowed"),
        (["depths=1,1", "depths=2,2"], "`backbone_args` names depths twice"),
    ],
)
def test_what_no_backbone_takes_is_refused_before_training(words, message):
    with pytest.raises(FusiqaError, match=message):
        TrainConfig.of(backbone_args=tuple(words))


def small_swin(**more):
    arguments = parse_backbone_args(SMALL_SWIN)
    return ModelConfig("swin_tiny_patch4_window7_224", fusion="attention", crop_size=64, timm_args=arguments, **more)


def test_a_swin_of_other_sizes_is_built_and_read_again(tmp_path):
    torch.manual_seed(0)
    model = build_model(small_swin()).eval()
    assert model.pyramid.channels == [16, 32, 64, 128]
    assert model.pyramid.scale_sizes() == [(16, 16), (8, 8), (4, 4), (2, 2)]
    model.save_pretrained(tmp_path)
    again = load_checkpoint(tmp_path)
    assert again.config == model.config
    images = torch.rand(3, 3, 64, 64)
    assert torch.equal(again(images).score, model(images).score)


@pytest.mark.parametrize("argument", ["embed_dims=16", "depths=1,1"])
def test_arguments_that_the_backbone_does_not_take_are_named_as_typed(argument):
    config = ModelConfig("swin_tiny_patch4_window7_224", timm_args=parse_backbone_args([argument]))
    with pytest.raises(FusiqaError, match=rf"with {argument} cannot .* or correct `backbone_args`"):
        build_model(config)
