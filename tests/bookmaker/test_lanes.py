"""Notebooks side by side: who starts when, who waits for whom, and that all end together."""

import threading
from pathlib import Path

import pytest

from bookmaker.lanes import BUILDS_ON, run_in_lanes, way_to_the_end

ROOT = Path(__file__).resolve().parents[2]


class Stage:
    """Jobs that end when the test says so, and a list of what has started."""

    def __init__(self, *names: str):
        self.started: list[str] = []
        self.ends = {name: threading.Event() for name in names}
        self.stopped = False
        self._news = threading.Condition()

    def job(self, name: str):
        def work():
            with self._news:
                self.started.append(name)
                self._news.notify_all()
            assert self.ends[name].wait(30)
            return name.upper()

        return work

    def wait_for(self, *names: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: set(self.started) == set(names), 30), self.started

    def stop(self) -> None:
        self.stopped = True
        for event in self.ends.values():
            event.set()

    def run(self, **options):
        return run_in_lanes({name: self.job(name) for name in self.ends}, stop=self.stop, **options)


def in_background(results) -> tuple[threading.Thread, list]:
    found: list = []
    thread = threading.Thread(target=lambda: found.extend(results))
    thread.start()
    return thread, found


def test_a_chapter_waits_for_those_it_builds_on_and_others_take_the_lane():
    stage = Stage("02", "03", "04", "10")
    thread, found = in_background(stage.run(seconds={}, lanes=2, builds_on={"03": ("02",), "04": ("03", "unknown")}))
    stage.wait_for("02", "10")
    stage.ends["10"].set()
    stage.ends["02"].set()
    stage.wait_for("02", "10", "03")
    assert "04" not in stage.started
    for event in stage.ends.values():
        event.set()
    thread.join(30)
    assert sorted(found) == [("02", "02"), ("03", "03"), ("04", "04"), ("10", "10")] and not stage.stopped


@pytest.mark.parametrize("seconds, first", [
    ({}, ["a", "d"]),  # the longest chain, then the later chapter
    ({"a": 1.0, "b": 1.0, "c": 9.0, "d": 3.0}, ["c", "d"]),
    ({"a": 1.0, "b": 9.0, "c": 2.0, "d": 3.0}, ["a", "d"]),
    ({"c": 5.0}, ["a", "d"])])
def test_the_longest_way_to_the_end_starts_first(seconds, first):
    stage = Stage("a", "b", "c", "d")
    thread, found = in_background(stage.run(seconds=seconds, lanes=2, builds_on={"b": ("a",)}))
    stage.wait_for(*first)
    stage.stop()
    thread.join(30)
    assert len(found) == 4 and len(stage.started) == 4


def test_one_lane_runs_one_at_a_time():
    stage = Stage("a", "b")
    thread, found = in_background(stage.run(seconds={}, lanes=1, builds_on={}))
    stage.wait_for("b")
    stage.ends["b"].set()
    stage.wait_for("a", "b")
    stage.ends["a"].set()
    thread.join(30)
    assert found == [("b", "B"), ("a", "A")]


@pytest.mark.parametrize("trouble", [RuntimeError, KeyboardInterrupt])
def test_trouble_stops_those_that_run_and_starts_no_more(trouble):
    stage = Stage("a", "b")

    def fails():
        stage.wait_for("b")
        raise trouble

    jobs = {"a": stage.job("a"), "bad": fails, "b": stage.job("b")}
    with pytest.raises(trouble):
        list(run_in_lanes(jobs, {}, lanes=2, builds_on={}, stop=stage.stop))
    assert stage.stopped and stage.started == ["b"]


def test_a_caller_who_goes_away_stops_them_too():
    stage = Stage("a", "b")
    stage.ends["a"].set()
    results = stage.run(seconds={}, lanes=2, builds_on={})
    assert next(results) == ("a", "A")
    results.close()
    assert stage.stopped


def test_the_way_to_the_end_is_the_longest_chain():
    seconds = {"a": 1.0, "b": 2.0, "c": 4.0, "d": 8.0}
    builds_on = {"b": ("a",), "c": ("a", "b"), "x": ("d",)}
    assert way_to_the_end(seconds, builds_on) == {"a": 7.0, "b": 6.0, "c": 4.0, "d": 8.0}


def test_wrong_requests_are_errors():
    with pytest.raises(ValueError, match="lanes is 0"):
        list(run_in_lanes({}, {}, lanes=0, builds_on={}, stop=lambda: None))
    with pytest.raises(ValueError, match="wait for each other in a circle"):
        way_to_the_end({"a": 1.0, "b": 1.0}, {"a": ("b",), "b": ("a",)})


def test_the_table_names_chapters_of_the_book_and_only_earlier_ones():
    chapters = {path.stem for path in (ROOT / "notebooks").glob("[0-9]*.py")}
    named = {*BUILDS_ON, *(name for others in BUILDS_ON.values() for name in others)}
    assert named <= chapters
    introduction = "00_idea"  # shows what later chapters make
    assert all(other < name for name, others in BUILDS_ON.items() for other in others if name != introduction)
