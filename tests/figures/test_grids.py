"""Pictures in grids, and points on them: what is drawn."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from groupcc_lite.figures.grids import feature_grid, points_on_image


def test_points_lie_in_pixels_from_the_image_centre(ax):
    points_on_image(torch.zeros(3, 10, 10), torch.tensor([[2.0, -3.0]]), ax, mask_radius=4.0)
    assert ax.collections[0].get_offsets().tolist() == [[2, -3]]
    assert ax.images[0].get_extent() == [-5, 5, 5, -5]  # y down
    assert ax.patches[0].get_radius() == 4


def test_pictures_may_have_their_channels_first_or_last(ax):
    images = torch.rand(2, 3, 6, 6)
    feature_grid(images, ax)
    feature_grid(images.permute(0, 2, 3, 1).numpy(), ax)
    assert np.array_equal(ax.images[0].get_array(), ax.images[2].get_array())


def test_the_number_of_columns_follows_the_shape_of_the_axes():
    widths = []
    for size in ((8, 2), (2, 8)):
        figure, ax = plt.subplots(figsize=size)
        feature_grid(torch.rand(12, 4, 4), ax)
        widths.append(ax.get_xlim()[1])
        plt.close(figure)
    assert widths[0] > 2 * widths[1]
