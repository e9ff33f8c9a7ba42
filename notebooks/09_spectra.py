# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Spectra and equivariance
#
# **On {term}`InceptionV1`** features of the trained network turn along with the image less well than those of random
# weights ({numref}`fig-equivariance-inception`). Equivariance is no sign of training. This chapter measures it, and
# splits every feature into waves.
#
# ```{figure} ../book/reference/09_spectra/equivariance.png
# :alt: Histograms of the equivariance score. Shuffled blocks lie near zero, trained features to the left of untrained ones.
# :name: fig-equivariance-inception
#
# InceptionV1, mixed3b, reference run: centred equivariance score of features, for the trained network, its controls,
# shuffled blocks, and drawn shapes (medians, lines).
# ```
#
# **You will learn**
#
# - how the information of a profile looks as a spectrum over frequencies, without a threshold,
# - how to measure how far the network itself is equivariant, and that this is another matter,
# - how the symmetries that a sparse autoencoder finds compare with those of the crosscoder,
# - in the appendix: which laws hold for all of these numbers, and how they are computed fast.
#
# **You need** the stabilisers of {doc}`07_symmetry`, the profile $c(h)$ and the block heatmap from {doc}`04_heatmaps`,
# and sparse autoencoders from {doc}`03_training`. Irreps are explained as they come up.
#
# **Run time** under a minute on one CPU core when {doc}`chapter 5 <05_families>` has been run, a few minutes
# otherwise.
#
# **Look up** symbols in {doc}`../book/notation`, words in the {doc}`../book/glossary`. The first use of a word leads
# there.
#
# ```{admonition} The short way
# :class: tip
#
# Later chapters need *The spectrum*: ten minutes. For $D_n$ the type of an irrep is always 1; skip that word. The
# appendix says what stays the same when a feature is moved, and how fast all this can be computed.
# ```

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
profile = "book"  # smoke, book, inception or paper
seed = 0
images = None  # folder of photographs; None: the profile's own images
weights = None  # weights file of the profile's model; None: the usual place

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import HTML, Markdown, display

from groupcc_lite import figures
from groupcc_lite.answers import drawing, drawn_features
from groupcc_lite.base import interval_of, percentile_interval
from groupcc_lite.groups import dihedral, representatives
from groupcc_lite.runs import Run, mean_spread
from groupcc_lite.stimuli import SHAPE_NAMES, SHAPES
from groupcc_lite.symmetry import (
    TAU,
    act,
    block_cosines,
    centre_activations,
    confirmed_census,
    equivariance_score,
    irrep_power,
    living_dictionary,
    max_cosine,
    normalised,
    profile_stabilisers,
    self_similarity,
    stabilisers,
    surrogate,
)

# %%
run = Run(profile, seed=seed, images=images, weights=weights)
report = run.report("09_spectra")
G, A, model = run.group, run.action, run.model
n = G.order // 2  # rotations; element n + k is s r^k
HALF = n // 2  # half a turn, as a number of elements
assert n % 2 == 0
generator = torch.Generator().manual_seed(seed)
print(run, "- threshold", TAU)

# %% [markdown]
# ## What we start from
#
# Except for those of the SAE, all features of this chapter come from {doc}`07_symmetry`. First the living features of
# the trained {term}`crosscoder`, each with its {term}`self-similarity profile` and its {term}`stabiliser`
# ({prf:ref}`def-stabiliser`): the census of {numref}`fig-census`.

# %%
def living(coder):
    return living_dictionary(coder, run.evaluate(coder).frequency)[0]


D = living(run.coder())
c, found = self_similarity(D, G), stabilisers(D, G)
label = np.array([s.subgroup.label for s in found])
kinds = list(dict.fromkeys(H.label for H in representatives(G.subgroups())))
print(f"{len(D)} living features, {(label != 'none').sum()} with a symmetry")

# %% [markdown]
# Then features whose symmetry is known: fourteen drawn shapes, through exactly equivariant filters and through the
# network. And two controls for spectra and scores: random vectors, and the learned features after shuffling the blocks
# of each. (As a null for symmetries shuffled blocks are too easy: {doc}`07_symmetry` says why, and has a better one.)

