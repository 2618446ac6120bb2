import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from fusiqa.config import ScoreRange
from fusiqa.data import catalog
from fusiqa.data.catalog import (
    CATALOG,
    dataset_names,
    find_dataset,
    info_text,
    list_text,
    read,
    read_images,
    short_names,
)
from fusiqa.data.readers import READERS
from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import Resize


@pytest.fixture
def biq2021(tmp_path: Path) -> Path:
    folder = tmp_path / "BIQ2021"
    (folder / "Images").mkdir(parents=True)
    (folder / "Train (Images and MOS).csv").write_text("Image Name,MOS,,\n1.jpg,0.25,,\n")
    (folder / "Test (Images and MOS).csv").write_text("Image Name,MOS\n2.jpg,0.75\n")
    return folder


def own(tmp_path: Path, text: str, name: str = "ratings.csv") -> str:
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


@pytest.mark.parametrize("info", CATALOG, ids=lambda info: info.name)
def test_facts_are_consistent(info):
    assert info.score_range.low < info.score_range.high
    assert str(Resize.parse(info.resize)) == info.resize
    assert any(file in info.layout for file in info.rating_files) or info.name == "live"  # known by its references
    assert re.search(r"doi:10\.\d{4,5}/\S+$", info.citation)
    for name in (info.name, *info.aliases, info.name.upper(), info.name.replace("-", "_")):
        assert find_dataset(name) is info


def test_no_two_data_sets_share_a_name():
    called = [name for info in CATALOG for name in (info.name, *info.aliases)]
    assert len(set(called)) == len(called)
    assert sorted(dataset_names()) == sorted([*READERS, *catalog.TABLE_COLUMNS, "synthetic", "distorted"])


@pytest.mark.parametrize("way", [".", "Images", ".."])
def test_a_folder_is_found_also_one_too_low_or_too_high(biq2021: Path, way: str):
    ratings = read("BIQ2021", data_dir=biq2021 / way)
    assert ratings.name == "biq2021"
    assert ratings.table["image"].tolist() == ["1.jpg", "2.jpg"]
    assert ratings.images.root.resolve() == biq2021 / "Images"


def test_two_copies_below_a_folder_are_not_chosen_between(biq2021: Path):
    (biq2021.parent / "again").mkdir()
    (biq2021.parent / "again" / "Train (Images and MOS).csv").touch()
    with pytest.raises(FusiqaError, match=r"several copies of biq2021: BIQ2021, again"):
        read("biq2021", data_dir=biq2021.parent)


@pytest.mark.parametrize("home", ["environment", "data"])
@pytest.mark.parametrize("folder", ["biq2021", "biq"])
def test_the_usual_places_are_looked_at(biq2021: Path, monkeypatch: pytest.MonkeyPatch, home: str, folder: str):
    elsewhere = biq2021.parent / home
    elsewhere.mkdir()
    biq2021.rename(elsewhere / folder)
    monkeypatch.chdir(biq2021.parent)
    monkeypatch.delenv("FUSIQA_DATA", raising=False)
    if home == "environment":
        with pytest.raises(FusiqaError, match="no such folder"):
            read("biq2021")
        monkeypatch.setenv("FUSIQA_DATA", str(elsewhere))
    assert len(read("biq2021")) == 2


def test_a_folder_that_is_not_there_says_where_it_was_looked_for_and_what_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUSIQA_DATA", "/srv/iqa")
    with pytest.raises(FusiqaError) as caught:
        read("koniq10k")
    message = str(caught.value)
    for part in (
        "/srv/iqa/koniq-10k (no such folder)",
        "data/koniq-10k (no such folder)",
        "data/koniq10k (",
        "koniq10k_distributions_sets.csv",
        "512x384/*.jpg",
        "https://database.mmsp-kn.de/koniq-10k-database.html",
        "`data_dir`",
    ):
        assert part in message
    assert message.count("\n") == 1
    with pytest.raises(FusiqaError, match=f"spaq was not found in {tmp_path}, nor"):
        read("spaq", data_dir=tmp_path)


def test_an_unknown_data_set_gets_the_closest_name_and_all_that_there_are():
    with pytest.raises(FusiqaError) as caught:
        read("konic-10k")
    assert str(caught.value) == (
        "unknown data set 'konic-10k', did you mean koniq-10k? Expected one of "
        f"{', '.join(dataset_names())}, or the path of a CSV, Parquet or Excel table of images and ratings"
    )
    with pytest.raises(FusiqaError, match="unknown data set 'zzzz'; expected one of"):
        read("zzzz")


def test_a_folder_given_as_data_set_is_told_where_it_belongs(tmp_path: Path):
    with pytest.raises(FusiqaError, match=f"{tmp_path} is a folder: .*`data_dir`"):
        read(str(tmp_path))


def test_the_published_range_and_protocol_hold_unless_others_are_asked_for(biq2021: Path):
    ratings = read("biq2021", data_dir=biq2021)
    assert ratings.score_range == ScoreRange(0, 1)
    assert ratings.resize == "320"
    assert read("biq2021", data_dir=biq2021, score_range=(-1, 3)).score_range == ScoreRange(-1, 3)
    with pytest.raises(FusiqaError, match=r"outside 0 to 0\.5: 2\.jpg \(0\.75\)"):
        read("biq2021", data_dir=biq2021, score_range=(0, 0.5))


