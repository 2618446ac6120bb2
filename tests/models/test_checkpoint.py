"""A model on disk comes back as it was, and what is no model is refused."""

import json
import re
import struct
from dataclasses import replace

import pytest
import torch
from hostile_values import HOSTILE, places_in, refusal_of, with_value
from safetensors.torch import load_file, save_file

from fusiqa.config import FUSIONS, ModelConfig, ScaleWeighing, ScoreRange
from fusiqa.errors import FusiqaError
from fusiqa.models.quality import QualityModel, build_model, load_checkpoint
from fusiqa.models.weights import find_weights
from fusiqa.scoring.image import Resize
from fusiqa.scoring.models import ModelInfo, describe, source_of

VALID = {"backbone": "test_resnet", "fusion": "attention", "score_range": [1, 5]}


def trained(fusion="attention"):
    torch.manual_seed(1)
    config = ModelConfig(backbone="test_resnet", fusion=fusion, crop_size=64, score_range=ScoreRange(1, 5))
    model = build_model(config, resize="512x384").eval()
    model.provenance = {"epoch": 7, "commit": "abc"}
    return model


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("by_file", [True, False])
def test_a_round_trip_changes_no_score(tmp_path, fusion, by_file):
    before = trained(fusion)
    before.save_pretrained(tmp_path)
    after = load_checkpoint(tmp_path / "model.safetensors" if by_file else tmp_path)
    images = torch.rand(3, 3, 64, 64)
    assert torch.equal(after(images).score, before(images).score)
    assert after.config == before.config
    assert (after.resize, after.provenance) == (before.resize, before.provenance)
    assert not after.training
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def with_other_second_network(folder):
    """The source of an ONNX file of the same weights beside a changed description."""
    description = json.loads((folder / "model.json").read_text())
    description["others"][0]["weighing"]["gain"] = 4.0
    (folder / "model.json").write_text(json.dumps(description))
    return source_of(folder)


@pytest.mark.parametrize("half", [False, True])
def test_an_average_comes_back_with_all_its_networks(tmp_path, half):
    model = trained()
    other = QualityModel(replace(model.config, backbone="test_efficientnet"), resize=model.resize)
    before = QualityModel.average([model, other], provenance={"seeds": [1, 2]})
    before.save_pretrained(tmp_path, half=half)
    after = load_checkpoint(tmp_path)
    assert [each.config for each in after.others] == [other.config]
    assert (after.config, after.provenance) == (model.config, {"seeds": [1, 2]})
    assert describe(tmp_path, "both").backbone == "test_resnet + test_efficientnet"
    assert "test_resnet + test_efficientnet with attention fusion" in str(after.generate_model_card(name="me/both"))
    images = torch.rand(3, 3, 64, 64)
    torch.testing.assert_close(after(images).score, before(images).score, rtol=0, atol=0.01 if half else 0)
    assert source_of(tmp_path) != with_other_second_network(tmp_path)
    assert not any(module.training for module in after.modules())


def test_how_the_scales_are_weighed_is_kept(tmp_path):
    weighing = ScaleWeighing(gate="sigmoid", temperature=2.0, gain=4.0, normalised=True)
    config = ModelConfig(backbone="test_resnet", fusion="attention", crop_size=64, weighing=weighing)
    before = build_model(config).eval()
    before.save_pretrained(tmp_path)
    after = load_checkpoint(tmp_path)
    assert after.config.weighing == weighing
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(after(images).scale_weights, before(images).scale_weights)


def test_a_model_from_before_the_weighing_could_be_chosen_is_read(tmp_path):
    trained().save_pretrained(tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    del description["model"]["weighing"]
    (tmp_path / "model.json").write_text(json.dumps(description))
    assert load_checkpoint(tmp_path).config.weighing == ScaleWeighing()


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(FusiqaError, match=r"no model at .*expected a run folder with model.safetensors"):
        load_checkpoint(tmp_path)


def test_weights_without_their_description_are_refused(tmp_path):
    trained().save_pretrained(tmp_path)
    (tmp_path / "model.json").unlink()
    with pytest.raises(FusiqaError, match=r"model.json is missing"):
        load_checkpoint(tmp_path)


def test_weights_of_another_network_are_refused(tmp_path):
    trained("single").save_pretrained(tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    description["model"]["fusion"] = "concat"
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(
        FusiqaError, match=r"model.safetensors does not fit .*model.json: size mismatch for hypernetwork"
    ):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.int32, torch.complex64])
