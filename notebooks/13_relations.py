# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Relations, mirrors, a real layer
#
# **In the reference run** a matrix with $M^4 = I$ exactly costs next to nothing, on clean activations as well as in
# use, on reconstructions ({numref}`fig-use-reference`). On single points of {term}`InceptionV1` no single matrix will
# do.
#
# ```{figure} ../book/reference/13_relations/in_use.png
# :alt: Two panels of dots on a logarithmic axis, clean and in use, for six ways to find the matrix.
# :name: fig-use-reference
#
# Reference run: what the matrix misses of clean activations, and what the equivariant SAE misses with it in use.
# ```
#
# **You will learn**
#
# - what the relation $M^4 = I$ costs, and how to have it exactly,
# - that the best matrix for clean activations is not the best for reconstructions, and what helps,
# - what happens to high powers of a matrix that has it only nearly,
# - that a second generator, the mirror, is no harder than one,
# - where linearity ends: single points of a deeper network.
#
# **You need** {doc}`01_groups` for generators, scenes, the matrix $M$ and its two $R^2$ from {doc}`11_one_matrix`, the
# coders of {doc}`12_probes`, and, for the real network, points and the linear reference of {doc}`02_orbits`.
#
# **Run time** about a minute on one CPU core when {doc}`02_orbits` and {doc}`12_probes` have been run, several minutes
# otherwise.
#
# **Look up** symbols in {doc}`../book/notation`, words in the {doc}`../book/glossary`. The first use of a word leads
# there.

# %% tags=["bootstrap", "remove-cell"]
# On Google Colab this cell installs the library beside Colab's own torch.
# Anywhere else it does nothing.
import sys

keep_on_drive = False  # True: results stay in your Google Drive for the next session
source = ""  # what pip installs; behind the buttons of the pages: one commit

if "google.colab" in sys.modules:
    import os
    import subprocess
    from importlib.metadata import version

    source = os.environ.get("GROUPCC_SOURCE", source)
    if not source:
        raise RuntimeError("This copy of the notebook does not say what to install. "
                           "Open the chapter with the rocket button of its published "
                           "page, or write a wheel or folder of the library into `source`.")
    names = ("torch", "torchvision", "numpy", "ipython", "ipywidgets")
    keep = [f"{name}=={version(name)}" for name in names]
    pip = [sys.executable, "-m", "pip", "install", "-q", *keep, source]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{source} could not be installed beside {keep}:\n{done.stderr}")
    from groupcc_lite.base import prepare_colab

    prepare_colab("/content", keep_on_drive=keep_on_drive)

# %% tags=["parameters"]
profile = "book"
seed = 0
images = None  # a folder of photographs, for the profiles inception and paper
weights = None  # a weights file for the profile's model

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown, display

from groupcc_lite import figures
from groupcc_lite.coders import TransformMatrix, least_squares, project, r2
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.runs import (
    Run,
    SceneRun,
    best_ridge,
    explained_in_use,
    far_powers,
    layer_rows,
    mean_spread,
    record,
    relation_rows,
)

# %%
study = SceneRun(profile, seed=seed)
report = study.report("13_relations")
bases, k = study.profile.base_models, study.middle_k
print(study)

