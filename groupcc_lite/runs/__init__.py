"""Runs: from a profile to orbits, coders, maps, probes and pictures on disk, each made once, and to a chapter's report.

A reader meets `Run` first: `Run("smoke").coder()` makes whatever a coder needs, and `Run("smoke").features()` tabulates
what it found. `SceneRun` does the same for whole scenes and equivariant SAEs. A profile holds every number of a run;
`fold_measures` says what a run's numbers are worth over folds of the images and seeds; `extract_layers` reads many
layers in one pass; `keys()` of a run says under which key each artefact is filed.
"""

from groupcc_lite.runs.features import (
    FamilyMap,
    FeatureTable,
    Relatives,
    Symmetries,
    feature_frame,
    feature_table,
    relatives,
    symmetries,
)
from groupcc_lite.runs.folds import (
    FOLD_MEASURES,
    Measure,
    Uncertain,
    fold_measures,
    fold_seeds,
    fve_over_images,
    over_folds,
    uncertain,
)
from groupcc_lite.runs.layer_artefacts import PARTS
from groupcc_lite.runs.layer_run import CONTROLS, DictionaryRun, FewerImages, FoldRun, PartRun, Run
from groupcc_lite.runs.one_pass import extract_layers
from groupcc_lite.runs.profiles import PROFILES, Profile, get_profile
from groupcc_lite.runs.recipes import CODER_SETTINGS, FITTED_RIDGE, KINDS, TURNING, LayerRecipes
from groupcc_lite.runs.reports import REFERENCE_MODELS, Report, mean_spread, publish, table_by_column
from groupcc_lite.runs.scene_measures import (
    CODER_NAMES,
    READINGS,
    Invariance,
    Probed,
    additivity,
    best_ridge,
    canonical_fve,
    explained_in_use,
    family_f1,
    far_powers,
    invariance,
    probe_readings,
)
from groupcc_lite.runs.scene_report import (
    coder_rows,
    layer_rows,
    matrix_rows,
    paper_probe_rows,
    probe_rows,
    record,
    relation_rows,
)
from groupcc_lite.runs.scene_run import SceneRun
from groupcc_lite.runs.study_profiles import (
    CURVE_PROFILES,
    DEPTH_PROFILES,
    KEY_PROFILES,
    MANIFOLD_PROFILES,
    RESPONSE_PROFILES,
    ROBUST_PROFILES,
    SAVINGS_PROFILES,
    SCENE_PROFILES,
    SUPERPOSITION_PROFILES,
    CurveProfile,
    DepthProfile,
    KeyProfile,
    ManifoldProfile,
    ResponseProfile,
    RobustProfile,
    SavingsProfile,
    SceneProfile,
    SuperpositionProfile,
    get_curve_profile,
    get_depth_profile,
    get_key_profile,
    get_manifold_profile,
    get_response_profile,
    get_robust_profile,
    get_savings_profile,
    get_scene_profile,
    get_superposition_profile,
)

__all__ = [
    "CODER_NAMES", "CODER_SETTINGS", "CONTROLS", "CURVE_PROFILES", "CurveProfile", "DEPTH_PROFILES", "DepthProfile",
    "DictionaryRun", "FITTED_RIDGE", "FOLD_MEASURES", "FamilyMap", "FeatureTable", "FewerImages", "FoldRun",
    "Invariance", "KEY_PROFILES", "KINDS", "KeyProfile", "LayerRecipes", "MANIFOLD_PROFILES", "ManifoldProfile",
    "Measure", "PARTS", "PROFILES", "PartRun", "Probed", "Profile", "READINGS", "REFERENCE_MODELS", "RESPONSE_PROFILES",
    "ROBUST_PROFILES", "Relatives", "Report", "ResponseProfile", "RobustProfile", "Run", "SAVINGS_PROFILES",
    "SCENE_PROFILES", "SUPERPOSITION_PROFILES", "SavingsProfile", "SceneProfile", "SceneRun", "SuperpositionProfile",
    "Symmetries", "TURNING", "Uncertain", "additivity", "best_ridge", "canonical_fve", "coder_rows",
    "explained_in_use", "extract_layers", "family_f1", "far_powers", "feature_frame", "feature_table",
    "fold_measures", "fold_seeds", "fve_over_images", "get_curve_profile", "get_depth_profile", "get_key_profile",
    "get_manifold_profile", "get_profile", "get_response_profile", "get_robust_profile", "get_savings_profile",
    "get_scene_profile", "get_superposition_profile", "invariance", "layer_rows", "matrix_rows", "mean_spread",
    "over_folds", "paper_probe_rows", "probe_readings", "probe_rows", "publish", "record", "relation_rows",
    "relatives", "symmetries", "table_by_column", "uncertain",
]