def test_weights_of_a_type_that_no_network_computes_with_are_refused(tmp_path, kind):
    trained("single").save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    name = next(name for name, each in state.items() if each.is_floating_point())
    save_file(state | {name: state[name].to(kind)}, tmp_path / "model.safetensors")
    with pytest.raises(FusiqaError, match=f"{re.escape(name)} is of {kind}"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "not a model description of format 1"),
        ({"format": True}, "not a model description of format 1"),
        ({"model": {**VALID, "flavour": 3}}, "model.json: model: unknown 'flavour'"),
        ({"model": {}}, "must be a table with backbone, fusion and score_range"),
        ({"model": "test_resnet"}, "must be a table .* got 'test_resnet'"),
        ({"model": {**VALID, "backbone": "hf-hub:someone/else"}}, "unknown backbone 'hf-hub:someone/else'"),
        ({"model": {**VALID, "fusion": "sum"}}, "`fusion` must be .*, got 'sum'"),
        ({"model": {**VALID, "crop_size": "64"}}, "`crop_size` must be a whole number, got '64'"),
        ({"model": {**VALID, "crop_size": 10**400}}, "`crop_size` must be finite and at least 1"),
        ({"model": {**VALID, "score_range": [5, 1]}}, "`score_range` must be finite numbers, low below high, got 5, 1"),
        ({"model": {**VALID, "score_range": [0, float("nan")]}}, "`score_range` must be finite .* got 0, nan"),
        ({"model": {**VALID, "std": [0.5, 0.0, 0.5]}}, "`std` must be above 0, got 0.0"),
        ({"model": {**VALID, "weighing": {"gain": [4]}}}, r"`weighing.gain` must be a number, got \(4,\)"),
        ({"model": {**VALID, "timm_args": [["checkpoint_path", "a.pth"]]}}, "'checkpoint_path' is not allowed"),
        ({"model": {**VALID, "timm_args": [["pretrained_cfg_overlay", {"url": "x"}]]}}, "timm_args"),
        ({"model": {**VALID, "timm_args": [["embed_dim", 10**9]]}}, "'embed_dim' must be .* got 1000000000"),
        ({"preprocessing": {"resize": 384}}, "text `resize`, got {'resize': 384}"),
        ({"others": VALID}, "`others` must be a list of networks, got {'backbone'"),
        ({"others": [{**VALID, "crop_size": 32}]}, "model.json: network 2 of an average has `crop_size` 32, the first"),
        ({"others": [{**VALID, "fusion": 3}]}, r"model.json: others\[0\]: `fusion` must be"),
        ({"others": [VALID, {}]}, r"`others\[1\]` must be a table with backbone, fusion and score_range, got {}"),
        ({"others": [{**VALID, "crop_size": 64}] * 16}, "model.json: an average of 17 networks; expected at most 16"),
        ({"provenance": ["here"]}, r"`provenance` must be a table, got \['here'\]"),
    ],
)
def test_what_a_description_may_not_say_is_named_in_one_line(tmp_path, change, message):
    trained().save_pretrained(tmp_path)
    description = json.loads((tmp_path / "model.json").read_text()) | change
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(FusiqaError, match=message) as caught:
        load_checkpoint(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"\xff\xfe{", b"[" * 100_000, b"{", b"", b'{"format": ' + b"9" * 5000 + b"}"])
def test_a_description_that_is_no_json_is_refused(tmp_path, content):
    trained().save_pretrained(tmp_path)
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(FusiqaError, match=r"model.json is not JSON"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path, number):
    model = trained()
    model.hypernetwork.last_matrix.bias.data[3] = number
    model.save_pretrained(tmp_path)
    with pytest.raises(FusiqaError, match=r"damaged: NaN or infinite numbers in hypernetwork.last_matrix.bias"):
        load_checkpoint(tmp_path)


def test_a_pickle_is_refused(tmp_path):
    trained().save_pretrained(tmp_path)
    torch.save({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(FusiqaError, match=r"model.safetensors is not a safetensors file"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
def test_any_value_in_any_place_of_a_description_is_read_or_refused_in_one_line(tmp_path, value):
    config = ModelConfig(backbone="test_resnet", fusion="attention", mean=(0.5,) * 3, timm_args=(("norm_layer", "x"),))
    network = json.loads(json.dumps(config, default=vars))
    whole = {"model": network, "preprocessing": {"resize": "384"}, "others": [network]}
    whole |= {"format": 1, "provenance": {"dataset": "a", "licence": "b", "epoch": 3, "val_srcc": 0.5}}
    (tmp_path / "model.safetensors").touch()
    places = list(places_in(whole))
    assert {("model", "weighing", "gain"), ("model", "timm_args", 0, 1), ("preprocessing", "resize")} <= set(places)
    for place in places:
        (tmp_path / "model.json").write_text(json.dumps(with_value(whole, place, value)))
        said = refusal_of(lambda: Resize.parse(describe(tmp_path, "a").resize))
        assert len(said) < 900, place
        assert "\n" not in said, place


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
def test_any_value_in_any_place_of_the_metadata_of_an_onnx_file_is_read_or_refused_in_one_line(value):
    whole = json.loads(json.dumps(vars(ModelInfo("a@1", ScoreRange(1, 5), 64, "384", scale_sizes=((1, 2),)))))
    for place in places_in(whole):
        changed = with_value(whole, place, value)
        assert "\n" not in refusal_of(lambda changed=changed: ModelInfo.from_json(changed)), place


def header(content: bytes, stated: int | None = None) -> bytes:
    return struct.pack("<Q", len(content) if stated is None else stated) + content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        header(b"{}", 2**40),
        header(b" " * 101_000_000),
        header(b'{"a":' * 100_000),
        header(b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}') + bytes(4),
        header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}') + bytes(4),
    ],
    ids=["empty", "length", "beyond", "101 MB", "nested", "claims 4 TB", "backwards"],
)
def test_a_header_that_claims_too_much_is_one_line(tmp_path, content):
    trained().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(content)
    for read in (lambda: load_checkpoint(tmp_path), lambda: find_weights(str(tmp_path / "model.safetensors"), "a")):
        with pytest.raises(FusiqaError, match=r"model.safetensors is not a safetensors file") as caught:
            read()
        assert "\n" not in str(caught.value)
