"""The robust network: what training does with its attack, and what is measured; no network is trained well here."""

import json

import pytest
import torch

from groupcc_lite.models import TINY_WEIGHTS, ShapeNaming, load_tiny
from groupcc_lite.stimuli import sample_drawings
from groupcc_lite.superposition import L2Attack, naming_under_attack, train_robust

QUICK = dict(steps=2, batch_size=4, held_out=8)


def test_the_loss_of_a_drawing_is_its_own():
    drawings = sample_drawings(6, seed=3)
    naming = ShapeNaming(load_tiny(), drawings)
    both = naming.losses(drawings.images)
    alone = torch.cat([ShapeNaming(load_tiny(), sample_drawings([i], seed=3)).losses(drawings.images[i:i + 1])
                       for i in range(6)])
    torch.testing.assert_close(both, alone, atol=1e-4, rtol=1e-3)
    assert naming.accuracy(drawings.images) > 0.9 > naming.accuracy(torch.rand_like(drawings.images))


def test_training_uses_the_attack_and_says_so(tmp_path):
    records = [train_robust(tmp_path / name, eps, attack_steps=2, **QUICK) for name, eps in
               (("plain", 0.0), ("robust", 2.0), ("again", 2.0))]
    assert "change" not in records[0]["training"]
    assert records[1]["training"]["change"] == "L2Attack(eps=2.0, steps=2)"
    assert records[1]["sha256"] == records[2]["sha256"] != records[0]["sha256"]
    written = json.loads((tmp_path / "robust" / TINY_WEIGHTS.with_suffix(".json").name).read_text())
    assert written["training"] == records[1]["training"]
    assert torch.isfinite(load_tiny(tmp_path / "robust" / TINY_WEIGHTS.name).readout.weight).all()


def test_the_built_in_network_falls_to_an_attack_and_not_to_noise():
    found = naming_under_attack(load_tiny(), eps=1.0, drawings=16, steps=5)
    assert found.clean > 0.95 and found.noisy > 0.9 and found.attacked < 0.7
    assert found.attacked_loss > 5 * found.noisy_loss
    nothing = naming_under_attack(load_tiny(), eps=0.0, drawings=8, steps=2)
    assert nothing.clean == nothing.attacked == nothing.noisy and nothing.clean_loss == nothing.attacked_loss


def test_attacked_images_are_images():
    x = sample_drawings(4, seed=1).images
    attacked = L2Attack(1.5)(ShapeNaming(load_tiny(), sample_drawings(4, seed=1)).losses, x)
    assert attacked.min() >= 0 and attacked.max() <= 1
    assert ((attacked - x).flatten(1).norm(dim=1) <= 1.5 + 1e-6).all()


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="eps is -1"):
        train_robust(tmp_path, -1.0, **QUICK)
