"""A map of features, all labels at once and one at a time."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba

from groupcc_lite.figures.maps import label_facets, umap_scatter
from groupcc_lite.figures.style import BLUE, PALETTE


@pytest.fixture
def axes():
    figure, axes = plt.subplots(2, 2)
    yield axes
    plt.close(figure)


def test_each_panel_shows_all_features_and_marks_those_of_one_label(axes):
    xy, labels = np.random.default_rng(0).random((10, 2)), np.array([0, 0, 0, 1, 1, 2, -1, -1, -1, -1])
    pictures = np.arange(48.0).reshape(3, 4, 4) / 48
    assert label_facets(xy, labels, ["a", "b", "c"], axes, notes=["x", "y", "z"], pictures=pictures) is axes
    corners = [child for ax in axes.flat for child in ax.child_axes]
    assert [(corner.images[0].get_array() == picture).all() for corner, picture in zip(corners, pictures, strict=True)
            ] == [True] * 3
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


def test_a_map_gives_every_class_its_own_look_and_draws_the_unlabelled_first(ax):
    xy = np.random.default_rng(0).random((24, 2))
    umap_scatter(xy, ax, labels=np.arange(24) - 1, names=[f"class {k}" for k in range(23)])
    dots = [c for c in ax.collections if isinstance(c, PathCollection)]
    looks = {(tuple(d.get_facecolor()[0]), d.get_paths()[0].vertices.tobytes()) for d in dots}
    assert len(dots) == len(looks) == 24 and dots[0].get_zorder() < dots[1].get_zorder()
    assert ax.get_legend().get_texts()[-1].get_text() == "class 22"
    assert len(set(PALETTE)) == len(PALETTE)


def test_angles_use_the_cyclic_map_over_a_whole_turn(ax):
    umap_scatter(np.eye(2), ax, angles=np.array([-10.0, 730.0]))
    dots = ax.collections[0]
    assert dots.get_array().tolist() == [350, 10] and dots.get_clim() == (0, 360) and dots.get_cmap().name == "twilight"
