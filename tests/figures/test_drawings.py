"""What every drawing on axes has in common: what is refused, and that nothing outside the axes changes."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from groupcc_lite import figures
from groupcc_lite.groups import dihedral

G = dihedral(4)
NUMBERS = np.linspace(-0.4, 0.9, 8)
CURVE = [dict(activation="relu", sparsity=3.0, k=None, l0=60.0, fve=0.5),
         dict(activation="topk", sparsity=0.0, k=16, l0=16.0, fve=0.45),
         dict(activation="topk", sparsity=0.0, k=32, l0=32.0, fve=0.5)]

DRAWINGS = {
    "cayley_table": lambda ax: figures.cayley_table(G, ax),
    "arrangements": lambda ax: figures.arrangements(G.regular[:2], ["x", "r x"], G, ax),
    "block_heatmap": lambda ax: figures.block_heatmap(torch.eye(8), G, ax, colour_bar=True),
    "block_table": lambda ax: figures.block_table(torch.eye(8)[:, :3], G, ax, n_rotations=4),
    "self_similarity_profile": lambda ax: figures.self_similarity_profile(NUMBERS, G, ax),
    "fve_per_block": lambda ax: figures.fve_per_block(NUMBERS, G, ax, ceiling=NUMBERS + 0.05, exact=[True] * 8),
    "tradeoff": lambda ax: figures.tradeoff(CURVE, ax),
    "element_lines": lambda ax: figures.element_lines({"a": NUMBERS, "b": NUMBERS + 1}, G, ax, ylabel="both"),
    "registration_error": lambda ax: figures.registration_error(NUMBERS, NUMBERS + 1, G, ax),
    "umap_scatter": lambda ax: figures.umap_scatter(np.random.default_rng(0).random((9, 2)), ax,
                                                     labels=np.arange(9) - 1),
    "feature_grid": lambda ax: figures.feature_grid(torch.rand(5, 3, 8, 8), ax, list("abcde")),
    "orbit_grid": lambda ax: figures.orbit_grid(torch.rand(8, 8, 8), G, ax),
    "points_on_image": lambda ax: figures.points_on_image(torch.rand(3, 8, 8), torch.zeros(1, 2), ax, mask_radius=3.0),
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
    homes = {f"groupcc_lite.figures.{name}" for name in ("features", "grids", "maps", "training")}
    public = {name for name in figures.__all__ if getattr(getattr(figures, name), "__module__", "") in homes}
    assert set(DRAWINGS) < public
    assert public - set(DRAWINGS) == {"training_curves", "colour_bar", "heatmap_row", "heatmap_up_to", "label_facets"}


def test_no_type_is_smaller_than_nine_points(ax):
    for draw in DRAWINGS.values():
        ax.clear()
        draw(ax)
        sizes = [text.get_fontsize() for text in ax.findobj(mpl.text.Text) if text.get_text()]
        assert not sizes or min(sizes) >= 9


BAD = {
    "shape": (lambda ax: figures.block_heatmap(np.eye(5), G, ax), r"B has shape \(5, 5\); expected \(8, 8\)"),
    "nan": (lambda ax: figures.self_similarity_profile(np.full(8, np.nan), G, ax), "c holds NaN"),
    "elements": (lambda ax: figures.block_table(np.eye(5), G, ax), r"table has shape \(5, 5\); expected \(8, "),
    "limit": (lambda ax: figures.block_heatmap(np.eye(8), G, ax, limit=0.0), "limit is 0"),
    "rotations": (lambda ax: figures.block_heatmap(np.eye(8), G, ax, n_rotations=3), "n_rotations is 3"),
    "no permutation": (lambda ax: figures.arrangements([[0] * 8], ["x"], G, ax), "no permutation"),
    "labels": (lambda ax: figures.arrangements([list(range(8))], [], G, ax), "0 labels for 1 orders"),
    "activation": (lambda ax: figures.tradeoff([dict(activation="gelu", l0=1, fve=1)], ax), "gelu"),
    "no rows": (lambda ax: figures.tradeoff([], ax), "rows is empty"),
    "two colours": (lambda ax: figures.umap_scatter(np.eye(2), ax, labels=[0, 1], angles=np.ones(2)), "both given"),
    "names": (lambda ax: figures.umap_scatter(np.eye(2), ax, labels=[0, 4], names=["a"]), "labels go up to 4"),
    "bytes": (lambda ax: figures.feature_grid(np.full((2, 4, 4, 3), 255.0), ax), "expected \\[0, 1\\]"),
    "picture": (lambda ax: figures.feature_grid(np.zeros((2, 4, 4, 5)), ax), "images has shape"),
    "titles": (lambda ax: figures.feature_grid(np.zeros((2, 4, 4)), ax, ["a"]), "1 titles for 2 images"),
    "orbit": (lambda ax: figures.orbit_grid(np.zeros((7, 4, 4)), G, ax), "7 entries; expected 8"),
    "mask": (lambda ax: figures.points_on_image(np.zeros((4, 4)), np.zeros((1, 2)), ax, mask_radius=-1.0),
             "mask_radius"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_error(case, ax):
    draw, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        draw(ax)
