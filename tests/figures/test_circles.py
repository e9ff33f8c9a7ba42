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


def test_tuning_curves_share_a_scale_and_say_who_they_are(unchecked):
    ax = polar()
    tuning_rose([1.0, 0.5, 0.0, 0.5], ax, label="faint")
    assert ax.get_ylim() == pytest.approx((0, 1.05)) and len(ax.patches) == 1
    tuning_rose(np.array([4.0, 0.0, 1.0, 0.0]), ax, label="loud", colour="#aa0000", fill=False)
    assert ax.get_ylim() == pytest.approx((0, 4.2)) and len(ax.patches) == 1 and len(ax.lines) == 2
    assert [line.get_label() for line in ax.lines] == ["faint", "loud"] and ax.lines[1].get_color() == "#aa0000"
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1, 0.5, 0, 0.5, 1])
    tuning_rose(np.zeros(6), polar())  # a silent unit can be drawn, too
    for response in (np.ones((2, 4)), np.array([1.0, np.nan])):
        with pytest.raises(ValueError, match="response has shape|response holds NaN"):
            tuning_rose(response, polar())


def test_a_map_lies_over_the_full_turn_and_its_own_rows(unchecked):
    response = np.zeros((2, 8))
    response[1, 2] = 2.0  # 90 degrees, the curved ones
    image = curvature_map(response, [0.0, 0.1], Figure().subplots()).images[0]
    left, right, low, high = image.get_extent()
    assert (left, right, low, high) == (0, 360, -0.5, 1.5) and image.get_clim() == (0, 2)
    row, column = np.unravel_index(np.argmax(image.get_array()), (2, 8))
    assert low + row + 0.5 == 1 and left + column * (right - left) / 8 == 90
    with pytest.raises(ValueError, match="response has shape"):
        curvature_map(np.zeros(8), [0.0], Figure().subplots())


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


def test_a_set_without_directions_keeps_its_ring_and_its_name():
    ax = covered_circle({"nobody": [], "all": np.linspace(0, 6, 7)}, polar())
    nobody, everybody = ax.collections
    assert len(nobody.get_segments()) == 0 and nobody.get_label() == "nobody"
    assert len(everybody.get_segments()) == 7
    assert {segment[0][1] for segment in everybody.get_segments()} == {2.15} and ax.get_ylim() == (0, 3.1)
    assert len({tuple(marks.get_colors()[0]) for marks in covered_circle(
        {"a": [0.0], "b": [1.0], "c": [2.0]}, polar()).collections}) == 3


def test_rings_of_a_family_lie_outside_each_other_with_their_names_and_values():
    picture = np.full((6, 6, 3), 0.5)
    values = {"inner": np.array([0.11, 0.22, 0.33]), "outer": np.array([0.44, 0.55, 0.66])}
    ax = family_circle({"inner": [picture] * 3, "outer": [picture, None, None]}, values, Figure().subplots())
    at = np.array([artist.xy for artist in ax.artists])
    assert np.hypot(*at.T) == pytest.approx([1.2, 1.2, 1.2, 2.0])
    assert np.degrees(np.arctan2(at[:3, 1], at[:3, 0])) % 360 == pytest.approx([0, 120, 240], abs=1e-6)
    empty = np.array([line.get_xydata()[0] for line in ax.lines])
    assert np.hypot(*empty.T) == pytest.approx([2.0, 2.0])
    texts = {text.get_text(): text for text in ax.texts}
    assert {"from the inside:\ninner\nouter", "0.11", "0.22", "0.33", "0.44"} == set(texts)  # below pictures only
    assert texts["0.22"].xy == pytest.approx((1.2 * np.cos(2 * np.pi / 3), 1.2 * np.sin(2 * np.pi / 3)))
    assert ax.get_xlim()[1] > 2 and not ax.axison
    middle = family_circle({"inner": [None] * 3}, {"inner": np.zeros(3)}, Figure().subplots(), centre=picture)
    assert [artist.xy for artist in middle.artists] == [(0, 0)]
    assert middle.texts[0].get_position()[0] < -1  # the names leave the middle


@pytest.mark.parametrize("rings, values", [
    ({"a": [None, None]}, {"a": np.zeros(3)}), ({"a": [None]}, {"b": np.zeros(1)}),
    ({"a": [None], "b": [None, None]}, {"a": np.zeros(1), "b": np.zeros(2)}), ({"a": [None]}, {}), ({}, {})])
def test_rings_that_do_not_fit_are_refused(rings, values):
    with pytest.raises(ValueError, match="expected as many in each, under the same names"):
        family_circle(rings, values, Figure().subplots())


def test_a_family_has_a_picture_or_an_empty_place_at_each_angle():
    picture = np.zeros((4, 4, 3))
    ax = family_circle({"a": [picture, None, picture, None], "b": [None] * 4},
                       {"a": np.array([0.1, 0.2, 0.3, 0.4]), "b": np.zeros(4)}, Figure().subplots())
    at = np.array([artist.xy for artist in ax.artists])
    np.testing.assert_allclose(at, [[1.2, 0], [-1.2, 0]], atol=1e-9)
    assert len(ax.lines) == 6 and "0.30" in [text.get_text() for text in ax.texts]
    with pytest.raises(ValueError, match="as many in each"):
        family_circle({"a": [picture]}, {"a": np.zeros(2)}, Figure().subplots())


def test_circles_need_polar_axes():
    for draw in (lambda ax: tuning_rose(np.ones(4), ax), lambda ax: covered_circle({"a": [0.0]}, ax)):
        with pytest.raises(ValueError, match="is not polar"):
            draw(Figure().subplots())
