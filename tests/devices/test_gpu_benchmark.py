"""What measures a GPU, on devices that are none: every path with little of everything, and what it says without one."""

import contextlib
import subprocess
import sys
import time

import pytest
import torch
from fake_device import DEVICE, FakeDevice

from benchmarks import gpu
from groupcc_lite.base import read_json
from groupcc_lite.groups import dihedral

LITTLE = gpu.Sizes(rotations=2, images=1, points=5, batch=16, channels=6, latents=48, k=4, steps=2, rounds=1)
CPU = torch.device("cpu")


def test_every_stage_is_measured_beside_a_plain_loop():
    found = gpu.measure(CPU, LITTLE)
    for stage in ("extraction", "training", "similarity"):
        ours, plain = (next(value for name, value in found.items() if name.startswith(f"{stage}: {way},"))
                       for way in ("ours", "plain loop"))
        assert found[f"{stage}: plain loop / ours"] == pytest.approx(ours / plain)
    shares = {name: value for name, value in found.items() if "busy" in name}
    assert len(shares) == 2 and all(0 < share <= 1 for share in shares.values())  # more if nobody else computes


@pytest.mark.parametrize("stage", [gpu.of_extraction, gpu.of_training, gpu.of_similarity])
def test_no_stage_mixes_devices(stage):
    with FakeDevice():
        found = stage(DEVICE, dihedral(2), LITTLE)
    assert all(value > 0 for value in found.values())


def test_overcomplete_takes_part_where_it_is_installed(monkeypatch):
    asked = []
    monkeypatch.setattr(gpu, "find_spec", lambda name: name)
    monkeypatch.setattr(gpu.coders, "overcomplete_sae", lambda *given: asked.append("made"))
    monkeypatch.setattr(gpu.coders, "overcomplete_loop", lambda *given: asked.append("trained"))
    found = gpu.of_training(CPU, dihedral(2), LITTLE)
    assert asked == ["made", "trained", "trained"] and found["training: overcomplete / ours"] > 0


def test_intervals_are_counted_once_where_they_overlap():
    assert gpu.covered([(5, 6), (0, 2), (1, 3), (1, 1.5), (3, 4)]) == 5
    assert gpu.covered([]) == 0


def test_the_busy_share_is_that_of_the_events_of_the_device(monkeypatch):
    """By a clock that goes as it is told: two events of the device that overlap, one of another, in 4 ms."""
    from types import SimpleNamespace

    def event(kind, start, end):
        return SimpleNamespace(device_type=kind, time_range=SimpleNamespace(start=start, end=end))

    events = [event(gpu.DeviceType.CPU, 100, 700), event(gpu.DeviceType.CPU, 500, 1100),
              event(gpu.DeviceType.CUDA, 2000, 3000)]
    seen = SimpleNamespace(events=lambda: events)
    monkeypatch.setattr(gpu, "profile", lambda activities: contextlib.nullcontext(seen))
    monkeypatch.setattr(gpu.time, "perf_counter", iter([5.0, 5.004]).__next__)
    assert gpu.busy_share(lambda: None, CPU) == pytest.approx(0.25)


def test_a_device_that_waits_is_less_busy_than_one_that_computes():
    """It waits four times as long as it computes, however long that takes on a machine where others compute as well."""
    a = torch.randn(400, 400)

    def compute_and_wait():
        began = time.perf_counter()
        a @ a
        time.sleep(4 * (time.perf_counter() - began))

    busy = gpu.busy_share(lambda: [a @ a for _ in range(20)], CPU)
    idle = gpu.busy_share(lambda: [compute_and_wait() for _ in range(5)], CPU)
    assert 0 < idle < 0.25 < busy <= 1


def test_the_numbers_are_kept_where_one_asks(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "measure", lambda device: {f"on {device}": 2.0})
    gpu.main(["--device", "cpu", "--out", str(tmp_path / "found.json")])
    kept = read_json(tmp_path / "found.json")
    assert kept["results"] == {"on cpu": 2.0} and kept["provenance"]["hardware"] in capsys.readouterr().out


def test_without_a_gpu_it_says_so_and_fails(root):
    done = subprocess.run([sys.executable, "-c", "import torch; torch.cuda.is_available = lambda: False; "
                           "from benchmarks.gpu import main; main([])"], cwd=root, capture_output=True, text=True,
                          check=False)
    assert done.returncode == gpu.NO_GPU and done.stdout == ""
    assert "There is no GPU here" in done.stderr and "nothing was measured" in done.stderr
