"""Verdicts from numbers: what passes, what is undecided, what cannot be tested; nothing is invented."""

import pytest
import yaml

from bookmaker import replication

BEFORE = {"since": "04f4e7c 2026-11-20", "known": "before"}
CLAIM = dict(id="x", paper="group crosscoders", title="A title", section="section 1", claim="It is so.",
             chapter="03_training", numbers={"a": "the first", "b": "the second"},
             tests=[BEFORE | {"that": ["a", ">", "b"]}, BEFORE | {"that": ["a", "<=", 1]}], deviation="None.")


def numbers(**values) -> dict:
    """Entries of a report; a tuple is a value with its interval."""
    return {key: dict(value=value[0], interval=list(value[1:])) if isinstance(value, tuple) else dict(value=value)
            for key, value in values.items()}


def report(**values) -> dict:
    return {"numbers": numbers(**values)}


@pytest.mark.parametrize("values, expected", [
    (dict(a=0.9, b=0.1), "holds"), (dict(a=0.1, b=0.9), "holds partly"), (dict(a=2.0, b=0.1), "holds partly"),
    (dict(a=2.0, b=3.0), "does not hold"),
    (dict(a=0.9), "not measured"), (dict(a=0.9, b="no such pair"), "not measured"), ({}, "not measured"),
    (dict(a=0.9, b=None), "not measured"),
    (dict(a=(0.5, 0.4, 0.6), b=(0.45, 0.3, 0.55)), "holds partly"),  # the first is undecided, the second passes
    (dict(a=(1.1, 0.9, 1.3), b=(1.2, 1.0, 1.4)), "cannot be tested here"),
    (dict(a=(2.0, 1.9, 2.1), b=(1.95, 1.8, 2.1)), "does not hold")])  # undecided and failed
def test_status_follows_the_numbers(values, expected):
    assert replication.status(CLAIM, report(**values)) == expected


def test_status_without_a_report_or_a_test_is_not_measured():
    assert replication.status(CLAIM, None) == "not measured"
    assert replication.status(CLAIM | {"tests": []}, report(a=1, b=1)) == "not measured"


def test_a_slip_of_the_paper_is_an_erratum_only_where_the_test_fails():
    slip = CLAIM | {"failing": "erratum"}
    assert replication.status(slip, report(a=2.0, b=3.0)) == "erratum"
    assert replication.status(slip, report(a=0.9, b=0.1)) == "holds"
    assert replication.status(slip, report(a=2.0, b=0.1)) == "holds partly"


def test_a_claim_is_not_judged_where_its_condition_fails():
    saturated = CLAIM | {"testable": [["b", "<", 0.99]], "why": "There is no room."}
    assert replication.status(saturated, report(a=1.0, b=0.995)) == "cannot be tested here"
    assert replication.status(saturated, report(a=0.9, b=0.5)) == "holds"
    assert replication.status(saturated, report(a=0.9995, b=(0.985, 0.98, 0.995))) == "cannot be tested here"
    assert replication.status(saturated | {"testable": [["c", "<", 1]]}, report(a=1.0, b=0.5)) == "not measured"


@pytest.mark.parametrize("test, values, expected", [
    (["a", ">", 0], dict(a=(0.1, -0.1, 0.3)), "undecided"), (["a", ">", 0], dict(a=(0.2, 0.1, 0.3)), "passed"),
    (["a", ">", 0], dict(a=(-0.2, -0.3, -0.1)), "failed"), (["a", ">=", 0.5], dict(a=0.5), "passed"),
    (["a", "<", "b"], dict(a=(0.1, 0.0, 0.2), b=0.3), "passed"), (["a", "==", 4], dict(a=4), "passed"),
    (["a", "<", "b"], dict(a=(0.1, 0.0, 0.4), b=0.3), "undecided"),
    (["a", ">", 0], dict(a=(0.2, 0.2, 0.2)), "undecided"),  # from equal values, which have not measured any spread
    (["a", ">", "b"], dict(a=0.3, b=(0.2, 0.2, 0.2)), "undecided"), (["a", "==", 4], dict(a=(4, 4, 4)), "passed")])
def test_an_interval_that_reaches_the_bar_decides_nothing(test, values, expected):
    assert replication.outcome(test, numbers(**values)) == expected


def test_the_table_shows_both_runs_their_tests_and_what_is_missing():
    here, there = {"03_training": report(a=0.912345, b=(0.1, 0.05, 0.15))}, {"03_training": report(a=0.25)}
    here["03_training"]["numbers"]["b"] |= {"n": 1200}
    text = replication.overview([CLAIM], here, there)
    assert "| the first | 0.912 | 0.25 |" in text
    assert "| the second | 0.1 [0.05, 0.15] (n = 1,200) | not measured |" in text
    assert "| the first > the second | 04f4e7c 2026-11-20, before | passed | not measured |" in text
    assert "| **verdict** |  | **holds** | **not measured** |" in text
    assert "[A title](claim-x)" in text and "(claim-x)=" in text
    assert "## Group crosscoders" in text and "Equivariant" not in text


def test_a_condition_stands_in_the_table_with_its_reason():
    claim = CLAIM | {"testable": [["b", "<", 0.99]], "why": "There is no room."}
    text = replication.overview([claim], {"03_training": report(a=0.9, b=1.0)}, {})
    assert "| *testable only if* the second < 0.99 |  | failed | not measured |" in text
    assert "**Why it may be untestable.** There is no room." in text


def test_each_paper_has_its_own_claims():
    other = CLAIM | {"id": "y", "title": "Another", "paper": "equivariant SAEs", "chapter": "11_one_matrix"}
    first, second = replication.overview([CLAIM, other], {}, {}).split("## Equivariant SAEs")
    assert "claim-x" in first and "claim-y" not in first and "| Claim | This run | InceptionV1 |" in first
    assert "claim-y" in second and "claim-x" not in second and "| Claim | This run | Reference run |" in second


@pytest.mark.parametrize("value, unit, expected", [
    (0.123456, "", "0.123"), (1234.5, "s", "1,234 s"), (25000, "", "25,000"), ("yes", "", "yes"),
    ([0.5, 0.25], "", "0.5, 0.25"), (3, "px", "3 px"), (True, "", "True")])
def test_show(value, unit, expected):
    assert replication.show({"value": value, "unit": unit}) == expected


@pytest.mark.parametrize("change", [
    {"tests": [BEFORE | {"that": ["a", "~", "b"]}]}, {"tests": [BEFORE | {"that": ["a", ">", "c"]}]}, {"extra": 1},
    {"paper": "another"}, {"tests": [{"that": ["a", ">", 1], "since": "lately", "known": "before"}]},
    {"tests": [BEFORE | {"that": ["a", ">", 1], "known": "perhaps"}]}, {"testable": [["a", ">", 1]]},
    {"failing": "shame"}, {"testable": [["a", ">", "c"]], "why": "so"}])
def test_unusable_claims_are_errors(tmp_path, change):
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump([CLAIM | change]))
    with pytest.raises(ValueError, match="claims.yml: claim 'x'"):
        replication.read_claims(path)


def test_usable_claims_are_not(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump([CLAIM, CLAIM | {"failing": "erratum", "testable": [["a", ">", 1]], "why": "so"}]))
    assert [claim["id"] for claim in replication.read_claims(path)] == ["x", "x"]


def test_the_books_own_claims_can_be_read(root):
    claims = replication.read_claims(root / "book" / "claims.yml")
    assert len({claim["id"] for claim in claims}) == len(claims) >= 20
    for claim in claims:
        assert claim["tests"], f"claim {claim['id']} has no test"
