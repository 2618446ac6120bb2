"""Settings of the weighing that no network could be built from."""

import pytest

from fusiqa.config import ScaleWeighing
from fusiqa.errors import FusiqaError


@pytest.mark.parametrize("temperature", [0.0, -2.0, float("nan"), float("inf")])
def test_a_temperature_that_no_weights_come_from_is_refused(temperature):
    with pytest.raises(FusiqaError, match=f"--weighing.temperature {temperature}: allowed is above 0"):
        ScaleWeighing(temperature=temperature)


@pytest.mark.parametrize("gain", [-4.0, float("nan"), float("inf")])
def test_a_gain_that_is_negative_or_no_number_is_refused(gain):
    with pytest.raises(FusiqaError, match=rf"--weighing\.gain {gain}: allowed is 0 and more"):
        ScaleWeighing(gain=gain)
