"""Feature visualisation: Lucent's result, many at a time, without its side effects."""

import itertools

import numpy as np
import pytest
import torch
from small import small_model
from torch import nn

from groupcc_lite.models import load_model, wrap_model
from groupcc_lite.symmetry import feature_visualisation
from groupcc_lite.symmetry.feature_visualisation import (
    central_activation,
    picture_responses,
    render_features,
    render_steps,
)

MODEL = small_model(channels=5, input_size=32)
DIRECTIONS = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
QUICK = dict(size=24, steps=6, progress=False)


@pytest.fixture(scope="module")
def images():
    return render_features(MODEL, DIRECTIONS, **QUICK)


def test_one_picture_per_direction_in_steps_of_a_byte(images):
    assert images.shape == (5, 24, 24, 3) and images.dtype == np.float32
    assert 0 <= images.min() < images.max() <= 1
    assert np.allclose(images * 255, np.round(images * 255), atol=1e-4)


def test_pictures_excite_their_direction_more_than_noise_and_more_than_the_opposite_does(images):
    noise = render_steps(MODEL, DIRECTIONS[0], [0], size=24)
    opposite = render_features(MODEL, DIRECTIONS, negative=True, **QUICK)
    own = picture_responses(MODEL, images, DIRECTIONS).diagonal()
    assert (own > picture_responses(MODEL, noise, DIRECTIONS)[0]).all()
    assert (own > picture_responses(MODEL, opposite, DIRECTIONS).diagonal()).all()


def test_a_picture_does_not_depend_on_its_batch_and_repeats_for_a_seed(images):
    one_by_one = render_features(MODEL, DIRECTIONS.flip(0), batch=2, **QUICK)[::-1]
    assert np.abs(images - one_by_one).max() <= 2 / 255  # sums in another order, then rounded to bytes
    assert np.array_equal(images, render_features(MODEL, DIRECTIONS, **QUICK))
    assert np.abs(images - render_features(MODEL, DIRECTIONS, seed=1, **QUICK)).max() > 5 / 255


def test_random_states_modules_and_weights_are_left_as_they_were():
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    weights = [p.clone() for p in MODEL.parameters()]
    render_features(MODEL, DIRECTIONS[:1], **QUICK)
    assert torch.equal(torch.get_rng_state(), before[0]) and np.array_equal(np.random.get_state()[1], before[1])
    assert not any(module._forward_hooks for module in MODEL.modules())
    assert all(torch.equal(a, b) for a, b in zip(weights, MODEL.parameters(), strict=True))
    assert all(p.grad is None for p in MODEL.parameters())


def test_what_the_caller_draws_between_steps_changes_nothing():
    quiet = render_steps(MODEL, DIRECTIONS[0], [3], size=24)
    frames = feature_visualisation._ascend(MODEL.at_size(24), DIRECTIONS[:1], 24, 3, 0, 0.05)
    for frame in frames:
        last = frame
        torch.rand(7)
        np.random.rand(7)
    assert np.array_equal(feature_visualisation._as_bytes(last), np.round(quiet * 255).astype(np.uint8))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_the_loop_gives_what_lucent_itself_gives():
    from lucent.optvis import objectives, param, render

    model = MODEL.at_size(24)
    cell = model.geometry.centre_cell

    @objectives.wrap_objective()
    def direction():
        return lambda layers: -(layers("network")[0, :, cell, cell] @ DIRECTIONS[0])

    with feature_visualisation._own_randomness(0):
        (theirs,) = render.render_vis(model, direction(), lambda: param.image(24), transforms=[], thresholds=(5,),
                                      preprocess=False, fixed_image_size=24, progress=False, show_image=False)
    for module in model.modules():  # lucent leaves its hooks behind
        module._forward_hooks.clear()
    ours = render_steps(model, DIRECTIONS[0], [5], size=24, robust=False)
    assert np.abs(ours - theirs).max() <= 0.51 / 255


def test_finished_batches_are_read_back_and_other_settings_are_not(tmp_path, monkeypatch):
    keep = dict(folder=tmp_path, batch=2) | QUICK
    first = render_features(MODEL, DIRECTIONS, **keep)
    drawn = []
    ascend = feature_visualisation._ascend
    monkeypatch.setattr(feature_visualisation, "_ascend", lambda *a, **k: drawn.append(len(a[1])) or ascend(*a, **k))
    assert np.array_equal(render_features(MODEL, DIRECTIONS, **keep), first) and not drawn
    sorted(tmp_path.iterdir())[0].unlink()
    assert np.array_equal(render_features(MODEL, DIRECTIONS, **keep), first) and len(drawn) == 1
    render_features(MODEL, DIRECTIONS[:2], **keep | dict(steps=7))
    render_features(MODEL, DIRECTIONS[:2], negative=True, **keep)
    render_features(small_model(channels=5, input_size=40), DIRECTIONS[:2], **keep | dict(size=40))
    assert len(drawn) == 4


