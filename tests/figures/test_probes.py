"""Figures of the chapters on equivariant SAEs: what is drawn is what was given."""

import matplotlib
import numpy as np
import pytest

from groupcc_lite.base import interval_of
from groupcc_lite.figures import probes
from groupcc_lite.figures.style import house_style

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


@pytest.fixture
def ax():
    with house_style():
        fig, ax = plt.subplots()
        yield ax
        plt.close(fig)


def test_errors_are_means_over_seeds_with_intervals_on_a_logarithmic_axis(ax):
    scores = {"sae": {"S": [0.9, 0.7], "SO": [0.9, 0.9]}, "equivariant": {"S": [0.99, 0.97], "SO": [1.0, 1.0]}}
    probes.task_errors(scores, ax)
    assert ax.get_yscale() == "log"
    marks = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == 2 and line.get_marker() in "osD^v"]
    assert np.allclose(marks[0], [0.2, 0.1]) and np.allclose(marks[1], [0.02, probes.FLOOR])  # nothing below the floor
    assert [t.get_text() for t in ax.get_xticklabels()] == ["S", "SO"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["SAE", "equivariant SAE"]
    low, high = np.exp(interval_of(np.log([0.1, 0.3])))
    assert np.allclose(whiskers(ax)[0][:, 1], [max(low, probes.FLOOR), min(high, 1)])


def test_one_seed_has_no_whiskers(ax):
    probes.task_errors({"sae": {"S": [0.2]}}, ax)
    assert not whiskers(ax)


def test_marks_of_other_families_are_refused(ax):
    with pytest.raises(ValueError, match="different families"):
        probes.task_errors({"sae": {"S": [0.2]}, "wide": {"SO": [0.2]}}, ax)


def whiskers(ax):
    return [path.vertices for collection in ax.collections for path in collection.get_paths()]


def test_splice_curves_go_through_the_means_of_seeds(ax):
    probes.splice_curves({"sae": {8: [(0.1, 5.0), (0.3, 5.0)], 16: [(0.05, 7.0)]}}, ax, base=0.01)
    assert np.allclose(ax.lines[0].get_xydata(), [[0.2, 5], [0.05, 7]])
    assert [t.get_text() for t in ax.texts] == ["8", "16"]
    assert ax.lines[-1].get_xdata()[0] == 0.01
    widths = sorted(np.ptp(v[:, 0]) for v in whiskers(ax))
    assert np.allclose(widths, [0, 0, 0, 2 * np.std([0.1, 0.3], ddof=1)])


def test_error_lines_go_through_means_and_know_which_k_have_several_seeds(ax):
    probes.error_lines({"sae": {8: [0.2, 0.4], 16: [0.9]}}, ax)
    assert np.allclose(ax.lines[0].get_ydata(), [0.7, 0.1])
    heights = sorted(np.ptp(v[:, 1]) for v in whiskers(ax))
    assert heights[0] == pytest.approx(0, abs=1e-12) and heights[1] > 0.1
    assert [t.get_text() for t in ax.get_xticklabels()] == ["8", "16"]


def test_power_curves_name_their_methods(ax):
    probes.power_curves({"one": [1.0, 0.5], "two": [0.9, 0.8]}, ax, labels=["a", "b"])
    assert np.allclose(ax.lines[1].get_ydata(), [0.9, 0.8])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b"]


def test_every_coder_has_a_colour_of_its_own():
    colours = [probes.colour_of(name) for name in probes.CODER_NAMES]
    assert len(set(colours)) == len(colours)
