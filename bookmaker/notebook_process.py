"""One notebook in a process of its own: a script that imports nothing of ours, see `execution.NotebookProcesses`.

The first line of the standard input says as JSON what to run. When the input ends before the notebook does, because
whoever wrote to it was interrupted or died, the notebook's kernel is shut down and the process ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

# Kernels listen on this machine only; without this each one warns that its connection is not encrypted.
QUIET_KERNEL = "--IPKernelApp.log_level=40"

# What the library logs is part of a page's text, such as how many photographs could not be read. On stderr it would
# count as a warning, and fail the check of the pages; warnings of everybody else stay there.
PLAIN_LOG = ("--IPKernelApp.code_to_run=__import__('logging').getLogger('groupcc_lite').addHandler("
             "__import__('logging').StreamHandler(__import__('sys').stdout))")


def execute(text: str, output: str, parameters: dict[str, Any], folder: str) -> str:
    """Run the notebook in `text` with papermill; the error as one line, or "" when all went well."""
    import nbformat
    import papermill

    try:
        papermill.execute_notebook(nbformat.reads(text, as_version=4), output, parameters=parameters, cwd=folder,
                                   kernel_name="python3", progress_bar=False,
                                   extra_arguments=[QUIET_KERNEL, PLAIN_LOG])
    except papermill.PapermillExecutionError as error:
        return f"cell {error.exec_count}: {error.ename}: {error.evalue.strip()}"
    return ""


def _interrupt_when_input_ends() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGINT)


def main() -> None:
    """Run one notebook, and leave its error, or "", in the file that the job names."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_interrupt_when_input_ends, daemon=True).start()
    error = execute(job["text"], job["output"], job["parameters"], job["folder"])
    Path(job["result"]).write_text(error)
    os._exit(0)  # the thread still reads, and would be waited for


if __name__ == "__main__":
    main()