# %% [markdown]
# ## Open question: the relation $M^4 = I$
#
# In {doc}`11_one_matrix` one matrix $M$ turned the {term}`activations <activation>` of two base models, for images of
# scenes, by a quarter. Four quarter turns are no turn, so one should have $M^4 = I$. Should one not get it for nothing?
#
# ```{prf:proposition} Where the relation holds by itself
# :label: prop-order
#
# If $M \psi(y) = \psi(gy)$ for all images $y$ of all orbits, then $M^{\lvert G\rvert}$ is the identity on the span of
# all activations. It need not be so elsewhere.
# ```
#
# *Because* $M^{\lvert G\rvert} \psi(y) = \psi(g^{\lvert G\rvert} y) = \psi(y)$, and what holds for vectors holds for
# their sums and multiples. On directions that no activation uses, $M$ may be anything. So a learned $M$ misses the
# relation for two reasons: its predictions are not perfect, and part of it is not determined at all.
#
# The paper asks in its outlook whether building the relation in helps. There are two ways.
#
# As a **penalty**, the distance of $M^4$ from $I$ is added to {eq}`eq-transform`, and Adam goes on from where it was
# for a tenth of the steps.
#
# As a **hard constraint**, $M$ must generate a representation of the group. A given $M$ can be repaired. Let $\rho(h)$
# be the power of $M$ that belongs to $h$, and $\Sigma$ the second moments of $\psi(x)$. The orbits that $M$ predicts,
# $\rho(h)\,\psi(x)$, have the second moments
#
# $$ C(h) = \mathbb{E}_{k \in G}\; \rho(hk)\,\Sigma\,\rho(k)^\top . $$ (eq-predicted-moments)
#
# ```{prf:proposition} An exact representation is its own second moments
# :label: prop-exact
#
# In coordinates in which $C(e) = I$: if $\rho$ is a representation, then every $\rho(h)$ is orthogonal and equal to
# $C(h)$.
# ```
#
# *Because* $\rho(hk) = \rho(h)\rho(k)$ gives $C(h) = \rho(h)\, C(e) = \rho(h)$. And if $k$ runs through the group, so
# does $hk$, so $C(e) = \rho(h)\, C(e)\, \rho(h)^\top$, that is, $\rho(h)\rho(h)^\top = I$. If $\rho$ is not a
# representation, each direction belongs a little to every irreducible part of $C$; give it to the one where it has
# most. Applied to Adam's $M$ this is called *projected* below, applied to the least-squares solution *exact*.
#
# What can be gained? High powers. An error of the unconstrained $M$ grows with every multiplication, and nothing says
# that it stops growing after four ({numref}`fig-far-powers`).

# %%
CONSTRAINED = ("adam", "penalty", "adam, projected", "least squares", "exact",
               "procrustes, projected")
matrices = {(base, method): study.transform(base, method).cpu()
            for base in bases for method in CONSTRAINED}
relation_errors = {key: M.relation_error() for key, M in matrices.items()}
far = {(base, method): far_powers(M, study.activations(base, "held-out"))
       for (base, method), M in matrices.items()}
columns = ["base model", "M", "largest entry of M⁴ - I", "R², p = 1", "R², p = 4",
           "R², p = 12"]
rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
for (base, method), found in far.items():
    shown = " | ".join(f"{found[p - 1]:.4f}" for p in (1, 4, 12))
    error = relation_errors[base, method]
    rows.append(f"| {base} | {method} | {error:.1e} | {shown} |")
display(Markdown("\n".join(rows)))

# %%
# exact up to float32's rounding of M, whose entries grow with the activations' spread
assert all(relation_errors[base, method] < 1e-4
           for base in bases for method in ("exact", "procrustes, projected"))

# %% mystnb={"figure": {"name": "fig-far-powers", "caption": "Held-out R² about the mean of M^p far beyond p = 4, this run. With the relation built in, the curve repeats every four powers."}, "image": {"alt": "One panel per base model; lines over powers one to twelve. Unconstrained lines fall with the power, constrained ones repeat with period four."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(1, len(bases), figsize=(3.9 * len(bases), 3.2),
                             sharey=True, squeeze=False)
    for base, ax in zip(bases, axes[0], strict=True):
        figures.power_curves({method: far[base, method] for method in CONSTRAINED}, ax,
                             labels=[str(p) for p in range(1, 13)], legend=False,
                             ylabel="$R^2$ about the mean" if ax is axes[0, 0] else "")
        lowest = min(min(far[base, method]) for method in ("least squares", "exact"))
        ax.set(title=base.upper(), xlabel="power $p$", ylim=(min(0.5, lowest), 1.02))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower center",
               bbox_to_anchor=(0.5, 1.0), ncols=3)
    report.figure("far_powers", fig)

