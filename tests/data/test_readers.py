"""Every data set and custom table is read correctly from its own files: names, direction, groups, splits."""

import json
import logging
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
from fusiqa.data.catalog import CATALOG, find_dataset, read
from fusiqa.data.ratings import Ratings
from fusiqa.data.table import names_on_disk
from fusiqa.errors import FusiqaError

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the label files in {SHARED} are not on this machine")

KONIQ_HEADER = "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set"


def koniq(folder: Path, *sizes: str) -> Path:
    for size in sizes:
        (folder / size).mkdir(parents=True)
    rows = ["11.jpg,0,0,0,1,0,105,77.5,0.5,training", "13.jpg,0,0,1,0,0,96,50,0.5,test", "17.jpg,,,,,,,0,,validation"]
    (folder / "koniq10k_distributions_sets.csv").write_text("\n".join([KONIQ_HEADER, *rows]))
    return folder


def columns(ratings: Ratings) -> dict[str, list]:
    return {name: ratings.table[name].tolist() for name in ("image", "mos", "split", "group")}


@pytest.mark.parametrize("size", ["512x384", "1024x768"])
def test_koniq_is_read_in_either_size(tmp_path: Path, caplog: pytest.LogCaptureFixture, size: str):
    ratings = read("koniq-10k", data_dir=koniq(tmp_path, size))
    assert columns(ratings) == {
        "image": ["11.jpg", "13.jpg", "17.jpg"],
        "mos": [77.5, 50.0, 0.0],
        "split": ["train", "test", "validation"],
        "group": ["11.jpg", "13.jpg", "17.jpg"],
    }
    assert ratings.score_range == (0, 100)
    assert ratings.resize == "512x384"
    assert ratings.images.root == tmp_path / size
    assert not caplog.records


@pytest.mark.parametrize(("pointed", "size"), [(".", "512x384"), ("512x384", "512x384"), ("1024x768", "1024x768")])
def test_koniq_in_both_sizes_says_which_it_reads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pointed: str, size: str
):
    koniq(tmp_path, "512x384", "1024x768")
    assert read("koniq-10k", data_dir=tmp_path / pointed).images.root == tmp_path / size
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"reading {size}" in caplog.text


def test_koniq_without_images_says_which_folders_it_expects(tmp_path: Path):
    with pytest.raises(FusiqaError, match=f"no images in {tmp_path}; expected a folder 512x384 or 1024x768"):
        read("koniq-10k", data_dir=koniq(tmp_path))


def test_koniq_refuses_a_set_that_it_does_not_know(tmp_path: Path):
    path = koniq(tmp_path, "512x384") / "koniq10k_distributions_sets.csv"
    path.write_text(path.read_text().replace("validation", "holdout"))
    with pytest.raises(FusiqaError, match="unknown split 'holdout' in row 3; expected one of train, training, val"):
        read("koniq-10k", data_dir=tmp_path)


def koniq_lists(folder: Path, lists: Path) -> None:
    lists.mkdir(parents=True, exist_ok=True)
    train = [{"image": "koniq_train/11.jpg", "score": 77.5}, {"image": "/root/elsewhere/13.jpg", "score": "50"}]
    (lists / "koniq_train.json").write_text(json.dumps(train))
    (lists / "koniq_test.json").write_text(json.dumps([{"image": "17.jpg", "gt_score": None}]))


@pytest.mark.parametrize("lists", [".", "metas"])
@pytest.mark.parametrize(
    ("folders", "train", "test"),
    [
        (["train", "test"], "train", "test"),
        (["koniq_train", "koniq_test"], "koniq_train", "koniq_test"),
        (["512x384"], "512x384", "512x384"),
        (["1024x768"], "1024x768", "1024x768"),
    ],
)
def test_koniqs_older_lists_are_read_from_where_their_images_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lists: str, folders: list[str], train: str, test: str
):
    koniq_lists(tmp_path, tmp_path / lists)
    for folder in folders:
        (tmp_path / folder).mkdir()
    ratings = read("koniq-10k", data_dir=tmp_path)
    assert ratings.table["image"].tolist() == [f"{train}/11.jpg", f"{train}/13.jpg", f"{test}/17.jpg"]
    np.testing.assert_array_equal(ratings.table["mos"], [77.5, 50, np.nan])
    assert ratings.table["split"].tolist() == ["train", "train", "test"]
    assert ratings.table["group"].tolist() == ["11.jpg", "13.jpg", "17.jpg"]
    assert ratings.images.root == tmp_path
    assert "reading koniq_train.json and koniq_test.json" in caplog.text


