"""What a dictionary saves that knows the group: planted orbits, broken symmetry, and a layer.

All coders see the same orbits, take the same steps, and may use the same number k of active latents. What is fixed
before any number was looked at:

- A planted feature is **found** if the cosine of some living dictionary vector with it is at least `RECOVERED`: with
  the whole orbit vector for coders that write orbits, with the untransformed block for those that write single ones.
  A block-sparse coder finds it if the span of a living block has this cosine with it. Living: it fires on held-out
  orbits.
- A family is found if at least half of its members are.
- The null of both, for coders that write orbits, are as many data points, moved into all poses where the coder has
  these for free. A span drawn at random captures s / n.
- A symmetry is broken too far once the tied crosscoder's held-out FVE, over all blocks and at the same k, is no larger
  than an untied coder's; `crossing` says at which amount, seed by seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from groupcc_lite import coders
from groupcc_lite.answers import RECOVERED, Problem, standard, unequal_poses, unequal_views
from groupcc_lite.base import Artefact, Cache, read_json, write_json
from groupcc_lite.coders import (
    BlockSparseAutoencoder,
    GroupCrosscoder,
    SparseAutoencoder,
    TiedCrosscoder,
    WholeOrbits,
    data_dictionary,
)
from groupcc_lite.groups import FiniteGroup
from groupcc_lite.manifolds import DiscreteLoss, ListedFeatures, allocate
from groupcc_lite.orbits import IdentityBlocks, OrbitSource, TensorOrbits
from groupcc_lite.runs import Run, SavingsProfile, get_savings_profile
from groupcc_lite.symmetry import act, linear_ceiling, orbit_asymmetry

VERSION = 1
"""Of what is kept. Raise it when the same settings give another result."""
COMPARED = ("SAE", "wide SAE", "block-sparse", "crosscoder", "orbit SAE", "tied crosscoder", "tied crosscoder, L1")
"""SAE: reads and writes x[e]. Wide: with as many parameters as the crosscoder, which reads x[e] and writes orbits.
Block-sparse: the wide one in blocks of `BLOCK`. Orbit SAE: reads and writes whole orbits, as the tied one does, and
knows no group. The tied crosscoder has as many bases as the others have dictionary vectors, and as many parameters as
the crosscoder. All are TopK with one k, in which copies count; L1 counts copies once, and has no k."""
READS_ONE = ("SAE", "wide SAE", "block-sparse")
"""Those that read and write single blocks."""
BLOCK = 4
"""Latents in a block."""
BROKEN = ("views", "elements", "poses")
"""Ways to break a symmetry: `unequal_views` of the network, `plant(broken=...)` of whatever belongs to an element, and
`unequal_poses` of the images."""
RIVALS = {"crosscoder": "crosscoder", "orbit SAE, all poses": "orbit SAE"}
"""Untied coders that the tied one is compared with where symmetry is broken. The first has as many parameters as the
tied one, the other as many latents, and about 2 |G| times the parameters."""
SPARSITY = 0.5
"""lambda of the L1 term, in units of the norm of an orbit vector, as in the answer key."""
HELD_OUT = 2048


class Found(NamedTuple):
    """What a coder has found of a planted problem, on held-out orbits.

    >>> Found._fields[:3]
    ('features', 'families', 'parameters')
    """

    features: int
    """D: true features that are found."""
    families: int
    """Families of which half are."""
    parameters: int
    fve: float | None
    """Over whole orbits; None for coders that write single blocks."""
    fve_first: float
    """Over the untransformed block."""
    l0: float


class Unevenness(NamedTuple):
    """How far orbits are from two kinds of symmetry; 0 where it is perfect.

    >>> Unevenness(0.4, 0.0).linear
    0.4
    """

    linear: float
    """Of the network: the share of the other blocks' variance that the best linear map of x[e] leaves, held out."""
    asymmetry: float
    """Of the orbits as a set: `orbit_asymmetry`."""


