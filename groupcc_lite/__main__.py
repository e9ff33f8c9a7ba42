"""The command line of the library: `groupcc` or `python -m groupcc_lite`. Every verb has --help."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import logging
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from groupcc_lite.base import Verbs, minutes, say, say_table, use_data

# The rest of the library is imported inside the verbs, so that --help answers at once.


def _profiles(options: argparse.Namespace) -> None:
    from groupcc_lite.runs import PROFILES

    chosen = list(PROFILES.values())
    for profile in chosen:
        say(f"{profile.name:<10} {profile.summary}")
    say("")
    rows = [(f.name, *(str(getattr(profile, f.name)) for profile in chosen))
            for f in dataclasses.fields(chosen[0]) if f.name not in ("name", "summary")]
    say_table([("setting", *(profile.name for profile in chosen)), *rows])


def _cost(options: argparse.Namespace) -> None:
    if options.cluster:
        from groupcc_lite.studies import cluster_table

        table = cluster_table()
        say("ImageNet-1k, |G| = 32, on H100s, computed on paper; help(groupcc_lite.studies.cluster_cost) says how:")
        say_table([tuple(table[0]), *(tuple(_number(value) for value in row.values()) for row in table)])
        return
    from groupcc_lite.studies import cost

    stages = cost(options.profile, images=options.images, progress=True)
    stages["all of these"] = {"hours": sum(facts.get("hours", 0.0) for facts in stages.values())}
    say(f"Profile {options.profile}, estimated on this machine:")
    rows = []
    for stage, facts in stages.items():
        shown = [("time", minutes(3600.0 * value)) if key == "hours" else (key, _number(value))
                 for key, value in facts.items()]
        rows += [(stage if i == 0 else "", key, value) for i, (key, value) in enumerate(shown)]
    say_table(rows)


def _train_tiny(options: argparse.Namespace) -> None:
    from groupcc_lite import models
    from groupcc_lite.base import work_folder

    name = "tiny-vit" if options.vit else "tiny-inception"
    folder = Path(options.folder) if options.folder is not None else work_folder() / name
    _check_folder(folder, "--folder")
    if options.vit:
        shipped, steps = models.VIT_WEIGHTS, models.VIT_STEPS if options.steps is None else options.steps
        models.train_vit(folder, steps=steps, seed=options.seed)
    else:
        shipped = models.TOLD_WEIGHTS if options.told else models.TINY_WEIGHTS
        steps = models.TINY_STEPS if options.steps is None else options.steps
        models.train_tiny(folder, told=options.told, steps=steps, seed=options.seed)
    path = folder / shipped.name
    say(f"The weights lie at {path}; --weights {path} uses them, and the package's own are as they were"
         if path.resolve() != shipped else f"The package's own weights were replaced: {path}")


def _train_robust(options: argparse.Namespace) -> None:
    from groupcc_lite.base import work_folder
    from groupcc_lite.superposition import REFERENCES, STOPPED, train_references

    there = sorted({network.seed for network in REFERENCES + STOPPED})
    if strange := [str(seed) for seed in options.seeds if seed not in there]:
        raise ValueError(f"--seeds has {', '.join(strange)}, but the plan has networks with the seeds "
                         f"{', '.join(map(str, there))} only; choose among these")
    folder = Path(options.folder) if options.folder is not None else work_folder() / "robust"
    _check_folder(folder, "--folder")
    settings = {} if options.steps is None else {"steps": options.steps}
    for network in REFERENCES + STOPPED:
        if network.seed in options.seeds:
            (record,) = train_references(folder, [network], **settings)
            say(f"{network.name}: accuracy {record['held_out']['accuracy']}")
    say(f"The weights lie in {folder}")


def _robust(options: argparse.Namespace) -> None:
    from groupcc_lite.analysis import compare_robust, pair_table
    from groupcc_lite.base import write_json

    _check_file(options.out, "--out", "robust.json")
    found = compare_robust(options.plain, options.robust, options.images, model=options.model, layers=options.layers,
                           eps=options.eps, attack_steps=options.attack_steps, count=options.count,
                           latents=options.latents, k=options.k, steps=options.steps, input_size=options.input_size,
                           seed=options.seed)
    say_table(pair_table(found))
    write_json(Path(options.out), found)
    say(f"One network of each kind: differences have no interval over networks. All numbers lie in {options.out}")


def _atlas(options: argparse.Namespace) -> None:
    from groupcc_lite.atlas import atlas_folder, make_page
    from groupcc_lite.runs import Run

    use_data(options.data)
    run = Run(options.profile, options.seed, images=options.images, weights=options.weights)
    folder = Path(options.out) if options.out is not None else atlas_folder(run.profile.name)
    _check_folder(folder)
    page = make_page(run, folder, pictures=options.features, size=options.size, steps=options.steps,
                     data_only=options.data_only)
    say(f"The data of the atlas lie in {page}" if options.data_only else f"The atlas lies at {page}")


def _moving(options: argparse.Namespace) -> None:
    from groupcc_lite.atlas import atlas_folder, relatives_of, write_moving

    _check_file(options.out, "--out", "relatives.webp")
    if options.still is not None:
        _check_file(options.still, "--still", "relatives.png")
    folder = Path(options.atlas) if options.atlas is not None else atlas_folder(options.profile) / "data"
    found = relatives_of(folder, options.feature)
    path = write_moving(found, options.out, still=options.still)
    say(f"Feature {found.feature} with its relatives moves in {path}")


def _analyse(options: argparse.Namespace) -> None:
    from groupcc_lite.analysis import check_report, check_run, write_report
    from groupcc_lite.studies import run_cost

    _check_folder(options.out)
    check_report(options.out)
    run = _run_of(options)
    if options.dictionary is not None:
        from groupcc_lite.interop import load_dictionary

        run = run.with_dictionary(load_dictionary(options.dictionary))
        _check_untrained(options, run.given_as)
    check_run(run, atlas=not options.no_atlas)
    stages = run_cost(run, atlas=not options.no_atlas)
    say_table([("stage", "time"), *((stage, minutes(3600 * hours)) for stage, hours in stages.items())])
    if not options.dry_run:
        say(f"The report lies at {write_report(run, options.out, atlas=not options.no_atlas)}")


def _check_folder(folder: str | Path, option: str = "--out") -> None:
    """ValueError that names the option, before anything is computed, for a file or a folder that cannot be written."""
    if Path(folder).exists() and not Path(folder).is_dir():
        raise ValueError(f"{option} is {str(folder)!r}, which is a file; give a folder, which need not exist yet")
    _check_written(folder, folder, option)


def _check_file(path: str, option: str, such_as: str) -> None:
    """The same for a file."""
    if Path(path).is_dir():
        raise ValueError(f"{option} is {path!r}, which is a folder; give a file, such as {path}/{such_as}")
    _check_written(Path(path).parent, path, option)


def _check_written(folder: str | Path, given: str | Path, option: str) -> None:
    """ValueError if nothing can be written into the folder, or into the first one above it that is there."""
    folder = Path(folder).absolute()
    try:
        tempfile.TemporaryFile(dir=next(path for path in (folder, *folder.parents) if path.exists())).close()
    except OSError as error:
        raise ValueError(f"{option} is {str(given)!r}, which cannot be written ({error.strerror}); give another "
                         "place") from error


def _run_of(options: argparse.Namespace, **more: Any) -> Any:
    """The run of a known model or of one's own network, as the options say; `more` are keywords of `Run`."""
    from groupcc_lite.runs import Run, get_profile

    use_data(options.data)
    _check_inputs(options)
    given = {key: getattr(options, key) for key in ("model", "layer", "group") if getattr(options, key) is not None}
    settings = dict(_setting(text) for text in options.set)
    if twice := sorted(settings.keys() & given.keys()):
        raise ValueError(f"{', '.join(twice)} is given twice, by an option and by --set; give it once")
    get_profile(options.profile, **settings)  # refuses what is no field of a profile
    if any((options.network, options.input_size, options.mean, options.std, options.channels)):
        more |= dict(model=_own_network(options, given))
    else:
        more |= dict(weights=options.weights)
    return Run(options.profile, options.seed, images=options.images, **given, **settings, **more)