# %% [markdown]
# On activations the exact representation explains as much as least squares without the relation, and keeps doing so for
# all powers. Adam's $M$ loses a little with every round; the penalty slows that down, and projecting Adam's $M$ stops
# it. The least-squares $M^4$ may differ from $I$ by much in an entry and predict almost perfectly all the same: what is
# off acts on directions that activations hardly use ({prf:ref}`prop-order`).
#
# ### In use
#
# But what $M$ turns in an {term}`equivariant SAE` is not an activation. It is a *reconstruction* of the canonical one,
# with errors, and these do have parts along the directions that activations hardly use. There least squares found
# large entries in $M$ to fit small differences, and they make errors larger. A remedy is as old as regression: shrink.
# The closed form of {prf:ref}`prop-closed-forms` adds a multiple of $I$ to $S$ and to $C$, the *ridge*, in units of the
# mean eigenvalue of $S$. It was $10^{-8}$ so far. Choose it among powers of ten up to $10^{-2}$, by what the
# equivariant SAE explains with it on the scenes that it was trained on. Then exchange $M$, keep everything else, and
# measure on held-out scenes.

# %%
USED = ("adam", "adam, projected", "least squares", "exact", "ridge", "ridge, exact")
in_use, clean, chosen = {}, {}, {base: [] for base in bases}
for base in bases:
    for start in study.coder_seeds(k):
        coder = study.coder(base, "equivariant", k, start)
        train, x = (study.activations(base, part, start)
                    for part in ("train", "held-out"))
        ridge, shrunk = best_ridge(coder, train)
        chosen[base].append(ridge)
        used = {method: study.transform(base, method, start) for method in USED[:4]}
        regular = {"ridge": shrunk, "ridge, exact": project(shrunk)}
        for method, M in (used | regular).items():
            in_use.setdefault((base, method), []).append(explained_in_use(coder, M, x))
            clean.setdefault((base, method), []).append(
                float(r2(M.cpu(), x, about="mean")[1:].mean()))
    print(f"{base}: ridge chosen on training scenes "
          f"{', '.join(f'{ridge:g}' for ridge in chosen[base])}")

# %%
columns = ["base model", "M", "clean activations: R² about the mean",
           "in use: variance explained"]
rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
for (base, method), values in in_use.items():
    rows.append(f"| {base} | {method} | {mean_spread(clean[base, method], 4)} | "
                f"{mean_spread(values, 3)} |")
display(Markdown("\n".join(rows)))

# %% mystnb={"figure": {"name": "fig-in-use", "caption": "What each M leaves unexplained (logarithmic): of clean activations (circles, the mean over three turns), and of activations that the equivariant SAE reconstructs with it (squares), on held-out scenes, means over seeds."}, "image": {"alt": "One panel per base model with a circle and a square for each way to M. The order of the circles and that of the squares differ: least squares has the lowest circle, the shrunk matrices have the lowest squares."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(1, len(bases), figsize=(3.9 * len(bases), 3.2),
                             sharey=True, squeeze=False)
    for base, ax in zip(bases, axes[0], strict=True):
        for values, marker, label in ((clean, "o", "clean"), (in_use, "s", "in use")):
            left = [1 - np.mean(values[base, method]) for method in USED]
            ax.plot(range(len(USED)), np.maximum(left, 1e-7), marker, label=label)
        ax.set(title=base.upper(), yscale="log")
        ax.set_xticks(range(len(USED)), USED, rotation=30, ha="right")
    axes[0, 0].set_ylabel("unexplained")
    axes[0, 0].legend()
    report.figure("in_use", fig)

# %% [markdown]
# The order on clean activations is not the order in use. On the MLP Adam's $M$, far behind on clean activations, is no
# worse in use than least squares. Adam begins at the identity and has not got to the faint directions, which is a way
# to shrink, too. And what does $M^4 = I$ cost in use? Projecting Adam's $M$ costs some hundredths, making least squares
# exact less than one on the MLP and nothing on the CNN. With a ridge chosen for the task, the closed form is the best
# of all, and the exact one is as good to a few thousandths. So *exactly and cheaply* holds, of a matrix that was shrunk
# for its use.

# %% [markdown]
# ## Open question: a second generator
#
# The paper's $M$ is one matrix, for groups with one {term}`generator`. A dihedral group has two: $M_r$ for the turn,
# $M_s$ for the mirror, with the relations $r^4 = s^2 = (sr)^2 = e$ (the last is $rs = sr^{-1}$ of
# {doc}`chapter 1 <01_groups>`). All shapes of the scenes are mirror images of themselves, after a turn if need be, so
# scenes can be mirrored too. The base models were trained on turned images and not on mirrored ones.

