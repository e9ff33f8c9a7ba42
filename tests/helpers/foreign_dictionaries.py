"""Small dictionaries of other packages with random weights, as those packages write and read them.

`python tests/helpers/foreign_dictionaries.py` writes them anew into `tests/data/dictionaries`, for those who have not
installed the extra `interop`, each with inputs and what its own package makes of them.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

DATA = Path(__file__).resolve().parents[1] / "data" / "dictionaries"
CHANNELS, LATENTS, K = 4, 7, 2
DISTRIBUTIONS = {"sae_lens": "sae-lens", "sparsify": "eai-sparsify", "dictionary_learning": "dictionary-learning",
                 "overcomplete": "overcomplete"}
"""The packages, and what they are called where they are installed from."""


class Case(NamedTuple):
    """One dictionary: where it lies, how `load_dictionary` is to read it, and the package's own object."""

    name: str
    path: Path
    options: dict[str, Any]
    live: nn.Module


def inputs(seed: int = 1) -> Tensor:
    return torch.randn(24, CHANNELS, generator=torch.Generator().manual_seed(seed)) + 0.3


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with every weight drawn anew, none of them special: no bias is 0, no norm is 1."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(module.named_parameters()):
        parameter.data = torch.randn(parameter.shape, generator=generator)
        if name == "threshold":
            parameter.data = 0.2 + torch.rand(parameter.shape, generator=generator)
    return module


def imported(package: str) -> Any:
    """The package, as it can be imported beside the pinned versions of everything else."""
    if package == "sparsify":
        os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # read at import; its kernels need a GPU
    if package == "overcomplete":
        import matplotlib.pyplot as plt

        plt.cm.get_cmap = plt.get_cmap  # overcomplete 0.3 still asks for the place it had before matplotlib 3.9
    return importlib.import_module(package)


@torch.no_grad()
def own_latents(package: str, live: nn.Module, x: Tensor) -> Tensor:
    """(b, m): what the package's own encoder gives."""
    found = live.encode(x)
    if package == "sparsify":
        return torch.zeros(len(x), LATENTS).scatter(1, found.top_indices, found.top_acts)
    return found[1] if package == "overcomplete" else found


@torch.no_grad()
def own_reconstruction(package: str, live: nn.Module, f: Tensor) -> Tensor:
    """(b, d): what the package's own decoder gives."""
    if package == "sparsify":
        top = f.topk(K, dim=1)
        return live.decode(top.values, top.indices)
    return live.decode(f)


# ------------------------------------------------------------------------------------------------------- packages

def sae_lens_cases(folder: Path) -> Iterator[Case]:
    imported("sae_lens")
    from sae_lens import saes
    from sae_lens.saes.sae import SAE

    shape = dict(d_in=CHANNELS, d_sae=LATENTS)
    made = {
        "standard": saes.StandardSAE(saes.StandardSAEConfig(**shape)),
        "unshifted": saes.StandardSAE(saes.StandardSAEConfig(**shape, apply_b_dec_to_input=False)),
        "jumprelu": saes.JumpReLUSAE(saes.JumpReLUSAEConfig(**shape)),
        "gated": saes.GatedSAE(saes.GatedSAEConfig(**shape)),
        "topk": saes.TopKSAE(saes.TopKSAEConfig(**shape, k=K)),
        "topk_rescaled": saes.TopKSAE(saes.TopKSAEConfig(**shape, k=K, rescale_acts_by_decoder_norm=True)),
        "scaled": saes.StandardSAE(saes.StandardSAEConfig(**shape, normalize_activations="expected_average_only_in")),
    }
    for name, sae in made.items():
        randomised(sae).save_model(folder / name)
        live, options = SAE.load_from_disk(folder / name), {}
        if name == "scaled":
            live.fold_activation_norm_scaling_factor(0.5)
            options = dict(scale=0.5)
        yield Case(name, folder / name, options, live)
    training = randomised(saes.BatchTopKTrainingSAE(saes.BatchTopKTrainingSAEConfig(**shape, k=K)))
    training.topk_threshold += 0.7
    training.save_inference_model(folder / "batchtopk")
    yield Case("batchtopk", folder / "batchtopk", {}, SAE.load_from_disk(folder / "batchtopk"))
    for name, words in (("old_standard", dict(activation_fn_str="relu")),
                        ("old_topk", dict(activation_fn_str="topk", activation_fn_kwargs=dict(k=K)))):
        randomised(made["standard"], seed=3).save_model(folder / name)  # weights are called as they were before 6.0
        old = dict(**shape, **words, dtype="float32", device="cpu", hook_name="blocks.0.hook_resid_pre",
                   normalize_activations=False, apply_b_dec_to_input=True, finetuning_scaling_factor=False)
        (folder / name / "cfg.json").write_text(json.dumps(old))
        yield Case(name, folder / name, {}, SAE.load_from_disk(folder / name))


