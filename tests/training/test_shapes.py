"""Shapes are checked while the tests run: a wrong one in a public function is an error."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from fusiqa.config import ModelConfig
from fusiqa.config.model import UNIT_RANGE
from fusiqa.models.quality import Prediction, QualityModel
from fusiqa.training.fit import validation_figures
from fusiqa.training.frozen import Heads, pack, score_packed
from fusiqa.training.loss import TrainingLoss, missing_entropy

MODEL = QualityModel(ModelConfig("test_resnet", crop_size=32)).eval()


def test_ratings_of_other_images_than_the_scores_are_refused():
    with pytest.raises(TypeCheckError, match="mos"):
        validation_figures(np.ones(3), np.ones(5))
    with pytest.raises(TypeCheckError, match="mos"):
        TrainingLoss(UNIT_RANGE)(Prediction(torch.ones(3), None), torch.ones(3, 1), torch.zeros(3, dtype=torch.long))


def test_scale_weights_of_one_image_without_its_batch_are_refused():
    with pytest.raises(TypeCheckError, match="scale_weights"):
        missing_entropy(torch.full((4,), 0.25))


def test_maps_are_packed_from_bytes_and_read_by_rows():
    with pytest.raises(TypeCheckError, match="crops"):
        pack(MODEL, torch.rand(2, 3, 32, 32))
    packed = pack(MODEL, torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(TypeCheckError, match="packed"):
        score_packed(MODEL, packed[0])
    with pytest.raises(TypeCheckError, match="views"):
        Heads(MODEL)(packed[0].numpy())
