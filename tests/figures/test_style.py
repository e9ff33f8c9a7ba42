"""The book's style: it ends with its block, and text can be read."""

import matplotlib as mpl
import numpy as np
import pytest

from groupcc_lite.figures.style import element_colours, house_style, readable_on
from groupcc_lite.groups import dihedral

G = dihedral(4)


def test_house_style_holds_inside_its_block_only():
    before = mpl.rcParams.copy()
    with pytest.raises(KeyError), house_style():
        assert not mpl.rcParams["axes.spines.top"] and mpl.rcParams["font.size"] >= 9
        raise KeyError
    assert mpl.rcParams == before


def test_text_is_readable_on_every_colour_of_a_group():
    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in mpl.colors.to_rgb(colour)]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    for colour in element_colours(G):
        light, dark = sorted((luminance(colour), luminance(readable_on(colour))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 3
