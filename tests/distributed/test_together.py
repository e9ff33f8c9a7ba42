"""1, 2 and 4 processes train the same coder: blocks shared, batches shared, and both."""

import json

import pytest
import torch
from many_processes import BATCH, CASES, CHANNELS, GROUP, STEPS, coder_of, orbits, torchrun, training

from groupcc_lite.coders import GroupCrosscoder, train
from groupcc_lite.distributed import GatheredCheckpoint, Processes, joined, step_traffic

pytestmark = pytest.mark.slow
MESHES = [(2, 1), (2, 2), (4, 1), (4, 2), (4, 4)]
"""(processes, how many of them share the blocks); the others share batches."""


@pytest.fixture(scope="module")
def left(tmp_path_factory, root):
    """What two and four processes left, every case on every mesh."""
    folder = tmp_path_factory.mktemp("together")
    for processes in (2, 4):
        done = torchrun(processes, "tests/helpers/many_processes.py", str(folder), root=root)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def alone():
    """Rows and coder of one process, for every case."""
    found = {}
    for case in CASES:
        coder = coder_of(case)
        found[case] = train(coder, orbits(), **training()), coder
    return found


def found_in(left, mesh, case):
    name = f"{mesh[0]}-{mesh[1]}-{case}"
    return json.loads((left / f"{name}.json").read_text()), left / name


@pytest.mark.parametrize("mesh", MESHES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_losses_and_the_saved_coder_are_those_of_one_process(left, alone, mesh, case):
    rows, coder = alone[case]
    theirs, folder = found_in(left, mesh, case)
    assert len(rows) == len(theirs["rows"]) == STEPS
    for ours, other in zip(rows, theirs["rows"], strict=True):
        assert ours.keys() == other.keys()
        for name in ours.keys() - {"seconds"}:
            assert other[name] == pytest.approx(ours[name], rel=1e-5, abs=1e-5), (ours["step"], name)
    saved = GroupCrosscoder.load(folder)
    assert saved.config == coder.config
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "weights.safetensors"]
    for name, value in coder.state_dict().items():
        torch.testing.assert_close(saved.state_dict()[name], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_the_cases_train_and_revive(alone, case):
    """Otherwise agreement would say little."""
    rows, coder = alone[case]
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    if coder.k is not None:
        assert any(row["aux"] > 0 for row in rows) and any(row["dead"] > 0 for row in rows)


@pytest.mark.parametrize("mesh", MESHES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_every_process_has_the_same_encoder_to_the_last_bit(left, mesh, case):
    assert found_in(left, mesh, case)[0]["encoders"] == 1


@pytest.mark.parametrize("mesh", MESHES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_what_a_step_sends_is_what_the_formula_says(left, mesh, case):
    (processes, group), settings = mesh, {k: v for k, v in CASES[case].items() if k != "bandwidth"}
    found, _ = found_in(left, mesh, case)
    revived = min(64, found["dead"]) if "k" in settings else 0
    expected = step_traffic(order=GROUP.order, channels=CHANNELS, batch=BATCH, data=processes // group, group=group,
                            revived=revived, **settings)
    assert len(found["traffic"]) == processes
    for sent in found["traffic"]:
        assert {tuple(key): value for key, value in sent} == expected


def test_negative_control_whatever_is_left_out_is_seen(tmp_path, root):
    done = torchrun(2, "tests/helpers/broken_together.py", str(tmp_path / "found.json"), root=root)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found.pop("nothing") < 1e-5
    assert len(found) == 3 and all(distance > 1e-3 for distance in found.values()), found


def test_processes_that_see_other_checkpoints_do_not_mix_them(tmp_path, monkeypatch):
    with joined(device="cpu") as world:
        checkpoint = GatheredCheckpoint(tmp_path, {"steps": 3}, processes=Processes(world, order=8))
        assert checkpoint.read()[0] == 0
        monkeypatch.setattr(type(checkpoint.processes.whole), "gathered", lambda self, t: torch.cat([t, t + 1]))
        with pytest.raises(ValueError, match="does not see the checkpoint, settings and store of the others"):
            checkpoint.read()
