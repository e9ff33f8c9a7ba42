"""The study of curve detectors: what is read is what was shown, and findings are those of planted cases."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch

from groupcc_lite import coders
from groupcc_lite.base import Cache
from groupcc_lite.groups import rotations_of
from groupcc_lite.orbits import read_at, store
from groupcc_lite.responses import (
    UNTRAINED,
    Turning,
    Units,
    arc_tuning,
    contributions,
    neuron_units,
    turning_profile,
)
from groupcc_lite.runs import get_curve_profile
from groupcc_lite.stimuli import turned_noise
from groupcc_lite.studies import (
    BRANCHES,
    SAES,
    CurveStudy,
    at_equal_numbers,
    bar_of_random_weights,
    double_neurons,
    predicted,
    strongest,
    take_apart,
)

SMALL = get_curve_profile("smoke", layers=("conv2d2", "mixed3b"), steps=4, latents=40, k=4, batch_size=32,
                          points_per_image=4, turned_images=6, turned_points=6, directions=16, radii=(8.0,))
LAST = "mixed3b"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    study = CurveStudy(SMALL, work=tmp_path_factory.mktemp("work"))
    study.main = type(study.main)("smoke", model="tiny-inception", layer=LAST, drawings=20, steps=3, latents=40, k=4,
                                  batch_size=32, points_per_image=8, work=study.main.work)
    study.check()
    return study


def test_arcs_run_through_the_middle_of_a_cell_of_every_layer(study):
    for model in study.models():
        cells = model.geometry.cells(torch.tensor(study.middle))
        torch.testing.assert_close(cells, cells.round())


def test_layers_are_read_in_one_pass_as_each_reads_by_itself(study):
    for layer, model in zip(study.layers, study.models(), strict=True):
        images, cell = study.stimuli.images[:3], model.geometry.cells(torch.tensor(study.middle))
        alone = read_at(model(images), cell.expand(3, 1, 2))[:, 0]
        torch.testing.assert_close(study.shown(layer)[:3], alone.detach(), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(study.shown(LAST), study.shown(LAST, noise=True))
    assert not torch.allclose(study.shown(LAST), study.shown(LAST, "random"))


@pytest.mark.parametrize("weights, noise", [("trained", False), ("random", False), ("trained", True)])
def test_what_was_shown_stands_in_the_order_of_the_stimuli(study, weights, noise):
    """Scattered over all parts that are read at a time, to the last one; and no other stimulus is read there."""
    images = (turned_noise(study.stimuli, middle=study.middle, seed=study.seed) if noise else study.stimuli).images
    some = [0, 7, 8, 33, 70, len(images) - 1]
    for layer, model in zip(study.layers, study.models(weights), strict=True):
        assert model.layer == layer and len(study.shown(layer, weights, noise=noise)) == len(images)
        cell = model.geometry.cells(torch.tensor(study.middle)).expand(1, 1, 2)
        alone = torch.cat([read_at(model(images[k:k + 1]), cell)[:, 0] for k in some]).detach()
        torch.testing.assert_close(study.shown(layer, weights, noise=noise)[some], alone, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(study.shown(layer, weights, noise=noise)[some[::-1]], alone, atol=1e-3)


def test_tables_have_the_styles_curvatures_and_directions_of_the_stimuli(study):
    """4 styles, straight arcs first, and 16 directions: read off the fields of the stimuli that stand there."""
    shown = study.stimuli
    numbers = shown.table(torch.arange(len(shown))[:, None].float())[0].long()
    assert numbers.shape == (4, len(study.curvatures), 16) and numbers.unique().numel() == len(shown)
    curvatures = torch.tensor(study.curvatures)[None, :, None]
    torch.testing.assert_close(shown.curvature[numbers], curvatures.expand_as(numbers))
    torch.testing.assert_close(shown.direction[numbers], (2 * torch.pi * torch.arange(16) / 16).expand_as(numbers))
    for field in (shown.kind, shown.polarity):
        assert (field[numbers] == field[numbers][:, :1, :1]).all()
    assert len({(int(kind), int(polarity)) for kind, polarity in zip(
        shown.kind[numbers[:, 0, 0]], shown.polarity[numbers[:, 0, 0]], strict=True)}) == 4


@pytest.mark.parametrize("layer", SMALL.layers)
@pytest.mark.parametrize("noise", [False, True])
def test_detectors_are_judged_by_what_their_layer_says(study, layer, noise):
    """Neurons: the channels themselves, of arcs in the middle and of photographs at the points of the run."""
    channels = [0, 5, 11]
    found = study.detectors(layer, neuron_units(channels))
    found = study.with_noise(layer, found) if noise else found
    said = study.shown(layer, noise=noise)[:, channels].clamp(min=0)
    wanted = arc_tuning(study.stimuli.table(said), study.curvatures)
    run = study.turned_run(layer)
    kept = run.orbits("held-out")
    assert torch.equal(study.turned(layer), kept.rows(range(len(kept)))) and run.group == study.main.group
    turning = turning_profile(study.turned(layer)[..., channels], study.main.group)
    for a, b in ((found.tuning, wanted), (found.turning, turning)):
        for name in a._fields:
            torch.testing.assert_close(getattr(a, name), getattr(b, name), equal_nan=True)
    assert torch.equal(found.tuned, study.rule.tuned(wanted))
    assert torch.equal(found.confirmed, study.rule.confirmed(wanted, turning))


def test_random_weights_are_asked_about_the_places_of_the_trained_network(study):
    """Responses of both can be correlated: row by row they are about the same point of the same photograph."""
    run = study.turned_run(LAST)
    kept, images = run.orbits("held-out"), run.stored_source("held-out")
    model = study.models("random")[study.layers.index(LAST)]
    row = len(kept) - 3
    views = run.action.images(images.load([int(kept.image[row])]), model.input_size)[:, 0]
    points = run.action.points(torch.as_tensor(kept.points[row:row + 1], dtype=torch.float32))
    said = read_at(model(views), model.geometry.cells(points))[:, 0].detach()
    torch.testing.assert_close(study.turned(LAST, "random")[row], said, atol=1e-4, rtol=1e-4)
    assert study.turned(LAST, "random").shape == study.turned(LAST).shape


def test_layers_are_turned_on_the_same_photographs_that_no_dictionary_has_seen(study):
    assert len({study.turned_run(layer).source("held-out").fingerprint for layer in study.layers}) == 1
    assert study.turned_run(LAST).source("held-out").fingerprint == study.main.source("held-out").fingerprint
    for layer in study.layers:
        kept = {part: set(study.flat_run(layer).source(part).indices) for part in ("train", "held-out")}
        assert kept["train"].isdisjoint(study.turned_run(layer).source("held-out").indices)
        assert kept["held-out"] == set(study.turned_run(layer).source("held-out").indices)


def test_every_set_of_units_is_there_and_judged(study):
    found = {name: study.detectors(LAST, study.units(LAST, name))
             for name in ("neurons", *SAES, "crosscoder", *BRANCHES, *UNTRAINED)}
    counts = {name: each.units.count for name, each in found.items()}
    assert counts["neurons"] == 120 == sum(counts[name] for name in BRANCHES)
    assert 0 < counts["crosscoder"] <= 40 and counts["random directions"] == counts["SAE, TopK"]
    for each in found.values():
        assert len(each.confirmed) == len(each.directions) == len(each.turning.strength) == each.units.count
        assert (each.confirmed <= each.tuned).all() and (~each.directions.isnan() == each.confirmed).all()
    # A branch is its part of the layer.
    parts = torch.cat([found[name].tuning.peak for name in BRANCHES])
    torch.testing.assert_close(parts, found["neurons"].tuning.peak)
    with pytest.raises(ValueError, match="name is 'SAE'"):
        study.units(LAST, "SAE")


def test_a_second_study_trains_and_reads_nothing_again(study, monkeypatch):
    before = [coder.W_d for coder, _ in study.saes("conv2d2", "SAE, TopK")]
    made = []
    real = Cache.get
    monkeypatch.setattr(Cache, "get", lambda self, artefact, make, **k: real(
        self, artefact, lambda folder: made.append(artefact) or make(folder), **k))
    fresh = CurveStudy(SMALL, work=study.main.work)
    fresh.main = study.main
    after = [coder.W_d for coder, _ in fresh.saes("conv2d2", "SAE, TopK")]
    assert made == [] and all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_second_study_makes_nothing_of_all_that_is_asked_for(study, monkeypatch):
    """Nor does it train or extract outside the cache: orbits, dictionaries, crosscoder and random weights are there."""
    def asked(of):
        return [(found := of.detectors(layer, of.units(layer, name))).tuning.peak.tolist() + found.confirmed.tolist()
                for layer, name in ((LAST, SAES[0]), (LAST, SAES[1]), (LAST, "crosscoder"), ("conv2d2", SAES[1]),
                                    ("conv2d2", "data points"))] + [len(of.saes(LAST, SAES[1], "random"))]

    before = asked(study)
    for place, name in ((coders, "train"), (store, "write_shard")):
        monkeypatch.setattr(place, name, lambda *a, **k: pytest.fail("made again"))
    real = Cache.get
    monkeypatch.setattr(Cache, "get", lambda self, artefact, make, **k: real(
        self, artefact, lambda folder: pytest.fail(f"{artefact} made again"), **k))
    fresh = CurveStudy(SMALL, work=study.main.work)
    fresh.main = study.main
    assert asked(fresh) == before
    longer = CurveStudy(get_curve_profile(SMALL, steps=5), work=study.main.work)
    longer.main = study.main
    with pytest.raises(pytest.fail.Exception, match="made again"):  # what is new would be made
        longer.saes("conv2d2", SAES[1])


def planted(study, turns):
    """Detectors whose responses to orbits are those of one pattern, moved by rotations, and directions to match."""
    G, n = study.main.group, 4
    x = study.turned(LAST)
    base = neuron_units([int(x.clamp(min=0).var((0, 1)).argmax())]).of_orbits(x)[..., 0]  # (n, g)
    moved = torch.stack([base[:, [int(G.table[G.inverse[h], g]) for g in range(G.order)]] for h in turns], -1)
    units = Units("planted", len(turns), lambda flat: moved.flatten(0, 1))
    found = study.detectors(LAST, study.units(LAST, "neurons"))
    some = [0] * len(turns)
    tuning = type(found.tuning)(*(field[some] for field in found.tuning))._replace(
        direction=2 * torch.pi * torch.tensor(turns) / n % (2 * torch.pi))
    yes = torch.ones(len(turns), dtype=torch.bool)
    return type(found)(units, tuning, Turning(found.turning.profile[some], torch.arange(len(turns), 0, -1.0)), yes, yes)


def fulfilled(study, one, candidates, count=None, draws=2, **settings):
    bar = bar_of_random_weights(study, one)
    return predicted(study, one, candidates, bar, count or candidates.units.count, draws=draws, **settings)


def test_members_that_were_planted_are_present_and_others_missing(study):
    """One detector, and candidates in three of its four poses: two of three predictions are fulfilled."""
    one, three = planted(study, [0]), planted(study, [0, 1, 3])
    found = fulfilled(study, one, three)
    assert found.members.correlation[0, [0, 1, 3]].min() > 0.99
    assert found.members.partner[0, [0, 1, 3]].tolist() == [0, 1, 2]
    assert found.present.tolist() == [[True, True, False, True]]
    assert found.share.tolist() == pytest.approx([2 / 3]) and found.unturned.tolist() == [1]
    nobody = one._replace(confirmed=torch.tensor([False]))
    with pytest.raises(ValueError, match="symmetry predicts nothing"):
        fulfilled(study, nobody, three)
    with pytest.raises(ValueError, match="count is 4; expected at most 3"):
        predicted(study, one, three, 0.5, 4)
    assert strongest(three, 2).tolist() == [0, 1] and len(strongest(nobody)) == 0


def test_members_with_other_directions_or_too_unlike_are_not_present(study):
    """Each witness can reject by itself: arcs say another direction, arcs say nothing, responses are of others."""
    one, three = planted(study, [0]), planted(study, [0, 1, 3])
    off = three.tuning._replace(direction=three.tuning.direction + torch.tensor([0.0, -0.9, 0.7]))
    found = fulfilled(study, one, three._replace(tuning=off))  # half a step is 45 degrees, 0.785
    assert found.present.tolist() == [[True, False, False, True]]
    assert found.members.correlation[0, [0, 1, 3]].min() > 0.99
    unconfirmed = three._replace(confirmed=torch.tensor([True, False, True]))
    assert fulfilled(study, one, unconfirmed).present.tolist() == [[True, False, False, True]]
    noise = torch.rand(len(study.turned(LAST)) * study.main.group.order, 3, generator=torch.Generator().manual_seed(0))
    strangers = three._replace(units=Units("strangers", 3, lambda flat: noise))
    found = fulfilled(study, one, strangers)
    assert not found.present.any() and found.share.tolist() == found.unturned.tolist() == [0] and found.above == 0


def test_chance_of_predictions_by_hand(study):
    """All four members are there, and their directions are dealt out among them: each is right in one of four deals."""
    one, four = planted(study, [0]), planted(study, [0, 1, 2, 3])
    found = fulfilled(study, one, four, draws=200)
    assert found.share.tolist() == [1] and found.by_chance == pytest.approx(0.25, abs=0.06)


def test_chance_is_not_lowered_by_candidates_that_are_no_detectors(study):
    """Two of four members are detectors. Directions are dealt out among these: right in one of two deals, for one of
    the three predictions; with directions dealt to anybody it would be half as often."""
    one, four = planted(study, [0]), planted(study, [0, 1, 2, 3])
    two = four._replace(confirmed=torch.tensor([True, True, False, False]))
    found = fulfilled(study, one, two, draws=300)
    assert found.share.tolist() == pytest.approx([1 / 3])
    assert found.by_chance == pytest.approx(1 / 6, abs=0.04)


def test_turns_of_the_group_turn_arcs_to_the_directions_that_predictions_ask_for(study):
    """r^h moves an arc of direction 0 to direction 2 pi h / n, by pixels."""
    action, shown = study.main.action, study.stimuli
    n, bent = rotations_of(action.group), shown.curvature > 0
    same = bent & (shown.kind == shown.kind[bent][0]) & (shown.polarity == shown.polarity[bent][0])
    order = shown.direction[same].argsort()
    arcs = shown.images[same][order]
    assert len(arcs) % n == 0
    size = arcs.shape[-1] // 2  # the middle of the image, where no corner comes in
    turned = action.images(arcs[:1], size=size)[:, 0]
    cut = (arcs.shape[-1] - size) // 2
    wanted = arcs[:, :, cut:cut + size, cut:cut + size]
    for h in range(n):
        apart = (turned[h] - wanted).square().mean((1, 2, 3))
        assert int(apart.argmin()) == h * len(arcs) // n


def test_fewer_candidates_hold_fewer_members(study):
    """Two of four candidates: the three other poses are there in half of the draws each."""
    one, four = planted(study, [0]), planted(study, [0, 1, 2, 3])
    found = fulfilled(study, one, four, 2, draws=300)
    assert found.share[0] == pytest.approx(0.5, abs=0.06) and found.unturned[0] == pytest.approx(0.5, abs=0.1)
    assert found.present.all()  # among all of them


def test_the_bar_is_what_random_weights_offer_at_the_same_places(study):
    """Asked about a copy of the random network's own neurons, they are no strangers: the bar is 1."""
    one = planted(study, [0])
    assert 0 < bar_of_random_weights(study, one) < 0.9
    says = study.turned(LAST, "random")[..., 7].clamp(min=0).flatten()[:, None]
    assert says.var() > 0
    random = one._replace(units=Units("of the random network", 1, lambda flat: says))
    assert bar_of_random_weights(study, random) > 0.9


