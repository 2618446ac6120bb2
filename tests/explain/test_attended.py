"""Gates put together over an image, and matrices averaged: by their laws, by hand, and drawn."""

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from fusiqa.errors import FusiqaError
from fusiqa.explain.attended import mean_matrices, stitched
from fusiqa.explain.plots import Attended, gate_maps, matrix_panels
from fusiqa.scoring.image import cover

SIZES = [(56, 56), (28, 28), (14, 14), (7, 7)]


def test_gates_that_are_alike_everywhere_stay_so():
    corners = cover(37, 53, 17, overlap=2 / 3)
    gates = np.broadcast_to(np.array([0.1, 0.3, 0.5, 0.7])[:, None, None], (len(corners), 4, 7, 7))
    maps = stitched(gates, corners, height=37, width=53, crop=17)
    assert maps.shape == (4, 37, 53)
    assert maps == pytest.approx(np.broadcast_to(np.array([0.1, 0.3, 0.5, 0.7])[:, None, None], maps.shape))


def test_one_crop_is_its_own_map_in_blocks():
    gates = np.random.default_rng(0).random((1, 4, 7, 7))
    maps = stitched(gates, [(0, 0)], height=14, width=14, crop=14)
    assert (maps[:, ::2, ::2] == gates[0]).all()
    assert (maps[:, 1::2, 1::2] == gates[0]).all()


def test_where_crops_overlap_their_gates_are_averaged():
    """Two crops of 4 pixels, two cells a side, on an image 4 high and 6 wide."""
    left = [[0.0, 0.2], [0.4, 0.6]]
    right = [[1.0, 0.8], [0.6, 0.2]]
    (found,) = stitched(np.array([[left], [right]]), [(0, 0), (0, 2)], height=4, width=6, crop=4)
    assert found[0].tolist() == pytest.approx([0, 0, 0.6, 0.6, 0.8, 0.8])
    assert found[3].tolist() == pytest.approx([0.4, 0.4, 0.6, 0.6, 0.2, 0.2])


def test_crops_that_leave_a_pixel_out_are_refused():
    with pytest.raises(FusiqaError, match="leave out 8 pixels of an image 4 by 6"):
        stitched(np.zeros((1, 4, 7, 7)), [(0, 0)], height=4, width=6, crop=4)


def test_matrices_are_averaged_by_group_and_their_rows_sum_to_one():
    random = np.random.default_rng(0)
    matrices = random.dirichlet([1, 2, 3, 4], size=(7, 4))
    groups = ["sharp", "blur", "blur", "sharp", "blur", "blur", "blur"]
    found = mean_matrices(matrices, groups)
    assert list(dict.fromkeys(found["group"])) == ["sharp", "blur"]
    assert found.groupby(["group", "looks"])["mean"].sum().to_numpy() == pytest.approx(np.ones(8))
    row = found.set_index(["group", "looks", "looked_at"]).loc[("blur", 1, 3)]
    values = matrices[[1, 2, 4, 5, 6], 1, 3]
    assert (row["n"], row["mean"]) == (5, pytest.approx(values.mean()))
    assert (row["low"], row["high"]) == pytest.approx(stats.t.interval(0.95, 4, values.mean(), stats.sem(values)))
    assert mean_matrices(matrices[:1], ["sharp"])["low"].isna().all()


def drawn(path) -> bool:
    with Image.open(path) as picture:
        return np.ptp(np.asarray(picture.convert("L"))) > 100


def test_the_maps_are_drawn_beside_the_image_on_one_scale_of_colours(tmp_path):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (23, 31, 3), dtype=np.uint8)
    gates = np.stack([np.full((23, 31), level) for level in (0.2, 0.4, 0.6, 0.9)])
    shown = [Attended("a.png", pixels, gates), Attended("b" * 50, pixels, gates)]
    figure = gate_maps(shown, scale_sizes=SIZES, path=tmp_path / "maps.png")
    panels = figure.axes[:10]
    assert (np.asarray(panels[0].images[0].get_array()) == pixels).all()
    heats = [axes.images[1] for axes in panels[1:5]]
    assert [float(heat.get_array().mean()) for heat in heats] == pytest.approx([0.2, 0.4, 0.6, 0.9])
    assert {heat.get_clim() for heat in heats} == {(0.2, 0.9)}
    assert [axes.get_title() for axes in panels[1:5]][3] == "Stage 3 (7\u00d77)\nmean 0.90"
    assert drawn(tmp_path / "maps.png")


def test_gates_that_are_all_alike_do_not_look_different(tmp_path):
    shown = [Attended("a.png", np.zeros((5, 7, 3), np.uint8), np.full((4, 5, 7), 0.5))]
    figure = gate_maps(shown, scale_sizes=SIZES, path=tmp_path / "maps.png")
    assert figure.axes[1].images[1].get_clim() == pytest.approx((0.475, 0.525))


@pytest.mark.parametrize("groups", [1, 5])
def test_the_matrices_have_a_panel_a_group_and_their_numbers_in_the_cells(groups, tmp_path):
    matrix = np.array([[0.4, 0.3, 0.2, 0.1], [0.25] * 4, [0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]])
    table = mean_matrices(np.stack([matrix] * groups), [f"group {place}" for place in range(groups)])
    figure = matrix_panels(table, title="of $7", path=tmp_path / "matrix.png")
    panel = figure.axes[0]
    assert panel.get_title() == "group 0 (n = 1)"
    assert (np.asarray(panel.images[0].get_array()) == matrix).all()
    at = {text.get_position(): text.get_text() for text in panel.texts}
    assert (at[3, 0], at[0, 3], len(at)) == ("0.10", "0.70", 16)
    assert len([axes for axes in figure.axes if axes.images]) == groups
    assert drawn(tmp_path / "matrix.png")