def test_koniqs_official_sets_win_over_the_older_lists(tmp_path: Path):
    koniq_lists(tmp_path, tmp_path)
    assert read("koniq-10k", data_dir=koniq(tmp_path, "512x384")).table["split"].tolist() == [
        "train",
        "test",
        "validation",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"image": 1}', "expected a list of objects"),
        ("[]", "expected a list of objects"),
        ("[1", "cannot be read as JSON"),
        (
            '[{"image": "1.jpg", "quality": 3}]',
            "no column 'score' or 'gt_score' or 'mos'; its columns are image, quality",
        ),
    ],
)
def test_a_malformed_list_is_refused(tmp_path: Path, text: str, message: str):
    koniq_lists(tmp_path, tmp_path)
    (tmp_path / "512x384").mkdir()
    (tmp_path / "koniq_test.json").write_text(text)
    with pytest.raises(FusiqaError, match=f"koniq_test.json: .*{message}"):
        read("koniq-10k", data_dir=tmp_path)


def test_one_list_alone_is_refused(tmp_path: Path):
    koniq_lists(tmp_path, tmp_path)
    (tmp_path / "512x384").mkdir()
    (tmp_path / "koniq_test.json").unlink()
    with pytest.raises(
        FusiqaError, match=r"needs both lists: there is no koniq_test\.json or metas/koniq_test\.json in"
    ):
        read("koniq-10k", data_dir=tmp_path)


SPAQ_ROWS = pd.DataFrame({"Image name": ["00001.jpg", "00002.jpg"], "MOS": [48.86, 62.5], "Brightness": [49.1, 60]})


@pytest.mark.parametrize(
    "sheet", ["Annotations/MOS and Image attribute scores.xlsx", "Annotations/spaq_mos.csv", "spaq_mos.csv"]
)
def test_spaq_is_read_from_its_spreadsheet_or_a_csv(tmp_path: Path, sheet: str):
    (tmp_path / "TestImage").mkdir()
    (tmp_path / "Annotations").mkdir()
    if sheet.endswith(".xlsx"):
        SPAQ_ROWS.to_excel(tmp_path / sheet, index=False)
    else:
        SPAQ_ROWS.to_csv(tmp_path / sheet, index=False)
    ratings = read("spaq", data_dir=tmp_path / "TestImage")
    assert columns(ratings) == {
        "image": ["00001.jpg", "00002.jpg"],
        "mos": [48.86, 62.5],
        "split": [None, None],
        "group": ["00001.jpg", "00002.jpg"],
    }
    assert (ratings.score_range, ratings.resize) == ((0, 100), "512")
    assert ratings.images.root == tmp_path / "TestImage"


def test_a_broken_spreadsheet_and_missing_images_are_named(tmp_path: Path):
    (tmp_path / "Annotations").mkdir()
    sheet = tmp_path / "Annotations" / "MOS and Image attribute scores.xlsx"
    sheet.write_bytes(b"not a workbook")
    with pytest.raises(FusiqaError, match=r"scores\.xlsx: cannot be read as an Excel workbook"):
        read("spaq", data_dir=tmp_path)
    SPAQ_ROWS.to_excel(sheet, index=False)
    with pytest.raises(FusiqaError, match=f"there is no folder {tmp_path}/TestImage"):
        read("spaq", data_dir=tmp_path)
    SPAQ_ROWS.rename(columns={"MOS": "Mean"}).to_excel(sheet, index=False)
    (tmp_path / "TestImage").mkdir()
    with pytest.raises(FusiqaError, match="no column 'MOS'; its columns are Image name, Mean, Brightness"):
        read("spaq", data_dir=tmp_path)