def test_double_neurons_are_those_that_were_planted(study):
    """Double, single, opposite, double but faint beside what photographs do, and double with one half less."""
    angle = 2 * math.pi * torch.arange(16) / 16

    def bump(place):
        return torch.exp(4 * (torch.cos(angle - angle[place]) - 1))

    curves = torch.stack([bump(2) + bump(7), bump(2), bump(2) + bump(10), bump(2) + bump(7), bump(2) + 0.7 * bump(7)])
    shown = study.stimuli
    place = (shown.direction / (2 * math.pi) * 16).round().long() % 16
    bent = (shown.curvature > 0) & (shown.kind == 1) & (shown.polarity < 0)
    said = curves[:, place].T * bent[:, None]
    tuning = arc_tuning(shown.table(said), study.curvatures)
    yes = torch.ones(5, dtype=torch.bool)
    strength = torch.tensor([1.0, 1.0, 1.0, 3.0, 1.0])
    units = Units("planted", 5, lambda x: said)
    found = type(study.detectors(LAST, neuron_units([0])))(units, tuning, Turning(torch.ones(5, 4), strength), yes, yes)
    doubles, two = double_neurons(study, found)
    assert doubles.tolist() == [0, 4]
    assert math.degrees(two.apart[0]) == pytest.approx(112.5, abs=0.1)
    silent = found._replace(tuning=tuning._replace(curvature=torch.zeros(5)))
    assert len(double_neurons(study, silent)[0]) == 0  # straight ones


