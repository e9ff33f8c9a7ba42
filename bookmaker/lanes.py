"""Independent notebooks side by side: which may start, which should start first, and how all of them end together.

Chapters share what they compute: the first that needs the orbits makes them, and another one that needs them at the
same time waits for it, and holds its lane all the while. So `BUILDS_ON` says for each chapter which others make what it
uses, and it starts when these have ended. Of those that may start, the one with the longest way to the end goes first,
by the times of the last run, or, before there is one, of the published run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

Result = TypeVar("Result")
Chapters = Mapping[str, tuple[str, ...]]

BUILDS_ON: dict[str, tuple[str, ...]] = {
    "00_idea": ("03_training",),          # the crosscoder and the sparse autoencoder
    "03_training": ("02_orbits",),        # orbits, linear ceilings
    "04_heatmaps": ("03_training",),      # the crosscoder
    "05_families": ("03_training",),      # the crosscoder and the sparse autoencoder
    "06_seeing": ("05_families",),        # the maps of features
    "07_symmetry": ("03_training",),      # the crosscoder
    "08_axes": ("07_symmetry",),         # the controls, the coders of all seeds
    "09_spectra": ("05_families",),       # the sparse autoencoders of all seeds
    "12_probes": ("11_one_matrix",),      # scenes, base autoencoders, the matrix
    "13_relations": ("12_probes",),       # the equivariant SAEs
}
"""Which chapters make what a chapter uses. One that is not listed makes all it needs, or needs it only at its end."""


def way_to_the_end(chapters: Mapping[str, float], builds_on: Chapters) -> dict[str, float]:
    """For each chapter (with its seconds) how long it and the longest chain of chapters after it take together.

    ValueError if chapters wait for each other in a circle.
    """
    after = {name: [other for other in chapters if name in builds_on.get(other, ())] for name in chapters}

    @cache
    def way(name: str) -> float:
        return chapters[name] + max(map(way, after[name]), default=0.0)

    try:
        return {name: way(name) for name in chapters}
    except RecursionError:
        raise ValueError(f"chapters wait for each other in a circle: {dict(builds_on)}") from None


def run_in_lanes(jobs: Mapping[str, Callable[[], Result]], seconds: Mapping[str, float], *, lanes: int,
                 builds_on: Chapters, stop: Callable[[], None]) -> Iterator[tuple[str, Result]]:
    """Run jobs, at most `lanes` at once, and hand out each result when it is there.

    `seconds`: how long each will take, as far as that is known. `builds_on`: jobs that start only when others have
    ended, whatever became of these. When something goes wrong, or the caller goes away, `stop` is called, which must
    end those that run. ValueError for fewer lanes than one, and for jobs that wait for each other.
    """
    if lanes < 1:
        raise ValueError(f"lanes is {lanes}; expected 1 or more")
    usual = sum(seconds.values()) / len(seconds) if seconds else 1.0
    way = way_to_the_end({name: seconds.get(name, usual) for name in jobs}, builds_on)
    waiting = sorted(reversed(jobs), key=lambda name: -way[name])  # of equals the later one: chapters get longer
    running: dict[Future[Result], str] = {}
    with ThreadPoolExecutor(lanes) as pool:
        try:
            while waiting or running:
                held = {*waiting, *running.values()}
                ready = [name for name in waiting if not held & {*builds_on.get(name, ())}]
                for name in ready[:lanes - len(running)]:
                    waiting.remove(name)
                    running[pool.submit(jobs[name])] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BaseException:  # an interruption above all
            stop()
            raise
