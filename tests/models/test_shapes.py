"""Shapes are checked while the tests run: a wrong one in a public function is an error."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from fusiqa.config import ModelConfig
from fusiqa.explain.weights import mean_matrices
from fusiqa.models.fusion import ConcatFusion, pool, unit_power
from fusiqa.models.quality import build_model
from fusiqa.stats.intervals import bootstrap_interval

CHANNELS = (2, 3, 5, 7)


@pytest.mark.parametrize("function", [pool, unit_power])
def test_a_map_without_its_batch_is_refused(function):
    with pytest.raises(TypeCheckError, match="features"):
        function(torch.rand(3, 7, 7))


def test_maps_of_integers_are_refused():
    with pytest.raises(TypeCheckError, match="maps"):
        ConcatFusion(CHANNELS)([torch.ones(1, c, 8, 8, dtype=torch.int64) for c in CHANNELS])


def test_samples_of_different_images_are_refused():
    with pytest.raises(TypeCheckError, match="samples"):
        bootstrap_interval(lambda one, other: (one * other).mean(axis=-1), np.ones(7), np.ones(8))


def test_matrices_of_other_scales_are_refused():
    with pytest.raises(TypeCheckError, match="matrices"):
        mean_matrices(np.ones((2, 4, 3)), ["a", "b"])


def test_a_network_refuses_one_image_without_its_batch():
    with pytest.raises(TypeCheckError, match="images"):
        build_model(ModelConfig("test_resnet", crop_size=32))(torch.rand(3, 32, 32))
