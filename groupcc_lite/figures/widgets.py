"""Widgets that move in a live notebook and, without a kernel, on a static page.

A page of the book has no Python behind it, so `interact` is dead there. What works is a link that the browser itself
follows: `feature_stack` holds one picture per feature and a slider whose position selects the picture. `explorer` calls
Python on every change where there is a live kernel, and becomes such a stack where there is none.

Google Colab brings ipywidgets 7, loaded before the first cell runs. It has no `Stack`, so there the kernel follows.
"""

from __future__ import annotations

import base64
import html
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from groupcc_lite.base import require

_PNG = b"\x89PNG\r\n\x1a\n"
_WIDTH = "560px"


def feature_stack(frames: Sequence[bytes | Figure], labels: Sequence[str], alt: Sequence[str], *,
                  description: str = "feature", start: int = 0, plays: bool = False, width: str = _WIDTH) -> Any:
    """A slider over pictures that works without a kernel, an `ipywidgets.VBox`.

    `frames`: PNG bytes, or figures, which are rendered and closed. `labels`: what the slider says at each. `alt`: each
    picture's description for those who cannot see it. `start`: the frame shown first, counted from the end if negative.
    `plays`: the frames are steps of one process; a page of the book then goes through them once, when the slider comes
    into sight, unless its reader wants no motion. `width` is the largest width; narrow screens shrink it.
    ValueError for no frames, for other numbers of labels or alt texts, and for empty or repeated ones.

    >>> figures = [Figure(), Figure()]
    >>> stack = feature_stack(figures, ["3", "7"], ["a bar", "a ring"])
    >>> stack.children[0].options
    ('3', '7')
    """
    _check(frames, labels, alt, start)
    start %= len(frames)
    ipywidgets = _ipywidgets()
    tags = [_image_tag(png(frame), text, width) for frame, text in zip(frames, alt, strict=True)]
    slider = _slider(labels, description, width, index=start, continuous_update=True)
    if not hasattr(ipywidgets, "Stack"):
        return _followed(slider, tags.__getitem__)
    stack = ipywidgets.Stack([ipywidgets.HTML(tag) for tag in tags], selected_index=start)
    slider.tooltip = description  # otherwise a page without a kernel shows "null" as one
    ipywidgets.jslink((slider, "index"), (stack, "selected_index"))
    box = ipywidgets.VBox([slider, stack], layout=ipywidgets.Layout(overflow="hidden"))
    return box.add_class("plays") if plays else box


def explorer(callback: Callable[[Any], Figure], options: Mapping[str, Any] | Sequence[Any], *,
             alt: Callable[[Any], str], description: str = "feature", live: bool | None = None,
             frames: int = 24, width: str = _WIDTH) -> Any:
    """Walk through `options`, drawing each with `callback(option) -> Figure`; an `ipywidgets.VBox`.

    Live, every option is offered and drawn when it is chosen. Otherwise at most `frames` of them, evenly spaced, are
    drawn beforehand and put on a `feature_stack`. `options` maps labels to values, or lists values; `alt(option)`
    describes a picture. `live` defaults to `has_live_kernel()`.

    >>> moved = explorer(lambda angle: Figure(), [0, 90], alt=lambda angle: f"turned by {angle}", live=False)
    >>> moved.children[0].options
    ('0', '90')
    """
    choices = dict(options) if isinstance(options, Mapping) else {str(option): option for option in options}
    if not choices:
        raise ValueError("options is empty; expected at least one thing to look at")
    if not (has_live_kernel() if live is None else live):
        if frames < 1:
            raise ValueError(f"frames is {frames}; expected at least 1")
        names = list(choices)
        count = min(frames, len(names))
        names = [names[round(k * (len(names) - 1) / max(count - 1, 1))] for k in range(count)]
        pictures = [png(callback(choices[name])) for name in names]  # one open figure at a time
        return feature_stack(pictures, names, [alt(choices[name]) for name in names], description=description,
                             width=width)
    values = list(choices.values())
    return _followed(_slider(list(choices), description, width, continuous_update=False),
                     lambda index: _image_tag(png(callback(values[index])), alt(values[index]), width))


def _ipywidgets() -> ModuleType:
    return require("ipywidgets", "widgets")


def _slider(labels: Sequence[str], description: str, width: str, **settings: Any) -> Any:
    ipywidgets = _ipywidgets()
    return ipywidgets.SelectionSlider(options=list(labels), description=description,
                                      style={"description_width": "initial"},
                                      layout=ipywidgets.Layout(width="100%", max_width=width), **settings)


def _followed(slider: Any, tag: Callable[[int], str]) -> Any:
    """The slider above the picture `tag(index)`, which the kernel exchanges on every change."""
    ipywidgets = _ipywidgets()
    picture = ipywidgets.HTML(tag(slider.index))

    def follow(change: dict[str, Any]) -> None:
        picture.value = tag(change["new"])

    slider.observe(follow, names="index")
    return ipywidgets.VBox([slider, picture], layout=ipywidgets.Layout(overflow="hidden"))


def has_live_kernel() -> bool:
    """Whether somebody may be moving sliders: in a kernel, unless the book is being built (GROUPCC_STATIC is set)."""
    shell = sys.modules.get("IPython")
    instance = shell.get_ipython() if shell is not None else None
    return hasattr(instance, "kernel") and not os.environ.get("GROUPCC_STATIC")


def png(frame: bytes | Figure) -> bytes:
    """The picture as PNG bytes; a figure is rendered on white without spare margins, and closed.

    >>> png(Figure())[:4]
    b'\x89PNG'
    """
    if isinstance(frame, Figure):
        buffer = io.BytesIO()
        # No software name or date in the file: equal figures make equal pages.
        frame.savefig(buffer, format="png", bbox_inches="tight", metadata={"Software": None})
        plt.close(frame)
        return buffer.getvalue()
    if not frame.startswith(_PNG):
        raise ValueError(f"a frame begins with {frame[:8]!r}; expected the bytes of a PNG file, or a figure")
    return frame


def _image_tag(data: bytes, alt: str, width: str) -> str:
    # ipywidgets.Image has no alt text, so the picture travels inside HTML.
    source = base64.b64encode(data).decode()
    return (f'<img src="data:image/png;base64,{source}" alt="{html.escape(alt, quote=True)}" '
            f'style="width: 100%; max-width: {html.escape(width, quote=True)}; height: auto; background: white">')


def _check(frames: Sequence[Any], labels: Sequence[str], alt: Sequence[str], start: int) -> None:
    if not len(frames) or len(labels) != len(frames) or len(alt) != len(frames):
        raise ValueError(f"{len(frames)} frames, {len(labels)} labels and {len(alt)} alt texts; expected one of each "
                         "per frame, and at least one frame")
    repeated = sorted({label for label in labels if list(labels).count(label) > 1})
    if repeated:
        raise ValueError(f"the label {repeated[0]!r} occurs more than once; the slider needs distinct labels")
    if not all(text.strip() for text in alt):
        raise ValueError("an alt text is empty; describe every picture for readers who cannot see it")
    if not -len(frames) <= start < len(frames):
        raise ValueError(f"start is {start}; expected {-len(frames)} to {len(frames) - 1}")
