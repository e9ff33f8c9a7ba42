"""Figures of a layer's symmetries: what is drawn is what was given, and what does not fit is refused."""

import matplotlib
import numpy as np
import pytest
import torch

from groupcc_lite.figures import census
from groupcc_lite.figures.style import house_style
from groupcc_lite.groups import cyclic, dihedral, parse_group, representatives
from groupcc_lite.symmetry import Stabiliser, self_similarity, stabilisers

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

G = dihedral(4)
CLASSES = representatives(G.subgroups())


@pytest.fixture
def ax():
    with house_style():
        figure, ax = plt.subplots(figsize=(6, 5))
        yield ax
        plt.close(figure)


@pytest.fixture
def symmetric():
    """A vector that one mirror leaves as it is, its profile and its stabiliser."""
    f = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    D = (f + f[torch.tensor(G.regular[4])])[None]
    return self_similarity(D, G)[0], stabilisers(D, G)[0]


def found(*labels, margin=0.2):
    return [Stabiliser(next(H for H in CLASSES if H.label == label), 1.0, 0.0, margin, 0.1) for label in labels]


def boxes(ax):
    return [text for text in ax.texts if "\n" in text.get_text()]


DRAWINGS = {
    "subgroup_lattice": lambda ax: census.subgroup_lattice(G, ax),
    "stabiliser_profile": lambda ax: census.stabiliser_profile(np.eye(8)[0], found("none")[0], G, ax),
    "census_bars": lambda ax: census.census_bars(found("none", "all"), G, ax),
    "threshold_curves": lambda ax: census.threshold_curves({"a": [0.1, 0.2]}, np.array([0.5, 0.6]), ax),
    "irrep_bars": lambda ax: census.irrep_bars(np.full(5, 0.2), G, ax),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_function_returns_its_axes_changes_no_setting_and_writes_legibly(name, ax):
    before = matplotlib.rcParams.copy()
    assert DRAWINGS[name](ax) is ax
    assert matplotlib.rcParams == before
    ax.figure.canvas.draw()
    assert min(text.get_fontsize() for text in ax.findobj(matplotlib.text.Text) if text.get_text()) >= 9


# ------------------------------------------------------------------------------------------------- lattice

def test_a_lattice_has_one_box_per_class_with_the_number_of_its_members(ax):
    census.subgroup_lattice(G, ax)
    texts = [text.get_text() for text in boxes(ax)]
    assert texts == ["none\n×1", "half turn\n×1", "one mirror\n×2", "one mirror\n×2", "C4\n×1", "C2 x C2\n×1",
                     "C2 x C2\n×1", "all\n×1"]
    heights = [text.get_position()[1] for text in boxes(ax)]
    assert heights == [0, 1, 1, 1, 2, 2, 2, 3]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1", "2", "4", "8"]


def test_the_lines_of_a_lattice_join_neighbours_only(ax):
    """D_4 by hand: none below three classes of order 2; the half turn below all of order 4, each mirror below one."""
    census.subgroup_lattice(G, ax)
    place = {text.get_position(): i for i, text in enumerate(boxes(ax))}
    lines = {tuple(place[tuple(map(float, point))] for point in line.get_xydata()) for line in ax.lines}
    assert lines == {(0, 1), (0, 2), (0, 3), (1, 4), (1, 5), (1, 6), (2, 5), (3, 6), (4, 7), (5, 7), (6, 7)}


def test_counts_replace_sizes_and_shade_the_boxes(ax):
    census.subgroup_lattice(G, ax, counts={0: 9, 7: 1})
    shown = boxes(ax)
    assert [text.get_text().split("\n")[1] for text in shown] == ["9", "0", "0", "0", "0", "0", "0", "1"]
    brightness = [sum(text.get_bbox_patch().get_facecolor()[:3]) for text in shown]
    assert brightness[0] < brightness[7] < brightness[1] == brightness[2]


def test_counts_of_no_class_and_groups_with_too_many_classes_are_refused(ax):
    with pytest.raises(ValueError, match=r"counts has the classes \[8\]; expected numbers from 0 to 7"):
        census.subgroup_lattice(G, ax, counts={8: 1})
    with pytest.raises(ValueError, match="67 classes"):
        census.subgroup_lattice(parse_group("C_2 x C_2 x C_2 x C_2"), ax)


# --------------------------------------------------------------------------------------------- stabilisers

def test_rings_are_around_the_elements_of_the_stabiliser_on_both_ends_of_the_turn(ax, symmetric):
    c, s = symmetric
    assert s.subgroup.elements == (0, 4)  # e and the mirror s, both at angle 0, drawn again at 360
    census.stabiliser_profile(c, s, G, ax, tau=0.7)
    rings = ax.collections[-1].get_offsets()
    assert rings[:, 0].tolist() == [0, 0, 360, 360] and np.allclose(rings[:, 1], 1)
    assert ax.lines[-1].get_ydata()[0] == 0.7


def test_rings_in_a_group_without_angles_stand_at_the_elements_numbers(ax):
    product = parse_group("C_2 x C_2")
    s = Stabiliser(product.subgroups()[1], 1.0, 0.0, 0.2, 0.1)
    census.stabiliser_profile(np.array([1, 0.9, 0.1, 0.2]), s, product, ax)
    assert ax.collections[-1].get_offsets()[:, 0].tolist() == list(s.subgroup.elements)


def test_bars_count_labels_and_set_doubtful_ones_apart(ax):
    stabs = found("none", "none", "one mirror") + found("none", "all", margin=0.01)
    census.census_bars(stabs, G, ax)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    widths = np.array([bar.get_width() for bar in ax.patches]).reshape(2, -1)
    assert labels == ["none", "half turn", "one mirror", "C4", "C2 x C2", "all"]
    assert widths.tolist() == [[2, 0, 1, 0, 0, 0], [1, 0, 0, 0, 0, 1]]
    assert [text.get_text() for text in ax.texts] == ["3", "0", "1", "0", "0", "1"]


def test_bars_refuse_nothing_and_labels_of_another_group(ax):
    with pytest.raises(ValueError, match="found is empty"):
        census.census_bars([], G, ax)
    with pytest.raises(ValueError, match="labels C2 x C2, one mirror; expected labels of C_3"):
        census.census_bars(found("C2 x C2", "one mirror"), cyclic(3), ax)


def test_threshold_curves_go_through_their_points_and_mark_the_threshold(ax):
    census.threshold_curves({"a": [0.1, 0.4], "b": [0.2, 0.3]}, np.array([0.5, 0.7]), ax, tau=0.6)
    assert np.allclose(ax.lines[1].get_xydata(), [[0.5, 0.2], [0.7, 0.3]])
    assert ax.lines[2].get_xdata()[0] == 0.6 and ax.get_ylim()[0] == 0
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    with pytest.raises(ValueError, match=r"curves\['a'\] has shape \(1,\); expected \(2\)"):
        census.threshold_curves({"a": [0.1]}, np.array([0.5, 0.7]), ax)


# ------------------------------------------------------------------------------------------------- spectra

def test_bars_of_a_spectrum_have_the_colour_of_their_parity(ax):
    census.irrep_bars(np.array([0.4, 0.0, 0.3, 0.2, 0.1]), G, ax)
    assert [bar.get_height() for bar in ax.patches] == [0.4, 0.0, 0.3, 0.2, 0.1]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["A1", "A2", "E1", "B1", "B2"]
    colours = [bar.get_facecolor() for bar in ax.patches]
    assert colours[2] not in colours[:2] and colours[0] == colours[1] == colours[3] == colours[4]


def test_a_product_has_no_frequencies_and_one_colour(ax):
    product = parse_group("C_4 x C_2")
    census.irrep_bars(np.full(len(product.irreps()), 1 / len(product.irreps())), product, ax)
    assert len({bar.get_facecolor() for bar in ax.patches}) == 1 and ax.get_legend() is None
    with pytest.raises(ValueError, match="power has shape"):
        census.irrep_bars(np.array([0.5, 0.5]), product, ax)