# %%
drawn = drawn_features(A, model.input_size)
seen = torch.stack([centre_activations(model, drawing(shape, A, model.input_size))
                    for shape in SHAPES])
seen = seen - seen.mean((0, 1))
noise = torch.randn(500, G.order, D.shape[-1], generator=generator)
order = torch.rand(len(D), G.order, generator=generator).argsort(1)
shuffled = D[torch.arange(len(D))[:, None], order]
for name, vectors in (("drawn, filters", drawn), ("drawn, network", seen),
                      ("random", noise), ("shuffled", shuffled)):
    symmetric = sum(s.subgroup.order > 1 for s in stabilisers(vectors, G))
    print(f"{name:>15}: {symmetric} of {len(vectors)} have a symmetry")

# %% [markdown]
# ## The spectrum
#
# A stabiliser is all or nothing. A feature that comes back *nearly* after half a turn deserves a number. Here it is:
# a {term}`dictionary vector` is a function on the group, and functions on a group are sums of waves. For the rotations
# alone that is the Fourier series over the angle; for any finite group the waves are its **irreps**.
#
# ```{prf:definition} Irrep power and spectrum
# :label: def-irrep-power
#
# Let $\rho$ be an {term}`irrep` of $G$ by real orthogonal matrices, with dimension $d$ and type $e$, which is 1, 2 or 4
# for irreps of real, complex and quaternionic type. The **part** of a dictionary vector $F$ that belongs to $\rho$ is
#
# $$ F_\rho = \frac{d}{e\,\lvert G\rvert} \sum_{h \in G} \operatorname{tr} \rho(h)\; (h \cdot F) . $$ (eq-part)
#
# The **{term}`irrep power`** is its share of the squared length, $p_\rho = \lVert F_\rho\rVert^2 / \lVert F\rVert^2$.
# All shares together are the **spectrum** of $F$.
# ```
#
# The maps $F \mapsto F_\rho$ are orthogonal projections on subspaces that are orthogonal to each other and together are
# everything. So the shares add up to 1. `irrep_power` computes them.

# %%
for irrep in G.irreps():
    frequency = "" if irrep.frequency is None else f"frequency {irrep.frequency}"
    print(f"{irrep.name:>3}  {frequency:<12}  {irrep.dim}-dimensional  {irrep.meaning}")
P = irrep_power(D, G)
assert torch.allclose(P.sum(1), torch.ones(len(P)), atol=1e-5)  # Parseval
assert P.min() > -1e-6

# %% [markdown]
# What do the frequencies mean? A part of frequency $k$ changes by $k$ full periods while the image turns once. So
#
# - the trivial irrep holds what never changes, and an *invariant* feature has all its power there;
# - half a turn multiplies a part of frequency $k$ by $(-1)^k$, so a *line* has **even frequencies only**;
# - a quarter turn leaves multiples of four, so a *cross* has 0, 4, 8, ...;
# - a curve has one mirror and no rotation. It may use every frequency, but not A2, which changes sign with all
#   mirrors.
#
# Profile and spectrum are two views of one thing:
#
# ```{prf:proposition} The spectrum is a transform of the profile
# :label: prop-spectrum
#
# The power of a dictionary vector in the irrep $\rho$ of dimension $d$ and type $e$ is
#
# $$ p_\rho = \frac{d}{e\,\lvert G\rvert} \sum_{h \in G} \operatorname{tr} \rho(h)\; c(h) . $$ (eq-spectrum)
#
# In particular, the trivial share is the mean of $c$, and the shares of odd frequencies add up to
# $\tfrac12 (1 - c(\text{half turn}))$.
# ```
#
# *Because* $F \mapsto F_\rho$ is an orthogonal projection, so that $\lVert F_\rho\rVert^2 = \langle F, F_\rho\rangle$;
# put {eq}`eq-part` in and divide by $\lVert F\rVert^2$. For the trivial irrep all traces are 1. The last statement is
# the same for $F \mapsto \tfrac12 (F - h \cdot F)$ with $h$ half a turn, the projection on what half a turn reverses.

