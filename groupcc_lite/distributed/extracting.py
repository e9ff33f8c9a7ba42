"""One extraction by many processes: each makes its shards of the store, rank 0 begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from groupcc_lite.actions import Action
from groupcc_lite.distributed.axes import Processes
from groupcc_lite.models import BaseModel
from groupcc_lite.orbits import Extraction, OrbitStore
from groupcc_lite.stimuli import ImageSource


def extract_shared(processes: Processes, folders: Sequence[str | Path], models: Sequence[BaseModel], action: Action,
                   source: ImageSource, *, progress: bool = True, **settings: Any) -> list[OrbitStore]:
    """The stores that `OrbitStore.make_layers` makes, with the same arguments, by all processes together.

    All see the folders, and each has the whole source and a model on its own device. Shard i is made by process
    i mod P, but in runs of shards that fill a pack where there is one for each process. Rank 0 shows its own progress.
    An interrupted extraction goes on with any number of processes. A process waits for the slowest at the end, for as
    long as `joined` was told. ValueError as for `OrbitStore.make`; `ProcessLost` if another process ends.

    >>> import tempfile
    >>> from groupcc_lite.actions import PlanarAction
    >>> from groupcc_lite.distributed import Processes, extract_shared, joined
    >>> from groupcc_lite.groups import cyclic
    >>> from groupcc_lite.models import load_model
    >>> from groupcc_lite.stimuli import DrawingSource
    >>> with joined(device="cpu") as world:
    ...     (store,) = extract_shared(Processes(world, order=4), [tempfile.mkdtemp()], [load_model()],
    ...                               PlanarAction(cyclic(4)), DrawingSource(3, 96), progress=False)
    >>> len(store)
    48
    """
    world = processes.world
    extraction = Extraction(folders, models, action, source, **settings)
    if world.first:
        extraction.begin()
    processes.wait()  # an earlier run's leftovers are in order
    extraction.extract(world.rank, world.size, progress=progress and world.first)
    processes.wait()
    if world.first:
        extraction.finish()
    processes.wait()
    return [OrbitStore(folder) for folder in folders]
