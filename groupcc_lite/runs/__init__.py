"""runs."""

from groupcc_lite.runs.costs import cost
from groupcc_lite.runs.layer_run import KINDS, FamilyMap, Run
from groupcc_lite.runs.profiles import PROFILES, Profile, get_key_profile, get_profile
from groupcc_lite.runs.reports import REFERENCE_MODELS, Report, publish
from groupcc_lite.runs.scene_run import SceneRun

__all__ = [
    "FamilyMap", "KINDS", "PROFILES", "Profile", "REFERENCE_MODELS", "Report", "Run", "SceneRun", "cost",
    "get_key_profile", "get_profile", "publish",
]
