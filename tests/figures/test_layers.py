import numpy as np
import pytest
from matplotlib.figure import Figure

from groupcc_lite.figures import depth_lines


def test_a_line_is_the_mean_of_its_seeds():
    ax = depth_lines({"trained": np.array([[1.0, 3.0], [2.0, 2.0]]), "random": np.array([0.0, 1.0])}, ["a", "b"],
                     Figure().subplots())
    assert ax.lines[0].get_ydata().tolist() == [2.0, 2.0]
    assert [line.get_label() for line in ax.lines if not line.get_label().startswith("_")] == [
        "trained weights", "random weights"]


def test_errors_name_what_does_not_fit(unchecked):
    with pytest.raises(ValueError, match="values has told; expected trained and random"):
        depth_lines({"told": np.zeros(2)}, ["a", "b"], Figure().subplots())
    with pytest.raises(ValueError, match="trained has 3 rows for 2 layers"):
        depth_lines({"trained": np.zeros(3)}, ["a", "b"], Figure().subplots())
