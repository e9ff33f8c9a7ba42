"""The table on paper: what can be checked without a GPU."""

import pytest

from groupcc_lite import __main__ as cli
from groupcc_lite.studies import cluster_cost, cluster_table


def test_sizes_by_hand():
    facts = cluster_cost(2048, 16_384, 1)
    assert facts["store TB"] == pytest.approx(1.68, abs=0.01)
    assert facts["checkpoint GB"] == pytest.approx(13.3, abs=0.1)  # 3 x 4 bytes of W_d (32 blocks) and W_e (one)
    assert facts["EFLOP"] == pytest.approx(1024 * 2048 * 16_384 * 196 * 12_511 / 1e18)
    assert facts["MB sent a step"] == 0


def test_more_gpus_hold_less_each_and_only_many_must_send():
    for one, eight, many in zip(*[iter(cluster_table())] * 3, strict=True):
        assert one["GB on each GPU"] > eight["GB on each GPU"] > many["GB on each GPU"]
        assert one["MB sent a step"] == 0 < eight["MB sent a step"] and one["hours"] > eight["hours"]


def test_the_command_shows_the_table(capsys):
    assert cli.main(["cost", "--cluster"]) == 0
    first, head, *rows = capsys.readouterr().out.splitlines()
    assert "on paper" in first and head.startswith("channels") and len(rows) == 9


def test_no_gpu_is_an_error():
    with pytest.raises(ValueError, match="gpus is 0"):
        cluster_cost(480, 4096, 0)
