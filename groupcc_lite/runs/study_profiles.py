"""Settings of the studies that are no run on one layer: a profile of its own for each chapter, by the same names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from groupcc_lite.runs.profiles import changed_profile


@dataclass(frozen=True)
class SceneProfile:
    """Settings of chapters 11 to 13: autoencoders of images of four quadrants, their SAEs, M, and 180 probing tasks.

    >>> SCENE_PROFILES["book"].base_models
    ('mlp', 'cnn')
    """

    name: str
    held_out: float = 0.25
    """Fraction of the scenes that nothing is trained on."""
    base_models: tuple[str, ...] = ("mlp", "cnn")
    base_epochs: int = 60
    """Passes over the scenes, each turned at random in each pass."""
    base_batch: int = 128
    base_lr: float = 1e-3
    base_amp: bool = False
    """Train base models with bfloat16 matrix products; activations are read in float32 all the same."""
    transform_steps: int = 23_400
    """150 epochs over 10,000 scenes at 64 a batch, as in the paper: from M = I, Adam needs them."""
    transform_batch: int = 64
    transform_lr: float = 1e-3
    latents: int = 2048
    hidden: int = 512
    """Width of the hidden layer of two-layer encoders."""
    ks: tuple[int, ...] = (16,)
    steps: int = 600
    batch_size: int = 1024
    """Activations per step; the invariant SAE takes a quarter as many orbits of four."""
    lr: float = 1e-3
    amp: bool = True
    truncations: tuple[int, ...] = (8, 32)
    tasks: int | None = 4
    """Probing tasks per family (S, SO, SP, SPO), evenly spread; None: all 180."""
    probe_train: int = 3000
    """Images that the probes are trained on; all are of scenes that the coders were trained on."""
    probe_test: int = 2000
    """Images of held-out scenes that the probes are judged on."""
    seeds: int = 3
    """Seeds of base models and M."""
    coder_seeds: int = 1
    """How many of these seeds get coders and probes, which take longest."""
    repeated_ks: tuple[int, ...] = (16,)
    """The k for which they do; for any other k coders and probes have one seed."""
    sweep_latents: tuple[int, ...] = ()
    """Sizes of the equivariant SAEs that ask whether latents are shared within an orbit; their k is the middle one."""
    sweep_steps: tuple[int, ...] = ()
    """And how long they are trained."""


SCENE_PROFILES = {profile.name: profile for profile in (
    SceneProfile("smoke", base_models=("mlp",), base_epochs=10, transform_steps=30, latents=256, hidden=64, ks=(8,),
                 steps=30, batch_size=256, truncations=(8,), tasks=1, probe_train=400, probe_test=400, seeds=1,
                 sweep_latents=(32,), sweep_steps=(30,)),
    SceneProfile("book", base_epochs=24, base_amp=True, transform_steps=3000, latents=512, steps=240, batch_size=512,
                 tasks=2, probe_train=1000, probe_test=1000, seeds=1, sweep_latents=(32, 64, 128, 512),
                 sweep_steps=(240,)),
    SceneProfile("inception", base_epochs=30, ks=(8, 16, 32), steps=240, tasks=6, probe_train=1000, coder_seeds=2,
                 sweep_latents=(32, 64, 256, 2048), sweep_steps=(240, 600)),
    SceneProfile("paper", base_epochs=326, base_batch=64, ks=(8, 16, 32), steps=78_000, batch_size=256,
                 tasks=None, probe_train=12_000, probe_test=4000, amp=False, coder_seeds=3,
                 repeated_ks=(8, 16, 32), sweep_latents=(32, 64, 128, 256, 512, 2048), sweep_steps=(7800, 78_000)),
)}
"""All profiles of chapters 11 to 13, by name."""


@dataclass(frozen=True)
class KeyProfile:
    """Settings of chapter 14: every method on planted problems and on drawings.

    >>> KEY_PROFILES["book"].noises
    (0.05, 0.3, 1.0)
    """

    name: str
    group: str = "D_16"
    channels: int = 64
    """Of the problem of standard difficulty, and of the one made of drawings."""
    steps: int = 1200
    drawing_steps: int = 1200
    orbits: int = 16_384
    seeds: int = 1
    """Repetitions of each method at standard difficulty and on drawings."""
    sweep_group: str = "D_4"
    sweep_channels: int = 32
    sweep_steps: int = 600
    sweep_seeds: int = 1
    noises: tuple[float, ...] = (0.05, 0.3, 1.0)
    superpositions: tuple[float, ...] = (1.0, 2.0, 4.0)
    brokens: tuple[float, ...] = (0.0, 0.3, 0.6)
    lengths: tuple[int, ...] = (300, 2400)
    """Training steps compared at the loudest noise."""


KEY_PROFILES = {profile.name: profile for profile in (
    KeyProfile("smoke", group="D_4", channels=32, steps=60, drawing_steps=60, orbits=2048, sweep_channels=24,
               sweep_steps=30, noises=(0.05, 1.0), superpositions=(1.0, 2.0), brokens=(0.0, 0.6), lengths=(30, 60)),
    KeyProfile("book", group="D_8", steps=500, drawing_steps=400, sweep_steps=300, seeds=2, sweep_seeds=2,
               superpositions=(2.0, 4.0), brokens=(0.0, 0.6)),
    KeyProfile("inception", steps=1000, drawing_steps=1000, seeds=3, sweep_seeds=2, noises=(0.0, 0.05, 0.2, 0.5, 1.0),
               superpositions=(1.0, 2.0, 3.0, 4.0, 6.0), brokens=(0.0, 0.15, 0.3, 0.45, 0.6),
               lengths=(300, 1000, 2400)),
    KeyProfile("paper", seeds=10, steps=6000, drawing_steps=6000, sweep_steps=4000, sweep_seeds=10, sweep_group="D_16",
               sweep_channels=64, orbits=65_536, noises=(0.0, 0.05, 0.1, 0.2, 0.5, 1.0),
               superpositions=(1.0, 2.0, 3.0, 4.0, 6.0, 8.0), brokens=(0.0, 0.1, 0.2, 0.3, 0.45, 0.6),
               lengths=(300, 1200, 4800, 19_200)),
)}
"""All profiles of chapter 14, by name."""


@dataclass(frozen=True)
class DepthProfile:
    """Settings of chapter 15: which layers of which networks are compared, and what each layer gets.

    Every layer has the same images, mask, group and coder, or depth could not be told from settings.

    >>> [name for name, _ in DEPTH_PROFILES["book"].networks]
    ['tiny-inception', 'tiny-vit']
    """

    name: str
    networks: tuple[tuple[str, tuple[str, ...]], ...]
    """Two networks, each with its layers in the order of their depth."""
    group: str = "D_8"
    images: int = 80
    """Drawings, or photographs evenly spread over all of them."""
    held_out: float = 0.2
    points_per_image: int = 12
    mask_radius: float = 18.0
    """Pixels from the centre, for all layers: what the deepest of the first network can look at."""
    latents: int = 256
    k: int = 16
    steps: int = 80
    batch_size: int = 256
    seeds: int = 2
    """Coders of each layer; the images stay the same."""
    turned_images: int = 12
    """Held-out images on which the local equivariance error is taken."""


TINY_STACKS = (("tiny-inception", ("conv2d0", "conv2d2", "mixed3a", "mixed3b")),
               ("tiny-vit", ("blocks.0", "blocks.2", "blocks.4", "blocks.5")))
DEPTH_PROFILES = {profile.name: profile for profile in (
    DepthProfile("smoke", TINY_STACKS, group="D_4", images=24, points_per_image=8, latents=48, k=8, steps=10,
                 batch_size=64, seeds=2, turned_images=4),
    DepthProfile("book", TINY_STACKS),
    DepthProfile("inception", (("googlenet", ("conv2d2", "mixed3a", "mixed3b", "mixed4a", "mixed4c")),
                               ("efficientnet-lite0", ("blocks.1", "blocks.2", "blocks.3", "blocks.4"))),
                 images=240, points_per_image=20, mask_radius=44.0, latents=512, k=32, steps=200),
    DepthProfile("paper", (("inceptionv1", ("conv2d2", "mixed3a", "mixed3b", "mixed4a", "mixed4c")),
                           ("efficientnet-lite0", ("blocks.1", "blocks.2", "blocks.3", "blocks.4"))),
                 group="D_16", images=4000, points_per_image=10, mask_radius=32.0, latents=2048, k=32, steps=4000,
                 batch_size=1024, seeds=5),
)}
"""All profiles of the chapter on depth, by name."""


@dataclass(frozen=True)
class CurveProfile:
    """Settings of chapter 16: which layers are searched for curve detectors, with which dictionaries and stimuli.

    The crosscoder, and the photographs, are those of the chapters on one layer.

    >>> CURVE_PROFILES["book"].layers[-1]
    'mixed3b'
    """

    name: str
    network: str = "tiny-inception"
    layers: tuple[str, ...] = ("conv2d0", "conv2d1", "conv2d2", "mixed3a", "mixed3b")
    """In the order of their depth; the last one is that of the crosscoder."""
    branches: tuple[int, ...] = (32, 48, 24, 16)
    """Channels of the last layer's branches: 1x1, 3x3, 5x5, and 1x1 after a pool."""
    points_per_image: int = 20
    """Activations that dictionaries are trained on; the paper draws 10, from many more images."""
    latents: int = 384
    k: int = 16
    sparsity: float = 2.0
    """lambda of the ReLU coders' L1 term."""
    steps: int = 160
    batch_size: int = 512
    lr: float = 3e-3
    seeds: int = 2
    """Of the sparse autoencoders."""
    crosscoder_seeds: int = 2
    radii: tuple[float, ...] = (6.0, 10.0, 16.0, 26.0)
    """Of the arcs, in pixels; straight ones are added."""
    directions: int = 72
    turned_images: int = 48
    """Held-out images whose orbits are the second witness."""
    turned_points: int = 20
    """Points in each of them."""