def _check_untrained(options: argparse.Namespace, given_as: str) -> None:
    """ValueError for settings of a training that does not take place, because --dictionary gives the coder. The SAE
    beside a given crosscoder, which the atlas compares it with, is trained, but for its size."""
    from groupcc_lite.runs import CODER_SETTINGS

    beside = given_as == "crosscoder" and not options.no_atlas
    names = {_setting(text)[0] for text in options.set}
    if ignored := [name for name in (CODER_SETTINGS[:1] if beside else CODER_SETTINGS) if name in names]:
        raise ValueError(f"--set {', '.join(ignored)} would do nothing, for --dictionary gives a coder that is trained "
                         "already; leave it out")


def _check_inputs(options: argparse.Namespace) -> None:
    """ValueError that names the option if --images or --weights is no such path, or of the wrong kind."""
    if options.images is not None:
        images = Path(options.images)
        if not images.exists():
            raise ValueError(f"--images is {options.images!r}, which does not exist; give a folder of photographs")
        if images.is_file() and not tarfile.is_tarfile(images):
            raise ValueError(f"--images is {options.images!r}, which is a single file; give a folder of photographs, "
                             "or a tar file of them")
    if options.weights not in (None, "random") and not Path(options.weights).is_file():
        what = "is a folder" if Path(options.weights).is_dir() else "does not exist"
        raise ValueError(f"--weights is {options.weights!r}, which {what}; give a weights file, or \"random\"")


