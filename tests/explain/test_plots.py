"""Figures are looked into before and after they are written: labels, bars, intervals, rows, size."""

import itertools
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import BarContainer, ErrorbarContainer
from PIL import Image

from fusiqa.errors import FusiqaError
from fusiqa.explain.plots import style
from fusiqa.explain.plots.runs import difference_bars, score_scatter, seed_bars, training_curves
from fusiqa.explain.plots.scales import (
    ImageGates,
    gate_maps,
    matrix_panels,
    scale_bars,
    scale_heatmap,
    scale_labels,
    shift_map,
)
from fusiqa.explain.shifts import distortion_shifts
from fusiqa.explain.weights import mean_matrices, summarise_weights, with_quality_thirds
from fusiqa.scoring.result import SCALE_COLUMNS
from fusiqa.stats.metrics import logistic_fit, plcc, plcc_logistic, srcc

SIZES = [(56, 40), (28, 20), (14, 10), (7, 5)]
LABELS = ["Stage 0\n(56\u00d740)", "Stage 1\n(28\u00d720)", "Stage 2\n(14\u00d710)", "Stage 3\n(7\u00d75)"]
SEED_GROUPS = {
    "Gaussian Blur": [0.35, 0.30, 0.20, 0.15],
    "JPEG Compression": [0.25, 0.35, 0.25, 0.15],
    "Color Distortion": [0.10, 0.15, 0.30, 0.45],
    "Pristine": [0.15, 0.20, 0.25, 0.40],
}


def weights_table(groups: dict[str, list[float]], images: int) -> pd.DataFrame:
    random = np.random.default_rng(3)
    weights = np.concatenate([random.dirichlet(20 * np.array(mean), images) for mean in groups.values()])
    names = [name for name in groups for _ in range(images)]
    table = pd.DataFrame(weights, columns=list(SCALE_COLUMNS)).assign(group=names, score=random.normal(size=len(names)))
    return table.assign(image=[f"{row}.jpg" for row in range(len(names))])


@pytest.fixture(autouse=True)
def coarse(request, monkeypatch):
    """Draw on few pixels, but where their number is the question."""
    if "300" not in request.node.name:
        monkeypatch.setattr(style, "DOTS_PER_INCH", 50)


