"""Crops and their order: reproducible, complete, shared so that several processes see what one would."""

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest
import torch

from fusiqa.config import ScoreRange
from fusiqa.data.distortions import DISTORTIONS
from fusiqa.data.loader import (
    Draw,
    EvaluationCrops,
    TrainingCrops,
    TrainingOrder,
    choose_workers,
    evaluation_loader,
    training_loader,
    versions_of,
)
from fusiqa.data.ratings import Ratings
from fusiqa.scoring.image import ORIGINAL_SIZE, Resize

SIZES = [(37, 53), (11, 13), (97, 31), (41, 41), (59, 61)]


@dataclass(frozen=True)
class Coordinates:
    """Images whose pixels say where they are: red the row, green the column."""

    in_memory: bool = False
    reads: list[str] = field(default_factory=list)

    def read(self, image: str, resize: Resize = ORIGINAL_SIZE) -> np.ndarray:
        self.reads.append(image)
        height, width = SIZES[int(image)]
        rows, columns = np.mgrid[:height, :width]
        return resize.apply(np.stack([rows, columns, np.full_like(rows, int(image))], axis=2).astype(np.uint8))

    def verify(self, image: str) -> str:
        return image


@pytest.fixture
def ratings():
    names = [str(number) for number in range(len(SIZES))]
    table = pd.DataFrame({"image": names, "mos": [0.1, 0.2, 0.3, 0.4, 0.5], "split": "train", "group": names})
    return Ratings("coordinates", table, ScoreRange(0, 1), Coordinates(), "none")


def batches(ratings, *, workers=0, epoch=0, seed=7, rank=0, world=1, batch_size=3, crops_per_image=2):
    order = TrainingOrder(
        rows=range(len(ratings)),
        crops_per_image=crops_per_image,
        seed=seed,
        rank=rank,
        world_size=world,
    )
    order.set_epoch(epoch)
    crops = TrainingCrops(ratings, 17, seed)
    loader = training_loader(crops, order, batch_size=batch_size, num_workers=workers)
    found = list(loader)
    assert len(found) == len(loader)
    return found


def same(a, b):
    return len(a) == len(b) and all(
        torch.equal(x.crops, y.crops) and torch.equal(x.mos, y.mos) for x, y in zip(a, b, strict=True)
    )


def test_crops_do_not_depend_on_the_number_of_workers(ratings):
    assert same(batches(ratings), batches(ratings, workers=2))


def test_another_epoch_or_seed_gives_other_crops(ratings):
    assert same(batches(ratings, epoch=3), batches(ratings, epoch=3))
    assert not same(batches(ratings), batches(ratings, epoch=1))
    assert not same(batches(ratings), batches(ratings, seed=8))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_hold_the_crops_of_the_order_with_their_ratings(ratings, workers):
    order = TrainingOrder(rows=range(5), crops_per_image=4, seed=7)
    dataset = TrainingCrops(ratings, 17, seed=7)
    found = batches(ratings, crops_per_image=4, workers=workers)
    crops, given = torch.cat([batch.crops for batch in found]), torch.cat([batch.mos for batch in found])
    for draw, crop, mos in zip(order, crops, given, strict=True):
        assert torch.equal(crop, dataset[draw].crop.permute(2, 0, 1))
        assert float(mos) == pytest.approx(0.1 * (draw.row + 1))


def test_crops_are_channels_last_in_memory_so_that_no_step_has_to_turn_them(ratings):
    assert batches(ratings)[0].crops.is_contiguous(memory_format=torch.channels_last)


def test_the_last_batch_may_hold_one_crop(ratings):
    assert [len(batch.mos) for batch in batches(ratings, crops_per_image=2, batch_size=3)] == [3, 3, 3, 1]


def test_two_processes_together_see_the_batches_of_one(ratings):
    one = batches(ratings, batch_size=4)
    parts = [batches(ratings, batch_size=2, rank=rank, world=2) for rank in (0, 1)]
    for whole, first, second in zip(one, *parts, strict=True):
        together = sorted(x.flatten().tolist() for part in (first, second) for x in part.crops)
        assert together == sorted(x.flatten().tolist() for x in whole.crops)


def test_some_crops_come_with_distorted_versions_that_depend_on_the_draw_alone(ratings):
    crops = TrainingCrops(ratings, 17, seed=0, distorted=0.5)
    items = [crops[Draw(0, 4, number)] for number in range(100)]
    assert 30 <= sum(len(item.versions) > 0 for item in items) <= 70
    assert {len(item.versions) for item in items} == {0, 2, 3}
    for item, again, plain in zip(items, (crops[Draw(0, 4, n)] for n in range(100)), range(100), strict=True):
        undistorted = TrainingCrops(ratings, 17, seed=0)[Draw(0, 4, plain)]
        assert torch.equal(item.crop, undistorted.crop)
        assert all(torch.equal(*both) for both in zip(item.versions, again.versions, strict=True))
        assert all(version.shape == item.crop.shape for version in item.versions)
        pairs = [(better, worse) for better, worse, _ in item.orders]
        assert pairs == {0: [], 2: [(0, 1), (0, 2)], 3: [(0, 1), (0, 2), (1, 3), (2, 3)]}[len(item.versions)]
        assert all(0 <= fall < 1 for *_, fall in item.orders)


