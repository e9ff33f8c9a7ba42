"""Living features of a coder, and the census of planted ones."""

import numpy as np
import pytest
import torch

from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.groups import dihedral
from groupcc_lite.symmetry.block_action import act
from groupcc_lite.symmetry.census import living_dictionary, small_census
from groupcc_lite.symmetry.spectra import irrep_power
from groupcc_lite.symmetry.stabiliser import stabilisers

G = dihedral(4)


def test_latents_that_never_fire_are_left_out():
    coder = GroupCrosscoder(G, 3, 5)
    D, features = living_dictionary(coder, np.array([0.0, 0.5, 0.0, 1e-9, 1.0]))
    assert features.tolist() == [1, 3, 4] and D.shape == (3, 8, 3) and not D.requires_grad
    assert torch.equal(D, coder.dictionary[[1, 3, 4]])


def test_frequencies_of_another_coder_are_refused():
    with pytest.raises(ValueError, match=r"frequency has shape \(4,\); expected \(5,\)"):
        living_dictionary(GroupCrosscoder(G, 3, 5), np.ones(4))


def test_a_census_counts_planted_symmetries():
    base = torch.randn(4, 8, 20, generator=torch.Generator().manual_seed(0))
    invariant = torch.stack([act(base[:2], G, h) for h in range(8)]).mean(0)
    halfturn = (base[2:3] + act(base[2:3], G, 2)) / 2
    D = torch.cat([invariant, halfturn, base[3:]])
    census = small_census(D, G)
    assert census.counts == {"all": 2, "half turn": 1, "none": 1}
    assert census.stabilisers == stabilisers(D, G)
    assert torch.equal(census.power, irrep_power(D, G))
    assert small_census(D[2:3], G, tau=0.7).counts != small_census(base[2:3], G, tau=0.7).counts
