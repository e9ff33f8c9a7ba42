"""One crosscoder in many processes: shards of its orbits, blocks of the group, and batches are shared.

Begin with `joined`, which finds the processes that `torchrun` started, and `Processes`, which lays them out as data x
group. `extract_shared` makes a store of orbits. `ShardedCrosscoder` is one process's part of a coder, `train_sharded`
trains it as `train` trains a whole one: the same losses, checkpoints and folders. `step_traffic` says what a step
sends, `Processes.traffic` what was sent. All of it is `torch.distributed`: gloo between processors, NCCL between GPUs.
"""

from groupcc_lite.distributed.axes import Axis, Processes, Traffic
from groupcc_lite.distributed.extracting import extract_shared
from groupcc_lite.distributed.joining import ProcessLost, World, joined
from groupcc_lite.distributed.sharded_coder import ShardedCrosscoder
from groupcc_lite.distributed.sharing import SharedBatches
from groupcc_lite.distributed.together import GatheredCheckpoint, train_sharded
from groupcc_lite.distributed.volume import step_traffic

__all__ = [
    "Axis", "GatheredCheckpoint", "ProcessLost", "Processes", "ShardedCrosscoder", "SharedBatches", "Traffic", "World",
    "extract_shared", "joined", "step_traffic", "train_sharded",
]
