"""Colours: the hue circle against hand and references, the group law, the cube, products with the plane, whole runs."""

import colorsys
import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from small import Stem, noise_images, small_model

from groupcc_lite.actions.colour import ColourAction, hue_matrices, product_action
from groupcc_lite.actions.planar import PlanarAction
from groupcc_lite.base import digest
from groupcc_lite.groups import cyclic, dihedral, parse_group, product
from groupcc_lite.models import wrap_model
from groupcc_lite.orbits import OrbitStore, sample_orbits
from groupcc_lite.runs import Run
from groupcc_lite.stimuli import TensorImages
from groupcc_lite.symmetry import irrep_power, stabilisers

SWAP = [np.eye(3), np.eye(3)[[2, 1, 0]]]  # red and blue
CORNERS = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)), dtype=torch.float64)
groups = st.sampled_from([*map(cyclic, range(1, 9)), *map(dihedral, range(1, 7))])


def pixels(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seen(action, colours):
    """What becomes of colours (k, 3) under each element: (|G|, k, 3)."""
    return action.images(torch.as_tensor(colours, dtype=torch.float64)[:, :, None, None], 1)[..., 0, 0]


# ---------------------------------------------------------------------------------------------- the hue circle

def test_red_turns_to_yellow_and_green_by_hand():
    full = seen(ColourAction(cyclic(6), saturation=1.0), [[1.0, 0, 0]])[:, 0]
    third = 1 / 3
    expected = [[1, 0, 0], [2 * third, 2 * third, -third], [0, 1, 0], [-third, 2 * third, 2 * third], [0, 0, 1],
                [2 * third, -third, 2 * third]]
    torch.testing.assert_close(full, torch.tensor(expected, dtype=torch.float64))
    faded = seen(ColourAction(cyclic(6)), [[1.0, 0, 0]])[:3, 0]
    expected = [[2 / 3, 1 / 6, 1 / 6], [1 / 2, 1 / 2, 0], [1 / 6, 2 / 3, 1 / 6]]
    torch.testing.assert_close(faded, torch.tensor(expected, dtype=torch.float64))


def test_thirds_pass_the_channels_on_and_the_mirror_swaps_green_and_blue():
    x = pixels(2, 3, 4, 4)
    views = ColourAction(dihedral(3)).images(x)
    assert torch.equal(views[0], x)
    assert torch.equal(views[1], x[:, [2, 0, 1]])  # red goes to green, green to blue, blue to red
    assert torch.equal(views[3], x[:, [0, 2, 1]])
    assert torch.equal(views[4], x[:, [2, 0, 1]][:, [0, 2, 1]])  # s r: first turned, then mirrored
    assert len({digest(view.tolist()) for view in views}) == 6


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 16])
def test_hue_turns_are_rotations_about_the_grey_axis(n):
    axis = np.ones(3) / np.sqrt(3)
    slow = Rotation.from_rotvec(np.outer(2 * np.pi * np.arange(n) / n, axis)).as_matrix()
    np.testing.assert_allclose(ColourAction(cyclic(n)).colours, slow, atol=1e-12)


def test_the_hue_of_other_software_goes_round_once():
    """At multiples of 60 degrees HSV, which goes round a hexagon, has the hue that we have, who go round a circle."""
    views = seen(ColourAction(cyclic(6)), [[0.8, 0.2, 0.2]])[:, 0].tolist()
    hues = [colorsys.rgb_to_hsv(*colour)[0] for colour in views]
    np.testing.assert_allclose(hues, np.arange(6) / 6, atol=1e-9)


@given(groups)
def test_greys_stay_and_brightness_is_kept(G):
    action, x = ColourAction(G), pixels(20, 3)
    torch.testing.assert_close(seen(action, x).mean(-1), x.mean(-1).expand(G.order, 20))
    grey = x.mean(-1, keepdim=True).expand(20, 3)
    torch.testing.assert_close(seen(action, grey), grey.expand(G.order, 20, 3))


# -------------------------------------------------------------------------------------------------------- laws

