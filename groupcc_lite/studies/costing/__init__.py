"""What a profile costs before anything large starts: measured on a sample, and on paper for machines that are not here.

`cost` and `run_cost` time single steps on this machine and multiply; `cluster_cost` computes from data sheets.
"""

from groupcc_lite.studies.costing.costs import cost, run_cost
from groupcc_lite.studies.costing.on_paper import cluster_cost, cluster_table

__all__ = ["cluster_cost", "cluster_table", "cost", "run_cost"]
