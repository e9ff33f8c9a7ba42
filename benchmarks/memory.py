"""Peak memory of extraction, training and similarity at the size of the `inception` profile, in its own process.

The network, batch, dictionary and group have that size; 48 images stand for the photographs, since no step holds more
than a shard of them. What whole chapters took in the reference run stands on the page about reproducibility.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

CHILD = """
import json, sys
import torch
from groupcc_lite.base import provenance
from groupcc_lite.models import load_model
from groupcc_lite.runs import Run
from groupcc_lite.symmetry import max_cosine

images = torch.rand(48, 3, 320, 320, generator=torch.Generator().manual_seed(0))
run = Run("inception", images=images, model=load_model("googlenet", weights="random"), work=sys.argv[1], steps=4)
coder = run.coder()
run.evaluate(coder)
max_cosine(coder.dictionary, run.group)
print(json.dumps(provenance()["peak_memory_gib"]))
"""


def measure() -> dict[str, float]:
    """Peak resident memory in GiB: extraction, training at full batch and width, evaluation, similarity."""
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.run([sys.executable, "-c", CHILD, folder], capture_output=True, text=True, check=False)
    if child.returncode:
        raise RuntimeError(f"the measured process failed:\n{child.stderr[-2000:]}")
    return {"peak memory, GiB (target: under 4)": float(json.loads(child.stdout.splitlines()[-1]))}
