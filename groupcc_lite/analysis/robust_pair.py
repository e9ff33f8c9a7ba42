"""Two networks of one architecture, one of them trained on attacks: the measures of chapter 21 on photographs.

Labels are not needed: an attack raises the loss of the network's own prediction. Noise of the attack's norm stands
beside each number that an attack has; where pixels are black or white it is clipped, and how much of that norm is left
stands in the table. One network of a kind has no interval over networks: differences of a single
pair are differences of these two files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from groupcc_lite.actions import PlanarAction
from groupcc_lite.base import progress_bar, sha256_of
from groupcc_lite.groups import dihedral
from groupcc_lite.models import BaseModel, Classifier, load_classifier, load_model
from groupcc_lite.stimuli import ImageSource, image_source
from groupcc_lite.studies import HELD_OUT, MARGIN, layer_superposition, symmetry_of, turning
from groupcc_lite.superposition import L2Attack, random_noise

_BATCH = 16  # images that are attacked at once
_MOST_TURNED = 8  # drawings whose attacks are made anew for every element


def compare_robust(plain: str | Path, robust: str | Path, images: Any, *, model: str = "torchvision/resnet18",
                   layers: Sequence[str] = ("layer1", "layer2", "layer3"), eps: float = 3.0, attack_steps: int = 10,
                   count: int = 128, latents: int = 1024, k: int = 32, steps: int = 300, points: int = 32,
                   input_size: int | None = None, seed: int = 0, progress: bool = True) -> dict[str, Any]:
    """Superposition by layer, what attacks change, linear reference, local equivariance error and turning attacks.

    `plain` and `robust`: safetensors files with state dicts of `model`, "torchvision/<name>" or "timm/<name>".
    `images`: as for `image_source`, square ones of the input's size with MARGIN pixels more; `count` of them are used,
    evenly spread, three quarters to train autoencoders and linear maps on. eps is an L2 norm for pixels in [0, 1].
    Returns settings, and numbers by network. ValueError for fewer than 16 images, for two equal files, and for files,
    layers and settings that do not fit.

    >>> compare_robust("a.safetensors", "a.safetensors", torch.rand(2, 3, 72, 72), input_size=64)
    Traceback (most recent call last):
    ValueError: weights file a.safetensors does not exist
    """
    files = {"plain": Path(plain), "robust": Path(robust)}
    for path in files.values():
        if not path.is_file():
            raise ValueError(f"weights file {path} does not exist")
    hashes = {name: sha256_of(path) for name, path in files.items()}
    if hashes["plain"] == hashes["robust"]:
        raise ValueError(f"{plain} and {robust} hold the same weights; expected two networks")
    networks = {name: load_classifier(model, weights=path, input_size=input_size) for name, path in files.items()}
    size = networks["plain"].input_size
    readers = {name: [_reader(f"{model}/{layer}", path, input_size) for layer in layers]
               for name, path in files.items()}
    if not 1 <= k <= latents:
        raise ValueError(f"k is {k}; expected 1 to {latents}, the number of latents")
    source = image_source(images, size + MARGIN)
    large = _some(source, count, size + MARGIN)
    settings = dict(model=model, layers=list(layers), eps=eps, attack_steps=attack_steps, images=len(large),
                    latents=latents, k=k, steps=steps, points=points, input_size=size, seed=seed)
    found = {}
    with progress_bar(progress, total=2 * (len(layers) + 2), desc="robust and plain") as bar:
        for name, network in networks.items():
            parts = _Pair(network, large, eps, attack_steps, seed)
            found[name] = parts.predictions(bar.update) | parts.turns(bar.update)
            for layer, read in zip(layers, readers[name], strict=True):
                parted = layer_superposition(read, parts.versions, latents=latents, k=k, steps=steps, points=points,
                                             seed=seed)
                turned = symmetry_of(read, parts.images, large[:max(2, len(large) // 8)], seed=seed)
                found[name][layer] = _read(parted._asdict()) | turned._asdict() | {"relative": turned.relative}
                bar.update()
    return {"settings": settings, "images_sha256": source.fingerprint, "weights_sha256": hashes, "found": found}


def _reader(layer: str, weights: Path, input_size: int | None) -> BaseModel:
    """A layer, before anything costly; ValueError for one whose grid is too small to follow points on it."""
    model = load_model(layer, weights=weights, input_size=input_size)
    if model.geometry.max_mask_radius <= 0:
        raise ValueError(f"{layer}: for images of {model.input_size} px its grid of {model.geometry.grid} cells, each "
                         f"seeing {model.geometry.receptive_field} px, is too small to follow points that turn; choose "
                         "an earlier layer or larger images")
    return model


def _read(found: dict[str, float]) -> dict[str, float]:
    """L0 of changed images as the difference that the change makes."""
    return found | {f"l0_{name}": found[f"l0_{name}"] - found["l0_clean"] for name in ("attacked", "noisy")}


def _some(source: ImageSource, count: int, size: int) -> Float[Tensor, "b 3 l l"]:
    """Evenly spread images, cut to the middle."""
    if len(source) < 16 or count < 16:
        raise ValueError(f"{min(len(source), count)} images; expected at least 16")
    numbers = torch.linspace(0, len(source) - 1, min(count, len(source))).round().long().unique().tolist()
    found = source.load(numbers)
    if min(found.shape[-2:]) < size:
        raise ValueError(f"images have {min(found.shape[-2:])} px; expected at least {size}")
    return _middle(found, size)


def _middle(images: Tensor, size: int) -> Tensor:
    top, left = ((side - size) // 2 for side in images.shape[-2:])
    return images[..., top:top + size, left:left + size].contiguous()


class _Pair:
    """One of the two networks with its images: clean, attacked, noisy."""

    def __init__(self, network: Classifier, large: Tensor, eps: float, attack_steps: int, seed: int):
        self.network, self.seed = network, seed
        self.attack = L2Attack(eps, attack_steps)
        self.images = _middle(large, network.input_size)
        cut = 3 * len(self.images) // 4
        clean = self.images[cut:]
        attacked = self._attacked(clean)
        used = (attacked - clean).flatten(1).norm(dim=1)
        noisy = random_noise(clean, used, seed=seed + 1, box=(0.0, 1.0))
        self.noise_share = float((noisy - clean).flatten(1).norm(dim=1).sum() / used.sum())
        self.versions = {"train": self.images[:cut], "clean": clean, "attacked": attacked, "noisy": noisy}

    def _attacked(self, images: Tensor) -> Tensor:
        """Attacked away from what the network says of each image as it is."""
        return torch.cat([self.attack(self._loss(part), part) for part in images.split(_BATCH)])

    def _loss(self, images: Tensor) -> Callable[[Tensor], Tensor]:
        with torch.no_grad():
            said = self.network(images).argmax(1)
        return lambda x: nn.functional.cross_entropy(self.network(x), said, reduction="none")

    @torch.no_grad()
    def predictions(self, done: Callable[[], object]) -> dict[str, float]:
        """How many predictions of held-out images stay, and how much loss the change adds."""
        found = {"noise_share": self.noise_share}
        clean = self.versions["clean"]
        loss, logits = self._loss(clean), self.network(clean)
        if not logits.isfinite().all():
            raise ValueError("a network gives NaN or infinity for images as they are; look at its weights")
        said = logits.argmax(1)
        for name in ("attacked", "noisy"):
            x = self.versions[name]
            found[f"kept_{name}"] = float((self.network(x).argmax(1) == said).float().mean())
            found[f"added_{name}"] = float((loss(x) - loss(clean)).mean())
        done()
        return found

    def turns(self, done: Callable[[], object]) -> dict[str, float]:
        """Cosine of attacks on turned images with turned attacks, mean over elements but e, and its nulls."""
        action, clean = PlanarAction(dihedral(4)), self.versions["clean"][:_MOST_TURNED]

        def moved(element: int) -> Tensor:
            turned = action.images(clean, self.network.input_size, elements=[element])[0]
            return self._attacked(turned) - turned

        found = turning(moved, range(1, 8), seed=HELD_OUT + self.seed)
        done()
        return {f"turns_{name}": float(value.mean()) for name, value in found._asdict().items()}


ROWS = {"kept_attacked": "own prediction kept under attack", "kept_noisy": "the same, noise of the attack's norm",
        "noise_share": "norm of the noise once it is clipped, in norms of the attack",
        "added_attacked": "loss added by the attack", "added_noisy": "the same, noise of the attack's norm",
        "turns_own": "cosine of the attack on a turned image and the turned attack",
        "turns_other": "the same, another image's attack", "turns_random": "the same, a random direction",
        "fve": "held-out fraction of variance explained", "psi": "effective features per channel",
        "l0_clean": "active latents", "l0_attacked": "change of these by the attack",
        "l0_noisy": "the same, noise of the attack's norm", "ceiling": "linear reference of D_4",
        "copied": "what a copy explains", "error": "local equivariance error, rotations",
        "unfollowed": "the same, points that stay", "relative": "their ratio",
        "dimensions": "dimensions of the activations (participation ratio)"}
"""What the numbers of `compare_robust` are, by name."""


def pair_table(compared: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of text: where, what, plain, robust, robust minus plain.

    >>> network = {"kept_attacked": 0.5, "layer1": {"fve": 0.25}}
    >>> pair_table({"settings": {"layers": ["layer1"]}, "found": {"plain": network, "robust": network}})[1:]
    [('output', 'own prediction kept under attack', '0.500', '0.500', '+0.000'),
     ('layer1', 'held-out fraction of variance explained', '0.250', '0.250', '+0.000')]
    """
    plain, robust = (compared["found"][name] for name in ("plain", "robust"))
    places = [("output", plain, robust), *((layer, plain[layer], robust[layer])
                                           for layer in compared["settings"]["layers"])]
    return [("where", "what", "plain", "robust", "difference"),
            *((where, what, f"{a[key]:.3f}", f"{b[key]:.3f}", f"{b[key] - a[key]:+.3f}")
              for where, a, b in places for key, what in ROWS.items() if key in a)]