CURVE_PROFILES = {profile.name: profile for profile in (
    CurveProfile("smoke", points_per_image=8, latents=160, k=8, steps=40, batch_size=128, radii=(6.0, 16.0),
                 turned_images=10, turned_points=16, crosscoder_seeds=1),
    CurveProfile("book"),
    CurveProfile("inception", network="googlenet", branches=(128, 192, 96, 64), points_per_image=60, latents=1024, k=32,
                 steps=400, batch_size=1024, lr=2e-3, seeds=3, radii=(6.0, 10.0, 16.0, 26.0, 42.0), turned_images=80,
                 turned_points=40),
    CurveProfile("paper", network="inceptionv1", branches=(128, 192, 96, 64), points_per_image=10, latents=4096, k=32,
                 steps=12_000, batch_size=4096, lr=5e-4, seeds=5, radii=(6.0, 10.0, 16.0, 26.0, 42.0),
                 turned_images=2000, turned_points=10),
)}
"""All profiles of the chapter on curve detectors, by name."""


@dataclass(frozen=True)
class ResponseProfile:
    """Settings of chapter 17: the planted problem that response vectors are tried on. All else is the run's.

    >>> RESPONSE_PROFILES["inception"].group
    'D_8'
    """

    name: str
    group: str = "D_4"
    steps: int = 300
    """Of training."""
    seeds: int = 2


