"""One way in for the dictionaries of all packages: files are recognised by what they hold, modules by their package."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from groupcc_lite.base import saved_config
from groupcc_lite.coders import GroupCrosscoder, SparseAutoencoder
from groupcc_lite.interop import dictionary_learning, overcomplete, saelens, sparsify
from groupcc_lite.interop.files import tensors_in
from groupcc_lite.interop.weights import ForeignWeights

OURS = "weights.safetensors"
FILES = {"saelens": saelens.WEIGHTS, "sparsify": sparsify.WEIGHTS, "dictionary_learning": dictionary_learning.WEIGHTS,
         "groupcc_lite": OURS}
"""The file by which a folder of each format is known."""
FORMATS = (*FILES, "overcomplete")
LIVE = {"sae_lens": "saelens", "sparsify": "sparsify", "dictionary_learning": "dictionary_learning",
        "overcomplete": "overcomplete"}
"""The formats by the names that packages are imported under."""


def load_dictionary(path: str | Path, format: str | None = None, *, scale: float | None = None,
                    activation: str | None = None, k: int | None = None) -> GroupCrosscoder:
    """A sparse autoencoder that another package saved, as one of ours that encodes and decodes exactly as it does.

    A sparse autoencoder or a crosscoder that this library saved comes as what it is.
    `path` is the folder that the package wrote, or a file with a state dict; `format` one of `FORMATS`, recognised
    without it. `scale` is a factor that activations were multiplied by before the dictionary saw them. `activation` and
    `k` are for state dicts of overcomplete, which say neither. Weights are read in float32, and no code from a file is
    run. ValueError for a path that holds no dictionary, damaged files, and everything in a dictionary that cannot be
    done exactly here.

    >>> import tempfile
    >>> from groupcc_lite.coders import SparseAutoencoder
    >>> from groupcc_lite.interop import load_dictionary, to_saelens
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_saelens(SparseAutoencoder(channels=6, latents=20, activation="topk", k=3), folder)
    ...     sae = load_dictionary(folder)
    >>> sae.latents, sae.activation, sae.k
    (20, 'topk', 3)
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist; expected a folder with a saved dictionary, or a file. A dictionary "
                         "of SAELens that has a name: from_module(SAE.from_pretrained(release, sae_id))")
    if path.suffix == ".json":
        raise ValueError(f"{path} holds settings; give the folder that it is in, {path.parent}")
    if format is not None and format not in FORMATS:
        raise ValueError(f"format is {format!r}; expected one of {', '.join(FORMATS)}")
    format = format or _recognised(path)
    if (activation, k) != (None, None) and format != "overcomplete":
        raise ValueError(f"activation and k are in files of {format}; leave them out")
    folder = path if path.is_dir() else path.parent
    if format == "groupcc_lite":
        if scale is not None:
            raise ValueError("a coder of ours has its scale in its file; leave it out")
        whole = saved_config(folder, "coder").get("kind") == GroupCrosscoder.__name__
        return (GroupCrosscoder if whole else SparseAutoencoder).load(folder)
    found = {"saelens": lambda: saelens.read(folder, scale), "sparsify": lambda: sparsify.read(folder),
             "dictionary_learning": lambda: dictionary_learning.read(path),
             "overcomplete": lambda: overcomplete.read(path, activation, k)}[format]()
    return found.coder(scale=1.0 if scale is None else scale, where=str(path))


def from_module(sae: nn.Module, *, scale: float | None = None) -> SparseAutoencoder:
    """The same for an autoencoder in memory, of SAELens, sparsify, dictionary_learning or overcomplete.

    `scale` as for `load_dictionary`. ValueError for a module of another package, and as for `load_dictionary`.

    >>> import torch
    >>> from_module(torch.nn.Linear(3, 3))
    Traceback (most recent call last):
    ValueError: this Linear is of torch; expected a module of sae_lens, sparsify, dictionary_learning, overcomplete
    """
    name, package = type(sae).__name__, type(sae).__module__.split(".")[0]
    if package not in LIVE:
        raise ValueError(f"this {name} is of {package}; expected a module of {', '.join(LIVE)}")
    found: ForeignWeights = {
        "saelens": lambda: saelens.from_live(sae, scale), "sparsify": lambda: sparsify.from_live(sae),
        "dictionary_learning": lambda: dictionary_learning.from_live(sae),
        "overcomplete": lambda: overcomplete.from_live(sae)}[LIVE[package]]()
    return found.coder(scale=1.0 if scale is None else scale, where=f"this {name}").to(next(sae.parameters()).device)


def _recognised(path: Path) -> str:
    if path.is_dir():
        found = [format for format, name in FILES.items() if (path / name).is_file()]
        if len(found) == 1:
            return found[0]
        below = sorted(p.parent.name for name in FILES.values() for p in path.glob(f"*/{name}"))
        names = ", ".join(f"{name} ({format})" for format, name in FILES.items())
        hint = (f"its folders {', '.join(below[:5])} do, give one of them" if below
                else "for overcomplete give the file with the state dict")
        raise ValueError(f"{path} holds {'more than one' if found else 'none'} of {names}; {hint}")
    for format, name in FILES.items():
        if path.name == name:
            return format
    tensors = tensors_in(path)
    if overcomplete.DICTIONARY in tensors:
        return "overcomplete"
    if any(tensors.keys() == set(keys) for keys in dictionary_learning.KEYS.values()):
        return "dictionary_learning"
    raise ValueError(f"{path} holds {', '.join(sorted(tensors)) or 'nothing'}, which is no format that is known here; "
                     f"expected one of {', '.join(FORMATS)}")
