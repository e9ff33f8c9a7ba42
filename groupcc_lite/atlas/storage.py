"""An atlas on disk: a few megabytes that a browser reads without a server.

A page that was opened from a folder may not fetch files, but it may load scripts and images. So data lie in scripts
that hand their content to a function of the page, `atlasData(name, content)`, and pictures lie in sheets. The content
is JSON; arrays in it are whole numbers in base64 with a scale.

    atlas.js                 facts about the run, and size and sha256 of all other files; written last
    crosscoder.js, sae.js    one map each
    crosscoder-blocks-0.js   heatmaps of `CHUNK` features, loaded when one of them is looked at
    crosscoder-0.webp        pictures of `SHEET` features
"""

from __future__ import annotations

import base64
import json
import math
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from groupcc_lite.atlas.contents import Atlas, Pictures
from groupcc_lite.base import atomic_write, sha256_of

FORMAT = 2
OLD_FORMATS = (1,)
"""Read as well, as they are: before 2, stabilisers came from profiles that were not centred, with a threshold of their
own, and nothing said whether they are supported or confirmed."""
CHUNK = 128
"""Features whose heatmaps share a file."""
SHEET, COLUMNS = 64, 8
"""Pictures on a sheet, and in a row of it."""
QUALITY = 80
"""Of WebP: about 1.6 kB for a picture of 80 pixels; what it loses cannot be seen at that size."""

_SCRIPT = re.compile(r'atlasData\("([a-z0-9-]+)", (.*)\);\n', re.DOTALL)
_OURS = re.compile(r"(crosscoder|sae)(-blocks)?(-\d+)?\.(js|webp)")


def write_atlas(atlas: Atlas, folder: str | Path) -> Path:
    """Write all files of an atlas into `folder`, taking those of an earlier one away; returns the folder.

    >>> import tempfile
    >>> from groupcc_lite.runs import FeatureTable, Relatives
    >>> none = np.zeros(2, dtype=int)
    >>> table = FeatureTable("sae", 9, np.array([3, 8]), np.zeros((2, 2)), none / 1, none, none, {},
    ...                      Relatives(none[:, None], none[:, None] / 1, none[:, None]), None)
    >>> drawn = Pictures(np.array([1]), np.zeros((1, 24, 24, 3), np.uint8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sorted(path.name for path in write_atlas(Atlas({}, {"sae": table}, {"sae": drawn}), folder).iterdir())
    ['atlas.js', 'sae-0.webp', 'sae.js']
    """
    folder, files = Path(folder), {}
    maps = {}
    for kind, table in atlas.tables.items():
        sheets = _sheets(atlas.pictures[kind])
        files |= {f"{kind}-{k}.webp": sheet for k, sheet in enumerate(sheets)}
        if table.symmetries is not None:
            files |= {f"{kind}-blocks-{k}.js": script(f"{kind}-blocks-{k}", content)
                      for k, content in enumerate(_blocks(table))}
        files[f"{kind}.js"] = script(kind, _table(table, atlas.pictures[kind]))
        maps[kind] = dict(count=len(table.features), latents=table.latents)
    for name, content in files.items():
        atomic_write(folder / name, content)
    listed = {name: dict(bytes=(folder / name).stat().st_size, sha256=sha256_of(folder / name)) for name in files}
    facts = dict(format=FORMAT, chunk=CHUNK, sheet=SHEET, columns=COLUMNS, **atlas.facts, maps=maps, files=listed)
    atomic_write(folder / "atlas.js", script("atlas", facts))
    for old in folder.iterdir():
        if _OURS.fullmatch(old.name) and old.name not in files:
            old.unlink()
    return folder


