"""The order of an epoch: complete, mixed, bounded, and shared out among processes."""

from collections import Counter

import numpy as np
import pytest

from fusiqa.data.order import WAITING_BYTES, TrainingOrder, mixing_window


def order(*, images=50, crops=4, seed=1, window=7, epoch=0, rank=0, world=1):
    drawn = TrainingOrder(images=images, crops_per_image=crops, seed=seed, window=window, rank=rank, world_size=world)
    drawn.set_epoch(epoch)
    return list(drawn)


@pytest.mark.parametrize(("crops", "window"), [(1, 1), (3, 1), (4, 7), (4, 1000)])
def test_every_crop_of_every_image_comes_once_an_epoch(crops, window):
    drawn = Counter((draw.row, draw.crop) for draw in order(crops=crops, window=window))
    assert drawn == {(row, crop): 1 for row in range(50) for crop in range(crops)}


def test_another_epoch_or_seed_is_another_order():
    assert order() == order()
    assert [draw.row for draw in order()] != [draw.row for draw in order(epoch=1)]
    assert [draw.row for draw in order()] != [draw.row for draw in order(seed=2)]


def waiting(drawn, crops):
    """Crops of images already read that still wait, before each crop is taken."""
    read, counts = set(), []
    for taken, draw in enumerate(drawn):
        read.add(draw.row)
        counts.append(crops * len(read) - taken)
    return counts


def test_no_more_crops_wait_than_a_window_holds():
    assert max(waiting(order(images=300, crops=5, window=11), crops=5)) <= 5 * (11 + 1)


def test_a_batch_holds_crops_of_many_images():
    """Without mixing, a batch of 32 would be the 20 crops of one image and 12 of another."""
    rows = [draw.row for draw in order(images=500, crops=20, window=89)]
    distinct = [len(set(rows[start : start + 32])) for start in range(3000, 7000, 32)]
    assert np.mean(distinct) > 24
    assert min(distinct) > 15


@pytest.mark.parametrize(("crops", "size"), [(20, 224), (5, 384), (2, 32)])
def test_the_crops_of_a_window_fit_into_the_memory_allowed(crops, size):
    images = mixing_window(crops_per_image=crops, crop_size=size)
    assert images * crops * 3 * size**2 <= WAITING_BYTES < (images + 1) * crops * 3 * size**2


def test_one_crop_a_image_is_a_plain_permutation():
    assert [draw.row for draw in order(crops=1, window=1)] == np.random.default_rng((1, 0)).permutation(50).tolist()


@pytest.mark.parametrize(("images", "world"), [(50, 2), (53, 3), (2, 3), (1, 4)])
def test_all_processes_step_together_and_miss_nothing(images, world):
    parts = [order(images=images, crops=1, window=1, rank=rank, world=world) for rank in range(world)]
    assert {len(part) for part in parts} == {-(-images // world)}
    assert {draw.row for part in parts for draw in part} == set(range(images))
