"""What is exported scores as torch does, in batches of any size, and without torch."""

import json
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from tiny_models import RANGE, make_model, noise

from fusiqa.cli import main
from fusiqa.config import FUSIONS, ScaleWeighing
from fusiqa.errors import FusiqaError
from fusiqa.models import export as exporting
from fusiqa.models.export import TOLERANCE, difference, load_exported
from fusiqa.models.quality import QualityModel
from fusiqa.models.rounding import round_to_bytes
from fusiqa.scoring.models import IN_THE_PACKAGE, source_of
from fusiqa.scoring.onnx import OnnxNetwork
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.torch import TorchNetwork, load_torch_network

pytest.importorskip("onnxscript")
CLOSE = TOLERANCE * RANGE.width


FORKS = """
import multiprocessing, os, fusiqa
import numpy as np
scorer = fusiqa.Scorer()
image = np.zeros((40, 50, 3), np.uint8)
expected = scorer(image).score
child = os.fork()
if not child:
    os._exit(0 if scorer(image).score == expected else 1)
first = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
with multiprocessing.get_context("fork").Pool(2) as pool:
    print([result.score for result in pool.map(scorer, [image] * 3)] == [expected] * 3 and first == 0)
"""
WEIGHING = ScaleWeighing(gate="sigmoid", temperature=2.0, gain=4.0, normalised=True)


class Exported(NamedTuple):
    path: Path
    said: str


@pytest.fixture(scope="module")
def exported(tmp_path_factory, model_folder) -> Exported:
    """The small model as `fusiqa export` writes it; left unchanged."""
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    with redirect_stdout(StringIO()) as said:
        main(["export", str(model_folder), "--output", str(path)])
    return Exported(path, said.getvalue())


def export(model: Path, output: Path, **options) -> float:
    network = load_torch_network(model, name="mine", device="cpu")
    return exporting.export(network, output, source=source_of(model), **options)


@pytest.mark.parametrize(
    ("fusion", "side", "network"),
    [
        ("single", 64, {}),
        ("concat", 32, {}),
        ("attention", 88, {"weighing": WEIGHING}),
        ("spatial", 96, {}),
        ("cross-scale", 88, {}),
    ],
)
def test_every_fusion_scores_in_onnxruntime_as_in_torch(tmp_path, fusion, side, network):
    """Of crops of 64, 88 and 96 the maps have 16, 22 and 24 cells, which do not divide evenly into 7, 8, 4 and 2."""
    model = make_model(tmp_path / "run", fusion=fusion, crop=side, resize=str(side), **network)
    assert export(model, tmp_path / "model.onnx") < TOLERANCE
    mine, other = Scorer(model, device="cpu"), Scorer(tmp_path / "model.onnx", backend="onnx")
    for shape in ((153, 171), (7, 11)):
        expected, found = mine(noise(*shape)), other(noise(*shape))
        assert found.score == pytest.approx(expected.score, abs=CLOSE)
        assert (found.scale_weights is None) == (expected.scale_weights is None)
        np.testing.assert_allclose(found.crops.scores, expected.crops.scores, atol=CLOSE)


def test_every_fusion_is_tried():
    (tried,) = test_every_fusion_scores_in_onnxruntime_as_in_torch.pytestmark
    assert {fusion for fusion, *_ in tried.args[1]} == set(FUSIONS)


def test_the_command_says_how_close_the_file_is(exported):
    assert "differs from torch by" in exported.said


def test_the_onnx_file_states_how_it_is_to_be_fed(exported):
    import onnx

    made = onnx.load(exported.path)
    stated = json.loads({each.key: each.value for each in made.metadata_props}["fusiqa"])
    assert stated["resize"] == "48"
    assert stated["crop_size"] == 32
    assert stated["score_range"] == [1, 5]
    assert stated["higher_is_better"]
    assert stated["name"].startswith("tiny@")
    (crops,) = made.graph.input
    assert crops.name == "crops"
    assert crops.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert crops.type.tensor_type.shape.dim[0].dim_param
    assert [output.name for output in made.graph.output] == ["score", "scale_weights"]