# %%
mirrored = SceneRun(profile, seed=seed, group=dihedral(4))
pairs = {}
print("base   method            R² about the mean: turns   mirrors   "
      "largest violation of a relation")
for base in bases:
    x = mirrored.activations(base, "held-out")
    for method in ("identity", "least squares", "exact", "procrustes"):
        M = mirrored.transform(base, method).cpu()
        values = r2(M, x, about="mean")
        pairs[base, method] = (float(values[1:4].mean()), float(values[4:].mean()),
                               M.relation_error())
        turns, mirrors, error = pairs[base, method]
        print(f"{base:5}  {method:16} {turns:25.4f} {mirrors:9.4f} {error:16.1e}")

# %% [markdown]
# Two generators are no harder than one: least squares explains mirrored activations as well as turned ones, and the
# closest representation of $D_4$ obeys all three relations. It had to be so where quadrants do not interact, for
# {prf:ref}`prop-additive` holds for any group that permutes the tokens.

# %% [markdown]
# ## Open question: a real network
#
# Scenes are simple, and the activations above are of whole images. In {doc}`02_orbits` and the chapters after it an
# activation belongs to one *point*, and turning moves the point along. Is one matrix still enough? Fit $M_r$ and $M_s$
# for the layer of this profile, and compare four predictions of $x[r^k]$ from $x[e]$, on held-out images: nothing
# changes ($I$); powers $M_r^k$, with $M_r$ learned by Adam or by least squares; and for every $k$ a ridge regression of
# its own, the {term}`linear reference` of {prf:ref}`def-ceiling`. {numref}`fig-linearity` shows them over the angle.

# %%
layer = Run(profile, seed=seed, images=images, weights=weights)
D = layer.group
n = D.order // 2 if D.name.startswith("D_") else D.order
held_out = torch.cat(list(layer.orbits("held-out").in_order()))
predictions = {"identity": TransformMatrix(D, held_out.shape[-1]),
               "powers of M, Adam": layer.transform("adam").cpu(),
               "powers of M, least squares": layer.transform("least squares").cpu()}
linearity = {name: r2(M, held_out, about="mean") for name, M in predictions.items()}
linearity["one map per angle"] = torch.as_tensor(layer.ceiling())
for name, values in linearity.items():
    mirrors = float(values[n:].mean()) if len(values) > n else float("nan")
    print(f"{name:27} R² about the mean: one step {float(values[1]):6.3f}   "
          f"half turn {float(values[n // 2]):6.3f}   mirrors {mirrors:6.3f}")