def look(path: Path) -> tuple[tuple[int, int], float]:
    """Decode the whole picture: its size in pixels and its dots per inch."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert np.ptp(np.asarray(picture.convert("L"))) > 100  # something is drawn on it
        return picture.size, picture.info["dpi"][0]


def test_bars_are_the_means_their_whiskers_the_intervals(tmp_path):
    summary = summarise_weights(weights_table(SEED_GROUPS, 11))
    figure = scale_bars(summary, scale_sizes=SIZES, title="By distortion", path=tmp_path / "bars.png")
    axes = figure.axes[0]
    series = [item for item in axes.containers if isinstance(item, BarContainer)]
    whiskers = [item for item in axes.containers if isinstance(item, ErrorbarContainer)]
    assert len(series) == len(whiskers) == 4
    for (_, rows), bars, bounds in zip(summary.groupby("group", sort=False), series, whiskers, strict=True):
        assert [bar.get_height() for bar in bars] == pytest.approx(rows["mean"].tolist())
        segments = np.array(bounds.lines[2][0].get_segments())
        assert segments[:, :, 1] == pytest.approx(rows[["low", "high"]].to_numpy())
        centres = [bar.get_x() + bar.get_width() / 2 for bar in bars]
        assert segments[:, 0, 0] == pytest.approx(centres)
        assert np.round(centres).tolist() == [0, 1, 2, 3]


def test_bars_never_overlap(tmp_path):
    summary = summarise_weights(weights_table({f"group {place}": [0.25] * 4 for place in range(7)}, 3))
    axes = scale_bars(summary, scale_sizes=SIZES, title="Seven", path=tmp_path / "bars.png").axes[0]
    spans = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches)
    assert len(spans) == 28
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))


def test_bars_say_the_resolutions_the_counts_and_the_effective_scales(tmp_path):
    summary = summarise_weights(weights_table(SEED_GROUPS, 11))
    figure = scale_bars(summary, scale_sizes=SIZES, title="By distortion", path=tmp_path / "bars.png")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == LABELS
    assert axes.get_title() == "By distortion"
    assert axes.get_ylim()[0] == 0
    effective = summary.drop_duplicates("group")["effective"]
    expected = [f"{group} (n = 11; {scales:.2f} scales)" for group, scales in zip(SEED_GROUPS, effective, strict=True)]
    assert [entry.get_text() for entry in figure.legends[0].get_texts()] == expected


def test_bars_are_written_at_300_dots_an_inch_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "made" / "bars.png"
    figure = scale_bars(summarise_weights(weights_table(SEED_GROUPS, 5)), scale_sizes=SIZES, title="x", path=path)
    (width, height), dots = look(path)
    assert dots == pytest.approx(300, abs=0.1)
    assert (width, height) == tuple(round(300 * inches) for inches in figure.get_size_inches())
    assert width >= 2400
    assert list(path.parent.iterdir()) == [path]


def test_a_group_of_one_image_has_bars_without_whiskers_and_names_are_taken_literally(tmp_path):
    table = weights_table({"_$5 off$": [0.7, 0.1, 0.1, 0.1]}, 1)
    figure = scale_bars(summarise_weights(table), scale_sizes=SIZES, title="cost $5 or $6", path=tmp_path / "bars.png")
    whiskers = next(item for item in figure.axes[0].containers if isinstance(item, ErrorbarContainer))
    ends = [segment.reshape(-1, 2)[:, 1] for segment in whiskers.lines[2][0].get_segments()]
    assert not np.isfinite(np.concatenate(ends)).any()
    assert len(figure.axes[0].patches) == 4
    assert figure.legends[0].get_texts()[0].get_text() == r" _\$5 off\$ (n = 1; " + (
        f"{summarise_weights(table)['effective'][0]:.2f} scales)"
    )


def test_groups_differ_in_colour_or_hatch_and_thirds_run_from_dark_to_light(tmp_path):
    many = summarise_weights(weights_table({f"group {place}": [0.25] * 4 for place in range(11)}, 2))
    axes = scale_bars(many, scale_sizes=SIZES, title="Eleven", path=tmp_path / "many.png").axes[0]
    assert len({(bar.get_facecolor(), bar.get_hatch()) for bar in axes.patches}) == 11
    table = weights_table({"any": [0.25] * 4}, 9)
    table = with_quality_thirds(table.assign(mos=table["score"]))
    axes = scale_bars(summarise_weights(table), scale_sizes=SIZES, title="Thirds", path=tmp_path / "thirds.png").axes[0]
    brightness = [sum(bars[0].get_facecolor()[:3]) for bars in axes.containers if isinstance(bars, BarContainer)]
    assert brightness == sorted(brightness)
    assert brightness[0] < brightness[2] - 0.5


def test_bars_refuse_other_scales_and_too_many_groups(tmp_path):
    path = tmp_path / "bars.png"
    with pytest.raises(FusiqaError, match=r"each of 4 scales, got \[\(56, 40\), \(28, 20\)\]"):
        scale_bars(summarise_weights(weights_table(SEED_GROUPS, 2)), scale_sizes=SIZES[:2], title="x", path=path)
    many = summarise_weights(weights_table({f"group {place}": [0.25] * 4 for place in range(33)}, 1))
    with pytest.raises(FusiqaError, match="at most 32 groups, got 33"):
        scale_bars(many, scale_sizes=SIZES, title="x", path=path)
    assert not path.exists()


def test_a_small_heat_map_shows_every_image_in_the_order_of_its_score(tmp_path):
    table = weights_table(SEED_GROUPS, 1).assign(score=[40, 10, 30, 20])
    figure = scale_heatmap(table, scale_sizes=SIZES, path=tmp_path / "heat.png")
    strip, heat, colour_bar = figure.axes
    upwards = [1, 3, 2, 0]
    assert np.asarray(heat.collections[0].get_array()) == pytest.approx(table[list(SCALE_COLUMNS)].to_numpy()[upwards])
    assert [label.get_text() for label in strip.get_yticklabels()] == ["1.jpg", "3.jpg", "2.jpg", "0.jpg"]
    assert strip.lines[0].get_xdata().tolist() == [10, 20, 30, 40]
    assert strip.get_ylim() == heat.get_ylim() == (0, 4)
    assert [label.get_text() for label in heat.get_xticklabels()] == LABELS
    assert colour_bar.get_ylim()[0] == 0
    assert f"{table['scale_0'][1]:.2f}" in {text.get_text() for text in heat.texts}
    assert "mean of" not in figure.get_suptitle()
    look(tmp_path / "heat.png")


@pytest.mark.parametrize("name", ["20260501_{}.png", "holiday_in_the_north/2026/IMG_20260501_{}_edited_by_hand.png"])
def test_the_rows_of_a_heat_map_distinguish_images_and_distortions(name, tmp_path):
    images = [f"{name.format(row)}::{group}" for row in range(6) for group in ("Color distortion", "Pristine")]
    table = weights_table({"any": [0.25] * 4}, 12).assign(image=images, score=range(12))
    figure = scale_heatmap(table, scale_sizes=SIZES, path=tmp_path / "heat.png")
    labels = figure.axes[0].get_yticklabels()
    said = [label.get_text() for label in labels]
    assert len(set(said)) == 12
    assert [text.partition("::")[2] for text in said] == ["Color distortion", "Pristine"] * 6
    assert all(text[:3] == name[:3] and text.partition("::")[0].endswith(".png") for text in said)
    assert all(label.get_window_extent().x0 >= 0 for label in labels)
    assert figure.axes[1].get_window_extent().width >= 2.9 * figure.dpi


def test_a_large_heat_map_averages_neighbours_and_says_so(tmp_path):
    table = weights_table(SEED_GROUPS, 250)[:900]
    figure = scale_heatmap(table, scale_sizes=SIZES, path=tmp_path / "heat.png")
    shown = np.asarray(figure.axes[1].collections[0].get_array())
    ordered = table.sort_values("score")[list(SCALE_COLUMNS)].to_numpy()
    assert shown.shape == (400, 4)
    assert shown[0] == pytest.approx(ordered[:3].mean(axis=0))  # 900 = 100 rows of 3 and 300 of 2
    assert shown[-1] == pytest.approx(ordered[-2:].mean(axis=0))
    assert "900 images" in figure.get_suptitle()
    assert "each row is the mean of 2 or 3 images" in figure.get_suptitle()


def test_a_heat_map_refuses_scores_and_weights_that_are_none(tmp_path):
    table = weights_table(SEED_GROUPS, 1)
    with pytest.raises(FusiqaError, match=r"needs finite scores, got .*nan"):
        scale_heatmap(table.assign(score=[1, 2, np.nan, 4]), scale_sizes=SIZES, path=tmp_path / "heat.png")
    with pytest.raises(FusiqaError, match=r"row 0: \[nan, "):
        scale_heatmap(table.assign(scale_0=np.nan), scale_sizes=SIZES, path=tmp_path / "heat.png")
    assert not list(tmp_path.iterdir())


def test_training_curves_mark_the_best_epoch(tmp_path):
    history = pd.DataFrame(
        {"epoch": [1, 2, 3], "train_mae": [9.0, 5, 4], "val_mae": [8.0, 6, 7], "val_srcc": [0.5, 0.8125, 0.7]}
    )
    error, rank = training_curves(history, tmp_path / "curves.png").axes
    assert [line.get_ydata().tolist() for line in error.lines] == [[9, 5, 4], [8, 6, 7]]
    assert rank.lines[0].get_ydata().tolist() == [0.5, 0.8125, 0.7]
    assert (rank.lines[1].get_xdata().tolist(), rank.lines[1].get_ydata().tolist()) == ([2], [0.8125])
    assert rank.get_title() == "Best: 0.8125 after epoch 2"
    look(tmp_path / "curves.png")


def test_one_epoch_has_curves_and_none_has_not(tmp_path):
    history = pd.DataFrame({"epoch": [1], "train_mae": [9.0], "val_mae": [8.0], "val_srcc": [0.5]})
    assert training_curves(history, tmp_path / "curves.png").axes[1].get_title() == "Best: 0.5000 after epoch 1"
    with pytest.raises(FusiqaError, match="at least one finished epoch"):
        training_curves(history[:0], tmp_path / "none.png")


def test_the_scatter_draws_the_fitted_curve_and_says_the_measures(tmp_path):
    random = np.random.default_rng(6)
    scores = random.normal(size=71)
    mos = 50 + 20 * np.tanh(scores) + random.normal(size=71)
    axes = score_scatter(scores, mos, tmp_path / "scatter.png").axes[0]
    assert axes.collections[0].get_offsets().data == pytest.approx(np.stack([scores, mos], axis=1))
    along, height = axes.lines[0].get_data()
    assert height == pytest.approx(logistic_fit(scores, mos)(along))
    assert axes.get_title() == (
        f"SRCC {srcc(scores, mos):.3f}, PLCC {plcc(scores, mos):.3f} "
        f"({plcc_logistic(scores, mos):.3f} after the logistic), n = 71"
    )
    look(tmp_path / "scatter.png")


def test_a_scatter_of_a_collapsed_model_is_refused(tmp_path):
    with pytest.raises(FusiqaError, match=r"`scores` are all 0\.5"):
        score_scatter([0.5] * 4, [1, 2, 3, 4], tmp_path / "scatter.png")


def test_labels_name_height_before_width():
    assert scale_labels(SIZES) == LABELS


def test_a_failed_drawing_leaves_the_old_figure(tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    path.write_bytes(b"the old one")
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda self, target, **_: target.write_bytes(b"ha") and 1 / 0
    )
    history = pd.DataFrame({"epoch": [1], "train_mae": [9.0], "val_mae": [8.0], "val_srcc": [0.5]})
    with pytest.raises(ZeroDivisionError):
        training_curves(history, path)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_no_pyplot_is_imported():
    code = (
        "import sys, fusiqa.explain.plots.runs, fusiqa.explain.plots.scales; print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def chinese(images: int) -> pd.DataFrame:
    return weights_table({"照片": [0.25] * 4}, images).assign(image=[f"图像{row}.jpg" for row in range(images)])


def test_names_that_no_font_here_can_write_are_no_warning_and_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "OTHER_FONTS", ())  # as on a machine without a Chinese font
    figure = scale_heatmap(chinese(3), scale_sizes=SIZES, path=tmp_path / "heat.png")
    assert {label.get_text() for label in figure.axes[0].get_yticklabels()} == {f"图像{row}.jpg" for row in range(3)}
    scale_bars(summarise_weights(chinese(3)), scale_sizes=SIZES, title="相机 中文", path=tmp_path / "bars.png")
    look(tmp_path / "heat.png")
    look(tmp_path / "bars.png")


def test_a_font_for_other_scripts_is_used_where_it_is_installed_and_not_asked_for_elsewhere(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(style, "OTHER_FONTS", ("No Such Font", "DejaVu Serif"))
    figure = scale_heatmap(chinese(3), scale_sizes=SIZES, path=tmp_path / "heat.png")
    assert figure.axes[0].get_yticklabels()[0].get_fontfamily() == ["DejaVu Sans", "DejaVu Serif"]
    assert figure.texts[0].get_fontfamily() == ["DejaVu Sans", "DejaVu Serif"]  # the title
    assert not caplog.records  # matplotlib logs each font that it cannot find


def test_no_other_warning_is_hidden_while_a_figure_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: warnings.warn("no room", stacklevel=1))
    with pytest.raises(UserWarning, match="no room"):
        scale_heatmap(chinese(3), scale_sizes=SIZES, path=tmp_path / "heat.png")


def blur_and_nothing() -> pd.DataFrame:
    """Blur shifts weight from scale 3 to scale 0; noise shifts less than a float's rounding."""
    random = np.random.default_rng(0)
    treatments = [("none", "none", 0), ("blur", "gaussian_blur", 1), ("noise", "white_noise", 1)]
    rows = []
    for number, weights in enumerate(random.dirichlet([4, 4, 4, 12], 7)):
        for kind, distortion, level in treatments:
            shift = 0.04 + random.normal(0, 0.004) if kind == "blur" else 1e-7 * level
            scales = dict(zip(SCALE_COLUMNS, weights + shift * np.array([1, 0, 0, -1]), strict=True))
            rows.append({"original": number, "kind": kind, "distortion": distortion, "level": level} | scales)
    return pd.DataFrame(rows)


