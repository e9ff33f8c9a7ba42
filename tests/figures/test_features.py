"""Tables, heatmaps and profiles: what is drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from groupcc_lite.figures import features
from groupcc_lite.figures.style import DIVERGING, element_colours, house_style
from groupcc_lite.groups import cyclic, dihedral, product

G = dihedral(4)
NUMBERS = np.linspace(-0.4, 0.9, 8)


def test_a_heatmap_is_symmetric_about_zero_and_has_a_line_between_the_halves(ax):
    features.block_heatmap(np.eye(8), G, ax, limit=0.5)
    image = ax.images[0]
    assert image.get_clim() == (-0.5, 0.5) and image.get_cmap() is DIVERGING
    assert sorted(line.get_xdata()[0] for line in ax.lines)[-1] == 3.5
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0°", "180°"] * 2
    assert {"rotations", "reflections"} <= {text.get_text() for text in ax.texts}


def test_a_heatmap_of_rotations_only_has_no_line(ax):
    features.block_heatmap(np.eye(4), cyclic(4), ax)
    assert not ax.lines
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0°", "90°", "180°", "270°"]


def test_a_group_without_angles_is_named_by_its_elements(ax):
    features.block_heatmap(np.eye(8), product(cyclic(4), cyclic(2)), ax)
    assert "(r, e)" in ax.get_xticklabels()[2].get_text()


def test_the_cayley_table_shows_the_table(ax):
    features.cayley_table(G, ax)
    written = [text.get_text() for text in ax.texts]
    assert written == [G.latex[gh] for gh in G.table.ravel()]
    assert np.array_equal(ax.images[0].get_array(), element_colours(G)[G.table])


def test_a_profile_closes_the_circle_and_keeps_its_limits(ax):
    features.self_similarity_profile(NUMBERS, G, ax)
    turns = next(line for line in ax.lines if line.get_label() == "rotation $r^k$")
    assert turns.get_xdata().tolist() == [0, 90, 180, 270, 360]
    assert turns.get_ydata()[0] == turns.get_ydata()[-1] == NUMBERS[0]
    assert ax.get_ylim()[0] < -1 and ax.get_ylim()[1] > 1


def test_colour_bar_is_shared_and_symmetric():
    figure, axes = plt.subplots(1, 2)
    assert features.colour_bar(axes, "cosine", limit=0.5) is axes
    bar = next(a for a in figure.axes if a not in axes)
    assert bar.get_ylim() == (-0.5, 0.5) and bar.get_ylabel() == "cosine"
    plt.close(figure)


def test_a_row_of_heatmaps_has_a_picture_above_each_if_asked():
    with house_style():
        plain = features.heatmap_row(torch.eye(8).expand(3, 8, 8), list("abc"), G)
        pictured = features.heatmap_row(torch.eye(8).expand(2, 8, 8), list("ab"), G, pictures=torch.rand(2, 3, 5, 5))
        empty = features.heatmap_row(torch.zeros(0, 8, 8), [], G)
    assert [len(fig.axes) for fig in (plain, pictured, empty)] == [4, 5, 2]  # one more for the colour bar
    assert [ax.get_title(loc="left") for ax in pictured.axes] == ["", "", "a", "b", ""]
    with pytest.raises(ValueError, match="expected \\(1, 8, 8\\)"):
        features.heatmap_row(torch.zeros(2, 8, 8), ["a"], G)
    for fig in (plain, pictured, empty):
        plt.close(fig)


def test_a_heatmap_up_to_a_row_hides_the_rows_below():
    fig, axes = plt.subplots(1, 2)
    _, right = features.heatmap_up_to(2, torch.eye(8), torch.rand(3, 5, 5), G, axes)
    hidden, frame = right.patches
    assert (hidden.get_y(), hidden.get_y() + hidden.get_height()) == (2.5, 8)
    assert (frame.get_y(), frame.get_height()) == (1.5, 1)
    plt.close(fig)
