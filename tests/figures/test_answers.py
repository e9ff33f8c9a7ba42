"""Figures of the answer key: what is drawn is what was given."""

import math

import matplotlib
import numpy as np
import pytest

from groupcc_lite.answers import METHODS
from groupcc_lite.figures import answers
from groupcc_lite.figures.style import house_style

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


@pytest.fixture
def ax():
    with house_style():
        fig, ax = plt.subplots()
        yield ax
        plt.close(fig)


def test_every_method_has_a_style_of_its_own():
    styles = [answers.style_of(method) for method in METHODS]
    assert len(set(styles)) == len(METHODS)
    with pytest.raises(ValueError, match="method is 'PCA'"):
        answers.style_of("PCA")


def test_dots_are_seeds_and_bars_their_mean(ax):
    answers.method_dots({"SAE": [0.2, 0.4], "wide SAE": [None, math.nan], "crosscoder, TopK": [0.9]}, ax)
    dots = [collection.get_offsets() for collection in ax.collections]
    assert np.allclose(dots[0], [(0.2, 0), (0.4, 0)]) and np.allclose(dots[1], [(0.9, 2)])
    assert [line.get_xdata()[0] for line in ax.lines] == pytest.approx([0.3, 0.9])
    assert [text.get_text() for text in ax.texts] == ["no answer"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["SAE", "wide SAE", "crosscoder, TopK"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first on top


def test_lines_are_means_and_bands_ranges(ax):
    answers.difficulty_lines({"SAE": {0.0: [1.0, 0.8], 0.1: [math.nan, None], 0.2: [0.5, 0.7]}}, ax)
    assert np.allclose(ax.lines[0].get_xydata(), [(0, 0.9), (0.2, 0.6)])
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.5) and band[:, 1].max() == pytest.approx(1.0)
