"""What every other package rests on: files written whole, the cache of artefacts, provenance, devices, progress.

A reader meets `Artefact` and `Cache` first: everything that is computed and kept is filed by them under a key that
contains the keys of whatever it was made from, so nothing in the work folder can be out of date. The rest is small:
atomic files and JSON, saved modules, what a result says about its origin, bfloat16 where it helps, command lines, and
how sure a number is: intervals, bootstrap, jackknife and permutation tests.
"""

from groupcc_lite.base.artefacts import Artefact, Cache, described
from groupcc_lite.base.colab import prepare_colab
from groupcc_lite.base.command_line import Verbs, near_matches, say, say_table, use_data
from groupcc_lite.base.environment import package_version, provenance
from groupcc_lite.base.extras import EXTRAS, require
from groupcc_lite.base.files import atomic_path, atomic_write, digest, read_json, sha256_of, write_json
from groupcc_lite.base.intervals import (
    bootstrap,
    interval_of,
    jackknife,
    percentile_interval,
    permutation_p,
    share_interval,
)
from groupcc_lite.base.precision import default_device, matrix_products, needs_float16
from groupcc_lite.base.progress import minutes, progress_bar
from groupcc_lite.base.saving import save_module, save_weights, saved_config, with_saved_weights
from groupcc_lite.base.workspace import repository_root, work_folder

__all__ = [
    "Artefact", "Cache", "EXTRAS", "Verbs", "atomic_path", "atomic_write", "bootstrap", "default_device", "described",
    "digest", "interval_of", "jackknife", "matrix_products", "minutes", "near_matches", "needs_float16",
    "package_version", "percentile_interval", "permutation_p", "prepare_colab", "progress_bar", "provenance",
    "read_json", "repository_root", "require", "save_module", "save_weights", "saved_config", "say", "say_table",
    "sha256_of", "share_interval", "use_data", "with_saved_weights", "work_folder", "write_json",
]
