import pytest
import torch
import torch.nn.functional as F
from small import noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.models import load_model
from groupcc_lite.orbits import sampling
from groupcc_lite.orbits.sampling import (
    _in_passes,
    choose_points,
    drawn,
    mask_points,
    read_at,
    sample_layers,
    sample_orbits,
    transformed_cells,
)


def warped_grid(grid, matrix, geometry):
    """The slow way, step 4 of the paper's section 2.2: warp the whole grid of g I back, so that cell p shows g p.

    The warp turns about the image centre, which is not the grid's middle.
    """
    cells = torch.stack(torch.meshgrid(*[torch.arange(geometry.grid, dtype=torch.float64)] * 2, indexing="xy"), dim=-1)
    moved = geometry.cells(geometry.pixels(cells) @ torch.tensor(matrix).T)
    unit = 2 * moved / (geometry.grid - 1) - 1
    return F.grid_sample(grid.double(), unit.expand(len(grid), -1, -1, -1), mode="bilinear", align_corners=True)


@pytest.mark.parametrize("group", [cyclic(4), dihedral(4), dihedral(6)], ids=str)
def test_sampling_points_equals_warping_whole_grids(group):
    model, action = small_model(), PlanarAction(group)
    images = noise_images(3, action.source_size(model.input_size))
    sample = sample_orbits(model, action, images, points_per_image=5, mask_radius=7.0, seed=1)
    geometry = model.geometry
    points = sample.points.view(3, 5, 2)
    cells = geometry.cells(points).round().long()
    for g in range(group.order):
        grid = model(action.images(images, size=model.input_size, elements=[g])[0])
        warped = warped_grid(grid, action.matrices[g], geometry)
        for b in range(3):
            slow = warped[b, :, cells[b, :, 1], cells[b, :, 0]].T
            fast = sample.blocks.view(3, 5, group.order, -1)[b, :, g]
            torch.testing.assert_close(fast.double(), slow, atol=1e-5, rtol=1e-4)


def test_the_oracle_itself_notices_a_wrong_centre():
    model, action = small_model(), PlanarAction(cyclic(4))
    images = noise_images(2, action.source_size(model.input_size))
    right = sample_orbits(model, action, images, points_per_image=5, mask_radius=7.0)
    naive = sample_orbits(model, action, images, points_per_image=5, mask_radius=7.0, registration="grid-centre")
    assert torch.equal(right.blocks[:, 0], naive.blocks[:, 0])
    assert model.geometry.centre_offset != 0
    assert (right.blocks[:, 2] - naive.blocks[:, 2]).abs().max() > 0.05


def test_the_naive_registration_misses_by_twice_the_offset_at_half_a_turn():
    model, action = small_model(), PlanarAction(cyclic(2))
    points = torch.tensor([[[3.0, -2.0]]])
    right, naive = (transformed_cells(points, action, model.geometry, name) for name in ("image-centre", "grid-centre"))
    missed = (naive - right)[1, 0, 0] * model.geometry.stride
    torch.testing.assert_close(missed, torch.full((2,), 2 * model.geometry.centre_offset))
    with pytest.raises(ValueError, match="registration is 'centre'"):
        transformed_cells(points, action, model.geometry, "centre")


def test_read_at_is_exact_on_cells_linear_between_and_strict_outside():
    grid = torch.arange(12.0).view(1, 1, 3, 4)
    cells = torch.tensor([[[0.0, 0.0], [3.0, 2.0], [1.5, 1.0], [0.0, 0.25]]])
    assert read_at(grid, cells)[0, :, 0].tolist() == [0.0, 11.0, 5.5, 1.0]
    for bad in ([-0.5, 0.0], [3.2, 0.0], [0.0, 2.5]):
        with pytest.raises(ValueError, match="mask_radius"):
            read_at(grid, torch.tensor([[bad]]))


def test_points_stay_inside_the_mask_and_never_repeat():
    geometry = small_model().geometry
    activations = torch.rand(2, 6, geometry.grid, geometry.grid)
    generators = [torch.Generator().manual_seed(s) for s in (0, 1)]
    points = choose_points(activations, geometry, 9, 8.0, generators)
    assert (points.norm(dim=-1) <= 8).all()
    assert all(len({tuple(p) for p in image.tolist()}) == 9 for image in points)


def test_points_follow_the_norm():
    geometry = small_model().geometry
    activations = torch.full((1, 2, geometry.grid, geometry.grid), 0.01)
    inside = geometry.cells(mask_points(geometry, 8.0)).long()
    strong = inside[4]
    activations[0, :, strong[1], strong[0]] = 100.0
    hits = 0
    for seed in range(20):
        (point,) = choose_points(activations, geometry, 1, 8.0, [torch.Generator().manual_seed(seed)])
        hits += int(torch.allclose(geometry.cells(point)[0], strong.float()))
    assert hits == 20
    uniform = choose_points(activations * 0, geometry, 3, 8.0, [torch.Generator().manual_seed(0)])
    assert uniform.shape == (1, 3, 2)