RESPONSE_PROFILES = {profile.name: profile for profile in (
    ResponseProfile("smoke", group="C_4", steps=200, seeds=1),
    ResponseProfile("book"),
    ResponseProfile("inception", group="D_8", steps=600, seeds=3),
    ResponseProfile("paper", group="D_16", steps=6000, seeds=10),
)}
"""All profiles of the chapter on response vectors, by name."""


@dataclass(frozen=True)
class ManifoldProfile:
    """Settings of chapter 18: toys on spheres, planted features of which some are spheres, and SAEs of the layer.

    >>> MANIFOLD_PROFILES["book"].mixed_dims
    (2, 5)
    """

    name: str
    dims: tuple[int, ...] = (2, 5)
    """Of hollow spheres S^(dim - 1) that are learned alone."""
    varied_dims: tuple[int, ...] = (2, 5)
    """Of those with radial variation."""
    sizes: tuple[int, ...] = (4, 8, 16, 32, 64)
    """Numbers of latents of these toys."""
    toy_steps: int = 1000
    toy_seeds: int = 2
    grid: int = 24
    """Side of the phase diagram."""
    features: int = 32
    """Planted ones, every other one a sphere."""
    alpha: float = 1.0
    """They are active in proportion to i^-(1 + alpha)."""
    mixed_dims: tuple[int, ...] = (2, 5)
    """Two problems, one on either side of alpha = beta; the last one also with radial variation, as a control."""
    mixed_sizes: tuple[int, ...] = (128,)
    """Numbers of latents; four times the features is one of them."""
    mixed_steps: int = 2000
    mixed_points: int = 65_536
    mixed_seeds: int = 4
    latents: tuple[int, ...] = (256, 1024)
    """Of the layer's sparse autoencoders; all else is the run's."""
    layer_steps: int = 200
    """Of their training."""
    layer_seeds: int = 2
    most_compared: int = 2048
    """Up to so many latents families are counted, which takes all pairs of fitted blocks."""