class Silent(nn.Module):
    """A unit that is off for every image near grey, and a second one that is on."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3, stride=2)
        self.layer.weight.data[:] = 1 / 27
        self.layer.bias.data[:] = torch.tensor([-0.8, 0.0])

    def forward(self, x):
        return torch.relu(self.layer(x))


def test_a_unit_that_noise_leaves_off_still_gets_its_picture():
    model = wrap_model(Silent(), "relu", input_size=24)
    on_and_off = render_features(model, torch.eye(2), size=24, steps=60, progress=False)
    noise = render_steps(model, torch.tensor([1.0, 0.0]), [0], size=24)
    assert picture_responses(model, noise, torch.eye(2))[0, 0] == 0  # plain gradients would never move it
    assert (picture_responses(model, on_and_off, torch.eye(2)).diagonal() > 0.05).all()


def test_gradients_are_redirected_only_where_an_image_has_none():
    def gradient(x, weights, mode):
        x = x.clone().requires_grad_()
        with mode:
            y = torch.nn.functional.relu(x, inplace=False)
        (y * weights).sum().backward()
        return x.grad

    x = torch.tensor([[-1.0, -2.0, -3.0], [1.0, -2.0, 3.0]])
    weights = torch.tensor([-1.0, 2.0, -3.0])  # of a loss: -1 and -3 push up
    redirected = gradient(x, weights, feature_visualisation._GradientsThroughDeadUnits())
    assert redirected.tolist() == [[-1, 0, -3], [-1, 0, -3]]
    assert gradient(x, weights, torch.enable_grad()).tolist() == [[0, 0, 0], [-1, 0, -3]]


def test_the_shifts_leave_a_picture_in_the_middle_on_average():
    image = torch.full((1, 3, 41, 41), 0.5)
    image[..., 20, 20] = 1.0
    transform = feature_visualisation._transform(41)
    total = torch.zeros(41, 41)
    for seed in range(200):
        with feature_visualisation._own_randomness(seed):
            total[10:31, 10:31] += (transform(image) - 0.5)[0, 0, 10:31, 10:31]
    places = torch.arange(41.0)
    centre = (total.sum(0) @ places / total.sum(), total.sum(1) @ places / total.sum())
    assert max(abs(c - 20) for c in centre) < 0.5


def darkest_corner(monkeypatch, size):
    """How far grey padding and black filling get into the window, over the extremes of what Lucent draws at random."""
    transform, image = feature_visualisation._transform(size), torch.full((1, 3, size, size), 0.5)
    worst = 0.0
    for drawn in itertools.product((0, 7), (0, 7), (0.9, 1.0), (-5, 5), (0, 3), (0, 3)):
        choices = iter(drawn)
        with monkeypatch.context() as patch:
            patch.setattr(np.random, "choice", lambda options, choices=choices: next(choices))
            worst = max(worst, float((transform(image) - 0.5).abs().max()))
    return worst


@pytest.mark.parametrize("size, tolerance", [(24, 1e-4), (48, 0.01), (49, 1e-4), (80, 1e-4), (96, 1e-4), (256, 1e-4)])
def test_no_black_comes_in_at_any_size(monkeypatch, size, tolerance):
    assert darkest_corner(monkeypatch, size) < tolerance


@pytest.mark.parametrize("size", [96, 256])
def test_negative_control_the_same_padding_at_every_size_lets_black_in(monkeypatch, size):
    monkeypatch.setattr(feature_visualisation, "_padding", lambda size: 12)
    assert darkest_corner(monkeypatch, size) > 0.49


def test_steps_begin_with_noise_and_end_where_the_picture_is(images):
    frames = render_steps(MODEL, DIRECTIONS[0], [0, 2, 6], size=24)
    assert frames.shape == (3, 24, 24, 3)
    assert np.abs(frames[2] - images[0]).max() <= 2 / 255
    assert np.abs(frames[0] - 0.5).max() < 0.2


@pytest.mark.parametrize("switch", ["robust", "fourier", "decorrelate"])
def test_each_part_can_be_switched_off(switch):
    plain = render_steps(MODEL, DIRECTIONS[0], [4], size=24)
    without = render_steps(MODEL, DIRECTIONS[0], [4], size=24, **{switch: False})
    assert np.abs(plain - without).max() > 2 / 255


def test_the_central_cell_is_the_one_nearest_to_the_image_centre():
    model = MODEL.at_size(24)
    geometry = model.geometry
    distances = [abs(geometry.first + geometry.stride * k - geometry.image_centre) for k in range(geometry.grid)]
    x = torch.rand(1, 3, 24, 24)
    cell = int(np.argmin(distances))
    assert torch.equal(central_activation(model, x), model(x)[:, :, cell, cell])


@pytest.mark.parametrize("arguments, message", [
    (dict(directions=torch.ones(2, 4)), r"directions have shape \(2, 4\); expected \(k, 5\)"),
    (dict(directions=torch.ones(0, 5)), "k > 0"),
    (dict(directions=torch.zeros(1, 5)), "a direction is zero"),
    (dict(directions=torch.full((1, 5), torch.nan)), "a direction is zero, NaN"),
    (dict(size=0), "size is 0"), (dict(steps=0), "steps is 0"), (dict(batch=-1), "batch is -1"),
])
def test_bad_input_is_one_clear_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_features(**dict(model=MODEL, directions=DIRECTIONS, progress=False) | arguments)


@pytest.mark.parametrize("at", [[], [3, 2], [1, 1], [-1, 2]])
def test_bad_steps_are_one_clear_error(at):
    with pytest.raises(ValueError, match="increasing numbers of steps"):
        render_steps(MODEL, DIRECTIONS[0], at)


@pytest.mark.data
def test_units_of_googlenet_are_found_although_noise_leaves_most_of_them_off(data):
    model = load_model("googlenet", weights=data / "googlenet-bvlc" / "googlenet_bvlc.safetensors").at_size(96)
    units = torch.eye(model.channels)[::60]
    noise = render_steps(model, units[0], [0])
    assert (picture_responses(model, noise, units)[0] == 0).float().mean() > 0.5
    own = picture_responses(model, render_features(model, units, steps=24, progress=False), units).diagonal()
    assert (own > 100).all()
