"""A map, one label at a time."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from groupcc_lite.figures.maps import label_facets
from groupcc_lite.figures.style import BLUE


@pytest.fixture
def axes():
    figure, axes = plt.subplots(2, 2)
    yield axes
    plt.close(figure)


def test_each_panel_shows_all_features_and_marks_those_of_one_label(axes):
    xy, labels = np.random.default_rng(0).random((10, 2)), np.array([0, 0, 0, 1, 1, 2, -1, -1, -1, -1])
    assert label_facets(xy, labels, ["a", "b", "c"], axes, notes=["x", "y", "z"]) is axes
    for k, ax in enumerate(axes.flat[:3]):
        grey, blue = ax.collections
        assert len(grey.get_offsets()) == 10 - (labels == k).sum()
        assert np.allclose(blue.get_offsets(), xy[labels == k]) and tuple(blue.get_facecolor()[0]) == to_rgba(BLUE)
        assert ax.get_title() == f"{'abc'[k]}\n{'xyz'[k]}"
    assert not axes[1, 1].axison and not axes[1, 1].collections


def test_too_few_axes_or_notes_are_one_clear_error(axes):
    with pytest.raises(ValueError, match="an axes and a note for each"):
        label_facets(np.eye(2), [0, 1], list("abcde"), axes)
    with pytest.raises(ValueError, match="an axes and a note for each"):
        label_facets(np.eye(2), [0, 1], ["a", "b"], axes, notes=["x"])
