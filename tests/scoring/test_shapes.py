"""Shapes are checked while the tests run: an image, view or score of a wrong shape or type is an error.

What a user passes is not meant: it ends in a FusiqaError, tested beside the code that raises it.
"""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from PIL import Image

from fusiqa.scoring.image import Resize
from fusiqa.scoring.loss import mirrored
from fusiqa.scoring.models import Outputs
from fusiqa.scoring.result import CropScores, diverging
from fusiqa.scoring.scorer import averaged, score_views
from fusiqa.scoring.sheet import Shown
from fusiqa.scoring.views import Views, pad_to, views_of, windows_of

IMAGE = np.zeros((5, 7, 3), np.uint8)
GREY, PLANES, FLOATS = IMAGE[:, :, 0], IMAGE.transpose(2, 0, 1), IMAGE / 255
BOXES = np.array([[0.0, 0.0, 1.0, 1.0]])


@pytest.mark.parametrize("wrong", [GREY, PLANES, FLOATS, IMAGE[:, :, :2]], ids=["grey", "planes", "floats", "two"])
@pytest.mark.parametrize(
    ("use", "name"),
    [
        (Resize.parse("3").apply, "pixels"),
        (lambda pixels: views_of(pixels, 3), "resized"),
        (lambda pixels: pad_to(pixels, 9, 9), "pixels"),
        (lambda pixels: Views(pixels, [], BOXES, np.ones(1)), "pixels"),
        (lambda pixels: Shown(pixels, []), "pixels"),
    ],
    ids=["resize", "views_of", "pad_to", "Views", "Shown"],
)
def test_what_is_no_image_of_three_channels_and_bytes_is_refused(use, name, wrong):
    use(IMAGE)
    with pytest.raises(TypeCheckError, match=name):
        use(wrong)


@pytest.mark.parametrize("wrong", [IMAGE, FLOATS[None], PLANES[None]], ids=["one", "floats", "channels first"])
def test_a_network_takes_a_batch_of_images(scorer, wrong):
    with pytest.raises(TypeCheckError, match="views"):
        scorer.network(wrong)


def test_outputs_are_one_for_each_view():
    good = Outputs(np.zeros(2), np.zeros((2, 4)), np.zeros((2, 8)), np.zeros((2, 9)))
    assert averaged(np.ones(2), *good).parts.shape == (18,)
    for name, wrong in [("score", 3), ("scale_weights", (2, 3)), ("flaws", (3, 8)), ("windows", (2, 4))]:
        with pytest.raises(TypeCheckError, match=name):
            averaged(np.ones(2), *good._replace(**{name: np.zeros(wrong)}))


def test_views_of_other_networks_need_a_first_axis(scorer):
    with pytest.raises(TypeCheckError, match="images"):
        list(score_views(scorer.network, [np.float64(1)]))


def test_boxes_and_scores_belong_together():
    with pytest.raises(TypeCheckError, match="crops"):
        CropScores(BOXES, np.ones(2))
    with pytest.raises(TypeCheckError, match="boxes"):
        windows_of(BOXES[:, :3])
    with pytest.raises(TypeCheckError, match="values"):
        diverging(np.zeros((2, 3), int))
    with pytest.raises(TypeCheckError, match="images"):
        mirrored(torch.rand(3, 5, 7), [(0, 0), (0, 0)])


def test_results_have_the_shape_that_they_state():
    assert CropScores(BOXES, np.ones(1)).heat_map(5, 7).shape == (5, 7)
    assert np.asarray(Image.fromarray(diverging(np.zeros((5, 7))))).shape == (5, 7, 3)
