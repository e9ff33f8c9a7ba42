import json
import os
import subprocess
import sys

import numpy as np
import pytest

from groupcc_lite.base.files import atomic_path, atomic_write, digest, read_json, sha256_of, write_json


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    atomic_write(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half of the new")
        raise RuntimeError("killed")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_json_round_trip_and_a_damaged_file(tmp_path):
    write_json(tmp_path / "x" / "a.json", {"ä": [1, 2.5]})
    assert read_json(tmp_path / "x" / "a.json") == {"ä": [1, 2.5]}
    (tmp_path / "b.json").write_text('{"a": ')
    with pytest.raises(ValueError, match="b.json is not valid JSON"):
        read_json(tmp_path / "b.json")


def test_json_is_read_as_it_was_written_whatever_the_locale(tmp_path, root):
    write_json(tmp_path / "a.json", {"ä": 1})
    code = "import sys; from groupcc_lite.base import read_json; assert read_json(sys.argv[1]) == {chr(228): 1}"
    plain = os.environ | {"PYTHONPATH": str(root), "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    child = subprocess.run([sys.executable, "-X", "utf8=0", "-c", code, str(tmp_path / "a.json")], cwd=root,
                           check=False, env=plain, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    (tmp_path / "b.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ValueError, match="b.json is not valid JSON .*; delete it and run again"):
        read_json(tmp_path / "b.json")


def test_what_json_does_not_know_is_written_as_null(tmp_path):
    content = dict(sd=float("nan"), rows=[(1.0, float("inf")), {"a": float("-inf")}], count=2, name="NaN")
    write_json(tmp_path / "a.json", content)
    json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert read_json(tmp_path / "a.json") == dict(sd=None, rows=[[1.0, None], {"a": None}], count=2, name="NaN")


def test_sha256_is_the_published_one_of_abc(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc").startswith("ba7816bf8f01cfea")


def test_digest_ignores_key_order_and_sees_values():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})


def test_digest_names_nothing_by_how_it_prints(tmp_path):
    """A long array prints with dots, so two of them had one name."""
    with pytest.raises(TypeError, match="not JSON serializable"):
        digest({"rows": np.arange(10_000)})
