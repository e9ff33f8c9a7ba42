"""Roses of axes: both ends of every axis, at the right angle, and no other axes than polar ones."""

import matplotlib
import numpy as np
import pytest

from groupcc_lite.figures import axis_rose

matplotlib.use("Agg")
from matplotlib.figure import Figure  # noqa: E402


def test_petals_lie_at_both_ends_of_their_axis():
    ax = axis_rose(np.array([5.0, 2.0]), np.array([90.0, 0.0]), Figure().add_subplot(projection="polar"),
                   exact=np.array([True, False]), expected=3.0)
    centres = [(round(np.degrees(p.get_x() + p.get_width() / 2)) % 360, p.get_height()) for p in ax.patches]
    assert sorted(centres) == [(0, 2.0), (90, 5.0), (180, 2.0), (270, 5.0)]
    assert len({p.get_facecolor() for p in ax.patches}) == 2
    assert set(ax.lines[0].get_ydata()) == {3.0}


def test_flat_axes_are_refused():
    with pytest.raises(ValueError, match="not polar"):
        axis_rose(np.ones(1), np.zeros(1), Figure().subplots())
