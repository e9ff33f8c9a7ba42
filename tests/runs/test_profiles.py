import copy
import dataclasses
from typing import get_type_hints

import pytest

from groupcc_lite.groups import parse_group
from groupcc_lite.runs import study_profiles
from groupcc_lite.runs.profiles import PROFILES, RANGES, Profile, changed_profile, get_profile


def test_every_profile_names_a_group_and_says_what_it_is_for():
    assert list(PROFILES) == ["smoke", "book", "inception", "paper"]
    for name, profile in PROFILES.items():
        assert profile.name == name and len(profile.summary) > 20
        assert parse_group(profile.group).order in (8, 32)


def test_changes_make_a_variant_and_leave_the_profile_alone():
    assert get_profile("smoke", latents=7).latents == 7 != PROFILES["smoke"].latents


def test_a_variant_can_be_varied_again():
    variant = get_profile(get_profile("smoke", latents=7), name="mine", steps=3)
    assert (variant.name, variant.latents, variant.steps) == ("mine", 7, 3)
    assert get_profile(variant) == variant


@pytest.mark.parametrize("profile, changes, message", [
    ("bok", {}, "profile is 'bok'; expected one of smoke, book, inception, paper"),
    ("book", dict(latent=3), "no field latent"),
    (PROFILES["book"], dict(latent=3), "no field latent"),
    (PROFILES["book"], dict(group="Q_8"), "Q_8"),
    ("book", dict(latents=1e3), "latents is 1000.0; expected a whole number, such as 512"),
])
def test_typos_are_errors(profile, changes, message):
    with pytest.raises(ValueError, match=message):
        get_profile(profile, **changes)


@pytest.mark.parametrize("changes, message", [
    (dict(steps=0), "steps is 0; expected at least 1, such as 600"),
    (dict(steps=-5), "steps is -5; expected at least 1, such as 600"),
    (dict(fold_steps=-1), "fold_steps is -1; expected at least 1, such as 80"),
    (dict(vis_size=-3), "vis_size is -3; expected at least 1, such as 96"),
    (dict(seeds=True), "seeds is True; expected a whole number, such as 3"),
    (dict(k="a few"), "k is 'a few'; expected a whole number, or None, such as 32"),
    (dict(lr=-1.0), "lr is -1.0; expected a number above 0, such as 0.002"),
    (dict(lr=float("nan")), "lr is nan; expected a number above 0, such as 0.002"),
    (dict(held_out=1.0), "held_out is 1.0; expected a number between 0 and 1, and neither, such as 0.1"),
    (dict(mask_radius="abc"), "mask_radius is 'abc'; expected a number above 0, or None"),
    (dict(stream=1), "stream is 1; expected True or False, such as False"),
    (dict(layer=3), "layer is 3; expected text, or None"),
    (dict(topk_ks=8), "topk_ks is 8; expected a tuple, such as (8, 16, 32, 64)"),
    (dict(topk_ks=(8, 0)), "topk_ks is (8, 0); expected a tuple with each value at least 1, such as (8, 16, 32, 64)"),
    (dict(l1_sparsities=("x",)), "l1_sparsities is ('x',); expected a tuple with each value a number of at least 0, "
     "such as (3.0, 6.0, 12.0)")])
def test_a_value_that_its_field_cannot_have_is_one_sentence(changes, message):
    with pytest.raises(ValueError) as refused:
        get_profile("book", **changes)
    assert str(refused.value) == message
    with pytest.raises(ValueError) as refused:  # nor does it pass in a profile that somebody made
        made = copy.copy(PROFILES["book"])
        object.__setattr__(made, *next(iter(changes.items())))
        get_profile(made)
    assert str(refused.value).split(", such")[0] == message.split(", such")[0]


@pytest.mark.parametrize("name, value", [
    ("k", None), ("mask_radius", None), ("mask_radius", 18), ("layer", None), ("store_images", None),
    ("control_steps", 7), ("topk_ks", [4, 8]), ("topk_ks", ()), ("sparsity", 0), ("lr", 1)])
def test_what_a_field_may_have_it_may_still_have(name, value, monkeypatch):
    # What is made of it would be held to its annotations to the letter here: beartype takes no 18 for 18.0.
    monkeypatch.setattr(dataclasses, "replace", lambda profile, **changes: changes)
    assert changed_profile("book", PROFILES, Profile, {name: value}) == {name: value}


def of_studies():
    """Every profile of every study, with the function that changes it."""
    tables = [value for name, value in vars(study_profiles).items() if name.endswith("_PROFILES")]
    changing = [value for name, value in vars(study_profiles).items() if name.startswith("get_")]
    return [(get, profile) for table in tables for get in changing for profile in table.values()
            if get.__annotations__["return"] == type(profile).__name__]


def test_every_profile_that_there_is_is_valid():
    assert len(of_studies()) == 4 * 9
    for get, profile in [*of_studies(), *((get_profile, profile) for profile in PROFILES.values())]:
        assert get(profile) == profile


def test_the_profiles_of_studies_are_checked_as_well():
    for get, profile in of_studies():
        for field in dataclasses.fields(profile):
            with pytest.raises(ValueError, match=f"{field.name} is {{}}; expected "):
                get(profile, **{field.name: {}})
            if isinstance(getattr(profile, field.name), int | float) and field.name != "alpha":
                with pytest.raises(ValueError, match=f"{field.name} is -1; expected "):
                    get(profile, **{field.name: -1})


def test_every_number_with_a_fraction_has_a_range_and_every_range_a_field():
    kinds = {type(profile) for _, profile in of_studies()} | {Profile}
    fields = {name: str(type_) for kind in kinds for name, type_ in get_type_hints(kind).items()}
    assert {name for name, type_ in fields.items() if "float" in type_} <= set(RANGES)
    names = {f"{kind.__name__}.{field.name}" for kind in kinds for field in dataclasses.fields(kind)} | set(fields)
    assert set(RANGES) <= names
