"""What is measured on robust networks: known answers, and controls that must fail."""

import torch

from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import dihedral
from groupcc_lite.models import ShapeNaming, load_model, load_tiny
from groupcc_lite.stimuli import sample_drawings
from groupcc_lite.studies import attacks_turn, layer_symmetry, three_versions, turned_drawings
from groupcc_lite.superposition import L2Attack, RobustNetwork, reference_weights


def test_turned_drawings_are_still_named():
    """At the turned places; at those where the shapes were before, they are not."""
    scenes, action, network = sample_drawings(24, seed=4), PlanarAction(dihedral(4)), load_tiny()
    for element in range(8):
        turned = turned_drawings(scenes, action, element)
        assert ShapeNaming(network, turned).accuracy(turned.images) > 0.9
    stale = ShapeNaming(network, scenes).accuracy(turned_drawings(scenes, action, 1).images)
    assert stale < 0.5


def test_an_attack_on_an_invariant_loss_turns_exactly():
    """L2Attack of a loss that turns with the image, from turned starts too: by one step of a linear loss."""
    action = PlanarAction(dihedral(4))
    x = torch.full((1, 3, 16, 16), 0.5)
    ramp = torch.linspace(-1, 1, 16).expand(3, 16, 16)[None]
    for element in range(8):
        turned = action.images(ramp, 16, elements=[element])[0]
        first = L2Attack(0.2, 8)(lambda images: (images * ramp).sum((1, 2, 3)), x) - x
        second = L2Attack(0.2, 8)(lambda images, turned=turned: (images * turned).sum((1, 2, 3)), x) - x
        moved = action.images(first, 16, elements=[element])[0]
        assert torch.nn.functional.cosine_similarity(moved.flatten(1), second.flatten(1)) > 0.99


def test_attacks_of_a_robust_network_turn_more_than_chance():
    """Those of the plain built-in one do so for some elements only: own cosines between -0.02 and 0.04."""
    found = attacks_turn(load_tiny(reference_weights(RobustNetwork("attack", 0.5, 0))), 0.5, drawings=8)
    assert float(found.own[0]) > 0.999
    assert (found.own[1:] > found.other[1:]).all() and float(found.random.abs().max()) < 0.05


def test_noise_has_the_norm_of_the_attack():
    found = three_versions(load_tiny(), 0.5, drawings=8)
    used, noise = ((found[name] - found["clean"]).flatten(1).norm(dim=1) for name in ("attacked", "noisy"))
    torch.testing.assert_close(used, noise, rtol=0.05, atol=0.02)


def test_an_untrained_network_is_measured_as_well():
    found = layer_symmetry(load_model(weights="random"), drawings=24, points=8)
    assert found.ceiling < 1 and 0 < found.error