MANIFOLD_PROFILES = {profile.name: profile for profile in (
    ManifoldProfile("smoke", dims=(2, 5), sizes=(4, 12, 16), toy_steps=30, toy_seeds=2, grid=8,
                    features=8, mixed_sizes=(8, 32), mixed_steps=40, mixed_points=4096, latents=(64, 128),
                    layer_steps=20),
    ManifoldProfile("book"),
    ManifoldProfile("inception", dims=(2, 3, 5, 8), sizes=(8, 16, 32, 64, 128), toy_steps=3000, toy_seeds=3, grid=40,
                    mixed_sizes=(64, 128, 256), mixed_steps=3000, mixed_points=131_072, mixed_seeds=4,
                    latents=(256, 1024, 2048), layer_steps=600),
    ManifoldProfile("paper", dims=(2, 3, 4, 5, 6, 7, 8), varied_dims=(2, 3, 4, 5, 6, 7, 8),
                    sizes=(4, 8, 16, 32, 64, 128, 256, 512, 1024), toy_steps=20_000, toy_seeds=5, grid=60,
                    features=64, mixed_sizes=(16, 32, 64, 128, 256, 512, 1024), mixed_steps=30_000,
                    mixed_points=1_048_576, mixed_seeds=5, latents=(1024, 2048, 4096, 8192, 16_384), layer_steps=12_000,
                    layer_seeds=3,
                    most_compared=4096),
)}
"""All profiles of the chapter on manifolds, by name."""