def test_an_images_points_do_not_depend_on_its_batch():
    model, action = small_model(), PlanarAction(dihedral(4))
    images = noise_images(4, action.source_size(model.input_size))
    together = sample_orbits(model, action, images, points_per_image=3, seed=5)
    alone = sample_orbits(model, action, images[2:3], points_per_image=3, seed=5, indices=[2])
    torch.testing.assert_close(together.blocks[6:9], alone.blocks)
    assert torch.equal(together.points[6:9], alone.points)


def test_orbit_vectors_of_a_transformed_image_are_the_transformed_orbit_vectors():
    """x of (h I, h p) is h . x, the right-regular action: checked where images turn without interpolation."""
    model, group = small_model(), dihedral(4)
    action = PlanarAction(group)
    images = noise_images(1, model.input_size)
    geometry = model.geometry
    point = mask_points(geometry, 8.0)[3].view(1, 1, 2)

    def orbit(image, at):
        views = action.images(image, size=model.input_size)
        cells = transformed_cells(at, action, geometry)
        return torch.stack([read_at(model(view), cells[g])[0, 0] for g, view in enumerate(views)])

    x = orbit(images, point)
    for h in range(group.order):
        moved = orbit(action.images(images, size=model.input_size, elements=[h])[0], action.points(point)[h])
        torch.testing.assert_close(moved, x[torch.tensor(group.regular[h])], atol=1e-5, rtol=1e-4)


def test_bad_requests_are_explained():
    model, action = small_model(), PlanarAction(cyclic(4))
    images = noise_images(1, model.input_size)
    with pytest.raises(ValueError, match="points_per_image is 500.*holds"):
        sample_orbits(model, action, images, points_per_image=500)
    with pytest.raises(ValueError, match="empty"):
        sample_orbits(model, action, images[:0])


def test_a_layer_that_sees_everything_leaves_no_point():
    model = small_model()
    with pytest.raises(ValueError, match="no point is left inside a mask of -5 px.*take an earlier layer"):
        choose_points(torch.ones(1, 2, model.geometry.grid, model.geometry.grid), model.geometry, 4, -5.0,
                      [torch.Generator()])


def test_points_are_read_in_single_precision_from_coarse_grids():
    """bfloat16 has eight bits: as weights they would move the point, and their sum would lose what they weigh."""
    grid = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    cells = torch.tensor([[[0.3017, 0.0]]])
    assert float(read_at(grid.bfloat16(), cells)) == pytest.approx(0.3017, rel=1e-6)
    assert float(cells[0, 0, 0].bfloat16()) != pytest.approx(0.3017, rel=1e-3)
    assert read_at(grid.double(), cells).dtype == torch.float64


def test_some_elements_alone_give_the_same_blocks():
    model, action = small_model(), PlanarAction(dihedral(6))
    images = noise_images(3, action.source_size(model.input_size))
    whole = sample_orbits(model, action, images, points_per_image=5, seed=1)
    for elements in (slice(0, 1), slice(3, 9, 2)):
        some = sample_orbits(model, action, images, points_per_image=5, seed=1, elements=elements)
        assert torch.equal(some.blocks, whole.blocks[:, elements]) and torch.equal(some.points, whole.points)


def test_one_image_is_interpolated_once_for_every_coset_of_the_exact_elements(monkeypatch):
    from groupcc_lite.actions import planar

    calls, resample = [], planar._resample
    monkeypatch.setattr(planar, "_resample", lambda *a: calls.append(len(a[1])) or resample(*a))
    model, action = small_model(), PlanarAction(dihedral(16))
    sample_orbits(model, action, noise_images(8, action.source_size(model.input_size)), points_per_image=2)
    assert calls == [3]  # 32 elements, 8 of them exact: 4 cosets, one of which is the exact elements' own


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 255.0])
def test_images_that_are_no_images_are_refused_by_the_model_and_before_any_view_is_made(value):
    model, action = small_model(), PlanarAction(cyclic(4))
    images = noise_images(2, action.source_size(model.input_size))
    images[1, 0, 20, 20] = value
    with pytest.raises(ValueError, match="images hold values from"):
        sample_orbits(model, action, images, points_per_image=4, mask_radius=6.0)
    with pytest.raises(ValueError, match="images hold values from"):
        model(images[..., :32, :32])


