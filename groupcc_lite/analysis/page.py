"""The report: one page with tables and figures, the table of features for other tools, and the atlas beside it."""

from __future__ import annotations

import html
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from groupcc_lite.analysis.measures import Analysis, check_run, doubts, measure
from groupcc_lite.atlas import make_page
from groupcc_lite.base import atomic_path, atomic_write, provenance, require, write_json
from groupcc_lite.runs import DictionaryRun, Run, feature_frame
from groupcc_lite.symmetry import FALSE_RATE, block_cosines, testable

LOOK = Path(__file__).parent / "page.css"


def write_report(run: Run, folder: str | Path, *, atlas: bool = True) -> Path:
    """Measure a run and write the report into `folder`; returns the page to open.

    `index.html` has the numbers and figures, `features.csv` and `features.parquet` a row for each feature
    (`Run.features`), `provenance.json` where it all comes from, and `atlas/` the feature atlas unless `atlas` is False.
    Everything opens from disk, without a network. ValueError as for `measure`, nearly all before anything costly.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as work:
    ...     run = Run("smoke", group="C_4", drawings=12, points_per_image=4, latents=64, k=8, steps=2, batch_size=8,
    ...               work=work)
    ...     page = write_report(run, f"{work}/report", atlas=False)
    ...     sorted(path.name for path in page.parent.iterdir())
    ['features.csv', 'features.parquet', 'figures', 'index.html', 'provenance.json']
    """
    folder = Path(folder)
    check_report(folder)
    check_run(run, atlas=atlas)
    found = measure(run)
    frame = feature_frame(found.table, run.group)
    _write(folder / "features.csv", frame.to_csv)
    _write(folder / "features.parquet", frame.to_parquet)
    facts = provenance(**run.report("analysis").facts)
    write_json(folder / "provenance.json", facts)
    shown = [figure(run, found, folder / "figures") for figure in FIGURES]
    if atlas:
        make_page(run, folder / "atlas")
    atomic_write(folder / "index.html", _page(run, found, shown, facts, atlas).encode())
    return folder / "index.html"


def check_report(folder: str | Path) -> None:
    """What a report needs beside a run, before anything costly: the error of a missing extra, ValueError for a folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as work:
    ...     check_report(f"{work}/report")
    """
    require("pandas", "tables")
    require("pyarrow", "tables")
    require("matplotlib", "pictures")
    require("umap", "families")
    folder = Path(folder).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise ValueError(f"the report cannot be written to {folder} ({error}); give another folder") from error


def _write(path: Path, writer: Callable[[Any], Any]) -> None:
    with atomic_path(path) as temporary:
        writer(temporary)


# --------------------------------------------------------------------------------------------------- figures

def _saved(path: Path, draw: Callable[[Any], Any], *, size: tuple[float, float] = (7.0, 3.4)) -> None:
    from groupcc_lite import figures

    plt = require("matplotlib.pyplot", "pictures")
    with figures.house_style(), atomic_path(path) as temporary:
        figure = plt.figure(figsize=size, layout="constrained")
        figure = draw(figure) or figure
        figure.savefig(temporary, dpi=140, format="png")
        plt.close("all")


def _shown(path: Path, title: str, caption: str, alt: str) -> str:
    return (f"<section><h2>{html.escape(title)}</h2><figure><img src='figures/{path.name}' alt='{html.escape(alt)}'>"
            f"<figcaption>{html.escape(caption)}</figcaption></figure></section>")


def _blocks(run: Run, found: Analysis, folder: Path) -> str:
    from groupcc_lite import figures

    path = folder / "blocks.png"
    exact = run.orbits("held-out").exact
    _saved(path, lambda figure: figures.fve_per_block(found.metrics.fve_per_block, run.group, figure.subplots(),
                                                      ceiling=found.ceiling, exact=exact) and None)
    return _shown(path, "How well the layer turns with the image",
                  "Variance that the crosscoder explains for each group element, on held-out images. Black: what "
                  "a linear map from the untransformed activation explains. Pale bars: elements whose images had to be "
                  "interpolated.", "A bar for each group element with a black tick for the linear map.")


def _census(run: Run, found: Analysis, folder: Path) -> str:
    from groupcc_lite import figures

    path = folder / "census.png"
    labels = len({H.label for H in run.group.subgroups()})
    _saved(path, lambda figure: figures.census_bars(found.census.labels, run.group, figure.subplots()) and None,
           size=(7.0, 1.6 + 0.3 * labels))
    return _shown(path, "Which symmetries its features have",
                  "Features by the stabiliser of their dictionary vector. A label alone is worth little: the table "
                  "above says which can be tested, how many of them there are by chance, and how many the encoder "
                  "confirms.",
                  "A bar for each kind of symmetry with the number of features.")


def _examples(run: Run, found: Analysis, folder: Path) -> str:
    from groupcc_lite import figures

    path, rows = folder / "examples.png", found.examples
    D = found.coder.dictionary.detach().cpu()[found.table.features[rows]]
    names = [f"{found.table.features[row]}: {found.census.labels[row].subgroup.label}" for row in rows]
    _saved(path, lambda figure: figures.heatmap_row(block_cosines(D), names, run.group))
    return _shown(path, "One feature of each kind",
                  "Cosine between any two blocks of a dictionary vector, for the best founded feature of each kind "
                  "that occurs: its number and its symmetry. Diagonals say under which elements it stays the same.",
                  "Square heatmaps in a row, one for each kind of symmetry.")