def test_the_figure_has_a_row_a_distortion_and_marks_what_is_not_significant(tmp_path):
    shifts = distortion_shifts(blur_and_nothing())
    figure = shift_map(shifts.query("level == 1"), scale_sizes=SIZES, title="of $7", path=tmp_path / "shifts.png")
    panels = figure.axes[:4]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["gaussian blur", "white noise"]
    marks = [panel.collections[0].get_offsets().tolist() for panel in panels]
    assert marks == [[[0, 1]], [[0, 0], [0, 1]], [[0, 0], [0, 1]], [[0, 1]]]
    (drawn,) = panels[0].images
    assert drawn.norm.vmin == -drawn.norm.vmax
    assert np.asarray(drawn.get_array())[:, 0].tolist() == pytest.approx([0.04, 0], abs=0.01)
    look(tmp_path / "shifts.png")


def test_the_maps_are_drawn_beside_the_image_on_one_scale_of_colours(tmp_path):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (23, 31, 3), dtype=np.uint8)
    gates = np.stack([np.full((23, 31), level) for level in (0.2, 0.4, 0.6, 0.9)])
    shown = [ImageGates("a.png", pixels, gates), ImageGates("b" * 50, pixels, gates)]
    figure = gate_maps(shown, scale_sizes=SIZES, path=tmp_path / "maps.png")
    panels = figure.axes[:10]
    assert (np.asarray(panels[0].images[0].get_array()) == pixels).all()
    heats = [axes.images[1] for axes in panels[1:5]]
    assert [float(heat.get_array().mean()) for heat in heats] == pytest.approx([0.2, 0.4, 0.6, 0.9])
    assert {heat.get_clim() for heat in heats} == {(0.2, 0.9)}
    assert [axes.get_title() for axes in panels[1:5]][3] == "Stage 3 (7\u00d75)\nmean 0.90"
    look(tmp_path / "maps.png")