@pytest.mark.parametrize("names", [("tiny-inception", ("conv2d0", "conv2d2", "mixed3a", "mixed3b")),
                                   ("tiny-vit", ("blocks.0", "blocks.3", "blocks.5"))], ids=["grids", "tokens"])
def test_layers_of_one_network_are_read_in_one_pass_and_are_what_each_alone_gives(names, monkeypatch):
    network, layers = names
    models = [load_model(network, layer) for layer in layers]
    action, size = PlanarAction(dihedral(3)), models[0].input_size
    images = noise_images(3, action.source_size(size))
    alone = [sample_orbits(model, action, images, points_per_image=4, mask_radius=18.0, seed=3) for model in models]
    monkeypatch.setattr(type(models[0]), "forward", None)  # nobody runs a model by itself
    together = sample_layers(models, action, images, points_per_image=4, mask_radius=18.0, seed=3)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.blocks, other.blocks, rtol=1e-5, atol=1e-6)
        assert torch.equal(one.points, other.points) and torch.equal(one.image, other.image)


def test_layers_without_a_common_pass_run_by_themselves():
    model, other = load_model("tiny-inception", "conv2d2"), load_model("tiny-inception", "mixed3b", weights="random")
    action = PlanarAction(cyclic(4))
    images = noise_images(2, action.source_size(model.input_size))
    together = sample_layers([model, other], action, images, points_per_image=4, mask_radius=18.0)
    for one, alone in zip(together, (model, other), strict=True):
        expected = sample_orbits(alone, action, images, points_per_image=4, mask_radius=18.0)
        torch.testing.assert_close(one.blocks, expected.blocks)
    with pytest.raises(ValueError, match=r"images of \[64, 96\] px"):
        sample_layers([model, other.at_size(64)], action, images)


@pytest.mark.parametrize("count", [1, 2, 25, 60])
def test_points_are_drawn_as_torch_draws_them(count):
    """Bit for bit, so that stores of earlier versions hold the same points; but the host need not have the weights."""
    weights = torch.rand(5, 60, generator=torch.Generator().manual_seed(7)) ** 4 + 1e-6

    def generators():
        return [torch.Generator().manual_seed(seed) for seed in range(5)]

    expected = [torch.multinomial(w, count, generator=g) for w, g in zip(weights, generators(), strict=True)]
    assert torch.equal(drawn(weights, count, generators()), torch.stack(expected))
    assert not torch.equal(drawn(1 / weights, count, generators()), torch.stack(expected))  # weights do count


def test_numbers_of_images_at_a_time_that_are_none():
    model, action = small_model(), PlanarAction(cyclic(4))
    images = noise_images(2, action.source_size(model.input_size))
    with pytest.raises(ValueError, match="batch_size is 0; expected at least one image"):
        sample_orbits(model, action, images, points_per_image=2, batch_size=0)


def test_views_go_through_the_network_as_the_memory_allows(monkeypatch):
    """On a CPU one element at a time, after e; where a device has told how much a view takes, half of what is free."""
    cpu, other, cuda = (torch.device(name) for name in ("cpu", "meta", "cuda"))
    everything = list(range(8))
    assert _in_passes(everything, 16, cpu, 0) == [[g] for g in everything]
    assert _in_passes(everything, 16, other, 0) == [[0], [1, 2, 3, 4], [5, 6, 7]]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    assert _in_passes(everything, 4, cuda, 50) == [[0], [1, 2], [3, 4], [5, 6], [7]]
    assert _in_passes([0, 5], 4, cuda, 10**6) == [[0], [5]]  # never less than one element


@pytest.mark.parametrize("elements", [slice(None), slice(2, 7), slice(0, 1)])
def test_elements_that_go_together_give_what_they_give_alone(monkeypatch, elements):
    model, action = small_model(), PlanarAction(dihedral(4))
    images = noise_images(5, action.source_size(model.input_size))
    options = dict(points_per_image=3, mask_radius=7.0, elements=elements)
    alone = sample_orbits(model, action, images, **options)
    monkeypatch.setattr(sampling, "_in_passes", lambda passes, *_: [passes[:1], passes[1:4], passes[4:]]
                        if len(passes) > 4 else [passes])
    together = sample_orbits(model, action, images, **options)
    assert torch.equal(together.points, alone.points) and together.blocks.shape == alone.blocks.shape
    torch.testing.assert_close(together.blocks, alone.blocks, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("indices", [[5], [0, 1, 2], []])
def test_every_image_needs_a_number(indices):
    model, action = small_model(), PlanarAction(cyclic(4))
    images = noise_images(2, action.source_size(model.input_size))
    with pytest.raises(ValueError, match=f"indices name {len(indices)} of 2 images; expected one number for each"):
        sample_orbits(model, action, images, points_per_image=2, mask_radius=7.0, indices=indices)