# %%
def spectrum_from_profile(c, group):
    """p(rho) = d / (e |G|) sum over h of tr rho(h) c(h), for every irrep."""
    waves = [irrep.dim / (irrep.kind * group.order) * irrep.character
             for irrep in group.irreps()]
    return c @ torch.as_tensor(np.stack(waves, axis=1)).float()


odd = torch.tensor([irrep.frequency % 2 == 1 for irrep in G.irreps()])
assert torch.allclose(spectrum_from_profile(c, G), P, atol=1e-4)
assert torch.allclose(P[:, 0], c.mean(1), atol=1e-4)
assert torch.allclose(P[:, odd].sum(1), (1 - c[:, HALF]) / 2, atol=1e-4)

# %% [markdown]
# {numref}`fig-spectrum` has the averages over the layer, and over the features of each kind.

# %% mystnb={"figure": {"name": "fig-spectrum", "caption": "Mean power over the irreps for all living features and for kinds of features, by their stabilisers. A: constant over rotations, E and B: rising frequency. A half turn in the stabiliser leaves few odd frequencies (orange), and none if it is exact. Numbers in brackets: features of the kind."}, "image": {"alt": "Bar charts one below the other, one bar per irrep. The first bar is the tallest in most; orange bars are shorter for the kinds with a half turn."}} tags=["hide-input"]
has_half = np.array([HALF in s.subgroup.elements for s in found])
groups = {"all features": np.ones(len(D), bool), "no symmetry": label == "none",
          "one mirror": label == "one mirror",
          "half turn, not all": has_half & (label != "all"),
          "invariant: all": label == "all"}
spectra = {name: P[torch.as_tensor(among)].mean(0) for name, among in groups.items()
           if among.any()}
with figures.house_style():
    fig, axes = plt.subplots(len(spectra), 1, figsize=(6, 1.0 + 1.25 * len(spectra)),
                             sharex=True, squeeze=False)
    for ax, (name, spectrum) in zip(axes.flat, spectra.items(), strict=True):
        figures.irrep_bars(spectrum, G, ax, legend=False)
        ax.set(ylim=(0, 1), yticks=(0, 0.5, 1))
        ax.set_title(f"{name} ({int(groups[name].sum())})", fontsize=11, pad=4)
    report.figure("spectrum", fig)

# %% tags=["hide-input"]
for irrep, value in zip(G.irreps(), P.mean(0).tolist(), strict=True):
    report.number(f"power_{irrep.name}", value, note=f"mean power in {irrep.name}")
_ = report.number("power_odd", float(P[:, odd].sum(1).mean()),
                  note="mean power at odd frequencies")

# %%
if has_half.any():
    line_odd = P[torch.as_tensor(has_half)][:, odd].sum(1)
    report.number("line_odd", float(line_odd.mean()),
                  note="the same for features with a half turn")
    left = 1 - P[torch.as_tensor(has_half), 0]  # power that is not trivial
    invariant = torch.as_tensor(label[has_half] == "all")
    # by the last part of the proposition, for what is left without the trivial part
    assert (line_odd <= left * (1 - TAU) / 2 + 1e-4)[~invariant].all()

# %% [markdown]
# And *only* even, for a line that has its half turn exactly: the drawn one.

# %%
P_drawn = irrep_power(drawn, G)
for name in ("line", "grating", "cross", "curve", "blob"):
    print(f"{name:>8}: odd frequencies "
          f"{P_drawn[SHAPE_NAMES.index(name), odd].sum():.4f}, "
          f"trivial {P_drawn[SHAPE_NAMES.index(name), 0]:.3f}")
for shape, row in zip(SHAPES, P_drawn, strict=True):
    # what repeats after half a turn is even
    assert (shape.fold == 1) == bool(row[odd].sum() > 0.01)
    assert row[1] < 0.01  # and every shape has a mirror