def test_a_neuron_is_taken_apart_at_its_best_stimuli(study):
    """In the order of directions, with the parts and purities of their definition."""
    found = study.detectors(LAST, study.units(LAST, "neurons"))
    coder, _ = study.saes(LAST, "SAE, TopK")[0]
    shown = study.stimuli
    for neuron in found.tuning.peak.topk(3).indices.tolist():
        apart = take_apart(study, found, neuron, coder, count=3)
        said = study.shown(LAST)[:, neuron].clamp(min=0)
        best = int(said.argmax())
        same = ((shown.kind == shown.kind[best]) & (shown.curvature == shown.curvature[best])
                & (shown.polarity == shown.polarity[best])).nonzero()[:, 0]
        same = same[shown.direction[same].argsort()]
        torch.testing.assert_close(apart.tuning, said[same])
        x = study.shown(LAST)[same]
        rebuilt = coder.decode(coder.encode(x))[:, 0, neuron].detach()
        torch.testing.assert_close(apart.parts.sum(0) + apart.rest, rebuilt, atol=1e-4, rtol=1e-4)
        parts = contributions(coder, x, neuron).parts
        assert apart.latents.tolist() == [k for k in parts.sum(0).topk(3).indices.tolist() if parts.sum(0)[k] > 0]
        torch.testing.assert_close(apart.parts, parts[:, apart.latents].T)
        angle = 2 * math.pi * np.arange(16) / 16
        written = apart.parts.clamp(min=0).numpy()
        lengths = np.abs((written * np.exp(1j * angle)).sum(1))  # vector strength times what is written
        assert apart.part_purity == pytest.approx(lengths.sum() / written.sum(), abs=1e-4)
        assert apart.purity == pytest.approx(float(found.tuning.one[neuron]))
        says = x[:, neuron]
        left = (says - rebuilt).square().sum() / (says - says.mean()).square().sum()
        assert apart.explained == pytest.approx(1 - float(left), abs=1e-4)
        assert 0 < apart.chance_purity < 1


