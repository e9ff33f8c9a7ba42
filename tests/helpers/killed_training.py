"""`groupcc train`, in which the last process kills itself after some steps: STORE, OUT, STEPS, and after how many."""

from __future__ import annotations

import os
import signal
import sys

from many_processes import COMMAND

from groupcc_lite import __main__ as cli
from groupcc_lite.coders import Training

store, out, steps, until = sys.argv[1:]
step = Training.step


def fatal_step(training, x):
    step(training, x)
    if training.count == int(until) and int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1:
        os.kill(os.getpid(), signal.SIGKILL)


Training.step = fatal_step
sys.exit(cli.main(["train", store, "--out", out, "--steps", steps, *COMMAND]))