# %% [markdown]
# ## How equivariant is the network?
#
# All of this reads a feature's *own* symmetry. Another matter is whether the network treats all orientations alike:
# whether turning the image acts on the activations as one fixed orthogonal map. If so, the {term}`block heatmap`
# $B[g, h]$ depends on $g^{-1}h$ only ({prf:ref}`prop-stripes`). {doc}`Chapter 4 <04_heatmaps>`
# measured by hand how far that holds.
#
# ```{prf:definition} Equivariance score
# :label: def-equivariance-score
#
# Let $\bar B(k)$ be the mean of $B[g, gk]$ over all $g \in G$, and $\mu$ the mean of $B[g, h]$ over all $g \ne h$.
# The **{term}`equivariance score`** of a dictionary vector is
#
# $$ 1 - \frac{\sum_{g \ne h} \bigl( B[g, h] - \bar B(g^{-1}h) \bigr)^2}
# {\sum_{g \ne h} \bigl( B[g, h] - \mu \bigr)^2} , $$ (eq-equivariance-score)
#
# the share of the variance of $B$ off the diagonal that a function of $g^{-1}h$ explains.
# ```
#
# A feature whose blocks all share a large part has a high score whatever the rest does, since $B$ then has little
# variance that is not the diagonal's. So there is a **centred** version too: the same after the mean block has been
# taken out of every block, as for the centred profile ({prf:ref}`def-centred`). Where $B$ hardly varies, as for a disc,
# there is nothing to explain, and we leave it out.
#
# What is a high score? We compare with drawn shapes, with shuffled blocks, and with what no training has touched:
# crosscoders of the same architecture with random weights, and of patches of pixels, which an image's turn moves
# exactly ({numref}`fig-equivariance-scores`).

# %%
def varying_score(vectors):
    varies = block_cosines(vectors).flatten(1).var(1) > 1e-3
    return equivariance_score(vectors[varies], G)


def without_mean(vectors):
    rest = vectors - vectors.mean(1, keepdim=True)
    return rest[rest.flatten(1).norm(dim=1) > 1e-3 * vectors.flatten(1).norm(dim=1)]


controls = {name: run.control(name) for name in ("trained", "untrained", "patches")}
own = {name: living_dictionary(of.coder(), of.evaluate(of.coder()).frequency)[0]
       for name, of in controls.items()}
vectors_of = {"learned features": D, "drawn, filters": drawn, "drawn, network": seen,
              "shuffled blocks": shuffled} | own
scores = {name: varying_score(vectors) for name, vectors in vectors_of.items()}
centred_scores = {name: varying_score(without_mean(vectors))
                  for name, vectors in vectors_of.items()}

# %%
rows = ["| equivariance score, median | as it is | centred | features |",
        "|---|---|---|---|"]
for name, values in scores.items():
    key, rest = name.replace(", ", "_").replace(" ", "_"), centred_scores[name]
    for kind, of in (("score", values), ("score_centred", rest)):
        report.number(f"{kind}_{key}", float(of.median()), n=len(of),
                      interval=percentile_interval(of.numpy()),
                      over="features: where 95 % of them lie",
                      note=f"equivariance score{', centred' * (of is rest)}, {name}, "
                           "median")
    cells = f"{values.median():.2f} | {rest.median():.2f} | {len(values)}"
    rows.append(f"| {name} | {cells} |")
display(Markdown("\n".join(rows)))
assert scores["drawn, filters"].min() > 0.9
assert scores["shuffled blocks"].median() < scores["learned features"].median()

# %% mystnb={"figure": {"name": "fig-equivariance-scores", "caption": "Equivariance score, centred, of living features: trained network, the same with random weights, patches of pixels, and the learned features after shuffling their blocks. Vertical lines: medians for drawn shapes through the network (dashed) and through the exactly equivariant filters (dotted)."}, "image": {"alt": "Histograms of scores: shuffled blocks far to the left, pixels far to the right, trained and untrained between them."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 3.6))
    for name in ("trained", "untrained", "patches", "shuffled blocks"):
        ax.hist(centred_scores[name], bins=np.linspace(0, 1, 41), histtype="step",
                linewidth=1.6, label=name)
    for name, style in (("drawn, network", "--"), ("drawn, filters", ":")):
        ax.axvline(centred_scores[name].median(), color="0.25", linestyle=style,
                   linewidth=1.6, label=name)
    ax.set(xlabel="equivariance score, centred", ylabel="features", xlim=(0, 1.01))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    report.figure("equivariance", fig)