def _own_network(options: argparse.Namespace, given: dict[str, Any]) -> Any:
    """The network of --network with what else is said of it, which is taken out of `given`."""
    from groupcc_lite.models import model_from_file

    if options.network is None:
        raise ValueError("--input-size, --mean, --std and --channels are for --network; a known model has its own")
    if given.pop("model", None) is not None:
        raise ValueError("--model and --network are both given; give one of them")
    if options.images is None:
        raise ValueError("a network of your own needs images: --images FOLDER")
    return model_from_file(options.network, given.pop("layer", None), weights=options.weights,
                           input_size=options.input_size, mean=options.mean, std=options.std,
                           channels=options.channels)


def _channels(text: str) -> tuple[float, ...]:
    """Numbers with commas between them."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 0.5,0.5,0.5") from None


def _orbits(options: argparse.Namespace) -> None:
    from groupcc_lite.distributed import Processes, extract_shared, joined

    _check_folder(options.out)
    with joined(device=options.device, timeout=options.timeout) as world:
        if not world.first:
            logging.getLogger("groupcc_lite").setLevel(logging.ERROR)  # one of them says it
        run = _run_of(options, device=str(world.device))
        run.check(coders=False)
        for part in ("train", "held-out"):
            (store,) = extract_shared(Processes(world, run.group.order), [Path(options.out) / part], [run.model],
                                      run.action, run.source(part), workers=options.workers,
                                      batch_size=options.extraction_batch, **run.recipes.sampling)
            if world.first:
                say(f"{len(store):,} orbits of {run.group.name} in {store.folder}")


def _train(options: argparse.Namespace) -> None:
    from groupcc_lite.coders import GroupCrosscoder
    from groupcc_lite.distributed import Processes, ShardedCrosscoder, joined, train_sharded
    from groupcc_lite.orbits import OrbitStore

    _check_folder(options.out)
    if options.sparsity and options.activation in ("topk", "batchtopk"):
        raise ValueError(f"--sparsity is {options.sparsity:g}, which {options.activation} has no use for: k says how "
                         "many latents fire; leave it out, or choose --activation relu or jumprelu")
    with joined(device=options.device, timeout=options.timeout) as world:
        if not world.first:
            logging.getLogger("groupcc_lite").setLevel(logging.ERROR)  # one of them says it
        store = OrbitStore(options.store, check=options.check)
        batch = min(1024, len(store)) if options.batch_size is None else options.batch_size
        processes = Processes(world, store.group.order, options.group_processes)
        coder = GroupCrosscoder(store.group, store.channels, options.latents, activation=options.activation,
                                k=options.k, hidden=options.hidden, bandwidth=options.bandwidth, scale=store.scale,
                                seed=options.seed)
        sharded = ShardedCrosscoder(coder, processes)
        del coder  # the whole of it is no longer needed
        train_sharded(sharded, store, steps=options.steps, batch_size=batch, lr=options.lr,
                      sparsity=options.sparsity, aux=options.aux, dead_after=options.dead_after, seed=options.seed,
                      amp=options.amp, folder=options.out, checkpoint_every=options.checkpoint_every,
                      log_every=options.log_every)
        sharded.save(options.out)
        if world.first:
            say(f"The coder lies in {options.out}, trained by {processes.data.size} x {processes.group.size} "
                "processes (data x group)")


def _setting(text: str) -> tuple[str, Any]:
    """FIELD=VALUE as a profile's field and its value; ValueError for anything else."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set is {text!r}; expected FIELD=VALUE, such as latents=1024; `groupcc profiles` has all")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _number(value: Any) -> str:
    return f"{value:,.3g}" if isinstance(value, float) and abs(value) < 1000 else (
        f"{value:,.0f}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value))


def verbs() -> Verbs:
    """All verbs with their options."""
    top = Verbs("groupcc", "Group crosscoders: the symmetries of a network's features, and what a run costs.")
    top.add("profiles", _profiles, "list the profiles and every setting of each")
    sub = top.add("cost", _cost, "estimate time and disk of a profile before it starts", top.profile)
    sub.add_argument("--images", metavar="FOLDER", help="photographs that the run would use")
    sub.add_argument("--cluster", action="store_true", help="instead, a table on paper of large crosscoders on many "
                     "GPUs")
    _atlas_options(top.add("atlas", _atlas, "make the feature atlas of a run, a page without a server", top.profile,
                           top.inputs))
    sub = top.add("moving", _moving, "show how a feature's relatives move into its pose, as an animated picture",
                  top.profile)
    sub.add_argument("--atlas", metavar="FOLDER", help="the data of an atlas (default: that of the profile's atlas)")
    sub.add_argument("--feature", type=int, help="its number (default: the one whose eight relatives are closest)")
    sub.add_argument("--out", metavar="FILE", default="relatives.webp", help="default: relatives.webp")
    sub.add_argument("--still", metavar="FILE", help="a PNG as well, with before and after side by side")
    _analyse_options(top.add("analyse", _analyse, "find the symmetries of a layer of your network, and write a report",
                             top.profile, top.inputs))
    sub = top.add("orbits", _orbits, "store the orbits of a layer of your network, in one process or under torchrun",
                  top.profile, top.inputs)
    _network_options(sub)
    _process_options(sub, timeout=3600.0)
    sub.add_argument("--out", metavar="FOLDER", default="orbits", help="two stores go there, train and held-out; the "
                     "same command goes on from there (default: orbits)")
    sub.add_argument("--workers", type=int, default=0, help="processes that load images ahead, for each that extracts "
                     "(default: 0)")
    sub.add_argument("--extraction-batch", type=int, metavar="IMAGES", help="images that go through the network at a "
                     "time (default: by memory)")
    _train_options(top.add("train", _train, "train a crosscoder on an orbit store, in one process or under torchrun"))
    sub = top.add("train-tiny", _train_tiny, "train the built-in model on procedurally drawn shapes")
    sub.add_argument("--folder", help="where the weights go (default: tiny-inception or tiny-vit in the work folder, "
                     "never into the package)")
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--vit", action="store_true", help="train the vision transformer instead")
    which.add_argument("--told", action="store_true", help="train the control, which reports orientations as well")
    sub.add_argument("--steps", type=int, help="training steps (default: as many as the package's weights had)")
    sub.add_argument("--seed", type=int, default=0, help="default: 0")
    sub = top.add("train-robust", _train_robust, "train the robust networks that are missing, and their controls: "
                  "on drawings as they are, attacked and noisy")
    sub.add_argument("--folder", help="where they lie and go (default: robust in the work folder)")
    sub.add_argument("--steps", type=int, help="training steps (default: as many as the package's weights had)")
    sub.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    _robust_options(top.add("robust", _robust, "compare a plain network with a robust one: superposition by layer, "
                            "what attacks change, symmetry"))
    return top


def _robust_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--plain", metavar="FILE", required=True, help="safetensors file with the plain network's weights")
    sub.add_argument("--robust", metavar="FILE", required=True, help="the same of the robust network")
    sub.add_argument("--images", metavar="FOLDER", required=True, help="photographs; labels are not needed: attacks "
                     "are on each network's own prediction")
    sub.add_argument("--model", default="torchvision/resnet18", help="torchvision/<name> or timm/<name> (default: "
                     "torchvision/resnet18)")
    sub.add_argument("--layers", nargs="+", default=["layer1", "layer2", "layer3"],
                     help="default: layer1 layer2 layer3")
    sub.add_argument("--eps", type=float, default=3.0, help="L2 norm of attacks, for pixels from 0 to 1 (default: 3)")
    sub.add_argument("--attack-steps", type=int, default=10, help="default: 10")
    sub.add_argument("--count", type=int, default=128, help="images that are used, evenly spread (default: 128)")
    sub.add_argument("--latents", type=int, default=1024, help="of the sparse autoencoders (default: 1024)")
    sub.add_argument("--k", type=int, default=32, help="their active latents (default: 32)")
    sub.add_argument("--steps", type=int, default=300, help="of their training (default: 300)")
    sub.add_argument("--input-size", type=int, metavar="PIXELS", help="default: that of the network")
    sub.add_argument("--out", metavar="FILE", default="robust.json", help="default: robust.json")
    sub.add_argument("--seed", type=int, default=0, help="default: 0")


def _train_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("store", metavar="STORE", help="folder of an orbit store, as OrbitStore wrote it")
    sub.add_argument("--out", metavar="FOLDER", default="coder", help="where coder, checkpoint and metrics.jsonl go; "
                     "the same command goes on from there (default: coder)")
    sub.add_argument("--latents", type=int, required=True, help="size of the dictionary")
    sub.add_argument("--activation", default="batchtopk", help="relu, topk, batchtopk or jumprelu (default: batchtopk)")
    sub.add_argument("--k", type=int, help="latents that fire for a sample, needed with topk and batchtopk")
    sub.add_argument("--sparsity", type=float, default=0.0, help="lambda, with relu and jumprelu")
    sub.add_argument("--bandwidth", type=float, help="of the pseudo-gradients of jumprelu")
    sub.add_argument("--hidden", type=int, help="width of a hidden layer of the encoder (default: none)")
    sub.add_argument("--steps", type=int, required=True, help="training steps")
    sub.add_argument("--batch-size", type=int, help="orbits in a step, of all processes (default: 1024, or all orbits "
                     "where there are fewer)")
    sub.add_argument("--lr", type=float, default=1e-3, help="learning rate of Adam (default: 0.001)")
    sub.add_argument("--aux", type=float, default=1 / 32, help="weight of the auxiliary loss (default: 1/32)")
    sub.add_argument("--dead-after", type=int, help="samples without firing after which a latent counts as dead")
    sub.add_argument("--seed", type=int, default=0, help="default: 0")
    sub.add_argument("--amp", action="store_true", help="products of matrices in bfloat16, where the device has it")
    sub.add_argument("--checkpoint-every", type=int, default=200, metavar="STEPS", help="default: 200")
    sub.add_argument("--log-every", type=int, default=10, metavar="STEPS", help="default: 10")
    _process_options(sub, timeout=600.0)
    sub.add_argument("--group-processes", type=int, metavar="P", help="how many processes share the blocks of the "
                     "group; the others share batches (default: as many as divide both numbers)")
    sub.add_argument("--check", action="store_true", help="read the whole store first, against its checksums")


def _process_options(sub: argparse.ArgumentParser, timeout: float) -> None:
    sub.add_argument("--device", help="cuda (NCCL between processes) or cpu (gloo); default: cuda where there is one")
    sub.add_argument("--timeout", type=float, default=timeout, metavar="SECONDS", help="how long a process waits for "
                     f"the others before all end (default: {timeout:g})")


def _network_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--model", help="a name that `load_model` knows, such as torchvision/resnet18/layer2 (default: "
                     "the profile's)")
    sub.add_argument("--network", metavar="FILE.py:NAME", help="your own network instead: a Python file, and a "
                     "function in it that returns the torch.nn.Module; --weights is then a file with its state dict")
    sub.add_argument("--layer", help="layer to read, where the model's name has none")
    sub.add_argument("--input-size", type=int, metavar="PIXELS", help="side of the images that your network takes")
    sub.add_argument("--mean", type=_channels, metavar="R,G,B", help="what your network's images were normalised with, "
                     "for images from 0 to 1 (default: not normalised)")
    sub.add_argument("--std", type=_channels, metavar="R,G,B", help="as --mean")
    sub.add_argument("--channels", type=int, metavar="N", help="channels of the images that your network takes "
                     "(default: as many as --mean has numbers, or 3); 1 for grey images")
    sub.add_argument("--group", help="C_n or D_n (default: the profile's)")
    sub.add_argument("--seed", type=int, default=0, help="default: 0")
    sub.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[],
                     help="another value for a field of the profile; may be given several times")