@dataclass(frozen=True)
class SavingsProfile:
    """Settings of chapter 19: planted orbits with Zipf frequencies, broken symmetry, and coders of the layer.

    >>> SAVINGS_PROFILES["book"].groups
    ('D_4', 'D_16')
    """

    name: str
    groups: tuple[str, ...] = ("D_4", "D_16")
    channels: tuple[int, ...] = (32, 64)
    superpositions: tuple[float, ...] = (3.0, 2.0)
    """Features per channel, for each group."""
    alpha: float = 0.5
    """In a random order of families, each member of family r is active in proportion to r^-(1 + alpha)."""
    active: float = 2.0
    k: int = 4
    """Latents that may be active, for all coders alike: twice as many as features are."""
    sizes: tuple[tuple[int, ...], ...] = ((8, 16, 32), (16,))
    """Numbers of dictionary vectors, for each group; of bases for the tied crosscoder."""
    steps: tuple[int, ...] = (220, 100)
    """Of training, for each group."""
    lr: float = 1e-2
    """Of all coders on planted orbits."""
    batch_size: int = 256
    orbits: int = 8192
    seeds: int = 3
    broken_group: str = "D_4"
    broken_channels: int = 32
    amounts: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)
    """How far the symmetry of elements is broken, in shares of 90 degrees."""
    few_amounts: tuple[float, ...] = (0.0, 1.0)
    """The same for views, and for poses the share of those that are missing."""
    broken_steps: int = 120
    broken_seeds: int = 3
    layer_latents: int = 64
    """Of the layer's crosscoder, and bases of its tied one, which then has as many parameters."""
    layer_k: int = 16
    layer_lr: float = 2e-3
    layer_steps: int = 40
    layer_batch: int = 256
    layer_seeds: int = 3
    compared_orbits: int = 256
    """Orbits of each half of the held-out images whose second moments are compared."""


SAVINGS_PROFILES = {profile.name: profile for profile in (
    SavingsProfile("smoke", groups=("D_4",), channels=(24,), superpositions=(2.0,), sizes=((8, 16),), steps=(30,),
                   batch_size=128, orbits=1024, seeds=2, broken_channels=16, amounts=(0.0, 1.0), broken_steps=20,
                   broken_seeds=2, layer_latents=16, layer_k=8, layer_steps=10, layer_batch=128, layer_seeds=2,
                   compared_orbits=64),
    SavingsProfile("book"),
    SavingsProfile("inception", sizes=((8, 16, 32, 64), (8, 16, 32)), steps=(1000, 400), orbits=16_384, seeds=3,
                   amounts=(0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0), few_amounts=(0.0, 0.25, 0.5, 0.75, 1.0),
                   broken_steps=400, broken_seeds=5,
                   layer_latents=128, layer_k=32, layer_steps=150),
    SavingsProfile("paper", sizes=((8, 16, 32, 64, 128), (8, 16, 32, 64, 128, 256)), steps=(6000, 6000),
                   lr=3e-3, batch_size=512, orbits=65_536, seeds=10, broken_group="D_16", broken_channels=64,
                   amounts=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
                   few_amounts=(0.0, 0.25, 0.5, 0.75, 1.0), broken_steps=4000, broken_seeds=10,
                   layer_latents=1024, layer_k=32, layer_steps=6000, layer_batch=1024, layer_seeds=5,
                   compared_orbits=2048),
)}
"""All profiles of the chapter on symmetric dictionaries, by name."""