# %% [markdown]
# The score is no measure of what was learned. In the book's run patches of pixels have as high a median as the trained
# network, and random weights follow; only shuffled blocks are far away. Centring raises all three medians. It narrows
# the lead over random weights too, since an untrained network's features have more of an invariant part and less else;
# with one network of each kind, how much of the rest is due to training stays open. Single features tell more: those of
# pixels and of random weights scatter widely, those of the trained network do not. On InceptionV1 random weights are
# ahead of both.

# %% [markdown]
# ## The same for an SAE
#
# An ordinary {term}`sparse autoencoder <sparse autoencoder (SAE)>` has seen no transformed image, so it has no blocks
# to read. But it can be given {term}`fitted blocks` afterwards: the best linear map from its {term}`latents <latent>`
# to the whole orbit that each sample came from (`run.fitted`; {doc}`14_answer_key` tests on known answers that this
# works). Then the census of {doc}`07_symmetry` and everything above apply. Here and in {numref}`fig-census-sae` are
# crosscoder and SAE side by side, with the mean over seeds and the standard deviation. The census is that of centred
# profiles, and beside each count of symmetric features stand its surrogate and what the encoder confirms.

# %%
held_out = run.orbits("held-out")


def census_of(coder, start):
    z = confirmed_census(coder, run.evaluate(coder).frequency, held_out, seed=start)
    W, labels = coder.dictionary.detach().cpu()[z.features], z.labels
    null = profile_stabilisers(surrogate(z.decoder, G, seed=start), G)
    power = irrep_power(W, G).mean(0)
    names, nulls = ([s.subgroup.label for s in of] for of in (labels, null))
    return ({name: names.count(name) / len(W) for name in kinds}
            | {f"surrogate: {name}": nulls.count(name) / len(W)
               for name in ("one mirror", "C2 x C2") if name in kinds}
            | {"confirmed by the encoder": z.witness.count / len(W),
               "confirmed by chance": z.witness.by_chance / len(W),
               "supported": int(z.supported_partly.sum()) / len(W),
               "half turn missing: odd power": float(power[odd].sum()),
               "power in the trivial irrep": float(power[0]),
               "equivariance score, median": float(varying_score(W).median()),
               "living features": len(W)})


starts = range(seed, seed + run.profile.seeds)
compared = {"crosscoder": [census_of(run.coder(seed=k), k) for k in starts],
            "SAE, blocks fitted": [census_of(run.fitted(seed=k), k) for k in starts]}

# %% tags=["hide-input"]
rows = ["| share of living features | " + " | ".join(compared) + " |", "|---|---|---|"]
for key in compared["crosscoder"][0]:
    cells = []
    for name, of_seeds in compared.items():
        values = [of_seed[key] for of_seed in of_seeds]
        word = key.replace("surrogate: ", "surrogate ") if "surrogate" in key else key
        measured = word.split(":")[0].split(",")[0].lower().replace(" ", "_")
        report.number(f"{'sae' if 'SAE' in name else 'cc'}_{measured}",
                      float(np.mean(values)), n=len(values),
                      interval=interval_of(values), over=f"{len(values)} seeds",
                      note=f"{name}, {key}, mean over seeds")
        cells.append(mean_spread(values, 0 if key == "living features" else 3))
    rows.append(f"| {key} | " + " | ".join(cells) + " |")
display(Markdown("\n".join(rows)))