def _analyse_options(sub: argparse.ArgumentParser) -> None:
    _network_options(sub)
    sub.add_argument("--dictionary", metavar="PATH", help="instead of training, a sparse autoencoder of that layer, as "
                     "SAELens, sparsify, dictionary_learning, overcomplete or this library saved it, or a crosscoder "
                     "that `groupcc train` wrote")
    sub.add_argument("--out", metavar="FOLDER", default="report", help="where the report goes (default: report)")
    sub.add_argument("--no-atlas", action="store_true", help="leave out the feature atlas, whose pictures take longest")
    sub.add_argument("--dry-run", action="store_true", help="say what would fail and what it costs, and stop")


def _atlas_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--out", metavar="FOLDER", help="where it goes (default: atlas/PROFILE in the work folder)")
    sub.add_argument("--seed", type=int, default=0, help="default: 0")
    sub.add_argument("--features", type=int, metavar="N",
                     help="draw N features of each map, evenly spread (default: all; finished ones are kept)")
    sub.add_argument("--size", type=int, help="side of a drawing in pixels (default: the profile's atlas_size)")
    sub.add_argument("--steps", type=int, help="steps per drawing (default: the profile's atlas_steps)")
    sub.add_argument("--data-only", action="store_true", help="write only the data, straight into the folder")


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when all went well, 2 for a wrong request, 130 when interrupted."""
    return verbs().run(arguments)


if __name__ == "__main__":
    sys.exit(main())
