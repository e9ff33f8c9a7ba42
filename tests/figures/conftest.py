"""Axes in the book's style."""

import matplotlib.pyplot as plt
import pytest

from groupcc_lite.figures import house_style


@pytest.fixture
def ax():
    with house_style():
        figure, ax = plt.subplots(figsize=(6, 4))
    yield ax
    plt.close(figure)
