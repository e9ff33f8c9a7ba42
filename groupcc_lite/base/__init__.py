"""base."""

from groupcc_lite.base.command_line import Verbs, say, say_table, use_data
from groupcc_lite.base.extras import EXTRAS, require
from groupcc_lite.base.files import atomic_path, atomic_write, digest, read_json, sha256_of, write_json
from groupcc_lite.base.precision import matrix_products
from groupcc_lite.base.progress import minutes, progress_bar
from groupcc_lite.base.provenance import provenance
from groupcc_lite.base.saving import save_module, saved_config, with_saved_weights
from groupcc_lite.base.workspace import repository_root, work_folder

__all__ = [
    "EXTRAS", "Verbs", "atomic_path", "atomic_write", "digest", "matrix_products", "minutes", "progress_bar",
    "provenance", "read_json", "repository_root", "require", "save_module", "saved_config", "say", "say_table",
    "sha256_of", "use_data", "with_saved_weights", "work_folder", "write_json",
]