def sparsify_cases(folder: Path) -> Iterator[Case]:
    sparsify = imported("sparsify")
    coder = sparsify.SparseCoder(CHANNELS, sparsify.SparseCoderConfig(num_latents=LATENTS, k=K))
    randomised(coder).save_to_disk(folder / "topk")
    yield Case("topk", folder / "topk", {}, sparsify.SparseCoder.load_from_disk(folder / "topk"))


def dictionary_learning_cases(folder: Path) -> Iterator[Case]:
    """Trained for a few steps by the package's own loop, which writes the files."""
    imported("dictionary_learning")
    from dictionary_learning import trainers, utils
    from dictionary_learning.dictionary import AutoEncoderNew
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
    from dictionary_learning.trainers.standard import StandardTrainerAprilUpdate
    from dictionary_learning.training import trainSAE

    shared = dict(steps=8, activation_dim=CHANNELS, dict_size=LATENTS, layer=0, lm_name="none", device="cpu", lr=0.05,
                  warmup_steps=1, seed=0)
    annealed, few = dict(sparsity_warmup_steps=2), dict(k=K, threshold_start_step=0)
    kinds = {"standard": (trainers.StandardTrainer, annealed), "unnormalised": (StandardTrainerAprilUpdate, annealed),
             "gated": (trainers.GatedSAETrainer, annealed), "jumprelu": (trainers.JumpReluTrainer, annealed),
             "topk": (trainers.TopKTrainer, few), "batchtopk": (trainers.BatchTopKTrainer, few),
             "matryoshka": (MatryoshkaBatchTopKTrainer, few | dict(group_fractions=[0.5, 0.5]))}
    torch.manual_seed(0)
    configs = [dict(trainer=trainer, **shared, **own) for trainer, own in kinds.values()]
    trainSAE([inputs(seed) for seed in range(9)], configs, steps=8, save_dir=str(folder), device="cpu")
    for number, name in enumerate(kinds):
        shutil.move(folder / f"trainer_{number}", folder / name)
        yield Case(name, folder / name, {}, utils.load_dictionary(str(folder / name), "cpu")[0])
    live = randomised(AutoEncoderNew(CHANNELS, LATENTS))
    torch.save(live.state_dict(), folder / "new.pt")
    yield Case("new", folder / "new.pt", {}, live)


def overcomplete_cases(folder: Path) -> Iterator[Case]:
    """Its state dicts, after `eval()`; BatchTopK, whose threshold is in no file, only in memory."""
    sae = imported("overcomplete").sae
    for name, kind, own, options in (
            ("relu", sae.SAE, {}, dict(activation="relu")),
            ("topk", sae.TopKSAE, dict(top_k=K), dict(activation="topk", k=K)),
            ("multiplied", sae.SAE, dict(dictionary_params=dict(use_multiplier=True)), dict(activation="relu")),
            ("jumprelu", sae.JumpSAE, {}, {})):
        live = randomised(kind(CHANNELS, LATENTS, **own)).train().eval()
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(live.state_dict(), folder / f"{name}.pt")
        yield Case(name, folder / f"{name}.pt", options, live)
    tied = randomised(sae.SAE(CHANNELS, LATENTS)).tied(bias=True).train().eval()
    torch.save(tied.state_dict(), folder / "tied.pt")
    yield Case("tied", folder / "tied.pt", dict(activation="relu"), tied)


CASES: dict[str, Callable[[Path], Iterator[Case]]] = {
    "sae_lens": sae_lens_cases, "sparsify": sparsify_cases, "dictionary_learning": dictionary_learning_cases,
    "overcomplete": overcomplete_cases}


# ------------------------------------------------------------------------------------------------- committed files

def write_all(root: Path = DATA) -> None:
    """Every dictionary with inputs, latents and reconstructions, and the versions that wrote them."""
    shutil.rmtree(root, ignore_errors=True)
    x, index = inputs(), {}
    for package, cases in CASES.items():
        found, expected = [], {"x": x}
        for case in cases(root / package):
            f = own_latents(package, case.live, x)
            expected |= {f"{case.name}.latents": f.contiguous(),
                         f"{case.name}.reconstruction": own_reconstruction(package, case.live, f).contiguous()}
            found.append(dict(name=case.name, path=str(case.path.relative_to(root)), options=case.options))
        save_file(expected, root / package / "expected.safetensors")
        index[package] = dict(version=version(DISTRIBUTIONS[package]), cases=found)
    (root / "index.json").write_text(json.dumps(index, indent=1))


if __name__ == "__main__":
    write_all(*map(Path, sys.argv[1:]))
