"""What the studies that are no single run will cost: scenes and equivariant SAEs, the answer key, many layers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from groupcc_lite.actions import PlanarAction
from groupcc_lite.answers import Budget, Problem, probe_task, seconds_per_step, standard
from groupcc_lite.base import digest
from groupcc_lite.coders import EquivariantSAE, GroupCrosscoder, SparseAutoencoder, TransformMatrix
from groupcc_lite.groups import cyclic, parse_group
from groupcc_lite.models import IMAGE_SHAPE, BaseModel, ImageAutoencoder, load_model
from groupcc_lite.orbits import sample_layers
from groupcc_lite.runs import timed_steps
from groupcc_lite.runs.answer_plan import answer_studies
from groupcc_lite.runs.depth import WEIGHTS
from groupcc_lite.runs.profiles import DepthProfile, KeyProfile, SceneProfile, get_profile
from groupcc_lite.runs.recipes import TURNING
from groupcc_lite.runs.scene_run import SceneRun
from groupcc_lite.stimuli import canonical_scenes

SCENE_CHANNELS = 256  # width of the base models of scenes


def key_cost(settings: KeyProfile, device: str) -> dict[str, Any]:
    """The answer key, from a few steps of a crosscoder and of the wide SAE; other methods cost at most as much."""
    budget = Budget(orbits=1024)
    whole = standard(group=settings.group, channels=settings.channels)
    part = standard(group=settings.sweep_group, channels=settings.sweep_channels)

    def step(method: str, problem: Problem) -> float:
        return seconds_per_step(method, problem, budget, steps=(1, 4), repeats=1, device=device)

    wide, large, small = (step("wide SAE", whole), step("crosscoder, TopK", whole), step("crosscoder, TopK", part))
    trainings, seconds = 0, 0.0
    for name, study in answer_studies(settings).items():
        for trial in study.trials:
            each = wide if trial.method == "wide SAE" else large if name in ("standard", "drawings") else small
            trainings, seconds = trainings + 1, seconds + each * study.budget.steps
    return {"trainings": trainings, "hours": seconds / 3600}


def scene_cost(settings: SceneProfile, device: str) -> dict[str, Any]:
    """Base models, M, coders and probes of the chapters on equivariant SAEs: a step of each kind, times its steps."""
    made = list(SceneRun(settings).artefacts().values())
    kinds = {kind: [artefact.settings for artefact in made if artefact.kind == kind]
             for kind in ("base-models", "scene-transforms", "scene-coders", "probes")}
    batches = math.ceil(len(canonical_scenes()) * (1 - settings.held_out)) // settings.base_batch
    base = sum(_base_step(kind, settings, device) * batches * settings.base_epochs * settings.seeds
               for kind in settings.base_models)
    # probes of a few latents cost next to nothing
    fits = sum(len(probe["tasks"]) for probe in kinds["probes"] if probe["view"] != "latents")
    training = {kind: _hours(kinds[kind], step, settings, device)
                for kind, step in (("scene-transforms", _transform_step), ("scene-coders", _coder_step))}
    return {"base models": len(kinds["base-models"]), "matrices M": len(kinds["scene-transforms"]),
            "coders": len(kinds["scene-coders"]), "probing tasks": fits, "hours": sum(training.values()) + (
                base + _probe_seconds(settings) * fits / (os.cpu_count() or 1)) / 3600}


def _hours(trainings: list[Mapping[str, Any]], step: Callable[..., float], settings: SceneProfile,
           device: str) -> float:
    """Of trainings with these settings; a step is timed once for all that differ in seed and steps only."""
    seconds: dict[str, float] = {}
    total = 0.0
    for training in trainings:
        kind = digest({key: value for key, value in training.items() if key not in ("seed", "steps")})
        if kind not in seconds:
            seconds[kind] = step(training, settings, device)
        total += seconds[kind] * training["steps"]
    return total / 3600


def _base_step(kind: str, settings: SceneProfile, device: str) -> float:
    images = torch.rand(settings.base_batch, *IMAGE_SHAPE)
    return timed_steps.seconds(timed_steps.training_step(ImageAutoencoder(kind).to(device), images, settings.base_amp))


def _transform_step(training: Mapping[str, Any], settings: SceneProfile, device: str) -> float:
    group = cyclic(4)
    x = torch.randn(training["batch_size"], group.order, SCENE_CHANNELS)
    model = TransformMatrix(group, SCENE_CHANNELS).to(device)
    return timed_steps.seconds(timed_steps.training_step(model, x, amp=False, relations=training["relations"]))


def _coder_step(training: Mapping[str, Any], settings: SceneProfile, device: str) -> float:
    """Of one of `scene_run.CODERS`; those with M read whole orbits, a quarter as many."""
    build: dict[str, Any] = dict(activation="topk", k=training["k"], hidden=training["hidden"])
    order, coder = 1, SparseAutoencoder(SCENE_CHANNELS, training["latents"], **build)
    if training["name"] in TURNING:
        group = cyclic(4)
        order, coder = group.order, EquivariantSAE(group, SCENE_CHANNELS, training["latents"], **build,
                                                   transform=TransformMatrix(group, SCENE_CHANNELS))
    x = torch.randn(max(1, training["batch_size"] // order), order, SCENE_CHANNELS)
    return timed_steps.seconds(timed_steps.training_step(coder.to(device), x, training["amp"]))


def _probe_seconds(settings: SceneProfile) -> float:
    """Of one task."""
    shape = (settings.probe_train + settings.probe_test, SCENE_CHANNELS)
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    labels, split = features[:, 0] > 0, np.split(np.arange(len(features)), [settings.probe_train])
    parts = [array[part] for array in (features, labels) for part in split]
    return timed_steps.seconds(lambda: probe_task(*parts))


def depth_cost(settings: DepthProfile, device: str) -> dict[str, Any]:
    """Orbits and coders of many layers: every image is read once for all layers of a network, with either weights.

    >>> from groupcc_lite.runs import get_depth_profile
    >>> sorted(depth_cost(get_depth_profile("smoke"), "cpu"))
    ['hours', 'images', 'layers', 'trainings']
    """
    group, seconds, layers = parse_group(settings.group), 0.0, 0
    for network, names in settings.networks:
        models = [load_model(network, name, weights="random").to(device) for name in names]
        seconds += _layers_seconds(models, PlanarAction(group), settings) * settings.images
        seconds += _coder_seconds(models, settings, device)
        layers += len(names)
    return {"images": settings.images, "layers": layers * len(WEIGHTS),
            "trainings": layers * len(WEIGHTS) * settings.seeds, "hours": seconds * len(WEIGHTS) / 3600}


def _coder_seconds(models: Sequence[BaseModel], settings: DepthProfile, device: str) -> float:
    """Of the coders of all layers. A step's time grows with the channels, so the widest layer says it of all."""
    group, channels = parse_group(settings.group), [model.channels for model in models]
    coder = GroupCrosscoder(group, max(channels), settings.latents, activation="batchtopk", k=settings.k).to(device)
    x = torch.randn(settings.batch_size, group.order, max(channels))
    step = timed_steps.seconds(timed_steps.training_step(coder, x, get_profile("book").amp))
    return step * sum(channels) / max(channels) * settings.steps * settings.seeds


def _layers_seconds(models: Sequence[BaseModel], action: PlanarAction, settings: DepthProfile) -> float:
    """Of one image, for all layers of a network."""
    noise = torch.rand(2, 3, *[action.source_size(models[0].input_size)] * 2)
    return timed_steps.seconds(lambda: sample_layers(
        models, action, noise, points_per_image=settings.points_per_image, mask_radius=settings.mask_radius)) / 2
