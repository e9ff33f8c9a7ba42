"""Figures: what is drawn, what is refused, and that nothing outside the axes changes."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection

from groupcc_lite.figures import features
from groupcc_lite.figures.style import DIVERGING, PALETTE, element_colours, house_style, readable_on
from groupcc_lite.groups import cyclic, dihedral, product

G = dihedral(4)
NUMBERS = np.linspace(-0.4, 0.9, 8)
ROWS = [dict(step=s, loss=1 / (s + 1), fve=s / 10, l0=20 - s, dead=0.1) for s in range(5)]
CURVE = [dict(activation="relu", sparsity=3.0, k=None, l0=60.0, fve=0.5),
         dict(activation="topk", sparsity=0.0, k=16, l0=16.0, fve=0.45),
         dict(activation="topk", sparsity=0.0, k=32, l0=32.0, fve=0.5)]


@pytest.fixture
def ax():
    with house_style():
        figure, ax = plt.subplots(figsize=(6, 4))
    yield ax
    plt.close(figure)


DRAWINGS = {
    "cayley_table": lambda ax: features.cayley_table(G, ax),
    "arrangements": lambda ax: features.arrangements(G.regular[:2], ["x", "r x"], G, ax),
    "block_heatmap": lambda ax: features.block_heatmap(torch.eye(8), G, ax, colour_bar=True),
    "self_similarity_profile": lambda ax: features.self_similarity_profile(NUMBERS, G, ax),
    "fve_per_block": lambda ax: features.fve_per_block(NUMBERS, G, ax, ceiling=NUMBERS + 0.05, exact=[True] * 8),
    "tradeoff": lambda ax: features.tradeoff(CURVE, ax),
    "element_lines": lambda ax: features.element_lines({"a": NUMBERS, "b": NUMBERS + 1}, G, ax, ylabel="both"),
    "registration_error": lambda ax: features.registration_error(NUMBERS, NUMBERS + 1, G, ax),
    "umap_scatter": lambda ax: features.umap_scatter(np.random.default_rng(0).random((9, 2)), ax,
                                                     labels=np.arange(9) - 1),
    "feature_grid": lambda ax: features.feature_grid(torch.rand(5, 3, 8, 8), ax, list("abcde")),
    "orbit_grid": lambda ax: features.orbit_grid(torch.rand(8, 8, 8), G, ax),
    "points_on_image": lambda ax: features.points_on_image(torch.rand(3, 8, 8), torch.zeros(1, 2), ax, mask_radius=3.0),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_function_returns_its_axes_changes_no_setting_and_shows_nothing(name, ax, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("show was called"))
    before, open_figures = mpl.rcParams.copy(), plt.get_fignums()
    assert DRAWINGS[name](ax) is ax
    assert mpl.rcParams == before
    assert plt.get_fignums() == open_figures
    assert ax.has_data()
    ax.figure.canvas.draw()


def test_every_public_drawing_is_tried_above():
    assert set(features.__all__) - set(DRAWINGS) == {"house_style", "training_curves", "colour_bar", "heatmap_row",
                                                     "heatmap_up_to"}


def test_house_style_holds_inside_its_block_only():
    before = mpl.rcParams.copy()
    with pytest.raises(KeyError), house_style():
        assert not mpl.rcParams["axes.spines.top"] and mpl.rcParams["font.size"] >= 9
        raise KeyError
    assert mpl.rcParams == before


def test_no_type_is_smaller_than_nine_points(ax):
    for draw in DRAWINGS.values():
        ax.clear()
        draw(ax)
        sizes = [text.get_fontsize() for text in ax.findobj(mpl.text.Text) if text.get_text()]
        assert not sizes or min(sizes) >= 9


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


def test_bars_are_as_high_as_the_variance_explained_and_the_ceiling_is_drawn(ax):
    features.fve_per_block(NUMBERS, G, ax, ceiling=np.full(8, 0.95), exact=[True, False] * 4)
    assert np.allclose([bar.get_height() for bar in ax.patches], NUMBERS)
    assert len({bar.get_facecolor() for bar in ax.patches}) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["exact", "resampled", "linear ceiling"]
    assert ax.get_ylim()[0] < NUMBERS.min() and ax.get_ylim()[1] > 0.95


def test_every_point_of_a_tradeoff_is_named(ax):
    features.tradeoff(CURVE, ax)
    assert sorted(text.get_text() for text in ax.texts) == ["k = 16", "k = 32", "λ = 3"]
    assert ax.get_xscale() == "log" and "variance" in ax.get_ylabel()


def test_training_curves_use_one_axes_per_key():
    figure, axes = plt.subplots(1, 2)
    assert features.training_curves(ROWS, axes, keys=("loss", "l0"), label="run") is axes
    assert axes[1].lines[0].get_ydata().tolist() == [20, 19, 18, 17, 16] and axes[1].get_ylim()[0] == 0
    assert axes[0].get_xlabel() == "step" and axes[1].get_legend() is not None
    with pytest.raises(ValueError, match="2 axes for 3 keys"):
        features.training_curves(ROWS, axes)
    with pytest.raises(ValueError, match="lack speed"):
        features.training_curves(ROWS, axes, keys=("loss", "speed"))
    plt.close(figure)


def test_colour_bar_is_shared_and_symmetric():
    figure, axes = plt.subplots(1, 2)
    assert features.colour_bar(axes, "cosine", limit=0.5) is axes
    bar = next(a for a in figure.axes if a not in axes)
    assert bar.get_ylim() == (-0.5, 0.5) and bar.get_ylabel() == "cosine"
    plt.close(figure)


def test_a_map_gives_every_class_its_own_look_and_draws_the_unlabelled_first(ax):
    xy = np.random.default_rng(0).random((24, 2))
    features.umap_scatter(xy, ax, labels=np.arange(24) - 1, names=[f"class {k}" for k in range(23)])
    dots = [c for c in ax.collections if isinstance(c, PathCollection)]
    looks = {(tuple(d.get_facecolor()[0]), d.get_paths()[0].vertices.tobytes()) for d in dots}
    assert len(dots) == len(looks) == 24 and dots[0].get_zorder() < dots[1].get_zorder()
    assert ax.get_legend().get_texts()[-1].get_text() == "class 22"
    assert len(set(PALETTE)) == len(PALETTE)


def test_angles_use_the_cyclic_map_over_a_whole_turn(ax):
    features.umap_scatter(np.eye(2), ax, angles=np.array([-10.0, 730.0]))
    dots = ax.collections[0]
    assert dots.get_array().tolist() == [350, 10] and dots.get_clim() == (0, 360) and dots.get_cmap().name == "twilight"


def test_points_lie_in_pixels_from_the_image_centre(ax):
    features.points_on_image(torch.zeros(3, 10, 10), torch.tensor([[2.0, -3.0]]), ax, mask_radius=4.0)
    assert ax.collections[0].get_offsets().tolist() == [[2, -3]]
    assert ax.images[0].get_extent() == [-5, 5, 5, -5]  # y down
    assert ax.patches[0].get_radius() == 4


def test_pictures_may_have_their_channels_first_or_last(ax):
    images = torch.rand(2, 3, 6, 6)
    features.feature_grid(images, ax)
    features.feature_grid(images.permute(0, 2, 3, 1).numpy(), ax)
    assert np.array_equal(ax.images[0].get_array(), ax.images[2].get_array())


def test_the_number_of_columns_follows_the_shape_of_the_axes():
    widths = []
    for size in ((8, 2), (2, 8)):
        figure, ax = plt.subplots(figsize=size)
        features.feature_grid(torch.rand(12, 4, 4), ax)
        widths.append(ax.get_xlim()[1])
        plt.close(figure)
    assert widths[0] > 2 * widths[1]


BAD = {
    "shape": (lambda ax: features.block_heatmap(np.eye(5), G, ax), r"B has shape \(5, 5\); expected \(8, 8\)"),
    "nan": (lambda ax: features.self_similarity_profile(np.full(8, np.nan), G, ax), "c holds NaN"),
    "limit": (lambda ax: features.block_heatmap(np.eye(8), G, ax, limit=0.0), "limit is 0"),
    "rotations": (lambda ax: features.block_heatmap(np.eye(8), G, ax, n_rotations=3), "n_rotations is 3"),
    "no permutation": (lambda ax: features.arrangements([[0] * 8], ["x"], G, ax), "no permutation"),
    "labels": (lambda ax: features.arrangements([list(range(8))], [], G, ax), "0 labels for 1 orders"),
    "activation": (lambda ax: features.tradeoff([dict(activation="gelu", l0=1, fve=1)], ax), "gelu"),
    "no rows": (lambda ax: features.tradeoff([], ax), "rows is empty"),
    "two colours": (lambda ax: features.umap_scatter(np.eye(2), ax, labels=[0, 1], angles=np.ones(2)), "both given"),
    "names": (lambda ax: features.umap_scatter(np.eye(2), ax, labels=[0, 4], names=["a"]), "labels go up to 4"),
    "bytes": (lambda ax: features.feature_grid(np.full((2, 4, 4, 3), 255.0), ax), "expected \\[0, 1\\]"),
    "picture": (lambda ax: features.feature_grid(np.zeros((2, 4, 4, 5)), ax), "images has shape"),
    "titles": (lambda ax: features.feature_grid(np.zeros((2, 4, 4)), ax, ["a"]), "1 titles for 2 images"),
    "orbit": (lambda ax: features.orbit_grid(np.zeros((7, 4, 4)), G, ax), "7 entries; expected 8"),
    "mask": (lambda ax: features.points_on_image(np.zeros((4, 4)), np.zeros((1, 2)), ax, mask_radius=-1.0),
             "mask_radius"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_error(case, ax):
    draw, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        draw(ax)


def test_text_is_readable_on_every_colour_of_a_group():
    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in mpl.colors.to_rgb(colour)]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    for colour in element_colours(G):
        light, dark = sorted((luminance(colour), luminance(readable_on(colour))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 3


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


def test_lines_over_elements_are_interrupted_between_rotations_and_reflections(ax):
    features.element_lines({"all": NUMBERS, "more": NUMBERS + 1}, G, ax)
    lines = [line for line in ax.lines if len(line.get_xdata()) == 4]
    assert [line.get_xdata().tolist() for line in lines] == 2 * [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert np.allclose(np.concatenate([line.get_ydata() for line in lines[2:]]), NUMBERS + 1)
