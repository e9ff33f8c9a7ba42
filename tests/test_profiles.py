import pytest

from groupcc_lite.groups import parse_group
from groupcc_lite.profiles import PROFILES, get_profile


def test_every_profile_names_a_group_and_says_what_it_is_for():
    assert list(PROFILES) == ["smoke", "book", "inception", "paper"]
    for name, profile in PROFILES.items():
        assert profile.name == name and len(profile.summary) > 20
        assert parse_group(profile.group).order in (8, 32)


def test_changes_make_a_variant_and_leave_the_profile_alone():
    assert get_profile("smoke", latents=7).latents == 7 != PROFILES["smoke"].latents


@pytest.mark.parametrize("arguments, message", [
    (dict(name="bok"), "profile is 'bok'; expected one of smoke, book, inception, paper"),
    (dict(name="book", latent=3), "no field latent"),
    (dict(name="book", group="Q_8"), "Q_8"),
])
def test_typos_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        get_profile(**arguments)
