"""Every published data set is read right from its own files: names, direction, groups, splits."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from miniatures import MINIATURES
from PIL import Image
from scipy.io import loadmat, savemat

from fusiqa.data import splits
from fusiqa.data.audit import check
from fusiqa.data.catalog import find_dataset, read
from fusiqa.data.readers import READERS
from fusiqa.errors import FusiqaError

SCORES = Path(__file__).parents[2].parent / "shared" / "data" / "scores"
CLIVE_MOS = "Data/AllMOS_release.mat"
UHD_HEADER = "image_name,quality_mos,set"
needs_scores = pytest.mark.skipif(not SCORES.is_dir(), reason=f"the label files in {SCORES} are not on this machine")


@pytest.fixture(params=MINIATURES)
def miniature(request, tmp_path):
    """A data set's name, its folder, and the rows that reading it has to give."""
    folder = tmp_path / "copy"
    folder.mkdir()
    return request.param, folder, MINIATURES[request.param](folder)


def test_every_data_set_has_a_miniature_or_tests_of_its_own():
    assert set(MINIATURES) | {"koniq-10k", "spaq", "biq2021"} == set(READERS)


def test_names_ratings_splits_and_groups_are_as_published(miniature):
    name, folder, expected = miniature
    ratings = read(name, data_dir=folder)
    table = ratings.table
    assert table["image"].tolist() == [row.image for row in expected]
    assert table["mos"].tolist() == pytest.approx([row.mos for row in expected])
    assert table["split"].where(table["split"].notna(), None).tolist() == [row.split for row in expected]
    assert table["group"].tolist() == [row.group for row in expected]
    assert ratings.score_range == find_dataset(name).score_range


def test_every_image_named_is_there_and_decodes(miniature):
    name, folder, expected = miniature
    assert len(check(read(name, data_dir=folder), skip_broken=False, progress=False).ratings) == len(expected)


def test_it_is_found_from_one_folder_above_and_below(miniature):
    name, folder, expected = miniature
    below = next((path for path in sorted(folder.iterdir()) if path.is_dir()), folder)
    for pointed in (folder.parent, below):
        assert read(name, data_dir=pointed).table["image"].tolist() == [row.image for row in expected]


def test_no_content_comes_to_lie_on_two_sides(tmp_path):
    MINIATURES["tid2013"](tmp_path)
    lines = [f"{number % 9}.5 I{number % 25 + 1:02d}_{number // 25:02d}_1.bmp" for number in range(250)]
    (tmp_path / "mos_with_names.txt").write_text("\n".join(lines))
    split = splits.assign(read("tid2013", data_dir=tmp_path), validation_fraction=0.1, seed=3).table
    assert split.groupby("group")["split"].nunique().max() == 1
    assert split.groupby("split")["group"].nunique().to_dict() == {"test": 5, "train": 18, "validation": 2}


def test_direction_is_turned_so_that_less_distortion_is_better(tmp_path):
    MINIATURES["csiq"](tmp_path)
    table = read("csiq", data_dir=tmp_path).table.set_index("image")["mos"]
    assert table["awgn/1600.AWGN.1.png"] > table["jpeg2000/1600.jpeg2000.5.png"]


@pytest.mark.parametrize("flat", [False, True])
def test_csiq_by_its_text_file_in_folders_or_in_one(tmp_path, flat):
    expected = MINIATURES["csiq"](tmp_path)
    (tmp_path / "csiq.DMOS.xlsx").unlink()
    lines = [f"{Path(row.image).name} {1 - row.mos:.3f}" for row in expected]
    (tmp_path / "csiq_label.txt").write_text("\n".join(lines))
    if flat:
        (tmp_path / "dst_imgs_all").mkdir()
        for row in expected:
            (tmp_path / "dst_imgs" / row.image).rename(tmp_path / "dst_imgs_all" / Path(row.image).name)
        shutil.rmtree(tmp_path / "dst_imgs")
    ratings = read("csiq", data_dir=tmp_path)
    assert ratings.table["mos"].tolist() == pytest.approx([row.mos for row in expected])
    assert ratings.table["group"].tolist() == [row.group for row in expected]
    check(ratings, skip_broken=False, progress=False)


def test_live_without_realigned_scores_takes_the_others(tmp_path):
    expected = MINIATURES["live"](tmp_path)
    realigned = loadmat(tmp_path / "dmos_realigned.mat")
    savemat(tmp_path / "dmos.mat", {"dmos": realigned["dmos_new"], "orgs": realigned["orgs"]})
    (tmp_path / "dmos_realigned.mat").unlink()
    assert read("live", data_dir=tmp_path).table["mos"].tolist() == pytest.approx([row.mos for row in expected])


def test_flive_without_its_lists_has_no_split(tmp_path):
    MINIATURES["flive"](tmp_path)
    (tmp_path / "database" / "labels>640.csv").unlink()
    assert read("flive", data_dir=tmp_path).table["split"].isna().all()


def test_flives_lists_are_known_without_the_signs_in_their_names(tmp_path):
    expected = MINIATURES["flive"](tmp_path)
    for name, other in (("labels<=640_padded.csv", "labels=640_padded.csv"), ("labels>640.csv", "labels640.csv")):
        (tmp_path / "database" / name).rename(tmp_path / "database" / other)
    assert read("flive", data_dir=tmp_path).table["split"].tolist() == [row.split for row in expected]