def _spectrum(run: Run, found: Analysis, folder: Path) -> str:
    from groupcc_lite import figures

    path = folder / "spectrum.png"
    power = found.table.symmetries.spectrum.mean(0)
    _saved(path, lambda figure: figures.irrep_bars(power, run.group, figure.subplots()) and None, size=(7.0, 2.8))
    return _shown(path, "How its features turn",
                  "Mean share of a feature's power in each irrep of the group. The first is what no element changes.",
                  "A bar for each irrep.")


FIGURES = (_blocks, _census, _examples, _spectrum)


# ------------------------------------------------------------------------------------------------------ page

def numbers(run: Run, found: Analysis) -> list[tuple[str, str, str]]:
    """Rows of the report's table: what it is, its value, what it means."""
    c, m, seen = found.census, found.metrics, found.metrics_seen
    total = len(c.features)
    return [
        ("images", f"{len(run.source('train')):,} + {len(run.source('held-out')):,}", "seen and held out"),
        ("orbits", f"{len(run.orbits('train')):,} + {len(run.orbits('held-out')):,}", "points under all elements"),
        ("linear reference", f"{found.ceiling[1:].mean():.3f}", "of the other blocks' variance, by the best linear "
         f"map from the first; {found.ceiling_seen[1:].mean():.3f} on images it was fitted on"),
        ("copy", f"{found.copied[1:].mean():.3f}", "the same if the first block is copied into the others"),
        ("crosscoder", f"{m.fve_per_block[1:].mean():.3f}", "of the other blocks' variance, as the two above; "
         f"{m.fve:.3f} of all blocks, {seen.fve:.3f} on seen images"),
        ("L0", f"{m.l0:.1f}", f"latents active at a time, of {found.coder.latents:,}"),
        ("living features", f"{total:,}", f"fire on held-out images; {100 * m.dead:.0f} % of the latents never do"),
        ("invariant", f"{int(c.invariant.sum()):,}", "features that no element changes, encoder and decoder alike"),
        ("with a symmetry", f"{int(c.partly.sum()):,}", "but not all of it, by the decoder alone"),
        *_against_chance(found),
    ]


def _against_chance(found: Analysis) -> list[tuple[str, str, str]]:
    """Rows that part the symmetries into those that can be tested, with what they are worth, and the others."""
    c, w = found.census, found.witness
    others = c.partly.numpy() & ~found.tested
    rate = f", at a false discovery rate of {w.rate:.2f}" if np.isfinite(w.rate) else ""
    tested = [
        ("tested against chance", f"{found.excess.count:,}", "of these: their symmetry can be tested; "
         f"{found.excess.surrogate:.1f} by chance, for spectra like theirs"),
        ("supported", f"{int(c.supported_partly.sum()):,}", "features with a symmetry that can be tested, at a false "
         f"discovery rate of {FALSE_RATE:g}"),
        ("confirmed", f"{w.count:,}", f"of those tested, that the encoder has too{rate}")]
    untested = (
        "not tested against chance", f"{int(others.sum()):,}", "with a symmetry, such as turns alone, for which "
        "features with the same spectrum and unrelated axes have the same cosines; the encoder has "
        f"{int((c.confirmed.numpy() & others).sum()):,} of these too")
    G = found.coder.group
    return (tested if any(testable(H, G) for H in G.subgroups()) else []) + [untested]


def _page(run: Run, found: Analysis, shown: list[str], facts: dict[str, Any], atlas: bool) -> str:
    model, geometry = run.model, run.model.geometry
    title = f"{model.name}, layer {model.layer}, group {run.group.name}"
    rows = "".join(f"<tr><th scope='row'>{html.escape(name)}</th><td>{html.escape(value)}</td><td>"
                   f"{html.escape(meaning)}</td></tr>" for name, value, meaning in numbers(run, found))
    warnings = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in doubts(found))
    links = [("features.csv", "Table of features (CSV)"), ("features.parquet", "the same as Parquet"),
             ("provenance.json", "where it comes from")]
    links = ([("atlas/index.html", "Atlas: every feature with its picture")] if atlas else []) + links
    layer = (f"{model.channels} channels, a cell every {geometry.stride:g} pixels of a {model.input_size} pixel input. "
             f"Seed {run.seed}, profile {run.profile.name}.")
    if geometry.nominal:
        layer += " Its geometry is nominal: a cell sits at its place, but may see the whole image."
    if isinstance(run, DictionaryRun):
        what = "a sparse autoencoder that was given, with fitted blocks" if run.given_as == "sae" else "given"
        layer += f" The crosscoder is {what}; it was not trained here."
    return PAGE.format(title=html.escape(title), style=LOOK.read_text(), layer=html.escape(layer), rows=rows,
                       doubts=f"<aside><h2>What to doubt</h2><ul>{warnings}</ul></aside>" if warnings else "",
                       links=" · ".join(f"<a href='{href}'>{html.escape(text)}</a>" for href, text in links),
                       figures="".join(shown), facts=html.escape(json.dumps(_short(facts), indent=1)))


def _short(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if not isinstance(value, list | np.ndarray)}


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{layer}</p>
<p>{links}</p>
{doubts}
<section>
<h2>Numbers</h2>
<div class="wide" tabindex="0" role="region" aria-label="Numbers"><table>{rows}</table></div>
</section>
{figures}
<section><h2>Where it comes from</h2>
<details><summary>Commit, versions, settings</summary><pre>{facts}</pre></details></section>
</main>
</body>
</html>
"""