@dataclass(frozen=True)
class SuperpositionProfile:
    """Settings of chapter 20: toy models of superposition, attacked, and trained on attacks.

    >>> SUPERPOSITION_PROFILES["book"].dimensions
    20
    """

    name: str
    features: int = 100
    dimensions: int = 20
    seeds: int = 5
    steps: int = 1000
    """Of training, the same for every toy."""
    batch_size: int = 128
    sparsities: tuple[float, ...] = (0.0, 0.3, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
    """Fine where all features come to lie in antipodal pairs; 0, 0.6, 0.7 and `fixed` are among them."""
    shares: tuple[float, ...] = (0.05, 0.1, 0.2)
    """eps of attacks as shares of the mean norm; 0.1 is one of them."""
    attack_steps: int = 20
    samples: int = 1024
    """Held out, attacked for every toy."""
    fixed: float = 0.9
    """Sparsity at which other interventions are compared."""
    overlaps: tuple[float, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03)
    """Weights of the penalty on overlaps."""
    decays: tuple[float, ...] = (0.1, 0.3, 0.7, 1.5)
    """Strengths of weight decay, at the fixed sparsity and at those that are trained on attacks."""
    rooms: tuple[int, ...] = (30, 50, 100)
    """Numbers of dimensions of toys that have more room, the last one for all features."""
    trained: tuple[float, ...] = (0.8, 0.9, 0.95)
    """Sparsities of toys that are trained on attacks, with the share 0.1; among `sparsities`, `fixed` among them."""
    tied: tuple[float, ...] = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
    """Sparsities of toys whose data have the defect that amplitudes depend on sparsity; among `sparsities`."""


SUPERPOSITION_PROFILES = {profile.name: profile for profile in (
    SuperpositionProfile("smoke", features=20, dimensions=4, seeds=2, steps=60, batch_size=64,
                         sparsities=(0.0, 0.6, 0.7, 0.9), attack_steps=5, samples=64, overlaps=(0.003, 0.03),
                         decays=(0.3, 1.5), rooms=(8, 20), trained=(0.9,), tied=(0.0, 0.9)),
    SuperpositionProfile("book"),
    SuperpositionProfile("inception", seeds=10, steps=2000, batch_size=256, samples=2048,
                         decays=(0.1, 0.3, 0.7, 1.5, 2.5),
                         sparsities=(0.0, 0.2, 0.4, 0.5, 0.55, 0.6, 0.625, 0.65, 0.675, 0.7, 0.725, 0.75, 0.775, 0.8,
                                     0.85, 0.9, 0.95, 0.98, 0.99)),
    SuperpositionProfile("paper", seeds=20, steps=10_000, batch_size=256, samples=4096, attack_steps=40,
                         decays=(0.1, 0.3, 0.7, 1.5, 2.5),
                         sparsities=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.525, 0.55, 0.575, 0.6, 0.625, 0.65, 0.675, 0.7,
                                     0.725, 0.75, 0.775, 0.8, 0.825, 0.85, 0.875, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99)),
)}
"""All profiles of the chapter on superposition, by name."""