def read_atlas(folder: str | Path) -> dict[str, Any]:
    """The facts of an atlas, and under "tables" its maps with all arrays as numbers again.

    Every file is compared with its sha256. An atlas of an old format has fewer arrays. ValueError for a folder that is
    no atlas, or one of an unknown format, or whose files are missing or damaged, with what to do.
    """
    folder = Path(folder)
    facts = check_atlas(folder)
    tables = {}
    for kind in facts["maps"]:
        table = {key: unpack(value) if isinstance(value, dict) and "base64" in value else value
                 for key, value in read_script(folder / f"{kind}.js").items()}
        chunks = [read_script(folder / name) for name in _numbered(facts["files"], f"{kind}-blocks-", ".js")]
        if chunks:
            table["blocks"] = _squares(np.concatenate([unpack(chunk) for chunk in chunks]), facts["group"]["order"])
        tables[kind] = table
    return facts | {"tables": tables}


def check_atlas(folder: str | Path) -> dict[str, Any]:
    """The facts of an atlas whose files are all there and whole; ValueError as for `read_atlas`."""
    folder = Path(folder)
    if not (folder / "atlas.js").is_file():
        raise ValueError(f"{folder} holds no atlas (atlas.js is missing); make one with `groupcc atlas`")
    facts = read_script(folder / "atlas.js")
    if facts.get("format") not in (*OLD_FORMATS, FORMAT):
        known = " or ".join(map(str, (*OLD_FORMATS, FORMAT)))
        raise ValueError(f"{folder} holds an atlas of format {facts.get('format')}, expected {known}; make it anew "
                         "with `groupcc atlas`")
    for name, expected in facts["files"].items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"the atlas in {folder} lacks {name}; make it anew with `groupcc atlas`")
        if path.stat().st_size != expected["bytes"] or sha256_of(path) != expected["sha256"]:
            raise ValueError(f"{path} is damaged or truncated ({path.stat().st_size} bytes, expected "
                             f"{expected['bytes']}); make the atlas anew with `groupcc atlas`")
    return facts


def atlas_files(facts: dict[str, Any]) -> list[str]:
    """Names of all files of an atlas with these facts."""
    return ["atlas.js", *facts["files"]]


# ------------------------------------------------------------------------------------------------- scripts, arrays

def script(name: str, content: Any) -> str:
    """A script that hands `content` to the page under `name`."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f'atlasData("{name}", {text});\n'


def read_script(path: Path) -> Any:
    """The content of a file written by `script`; ValueError for anything else."""
    found = _SCRIPT.fullmatch(path.read_text())
    try:
        return json.loads(found[2]) if found else _refuse(path, "it does not call atlasData")
    except json.JSONDecodeError as error:
        return _refuse(path, str(error))


def _refuse(path: Path, why: str) -> Any:
    raise ValueError(f"{path} is no file of an atlas ({why}); make the atlas anew with `groupcc atlas`")


def pack(values: np.ndarray, kind: str, scale: float = 1.0) -> dict[str, Any]:
    """An array as whole numbers times `scale`, or as it is for kind "f4". ValueError if a value does not fit.

    `kind` is "i1", "i2", "u2", "i4" or "f4", little-endian.
    """
    if not np.isfinite(values).all():
        raise ValueError("an array for the atlas holds NaN or infinite values; check the dictionary it came from")
    numbers = values if kind == "f4" else np.rint(values / scale)
    if kind != "f4" and numbers.size:
        limits = np.iinfo(kind)
        if numbers.min() < limits.min or numbers.max() > limits.max:
            raise ValueError(f"values from {values.min():g} to {values.max():g} do not fit {kind} with scale {scale:g}")
    data = numbers.astype(f"<{kind}").tobytes()
    return dict(type=kind, shape=list(values.shape), scale=scale, base64=base64.b64encode(data).decode())


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """The inverse of `pack`, up to rounding."""
    values = np.frombuffer(base64.b64decode(packed["base64"]), dtype=f"<{packed['type']}").reshape(packed["shape"])
    return values if packed["scale"] == 1 else values * packed["scale"]


def _table(table: FeatureTable, pictures: Pictures) -> dict[str, Any]:
    """What a map's file holds; cosines to four digits, shares to five."""
    cosine, whole = 1 / 32767, {"kind": "i4", "scale": 1.0}
    size = pictures.image.shape[1] if len(pictures.row) else 0
    content = dict(
        kind=table.kind, latents=table.latents, metrics=_finite(table.metrics), features=table.features.tolist(),
        xy=pack(table.xy, "u2", 1 / 65535), frequency=pack(table.frequency, "f4"), family=pack(table.family, **whole),
        drawing=pack(table.drawing, **whole), picture=pack(_places(table, pictures), **whole), picture_size=size,
        sheets=math.ceil(len(pictures.row) / SHEET), relatives=pack(table.relatives.row, **whole),
        relative_element=pack(table.relatives.element, **whole),
        relative_cosine=pack(table.relatives.cosine.clip(-1, 1), "i2", cosine))
    if (found := table.symmetries) is not None:
        content |= dict(
            profile=pack(found.profile.clip(-1, 1), "i2", cosine),
            centred=pack(found.centred.clip(-1, 1), "i2", cosine),
            trivial=pack(found.trivial.clip(0, 1), "u2", 1 / 65535), spectrum=pack(found.spectrum, "u2", 1 / 65535),
            subgroup=pack(found.subgroup, **whole), inside=pack(found.inside, "i2", cosine),
            outside=pack(found.outside, "i2", cosine), margin=pack(found.margin, "i2", 2 * cosine),
            equivariance=pack(found.equivariance.clip(-1, 1), "i2", cosine),
            supported=pack(found.supported, **whole), rate=pack(found.rate, "f4"),
            confirmed=pack(found.confirmed, "i1"), encoder=pack(found.encoder.clip(-1, 1), "i2", cosine))
    return content


