"""Writing files whole or not at all, and naming them by their content.

Everything the library stores goes through `atomic_path`: the bytes are written next to the final name and renamed at
the end, so a killed process leaves either the old file or the new one, never half of one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to `path` when the block ends without an error.

    >>> folder = tempfile.TemporaryDirectory()
    >>> with atomic_path(Path(folder.name) / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> (Path(folder.name) / "a.txt").read_text()
    'whole'
    >>> folder.cleanup()
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: str | Path, data: bytes | str) -> None:
    """Write `data` to `path`, whole or not at all.

    >>> folder = tempfile.TemporaryDirectory()
    >>> atomic_write(Path(folder.name) / "a.txt", "whole")
    >>> [path.name for path in Path(folder.name).iterdir()]
    ['a.txt']
    >>> folder.cleanup()
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as readable JSON, whole or not at all; NaN and infinity, which JSON does not know, become null.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> write_json(Path(folder.name) / "a.json", {"mean": 0.5, "spread of one": float("nan")})
    >>> read_json(Path(folder.name) / "a.json")
    {'mean': 0.5, 'spread of one': None}
    >>> folder.cleanup()
    """
    atomic_write(path, json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(content: Any) -> Any:
    """The same with None for every number that is not finite."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    return [_finite(value) for value in content] if isinstance(content, list | tuple) else content


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a damaged one raises a ValueError that names it.

    >>> folder = tempfile.TemporaryDirectory()
    >>> write_json(Path(folder.name) / "a.json", {"latents": 8})
    >>> read_json(Path(folder.name) / "a.json")
    {'latents': 8}
    >>> folder.cleanup()
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))  # as `write_json` wrote it, wherever that was
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); delete it and run again to make it anew") from error


def sha256_of(path: str | Path) -> str:
    """Hex sha256 of a file's bytes.

    >>> folder = tempfile.TemporaryDirectory()
    >>> atomic_write(Path(folder.name) / "abc", "abc")
    >>> sha256_of(Path(folder.name) / "abc")[:8]
    'ba7816bf'
    >>> folder.cleanup()
    """
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(content: Any, length: int = 16) -> str:
    """Short hex name of any JSON-able configuration: equal configurations, equal names; TypeError for what JSON lacks.

    >>> digest({"k": 8, "lr": 0.001}) == digest({"lr": 0.001, "k": 8}) != digest({"k": 9, "lr": 0.001})
    True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]
