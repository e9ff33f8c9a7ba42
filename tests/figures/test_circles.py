"""Roses of axes: both ends of every axis, at the right angle, and no other axes than polar ones."""

import matplotlib
import numpy as np
import pytest

from groupcc_lite.figures import axis_rose, covered_circle, curvature_map, family_circle, tuning_rose

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


def polar():
    return Figure().add_subplot(projection="polar")


def test_a_tuning_curve_is_closed_and_points_where_the_unit_does():
    response = np.zeros(8)
    response[2] = 3.0
    line = tuning_rose(response, polar()).lines[0]
    x, y = line.get_data()
    assert x[0] == 0 and x[-1] == pytest.approx(2 * np.pi) and y[-1] == y[0]
    assert np.degrees(x[np.argmax(y)]) == pytest.approx(90)


def test_a_map_has_the_straight_ones_at_the_bottom():
    response = np.zeros((3, 12))
    response[0, 4] = 1
    ax = curvature_map(response, [0.0, 0.05, 0.1], Figure().subplots())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["straight", "20 px", "10 px"]
    assert ax.images[0].origin == "lower" and ax.images[0].get_array()[0, 4] == 1
    with pytest.raises(ValueError, match=r"expected \(2, d\)"):
        curvature_map(response, [0.0, 0.1], Figure().subplots())


def test_every_direction_has_a_mark_on_the_ring_of_its_set():
    ax = covered_circle({"inner": [0.0, 1.0], "outer": [2.0]}, polar())
    inner, outer = ([segment for segment in marks.get_segments()] for marks in ax.collections)
    assert [segment[0][0] for segment in inner] == [0.0, 1.0] and outer[0][0][0] == 2.0
    assert inner[0][1][1] < outer[0][0][1]


def test_a_family_has_a_picture_or_an_empty_place_at_each_angle():
    picture = np.zeros((4, 4, 3))
    ax = family_circle({"a": [picture, None, picture, None], "b": [None] * 4},
                       {"a": np.array([0.1, 0.2, 0.3, 0.4]), "b": np.zeros(4)}, Figure().subplots())
    at = np.array([artist.xy for artist in ax.artists])
    np.testing.assert_allclose(at, [[1, 0], [-1, 0]], atol=1e-9)
    assert len(ax.lines) == 6 and "0.30" in [text.get_text() for text in ax.texts]
    with pytest.raises(ValueError, match="as many in each"):
        family_circle({"a": [picture]}, {"a": np.zeros(2)}, Figure().subplots())


def test_circles_need_polar_axes():
    for draw in (lambda ax: tuning_rose(np.ones(4), ax), lambda ax: covered_circle({"a": [0.0]}, ax)):
        with pytest.raises(ValueError, match="is not polar"):
            draw(Figure().subplots())