@given(groups)
def test_images_are_an_action(G):
    """Views are not faded again: the law is that of the same matrices at full saturation."""
    x, full = pixels(2, 3, 3, 3), ColourAction(G, saturation=1.0)
    for action in (ColourAction(G), full, ColourAction(G, saturation=0.3)):
        views = action.images(x)
        for g in range(G.order):
            torch.testing.assert_close(full.images(views[g]), views[G.table[:, g].tolist()], rtol=0, atol=1e-12)


@pytest.mark.parametrize("G", [cyclic(3), dihedral(3), dihedral(1), cyclic(6), dihedral(6), cyclic(9)], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_permutations_after_any_element_are_bit_for_bit(G, dtype):
    x, full = pixels(2, 3, 5, 5).to(dtype), ColourAction(G, saturation=1.0)
    permutes = np.flatnonzero(np.isin(full.colours, (0, 1)).all(axis=(1, 2))).tolist()
    assert len(permutes) == {3: 3, 6: 6 if G.name == "D_3" else 3, 2: 2, 12: 6, 9: 3}[G.order]
    for action in (ColourAction(G), full):
        views = action.images(x)
        assert views.dtype == dtype
        for g in range(G.order):
            assert torch.equal(full.images(views[g], elements=permutes), views[G.table[permutes, g].tolist()])


def test_a_wrong_order_is_not_the_action():
    """Negative control of the two laws above: in D_3 the products taken the other way round differ."""
    G, x = dihedral(3), pixels(2, 3, 3, 3)
    action = ColourAction(G)
    views = action.images(x)
    assert not all(torch.equal(action.images(views[g]), views[G.table[g].tolist()]) for g in range(G.order))


# ---------------------------------------------------------------------------------------------------- the cube

@given(groups)
def test_no_colour_leaves_the_cube_and_the_saturation_is_the_largest_that_does_it(G):
    action = ColourAction(G)
    colours = torch.cat([CORNERS, pixels(200, 3)])
    views = seen(action, colours)
    assert views.min() > -1e-9 and views.max() < 1 + 1e-9
    if action.saturation < 1:
        more = seen(ColourAction(G, saturation=action.saturation + 1e-3), CORNERS)
        assert more.min() < -1e-4 or more.max() > 1 + 1e-4


def test_saturations_by_hand():
    assert ColourAction(cyclic(3)).saturation == ColourAction(dihedral(3)).saturation == 1
    assert ColourAction(cyclic(2), SWAP).saturation == 1
    assert ColourAction(cyclic(6)).saturation == ColourAction(cyclic(2)).saturation == 0.5
    assert 0.5 < ColourAction(cyclic(5)).saturation < 0.52  # no fifth of a turn takes a primary to the opposite hue
    assert ColourAction(cyclic(6), saturation=0.25).saturation == 0.25


# ------------------------------------------------------------------------------------------------ with the plane

@pytest.mark.parametrize("plane", [PlanarAction(cyclic(4)), PlanarAction(dihedral(2)), PlanarAction(cyclic(8))],
                         ids=repr)
@pytest.mark.parametrize("colour", [ColourAction(cyclic(3)), ColourAction(cyclic(2), SWAP), ColourAction(cyclic(4))],
                         ids=repr)
def test_a_product_does_both_in_either_order(plane, colour):
    both = product_action(plane, colour)
    assert both.group == product(plane.group, colour.group) and both.group.names[1] == "(e, r)"
    size, H = 8, colour.group.order
    x = pixels(2, 3, both.source_size(size), both.source_size(size))
    assert both.source_size(size) == plane.source_size(size)
    views, moved, recoloured = both.images(x, size), plane.images(x, size), colour.images(x)
    p = pixels(4, 2) - 0.5
    for g, h in itertools.product(range(plane.group.order), range(H)):
        assert torch.equal(views[g * H + h], colour.images(moved[g], elements=[h])[0])
        torch.testing.assert_close(views[g * H + h], plane.images(recoloured[h], size, [g])[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(both.points(p)[g * H + h], plane.points(p)[g], rtol=0, atol=1e-12)
        assert both.exact[g * H + h] == plane.exact[g]


def test_layout_chosen_elements_and_what_does_not_move():
    action = ColourAction(cyclic(6))
    x = pixels(2, 3, 9, 11)
    views = action.images(x, 5)
    assert views.shape == (6, 2, 3, 5, 5) and torch.equal(action.images(x, 5, [4, 0]), views[[4, 0]])
    assert action.source_size(5) == 5 and action.exact.all()
    p = pixels(3, 2)
    assert torch.equal(action.points(p), p.expand(6, 3, 2))
    assert repr(action) == "ColourAction(C_6 (order 6), colours only, saturation 0.5)"
    assert "plane and colours" in repr(product_action(PlanarAction(cyclic(4)), action))


def test_a_quarter_turn_that_also_turns_the_hue():
    """Both parts may depend on one element: a group need not be a product."""
    G = cyclic(6)
    action = ColourAction(G, matrices=PlanarAction(G).matrices)
    x = pixels(1, 3, action.source_size(6), action.source_size(6))
    for g in range(6):
        expected = ColourAction(G).images(PlanarAction(G).images(x, 6, [g])[0], elements=[g])
        assert torch.equal(action.images(x, 6, [g]), expected)


# ------------------------------------------------------------------------------------------------- addresses

def test_fingerprints_tell_actions_apart_and_are_json():
    hue, swap = ColourAction(cyclic(2)), ColourAction(cyclic(2), SWAP)
    actions = [PlanarAction(cyclic(2)), hue, swap, ColourAction(cyclic(2), saturation=0.4),
               ColourAction(cyclic(2), matrices=PlanarAction(cyclic(2)).matrices)]
    assert len({digest(action.fingerprint) for action in actions}) == 5
    assert json.loads(json.dumps(hue.fingerprint)) == ColourAction(cyclic(2)).fingerprint


TINY = dict(latents=24, k=4, steps=40, batch_size=32, points_per_image=8, mask_radius=7.0)


def make_run(folder, action, model=None, **changes):
    model = small_model() if model is None else model
    images = noise_images(20, action.source_size(model.input_size))
    return Run("smoke", model=model, images=images, action=action, work=folder, **(TINY | changes))


def address(run):
    return run.recipes.orbits("train").key


def test_other_colours_never_share_an_address(tmp_path):
    actions = [PlanarAction(cyclic(2)), ColourAction(cyclic(2)), ColourAction(cyclic(2), SWAP),
               ColourAction(cyclic(2), saturation=1.0)]
    assert len({address(make_run(tmp_path, action)) for action in actions}) == 4


def test_a_folder_of_orbits_is_never_taken_for_those_of_other_colours(tmp_path):
    model, source = small_model(), TensorImages(noise_images(3, 32))
    settings = dict(points_per_image=3, mask_radius=7.0, progress=False)
    OrbitStore.make(tmp_path, model, ColourAction(cyclic(2)), source, **settings)
    with pytest.raises(ValueError, match=r"other settings \(action differ\)"):
        OrbitStore.make(tmp_path, model, ColourAction(cyclic(2), SWAP), source, **settings)
    assert len(OrbitStore.make(tmp_path, model, ColourAction(cyclic(2)), source, **settings)) == 9


# ------------------------------------------------------------------------------------------------- whole runs

def colour_blind_model():
    """Sees only the mean of the channels."""
    stem = Stem()
    stem.first.weight.data = stem.first.weight.data.mean(1, keepdim=True).expand(-1, 3, -1, -1).clone()
    return wrap_model(stem, "features", input_size=32)


def test_orbits_through_a_colour_blind_network_are_all_alike(tmp_path):
    action, x = product_action(PlanarAction(cyclic(2)), ColourAction(cyclic(6))), noise_images(2, 32)
    settings = dict(points_per_image=4, mask_radius=7.0)
    blind = sample_orbits(colour_blind_model(), action, x, **settings).blocks.unflatten(1, (2, 6))
    torch.testing.assert_close(blind, blind[:, :, :1].expand_as(blind), rtol=0, atol=1e-5)
    assert (blind[:, 0] - blind[:, 1]).abs().max() > 0.1
    seeing = sample_orbits(small_model(), action, x, **settings).blocks.unflatten(1, (2, 6))
    assert (seeing[:, :, 0] - seeing[:, :, 3]).abs().max() > 0.1


@pytest.mark.parametrize("action", [ColourAction(cyclic(6)), ColourAction(cyclic(2), SWAP),
                                    product_action(PlanarAction(cyclic(4)), ColourAction(cyclic(2), SWAP))], ids=repr)
def test_a_crosscoder_of_a_colour_blind_network_is_colour_invariant(tmp_path, action):
    """Every stabiliser holds all colours, and nearly all power is invariant; a network that sees colour is control."""
    colours = set(action.group.generated([1]))
    invariant = {}
    for name, model in (("blind", colour_blind_model()), ("seeing", small_model())):
        run = make_run(tmp_path / name, action, model, steps=400, lr=0.01, latents=12)
        coder = run.coder()
        D = coder.dictionary.detach().cpu()[run.evaluate(coder).frequency > 0]
        by_colour = D.unflatten(1, (-1, len(colours))).transpose(1, 2).flatten(2)
        invariant[name] = irrep_power(by_colour, cyclic(len(colours)))[:, 0]
        keeps = [colours <= set(s.subgroup.elements) for s in stabilisers(D, action.group)]
        assert len(D) >= 6 and (all(keeps) if name == "blind" else sum(keeps) <= 2)
    assert invariant["blind"].min() > 0.98 > 0.8 > invariant["seeing"].median()


# -------------------------------------------------------------------------------------------------- bad input

@pytest.mark.parametrize("make, message", [
    (lambda: ColourAction(parse_group("C_4 x C_2")), "how C_4 x C_2 changes colours is not known; .* or pass colours"),
    (lambda: ColourAction(cyclic(2), SWAP[:1]), r"colours have shape \(1, 3, 3\); expected \(2, 3, 3\)"),
    (lambda: ColourAction(cyclic(2), [np.eye(3), -np.eye(3)]), "colour matrix of r is .*; expected rows and columns"),
    (lambda: ColourAction(cyclic(2), [np.eye(3), np.nan * np.eye(3)]), "expected rows and columns that sum to 1"),
    (lambda: ColourAction(cyclic(3), [*SWAP, np.eye(3)]), "colours are no action of C_3: the matrix of r times"),
    (lambda: ColourAction(cyclic(2), [SWAP[1], SWAP[1]]), "colours are no action of C_2"),
    (lambda: ColourAction(cyclic(3), hue_matrices(PlanarAction(cyclic(3)).matrices)[[0, 2, 2]]), "no action of C_3"),
    (lambda: ColourAction(cyclic(2), SWAP, PlanarAction(cyclic(4)).matrices), "matrices have shape"),
    (lambda: ColourAction(cyclic(6), saturation=0.0), "saturation is 0.0; expected a share .* here 0.5"),
    (lambda: ColourAction(cyclic(6), saturation=1.5), "saturation is 1.5"),
    (lambda: product_action(ColourAction(cyclic(3)), ColourAction(cyclic(3))), "plane is ColourAction.*expected an"),
    (lambda: product_action(PlanarAction(dihedral(4)), ColourAction(dihedral(3), matrices=PlanarAction(
        dihedral(3)).matrices)), "matrices are no action of D_4 x D_3"),
    (lambda: ColourAction(cyclic(3)).images(torch.rand(1, 4, 8, 8)), "images have 4 channels; expected 3"),
    (lambda: ColourAction(cyclic(3)).images(torch.rand(3, 8, 8)), "expected \\(batch, channels, height, width\\)"),
    (lambda: ColourAction(cyclic(3)).images(torch.rand(1, 3, 8, 8), elements=[3]), "numbers from 0 to 2"),
])
def test_bad_input(unchecked, make, message):
    with pytest.raises(ValueError, match=message):
        make()
