"""The asymmetry of a set of orbits: from second moments that are formed, and where it is known."""

import pytest
import torch

from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.symmetry import act, orbit_asymmetry


def test_pairs_of_orbits_say_what_the_second_moments_say():
    """A slow reference: C of either set, moved by every element."""
    G, generator = dihedral(3), torch.Generator().manual_seed(0)
    a, b = (torch.randn(7, 6, 2, generator=generator) * torch.arange(1.0, 7.0)[:, None] for _ in range(2))
    mean = torch.cat([a, b]).mean((0, 1))

    def moments(x):
        flat = (x - mean).flatten(1)
        return flat.T @ flat / len(flat)

    agree = [float((moments(act(a, G, h)) * moments(b)).sum()) for h in range(G.order)]
    assert orbit_asymmetry(a, b, G) == pytest.approx(1 - sum(agree) / 6 / agree[0], abs=1e-4)


def test_sets_that_hold_every_pose_of_theirs_have_none():
    G, generator = dihedral(4), torch.Generator().manual_seed(1)
    sets = [torch.cat([act(x, G, h) for h in range(G.order)])
            for x in torch.randn(2, 5, 8, 3, generator=generator)]
    assert orbit_asymmetry(*sets, G) == pytest.approx(0, abs=1e-5)


def test_one_block_alone_by_hand():
    """<h.C, C> is 0 but for h = e, so three quarters of C change. The mean is 0 by signs."""
    x = torch.zeros(2, 4, 1)
    x[:, 0, 0] = torch.tensor([1.0, -1.0])
    assert orbit_asymmetry(x, x, cyclic(4)) == pytest.approx(0.75)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="channels"):
        orbit_asymmetry(torch.ones(2, 4, 3), torch.ones(2, 4, 3), cyclic(3))
    with pytest.raises(ValueError, match="no second moments"):
        orbit_asymmetry(torch.ones(2, 4, 3), torch.ones(2, 4, 3), cyclic(4))
