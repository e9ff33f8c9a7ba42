"""A scene profile that trains in seconds."""

from groupcc_lite.runs import SceneProfile

TINY_SCENES = SceneProfile(
    "smoke", base_models=("mlp",), base_epochs=1, base_batch=512, transform_steps=3, transform_batch=64, latents=32,
    hidden=16, ks=(4,), steps=3, batch_size=64, truncations=(4,), tasks=1, probe_train=150, probe_test=100, seeds=1,
    amp=False)
