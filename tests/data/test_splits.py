"""Splits: the published one is kept, draws depend on seed and names alone, no group is on two sides."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusiqa.config import ScoreRange
from fusiqa.data.ratings import Ratings
from fusiqa.data.splits import TEST_FRACTION, assign, check_no_leak, group_copies, load, save, split_fingerprint
from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import FolderImages


def rated(groups: list[str], splits: list[str | None]) -> Ratings:
    table = pd.DataFrame(
        {
            "image": [f"{row}.jpg" for row in range(len(groups))],
            "mos": np.linspace(0, 1, len(groups)),
            "split": pd.Series(splits, dtype=object),
            "group": groups,
        }
    )
    return Ratings("mine", table, ScoreRange(0, 1), FolderImages(Path()), "none")


def alone(splits: list[str | None]) -> Ratings:
    return rated([f"{row}.jpg" for row in range(len(splits))], splits)


def sides(ratings: Ratings) -> dict[str, str]:
    return dict(zip(ratings.table["image"], ratings.table["split"], strict=True))


def shuffled(ratings: Ratings, seed: int = 1) -> Ratings:
    return replace(ratings, table=ratings.table.sample(frac=1, random_state=seed).reset_index(drop=True))


@pytest.mark.parametrize("unused", [0.1, 0])
def test_an_official_three_way_split_is_left_as_it_is_whatever_the_fraction(unused):
    ratings = alone(["train", "validation", "test", "test"])
    assert sides(assign(ratings, validation_fraction=unused, seed=3)) == sides(ratings)


def test_validation_is_cut_from_train_and_the_test_stays():
    ratings = alone(["train"] * 70 + ["test"] * 31)
    drawn = assign(ratings, validation_fraction=0.1, seed=0).table
    assert drawn["split"].value_counts().to_dict() == {"train": 63, "validation": 7, "test": 31}
    assert (drawn["split"] == "test").tolist() == [False] * 70 + [True] * 31


def test_without_any_split_a_fifth_is_test_and_the_rest_is_split():
    drawn = assign(alone([None] * 1000), validation_fraction=0.125, seed=0)
    assert TEST_FRACTION == 0.2
    assert drawn.table["split"].value_counts().to_dict() == {"train": 700, "validation": 100, "test": 200}


@pytest.mark.parametrize("official", [None, "train"])
def test_groups_stay_whole_and_fractions_count_images(official: str | None):
    rng = np.random.default_rng(0)
    groups = [f"g{g}" for g, size in enumerate(rng.integers(1, 12, 101)) for _ in range(size)]
    splits = [official] * len(groups)
    if official:
        groups, splits = [*groups, "tested"], [*splits, "test"]
    drawn = assign(rated(groups, splits), validation_fraction=0.3, seed=5).table
    assert drawn.groupby("group")["split"].nunique().max() == 1
    held_out = (drawn["split"] == "validation").sum() / (drawn["split"] != "test").sum()
    assert held_out == pytest.approx(0.3, abs=6 / len(drawn) + 0.01)


def test_an_image_that_is_taken_away_moves_few_others():
    ratings = alone([None] * 500)
    whole = sides(assign(ratings, validation_fraction=0.1, seed=0))
    fewer = sides(assign(ratings.without(["17.jpg", "101.jpg"]), validation_fraction=0.1, seed=0))
    assert sum(whole[image] != side for image, side in fewer.items()) <= 4


def test_the_smallest_data_sets_that_can_be_split():
    for splits, fraction in (([None] * 3, 0.01), (["train", "train", "test"], 0.99)):
        drawn = assign(alone(splits), validation_fraction=fraction, seed=0)
        assert sorted(drawn.table["split"]) == ["test", "train", "validation"]


@pytest.mark.parametrize(
    ("groups", "splits", "message"),
    [
        (["a", "b"], [None, None], "mine: 1 group .* for train and validation"),
        (["a", "a", "a"], [None] * 3, "mine: 1 group .* for train and test"),
        (["a", "a", "b"], ["train", "train", "test"], "mine: 1 group .* for train and validation"),
        (["a", "b"], ["train", "validation"], "has train, validation, but no test"),
        (["a", "b"], ["test", "test"], "has test, but no train"),
        (["a", "b", "c"], ["train", None, "test"], r"no split given for 1\.jpg"),
    ],
)
def test_what_cannot_be_split_is_refused(groups: list[str], splits: list[str | None], message: str):
    with pytest.raises(FusiqaError, match=message):
        assign(rated(groups, splits), validation_fraction=0.1, seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_an_impossible_fraction_is_refused(fraction: float):
    with pytest.raises(FusiqaError, match=f"`validation_fraction` must be above 0 and below 1, got {fraction:g}"):
        assign(alone([None] * 9), validation_fraction=fraction, seed=0)


def test_a_leak_names_up_to_five_groups_and_how_many_there_are():
    groups = [f"g{g}" for g in range(7)] * 2 + ["sound", "sound"]
    leaking = rated(groups, ["train"] * 7 + ["test"] * 7 + ["test"] * 2)
    expected = r"side: g0 \(test, train\), .*g4 \(test, train\), \.\.\. \(7 in all\)"
    with pytest.raises(FusiqaError, match=expected) as caught:
        check_no_leak(leaking)
    assert "sound" not in str(caught.value)
    with pytest.raises(FusiqaError, match="leaks"):
        assign(leaking, validation_fraction=0.1, seed=0)


def test_groups_on_one_side_and_rows_without_a_split_are_no_leak():
    check_no_leak(rated(["a", "a", "b", "b"], ["train", "train", "test", None]))


def test_the_fingerprint_tells_which_image_is_on_which_side():
    assert split_fingerprint(alone(["train", "test"])) != split_fingerprint(alone(["test", "train"]))


def test_a_saved_split_is_loaded_as_it_was(tmp_path: Path):
    ratings = alone([None] * 53)
    drawn = assign(ratings, validation_fraction=0.1, seed=0)
    save(shuffled(drawn), tmp_path / "split.csv", {})
    loaded = load(ratings, tmp_path / "split.csv")
    assert sides(loaded) == sides(drawn)
    assert loaded.table["image"].tolist() == ratings.table["image"].tolist()
    subset = ratings.without(["3.jpg", "5.jpg"])
    assert sides(load(subset, tmp_path / "split.csv")) == {
        image: side for image, side in sides(drawn).items() if image not in ("3.jpg", "5.jpg")
    }
    text = (tmp_path / "split.csv").read_bytes()
    save(drawn, tmp_path / "again.csv", {})
    assert (tmp_path / "again.csv").read_bytes() == text
    assert text.startswith(b"image,split,sha256\n0.jpg,")


def test_a_name_that_begins_with_a_space_is_saved_and_loaded(tmp_path: Path):
    ratings = alone([None] * 9)
    ratings = replace(ratings, table=ratings.table.assign(image=" " + ratings.table["image"]))
    drawn = assign(ratings, validation_fraction=0.3, seed=0)
    save(drawn, tmp_path / "split.csv", {})
    assert sides(load(ratings, tmp_path / "split.csv")) == sides(drawn)
    (tmp_path / "padded.csv").write_text("image,split\n" + "".join(f"{row}.jpg ,train\n" for row in range(9)))
    assert set(sides(load(alone([None] * 9), tmp_path / "padded.csv")).values()) == {"train"}


def test_a_split_file_may_spell_names_and_splits_as_tables_of_ratings_do(tmp_path: Path):
    table = alone([None] * 4).table.assign(image=["a/\u00e9.jpg", "b.PNG", "c.jpg", "C.jpg"])
    ratings = replace(alone([None] * 4), table=table)
    (tmp_path / "split.csv").write_text(
        "image,split\n./a/e\u0301.jpg,training\nb.png,val\nc.jpg,test\nC.jpg,train\n", encoding="utf-8"
    )
    found = ["train", "validation", "test", "train"]
    assert sides(load(ratings, tmp_path / "split.csv")) == dict(zip(table["image"], found, strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,side\n0.jpg,train\n", "no column 'split'"),
        ("image,split\n0.jpg,learn\n", "unknown split 'learn'"),
        ("image,split\n0.jpg,train\n", r"no split for 1\.jpg"),
        ("image,split\n0.jpg,train\n1.jpg,test\n ,test\n", "no image is named in row 3"),
        ("image,split\n0.jpg,train\n1.jpg,test\n0.jpg,test\n", r"named more than once: 0\.jpg"),
        ("image,split\n0.jpg,train\n1.jpg,test\n", r"leaks: .*: g \(test, train\); `fusiqa data check` names copies"),
    ],
)
def test_a_split_file_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(FusiqaError, match=message):
        load(rated(["g", "g"], [None, None]), tmp_path / "split.csv")


def grouped(seed: int, contents: int = 97) -> Ratings:
    """Contents of 1 to 11 images each, as distorted versions of a reference are."""
    sizes = np.random.default_rng(seed).integers(1, 12, contents)
    groups = [f"content{number}" for number, size in enumerate(sizes) for _ in range(size)]
    return rated(groups, [None] * len(groups))


@pytest.mark.parametrize("seed", [0, 7, 14])
def test_no_draw_parts_a_group_and_all_have_their_fractions(seed: int):
    ratings = grouped(seed)
    table = assign(ratings, validation_fraction=0.1, seed=seed).table
    assert table.groupby("group")["split"].nunique().max() == 1
    counts = table["split"].value_counts()
    assert counts["test"] == pytest.approx(0.2 * len(ratings), abs=11)  # a group is moved whole
    assert counts["validation"] == pytest.approx(0.1 * (len(ratings) - counts["test"]), abs=11)


@pytest.mark.parametrize("ratings", [alone([None] * 211), alone(["train"] * 180 + ["test"] * 31), grouped(0)])
def test_a_draw_depends_on_the_seed_and_not_on_the_order_of_rows(ratings: Ratings):
    drawn = [assign(ratings, validation_fraction=0.1, seed=seed) for seed in range(5)]
    again = [assign(shuffled(ratings), validation_fraction=0.1, seed=seed) for seed in range(5)]
    assert [sides(draw) for draw in again] == [sides(draw) for draw in drawn]
    assert [split_fingerprint(draw) for draw in again] == [split_fingerprint(draw) for draw in drawn]
    assert len({split_fingerprint(draw) for draw in drawn}) == 5


def test_copies_under_other_names_are_in_one_group_with_all_that_is_grouped_with_them():
    ratings = rated(["a", "b", "b", "c", "d"], [None] * 5)
    contents = {"0.jpg": "x", "1.jpg": "x", "2.jpg": "y", "3.jpg": "y", "4.jpg": "z"}
    assert group_copies(ratings, contents).table["group"].tolist() == ["a", "a", "a", "a", "d"]
    assert group_copies(ratings, {image: image for image in contents}).table["group"].tolist() == list("abbcd")
    leaking = group_copies(alone(["train", "test", "test"]), {"0.jpg": "x", "1.jpg": "x", "2.jpg": "y"})
    with pytest.raises(FusiqaError, match=r"more than one side: 0\.jpg \(test, train\)"):
        assign(leaking, validation_fraction=0.1, seed=0)