def test_parts_by_chance_are_those_of_other_weights(study):
    """A dictionary that writes with the same weight into the neuron from every latent: dealing them out changes
    nothing, so the parts are as sharp as by chance. With a single weight, another latent is the part."""
    found = study.detectors(LAST, study.units(LAST, "neurons"))
    coder, _ = study.saes(LAST, "SAE, TopK")[0]
    neuron = int(found.tuning.peak.argmax())
    even = copy.deepcopy(coder)
    with torch.no_grad():
        even.W_d[:, 0, neuron] = 1.0
    apart = take_apart(study, found, neuron, even, count=3)
    assert apart.chance_purity == pytest.approx(apart.part_purity, abs=1e-5)
    f = coder.encode(study.shown(LAST)).detach()
    sharpest = int(torch.where((f > 0).any(0), (f > 0).double().mean(0), 2.0).argmin())  # fires for the fewest arcs
    with torch.no_grad():
        even.W_d[:, 0, neuron] = 0.0
        even.W_d[sharpest, 0, neuron] = 1.0
    single = take_apart(study, found, neuron, even, count=3)
    assert single.latents.tolist() in ([sharpest], [])
    assert single.chance_purity < 1  # of all latents that the weight is dealt to


def test_parts_of_a_neuron_and_the_rest_are_the_reconstruction(study):
    found = study.detectors(LAST, study.units(LAST, "neurons"))
    coder, _ = study.saes(LAST, "SAE, TopK")[0]
    neuron = int(found.tuning.peak.argmax())
    apart = take_apart(study, found, neuron, coder)
    assert apart.tuning.shape == apart.rest.shape == (16,) and apart.parts.shape[1] == 16
    assert apart.tuning.max() == pytest.approx(float(found.tuning.peak[neuron]), rel=1e-4)
    every = contributions(coder, study.shown(LAST), neuron)
    total = every.parts.sum(1) + every.constant
    sums = apart.parts.sum(0) + apart.rest
    assert all((total - value).abs().min() < 1e-4 for value in sums)
    doubles, two = double_neurons(study, found)
    assert two.double[doubles].all() and len(two.apart) == 120


