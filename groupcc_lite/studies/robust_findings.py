"""Robust networks beside plain ones: superposition by layer, what attacks do to latents, symmetry, turned attacks.

Criteria, written before any of this was measured on the trained networks. A treatment differs from plain training if
the intervals over seeds, of the difference from the plain network of the same seed, do not contain 0. The paper's
reading (arXiv 2508.17456) is borne out if attacked networks have a higher FVE and a lower psi than plain ones, and
noise-trained ones do not; the reading of Bereska et al. (2512.13568) if their psi is higher. "More equivariant" means a
lower local equivariance error *and* a higher linear ceiling, and that the noise-trained ones show neither.

Added when first numbers of the plan's networks on mixed3b were known, and before `RobustStudy` had run. Two other
things may lie behind a lower error and a higher ceiling: activations that change less (smoother ones), and networks
that have learned less, for an untrained one has a high ceiling too. So it is also asked (a) whether error /
`unfollowed` is lower than in plain networks, and (b) whether error and ceiling also differ, in the same direction, from
a plain network of the same seed that was stopped when it named about as badly as that of the largest radius. What (a)
or (b) refuses is reported as not told apart from smoothness, or from having learned less.

Added after a review of the chapter, when all numbers were known: plain networks whose drawings are blurred
(`blurred_symmetry`), since (a) does not cancel smoothness; how much pictures differ as wholes (`between_pictures`); and
whether attacks move with the image by a pixel (`attacks_move`), without which a small cosine of turned attacks says
nothing about turning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from groupcc_lite.actions import PlanarAction
from groupcc_lite.coders import SparseAutoencoder, copy_fve, evaluate, train
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.models import BaseModel, ShapeNaming
from groupcc_lite.orbits import TensorOrbits, local_equivariance_error
from groupcc_lite.stimuli import Drawings, sample_drawings
from groupcc_lite.superposition import L2Attack, effective_features, random_noise
from groupcc_lite.symmetry import linear_ceiling

LAYERS = ("conv2d2", "mixed3a", "mixed3b")
MARGIN = 8
"""Pixels of an image beyond the input, for small motions."""
_SIZE = 96
HELD_OUT = 9_000_000
"""Seed of drawings that neither training nor the records of networks saw."""
_ATTACK_STEPS = 10


@lru_cache(maxsize=8)
def drawn(drawings: int, size: int = _SIZE, seed: int = HELD_OUT) -> Drawings:
    """`sample_drawings`, kept while one network after another is shown the same ones; nobody may change its tensors.

    >>> drawn(4) is drawn(4)
    True
    """
    return sample_drawings(drawings, size, seed)


class LayerSuperposition(NamedTuple):
    """How a sparse autoencoder of fixed width and L0 fares on a layer; `layer_superposition` measures it.

    >>> LayerSuperposition._fields[:3]
    ('fve', 'psi', 'l0_clean')
    """

    fve: float
    """Held-out fraction of variance explained."""
    psi: float
    """Effective features for each channel."""
    l0_clean: float
    """Latents that fire at a point, for drawings as they are."""
    l0_attacked: float
    l0_noisy: float
    """With noise of the norm that the attack used."""


def layer_superposition(model: BaseModel, images: dict[str, Float[Tensor, "b 3 s s"]], *, latents: int = 512,
                        k: int = 16, steps: int = 300, points: int = 64, seed: int = 0) -> LayerSuperposition:
    """Train an autoencoder on a layer and read it on held-out drawings.

    `images`: "train", and "clean", "attacked", "noisy" of the same held-out drawings. Points are the same cells of all
    of them, drawn at random. The autoencoder is BatchTopK, whose threshold is fixed after training, so L0 can change.

    >>> from groupcc_lite.models import load_model
    >>> x = sample_drawings(8, seed=1).images
    >>> found = layer_superposition(load_model(), {"train": x, "clean": x, "attacked": x, "noisy": x}, latents=64,
    ...                             k=4, steps=5)
    >>> found.l0_clean == found.l0_attacked, found.fve <= 1
    (True, True)
    """
    sae = SparseAutoencoder(model.channels, latents, activation="batchtopk", k=k, seed=seed)
    train_points = _points(model, images["train"], points, seed)
    sae.scale.fill_(float(train_points.square().sum(-1).mean().sqrt()))
    train(sae, TensorOrbits(train_points[:, None], cyclic(1)), steps=steps,
          batch_size=min(512, len(train_points)), seed=seed, progress=False)
    held_out = {name: _points(model, images[name], points, seed + 1) for name in ("clean", "attacked", "noisy")}
    with torch.no_grad():
        codes = {name: sae.encode(x) for name, x in held_out.items()}
    fve = evaluate(sae, TensorOrbits(held_out["clean"][:, None], cyclic(1))).fve_identity
    l0 = (float((codes[name] > 0).sum(1).float().mean()) for name in held_out)
    return LayerSuperposition(float(fve), effective_features(codes["clean"], model.channels), *l0)


@torch.no_grad()
def _points(model: BaseModel, images: Tensor, points: int, seed: int) -> Float[Tensor, "n d"]:
    grid = torch.cat([model(part) for part in images.split(32)]).flatten(2)
    cells = torch.randint(grid.shape[2], (points,), generator=torch.Generator().manual_seed(seed))
    return grid[:, :, cells].movedim(1, 2).flatten(0, 1).contiguous()


def three_versions(network: torch.nn.Module, eps: float, *, drawings: int = 64, seed: int = HELD_OUT
                   ) -> dict[str, Float[Tensor, "b 3 96 96"]]:
    """The same held-out drawings clean, attacked for this network, and with noise of the norms that the attack used.

    >>> from groupcc_lite.models import load_tiny
    >>> found = three_versions(load_tiny(), 0.5, drawings=4)
    >>> [round(float((found[name] - found["clean"]).flatten(1).norm(dim=1).max()), 1) for name in found]
    [0.0, 0.5, 0.5]
    """
    scenes = drawn(drawings, seed=seed)
    x = scenes.images
    attacked = L2Attack(eps, _ATTACK_STEPS)(ShapeNaming(network.eval(), scenes).losses, x)
    noisy = random_noise(x, (attacked - x).flatten(1).norm(dim=1), seed=1, box=(0.0, 1.0))
    return {"clean": x, "attacked": attacked, "noisy": noisy}


class LayerSymmetry(NamedTuple):
    """How far a layer turns with the image; `layer_symmetry` measures it.

    >>> LayerSymmetry(0.5, 0.02, 0.04, 0.1, 20.0).relative
    0.5
    """

    ceiling: float
    """Mean over the elements but e of the linear ceiling of D_4: what a linear map of x[e] knows of x[g]."""
    error: float
    """Local equivariance error, for rotations."""
    unfollowed: float
    """The same where points stay as the image turns: what no following at all would give."""
    copied: float
    """What a copy of x[e] explains of x[g], mean over the elements but e: how far the layer is invariant."""
    dimensions: float
    """Participation ratio of the covariance, (sum of eigenvalues)^2 / sum of their squares."""

    @property
    def relative(self) -> float:
        """error / unfollowed: smoother activations lower both."""
        return self.error / self.unfollowed


def layer_symmetry(model: BaseModel, *, drawings: int = 192, points: int = 24, seed: int = 0) -> LayerSymmetry:
    """The linear ceiling of D_4 on held-out drawings, and the local equivariance error of rotations.

    Images are turned exactly, by whole pixels; activations are read at the cell nearest to each turned point.

    >>> from groupcc_lite.models import load_model
    >>> found = layer_symmetry(load_model(), drawings=24, points=8)
    >>> found.ceiling < 1, 0 < found.error < found.unfollowed
    (True, True)
    """
    large = drawn(max(4, drawings // 8), _SIZE + MARGIN, seed=HELD_OUT + 2 + seed).images
    return symmetry_of(model, drawn(drawings, seed=HELD_OUT + 1 + seed).images, large, points=points,
                       seed=seed)


def symmetry_of(model: BaseModel, images: Float[Tensor, "b 3 s s"], large: Float[Tensor, "k 3 l l"], *,
                points: int = 24, seed: int = 0) -> LayerSymmetry:
    """What `layer_symmetry` measures, on images of one's own, of the model's input size.

    The last quarter of `images` is held out; `large` are others with MARGIN pixels more, for small motions.
    ValueError for fewer than 8 images, and as for `local_equivariance_error`.

    >>> from groupcc_lite.models import load_model
    >>> images = torch.rand(8, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    >>> symmetry_of(load_model(), images, torch.rand(2, 3, 104, 104), points=4).dimensions > 1
    True
    """
    if len(images) < 8:
        raise ValueError(f"{len(images)} images; expected at least 8, of which two are held out")
    orbits = _orbits(model, images, points, seed)
    cut = (3 * len(images) // 4) * points
    held_out = orbits[cut:]
    ceiling = linear_ceiling(orbits[:cut].split(max(1, cut // 10)), held_out.split(512))
    found = local_equivariance_error(model, large, generators=["rotation"], points=32, draws=20, seed=seed)
    spread = torch.linalg.eigvalsh(orbits[:, 0].double().T.cov())
    return LayerSymmetry(float(ceiling[1:].mean()), float(found.mean), float(found.unfollowed.mean()),
                         float(copy_fve(held_out.split(512))[1:].mean()),
                         float(spread.sum() ** 2 / spread.square().sum()))


def between_pictures(x: Float[Tensor, "i p d"]) -> float:
    """Share of the variance of activations, at p points of i pictures, that lies between pictures; not below 0.

    What points add to the spread of picture means is taken off (one-way analysis of variance).

    >>> noise = torch.randn(200, 10, 3, generator=torch.Generator().manual_seed(0))
    >>> round(between_pictures(noise), 1), round(between_pictures(noise * 0.1 + noise[:, :1]), 1)
    (0.0, 1.0)
    """
    within = float(x.var(1).mean(0).sum())
    between = max(0.0, float(x.mean(1).var(0).sum()) - within / x.shape[1])
    return between / (between + within)


def layer_between_pictures(model: BaseModel, *, drawings: int = 192, points: int = 24, seed: int = 0) -> float:
    """`between_pictures` of the drawings on which `layer_symmetry` measures, at random cells.

    >>> from groupcc_lite.models import load_model
    >>> 0 <= layer_between_pictures(load_model(), drawings=8, points=8) <= 1
    True
    """
    images = drawn(drawings, seed=HELD_OUT + 1 + seed).images
    return between_pictures(_points(model, images, points, seed).unflatten(0, (drawings, points)))


def blurred_symmetry(model: BaseModel, side: int, *, drawings: int = 192, points: int = 24,
                     seed: int = 0) -> LayerSymmetry:
    """`layer_symmetry` for drawings that are blurred by a square of odd `side` pixels: smoother, and nothing else.

    >>> from groupcc_lite.models import load_model
    >>> sharp, soft = (blurred_symmetry(load_model(), side, drawings=8, points=8) for side in (1, 9))
    >>> soft.error < sharp.error
    True
    """
    sizes = ((drawings, _SIZE, HELD_OUT + 1 + seed), (max(4, drawings // 8), _SIZE + MARGIN, HELD_OUT + 2 + seed))
    images, large = (_blurred(drawn(*of).images, side) for of in sizes)
    return symmetry_of(model, images, large, points=points, seed=seed)


def _blurred(images: Float[Tensor, "b 3 s s"], side: int) -> Float[Tensor, "b 3 s s"]:
    """The mean over a square, first along columns and then along rows; black beyond the border."""
    for kernel in ((side, 1), (1, side)):
        images = torch.nn.functional.avg_pool2d(images, kernel, 1, (kernel[0] // 2, kernel[1] // 2))
    return images


@torch.no_grad()
def _orbits(model: BaseModel, images: Tensor, points: int, seed: int) -> Float[Tensor, "n 8 d"]:
    """Activations of D_4 orbits, in the order image, point."""
    action, geometry = PlanarAction(dihedral(4)), model.geometry
    reach = 0.3 * model.input_size
    where = (torch.rand(points, 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * reach
    blocks = []
    for turned, at in zip(action.images(images, model.input_size), action.points(where), strict=True):
        grid = torch.cat([model(part) for part in turned.split(32)])
        cell = ((at + geometry.image_centre - geometry.first) / geometry.stride).round().long()
        blocks.append(grid[:, :, cell[:, 1], cell[:, 0]].movedim(1, 2).flatten(0, 1))
    return torch.stack(blocks, 1)


class AttackTurns(NamedTuple):
    """Cosine of attack(gI) - gI with g (attack(I) - I), element by element, and two nulls; `attacks_turn` measures it.

    >>> AttackTurns._fields
    ('own', 'other', 'random')
    """

    own: Float[Tensor, " g"]
    other: Float[Tensor, " g"]
    """The same with g (attack(I') - I') of another drawing I'."""
    random: Float[Tensor, " g"]
    """The same with a random direction."""


def attacks_turn(network: torch.nn.Module, eps: float, *, drawings: int = 32, elements: Sequence[int] = range(8),
                 seed: int = HELD_OUT) -> AttackTurns:
    """Do attacks turn with the image? Means over drawings, for elements of D_4 in the order that is given.

    Questions are turned with their drawing, and each is asked at the cell nearest to it. Of e the cosine is 1 by
    construction.

    >>> from groupcc_lite.models import load_tiny
    >>> found = attacks_turn(load_tiny(), 0.5, drawings=4)
    >>> round(float(found.own[0]), 3), bool(found.own[1:].mean() > found.random[1:].abs().mean())
    (1.0, True)
    """
    scenes, action = drawn(drawings, seed=seed), PlanarAction(dihedral(4))
    attack = L2Attack(eps, _ATTACK_STEPS)

    def moved(element: int) -> Tensor:
        turned = turned_drawings(scenes, action, element)
        return attack(ShapeNaming(network.eval(), turned).losses, turned.images) - turned.images

    return turning(moved, elements, seed=seed)


def turning(moved: Callable[[int], Float[Tensor, "b 3 s s"]], elements: Sequence[int], *, seed: int = 0) -> AttackTurns:
    """Cosines of changes `moved(g)` of turned images with the turned change `moved(0)` of the images as they are.

    `elements` are those of D_4 by number. ValueError for fewer than two images, which leave no other to compare with.
    `seed` of the random direction must not be that of an attack's start, 0: it would be the same direction.

    >>> x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> action = PlanarAction(dihedral(4))
    >>> found = turning(lambda g: action.images(x, 16, elements=[g])[0], [1, 4])
    >>> found.own.round(decimals=3), bool(found.other.abs().max() < 0.2)
    (tensor([1., 1.]), True)
    """
    first, action = moved(0), PlanarAction(dihedral(4))
    if len(first) < 2:
        raise ValueError(f"{len(first)} image; expected at least two, one being the other's control")
    noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(seed))
    rows = []
    for element in elements:
        mine = action.images(first, first.shape[-1], elements=[element])[0]
        now = first if element == 0 else moved(element)
        rows.append(torch.stack([_cosine(now, against) for against in (mine, mine.roll(1, 0), noise)]))
    return AttackTurns(*torch.stack(rows, 1))


def attacks_move(network: torch.nn.Module, eps: float, pixels: int, *, drawings: int = 8,
                 seed: int = HELD_OUT) -> float:
    """Mean cosine of the attack on a drawing moved by some pixels with the moved attack, where both can be seen.

    A control for `attacks_turn`: moving by one pixel is the smallest change of place, moving by the network's stride
    one that it follows exactly but for the image's border. ValueError for more pixels than half of MARGIN.

    >>> from groupcc_lite.models import load_tiny
    >>> round(attacks_move(load_tiny(), 0.5, 0, drawings=2), 3)
    1.0
    """
    if not 0 <= pixels <= MARGIN // 2:
        raise ValueError(f"pixels is {pixels}; expected 0 to {MARGIN // 2}")
    large = drawn(drawings, _SIZE + MARGIN, seed=seed)
    attack = L2Attack(eps, _ATTACK_STEPS)

    def change(by: int) -> Tensor:
        left = MARGIN // 2 - by
        images = large.images[:, :, MARGIN // 2:MARGIN // 2 + _SIZE, left:left + _SIZE].contiguous()
        positions = large.positions + torch.tensor([float(by), 0.0]).to(large.positions)
        moved = dataclasses.replace(large, images=images, positions=positions)
        return attack(ShapeNaming(network.eval(), moved).losses, images) - images

    first, now = change(0), change(pixels)
    return float(_cosine(now[..., pixels:], first[..., :_SIZE - pixels]))


def turned_drawings(drawings: Drawings, action: PlanarAction, element: int) -> Drawings:
    """The drawings turned by one element, with where their shapes are then; orientations are left as they were.

    >>> scenes = sample_drawings(2, seed=0)
    >>> turned = turned_drawings(scenes, PlanarAction(dihedral(4)), 1)
    >>> torch.allclose(turned.positions.norm(dim=-1), scenes.positions.norm(dim=-1), atol=1e-4, equal_nan=True)
    True
    """
    flat = drawings.positions.flatten(0, -2)
    positions = action.points(flat)[element].reshape(drawings.positions.shape).to(flat)
    return dataclasses.replace(drawings, images=action.images(drawings.images, _SIZE, elements=[element])[0],
                               positions=positions)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1), dim=1).mean()