def _finite(metrics: dict[str, float]) -> dict[str, float | None]:
    """JSON knows no NaN."""
    return {key: value if math.isfinite(value) else None for key, value in metrics.items()}


def _places(table: FeatureTable, pictures: Pictures) -> np.ndarray:
    """For each row the number of its picture, -1 if it has none."""
    places = np.full(len(table.features), -1)
    places[pictures.row] = np.arange(len(pictures.row))
    return places


def _blocks(table: FeatureTable) -> list[dict[str, Any]]:
    """Heatmaps by chunks: the upper triangles, since B[g, h] = B[h, g], each value to 1/127."""
    blocks = table.symmetries.blocks.clip(-1, 1)
    upper = np.triu_indices(blocks.shape[1])
    return [pack(blocks[start:start + CHUNK, *upper], "i1", 1 / 127) for start in range(0, len(blocks), CHUNK)]


def _squares(triangles: np.ndarray, order: int) -> np.ndarray:
    blocks = np.empty((len(triangles), order, order))
    rows, columns = np.triu_indices(order)
    blocks[:, rows, columns] = blocks[:, columns, rows] = triangles
    return blocks


def _sheets(pictures: Pictures) -> list[bytes]:
    """Sheets of pictures, as WebP."""
    found = []
    for start in range(0, len(pictures.row), SHEET):
        part = pictures.image[start:start + SHEET]
        size, rows = part.shape[1], math.ceil(len(part) / COLUMNS)
        sheet = np.full((rows * size, COLUMNS * size, 3), 128, dtype=np.uint8)
        for k, image in enumerate(part):
            y, x = divmod(k, COLUMNS)
            sheet[y * size:(y + 1) * size, x * size:(x + 1) * size] = image
        buffer = BytesIO()
        Image.fromarray(sheet).save(buffer, "WEBP", quality=QUALITY, method=6)
        found.append(buffer.getvalue())
    return found


def _numbered(names: dict[str, Any], start: str, end: str) -> list[str]:
    found = [name for name in names if name.startswith(start) and name.endswith(end)]
    return sorted(found, key=lambda name: int(name[len(start):-len(end)]))