def equal_numbers(study, found, count, **settings):
    styles, rows = study.stimuli.table(torch.zeros(len(study.stimuli), 1)).shape[1:3]
    return at_equal_numbers(found, count, styles=styles, curvatures=rows - 1, **settings)


def test_equal_numbers_are_drawn_for_every_seed(study):
    found = [study.detectors(LAST, study.units(LAST, "SAE, TopK", number)) for number in range(2)]
    for each in found:  # all there are
        more = equal_numbers(study, [each], each.units.count, draws=2)
        assert more.detectors.tolist() == [[int(each.confirmed.sum())] * 2]
    with pytest.raises(ValueError, match="units is 1000000"):
        equal_numbers(study, found, 10**6, draws=2)
    more = equal_numbers(study, found, 5, draws=2)
    assert more.units == round(np.mean([each.units.count for each in found]))
    equal = equal_numbers(study, found, 10, draws=5)
    assert equal.gap.shape == equal.detectors.shape == (2, 5) and (equal.detectors <= 10).all()
    for name in ("gap", "gap_of_kind", "gap_of_curvature"):
        for values in (getattr(equal, name), equal.by_chance[name]):
            assert values.shape == (2, 5) and ((values > 0) & (values <= 360)).all()
    assert (equal.gap_of_kind >= equal.gap).all()