def test_gates_that_are_all_alike_do_not_look_different(tmp_path):
    shown = [ImageGates("a.png", np.zeros((5, 7, 3), np.uint8), np.full((4, 5, 7), 0.5))]
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
    look(tmp_path / "matrix.png")


# --- ablations --------------------------------------------------------------------------------------------------------


def overflows(figure) -> list[str]:
    """Texts that reach over the edge of a figure."""
    figure.canvas.draw()
    box = figure.bbox
    texts = [text for axes in figure.axes for text in (axes.xaxis.label, axes.yaxis.label, *axes.get_yticklabels())]
    ends = [(text, text.get_window_extent()) for text in texts if text.get_text()]
    return [text.get_text() for text, end in ends if end.x0 < box.x0 or end.x1 > box.x1]


def test_differences_to_a_long_name_stay_inside_their_figure(tmp_path):
    name = "swin_tiny_patch4_window7_224, " + "with the entropy term that keeps weights even " * 2
    table = pd.DataFrame({"variant": [name, "b"], "difference": [0.1, 0.2], "low": [0.0, 0.1], "high": [0.2, 0.3]})
    assert overflows(difference_bars(table, reference=name, path=tmp_path / "d.png")) == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_seeds_of_a_design_with_a_long_name_stay_inside_their_figure(place, tmp_path):
    names = ["single", "concat"]
    names.insert(place, "attention with sigmoid gates, a gain of 4, normalised maps and a temperature of 4")
    summary = pd.DataFrame({"variant": names, "srcc": 0.5, "srcc_low": 0.3, "srcc_high": 1.7})
    figure = seed_bars(summary, pd.DataFrame({"variant": names, "srcc": 0.5}), tmp_path / "srcc.png")
    assert overflows(figure) == []
    assert min(label.get_window_extent().x0 for label in figure.axes[0].get_xticklabels()) >= 0


