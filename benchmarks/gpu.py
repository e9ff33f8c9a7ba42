"""`python -m benchmarks.gpu [--device cuda] [--out FILE]`: the main stages on a GPU, each beside a plain loop.

Extraction, training and similarity are timed in turn with plain ways to do the same, on the same device in one run, and
what counts are the ratios. The plain ways are those of `extraction`, `coders` and `similarity`; the public library
`overcomplete` takes part if it is installed. The share of the time in which the GPU is busy is that in which one of its
kernels runs, as PyTorch's profiler sees it. Without a GPU there is nothing to measure: it says so, and ends with 2.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks import coders, extraction, similarity
from benchmarks.timing import interleaved
from groupcc_lite.actions import PlanarAction
from groupcc_lite.base import provenance, write_json
from groupcc_lite.coders import GroupCrosscoder, train
from groupcc_lite.groups import FiniteGroup, dihedral
from groupcc_lite.models import load_model
from groupcc_lite.orbits import TensorOrbits, mask_points, sample_orbits
from groupcc_lite.symmetry import max_cosine, nearest_neighbours

NO_GPU = 2


@dataclass(frozen=True)
class Sizes:
    """How much is computed; by default enough for a large GPU, in less than 40 GiB."""

    rotations: int = 16
    """The group is the dihedral one with so many, and as many mirrors."""
    images: int = 64
    points: int = extraction.POINTS
    batch: int = coders.BATCH
    channels: int = coders.CHANNELS
    latents: int = 4096
    k: int = 64
    steps: int = 10
    rounds: int = 3


def measure(device: torch.device, sizes: Sizes = Sizes()) -> dict[str, float]:
    """Rates, ratios and shares of all stages."""
    group = dihedral(sizes.rotations)
    return (of_extraction(device, group, sizes) | of_training(device, group, sizes)
            | of_similarity(device, group, sizes))


def of_extraction(device: torch.device, group: FiniteGroup, sizes: Sizes) -> dict[str, float]:
    """Transformed images in a second: ours in both precisions, and the whole network with a rotation for each."""
    model, action = load_model("googlenet", weights="random").to(device), PlanarAction(group)
    images = torch.rand(sizes.images, 3, *[action.source_size(224)] * 2, generator=torch.Generator().manual_seed(0))
    images, plain = images.to(device), extraction.PlainExtraction(sizes.rotations)
    plain.network.to(device)
    points = mask_points(model.geometry, model.geometry.max_mask_radius).to(device)
    cells = model.geometry.cells(points).round().long()[:sizes.points]

    def ours(amp: bool) -> None:
        sample_orbits(model, action, images, points_per_image=sizes.points, amp=amp)

    seconds = timed(device, {
        "ours": lambda: ours(True), "ours, float32": lambda: ours(False), "plain loop": lambda: plain(images, cells),
    }, sizes.rounds)
    return _compared("extraction", "transformed images", sizes.images * group.order, seconds) | {
        "extraction: share of the time the device is busy": busy_share(lambda: ours(True), device)}


def of_training(device: torch.device, group: FiniteGroup, sizes: Sizes) -> dict[str, float]:
    """Orbits in a second, read from the device's memory."""
    x = torch.randn(sizes.batch * sizes.steps, group.order, sizes.channels, generator=torch.Generator().manual_seed(0))
    source = TensorOrbits(x.to(device), group)

    def trained(activation: str = "relu", k: int | None = None, amp: bool = True) -> Callable[[], object]:
        coder = GroupCrosscoder(group, sizes.channels, sizes.latents, activation=activation, k=k).to(device)
        return lambda: train(coder, source, steps=sizes.steps, batch_size=sizes.batch, sparsity=1e-3, amp=amp,
                             progress=False)

    # Weights are drawn beforehand, by the processor, which takes longer than a GPU takes for the steps.
    ours, layers = trained(), coders.plain_layers(source.blocks, sizes.latents)
    ways = {"ours": ours, "ours, float32": trained(amp=False), "ours, BatchTopK": trained("batchtopk", sizes.k),
            "ours, TopK": trained("topk", sizes.k),
            "plain loop": lambda: coders.plain_loop(source.blocks, layers, sizes.batch)}
    if find_spec("overcomplete"):
        sae = coders.overcomplete_sae(source.blocks, sizes.latents, sizes.k)
        ways["overcomplete"] = lambda: coders.overcomplete_loop(source.blocks, sae, sizes.batch)
    seconds = timed(device, ways, sizes.rounds)
    return _compared("training", "orbits", len(x), seconds) | {
        "training: share of the time the device is busy": busy_share(ours, device)}


def of_similarity(device: torch.device, group: FiniteGroup, sizes: Sizes) -> dict[str, float]:
    """Features in a second, each compared with all others."""
    D = similarity.dictionary(group, sizes.latents, sizes.channels).to(device)
    count = min(similarity.NEIGHBOURS, sizes.latents - 1)
    ways = {"ours": lambda: max_cosine(D, group), "ours, neighbours": lambda: nearest_neighbours(D, group, count),
            "plain loop": lambda: similarity.direct(D, group)}
    return _compared("similarity", "features", sizes.latents, timed(device, ways, sizes.rounds))


def _compared(stage: str, what: str, count: int, seconds: dict[str, float]) -> dict[str, float]:
    """Rates of all ways, and how many times faster ours is than those of others."""
    rates = {f"{stage}: {name}, {what} per second": count / value for name, value in seconds.items()}
    return rates | {f"{stage}: {name} / ours": value / seconds["ours"] for name, value in seconds.items()
                    if not name.startswith("ours")}


def timed(device: torch.device, ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """`interleaved`, with each way waited for."""
    return interleaved({name: lambda work=work: (work(), wait_for(device)) for name, work in ways.items()}, rounds)


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def busy_share(work: Callable[[], object], device: torch.device) -> float:
    """The share of the time of `work` in which the device runs a kernel; on a CPU, in which one of torch's operations
    runs."""
    gpu = device.type == "cuda"
    work()  # what is done once, such as choosing a convolution's algorithm
    wait_for(device)
    with profile(activities=[ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU]) as seen:
        began = time.perf_counter()
        work()
        wait_for(device)
        wall = time.perf_counter() - began
    kind = DeviceType.CUDA if gpu else DeviceType.CPU
    return covered((event.time_range.start, event.time_range.end) for event in seen.events()
                   if event.device_type == kind) / (1e6 * wall)


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of what intervals cover together."""
    total, end = 0.0, -float("inf")
    for start, stop in sorted(intervals):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", help="a GPU as PyTorch calls it (default: cuda)")
    parser.add_argument("--out", help="also write the numbers to this JSON file, with where they come from")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        parser.exit(NO_GPU, f"There is no GPU here: PyTorch {torch.__version__}, built {built}, finds none, so nothing "
                            "was measured. On a machine with one, look whether nvidia-smi shows it.\n")
    origin = provenance()
    print(origin["hardware"])
    if not find_spec("overcomplete"):
        print("overcomplete is not installed and takes no part")
    results = measure(device)
    for name, value in results.items():
        print(f"  {value:10.4g}  {name}")
    if options.out:
        write_json(options.out, {"results": results, "provenance": origin})


if __name__ == "__main__":
    main()