def test_gaps_within_kinds_and_curvatures_by_hand(study):
    """Eight detectors, 45 degrees apart: four of style 0, four of style 3, all of the second of two curvatures.

    Within a style gaps are 90, and 360 for the two styles that nobody has; 45 for one curvature and 360 for the other.
    """
    at = 2 * math.pi * torch.arange(8) / 8
    nothing = torch.zeros(8)
    tuning = arc_tuning(torch.rand(8, 1, 2, 4), [0.0, 0.1])._replace(
        direction=at, style=3 * (torch.arange(8) % 2), row=torch.full((8,), 2))
    yes = torch.ones(8, dtype=torch.bool)
    some = type(study.detectors(LAST, neuron_units([0])))(neuron_units(8), tuning, Turning(nothing[:, None], nothing),
                                                          yes, yes)
    equal = at_equal_numbers([some], 8, styles=4, curvatures=2, draws=1)
    assert equal.gap[0, 0] == pytest.approx(45) and equal.gap_of_kind[0, 0] == pytest.approx((90 + 360) / 2)
    assert equal.gap_of_curvature[0, 0] == pytest.approx((45 + 360) / 2)
    chance = at_equal_numbers([some], 8, styles=4, curvatures=2, draws=300).by_chance
    assert chance["gap"].mean() > 90  # evenly spread ones leave less
    assert chance["gap_of_kind"].mean() > chance["gap"].mean() / 2 + 180
    with pytest.raises(ValueError, match="groups of detectors are 0 to 3; expected 0 to 1"):
        at_equal_numbers([some], 8, styles=2, curvatures=2)


def test_the_report_says_what_was_studied(study):
    facts = study.report("16_curves").facts
    assert facts["settings"]["layers"] == SMALL.layers and set(facts["fingerprints"]) == set(SMALL.layers)
    assert facts["settings"] == dataclasses.asdict(SMALL)
    assert facts["fingerprints"] == {model.layer: model.fingerprint for model in study.models()}
    assert facts["model"] == "tiny-inception" and len(set(facts["fingerprints"].values())) == 2


def test_problems_of_all_layers_are_told_at_once(tmp_path):
    study = CurveStudy(get_curve_profile(SMALL, batch_size=10**6), work=tmp_path)
    with pytest.raises(ValueError, match=r"(?s)conv2d2: .*batch_size.*mixed3b: .*batch_size"):
        study.check()


def test_groups_without_a_small_and_a_half_turn_are_refused(tmp_path):
    for group in ("C_2", "D_3"):
        study = CurveStudy(SMALL, work=tmp_path)
        study.main = type(study.main)("smoke", model="tiny-inception", layer=LAST, group=group, work=tmp_path)
        with pytest.raises(ValueError, match=f"group is {group}; expected C_n or D_n with an even n of at least 4"):
            study.check()