# %% mystnb={"figure": {"name": "fig-census-sae", "caption": "The census of the crosscoder and of an SAE with fitted blocks: share of living features with each label. Means over seeds, whiskers are standard deviations."}, "image": {"alt": "Grouped horizontal bars, two for each kind of symmetry, one for the crosscoder and one for the SAE."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 1.2 + 0.42 * len(kinds)))
    for offset, (name, of_seeds) in zip((-0.2, 0.2), compared.items(), strict=True):
        values = np.array([[of_seed[key] for key in kinds] for of_seed in of_seeds])
        spread = values.std(0, ddof=1) if len(values) > 1 else np.zeros(len(kinds))
        ax.barh(np.arange(len(kinds)) + offset, values.mean(0), 0.36, xerr=spread,
                label=name)
    ax.set(yticks=range(len(kinds)), yticklabels=kinds,
           xlabel="share of living features")
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    report.figure("census_sae", fig)

# %% [markdown]
# On the built-in network the SAE has fewer mirrors than the crosscoder, also with centred profiles, where an invariant
# part cannot be the reason. Half or more of the mirrors of either are in the surrogate too; what is left is 25 % of the
# crosscoder's features and 12 % of the SAE's. The clearer difference is in the column of the encoder: it bears out most
# labels of the crosscoder and well under half of the SAE's. By the strictest count, *supported*, few features of either
# are left, and the intervals over seeds overlap. {doc}`14_answer_key` suggests why an SAE may have fewer: where single
# activations are noisy, training on whole orbits finds better directions, and errors look like a lack of symmetry.
#
# ### What turns leave alone
#
# One more reading of the spectrum: the power that no *rotation* changes, in A1 and A2 together. If training made
# features more invariant to turns, it would rise.

# %%
def fixed_by_turns(vectors):
    powers = irrep_power(vectors, G)
    flat = torch.tensor([irrep.name in ("A1", "A2", "A") for irrep in G.irreps()])
    return powers[:, flat].sum(1)


for name, vectors in own.items():
    fixed = fixed_by_turns(vectors)
    report.number(f"turn_power_{name}", float(fixed.mean()), n=len(fixed),
                  interval=interval_of(fixed.tolist()), over="features",
                  note=f"power that turns leave alone, {name}")
    print(f"{name:>9}: power that turns leave alone {fixed.mean():.3f}")

# %% [markdown]
# It does not: on the built-in network random weights leave more power alone than trained ones, and raw patches about as
# much. Against random weights, training made these features *change* with turns. On InceptionV1 random
# weights leave a little more alone than trained ones, and patches less.

# %% [markdown]
# ## Exercises
#
# ```{exercise} The spectrum of a cross
# :label: ex-cross-spectrum
#
# Which irreps may a feature use that comes back after every quarter turn? Predict, then check with the drawn cross.
# ```
#
# ```{solution-start} ex-cross-spectrum
# :class: dropdown
# ```

# %%
multiples = torch.tensor([irrep.frequency % 4 == 0 for irrep in G.irreps()])
cross = P_drawn[SHAPE_NAMES.index("cross")]
print({irrep.name: round(p, 3)
       for irrep, p in zip(G.irreps(), cross.tolist(), strict=True)})
assert n % 4 or cross[~multiples].sum() < 1e-4

# %% [markdown]
# A quarter turn multiplies frequency $k$ by $i^k$, so only multiples of four stay. The cross also has a mirror, so it
# has no power in A2.
#
# ```{solution-end}
# ```
#
# ```{exercise} The spectrum of noise
# :label: ex-noise-spectrum
#
# The blocks of a random vector have nothing to do with each other. Which spectrum does it have on average? Predict it
# from {eq}`eq-spectrum`, then check it with `noise`.
# ```
#
# ```{solution-start} ex-noise-spectrum
# :class: dropdown
# ```

# %%
expected = torch.tensor([irrep.dim**2 / (irrep.kind * G.order) for irrep in G.irreps()])
measured = irrep_power(noise, G).mean(0)
for irrep, wanted, power in zip(G.irreps(), expected, measured, strict=True):
    print(f"{irrep.name:>3}  predicted {wanted:.3f}, measured {power:.3f}")
assert torch.allclose(measured, expected, atol=0.01) and abs(expected.sum() - 1) < 1e-6