def test_pipal_as_four_archives_side_by_side(tmp_path):
    expected = MINIATURES["pipal"](tmp_path)
    for number, row in enumerate(expected, start=1):
        (tmp_path / f"Distortion_{number}").mkdir()
        shutil.move(tmp_path / "Train_Dis" / row.image, tmp_path / f"Distortion_{number}" / row.image)
    (tmp_path / "Train_Dis").rmdir()
    ratings = read("pipal", data_dir=tmp_path)
    assert ratings.table["image"].tolist() == [f"Distortion_{n}/{row.image}" for n, row in enumerate(expected, start=1)]
    check(ratings, skip_broken=False, progress=False)


@pytest.mark.parametrize("images", ["images", "."])
def test_agiqa_lies_beside_its_sheet_or_in_a_folder(tmp_path, images):
    expected = MINIATURES["agiqa-3k"](tmp_path)
    (tmp_path / images).mkdir(exist_ok=True)
    for row in expected:
        (tmp_path / row.image).rename(tmp_path / images / row.image)
    ratings = read("agiqa-3k", data_dir=tmp_path)
    assert ratings.images.root == tmp_path / images


def csiq_with(folder, value):
    sheet = folder / "csiq.DMOS.xlsx"
    cells = pd.read_excel(sheet, sheet_name="all_by_image", header=None, dtype=object)
    cells.iloc[4, 5] = value
    with pd.ExcelWriter(sheet) as book:
        cells.to_excel(book, sheet_name="all_by_image", header=False, index=False)


SPOILT = [
    ("csiq", lambda f: csiq_with(f, "fog"), "unknown distortion 'fog'; known are noise, blur"),
    ("tid2013", lambda f: (f / "mos_with_names.txt").write_text("5.5 I01 01.bmp"), "line 1: .*got '5.5 I01 01.bmp'"),
    ("clive", lambda f: savemat(f / CLIVE_MOS, {"MOS": [1]}), "no variable 'AllMOS_release'.*MOS"),
    ("clive", lambda f: (f / CLIVE_MOS).write_text("x" * 200), "cannot be read as a MATLAB file"),
    (
        "live",
        lambda f: savemat(f / "refnames_all.mat", {"refnames_all": np.zeros((1, 3))}),
        "expected 982.*3 references",
    ),
    ("bid", lambda f: pd.DataFrame({"Image Number": ["one"], "g": [1]}).to_excel(f / "DatabaseGrades.xlsx"), "'one'"),
    ("pipal", lambda f: (f / "Train_Label" / "A0001.txt").write_text("A0001_00_00.bmp"), "line 1: expected a name"),
    ("uhd-iqa", lambda f: (f / "uhd-iqa-metadata.csv").write_text(f"{UHD_HEADER}\n1.jpg,0.5,dev"), "'dev'"),
    ("kadid-10k", lambda f: (f / "dmos.csv").write_text("dist_img,ref_img,dmos\nI01_01_01.png,I01.png,7"), r"\(7\)"),
]


@pytest.mark.parametrize(("name", "spoil", "said"), SPOILT)
def test_a_spoilt_file_is_refused_and_the_offender_named(tmp_path, name, spoil, said):
    MINIATURES[name](tmp_path)
    spoil(tmp_path)
    with pytest.raises(FusiqaError, match=f"(?s){said}"):
        read(name, data_dir=tmp_path)


@pytest.mark.parametrize("ending", ["parquet", "xlsx"])
def test_ratings_of_ones_own_may_be_parquet_or_excel(tmp_path, ending):
    Image.new("RGB", (31, 37)).save(tmp_path / "a.png")
    table = pd.DataFrame({"Image": ["a.png", "b.png"], "MOS": [1.5, None], "group": ["x", None]})
    write = table.to_parquet if ending == "parquet" else table.to_excel
    write(tmp_path / f"ratings.{ending}", index=False)
    ratings = read(str(tmp_path / f"ratings.{ending}"), score_range=(1, 5))
    assert ratings.table["image"].tolist() == ["a.png", "b.png"]
    assert ratings.table["group"].tolist() == ["x", "b.png"]
    assert ratings.table["mos"].tolist()[0] == 1.5
    assert np.isnan(ratings.table["mos"].tolist()[1])


def test_a_broken_parquet_is_one_line(tmp_path):
    (tmp_path / "ratings.parquet").write_text("no parquet")
    with pytest.raises(FusiqaError, match="cannot be read as Parquet") as caught:
        read(str(tmp_path / "ratings.parquet"))
    assert "\n" not in str(caught.value)


def linked(root: Path, names, image: Path) -> None:
    """One small image under many names."""
    root.mkdir(exist_ok=True)
    for name in names:
        os.link(image, root / name)


@needs_scores
@pytest.mark.parametrize(
    ("name", "labels", "sheet", "images", "column", "rows", "groups"),
    [
        ("kadid-10k", "kadid10k_dmos.csv", "dmos.csv", "images", "dist_img", 10_125, 81),
        ("agiqa-3k", "agiqa3k_data.csv", "data.csv", "images", "name", 2_982, None),
    ],
)
def test_the_real_label_files_are_read_as_they_are(tmp_path, name, labels, sheet, images, column, rows, groups):
    table = pd.read_csv(SCORES / labels)
    (tmp_path / sheet).symlink_to(SCORES / labels)
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    linked(tmp_path / images, table[column], tmp_path / "one.png")
    ratings = read(name, data_dir=tmp_path)
    assert len(ratings) == rows == find_dataset(name).images
    assert ratings.images.root.name == images
    mos = {"kadid-10k": "dmos", "agiqa-3k": "mos_quality"}[name]
    np.testing.assert_allclose(ratings.table["mos"], table[mos])
    if groups is not None:
        assert ratings.table["group"].nunique() == groups
    drawn = splits.assign(ratings, validation_fraction=0.1, seed=0).table
    assert drawn.groupby("group")["split"].nunique().max() == 1
