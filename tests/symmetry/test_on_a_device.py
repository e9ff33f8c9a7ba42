"""Public functions take tensors of any device, and give the numbers of the CPU."""

import numpy as np
import pytest
import torch
from fake_device import DEVICE, FakeDevice
from small import small_model

from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.groups import cyclic, dihedral, product
from groupcc_lite.symmetry import block_action, ceiling, census, equivariance, families, similarity, spectra, stabiliser
from groupcc_lite.symmetry import feature_visualisation as pictures

G = dihedral(4)
D = torch.randn(6, 8, 5, generator=torch.Generator().manual_seed(0))
FUNCTIONS = {
    "act": lambda D: block_action.act(D, G, 5), "paper_reflection": lambda D: block_action.paper_reflection(D, G),
    "on_factor": lambda D: block_action.on_factor(D, (cyclic(4), cyclic(2)), 1),
    "max_cosine": lambda D: similarity.max_cosine(D, G),
    "elements": lambda D: similarity.max_cosine(D, G, elements=True).element,
    "nearest_neighbours": lambda D: similarity.nearest_neighbours(D, G, 4).similarity,
    "their rows": lambda D: similarity.nearest_neighbours(D, G, 4).row,
    "their elements": lambda D: similarity.nearest_neighbours(D, G, 4).element,
    "distances_to_labels": lambda D: similarity.distances_to_labels(D, G, torch.arange(6) % 2),
    "printed_similarity": lambda D: similarity.printed_similarity(D, G),
    "self_similarity": lambda D: similarity.self_similarity(D, G), "block_cosines": similarity.block_cosines,
    "irrep_power": lambda D: spectra.irrep_power(D, G),
    "equivariance_score": lambda D: equivariance.equivariance_score(D, G),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_computed_stays_on_the_device(name):
    with FakeDevice():
        found = FUNCTIONS[name](D.to(DEVICE))
        assert found.device == DEVICE
        torch.testing.assert_close(found.cpu(), FUNCTIONS[name](D), atol=1e-6, rtol=1e-5)


def test_labels_come_back_to_the_host():
    K = product(cyclic(4), cyclic(2))
    with FakeDevice():
        for group in (G, K):
            assert stabiliser.stabilisers(D.to(DEVICE), group) == stabiliser.stabilisers(D, group)
        coder = GroupCrosscoder(G, 5, 6).to(DEVICE)
        kept, features = census.living_dictionary(coder, np.arange(6) % 2.0)
        assert kept.device == torch.device("cpu") and features.tolist() == [1, 3, 5]
        gap = families.distance(similarity.max_cosine(D.to(DEVICE), G))
        labels = families.label_by_response(coder, D[:, 0].to(DEVICE), torch.arange(6).to(DEVICE))
    np.testing.assert_allclose(gap, families.distance(similarity.max_cosine(D, G)), atol=1e-6)
    assert labels.response.shape == (6, 6)


@pytest.mark.parametrize("held_out", ["there", "here"])
def test_the_ceiling_is_summed_where_the_training_batches_lie(held_out):
    blocks = torch.randn(60, 3, 4, generator=torch.Generator().manual_seed(1))
    blocks[:, 1] += blocks[:, 0]
    train, test = blocks[:40].split(8), blocks[40:].split(10)
    expected = ceiling.linear_ceiling(train, test)
    with FakeDevice():
        moved = [batch.to(DEVICE) for batch in test] if held_out == "there" else test
        found = ceiling.linear_ceiling([batch.to(DEVICE) for batch in train], moved)
        assert found.device == DEVICE
        torch.testing.assert_close(found.cpu(), expected, atol=1e-5, rtol=0)


def test_activations_and_pictures_of_a_network_elsewhere():
    model = small_model()
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    direction = torch.randn(6, generator=torch.Generator().manual_seed(1))
    expected = families.centre_activations(model, images)
    frames = pictures.render_steps(model, direction, [1], size=24)
    with FakeDevice():
        moved = small_model().to(DEVICE)
        for given in (images, images.to(DEVICE)):
            torch.testing.assert_close(families.centre_activations(moved, given), expected)
        assert np.abs(pictures.render_steps(moved, direction.to(DEVICE), [1], size=24) - frames).max() < 2 / 255
        assert pictures.picture_responses(moved, frames, direction[None]).device == torch.device("cpu")