# %% mystnb={"figure": {"name": "fig-linearity", "caption": "How well the activation at a point predicts the one after a rotation, for the layer of this run's profile, on held-out images. One map per angle is the best that any linear prediction can do; powers of one matrix accumulate their errors."}, "image": {"alt": "Lines over the rotation angle from 0 to 360 degrees: the identity falls at once, powers of M fall with the angle, one map per angle stays high and nearly level."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6.6, 3.6))
    curves = {name: [float(v) for v in values[1:n]]
              for name, values in linearity.items()}
    angles = [f"{360 * p / n:g}°" if n <= 8 or p % 2 == 0 else "" for p in range(1, n)]
    figures.power_curves(curves, ax, labels=angles, ylabel="$R^2$ about the mean",
                         legend=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    lowest = min(min(c) for c in curves.values())
    ax.set(xlabel="rotation", ylim=(max(-1, lowest - 0.05), 1))
    report.figure("linearity", fig)

# %% [markdown]
# On single points linearity ends soon. One step is predicted by $M_r$ nearly as well as by a map of its own; after half
# a turn many such steps explain less than a direct map. Adam, which is trained on all powers at once, starts at the
# identity and has few steps here; on InceptionV1 it explains less than least squares after one step and more after half
# a turn, and both explain less than a direct map. The activation at a turned point is only partly a function of the one
# before, and a matrix for each *step* pays for that at every step. A crosscoder's blocks do not.

# %% [markdown]
# ## Exercises
#
# ```{exercise} A hundred quarter turns
# :label: ex-eigenvalues
#
# What do the eigenvalues of an $M$ with $M^4 = I$ look like? And those of the others? Say what becomes of $M^{100}$,
# then compute the largest modulus.
# ```
#
# ```{solution-start} ex-eigenvalues
# :class: dropdown
# ```

# %%
for method in ("adam", "least squares", "exact"):
    M = matrices[bases[0], method].cpu().M[0].detach()
    modulus = torch.linalg.eigvals(M).abs()
    smallest, largest = float(modulus.min()), float(modulus.max())
    print(f"{method:14} moduli {smallest:.3f} to {largest:.3f}, "
          f"a hundred times: {largest ** 100:.3g}")
    assert method != "exact" or abs(modulus - 1).max() < 0.05

# %% [markdown]
# If $Mv = \lambda v$, then $M^4 v = \lambda^4 v$, so $M^4 = I$ leaves only $\lambda = \pm 1, \pm i$, all of modulus 1.
# Without the relation nothing holds a modulus at 1. A direction with a smaller one dies out under powers, and one with
# a larger one grows without end.
#
# ```{solution-end}
# ```
#
# ```{exercise} The half turn by itself
# :label: ex-half-turn
#
# On a layer's points one map per angle beats powers of $M$. Is it so for scenes too?
# Fit a matrix to the half turn alone, and compare it with $M^2$.
# ```
#
# ```{solution-start} ex-half-turn
# :class: dropdown
# ```

# %%
for base in bases:
    train, x = (study.activations(base, part)[:, [0, 2]]
                for part in ("train", "held-out"))
    own = least_squares([train], cyclic(2))
    quarter = matrices[base, "least squares"].cpu().M[0].detach()
    left = (x[:, 0] @ quarter.T @ quarter.T - x[:, 1]).square().sum()
    squared = float(1 - left / (x[:, 1] - x[:, 1].mean(0)).square().sum())
    alone = float(r2(own, x, about="mean")[1])
    print(f"{base}: R² about the mean of the half turn, M squared {squared:.4f}, "
          f"a matrix of its own {alone:.4f}")
    assert profile == "smoke" or alone - squared < 0.01

# %% [markdown]
# There is nothing to gain. The activations of a scene are, nearly, a linear function of those of the same scene turned
# ({prf:ref}`prop-additive`), so one good step can be repeated. On the layer a step loses something that no later
# step can bring back.
#
# ```{solution-end}
# ```

# %% tags=["remove-input"]
record(report, relation_rows(far, relation_errors, pairs, in_use)
       | layer_rows(linearity, n // 2))
_ = report.save()

# %% [markdown]
# ## Summary
#
# - $M^4 = I$ can be had exactly ({prf:ref}`prop-exact`). Then powers stay right for ever. On clean activations it costs
#   next to nothing.
# - In use, on reconstructions, the order of methods changes: on the MLP plain least squares loses its lead. A ridge
#   chosen on training scenes mends that, and then the exact $M$ is as good.
# - Where the predictions are right, the relation holds by itself; elsewhere it need not ({prf:ref}`prop-order`).
# - Two generators with their relations are fitted as well as one.
# - On single points of InceptionV1 (reference run), powers of one matrix fall behind a map fitted for each angle.

# %% [markdown]
# ## Limits
#
# Scenes are small and their quadrants hardly interact ({prf:ref}`prop-additive`), which makes relations cheap.
# The layer is one layer of one network, and Adam's $M$ had 300 steps there.

# %% [markdown]
# ## What next
#
# {doc}`14_answer_key` sets the equivariant SAE beside all other methods, on data whose true features are known.

# %% [markdown]
# ## The reference run

# %% tags=["hide-input"]
display(Markdown(report.compare(digits=4)))

# %% [markdown]
# This chapter's {term}`reference run` is the same code at the settings of the profile `inception`, with base models and
# $M$ trained longer, and a layer of InceptionV1. {numref}`fig-linearity-inception` is the counterpart of
# {numref}`fig-linearity`.
#
# ```{figure} ../book/reference/13_relations/linearity.png
# :alt: Lines over the rotation angle for InceptionV1, one per way of predicting the turned activation.
# :name: fig-linearity-inception
#
# InceptionV1 (BVLC weights), mixed3b, reference run: how well the activation at a point predicts the one after a
# rotation, as in {numref}`fig-linearity`.
# ```
