"""Imported by a notebook's kernel before its first cell: from then on the library's default device is the fake one.

When the kernel ends, it writes into the file that FAKE_DEVICE_COUNTS names what has happened on the device.
"""

import atexit
import json
import os
from pathlib import Path

from fake_device import DEVICE, FakeDevice

from groupcc_lite import base
from groupcc_lite.base import precision


def default_device(device: object = None) -> str:
    """The device asked for, else the fake one."""
    return str(DEVICE if device is None else device)


def leave_counts() -> None:
    Path(os.environ["FAKE_DEVICE_COUNTS"]).write_text(json.dumps(
        dict(operations=device.operations, uploads=device.uploads, reads=device.reads)))


# Before any other package of the library is imported, so that all of them find these.
base.default_device = precision.default_device = default_device
device = FakeDevice().__enter__()
atexit.register(leave_counts)