def test_a_batch_puts_every_version_after_the_crops_and_names_its_pairs(ratings):
    crops = TrainingCrops(ratings, 17, seed=0, distorted=0.5)
    order = TrainingOrder(rows=range(5), crops_per_image=4, seed=7)
    (batch,) = training_loader(crops, order, batch_size=20, num_workers=0)
    items = [crops[draw] for draw in order]
    together = torch.cat([batch.crops, batch.distorted.crops]).permute(0, 2, 3, 1)
    wanted = [
        ([item.crop, *item.versions][better], [item.crop, *item.versions][worse], fall)
        for item in items
        for better, worse, fall in item.orders
    ]
    assert len(batch.distorted.better) == len(wanted) > 0
    assert torch.equal(batch.distorted.sets, torch.zeros(len(wanted), dtype=torch.int64))
    for better, worse, fall, each in zip(*batch.distorted[1:4], wanted, strict=True):
        assert torch.equal(together[better], each[0])
        assert torch.equal(together[worse], each[1])
        assert fall == pytest.approx(each[2])


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [("jpeg", "gaussian_blur", 3), ("white_noise", "lens_blur", 2), ("darken", "brighten", 2)],
)
def test_two_distortions_that_may_undo_each_other_are_not_put_together(monkeypatch, one, other, together):
    monkeypatch.setattr("fusiqa.data.loader.DISTORTIONS", {name: DISTORTIONS[name] for name in (one, other)})
    made = versions_of(torch.zeros(17, 17, 3, dtype=torch.uint8), np.random.default_rng(0))
    assert len(made["versions"]) == together


def test_training_crops_are_pieces_of_the_image_and_half_are_mirrored(ratings):
    crops = TrainingCrops(ratings, 17, seed=0)
    pieces = [crops[Draw(0, 4, number)][0] for number in range(200)]
    steps = [int(piece[0, 1, 1]) - int(piece[0, 0, 1]) for piece in pieces]
    assert set(steps) == {1, -1}
    assert 70 <= steps.count(-1) <= 130


@pytest.mark.parametrize("row", range(len(SIZES)))
def test_evaluation_crops_cover_every_pixel(ratings, row):
    crops, _ = EvaluationCrops(ratings, 17)[row]
    seen = {
        (int(y), int(x)) for crop in crops for y, x in zip(crop[..., 0].flatten(), crop[..., 1].flatten(), strict=True)
    }
    height, width = SIZES[row]
    assert seen == {(y, x) for y in range(height) for x in range(width)}


def test_evaluation_crops_are_the_same_each_time(ratings):
    dataset = EvaluationCrops(replace(ratings, resize="23"), 17)
    np.testing.assert_array_equal([*dataset[2][0]], [*dataset[2][0]])


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_image_is_scored_once_whatever_the_number_of_processes(ratings, world):
    dataset = EvaluationCrops(ratings, 17)
    seen = []
    for rank in range(world):
        for batch in evaluation_loader(dataset, num_workers=0, rank=rank, world_size=world):
            assert sum(batch.counts) == len([crop for views in batch.views for crop in views])
            seen += batch.rows
    assert sorted(seen) == list(range(5))


def test_workers_are_as_asked_and_none_for_images_in_memory(ratings):
    assert choose_workers(3, ratings) == 3
    assert (
        choose_workers(None, Ratings("m", ratings.table, ratings.score_range, Coordinates(in_memory=True), "none")) == 0
    )


def order(*, images=50, crops=4, seed=1, epoch=0, rank=0, world=1):
    drawn = TrainingOrder(rows=range(images), crops_per_image=crops, seed=seed, rank=rank, world_size=world)
    drawn.set_epoch(epoch)
    return list(drawn)


@pytest.mark.parametrize("crops", [1, 3, 20])
def test_every_crop_of_every_image_comes_once_an_epoch(crops):
    drawn = Counter((draw.row, draw.crop) for draw in order(crops=crops))
    assert drawn == {(row, crop): 1 for row in range(50) for crop in range(crops)}


def test_another_epoch_or_seed_is_another_order():
    assert order() == order()
    assert [draw.row for draw in order()] != [draw.row for draw in order(epoch=1)]
    assert [draw.row for draw in order()] != [draw.row for draw in order(seed=2)]


def test_a_batch_holds_crops_of_many_images():
    rows = [draw.row for draw in order(images=500, crops=20)]
    distinct = [len(set(rows[start : start + 32])) for start in range(0, 9968, 32)]
    assert np.mean(distinct) > 28
    assert min(distinct) > 20


def test_one_crop_per_image_is_a_plain_permutation():
    assert [draw.row for draw in order(crops=1)] == np.random.default_rng((1, 0)).permutation(50).tolist()


@pytest.mark.parametrize(("images", "world"), [(50, 2), (53, 3), (2, 3), (1, 4)])
def test_all_processes_step_together_and_miss_nothing(images, world):
    parts = [order(images=images, crops=1, rank=rank, world=world) for rank in range(world)]
    assert {len(part) for part in parts} == {-(-images // world)}
    assert {draw.row for part in parts for draw in part} == set(range(images))
