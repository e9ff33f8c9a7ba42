"""Artefacts are named by everything they were made from, made once, and written whole or not at all."""

import json
from contextlib import suppress

import pytest

from groupcc_lite.base import write_json
from groupcc_lite.base.artefacts import RECORD, Artefact, Cache, described


def numbers(**changes):
    return Artefact(**(dict(kind="numbers", version=1, settings=dict(largest=3), made_from=dict(model="ab")) | changes))


def write(part):
    write_json(part / "numbers.json", [1, 2, 3])


@pytest.mark.parametrize("changes", [dict(kind="others"), dict(version=2), dict(settings=dict(largest=4)),
                                     dict(settings=dict(smallest=3)), dict(made_from=dict(model="cd")),
                                     dict(made_from=dict(images="ab")), dict(made_from=dict(model="ab", images="ab"))])
def test_everything_that_made_it_is_in_the_key(changes):
    assert numbers(**changes).key != numbers().key


def test_the_label_is_for_people_and_equal_settings_are_equal():
    assert numbers(label="seen").key == numbers().key and numbers(label="seen").name == f"seen-{numbers().key}"
    assert numbers(settings=dict(a=1, b=(1, 2))).key == numbers(settings=dict(b=[1, 2], a=1)).key


def test_a_change_far_upstream_renames_what_is_downstream():
    def last(points):
        upstream = numbers(settings=dict(points=points))
        middle = numbers(kind="middle", made_from=dict(orbits=upstream.key))
        return numbers(kind="last", made_from=dict(coder=middle.key)).key

    assert last(8) == last(8) != last(9)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
def test_settings_that_are_not_plain_are_refused(value):
    with pytest.raises(ValueError, match="settings of numbers are .*expected plain numbers"):
        numbers(settings=dict(largest=value))


def test_it_is_made_once(tmp_path):
    cache, made = Cache(tmp_path), []
    for _ in range(2):
        folder = cache.get(numbers(), lambda part: (write(part), made.append(part)))
    assert made == [folder.with_name(f"{folder.name}.part")] and not made[0].exists()
    assert {path.name for path in folder.iterdir()} == {"numbers.json", RECORD}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # no lock is left


def test_it_says_where_it_comes_from(tmp_path):
    found = described(Cache(tmp_path, device="cpu", seed=5).get(numbers(), write))
    assert {name: found[name] for name in ("kind", "version", "settings", "made_from", "key")} == {
        "kind": "numbers", "version": 1, "settings": {"largest": 3}, "made_from": {"model": "ab"},
        "key": numbers().key}
    facts = found["provenance"]
    assert (facts["device"], facts["seed"]) == ("cpu", 5) and facts["threads"] >= 1 and facts["seconds"] >= 0
    assert facts["commit"] and {"torch", "numpy", "scipy", "xgboost", "pillow"} <= facts["versions"].keys()
    with pytest.raises(ValueError, match="holds no whole artefact"):
        described(tmp_path)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_was_interrupted_is_no_artefact_but_can_be_gone_on_from(tmp_path, error):
    cache = Cache(tmp_path)

    def half(part):
        (part / "checkpoint").write_text("step 3")
        (part / ".numbers-x.json").write_text("[1, 2")  # as a killed `atomic_path` leaves it
        raise error

    with pytest.raises(error):
        cache.get(numbers(), half)
    assert not cache.has(numbers()) and not cache.folder(numbers()).exists()
    seen = []

    def rest(part):
        seen.extend(path.name for path in part.iterdir())
        write(part)

    folder = cache.get(numbers(), rest, scratch=("checkpoint", "never written"))
    assert seen == ["checkpoint"] and {path.name for path in folder.iterdir()} == {"numbers.json", RECORD}


def test_a_strange_folder_in_its_place_is_left_alone(tmp_path):
    cache = Cache(tmp_path)
    cache.folder(numbers()).mkdir(parents=True)
    (cache.folder(numbers()) / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="in the way"):
        cache.get(numbers(), write)
    assert (cache.folder(numbers()) / "mine.txt").read_text() == "mine"


def test_the_record_is_valid_json(tmp_path):
    folder = Cache(tmp_path, spread=float("nan")).get(numbers(), write)
    text = (folder / RECORD).read_text()
    assert json.loads(text, parse_constant=pytest.fail)["provenance"]["spread"] is None


def test_a_maker_that_asks_for_what_it_makes_is_an_error_not_a_wait(tmp_path):
    cache = Cache(tmp_path)
    with pytest.raises(RuntimeError, match="asks for numbers .* itself"):
        cache.get(numbers(), lambda part: cache.get(numbers(), write))
    assert cache.get(numbers(), write).is_dir()  # the lock was released


def test_its_seconds_are_its_own(tmp_path, monkeypatch):
    """Neither what its maker asked for, nor what that asked for in turn: each second is counted once."""
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    cache, orbits, coder, picture = Cache(tmp_path), *(numbers(kind=kind) for kind in ("orbits", "coder", "picture"))

    def takes(seconds, *upstream):
        def make(part):
            for artefact, make_it in upstream:
                cache.get(artefact, make_it)
            clock[0] += seconds
        return make

    made = takes(1, (coder, takes(20, (orbits, takes(300)))), (coder, pytest.fail), (orbits, pytest.fail))
    cache.get(picture, made)
    seconds = [described(cache.folder(artefact))["provenance"]["seconds"] for artefact in (picture, coder, orbits)]
    assert seconds == [1, 20, 300]


def test_a_maker_that_failed_leaves_no_seconds_to_others(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    cache, coder = Cache(tmp_path), numbers(kind="coder")

    def fail(part):
        clock[0] += 5
        raise RuntimeError

    def make(part):
        with suppress(RuntimeError):
            cache.get(numbers(), fail)
        clock[0] += 1

    assert described(cache.get(coder, make))["provenance"]["seconds"] == 1
    assert described(cache.get(numbers(), write))["provenance"]["seconds"] == 0
