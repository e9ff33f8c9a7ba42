"""runs."""

from groupcc_lite.runs.costs import cost
from groupcc_lite.runs.layer_run import KINDS, FamilyMap, Run
from groupcc_lite.runs.profiles import PROFILES, Profile, get_key_profile, get_profile
from groupcc_lite.runs.reports import REFERENCE_MODELS, Report, publish
from groupcc_lite.runs.scene_report import (
    CODER_NAMES,
    READINGS,
    Invariance,
    Probed,
    canonical_fve,
    coder_rows,
    family_f1,
    far_powers,
    invariance,
    layer_rows,
    matrix_rows,
    probe_readings,
    probe_rows,
    relation_rows,
)
from groupcc_lite.runs.scene_run import SceneRun

__all__ = [
    "CODER_NAMES", "FamilyMap", "Invariance", "KINDS", "PROFILES", "Probed", "Profile", "READINGS", "REFERENCE_MODELS",
    "Report", "Run", "SceneRun", "canonical_fve", "coder_rows", "cost", "family_f1", "far_powers", "get_key_profile",
    "get_profile", "invariance", "layer_rows", "matrix_rows", "probe_readings", "probe_rows", "publish",
    "relation_rows",
]