def test_biq2021_is_read_with_its_quirks(tmp_path: Path):
    (tmp_path / "Images").mkdir()
    (tmp_path / "Images" / "ss02 (1014).JPG").touch()
    (tmp_path / "Train (Images and MOS).csv").write_bytes(
        b"\xef\xbb\xbfImage Name,MOS,,\r\nss02 (1014).jpg,0.4357,,\r\nss01 (3).jpg,,,\r\n,,,\r\n"
    )
    (tmp_path / "Test (Images and MOS).csv").write_bytes(b"Image Name,MOS\r\nss03 (5).jpg,1\r\n")
    ratings = read("biq2021", data_dir=tmp_path)
    assert ratings.table["image"].tolist() == ["ss02 (1014).JPG", "ss01 (3).jpg", "ss03 (5).jpg"]
    np.testing.assert_array_equal(ratings.table["mos"], [0.4357, np.nan, 1])
    assert ratings.table["split"].tolist() == ["train", "train", "test"]


def test_half_a_biq2021_is_refused(tmp_path: Path):
    (tmp_path / "Images").mkdir()
    (tmp_path / "Train (Images and MOS).csv").write_text("Image Name,MOS\n1.jpg,0.5\n")
    with pytest.raises(FusiqaError, match=r"Test \(Images and MOS\)\.csv: no such file"):
        read("biq2021", data_dir=tmp_path)


