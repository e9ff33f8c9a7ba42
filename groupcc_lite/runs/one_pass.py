"""Orbits of many layers from one pass of the images through the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from groupcc_lite.orbits import OrbitStore
from groupcc_lite.runs.layer_artefacts import PARTS
from groupcc_lite.runs.layer_run import Run


def extract_layers(runs: Sequence[Run], parts: Sequence[str] = PARTS) -> None:
    """Make the orbits of all these runs, unless they are there, reading every image once for all of them.

    The runs differ in the layer that they read of one network, and in nothing that decides which points are read: with
    the same images, group, seed, points and mask, the orbits are those that each would make by itself. ValueError for
    runs that read other points.

    >>> import tempfile
    >>> work = tempfile.TemporaryDirectory()
    >>> runs = [Run("smoke", group="C_4", drawings=8, layer=layer, mask_radius=16.0, work=work.name)
    ...         for layer in ("conv2d0", "mixed3a")]
    >>> extract_layers(runs)
    >>> [run.orbits().channels for run in runs]
    [16, 64]
    >>> work.cleanup()
    """
    if len({(str(run.recipes.sampling), run.recipes.action, str(run.recipes.stored)) for run in runs}) > 1:
        raise ValueError("these runs read other points of other images; expected the same images, group, seed, points "
                         "and mask, and other layers only")
    for part in parts:
        lacking = {run.recipes.orbits(part).key: run for run in runs if not run.cache.has(run.recipes.orbits(part))}
        # In one order for everybody, whatever that of the layers: or two processes would wait for each other.
        if lacking:
            _fill(part, [lacking[key] for key in sorted(lacking)], ())


def _fill(part: str, runs: list[Run], folders: tuple[Path, ...]) -> None:
    """Ask the cache for each run's orbits, one inside the making of the other, and make all of them in the innermost.

    Should another process make one of them first, nothing further in is made; so each sees to its own folder last.
    """
    sampling = runs[0].recipes.sampling
    if len(folders) == len(runs):
        OrbitStore.make_layers(folders, [run.model for run in runs], runs[0].action, runs[0].stored_source(part),
                               **sampling, **runs[0]._feeding)
        return
    run = runs[len(folders)]

    def make(folder: Path) -> None:
        _fill(part, runs, (*folders, folder))
        OrbitStore.make(folder, run.model, run.action, run.stored_source(part), **sampling, **run._feeding)

    run.cache.get(run.recipes.orbits(part), make)
