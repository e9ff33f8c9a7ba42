"""From a network, a layer, images and a group to one folder that says what was found, and opens from disk.

`write_report(run, folder)` is all that a reader needs, or `groupcc analyse` from a terminal. `measure` does the
measuring, and `doubts` says what a careful reader would doubt about the numbers.
"""

from groupcc_lite.analysis.measures import Analysis, doubts, measure
from groupcc_lite.analysis.page import check_report, write_report

__all__ = ["Analysis", "check_report", "doubts", "measure", "write_report"]
