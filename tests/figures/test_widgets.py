"""Widgets: pictures with descriptions, and a slider that the browser links without Python."""

import base64
import io
import re

import matplotlib.pyplot as plt
import pytest
from ipywidgets import HTML, SelectionSlider, Stack
from ipywidgets.widgets.widget import _instances as every_widget
from ipywidgets.widgets.widget_link import Link
from PIL import Image

from groupcc_lite.figures.widgets import explorer, feature_stack, has_live_kernel, png


def picture(colour: str = "red", size: tuple[int, int] = (4, 3)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="PNG")
    return buffer.getvalue()


def figure(value: float = 0.0):
    fig, ax = plt.subplots(figsize=(2, 1))
    ax.plot([0, value])
    return fig


def parts(widget):
    slider = next(child for child in widget.children if isinstance(child, SelectionSlider))
    shown = next(child for child in widget.children if child is not slider)
    return slider, shown


def shown_picture(page: HTML) -> bytes:
    return base64.b64decode(re.search(r"base64,([^\"]+)", page.value)[1])


def test_a_stack_shows_each_picture_unchanged_with_its_description():
    frames = [picture("red"), picture("blue")]
    slider, stack = parts(feature_stack(frames, ["a", "b"], ["a red one", 'a "blue" <one>'], start=1))
    assert [shown_picture(page) for page in stack.children] == frames
    assert 'alt="a red one"' in stack.children[0].value
    assert 'alt="a &quot;blue&quot; &lt;one&gt;"' in stack.children[1].value
    assert slider.options == ("a", "b") and slider.index == stack.selected_index == 1
    assert slider.tooltip == slider.description == "feature"


def test_slider_and_stack_are_linked_in_the_browser_by_their_indices():
    slider, stack = parts(feature_stack([picture(), picture()], ["a", "b"], ["x", "y"]))
    links = [widget for widget in every_widget.values() if isinstance(widget, Link)]
    assert any(link.source == (slider, "index") and link.target == (stack, "selected_index") for link in links)
    assert isinstance(stack, Stack)


def test_where_widgets_have_no_stack_the_kernel_exchanges_the_pictures(monkeypatch):
    monkeypatch.delattr("ipywidgets.Stack")
    frames = [picture("red"), picture("blue")]
    slider, shown = parts(feature_stack(frames, ["a", "b"], ["a red one", "a blue one"], start=1))
    assert isinstance(shown, HTML) and shown_picture(shown) == frames[1]
    slider.value = "a"
    assert shown_picture(shown) == frames[0] and 'alt="a red one"' in shown.value


def test_a_figure_is_rendered_and_closed_and_equal_figures_give_equal_bytes():
    first, second = figure(), figure()
    data = png(first)
    assert data == png(second) and Image.open(io.BytesIO(data)).format == "PNG"
    assert not plt.fignum_exists(first.number)


def test_without_a_kernel_an_explorer_becomes_a_stack_of_evenly_spaced_options():
    drawn = []
    widget = explorer(lambda k: drawn.append(k) or figure(k), range(11), alt=lambda k: f"value {k}", live=False,
                      frames=3)
    slider, stack = parts(widget)
    assert drawn == [0, 5, 10] and slider.options == ("0", "5", "10")
    assert 'alt="value 5"' in stack.children[1].value


def test_an_explorer_has_one_figure_open_at_a_time():
    open_before, seen = len(plt.get_fignums()), []

    def draw(k):
        seen.append(len(plt.get_fignums()) - open_before)
        return figure(k)

    explorer(draw, range(3), alt=str, live=False)
    assert seen == [0, 0, 0]


def test_live_an_explorer_draws_what_is_chosen_and_nothing_before():
    drawn = []
    widget = explorer(lambda k: drawn.append(k) or figure(k), {"one": 1.0, "two": 2.0, "three": 3.0},
                      alt=lambda k: f"value {k}", live=True)
    slider, shown = parts(widget)
    assert drawn == [1.0] and slider.options == ("one", "two", "three")
    before = shown.value
    slider.value = "three"
    assert drawn == [1.0, 3.0] and shown.value != before and 'alt="value 3.0"' in shown.value


def test_there_is_no_live_kernel_outside_a_kernel_or_while_the_book_is_built(monkeypatch):
    import IPython

    assert not has_live_kernel()
    monkeypatch.setattr(IPython, "get_ipython", lambda: type("Shell", (), {"kernel": object()})())
    assert has_live_kernel()
    monkeypatch.setenv("GROUPCC_STATIC", "1")
    assert not has_live_kernel()


@pytest.mark.parametrize("changes, message", [
    (dict(frames=[], labels=[], alt=[]), "at least one frame"),
    (dict(labels=["a"]), "1 labels"),
    (dict(alt=["x"]), "1 alt texts"),
    (dict(labels=["a", "a"]), "'a' occurs more than once"),
    (dict(alt=["x", " "]), "alt text is empty"),
    (dict(start=2), "start is 2"),
    (dict(frames=[picture(), b"GIF89a"]), "expected the bytes of a PNG file"),
])
def test_bad_frames_are_one_clear_error(changes, message):
    arguments = dict(frames=[picture(), picture()], labels=["a", "b"], alt=["x", "y"]) | changes
    with pytest.raises(ValueError, match=message):
        feature_stack(**arguments)


def test_bad_options_are_one_clear_error():
    with pytest.raises(ValueError, match="options is empty"):
        explorer(figure, [], alt=str)
    with pytest.raises(ValueError, match="frames is 0"):
        explorer(figure, [1.0], alt=str, live=False, frames=0)


@pytest.mark.parametrize("start, index", [(-1, 2), (-3, 0), (1, 1)])
def test_a_start_may_be_counted_from_the_end(start, index):
    slider, shown = parts(feature_stack([picture()] * 3, ["a", "b", "c"], ["one", "two", "three"], start=start))
    assert slider.index == shown.selected_index == index


def test_steps_of_a_process_are_marked_for_the_page():
    settings = [picture()] * 2, ["a", "b"], ["one", "two"]
    assert "plays" in feature_stack(*settings, plays=True)._dom_classes
    assert "plays" not in feature_stack(*settings)._dom_classes