# %% [markdown]
# For unrelated blocks $c(h)$ is about 0 unless $h = e$. What is left of {eq}`eq-spectrum` is the term of $e$, where the
# trace is $d$: $p_\rho = d^2 / (e \lvert G\rvert)$. So a large irrep gets much power for being large. A spectrum says
# something where it differs from this one: a trivial share far above $1 / \lvert G\rvert$, for instance.
#
# ```{solution-end}
# ```

# %% [markdown]
# ## Summary
#
# - Power over irreps ({prf:ref}`def-irrep-power`) is a view without a threshold, and a transform of the profile
#   ({prf:ref}`prop-spectrum`). Odd frequencies measure the missing half turn, exactly.
# - How far the network itself is equivariant is another number, the equivariance score
#   ({prf:ref}`def-equivariance-score`); random weights and pixels are its null.
# - An SAE with blocks fitted afterwards has a census as well, and it can be set beside the crosscoder's.
# - Moving a feature along the group conjugates its stabiliser and leaves spectrum and score alone
#   ({prf:ref}`prop-laws`).

# %% [markdown]
# ## Limits
#
# As in {doc}`07_symmetry`, all of this reads the dictionary vector, which is what a feature *writes*. Errors in its
# blocks add power everywhere, also at frequencies that the feature does not have. The blocks of the SAE come from a
# fit: what they show depends on the fit as well as on the SAE.

# %% [markdown]
# ## What next
#
# Rotations and mirrors were an example. {doc}`10_any_group` takes the same functions to other groups, and to colours.

# %% [markdown]
# ## Appendix: laws, and how fast
#
# Stabilisers, spectra and scores are computed for hundreds of features, so they should be tested on more than
# examples.
#
# ```{prf:proposition} What moving a feature does
# :label: prop-laws
#
# For every dictionary vector $F$, every group $G$ and every $h \in G$:
#
# 1. $c_{h \cdot F}(k) = c_F(h^{-1}kh)$ for all $k \in G$, and $c_F(k) = c_F(k^{-1})$.
# 2. If $F$ has the stabiliser $H$ ({prf:ref}`def-stabiliser`), and no other subgroup of that size has the same smallest
#    cosine, then $h \cdot F$ has the stabiliser $hHh^{-1}$, with the same margin.
# 3. $F$ and $h \cdot F$ have the same spectrum, the same equivariance score, and the same similarity to any other
#    dictionary vector ({prf:ref}`def-similarity`).
# ```
#
# *Because* the block action keeps lengths and inner products. So
# $\cos(h \cdot F, kh \cdot F) = \cos(F, h^{-1}kh \cdot F)$, and $\cos(F, k \cdot F) = \cos(k^{-1} \cdot F, F)$. That is
# the first statement. The others follow from it. Subgroups of $h \cdot F$ that pass are those of $F$, conjugated.
# Traces of $\rho$ do not change under conjugation, so neither does {eq}`eq-spectrum`. The block heatmap of
# $h \cdot F$ has the value $B[gh, g'h]$ at $(g, g')$, and pairs with the same $g^{-1}g'$ stay together. And a maximum
# over the whole group does not mind another element in front.
#
# So all of this can be checked live, on learned features of all kinds.

# %%
def check_laws(vectors, h):
    moved = act(vectors, G, h)
    for s, t in zip(stabilisers(vectors, G), stabilisers(moved, G), strict=True):
        conjugate = sorted(int(G.table[G.table[h, g], G.inverse[h]])
                           for g in s.subgroup.elements)
        assert t.subgroup.elements == tuple(conjugate)
        assert t.subgroup.conjugacy_class == s.subgroup.conjugacy_class
        assert abs(t.margin - s.margin) < 1e-4
    assert torch.allclose(irrep_power(moved, G), irrep_power(vectors, G), atol=1e-5)
    assert torch.allclose(equivariance_score(moved, G), equivariance_score(vectors, G),
                          atol=1e-4)
    similarity = max_cosine(torch.cat([vectors, moved]),
                            G)[:len(vectors), len(vectors):]
    assert torch.allclose(similarity, max_cosine(vectors, G), atol=1e-4)

# %%
for h in range(G.order):
    check_laws(D[:40], h)
    # any subset of the responses is as good an example
    check_laws(drawn[:, :, ::23], h)