def test_an_interval_beyond_any_correlation_does_not_stretch_the_figure(tmp_path):
    summary = pd.DataFrame({"variant": ["a"], "srcc": [0.5], "srcc_low": [-6.0], "srcc_high": [7.0]})
    results = pd.DataFrame({"variant": ["a", "a"], "srcc": [0.0, 1.0]})
    assert seed_bars(summary, results, tmp_path / "s.png").axes[0].get_ylim() == (-1.05, 1.05)


def seeds_of(*values: float, low: float, high: float):
    summary = pd.DataFrame({"variant": ["concat"], "srcc": [np.mean(values)], "srcc_low": [low], "srcc_high": [high]})
    return summary, pd.DataFrame({"variant": "concat", "srcc": values})


@pytest.mark.parametrize(
    ("low", "high", "ends", "arrowheads"),
    [
        (-5.8, 6.4, (-1, 1), ["v", "^"]),
        (0.1, 1.5, (0.1, 1), ["^"]),
        (-1, 0.7, (-1, 0.7), []),
        (0.2, 0.4, (0.2, 0.4), []),
    ],
)
def test_an_interval_ends_where_srcc_does_and_is_marked_where_it_is_clipped(low, high, ends, arrowheads, tmp_path):
    axes = seed_bars(*seeds_of(-0.1, 0.7, low=low, high=high), tmp_path / "srcc.png").axes[0]
    whiskers = next(item for item in axes.containers if isinstance(item, ErrorbarContainer))
    assert whiskers.lines[2][0].get_segments()[0][:, 1] == pytest.approx(ends)
    assert [line.get_marker() for line in axes.lines if line.get_marker() in ("v", "^")] == arrowheads
    assert ("extends beyond" in axes.get_xlabel()) is bool(arrowheads)
    lowest, highest = axes.get_ylim()
    assert -1.1 < lowest < ends[0] < ends[1] < highest < 1.1
