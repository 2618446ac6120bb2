"""Every output of every command: a foreign file or folder in its place is refused, and not one byte of it changes."""

import dataclasses
from pathlib import Path

import pytest
from PIL import Image
from tiny_models import make_model, noise

from fusiqa.cli import COMMANDS
from fusiqa.config.train import groups
from fusiqa.scoring.result import COLUMNS

OUTPUTS = {"output", "sheet", "report", "link", "run_dir"}
NO_OUTPUT = ("distort sheet",)  # a switch: its sheets lie in the output
# Command and setting; the words; the foreign file. {} is the folder of the test.
CASES = [
    ("score output", "score {}/images --model {}/model --output {}/own.csv --resume", "own.csv"),
    ("score output", "score {}/images --model {}/model --output {}/own.jsonl --overwrite", "own.jsonl"),
    ("score output", "score {}/images --model {}/model --output {}/own.parquet --overwrite", "own.parquet"),
    ("score output", "score {}/images --model {}/model --output {}/own.parquet", "own.parquet.all.jsonl"),
    ("score output", "score {}/images --model {}/model --engine ray --output {}/own --overwrite", "own/a.parquet"),
    ("score sheet", "score {}/images --model {}/model --sheet {}/own.png --overwrite", "own.png"),
    ("score sheet", "score {}/images/a.png --model {}/model --sheet {}/images/a.png --overwrite", "images/a.png"),
    ("score report", "score {}/images --model {}/model --report {}/own.html --overwrite", "own.html"),
    ("sort output", "sort {}/images --model {}/model --output {}/own.csv --resume", "own.csv"),
    ("sort sheet", "sort {}/images --model {}/model --sheet {}/own.png --overwrite", "own.png"),
    ("sort link", "sort {}/images --model {}/model --link {}/own --overwrite", "own/a.png"),
    ("report output", "report {}/scores.csv --output {}/own.html --overwrite", "own.html"),
    ("export output", "export {}/model --output {}/own.onnx --overwrite", "own.onnx"),
    ("train run_dir", "train --dataset {}/own.csv --run_dir {}/own --overwrite", "own/config.json"),
    ("train run_dir", "train --dataset {}/own.csv --run_dir {}/own --resume", "own/notes.txt"),
    ("ablate run_dir", "ablate --dataset {}/own.csv --run_dir {}/own", "own/report.md"),
    ("evaluate output", "evaluate {}/model --dataset {}/own.csv --output {}/own", "own/scatter_own.png"),
    (
        "evaluate output",
        "evaluate {}/model --dataset distorted --data_dir {}/images --output {}/own",
        "own/distorted.md",
    ),
    ("attention output", "attention {}/model {}/images --output {}/own", "own/scale_weights.csv"),
    ("compare output", "compare {}/run1 {}/run2 --output {}/own", "own/comparison.csv"),
    ("compare output", "compare {}/run1 {}/run2 --output {}/own.csv", "own.csv"),
    ("data check output", "data check {}/own.csv --output {}/own.json", "own.json"),
    ("data check output", "data check {}/own.csv --output {}/own.csv", "own.csv"),
    ("distort output", "distort {}/images --output {}/own --distortion jpeg --level 3", "own/jpeg/3/a.png"),
    ("distort output", "distort {}/images --output {}/own --sheet", "own/b.png"),
    ("distort output", "distort {}/images --output {}/images --sheet", "images/a.png"),
    ("demo output", "demo --output {}/own", "own/attention/thesis.txt"),
    ("data download data_dir", "data download koniq-10k --data_dir {}/own --accept_licence", "own/notes.txt"),
]


def settings_of(kind: type) -> set[str]:
    """The names of a command's settings, also those in groups."""
    names = {each.name for each in dataclasses.fields(kind)}
    return names | (set(groups()) if {"base", "data"} & names else set())


def test_every_output_is_tried():
    there = {f"{name} {output}" for name, (kind, _) in COMMANDS.items() for output in OUTPUTS & settings_of(kind)}
    assert there - set(NO_OUTPUT) == {output for output, _, _ in CASES} - {"data download data_dir"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(("output", "words", "foreign"), CASES)
def test_a_foreign_file_in_the_place_of_an_output_is_refused_and_unchanged(
    tmp_path, model, refused, output, words, foreign
):
    (tmp_path / "images").mkdir()
    for number, name in enumerate(("a.png", "b.png")):
        Image.fromarray(noise(37, 41, number)).save(tmp_path / "images" / name)
    (tmp_path / "model").symlink_to(model)
    for run in ("run1", "run2"):
        (tmp_path / run).mkdir()
        rows = "".join(f"{number}.png,{number},{number % 3}\n" for number in range(9))
        (tmp_path / run / "predictions.csv").write_text(f"image,mos,score\n{rows}")
    (tmp_path / "scores.csv").write_text(",".join(COLUMNS) + "\n")
    (tmp_path / "own.csv").write_text("image,mos\nimages/a.png,3\nimages/b.png,4")
    path = tmp_path / foreign
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"of": "somebody"}')

    def files() -> dict[Path, bytes]:
        return {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}

    before = files()
    said = refused(*words.replace("{}", str(tmp_path)).split())
    assert said.count("\n") <= 2
    assert Path(foreign).name in said or str(tmp_path / "own") in said
    assert files() == before
