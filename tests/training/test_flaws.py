"""The head that names flaws: which images it learns from, and that its probabilities hold."""

import dataclasses

import pandas as pd
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error

from fusiqa.config import ScoreRange
from fusiqa.config.model import FLAWS
from fusiqa.data.distorted import label_distorted
from fusiqa.data.ratings import Ratings
from fusiqa.data.synthetic import read_synthetic
from fusiqa.errors import FusiqaError
from fusiqa.training.flaws import by_image, check_flaws_known, fit_head, flaws_of


class NoImages:
    def read(self, image):
        raise NotImplementedError

    verify = read


def rated(name, images, mos):
    table = pd.DataFrame({"image": images, "mos": mos, "split": None, "group": images})
    return Ratings(name, table, ScoreRange(1, 5), NoImages(), "none")


def test_flaws_of_distorted_images_are_those_of_their_distortions():
    made = label_distorted(rated("sharp", ["a.png"], [float("nan")]), resize="none")
    known = flaws_of(made)
    assert known["a.png::Pristine"] == ("none", 0.0)
    assert {flaw for flaw, _ in known.values()} == set(FLAWS)
    assert all(fall > 0.05 for flaw, fall in known.values() if flaw != "none")
    assert not [image for image in known if "jitter" in image]  # no flaw that has a name
    assert len(known) < len(made)


def test_flaws_of_the_synthetic_set_and_of_kadid_are_known():
    known = flaws_of(read_synthetic(contents=10))
    assert known["content003-jpeg-5"][0] == "compression"
    assert known["content003-pristine"] == ("none", 0.0)
    assert "content003-gaussian_blur-1" not in known  # nobody sees it
    assert flaws_of(rated("kadid-10k", ["I01_03_05.png"], [1.5]))["I01_03_05.png"][0] == "blur"


def test_the_best_third_of_rated_photographs_has_no_flaw():
    known = flaws_of(rated("spaq", [f"{n}.jpg" for n in range(9)], [1 + n / 2 for n in range(9)]))
    assert {flaw for flaw, _ in known.values()} == {"none"}
    assert len(known) == 3


@pytest.fixture(scope="module")
def head():
    """Statistics in which one number tells each flaw, with noise, and a head that learned from the first 1,500."""
    torch.manual_seed(1)
    flaw = torch.randint(len(FLAWS), (2500,))
    labels = torch.nn.functional.one_hot(flaw, len(FLAWS)).float()
    read = torch.randn(2500, 32) + 3 * torch.nn.functional.pad(labels, (0, 24))
    check = (torch.arange(2500) >= 1500) & (torch.arange(2500) < 2000)
    return fit_head((4, 4, 4, 4), read[:2000], labels[:2000], held_out=check[:2000], seed=0), read[2000:], flaw[2000:]


def test_the_likeliest_flaw_is_mostly_right(head):
    fitted, read, flaw = head
    stated = fitted.layers((read - fitted.mean) / fitted.scale)
    assert (stated.argmax(dim=1) == flaw).float().mean() > 0.85


def test_probabilities_are_calibrated_on_views_that_nothing_was_fitted_to(head):
    fitted, read, flaw = head
    stated = fitted.layers((read - fitted.mean) / fitted.scale).sigmoid()
    labels = torch.nn.functional.one_hot(flaw, len(FLAWS))
    assert binary_calibration_error(stated.flatten(), labels.flatten(), n_bins=10) < 0.02


def test_a_flaw_that_is_always_told_leaves_finite_weights():
    labels = torch.eye(len(FLAWS)).repeat(10, 1)
    head = fit_head((1, 1, 1, 1), labels, labels, held_out=torch.arange(80) >= 40, seed=0)
    assert all(torch.isfinite(parameter).all() for parameter in head.parameters())


def test_the_views_of_an_image_are_averaged():
    values, images = torch.tensor([[0.0, 1.0], [4.0, 2.0], [1.0, 1.0], [2.0, 3.0]]), torch.tensor([0, 0, 5, 0])
    assert torch.equal(by_image(values, images), torch.tensor([[2.0, 2.0], [1.0, 1.0]]))


@pytest.mark.parametrize(("split", "kept"), [("train", "none"), ("validation", ""), ("test", "none")])
def test_flaws_must_be_known_in_every_split(split, kept):
    """A test split of undistorted images alone, a validation split without any known flaw."""
    made = label_distorted(rated("sharp", ["a.png", "b.png", "c.png"], [float("nan")] * 3), resize="none")
    splits = dict(zip(["a.png", "b.png", "c.png"], ["train", "validation", "test"], strict=True))
    made = dataclasses.replace(made, table=made.table.assign(split=made.table["group"].map(splits)))
    check_flaws_known(made)
    gone = [image for image, (flaw, _) in flaws_of(made.part(split)).items() if flaw != kept]
    with pytest.raises(FusiqaError, match="flaws"):
        check_flaws_known(made.without(gone))