def test_torch_export_scores_as_torch_and_carries_the_facts(tmp_path, model_folder, scorer):
    assert export(model_folder, tmp_path / "model.pt2") < TOLERANCE
    files = {"fusiqa.json": ""}
    torch.export.load(tmp_path / "model.pt2", extra_files=files)
    assert json.loads(files["fusiqa.json"])["crop_size"] == 32
    crops = np.stack([noise(32, 32, seed) for seed in range(4)])
    np.testing.assert_allclose(load_exported(tmp_path / "model.pt2")(crops)[0], scorer.network(crops)[0], atol=CLOSE)


def test_an_average_is_exported_as_one_graph(tmp_path, model_folder):
    models = [QualityModel.from_pretrained(each) for each in (model_folder, make_model(tmp_path / "other", seed=7))]
    QualityModel.average(models).save_pretrained(tmp_path / "average")
    crops = np.stack([noise(32, 32, seed) for seed in range(4)])
    expected = [Scorer(each, device="cpu").network(crops)[0] for each in (model_folder, tmp_path / "other")]
    assert export(tmp_path / "average", tmp_path / "model.onnx") < TOLERANCE
    network = OnnxNetwork(tmp_path / "model.onnx", device="cpu")
    assert network.info.backbone == "test_resnet + test_resnet"
    np.testing.assert_allclose(network(crops)[0], np.mean(expected, axis=0), atol=CLOSE)


