"""Curves of training, trade-offs, and numbers of every element: what is drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from groupcc_lite.figures.training import element_lines, fve_per_block, tradeoff, training_curves
from groupcc_lite.groups import dihedral

G = dihedral(4)
NUMBERS = np.linspace(-0.4, 0.9, 8)
ROWS = [dict(step=s, loss=1 / (s + 1), fve=s / 10, l0=20 - s, dead=0.1) for s in range(5)]
CURVE = [dict(activation="relu", sparsity=3.0, k=None, l0=60.0, fve=0.5),
         dict(activation="topk", sparsity=0.0, k=16, l0=16.0, fve=0.45),
         dict(activation="topk", sparsity=0.0, k=32, l0=32.0, fve=0.5)]


def test_bars_are_as_high_as_the_variance_explained_and_the_ceiling_is_drawn(ax):
    fve_per_block(NUMBERS, G, ax, ceiling=np.full(8, 0.95), exact=[True, False] * 4)
    assert np.allclose([bar.get_height() for bar in ax.patches], NUMBERS)
    assert len({bar.get_facecolor() for bar in ax.patches}) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["exact", "resampled", "linear reference"]
    assert ax.get_ylim()[0] < NUMBERS.min() and ax.get_ylim()[1] > 0.95


def test_every_point_of_a_tradeoff_is_named(ax):
    tradeoff(CURVE, ax)
    assert sorted(text.get_text() for text in ax.texts) == ["k = 16", "k = 32", "λ = 3"]
    assert ax.get_xscale() == "log" and "variance" in ax.get_ylabel()


def test_training_curves_use_one_axes_per_key():
    figure, axes = plt.subplots(1, 2)
    assert training_curves(ROWS, axes, keys=("loss", "l0"), label="run") is axes
    assert axes[1].lines[0].get_ydata().tolist() == [20, 19, 18, 17, 16] and axes[1].get_ylim()[0] == 0
    assert axes[0].get_xlabel() == "step" and axes[1].get_legend() is not None
    with pytest.raises(ValueError, match="2 axes for 3 keys"):
        training_curves(ROWS, axes)
    with pytest.raises(ValueError, match="lack speed"):
        training_curves(ROWS, axes, keys=("loss", "speed"))
    plt.close(figure)


def test_lines_over_elements_are_interrupted_between_rotations_and_reflections(ax):
    element_lines({"all": NUMBERS, "more": NUMBERS + 1}, G, ax)
    lines = [line for line in ax.lines if len(line.get_xdata()) == 4]
    assert [line.get_xdata().tolist() for line in lines] == 2 * [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert np.allclose(np.concatenate([line.get_ydata() for line in lines[2:]]), NUMBERS + 1)
