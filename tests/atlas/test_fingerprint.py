"""An atlas is made anew when anything that it shows would be another, and found again otherwise."""

import pytest
from small import noise_images, small_model

from groupcc_lite.actions import PlanarAction
from groupcc_lite.atlas import contents
from groupcc_lite.groups import cyclic
from groupcc_lite.runs import Run

SETTINGS = dict(pictures=None, size=24, steps=2, count=4)


def name_of(tmp_path, settings=SETTINGS, **changes):
    run = Run("smoke", model=small_model(), images=noise_images(8, 40), action=PlanarAction(cyclic(4)), work=tmp_path,
              **(dict(points_per_image=4) | changes))
    return contents.fingerprint(run, settings)


def test_it_is_known_before_anything_is_made(tmp_path):
    assert name_of(tmp_path) == name_of(tmp_path) and list(tmp_path.iterdir()) == []
    assert name_of(tmp_path, latents=9) != name_of(tmp_path) != name_of(tmp_path, seed=1)
    assert name_of(tmp_path, SETTINGS | dict(size=32)) != name_of(tmp_path)
    assert name_of(tmp_path, vis_size=9) == name_of(tmp_path)  # pictures of chapter 6, not of the atlas


@pytest.mark.parametrize("what, value", [("VERSION", 99), ("TAU", 0.5), ("INVARIANT", 0.6), ("FALSE_RATE", 0.2),
                                         ("package_version", lambda name: "9.9")])
def test_code_and_thresholds_are_in_it(tmp_path, monkeypatch, what, value):
    before = name_of(tmp_path)
    monkeypatch.setattr(contents, what, value)
    assert name_of(tmp_path) != before


def test_versions_of_makers_are_in_it(tmp_path, monkeypatch):
    from groupcc_lite.runs import recipes

    before = name_of(tmp_path)
    for kind in ("orbits", "coders", "maps"):
        with monkeypatch.context() as patch:
            patch.setitem(recipes.VERSIONS, kind, 99)
            assert name_of(tmp_path) != before, kind
