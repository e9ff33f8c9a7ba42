import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from groupcc_lite.coders import Training, evaluate, train, train_many
from groupcc_lite.coders.crosscoder import GroupCrosscoder
from groupcc_lite.coders.training_loop import _schedule
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.orbits import OrbitSource, TensorOrbits


class Planted(OrbitSource):
    """Orbits that a few known dictionary vectors generate, so that training has something to find."""

    def __init__(self, count=512, group=None, channels=8, features=6, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.group, self.channels, self.scale = group or dihedral(2), channels, 1.0
        self.exact = np.arange(self.group.order) % 2 == 0
        truth = torch.randn(features, self.group.order, channels, generator=torch.Generator().manual_seed(99))
        on = (torch.rand(count, features, generator=generator) < 0.3).float()
        amounts = on * torch.rand(count, features, generator=generator)
        self.x = torch.einsum("bm,mgd->bgd", amounts, truth)

    def __len__(self):
        return len(self.x)

    def in_order(self, batch_size=1024):
        yield from self.x.split(batch_size)

    def batches(self, batch_size, *, seed=0, epoch=0, start=0):
        order = np.random.default_rng([seed, epoch]).permutation(len(self))
        for n in range(start, self.batches_per_epoch(batch_size)):
            yield self.x[order[n * batch_size:(n + 1) * batch_size]]


def in_memory():
    """The same orbits, of which some elements may be asked for."""
    return TensorOrbits(Planted().x, dihedral(2))


def make(activation="topk", k=3, group=None):
    return GroupCrosscoder(group or dihedral(2), 8, 16, activation=activation, k=k, seed=1)


SETTINGS = dict(steps=60, batch_size=64, lr=5e-3, progress=False)


@pytest.mark.parametrize("activation, k, sparsity", [("topk", 3, 0.0), ("batchtopk", 3, 0.0), ("relu", None, 0.05)])
def test_training_explains_planted_orbits_that_it_has_not_seen(activation, k, sparsity):
    coder = make(activation, k)
    before = evaluate(coder, Planted(seed=1)).fve
    train(coder, Planted(seed=0), sparsity=sparsity, **(SETTINGS | {"steps": 300}))
    metrics = evaluate(coder, Planted(seed=1))
    assert metrics.fve > 0.85 > before
    assert metrics.fve_per_block.shape == (4,) and metrics.frequency.shape == (16,)


def test_resumed_equals_uninterrupted(tmp_path):
    straight = make("batchtopk")
    rows = train(straight, Planted(), **SETTINGS)

    class Stop(Exception):
        pass

    def stop_at_30(row):
        if row["step"] == 30:
            raise Stop

    halted = make("batchtopk")
    with pytest.raises(Stop):
        train(halted, Planted(), folder=tmp_path, checkpoint_every=20, on_log=stop_at_30, **SETTINGS)
    resumed = make("batchtopk")
    resumed_rows = train(resumed, Planted(), folder=tmp_path, checkpoint_every=20, **SETTINGS)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert [r["loss"] for r in rows] == [r["loss"] for r in resumed_rows]
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert logged == resumed_rows


def test_ctrl_c_saves_before_it_stops(tmp_path):
    def interrupt(row):
        if row["step"] == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(make(), Planted(), folder=tmp_path, on_log=interrupt, **SETTINGS)
    seen = []
    train(make(), Planted(), folder=tmp_path, on_log=lambda row: seen.append(row["step"]), **SETTINGS)
    assert seen[0] == 20


def test_ctrl_c_inside_a_step_waits_for_its_end(tmp_path):
    straight = make("batchtopk")
    train(straight, Planted(), **SETTINGS)
    halted, seen = make("batchtopk"), []

    def interrupt_in_backward(grad):
        seen.append(1)
        if len(seen) == 25:
            os.kill(os.getpid(), signal.SIGINT)

    halted.W_e.register_hook(interrupt_in_backward)
    with pytest.raises(KeyboardInterrupt):
        train(halted, Planted(), folder=tmp_path, **SETTINGS)
    assert len(seen) == 25
    resumed = make("batchtopk")
    train(resumed, Planted(), folder=tmp_path, **SETTINGS)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize("many", [False, True])
def test_ctrl_c_while_a_row_is_made_keeps_the_row(many, tmp_path):
    coder, measure = make(), GroupCrosscoder.diagnostics

    def interrupted(x, parts):
        os.kill(os.getpid(), signal.SIGINT)
        return measure(coder, x, parts)

    coder.diagnostics = interrupted
    each = (lambda coder: train_many([coder], in_memory(), folder=tmp_path, **SETTINGS)[0]) if many else (
        lambda coder: train(coder, in_memory(), folder=tmp_path, **SETTINGS))
    with pytest.raises(KeyboardInterrupt):
        each(coder)
    assert [row["step"] for row in each(make())] == [10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize("many", [False, True])
def test_what_ctrl_c_says_is_what_happens(many, tmp_path, caplog):
    def stopped(**settings):
        coder = make()
        coder.loss = lambda x, **terms: seen.append(x) or GroupCrosscoder.loss(coder, x, **terms)
        coder.begin = lambda x: os.kill(os.getpid(), signal.SIGINT)
        seen = []
        caplog.clear()
        with pytest.raises(KeyboardInterrupt):
            if many:
                train_many([coder], in_memory(), **settings, **SETTINGS)
            else:
                train(coder, in_memory(), **settings, **SETTINGS)
        assert len(seen) == 1
        return caplog.messages

    assert stopped() == ["stopped at step 1 of 60; nothing was kept, so the same call begins anew"]
    assert stopped(folder=tmp_path) == ["stopped at step 1 of 60; the same call goes on from step 1"]


KILLED = """
import os, signal, sys
sys.path.insert(0, "tests/coders")
from test_training_loop import SETTINGS, Planted, make
from groupcc_lite.coders import train

def die_at_30(row):
    if row["step"] == 30:
        os.kill(os.getpid(), signal.SIGKILL)

train(make("batchtopk"), Planted(), folder=sys.argv[1], checkpoint_every=10, on_log=die_at_30, **SETTINGS)
"""


def test_training_survives_kill_minus_nine(tmp_path, root):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, capture_output=True, text=True,
                            env=os.environ | {"PYTHONPATH": str(root)}, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed, straight, seen = make("batchtopk"), make("batchtopk"), []
    train(resumed, Planted(), folder=tmp_path, on_log=lambda row: seen.append(row["step"]), **SETTINGS)
    assert seen[0] == 30  # it went on from step 20, and did not start again
    train(straight, Planted(), **SETTINGS)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    train(make(), Planted(), folder=tmp_path, **SETTINGS)
    for other, settings, differing in ((make(), SETTINGS | {"lr": 1e-4}, "lr"), (make(k=5), SETTINGS, "coder"),
                                       (make(), SETTINGS | {"dead_after": 7}, "dead_after")):
        with pytest.raises(ValueError, match=f"other settings .{differing} differ"):
            train(other, Planted(), folder=tmp_path, **settings)
    with pytest.raises(ValueError, match="orbits differ"):
        train(make(), Planted(count=300), folder=tmp_path, **SETTINGS)
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    with pytest.raises(ValueError, match="checkpoint.safetensors is damaged"):
        train(make(), Planted(), folder=tmp_path, **SETTINGS)


def test_group_mismatch_nan_and_nonsense_are_one_clear_error():
    with pytest.raises(ValueError, match="the coder is for C_4 with 8 channels, the orbits are for D_2"):
        train(make(group=cyclic(4)), Planted(), **SETTINGS)
    with pytest.raises(ValueError, match="steps is 0"):
        train(make(), Planted(), **(SETTINGS | {"steps": 0}))
    broken = Planted()
    broken.x[:] = float("nan")
    with pytest.raises(ValueError, match="the loss was NaN or infinite in one of the steps 1 to 10, with"):
        train(make(), broken, **SETTINGS)


def test_tqdms_own_switch_hides_the_bar(monkeypatch, capsys):
    from groupcc_lite.base import progress_bar

    progress_bar(total=3).close()
    assert "0/3" in capsys.readouterr().err
    progress_bar(False, total=3).close()
    monkeypatch.setenv("TQDM_DISABLE", "1")
    progress_bar(total=3).close()
    assert capsys.readouterr().err == ""


def test_the_learning_rate_rises_holds_and_falls():
    rates = [_schedule(step, 100, 0.1, 0.2) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9:81] == [1.0] * 72 and rates[-1] == pytest.approx(0.05)


def test_the_logged_parts_add_up_to_the_optimised_loss():
    rows = train(make("relu", None), Planted(), sparsity=0.1, **SETTINGS)
    for row in rows:
        assert row["loss"] == pytest.approx(row["reconstruction"] + row["l1"], rel=1e-5)


def test_the_first_batch_is_loaded_once_and_both_begun_and_trained_with():
    asked, begun = [], []

    class Counted(Planted):
        def batches(self, batch_size, **place):
            asked.append(place)
            yield from super().batches(batch_size, **place)

    coder, source = make(), Counted()
    coder.begin = begun.append
    train(coder, source, **(SETTINGS | {"steps": 3}))
    assert len(asked) == 1 and torch.equal(begun[0], next(Planted().batches(64)))


def test_a_loss_that_is_not_finite_is_never_saved(tmp_path):
    broken = Planted()
    train(make(), broken, folder=tmp_path, checkpoint_every=5, log_every=5, **(SETTINGS | {"steps": 20}))
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    training = Training(make(), steps=20, lr=5e-3)
    for x in (broken.x[:64], broken.x[:64] / 0, broken.x[:64]):
        training.step(x)
    for asking in (training.row, training.state_dict):
        with pytest.raises(ValueError, match="NaN or infinite in one of the steps 1 to 3"):
            asking()
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


@pytest.mark.parametrize("activation, k", [("relu", None), ("topk", 3), ("batchtopk", 3)])
def test_a_step_reads_nothing_back_from_the_device(activation, k, monkeypatch):
    """Each of these calls would make the host wait for a GPU."""
    training, x = Training(make(activation, k), steps=20), Planted().x[:64]
    training.step(x)

    def refused(self, *args):
        raise AssertionError("a number was read back")

    for name in ("__bool__", "__float__", "__int__", "item", "tolist"):
        monkeypatch.setattr(torch.Tensor, name, refused)
    training.step(x)
    with pytest.raises(AssertionError, match="read back"):
        training.row()


@pytest.mark.parametrize("settings", [dict(), dict(activation="topk", k=3), dict(activation="batchtopk", k=3)])
def test_a_compiled_loss_trains_and_is_saved_as_a_plain_one(settings, tmp_path, unchecked):
    """As the page on GPUs advises; traced whole but not translated, which would take a minute."""
    source = TensorOrbits(torch.randn(200, 2, 4, generator=torch.Generator().manual_seed(0)), cyclic(2))
    losses = []
    for compiled in (False, True):
        coder = GroupCrosscoder(cyclic(2), 4, 12, scale=source.scale, **settings)
        if compiled:
            torch.compiler.reset()
            coder.loss = torch.compile(coder.loss, backend="aot_eager")
        rows = train(coder, source, steps=20, batch_size=50, sparsity=0.1, progress=False)
        losses.append([row["loss"] for row in rows])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    coder.save(tmp_path)
    assert torch.equal(GroupCrosscoder.load(tmp_path).W_d, coder.W_d)


def test_a_checkpoint_belongs_to_the_weights_that_it_began_with(tmp_path):
    settings = SETTINGS | dict(folder=tmp_path)
    first, other = make(), GroupCrosscoder(dihedral(2), 8, 16, activation="topk", k=3, seed=2)
    train(first, Planted(), **settings)
    with pytest.raises(ValueError, match=r"other settings \(initial_weights differ\)"):
        train(other, Planted(), **settings)
    rounded, again = make(), make()
    with torch.no_grad():
        rounded.W_e *= 1 + 1e-7  # as another processor might round
    for coder in (again, rounded, first):  # the trained coder itself may be asked for again, too
        train(coder, Planted(), **settings)
        assert torch.equal(coder.W_d, first.W_d)


def test_a_coder_that_was_interrupted_goes_on_itself(tmp_path):
    def interrupt(row):
        if row["step"] == 10:
            raise KeyboardInterrupt

    coder, straight, settings = make(), make(), SETTINGS | dict(folder=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(coder, Planted(), on_log=interrupt, **settings)
    assert [row["step"] for row in train(coder, Planted(), **settings)] == [10, 20, 30, 40, 50, 60]
    train(straight, Planted(), **SETTINGS)
    assert torch.equal(coder.W_d, straight.W_d)


def test_a_checkpoint_with_a_flipped_bit_is_refused(tmp_path):
    settings, path = SETTINGS | dict(folder=tmp_path), tmp_path / "checkpoint.safetensors"
    train(make(), Planted(), **settings)
    whole = path.read_bytes()
    places = [len(whole) - 2, len(whole) // 2, whole.index(b'"step":"60"') + 8, whole.index(b"loss"),
              whole.index(b'"batch_size'.replace(b'"', b'\\"')) + 3]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 0x01
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="checkpoint.safetensors is damaged .*; delete it to train from the start"):
            train(make(), Planted(), **settings)
    path.write_bytes(whole)
    train(make(), Planted(), **settings)


@pytest.mark.parametrize("often", [dict(log_every=0), dict(checkpoint_every=0), dict(log_every=-1)])
def test_rows_and_checkpoints_need_a_number_of_steps(often):
    for training in (lambda: train(make(), Planted(), **SETTINGS, **often),
                     lambda: train_many([make()], in_memory(), **SETTINGS, **often)):
        with pytest.raises(ValueError, match="; expected numbers of steps, at least 1"):
            training()