def test_a_file_that_differs_from_torch_is_not_kept(tmp_path, model_folder, exported, monkeypatch):
    monkeypatch.setattr(exporting, "write_onnx", lambda _network, path, *_, **__: shutil.copy(exported.path, path))
    monkeypatch.setattr(exporting, "difference", lambda *_: 2e-4)
    with pytest.raises(FusiqaError, match=r"was not written: it differs from torch by 2\.0e-04 of the range"):
        export(model_folder, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_differences_are_told_apart(scorer):
    def other(crops):
        found = scorer.network(crops)
        return found._replace(score=found.score + 0.25 * len(crops))

    assert exporting.difference(scorer.network, other) == pytest.approx(0.25 * 5 / RANGE.width)
    assert exporting.difference(scorer.network, lambda crops: scorer.network(crops[:0])) == float("inf")


HEAVY = ["torch", "timm", "lightning", "pandas", "scipy", "matplotlib", "huggingface_hub"]


def without(modules: list[str], code: str) -> subprocess.CompletedProcess:
    """Run a program where modules are not installed: neither imported nor found."""
    blocked = (
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "class Without:\n"
        "    find_distributions = staticmethod(PathFinder.find_distributions)\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        hidden = name.partition('.')[0] in {modules!r}\n"
        "        return None if hidden else PathFinder.find_spec(name, path, target)\n"
        "sys.meta_path[sys.meta_path.index(PathFinder)] = Without()\n"
    )
    return subprocess.run([sys.executable, "-c", blocked + code], capture_output=True, text=True)


def test_the_packaged_model_scores_without_torch_in_python_and_on_the_command_line(tmp_path):
    Image.fromarray(noise(253, 271)).save(tmp_path / "a.png")
    path = str(tmp_path / "a.png")
    expected = Scorer(device="cpu", backend="torch")(path).score
    done = without(HEAVY, f"import fusiqa; print(fusiqa.Scorer()({path!r}).score, len(fusiqa.list_models()))")
    assert float(done.stdout.split()[0]) == pytest.approx(expected, abs=1e-2), done.stderr
    weights = str(IN_THE_PACKAGE / "fusiqa-fast" / "model.safetensors")  # with the ONNX file beside it
    done = without(HEAVY, f"import fusiqa; print(fusiqa.Scorer({weights!r})({path!r}).score)")
    assert float(done.stdout) == pytest.approx(expected, abs=1e-2), done.stderr
    done = without(HEAVY, f"from fusiqa.cli import main; main(['score', {path!r}])")
    assert float(done.stdout.splitlines()[1].split(",")[1]) == pytest.approx(expected, abs=1e-2), done.stderr


def test_without_torch_a_model_that_needs_it_says_what_to_install(model_folder):
    done = without(HEAVY, f"import fusiqa; fusiqa.Scorer({str(model_folder)!r})")
    assert "tiny needs torch, as it has no model.onnx that fits it: pip install 'fusiqa[torch]'" in done.stderr
    assert done.stderr.count("Traceback") == 1


def test_a_run_folder_is_scored_by_the_onnx_file_in_it_unless_that_is_stale(tmp_path, model_folder, exported, capsys):
    folder = shutil.copytree(model_folder, tmp_path / "run")
    shutil.copy(exported.path, folder)
    image, expected = noise(53, 71), Scorer(model_folder, device="cpu")(noise(53, 71)).score
    assert isinstance(Scorer(folder, device="cpu").network, OnnxNetwork)
    assert isinstance(Scorer(folder, device="cpu", backend="torch").network, TorchNetwork)
    assert Scorer(folder, device="cpu")(image).score == pytest.approx(expected, abs=0.01 * RANGE.width)
    assert isinstance(Scorer(folder / "model.safetensors", device="cpu").network, TorchNetwork)
    with pytest.raises(FusiqaError, match=r"model\.onnx: torch cannot run it; name its folder"):
        Scorer(folder / "model.onnx", device="cpu", backend="torch")
    stated = json.loads((folder / "model.json").read_text())
    stated["model"]["score_range"] = [10, 50]
    (folder / "model.json").write_text(json.dumps(stated))
    scorer = Scorer(folder, device="cpu")
    said = capsys.readouterr().err
    assert "notice: model.onnx is not used: " in said
    assert "was exported from another model than the one beside it" in said
    assert isinstance(scorer.network, TorchNetwork)
    assert scorer(image).score == pytest.approx(10 * expected, abs=0.01)
    (folder / "model.onnx").write_bytes(b"cut off")
    assert isinstance(Scorer(folder, device="cpu").network, TorchNetwork)
    assert "notice: model.onnx is not used: " in capsys.readouterr().err


def test_a_forked_process_opens_its_own_session(exported):
    network, crops = OnnxNetwork(exported.path, device="cpu"), noise(32, 32)[None]
    expected = network(crops)[0]
    network._process = -1  # as a child sees it
    kept = network._session
    np.testing.assert_array_equal(network(crops)[0], expected)
    assert network._session is not kept


def test_a_scorer_that_has_scored_works_in_processes_that_are_forked(tmp_path):
    """In a process of its own, of which the children would wait for ever for the threads of its session."""
    script = tmp_path / "forks.py"
    script.write_text(FORKS)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def test_devices_that_onnx_runtime_lacks_are_refused(tmp_path):
    with pytest.raises(FusiqaError, match=r"device cuda:7 cannot be used by ONNX Runtime here; try cpu or auto"):
        Scorer(device="cuda:7", backend="onnx")


def test_another_model_is_exported_once_and_kept(model_folder, scorer, capsys):
    first = Scorer(model_folder, backend="onnx")
    assert "once" in capsys.readouterr().err
    again = Scorer(model_folder, backend="onnx")
    assert capsys.readouterr().err == ""
    image = noise(53, 71)
    assert first(image).score == again(image).score == pytest.approx(scorer(image).score, abs=CLOSE)
    assert first.info.name == scorer.info.name


def test_what_is_no_model_of_ours_is_refused(tmp_path, refused):
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(FusiqaError, match=r"broken\.onnx is not a model that `fusiqa export` wrote"):
        Scorer(tmp_path / "broken.onnx")
    assert "--output must end in .onnx or .pt2, got" in refused("export", "--output", tmp_path / "model.pth")


def test_a_file_may_take_the_weights_of_the_model_beside_it(tmp_path, model_folder, exported):
    folder, moved, image = tmp_path / "model", tmp_path / "moved", noise(80, 100)
    folder.mkdir()
    for name in ("model.json", "model.safetensors"):
        shutil.copy(model_folder / name, folder)
    main(["export", str(folder), "--output", str(folder / "model.onnx"), "--share_weights"])
    assert (folder / "model.onnx").stat().st_size < exported.path.stat().st_size / 2
    shutil.copytree(folder, moved)
    expected = Scorer(exported.path, device="cpu")(image).score
    for model in (folder, folder / "model.onnx", moved / "model.onnx"):
        assert Scorer(model, backend="onnx", device="cpu")(image).score == expected
    weights = (moved / "model.safetensors").read_bytes()
    for wrong, why in (
        (weights[:-1] + bytes([weights[-1] ^ 1]), "was exported with other weights than model.safetensors has"),
        (weights[:1000], "is not a model that `fusiqa export` wrote"),
    ):
        (moved / "model.safetensors").write_bytes(wrong)
        with pytest.raises(FusiqaError, match=rf"model\.onnx {why}"):
            Scorer(moved / "model.onnx")
    (moved / "model.safetensors").unlink()
    with pytest.raises(FusiqaError, match=r"reads its weights from model\.safetensors, which is not beside it; "):
        Scorer(moved / "model.onnx")


def test_weights_of_another_model_are_not_shared(tmp_path, refused, model_folder):
    other = make_model(tmp_path / "other")
    said = refused("export", model_folder, "--output", other / "model.onnx", "--share_weights")
    assert f"--share_weights reads {other}/model.safetensors, but" in said
    assert f"has its weights in {model_folder}/model.safetensors" in said
    said = refused("export", other, "--output", other / "model.pt2", "--share_weights")
    assert "--share_weights is for .onnx, got" in said
    assert {path.name for path in other.iterdir()} == {"model.json", "model.safetensors"}


@pytest.mark.parametrize("layout", ["every file a link", "links into blobs"])
def test_weights_are_shared_in_folders_of_links(tmp_path, layout):
    """As installers that link and the cache of the hub make them."""
    folder, links, blobs = IN_THE_PACKAGE / "fusiqa-fast", tmp_path / "links" / "fast", tmp_path / "blobs"
    links.mkdir(parents=True)
    blobs.mkdir()
    for path in folder.iterdir():
        target = path if layout == "every file a link" else Path(shutil.copy(path, blobs / path.suffix))
        (links / path.name).symlink_to(target)
    image = noise(64, 64)
    assert Scorer(links, backend="onnx", device="cpu")(image).score == Scorer(folder, device="cpu")(image).score
    (links / "model.onnx").unlink()
    shutil.copy(folder / "model.onnx", links)
    with pytest.raises(
        FusiqaError, match=r"reads its weights from model\.safetensors, which is a link to another folder"
    ):
        Scorer(links, backend="onnx", device="cpu")


@pytest.mark.parametrize("inside", [False, True])
def test_a_file_that_takes_its_weights_from_another_one_is_refused(exported, tmp_path, inside):
    """ONNX may name any file for them; one outside of the folder is somebody's."""
    import onnx

    model = onnx.load(exported.path)
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    (tmp_path / "folder").mkdir()
    other = tmp_path / "folder" / "weights.bin" if inside else tmp_path / "secret.bin"
    other.write_bytes(weights.raw_data)
    relative = other.name if inside else f"../{other.name}"
    for names in ([str(other)], [relative], ["model.safetensors", relative], [f"model.safetensors{relative}"]):
        weights.data_location = onnx.TensorProto.EXTERNAL
        weights.ClearField("raw_data")
        weights.ClearField("external_data")
        for name in names:
            weights.external_data.add(key="location", value=name)
        (tmp_path / "folder" / "model.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(FusiqaError, match=r"model\.onnx is not a model .*: it takes weights from another file"):
            Scorer(tmp_path / "folder" / "model.onnx")


def test_the_loss_needs_torch(exported):
    with pytest.raises(FusiqaError, match=r"model\.onnx: torch cannot run it; name its folder"):
        Scorer(exported.path).loss(torch.rand(1, 3, 48, 48))
    with pytest.raises(FusiqaError, match="only backend='torch' has gradients"):
        Scorer(device="cpu", backend="onnx").loss(torch.rand(1, 3, 48, 48))


def test_weights_that_were_rounded_are_stored_in_bytes_and_score_the_same(tmp_path, model_folder, exported):
    """A third of the file in 32 bits; the same numbers in both files."""
    model = QualityModel.from_pretrained(model_folder)
    round_to_bytes(model)
    model.save_pretrained(tmp_path, half=True)
    rounded, shared = tmp_path / "rounded.onnx", tmp_path / "model.onnx"
    assert export(tmp_path, rounded) < 1e-5
    assert rounded.stat().st_size < exported.path.stat().st_size / 3
    onnx.checker.check_model(onnx.load(rounded), full_check=True)
    assert export(tmp_path, shared, share_weights=True) < 1e-5
    assert shared.stat().st_size < rounded.stat().st_size / 2


def test_a_file_that_gives_no_numbers_differs_from_torch(tmp_path):
    network = load_torch_network(make_model(tmp_path / "model"), name="model", device="cpu")
    assert difference(network, network) == 0
    assert np.isnan(
        difference(network, lambda crops: [each if each is None else each * np.nan for each in network(crops)])
    )