@pytest.mark.parametrize("asked", [(1.0, 1.0), (5.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_an_improper_range_is_refused(biq2021: Path, asked: tuple[float, float]):
    with pytest.raises(FusiqaError, match=re.escape(f"from {asked[0]:g} to {asked[1]:g} are not a range")):
        read("biq2021", data_dir=biq2021, score_range=asked)


def test_a_csv_spans_its_smallest_to_its_largest_rating(tmp_path: Path):
    dataset = own(tmp_path, "image,mos\na.jpg,3.5\nb.jpg,\nc.jpg,-2\nd.jpg,inf\n")
    ratings = read(dataset)
    assert ratings.name == dataset
    assert ratings.score_range == ScoreRange(-2, 3.5)
    assert ratings.resize == "384"
    np.testing.assert_array_equal(ratings.table["mos"], [3.5, np.nan, -2, np.nan])
    assert read(dataset, score_range=(-5, 5)).score_range == ScoreRange(-5, 5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.jpg,3\nb.jpg,3\n", "from 3 to 3 are not a range"),
        ("a.jpg,good\nb.jpg,\n", "column contains no number"),
    ],
)
def test_a_csv_without_a_range_asks_for_one(tmp_path: Path, rows: str, message: str):
    with pytest.raises(FusiqaError, match=message):
        read(own(tmp_path, f"image,mos\n{rows}"))


def test_images_of_a_csv_start_from_its_folder_or_from_data_dir(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    dataset = own(tmp_path, "image,mos\na.jpg,1\nb.jpg,2\n")
    assert read(dataset).images.root == tmp_path
    assert read(dataset, data_dir=tmp_path / "photos").images.root == tmp_path / "photos"
    with pytest.raises(FusiqaError, match=f"there is no folder {tmp_path}/nowhere"):
        read(dataset, data_dir=tmp_path / "nowhere")


def test_a_file_with_another_ending_is_read_as_a_csv_and_a_missing_one_named(tmp_path: Path):
    assert len(read(own(tmp_path, "image,mos\na.jpg,1\nb.jpg,2\n", name="ratings.txt"))) == 2
    with pytest.raises(FusiqaError, match=r"missing\.csv: no such file"):
        read(str(tmp_path / "missing.csv"))


def test_the_list_names_every_data_set_with_its_figures_and_fits_a_terminal():
    text = list_text()
    assert max(map(len, text.splitlines())) <= 120
    for info in CATALOG:
        line = next(line for line in text.splitlines() if line.startswith(f"{info.name} "))
        assert f" {info.images:,} " in line
    assert " lower " in next(line for line in text.splitlines() if line.startswith("csiq"))


@pytest.mark.parametrize("info", CATALOG, ids=lambda info: info.name)
def test_the_information_says_every_fact(info):
    text = info_text(info.aliases[0] if info.aliases else info.name)
    for said in (info.name, info.licence, info.citation, info.source, info.layout, info.group, info.resolution):
        assert said in text


def test_the_information_on_an_unknown_data_set_names_the_closest():
    with pytest.raises(FusiqaError, match=r"unknown data set 'kadid10', did you mean kadid10k\?"):
        info_text("kadid10")


def test_the_built_in_set_is_described_as_it_is():
    table = read("synthetic").table
    counts = table["split"].value_counts()
    text = info_text("synthetic")
    assert f"{len(table):,}, generated" in text
    assert "training {train:,}, validation {validation:,}, test {test:,}".format(**counts) in text


def test_no_two_data_sets_have_one_short_name():
    paths = ["x/a-2.csv", "y/a.csv", "z/a.csv", "u/a-2.csv", "koniq-10k.csv", "koniq-10k", "koniq.csv", "y/a.csv"]
    names = short_names(paths)
    assert list(names) == paths[:-1]
    assert len(set(names.values())) == len(names)
    assert names["koniq-10k"].startswith("koniq-10k")


def test_names_start_from_the_common_folder_and_can_be_read(holiday, tmp_path):
    ratings = read_images([holiday / "sub" / "deep", holiday / "a.png"])
    assert ratings.table["image"].tolist() == ["sub/deep/d.webp", "a.png"]
    assert ratings.name == "2 images"
    assert ratings.table["mos"].isna().all()
    assert [ratings.images.read(image).shape for image in ratings.table["image"]] == [(7, 5, 3)] * 2
    assert read_images([holiday / "sub" / "c.jpeg"]).table["image"].tolist() == ["c.jpeg"]


def test_images_of_one_name_in_two_folders_stay_apart(holiday):
    (holiday / "b.JPG").rename(holiday / "sub" / "a.png")
    assert read_images([holiday / "a.png", holiday / "sub" / "a.png"]).table["image"].tolist() == [
        "a.png",
        "sub/a.png",
    ]


def test_the_folder_is_named_however_it_was_typed(holiday, monkeypatch):
    assert read_images([holiday]).name == "holiday"
    monkeypatch.chdir(holiday)
    assert read_images([Path(".")]).name == "holiday"
    assert read_images([Path("sub/..")]).name == "holiday"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names that are not Unicode")
def test_a_name_that_is_not_utf8_is_refused_before_anything_is_computed(holiday):
    os.rename(holiday / "a.png", os.fsencode(holiday) + b"/caf\xe9.png")
    with pytest.raises(FusiqaError, match=r"not UTF-8: 'caf\\udce9\.png'; rename"):
        read_images([holiday])
