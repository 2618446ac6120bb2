"""Shapes are checked while the tests run: a wrong one in a public function is an error."""

import pytest
import torch
from jaxtyping import TypeCheckError

from fusiqa.models.fusion import ConcatFusion, pool, unit_power

CHANNELS = (2, 3, 5, 7)


@pytest.mark.parametrize("function", [pool, unit_power])
def test_a_map_without_its_batch_is_refused(function):
    with pytest.raises(TypeCheckError, match="features"):
        function(torch.rand(3, 7, 7))


def test_maps_of_integers_are_refused():
    with pytest.raises(TypeCheckError, match="maps"):
        ConcatFusion(CHANNELS)([torch.ones(1, c, 8, 8, dtype=torch.int64) for c in CHANNELS])