S = max_cosine(D, G)
assert torch.allclose(c, c[:, G.inverse], atol=1e-5) and torch.equal(S, S.T)
print(f"all laws hold for {len(D[:40])} learned and {len(drawn)} drawn features under "
      f"{G.order} elements")

# %% [markdown]
# ### Fast
#
# The largest cosine over the group takes $\lvert G\rvert$ matrix products the direct way. By the group Fourier
# transform a correlation becomes a product of small matrices, one for each irrep. Both ways side by side, for
# $D_{16}$ and this layer's number of channels:

# %%
def direct(D, group):
    F = normalised(D)
    best = F.flatten(1) @ F.flatten(1).T
    for h in range(1, group.order):
        torch.maximum(best, F.flatten(1) @ act(F, group, h).flatten(1).T, out=best)
    return best

# %%
large = torch.randn(128 if profile == "smoke"
                    else 512, 32, D.shape[-1], generator=generator)
seconds = {}
for way in (max_cosine, direct):
    way(large[:32], dihedral(16))  # the first call prepares irreps and threads
    began = time.perf_counter()
    found_by = way(large, dihedral(16))
    seconds[way], seconds[way, "S"] = time.perf_counter() - began, found_by
assert torch.allclose(seconds[max_cosine, "S"], seconds[direct, "S"], atol=1e-5)
ratio = report.number("speed", seconds[direct] / seconds[max_cosine],
                      note="max_cosine, direct way / Fourier, D_16")
print(f"{len(large)} features: direct {seconds[direct]:.2f} s, Fourier "
      f"{seconds[max_cosine]:.2f} s, ratio {ratio:.1f}")

# %% [markdown]
# ## On InceptionV1
#
# The same cells, run with `profile="inception"`, gave the right-hand column, as in {doc}`07_symmetry`.
# The census below and {numref}`fig-spectrum-inception` are the counterparts of the figures above.

# %% tags=["hide-input"]
report.save()
display(Markdown(report.compare(
    "power_A1", "power_A2", "power_E1", "power_E2", "power_odd", "line_odd",
    "score_learned_features", "score_drawn_network", "score_shuffled_blocks",
    "score_trained", "score_untrained", "score_patches", "score_centred_trained",
    "score_centred_untrained", "score_centred_patches", "turn_power_trained",
    "turn_power_untrained", "turn_power_patches", "speed")))

# %% tags=["hide-input"]
more = [key for key in report.comparable()
        if key.startswith(("power_", "score_", "cc_", "sae_"))]
display(Markdown(report.compare(*more)))

# %% tags=["hide-input"]
display(Markdown(report.compare(*(f"{coder}_{key}" for key in (
    "none", "one_mirror", "surrogate_one_mirror", "c2_x_c2", "surrogate_c2_x_c2", "all",
    "confirmed_by_the_encoder", "confirmed_by_chance", "supported",
    "power_in_the_trivial_irrep", "equivariance_score") for coder in ("cc", "sae")))))

# %% [markdown]
# ```{figure} ../book/reference/09_spectra/spectrum.png
# :alt: Bar charts of mean power over irreps for all InceptionV1 features and for four kinds of features.
# :name: fig-spectrum-inception
#
# InceptionV1, reference run: spectra, as in {numref}`fig-spectrum`.
# ```

# %% tags=["hide-input"]
display(HTML(figures.published(
    "09_spectra", "census_sae",
    caption="InceptionV1, reference run, three seeds: the census of crosscoder and "
            "SAE.",
    alt="Grouped bars for each kind of symmetry, crosscoder and SAE with fitted "
        "blocks;")))

# %% [markdown]
# Counts of both coders mean something beside their surrogates and beside what the encoder confirms. An invariant part
# lifts a profile, and an SAE's is another than a crosscoder's; centring takes that away. On InceptionV1 the SAE still
# has fewer mirrors than the crosscoder, and fewer beyond its surrogate. But there the encoder bears out as large a
# share of the SAE's labels as of the crosscoder's, of which chance would give more.
