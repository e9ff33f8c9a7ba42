import pytest

from groupcc_lite.groups import parse_group
from groupcc_lite.runs.profiles import PROFILES, get_profile


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