def own(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "ratings.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_a_csv_of_ones_own_is_read_in_any_case_and_order_of_columns(tmp_path: Path):
    text = "Group, MOS ,IMAGE,Split,remark\nrose,1.5,a.jpg,Training,x\n,2,b.jpg,VAL\nrose,3,c.jpg,test,\n"
    assert columns(read(own(tmp_path, b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()))) == {
        "image": ["a.jpg", "b.jpg", "c.jpg"],
        "mos": [1.5, 2.0, 3.0],
        "split": ["train", "validation", "test"],
        "group": ["rose", "b.jpg", "rose"],
    }


@pytest.mark.parametrize(
    ("text", "images", "mos"),
    [
        ("filename,score,MOS\na.jpg,7,1\nb.jpg,8,2\n", ["a.jpg", "b.jpg"], [1, 2]),
        ("file,score,mos_zscore\na.jpg,7,1\nb.jpg,8,2\n", ["a.jpg", "b.jpg"], [1, 2]),
        ("Image_Name,score,quality_mos\na.jpg,7,1\nb.jpg,8,2\n", ["a.jpg", "b.jpg"], [1, 2]),
        ("path,score,mos\na.jpg,7,1\nb.jpg,8,2\n", ["a.jpg", "b.jpg"], [1, 2]),
        (",image,mos\n0,a.jpg,1.5\n1,b.jpg,2\n", ["a.jpg", "b.jpg"], [1.5, 2]),  # as pandas writes it
        ('image,mos\n007,1\nNA,2\n"a, b.jpg",3\n', ["007", "NA", "a, b.jpg"], [1, 2, 3]),
        ("image;mos\r\na, b.jpg;3,4\r\n7.png;2\r\n", ["a, b.jpg", "7.png"], [3.4, 2]),
        ("image;mos\r\na, b.jpg;3.4\r\n7.png;2\r\n", ["a, b.jpg", "7.png"], [3.4, 2]),
        ("image\tmos\r\na, b.jpg\t3,4\r\n7.png\t2\r\n", ["a, b.jpg", "7.png"], [3.4, 2]),
        ("image\tmos\r\na, b.jpg\t3.4\r\n7.png\t2\r\n", ["a, b.jpg", "7.png"], [3.4, 2]),
    ],
)
def test_columns_are_found_by_their_usual_names_and_cells_are_read_as_written(tmp_path, text, images, mos):
    table = read(own(tmp_path, b"\xef\xbb\xbf" + text.encode())).table
    assert table["image"].tolist() == images
    assert table["mos"].tolist() == mos


def test_ratings_of_distortion_are_inverted_when_asked(tmp_path: Path):
    text = "image,mos\na.jpg,1\nb.jpg,2.5\nc.jpg,4\n"
    ends = "image,mos\na.jpg,1.1\nb.jpg,5.9\n"  # 1.1 + 5.9 - 5.9 is less than 1.1
    assert read(own(tmp_path, ends), lower_is_better=True).table["mos"].tolist() == [5.9, 1.1]
    assert read(own(tmp_path, text), lower_is_better=True).table["mos"].tolist() == [4, 2.5, 1]
    assert read(own(tmp_path, text), lower_is_better=True, score_range=(0, 5)).table["mos"].tolist() == [4, 2.5, 1]
    with pytest.raises(FusiqaError, match="`lower_is_better` is for custom tables"):
        read("koniq-10k", lower_is_better=True)


def test_one_file_under_two_spellings_is_rated_twice(tmp_path: Path):
    (tmp_path / "a.png").touch()
    for other in ("./a.png", "sub/../a.png", "A.PNG"):
        with pytest.raises(FusiqaError, match=r"rated more than once: a\.png"):
            read(own(tmp_path, f"image,mos\na.png,1\n{other},2\n"))


def test_composed_and_decomposed_names_are_the_same(tmp_path: Path):
    composed, decomposed = "caf\u00e9/\u00e9.png", "cafe\u0301/e\u0301.png"
    for written, stated in ((composed, decomposed), (decomposed, composed)):
        path = tmp_path / str(len(stated)) / written
        path.parent.mkdir(parents=True)
        path.touch()
        table = read(own(tmp_path / str(len(stated)), f"image,mos\n{stated},1\nx.png,2\n")).table
        assert table["image"].tolist() == [written, "x.png"]


def test_names_find_the_one_file_that_differs_in_case(tmp_path: Path):
    (tmp_path / "Sub").mkdir()
    for file in ("Sub/A.JPG", "b.jpg", "b.JPG", "c.Jpg", "c.jPG"):
        (tmp_path / file).touch()
    images = read(own(tmp_path, "image,mos\nSub/a.jpg,1\nb.jpg,2\nc.jpg,3\nd.jpg,4\n")).table["image"].tolist()
    assert images == ["Sub/A.JPG", "b.jpg", "c.jpg", "d.jpg"]


def test_an_empty_split_column_is_none(tmp_path: Path):
    assert read(own(tmp_path, "image,mos,split\na.jpg,1,\nb.jpg,2, \n")).table["split"].tolist() == [None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,score\na.jpg,1\n", "no column 'mos' or .*; its columns are image, score"),
        ("photo;mos\na.jpg;1\n", "no column 'image' or .*; its columns are photo, mos"),
        ("image;mos\na.jpg;1;2\n", "line 2: 3 cells under a header of 2; quote cells that contain ';'"),
        ("image,mos,MOS\na.jpg,1,2\n", "2 columns are called 'mos'; keep one"),
        ("", "no rows below the header"),
        ("image,mos\n", r"no rows below the header \(image, mos\)"),
        ("image,mos\na.jpg,1\nb.jpg,3,5\n", "line 3: 3 cells under a header of 2"),
        ("image,mos\na.jpg,1\n,2\n ,3\n", "no image is named in row 2, row 3"),
        ("image,mos,split\na.jpg,1,train\nb.jpg,2,dev\nc.jpg,3,\n", "unknown split 'dev' in row 2, '' in row 3"),
        ("image,mos\na.jpg,1\nb.jpg,2\na.jpg,3\n", r"rated more than once: a\.jpg"),
        (b"image,mos\nr\xe9.jpg,1\n", "not UTF-8"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused(tmp_path: Path, text: str | bytes, message: str):
    with pytest.raises(FusiqaError, match=f"ratings.csv.*{message}"):
        read(own(tmp_path, text))


@needs_shared
def test_koniqs_real_sets_file_is_read_as_counted(tmp_path: Path):
    (tmp_path / "512x384").mkdir()
    (tmp_path / "koniq10k_distributions_sets.csv").symlink_to(SHARED / "scores" / "koniq10k_distributions_sets.csv")
    ratings = read("koniq-10k", data_dir=tmp_path)
    assert len(ratings) == 10_073
    assert ratings.table["split"].value_counts().to_dict() == {"train": 7_058, "validation": 1_000, "test": 2_015}
    assert ratings.table["mos"].notna().all()
    assert ratings.table.iloc[0].tolist() == ["10004473376.jpg", 77.3836206897, "train", "10004473376.jpg"]


@needs_shared
def test_biq2021s_real_sample_has_a_file_for_every_row():
    ratings = read("biq2021", data_dir=SHARED / "biq2021-2k")
    assert ratings.table["split"].value_counts().to_dict() == {"train": 1_600, "test": 400}
    assert {path.name for path in (SHARED / "biq2021-2k" / "Images").iterdir()} == set(ratings.table["image"])


SCORES = SHARED / "scores"
CLIVE_MOS = "Data/AllMOS_release.mat"
UHD_HEADER = "image_name,quality_mos,set"


@pytest.fixture(params=MINIATURES)
def miniature(request, tmp_path):
    """A data set's name, its folder, and the rows that reading it has to give."""
    folder = tmp_path / "copy"
    folder.mkdir()
    return request.param, folder, MINIATURES[request.param](folder)


def test_every_data_set_has_a_miniature_or_tests_of_its_own():
    assert set(MINIATURES) | {"koniq-10k", "spaq", "biq2021"} == {info.name for info in CATALOG}


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


@needs_shared
@pytest.mark.parametrize(
    ("name", "labels", "sheet", "images", "column", "groups"),
    [
        ("kadid-10k", "kadid10k_dmos.csv", "dmos.csv", "images", "dmos", 81),
        ("agiqa-3k", "agiqa3k_data.csv", "data.csv", "images", "mos_quality", None),
        ("spaq", "spaq_mos.csv", "spaq_mos.csv", "TestImage", "MOS", 11_125),
    ],
)
def test_the_real_label_files_are_read_as_they_are(tmp_path, name, labels, sheet, images, column, groups):
    (tmp_path / sheet).symlink_to(SCORES / labels)
    (tmp_path / images).mkdir()
    ratings = read(name, data_dir=tmp_path)
    assert len(ratings) == find_dataset(name).images
    assert ratings.images.root.name == images
    np.testing.assert_allclose(ratings.table["mos"], pd.read_csv(SCORES / labels)[column])
    if groups is not None:
        assert ratings.table["group"].nunique() == groups
    drawn = splits.assign(ratings, validation_fraction=0.1, seed=0).table
    assert drawn.groupby("group")["split"].nunique().max() == 1


def test_a_name_that_no_file_can_have_is_left_as_it_is(tmp_path: Path):
    assert names_on_disk(tmp_path, ["a\0/b.png"]) == ["a\0/b.png"]


def test_folders_may_be_separated_as_on_windows(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").touch()
    (tmp_path / r"odd\name.jpg").touch()
    assert names_on_disk(tmp_path, [r"sub\A.jpg", r"odd\name.jpg"]) == ["sub/a.jpg", r"odd\name.jpg"]


@pytest.mark.parametrize("empty", ["", "NA", "NaN", "n/a", "null", "None"])
def test_an_empty_group_is_the_image_alone_however_it_is_written(tmp_path: Path, empty: str):
    (tmp_path / "own.csv").write_text(f"image,mos,group\na.jpg,1,{empty}\nb.jpg,2,{empty}\nc.jpg,3,NATO\n")
    assert read(str(tmp_path / "own.csv")).table["group"].tolist() == ["a.jpg", "b.jpg", "NATO"]
