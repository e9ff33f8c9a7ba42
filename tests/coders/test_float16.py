"""Training in float16, as on a T4: here the CPU multiplies in it, slowly, with the same overflow and scaling."""

import pytest
import torch
from fake_device import DEVICE, FakeDevice

from groupcc_lite.coders import (
    EquivariantSAE,
    GroupCrosscoder,
    SparseAutoencoder,
    Training,
    TransformMatrix,
    evaluate,
    optimise,
    train,
    training_loop,
)
from groupcc_lite.groups import dihedral
from groupcc_lite.orbits import IdentityBlocks, TensorOrbits

G = dihedral(2)
BLOCKS = torch.randn(512, 4, 6, generator=torch.Generator().manual_seed(0)).relu()
CODERS = {
    "relu": lambda: GroupCrosscoder(G, 6, 24), "topk": lambda: GroupCrosscoder(G, 6, 24, activation="topk", k=3),
    "few of many": lambda: GroupCrosscoder(G, 6, 200, activation="topk", k=3),
    "batchtopk": lambda: GroupCrosscoder(G, 6, 24, activation="batchtopk", k=3),
    "jumprelu": lambda: GroupCrosscoder(G, 6, 24, activation="jumprelu", bandwidth=0.1),
    "sae": lambda: SparseAutoencoder(6, 24, activation="topk", k=3),
    "equivariant": lambda: EquivariantSAE(G, 6, 24, k=3, hidden=8), "transform": lambda: TransformMatrix(G, 6),
}


@pytest.fixture
def half(monkeypatch):
    """As if the CPU were a T4."""
    monkeypatch.setattr(training_loop, "needs_float16", lambda device: True)


def rows(name, coder, **settings):
    source = TensorOrbits(BLOCKS, G)
    loop = dict(steps=60, batch_size=64, lr=3e-3, progress=False) | settings
    if name == "transform":
        return optimise(coder, source, **loop)
    return train(coder, IdentityBlocks(source) if name == "sae" else source, sparsity=0.01, **loop)


@pytest.mark.parametrize("name", CODERS)
def test_every_coder_learns_what_it_learns_in_float32(half, monkeypatch, name):
    seen = []
    coder = CODERS[name]()
    loss = coder.loss
    monkeypatch.setattr(coder, "loss", lambda *x, **terms: seen.append(
        torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu")) or loss(*x, **terms))
    low, plain = rows(name, coder, amp=True), rows(name, CODERS[name](), amp=False)
    assert set(seen) == {torch.float16}
    assert [row["loss"] for row in low] == pytest.approx([row["loss"] for row in plain], rel=0.02)
    first = CODERS[name]().state_dict()
    assert max(float((weight.detach() - first[name]).norm()) for name, weight in coder.named_parameters()) > 0.1


def test_held_out_variance_is_explained_as_well(half):
    found = []
    for amp in (True, False):
        coder = CODERS["topk"]()
        rows("topk", coder, amp=amp, steps=200)
        found.append(evaluate(coder, TensorOrbits(BLOCKS, G)).fve)
    assert found[0] == pytest.approx(found[1], abs=0.01) and found[1] > 0.2


def test_a_step_whose_gradients_overflow_is_left_out_and_the_next_ones_are_not(half):
    training = Training(CODERS["relu"](), steps=100, amp=True)
    training.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before, scales = training.model.W_d.detach().clone(), []
    while torch.equal(training.model.W_d, before):
        training.step(BLOCKS[:64])
        scales.append(training.scaler.get_scale())
        assert len(scales) < 40
    assert len(scales) > 2 and scales[0] == 2.0**39 and scales[-1] == scales[-2] < 2.0**39
    assert torch.isfinite(training.model.W_d).all()
    training.check()  # the loss itself never overflowed


def test_gradients_too_small_for_float16_are_kept_by_the_scale(half):
    """Of a loss that is 1e-6 as large; without a scale most of its numbers would be 0."""
    class Small(GroupCrosscoder):
        def loss(self, x, **terms):
            total, parts = super().loss(x, **terms)
            return 1e-6 * total, parts

    gradients = []
    for scale in (2.0**16, 1.0):
        training = Training(Small(G, 6, 24), steps=10, amp=True)
        training.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        training.step(BLOCKS[:512])
        gradients.append(int((training.model.W_d.grad != 0).sum()))
    assert gradients[0] > 1.5 * gradients[1]


def test_training_goes_on_from_a_checkpoint_with_its_scale(half, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.amp.GradScaler, "__init__", _restless(torch.amp.GradScaler.__init__))
    whole, parts = CODERS["topk"](), CODERS["topk"]()
    rows("topk", whole, amp=True, steps=40)
    seen = []

    def stop(row):
        seen.append(row["step"])
        if seen[-1] == 20 and len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rows("topk", parts, amp=True, steps=40, folder=tmp_path, on_log=stop)
    again = CODERS["topk"]()
    rows("topk", again, amp=True, steps=40, folder=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def _restless(made):
    """Scales that overflow at once and grow every 7 steps: a lost one would change the weights."""
    def init(self, device, enabled=True):
        made(self, device, init_scale=2.0**30, growth_interval=7, enabled=enabled)

    return init


def test_without_float16_there_is_nothing_to_scale(tmp_path):
    training = Training(CODERS["relu"](), steps=10, amp=True)
    training.step(BLOCKS[:64])
    assert not training.scaler.is_enabled() and not [k for k in training.state_dict() if k.startswith("scaler")]


def test_processes_that_share_a_coder_do_not_use_it(half):
    from groupcc_lite.distributed import Processes, ShardedCrosscoder, joined

    with joined(device="cpu") as world:
        sharded = ShardedCrosscoder(CODERS["relu"](), Processes(world, order=4))
        assert not Training(sharded, steps=10, amp=True).scaler.is_enabled()


def test_no_step_on_a_device_waits_for_the_scale(half):
    with FakeDevice() as device:
        training = Training(CODERS["batchtopk"]().to(DEVICE), steps=50, amp=True)
        x = BLOCKS[:64].to(DEVICE)
        training.step(x)
        device.reads.clear()
        for _ in range(10):
            training.step(x)
        assert training.scaler.is_enabled() and device.reads == {}
