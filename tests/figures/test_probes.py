"""Figures of the chapters on equivariant SAEs: what is drawn is what was given."""

import matplotlib
import numpy as np
import pytest

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


def test_bars_are_means_over_seeds_with_their_spread(ax):
    scores = {"sae": {"S": [0.2, 0.4], "SO": [0.1, 0.1]}, "equivariant": {"S": [0.9, 0.7], "SO": [0.5, 0.3]}}
    probes.task_bars(scores, ax)
    heights = [bar.get_height() for bar in ax.patches]
    assert np.allclose(heights, [0.3, 0.1, 0.8, 0.4])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["S", "SO"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["SAE", "equivariant SAE"]
    whiskers = [np.ptp([p[1] for p in path.vertices]) for c in ax.collections for path in c.get_paths()]
    assert np.allclose(whiskers[0], 2 * np.std([0.2, 0.4], ddof=1))


def test_one_seed_has_no_whiskers(ax):
    probes.task_bars({"sae": {"S": [0.2]}}, ax)
    assert not ax.collections


def test_bars_of_other_families_are_refused(ax):
    with pytest.raises(ValueError, match="different families"):
        probes.task_bars({"sae": {"S": [0.2]}, "wide": {"SO": [0.2]}}, ax)


def whiskers(ax):
    return [path.vertices for collection in ax.collections for path in collection.get_paths()]


def test_splice_curves_go_through_the_means_of_seeds(ax):
    probes.splice_curves({"sae": {8: [(0.1, 5.0), (0.3, 5.0)], 16: [(0.05, 7.0)]}}, ax, base=0.01)
    assert np.allclose(ax.lines[0].get_xydata(), [[0.2, 5], [0.05, 7]])
    assert [t.get_text() for t in ax.texts] == ["8", "16"]
    assert ax.lines[-1].get_xdata()[0] == 0.01
    widths = sorted(np.ptp(v[:, 0]) for v in whiskers(ax))
    assert np.allclose(widths, [0, 0, 0, 2 * np.std([0.1, 0.3], ddof=1)])


def test_score_lines_are_means_with_standard_deviations(ax):
    probes.score_lines({"sae": {8: [0.2, 0.4], 16: [0.9]}}, ax)
    assert np.allclose(ax.lines[0].get_ydata(), [0.3, 0.9])
    assert np.allclose(sorted(np.ptp(v[:, 1]) for v in whiskers(ax)), [0, 2 * np.std([0.2, 0.4], ddof=1)])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["8", "16"]


def test_power_curves_name_their_methods(ax):
    probes.power_curves({"one": [1.0, 0.5], "two": [0.9, 0.8]}, ax, labels=["a", "b"])
    assert np.allclose(ax.lines[1].get_ydata(), [0.9, 0.8])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b"]


def test_every_coder_has_a_colour_of_its_own():
    colours = [probes.colour_of(name) for name in probes.CODER_NAMES]
    assert len(set(colours)) == len(colours)
