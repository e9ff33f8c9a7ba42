"""Drawn features: equivariant where they should be, with the stabilisers that geometry says."""

import pytest
import torch

from groupcc_lite.actions import PlanarAction
from groupcc_lite.answers.planted_drawings import (
    drawing,
    drawing_responses,
    drawn_features,
    drawn_problem,
    shape_stabiliser,
)
from groupcc_lite.answers.scoring import score
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.stimuli import SHAPE_NAMES, SHAPES
from groupcc_lite.symmetry import act, stabilisers


@pytest.mark.parametrize("group", [cyclic(4), dihedral(4), dihedral(5), dihedral(16)], ids=lambda G: G.name)
def test_computed_stabilisers_are_those_of_geometry(group):
    """The T-junction is a line and half a line, so like its copies that the rule may take it for more symmetric."""
    action = PlanarAction(group)
    read = stabilisers(drawn_features(action), group)
    found = {shape.name: s.subgroup for shape, s in zip(SHAPES, read, strict=True)}
    true = {shape.name: shape_stabiliser(shape, action) for shape in SHAPES}
    assert {name for name in true if found[name] != true[name]} <= {"T-junction"}
    assert set(true["T-junction"].elements) <= set(found["T-junction"].elements)


def test_stabilisers_by_hand():
    action = PlanarAction(dihedral(4))
    names = {shape.name: shape_stabiliser(shape, action).label for shape in SHAPES}
    assert (names["curve"], names["line"], names["blob"]) == ("one mirror", "C2 x C2", "all")
    assert shape_stabiliser(SHAPES[SHAPE_NAMES.index("line")], action).elements == (0, 2, 4, 6)


def test_responses_move_with_the_picture():
    """A quarter turn of the picture is a quarter turn of the responses, to rounding; a constant has none."""
    picture = drawing("curve", PlanarAction(cyclic(1)))[0].mean(0)
    side = int(drawing_responses(picture).numel() ** 0.5)
    turned = drawing_responses(torch.rot90(picture)).view(side, side)
    torch.testing.assert_close(turned, torch.rot90(drawing_responses(picture).view(side, side)), atol=1e-6, rtol=0)
    assert drawing_responses(torch.full((96, 96), 0.7)).abs().max() < 1e-6


@pytest.fixture(scope="module")
def problem():
    return drawn_problem(PlanarAction(dihedral(4)), channels=32)


def test_families_are_complete_orbits(problem):
    """Every feature is its mover applied to the family's first; orbits have |G| / |stabiliser| features."""
    for family in problem.family.unique():
        members = (problem.family == family).nonzero().flatten().tolist()
        assert len(members) * problem.stabiliser[members[0]].order == problem.group.order
        base = problem.dictionary[members[:1]]
        for j in members:
            moved = act(base, problem.group, int(problem.mover[j]))
            torch.testing.assert_close(problem.dictionary[[j]], moved, atol=1e-5, rtol=0)


def test_the_truth_has_its_own_stabilisers(problem):
    """But for the T-junction, whose four poses the rule takes for something more symmetric."""
    found = score(problem.dictionary, problem)
    assert found.cosine == pytest.approx(1, abs=1e-5) and found.stabiliser == pytest.approx(1 - 4 / problem.features)
    torch.testing.assert_close(problem.dictionary.norm(dim=2), torch.ones(problem.features, 8), atol=1e-4, rtol=0)


def test_more_channels_than_pictures_span(problem):
    with pytest.raises(ValueError, match="channels is 64; expected 1 to 37"):
        drawn_problem(PlanarAction(dihedral(4)), channels=64)