class SavingsStudy:
    """Planted orbits of a savings profile, on which every coder is trained once and kept in `work`.

    ValueError for an unknown profile.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> study = SavingsStudy("smoke", work=work.name)
    >>> found = study.found("D_4", "tied crosscoder", 8, 0)
    >>> 0 <= found.features <= study.problem("D_4", 0).features
    True
    >>> work.cleanup()
    """

    def __init__(self, profile: str | SavingsProfile = "book", seed: int = 0, *, work: str | Path):
        self.profile, self.seed = get_savings_profile(profile), seed
        self._cache = Cache(work)
        self._orbits = lru_cache(maxsize=3)(self._sampled)  # drawing them takes as long as a short training

    def problem(self, group: str, seed: int) -> Problem:
        """Families of every stabiliser, active more or less often; each seed has its own."""
        number = self.profile.groups.index(group)
        return standard(seed, **self._planted(number))

    def _planted(self, number: int) -> dict[str, Any]:
        profile = self.profile
        return dict(group=profile.groups[number], channels=profile.channels[number], active=profile.active,
                    superposition=profile.superpositions[number], zipf=1 + profile.alpha)

    def _sampled(self, group: str, seed: int) -> tuple[Problem, TensorOrbits, TensorOrbits]:
        problem = self.problem(group, seed)
        return problem, problem.source(self.profile.orbits, seed=2 * seed), problem.source(HELD_OUT, seed=2 * seed + 1)

    def found(self, group: str, coder: str, size: int, seed: int) -> Found:
        """What a coder of COMPARED with so many dictionary vectors finds."""
        profile = self.profile
        number = profile.groups.index(group)
        settings = dict(problem=self._planted(number), coder=coder, size=size, seed=seed, k=profile.k,
                        lr=profile.lr, steps=profile.steps[number], batch=profile.batch_size, orbits=profile.orbits)

        def made() -> dict[str, Any]:
            problem, train, held_out = self._orbits(group, seed)
            trained = train_coder(coder, train, size, profile.k,
                                  steps=profile.steps[number], batch_size=profile.batch_size, seed=seed,
                                  lr=profile.lr)
            return discovered(trained, problem, held_out)._asdict()

        return Found(**self._kept("symmetry-savings", settings, made))

    def drawn(self, group: str, size: int, seed: int, *, poses: bool) -> tuple[int, int]:
        """Features and families found without training, by so many data points; in all poses if `poses`."""
        problem, train, _ = self._orbits(group, seed)
        points = data_dictionary(train, size, seed=seed)
        if poses:
            points = torch.cat([act(points, problem.group, h) for h in range(problem.group.order)])
        return counted(_cosines(points, problem) >= RECOVERED, problem)

    def broken(self, kind: str, amount: float, coder: str, seed: int) -> float:
        """Held-out FVE over whole orbits of the tied crosscoder or one of RIVALS, where a symmetry is broken so far."""
        profile, kind = self.profile, kind if amount else BROKEN[0]  # unbroken is the same for all kinds
        settings = dict(group=profile.broken_group, channels=profile.broken_channels, kind=kind, amount=amount,
                        coder=coder, seed=seed, active=profile.active, k=profile.k, steps=profile.broken_steps,
                        lr=profile.lr, batch=profile.batch_size, orbits=profile.orbits)

        def made() -> dict[str, Any]:
            problem = self.broken_problem(kind, amount, seed)
            size = broken_size(coder, problem)
            trained = train_coder(RIVALS.get(coder, coder), problem.source(profile.orbits, seed=2 * seed), size,
                                  profile.k, steps=profile.broken_steps, batch_size=profile.batch_size, seed=seed,
                                  lr=profile.lr)
            return dict(fve=coders.evaluate(trained, _read(trained, problem.source(HELD_OUT, seed=2 * seed + 1))).fve)

        return self._kept("broken-symmetry", settings, made)["fve"]

    def broken_problem(self, kind: str, amount: float, seed: int) -> Problem:
        """Planted features, active alike, with one of the symmetries of BROKEN broken by an amount from 0 to 1."""
        if kind not in BROKEN:
            raise ValueError(f"kind is {kind!r}; expected one of {', '.join(BROKEN)}")
        profile = self.profile
        planted = dict(group=profile.broken_group, channels=profile.broken_channels, active=profile.active)
        if kind == "elements":
            return standard(seed, **planted, broken=amount)
        truth = standard(seed, **planted)
        return unequal_views(truth, amount) if kind == "views" else unequal_poses(truth, amount)

    def uneven(self, kind: str, amount: float, seed: int) -> Unevenness:
        """What two measures that need no coder say of such orbits."""
        problem = self.broken_problem(kind, amount, seed)
        train, held_out = (problem.sample(count, seed=10 + seed + part).blocks
                           for part, count in enumerate((4 * self.profile.orbits // 8, HELD_OUT)))
        return unevenness(train, held_out, problem.group)

    def _kept(self, kind: str, settings: dict[str, Any], make: Any) -> dict[str, Any]:
        artefact = Artefact(kind, VERSION, settings)
        folder = self._cache.get(artefact, lambda part: write_json(part / "found.json", make()))
        return read_json(folder / "found.json")


# --------------------------------------------------------------------------------------------------------- coders

def train_coder(name: str, source: OrbitSource, size: int, k: int, *, steps: int, batch_size: int, seed: int = 0,
                lr: float = 3e-3) -> Any:
    """Train one of COMPARED with `size` dictionary vectors (or bases) and at most `k` active latents on orbits.

    ValueError for another name.

    >>> from groupcc_lite.groups import cyclic
    >>> x = torch.randn(64, 4, 6, generator=torch.Generator().manual_seed(0))
    >>> coder = train_coder("orbit SAE", TensorOrbits(x, cyclic(4)), 8, 2, steps=2, batch_size=16)
    >>> coder.channels
    24
    """
    if name not in COMPARED:
        raise ValueError(f"coder is {name!r}; expected one of {', '.join(COMPARED)}")
    G, n = source.group, source.channels
    build = dict(scale=source.scale, seed=seed)
    wide = max(1, round(size * (G.order + 1) / 2))
    if name == "tied crosscoder, L1":
        coder: Any = TiedCrosscoder(G, n, size, **build)
    elif name == "tied crosscoder":
        coder = TiedCrosscoder(G, n, size, activation="topk", k=min(k, size * G.order), **build)
    elif name == "crosscoder":
        coder = GroupCrosscoder(G, n, size, activation="topk", k=min(k, size), **build)
    elif name == "block-sparse":
        blocks = max(1, wide // BLOCK)
        coder = BlockSparseAutoencoder(n, blocks, size=BLOCK, k=min(blocks, max(1, k // BLOCK)), **build)
    else:
        width = wide if name == "wide SAE" else size
        channels = n * G.order if name == "orbit SAE" else n
        coder = SparseAutoencoder(channels, width, activation="topk", k=min(k, width), **build)
    sparsity = SPARSITY * (G.order * n) ** 0.5 if name.endswith("L1") else 0.0
    coders.train(coder, _read(coder, source), steps=steps, batch_size=batch_size, lr=lr, seed=seed, progress=False,
                 sparsity=sparsity)
    return coder.eval()


def _read(coder: Any, source: OrbitSource) -> OrbitSource:
    """The orbits as this coder reads them."""
    if coder.group.order == source.group.order:
        return source
    return IdentityBlocks(source) if coder.channels == source.channels else WholeOrbits(source)


def broken_size(coder: str, problem: Problem) -> int:
    """How many bases or latents a coder gets where symmetry is broken; the tied one half as many again as families."""
    bases, order = round(1.5 * len(problem.family.unique())), problem.group.order
    return {"tied crosscoder": bases, "crosscoder": bases, "orbit SAE, all poses": bases * order}[coder]


# ------------------------------------------------------------------------------------------------------- measures

@torch.no_grad()
def discovered(coder: Any, problem: Problem, held_out: TensorOrbits) -> Found:
    """What a trained coder has found, by the criteria at the head of this module.

    >>> problem = standard(group="C_4", channels=8, superposition=1.0)
    >>> coder = train_coder("crosscoder", problem.source(256), 12, 2, steps=2, batch_size=64)
    >>> discovered(coder, problem, problem.source(64, seed=1)).parameters == sum(p.numel() for p in coder.parameters())
    True
    """
    source = _read(coder, held_out)
    met = coders.evaluate(coder, source)
    living = torch.from_numpy(met.frequency > 0)
    dictionary = coder.dictionary.detach()
    if isinstance(coder, BlockSparseAutoencoder):
        living = living.unflatten(0, (coder.blocks, coder.size)).any(1)
        cosines = _in_spans(dictionary[:, 0].unflatten(0, (coder.blocks, coder.size))[living], problem)
    else:
        whole = dictionary.shape[2] > problem.channels
        vectors = dictionary[:, 0].unflatten(1, (-1, problem.channels)) if whole else dictionary
        cosines = _cosines(vectors[living], problem)
    features, families = counted(cosines >= RECOVERED, problem)
    single = source.group.order == 1 and coder.channels == problem.channels
    first = met.fve_identity if source.group.order > 1 or single else _first_block(coder, held_out)
    return Found(features, families, sum(p.numel() for p in coder.parameters()), None if single else met.fve, first,
                 met.l0)


def _first_block(coder: SparseAutoencoder, held_out: TensorOrbits) -> float:
    """FVE of the untransformed block of a coder that writes orbits as one long block."""
    x = held_out.blocks
    written = coder.decode(coder.encode(x.flatten(1)))[:, 0].unflatten(1, x.shape[1:])[:, 0]
    return float(1 - (x[:, 0] - written).square().sum() / (x[:, 0] - x[:, 0].mean(0)).square().sum())


def _cosines(vectors: Float[Tensor, "k g n"], problem: Problem) -> Float[Tensor, " m"]:
    """Each true feature's largest cosine with a dictionary vector, in as many blocks as these have."""
    if not len(vectors):
        return torch.zeros(problem.features)
    true = torch.nn.functional.normalize(problem.dictionary[:, :vectors.shape[1]].flatten(1), dim=1)
    return (true @ torch.nn.functional.normalize(vectors.flatten(1), dim=1).T).amax(1)


def _in_spans(blocks: Float[Tensor, "k s n"], problem: Problem) -> Float[Tensor, " m"]:
    """Each true feature's largest cosine with the span of a block, in the untransformed block."""
    if not len(blocks):
        return torch.zeros(problem.features)
    true = torch.nn.functional.normalize(problem.dictionary[:, 0], dim=1)
    spans = torch.linalg.qr(blocks.mT)[0]  # trained blocks are never of smaller dimension than they have directions
    return torch.einsum("mn,kns->mks", true, spans).norm(dim=2).amax(1)


def counted(found: Tensor, problem: Problem) -> tuple[int, int]:
    """How many features are found, and how many families of which at least half of the members are.

    >>> problem = standard(group="C_4", channels=8, superposition=1.0)
    >>> counted(problem.family == 0, problem)
    (4, 1)
    """
    sizes = torch.bincount(problem.family)
    share = torch.bincount(problem.family, weights=found.double()) / sizes
    return int(found.sum()), int((share >= 0.5).sum())


def predicted_by_allocation(problem: Problem, size: int, *, knows: bool) -> tuple[int, int]:
    """Features and families that the best split of so many latents finds; `knows`: each latent pays for a family.

    The capacity-allocation model of chapter 18 with discrete losses: a latent explains one feature, or one family in
    all its poses, and the largest gains come first.

    >>> problem = standard(group="C_4", channels=8, superposition=1.0)
    >>> [predicted_by_allocation(problem, 1, knows=knows) for knows in (False, True)]
    [(1, 0), (4, 1)]
    """
    rates = problem.rates.double().numpy()
    family = problem.family.numpy()
    if not knows:
        spent = allocate(ListedFeatures(rates, DiscreteLoss()), size).latents > 0
        return counted(torch.from_numpy(spent), problem)
    of_family = np.bincount(family, weights=rates)
    spent = allocate(ListedFeatures(of_family, DiscreteLoss()), size).latents > 0
    return counted(torch.from_numpy(spent[family]), problem)


def unevenness(train: Float[Tensor, "n g d"], held_out: Float[Tensor, "k g d"], G: FiniteGroup) -> Unevenness:
    """Both measures of orbits; the held-out ones are cut into halves, so they should be in the order of their images.

    >>> problem = standard(group="C_4", channels=8, superposition=1.0)
    >>> found = unevenness(problem.sample(4000).blocks, problem.sample(1000, seed=1).blocks, problem.group)
    >>> found.linear < 0.02, abs(found.asymmetry) < 0.05
    (True, True)
    """
    ceiling = linear_ceiling(train.split(max(1, len(train) // 10)), held_out.split(1024))
    half = len(held_out) // 2
    return Unevenness(float(1 - ceiling[1:].mean()), orbit_asymmetry(held_out[:half], held_out[half:], G))


def crossing(amounts: Sequence[float], advantage: Float[np.ndarray, " a"]) -> float:
    """At which amount an advantage is first used up, on straight lines between the amounts; infinity for never.

    >>> crossing([0.0, 0.5, 1.0], np.array([0.2, 0.1, -0.1]))
    0.75
    >>> crossing([0.0, 1.0], np.array([0.2, 0.1])), crossing([0.0, 1.0], np.array([0.0, -1.0]))
    (inf, 0.0)
    """
    values = np.asarray(advantage, dtype=float)
    if values[0] <= 0:
        return float(amounts[0])
    for low, high, before, after in zip(amounts, amounts[1:], values, values[1:], strict=False):
        if after <= 0:
            return float(low + (high - low) * before / (before - after))
    return float("inf")


# ----------------------------------------------------------------------------------------------------- on a layer

class PermutedBlocks(OrbitSource):
    """Orbits whose blocks were given other elements, the same for all: a null, in which no group moves anything.

    Every orbit keeps its numbers, so a coder that knows no group does as well as before. Block e stays.

    >>> from groupcc_lite.groups import dihedral
    >>> x = torch.arange(16.0).view(2, 8, 1)
    >>> moved = next(PermutedBlocks(TensorOrbits(x, dihedral(4))).in_order())[0].flatten()
    >>> moved[0].item(), sorted(moved.tolist()) == x[0].flatten().tolist(), moved.tolist() == x[0].flatten().tolist()
    (0.0, True, False)
    """

    def __init__(self, source: OrbitSource, seed: int = 0):
        order = source.group.order
        rest = 1 + np.random.default_rng([seed, 5]).permutation(order - 1)
        self.source, self.order = source, torch.from_numpy(np.append(0, rest))
        self.group, self.channels, self.scale = source.group, source.channels, source.scale
        self.exact = np.asarray(source.exact)[self.order.numpy()]

    def __len__(self) -> int:
        return len(self.source)

    def batches(self, batch_size: int, *, seed: int = 0, epoch: int = 0, start: int = 0,
                elements: slice = slice(None)) -> Iterator[Float[Tensor, "b g d"]]:
        for x in self.source.batches(batch_size, seed=seed, epoch=epoch, start=start):
            yield x[:, self.order][:, elements]

    def in_order(self, batch_size: int = 1024) -> Iterator[Float[Tensor, "b g d"]]:
        """Every orbit once."""
        for x in self.source.in_order(batch_size):
            yield x[:, self.order]


class LayerCoder(NamedTuple):
    """A coder of a layer, judged on held-out images.

    >>> LayerCoder(0.5, 8.0, 1000, 64).parameters
    1000
    """

    fve: float
    """Over whole orbits."""
    l0: float
    parameters: int
    latents: int


LAYER_CODERS = {"crosscoder": "crosscoder", "orbit SAE": "orbit SAE",
                "orbit SAE, all poses": "orbit SAE", "tied crosscoder": "tied crosscoder",
                "tied crosscoder, an eighth": "tied crosscoder", "tied crosscoder, few bases": "tied crosscoder"}
"""Coders of a layer, and what each of them is. The tied crosscoder has as many bases as the crosscoder has latents, and
the orbit SAE half as many latents, which is as many parameters: its encoder is as large as its decoder. Few bases are
1 / |G| of that, as many latents as the crosscoder. All poses: as many latents as an eighth of the bases has poses."""


def layer_size(name: str, latents: int, order: int) -> int:
    """Latents, or bases, of one of LAYER_CODERS where the crosscoder has so many latents.

    >>> [layer_size(name, 64, order=8) for name in ("crosscoder", "orbit SAE", "tied crosscoder, few bases")]
    [64, 32, 8]
    """
    shares = {"orbit SAE": 1 / 2, "tied crosscoder, few bases": 1 / order, "tied crosscoder, an eighth": 1 / 8}
    if name == "orbit SAE, all poses":
        return order * layer_size("tied crosscoder, an eighth", latents, order)
    return max(1, round(latents * shares.get(name, 1)))


def layer_coder(run: Run, name: str, profile: SavingsProfile, seed: int, *, permuted: bool = False) -> LayerCoder:
    """Train one of LAYER_CODERS on the run's orbits, or with their blocks permuted, and judge it; kept by the run.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> run = Run("smoke", group="C_4", drawings=8, points_per_image=16, work=work.name)
    >>> small = get_savings_profile("smoke", layer_batch=32, layer_steps=2)
    >>> found = layer_coder(run, "tied crosscoder, few bases", small, 0)
    >>> found.latents, found.parameters < 4000
    (16, True)
    >>> work.cleanup()
    """
    kind, size = LAYER_CODERS[name], layer_size(name, profile.layer_latents, run.group.order)
    settings = dict(coder=kind, size=size, k=profile.layer_k, steps=profile.layer_steps, batch=profile.layer_batch,
                    seed=seed, permuted=permuted, lr=profile.layer_lr)
    orbits = {part: run.recipes.orbits(part).key for part in ("train", "held-out")}

    def made() -> dict[str, Any]:
        train, held_out = (PermutedBlocks(run.orbits(part), seed) if permuted else run.orbits(part)
                           for part in ("train", "held-out"))
        coder = train_coder(kind, train, size, profile.layer_k, steps=profile.layer_steps,
                            batch_size=profile.layer_batch, seed=seed, lr=profile.layer_lr)
        met = coders.evaluate(coder, _read(coder, held_out))
        return LayerCoder(met.fve, met.l0, sum(p.numel() for p in coder.parameters()), coder.latents)._asdict()

    folder = run.cache.get(Artefact("layer-savings", VERSION, settings, orbits),
                           lambda part: write_json(part / "found.json", made()))
    return LayerCoder(**read_json(folder / "found.json"))


class LayerAsymmetry(NamedTuple):
    """How symmetric a layer's orbits are as a set, and what is perfect and what is not.

    >>> LayerAsymmetry(0.1, 0.0, 0.5).orbits
    0.1
    """

    orbits: float
    moved: float
    """Of the same orbits, each moved by an element of its own: symmetric by construction."""
    permuted: float
    """Of the same orbits with their blocks permuted."""


def layer_asymmetry(run: Run, orbits: int, seed: int) -> LayerAsymmetry:
    """`orbit_asymmetry` of held-out orbits: up to `orbits` of each of two halves of the images, drawn by `seed`.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> run = Run("smoke", group="C_4", drawings=20, points_per_image=16, work=work.name)
    >>> abs(layer_asymmetry(run, 32, 0).orbits) < 1
    True
    >>> work.cleanup()
    """
    store, rng = run.orbits("held-out"), np.random.default_rng([seed, 6])
    images = rng.permutation(np.unique(store.image))
    halves: list[Int[np.ndarray, " n"]] = [np.flatnonzero(np.isin(store.image, part))
                                           for part in np.array_split(images, 2)]
    a, b = (store.rows(np.sort(rng.permutation(rows)[:orbits])) for rows in halves)
    G = run.group
    regular = torch.from_numpy(np.asarray(G.regular))
    moved = [x[torch.arange(len(x))[:, None], regular[torch.from_numpy(rng.integers(G.order, size=len(x)))]]
             for x in (a, b)]
    order = PermutedBlocks(TensorOrbits(a, G), seed).order
    return LayerAsymmetry(orbit_asymmetry(a, b, G), orbit_asymmetry(*moved, G),
                          orbit_asymmetry(a[:, order], b[:, order], G))