@dataclass(frozen=True)
class RobustProfile:
    """Settings of chapter 21: what is measured on networks that were trained on attacks, and on their controls.

    >>> ROBUST_PROFILES["book"].seeds
    (0, 1, 2)
    """

    name: str
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of networks; those of the package have no others."""
    eps: float = 0.5
    """L2 norm of the attacks that layers are shown, for pixels from 0 to 1."""
    radii: tuple[float, ...] = ()
    """Norms of further attacks, under which accuracy is taken."""
    attacked: int = 16
    """Held-out drawings."""
    named: int = 96
    """Those on which accuracy is taken without attacks."""
    layers: tuple[str, ...] = ("conv2d2", "mixed3a", "mixed3b")
    train_drawings: int = 64
    """Of the sparse autoencoders."""
    points: int = 64
    """In each drawing."""
    latents: int = 256
    k: int = 16
    sae_steps: int = 50
    symmetry_drawings: int = 64
    """A quarter of them held out."""
    symmetry_points: int = 24
    blurs: tuple[int, ...] = (17,)
    """Sides, in pixels, of the squares by which drawings of plain networks are blurred."""
    census_layers: tuple[str, ...] = ("mixed3b",)
    group: str = "D_8"
    """Of the group crosscoder."""
    census_drawings: int = 32
    census_points: int = 12
    census_latents: int = 128
    census_k: int = 16
    census_steps: int = 50
    turned: int = 4
    """Drawings whose attacks are compared with those of their turned copies."""
    elements: tuple[int, ...] = (1, 2, 4)
    """Of D_4, by number."""


ROBUST_PROFILES = {profile.name: profile for profile in (
    RobustProfile("smoke", seeds=(0, 1), attacked=2, named=8, layers=("mixed3b",), train_drawings=8, points=16,
                  latents=64, k=8, sae_steps=5, symmetry_drawings=16, symmetry_points=8, group="D_4",
                  census_drawings=20, census_points=20, census_latents=32, census_k=8, census_steps=5, turned=2,
                  elements=(1,)),
    RobustProfile("book"),
    RobustProfile("inception", radii=(0.25, 1.0), attacked=64, named=1024, train_drawings=256, latents=512,
                  sae_steps=300, symmetry_drawings=256, census_layers=("mixed3a", "mixed3b"), census_drawings=80,
                  census_latents=256, census_steps=120, turned=16, elements=(1, 2, 3, 4, 5, 6, 7)),
    RobustProfile("paper", radii=(0.25, 1.0), attacked=256, named=4096, train_drawings=2048, latents=1024,
                  sae_steps=3000, symmetry_drawings=1024, census_layers=("conv2d2", "mixed3a", "mixed3b"),
                  group="D_16", census_drawings=2000, census_latents=1024, census_steps=4000, turned=64,
                  elements=(1, 2, 3, 4, 5, 6, 7)),
)}
"""All profiles of the chapter on robust networks, by name."""


def get_curve_profile(profile: str | CurveProfile, /, **changes: Any) -> CurveProfile:
    """The profile of chapter 16 with this name, or the given one, with some fields changed; ValueError for others.

    >>> get_curve_profile("smoke", seeds=3).seeds
    3
    """
    return changed_profile(profile, CURVE_PROFILES, CurveProfile, changes)


def get_depth_profile(profile: str | DepthProfile, /, **changes: Any) -> DepthProfile:
    """The profile of chapter 15 with this name, or the given one, with some fields changed; ValueError for others.

    >>> get_depth_profile("smoke", seeds=3).seeds
    3
    """
    return changed_profile(profile, DEPTH_PROFILES, DepthProfile, changes)


def get_key_profile(profile: str | KeyProfile, /, **changes: Any) -> KeyProfile:
    """The answer key's profile of this name, or the given one, with some fields changed; ValueError as `get_profile`.

    >>> get_key_profile("smoke", seeds=3).seeds
    3
    """
    return changed_profile(profile, KEY_PROFILES, KeyProfile, changes)


def get_response_profile(profile: str | ResponseProfile, /, **changes: Any) -> ResponseProfile:
    """The profile of chapter 17 with this name, or the given one, with some fields changed; ValueError for others.

    >>> get_response_profile("smoke", seeds=3).seeds
    3
    """
    return changed_profile(profile, RESPONSE_PROFILES, ResponseProfile, changes)


def get_manifold_profile(profile: str | ManifoldProfile, /, **changes: Any) -> ManifoldProfile:
    """The profile of chapter 18 with this name, or the given one, with some fields changed; ValueError for others.

    >>> get_manifold_profile("smoke", toy_seeds=3).toy_seeds
    3
    """
    return changed_profile(profile, MANIFOLD_PROFILES, ManifoldProfile, changes)


def get_savings_profile(profile: str | SavingsProfile, /, **changes: Any) -> SavingsProfile:
    """The profile of chapter 19 with this name, or the given one, with some fields changed; ValueError for others.

    >>> get_savings_profile("smoke", seeds=3).seeds
    3
    """
    return changed_profile(profile, SAVINGS_PROFILES, SavingsProfile, changes)


def get_robust_profile(profile: str | RobustProfile, /, **changes: Any) -> RobustProfile:
    """The profile of chapter 21 with this name, or the given one, with some fields changed; ValueError for others.

    >>> get_robust_profile("smoke", turned=3).turned
    3
    """
    return changed_profile(profile, ROBUST_PROFILES, RobustProfile, changes)


def get_superposition_profile(profile: str | SuperpositionProfile, /, **changes: Any) -> SuperpositionProfile:
    """The profile of chapter 20 with this name, or the given one, with some fields changed; ValueError for others.

    >>> get_superposition_profile("smoke", seeds=3).seeds
    3
    """
    return changed_profile(profile, SUPERPOSITION_PROFILES, SuperpositionProfile, changes)


def get_scene_profile(profile: str | SceneProfile, /, **changes: Any) -> SceneProfile:
    """The scene profile of this name, or the given one, with some fields changed; ValueError as for `get_profile`.

    >>> get_scene_profile("smoke", ks=(4, 8)).ks
    (4, 8)
    """
    return changed_profile(profile, SCENE_PROFILES, SceneProfile, changes)
