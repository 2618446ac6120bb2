"""Settings of the weighing that no network could be built from."""

import pytest

from fusiqa.config import ScaleWeighing
from fusiqa.errors import FusiqaError


@pytest.mark.parametrize("temperature", [0.0, -2.0, float("nan")])
def test_a_temperature_that_no_weights_come_from_is_refused(temperature):
    with pytest.raises(FusiqaError, match=f"--weighing.temperature {temperature}: allowed is above 0"):
        ScaleWeighing(temperature=temperature)


def test_a_negative_gain_is_refused():
    with pytest.raises(FusiqaError, match=r"--weighing\.gain -4.0: allowed is 0 and more"):
        ScaleWeighing(gain=-4.0)
