"""From a network, a layer, images and a group to one folder that says what was found, and opens from disk.

`write_report(run, folder)` is all that a reader needs, or `groupcc analyse` from a terminal. `measure` does the
measuring, after `check_run` has looked for what would fail, and `doubts` says what a careful reader would doubt about
the numbers. `compare_robust`, or `groupcc robust`, asks a plain network and a robust one for their superposition and
their symmetry.
"""

from groupcc_lite.analysis.measures import Analysis, check_run, doubts, measure
from groupcc_lite.analysis.page import check_report, write_report
from groupcc_lite.analysis.robust_pair import compare_robust, pair_table

__all__ = ["Analysis", "check_report", "check_run", "compare_robust", "doubts", "measure", "pair_table", "write_report"]
