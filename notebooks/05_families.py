# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Feature families
#
# **On {term}`InceptionV1`** close relatives are rare: fewer than a tenth of the features have another one that is like
# them, at a cosine of one half, once it is moved; of raw data points two fifths do. Are features at least near others
# that like the same drawing ({numref}`fig-scores-inception`)? Those of a group crosscoder more than those of a sparse
# autoencoder as they come. Once both are compared by the same responses, the difference is within the intervals, and
# data points and centres of clusters, which nobody trained to be features, do better than either.
#
# ```{figure} ../book/reference/05_families/scores.png
# :alt: Dots for eight kinds of features and three ways to compare them. K-means and data points lie furthest to the right, random directions at zero.
# :name: fig-scores-inception
#
# InceptionV1, mixed3b, reference run: how often a feature's nearest neighbours like the same drawing as it does,
# corrected for chance. One dot a seed.
# ```
#
# **You will learn**
#
# - how to compare features so that turned copies of each other count as the same, and how rare such relatives are,
# - why that comparison must be symmetric, and what the misprint in the paper does to a trained dictionary,
# - how to draw a map of all features and find clusters in it, and how far to believe either,
# - whether families are clearer than with a sparse autoencoder, and than with features that nobody trained,
# - whether the group element that maps one member onto another tells how it is turned: a test with its null.
#
# **You need** {doc}`01_groups` for the action and {doc}`04_heatmaps` for the self-similarity of one feature.
#
# **Run time** about three minutes on one CPU core, most of it for training coders with other seeds and settings.
#
# **Look up** symbols in {doc}`../book/notation`, words in the {doc}`../book/glossary`. The first use of a word leads
# there.
#
# ```{admonition} The short way
# :class: tip
#
# Later chapters need *The same feature, turned*, *How rare relatives are* and *Labels from drawings*: fifteen
# minutes. To compare with a sparse autoencoder, read on from *A map of all features* to *Features that nobody
# trained*: in this page's small network the crosscoder is ahead of the autoencoder, but not of features that nobody
# trained. {doc}`Chapter 14 <14_answer_key>` uses its words.
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
import math
import re
from collections import Counter
from itertools import islice

import matplotlib.pyplot as plt
import numpy as np
import torch
from einops import einsum
from IPython.display import HTML, Markdown, display

from groupcc_lite import coders, figures, symmetry
from groupcc_lite.answers import label_agreement, pose_errors, predicted_angles, redrawn
from groupcc_lite.base import interval_of, percentile_interval
from groupcc_lite.coders import NOBODY, moments, untrained_features
from groupcc_lite.orbits import TensorOrbits
from groupcc_lite.runs import Run, mean_spread
from groupcc_lite.stimuli import SHAPE_NAMES, SHAPES, draw
from groupcc_lite.symmetry import (
    act,
    max_cosine,
    nearest_relative,
    neighbour_purity,
    normalised,
    printed_similarity,
    unrelated,
)

run = Run(profile, seed=seed, images=images, weights=weights)
report = run.report("05_families")
G, n = run.group, run.group.order // 2
seeds = range(seed, seed + run.profile.seeds)
print(run)

# %% [markdown]
# ## The same feature, turned
#
# In early vision, {term}`features <feature>` come in {term}`families <family>`: a curve detector for this orientation,
# another for the next, and so on {cite:p}`olah2020equivariance`. To an ordinary similarity these are strangers. Two
# curves at right angles share hardly any {term}`activation`. But one is the other, turned, and a group
# {term}`crosscoder` knows how its features turn. So let one of the two be moved by all of the {term}`group`, and keep
# the best match {cite:p}`gorton2024group`. This is the {term}`similarity <similarity over the group>` $S_{ij}$ of
# {prf:ref}`def-similarity`. It is 1 if and only if $F_i$ is $h \cdot F_j$ for some $h$, up to its length.
#
# ```{prf:definition} Family
# :label: def-family
#
# Two features are **relatives**, by the element $h$, when $F_i \approx h \cdot F_j$, that is, when $S_{ij}$ is near 1
# and $h$ is where the maximum is reached. A **family** is a set of relatives.
# ```

# %%
found = run.family_map()
coder, features = found.coder, found.features
D = coder.dictionary.detach().cpu()[features]
S, element = max_cosine(D, G, elements=True)
plain = normalised(D).flatten(1) @ normalised(D).flatten(1).T

pairs = torch.triu_indices(len(D), len(D), 1)
# the best of all elements is not worse than doing nothing
assert (S - plain).min() > -1e-4
print(f"{len(D)} features, {pairs.shape[1]} pairs")
print(f"nearest by plain cosine:      {nearest_relative(plain).mean():.2f} on average")
print(f"nearest by cosine over group: {nearest_relative(S).mean():.2f} on average")

# %% mystnb={"figure": {"name": "fig-similarity", "caption": "Similarity of all pairs of features of the trained crosscoder, by plain cosine, by the largest cosine over the group, and by the latter for the same features without relatives. Taking the best of many lifts every pair, related or not; what counts is the tail on the right."}, "image": {"alt": "Three overlapping histograms on a logarithmic scale. Plain cosines are centred near zero, cosines over the group are shifted to the right and reach higher than those of unrelated features."}} tags=["hide-input"]
alone = max_cosine(unrelated(D, seed=seed), G)
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 3.4))
    for values, name in ((plain, "plain cosine"), (S, "largest over the group"),
                         (alone, "the same, no relatives")):
        ax.hist(values[*pairs], bins=np.linspace(-0.6, 1, 65), histtype="step", lw=2,
                label=name)
    ax.set(yscale="log", xlabel="similarity", ylabel="pairs")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    report.figure("similarity", fig)

# %% [markdown]
# ## How rare relatives are
#
# A family in the sense of {prf:ref}`def-family` needs similarities near 1. How many features have a relative at all?
# Two comparisons say what a share is worth:
#
# - **no relatives**: made-up features, each as symmetric and as large as a real one, but pointing elsewhere (random signs
#   in the principal components of the channels), so that none knows of another. This is a null: what it has is chance.
# - **data points**: as many orbit vectors of the layer, about their mean, taken as they are. This is no null for
#   relatives, for images do show the same edge twice, but whoever says that training found the families has to
#   beat it.

# %%
reading = islice(run.orbits("train").batches(1024), 8)
some = TensorOrbits(torch.cat([batch.float() for batch in reading]), G)
count = min(run.profile.latents, len(some))
k = run.profile.k or 32
nobody = {(kind, s): untrained_features(kind, some, count, k=k, seed=s)
          for kind in NOBODY for s in (seeds if kind != "channels" else seeds[:1])}

living = {s: run.family_map(seed=s) for s in seeds}
learned = [living[s].coder.dictionary.detach().cpu()[living[s].features] for s in seeds]
dictionaries = {
    "group crosscoder": learned,
    "data points": [nobody["data points", s].dictionary for s in seeds],
    "no relatives": [unrelated(F, seed=s) for s, F in zip(seeds, learned, strict=True)]}

# %%
rows = ["| | S ≥ 0.5 | S ≥ 0.7 | nearest, mean |", "|---|---|---|---|"]
suffix = dict(zip(dictionaries, ("", "_data_points", "_null"), strict=True))
for name, sets in dictionaries.items():
    nearest = [nearest_relative(max_cosine(F, G)) for F in sets]
    cells = []
    for level in (0.5, 0.7):
        shares = [float((each >= level).float().mean()) for each in nearest]
        report.number(f"relatives_{level * 10:02.0f}{suffix[name]}", np.mean(shares),
                      note=f"features with a relative of S ≥ {level}, {name}",
                      n=len(sets[0]), interval=interval_of(shares),
                      over=f"{len(seeds)} seeds")
        cells.append(mean_spread(shares, 3))
    cells.append(mean_spread(float(each.mean()) for each in nearest))
    rows.append(f"| {name} | " + " | ".join(cells) + " |")
display(Markdown("\n".join(rows)))

# %% [markdown]
# Relatives above chance are there: features that know nothing of each other have next to none. But near 1, where
# {prf:ref}`def-family` wants them, they are rare. In the book's run three quarters of the features have a relative with
# $S \ge 0.5$ and fewer than one in ten with $S \ge 0.7$, and raw data points have far more of both. What this chapter
# calls families are therefore loose ones, and it asks for clusters and nearest neighbours.

# %% [markdown]
# ## It has to be symmetric
#
# {term}`UMAP` wants a distance, and $1 - S_{ij}$ can only be one if $S_{ij} = S_{ji}$. It is, by
# {prf:ref}`prop-symmetric`, for one reason: with $h$ its inverse is in the group as well.
#
# An appendix of {doc}`chapter 1 <01_groups>` finds that the reflection printed in the paper, {eq}`eq-paper-reflection`, is
# none, so that the arrangements which it tries are not closed under inverses. How much does this matter for a
# trained {term}`dictionary`?

# %%
printed = printed_similarity(D, G)
assert (S - S.T).abs().max() < 1e-4
nobody_else = 2 * torch.eye(len(D))  # a feature is not its own neighbour
differ = (S - printed)[*pairs].abs()
changed = (S - nobody_else).argmax(1) != (printed - nobody_else).argmax(1)
for key, value, note in (
        ("erratum_asymmetry", (printed - printed.T).abs().max(),
         "largest gap between S_ij and S_ji as printed"),
        ("erratum_pairs", (differ > 0.1).float().mean(),
         "pairs whose similarity changes by more than 0.1"),
        ("erratum_largest", differ.max(), "largest change of a pair's similarity"),
        ("erratum_neighbours", changed.float().mean(),
         "features whose nearest neighbour changes")):
    print(f"{note}: {report.number(key, float(value), note=note):.3f}")

# %%
try:
    symmetry.distance(printed)
except ValueError as error:
    print("symmetry.distance:", error)
else:
    raise AssertionError("the printed reflection should not give a distance")

# %% [markdown]
# In the book's run few pairs change, and yet more than a third of the features get another nearest neighbour. Rotations
# are treated correctly, and a feature that is its own mirror image needs no reflection to find its relatives.

# %% [markdown]
# ## Labels from drawings
#
# The paper judges its map by eye. We want numbers, so we need another source. We show each feature clean drawings of
# fourteen shapes, in all orientations, two sizes and both contrasts, and name it after the shape that excites it most,
# whatever the orientation. If the second-best shape comes within 10 %, the feature gets no label.
#
# Two things must be said about these labels. The built-in network was trained to name exactly these fourteen shapes, so
# it is an easy case; GoogLeNet was not. And a label is read from the encoder, a similarity from the decoder: other
# weights of one coder, but not independent of it. Two features with like encoders answer alike, and like encoders tend
# to have like decoders, whoever made them. The section on features that nobody trained says how much this alone gives.

# %%
labels = found.labels.label
assert len(SHAPES) == 14
labelled = report.number("labelled", float((labels >= 0).mean()),
                         note="features with a clear preferred shape", n=len(labels))
print(f"{labelled:.0%} of the features have a label")
for shape, many in Counter(labels[labels >= 0].tolist()).most_common():
    print(f"{SHAPE_NAMES[shape]:>14} {many:4d}  {'#' * round(40 * many / len(labels))}")

# %% [markdown]
# **How reliable are they?** A label that changes when the drawing moves by three pixels is no property of the feature.
# So we name all features again, from drawings that are shifted, drawn with thinner strokes, or blurred. A feature that
# loses its label counts as changed.

# %%
variants = {"shifted by 3 px": dict(shift=(3, -3)), "blurred by 1 px": dict(blur=1.0),
            "strokes thinner by 30 %": dict(thickness=0.7)}
rows = ["| drawings | same label | of those with both | by chance |", "|---" * 4 + "|"]
same = []
for name, how in variants.items():
    again = symmetry.centre_activations(run.model, redrawn(run.stimuli, **how).images)
    other = symmetry.label_by_response(coder, again, run.stimuli.shape).label[features]
    agreement = label_agreement(labels, other)
    same.append(agreement.same)
    rows.append(f"| {name} | {agreement.same:.2f} | {agreement.agree:.2f} | "
                f"{agreement.chance:.2f} |")
reliable = report.number(
    "label_agreement", np.mean(same), n=agreement.named,
    interval=(min(same), max(same)), over="three kinds of drawings, lowest to highest",
    note="labelled features that other drawings give the same label")
display(Markdown("\n".join(rows)))

# %% [markdown]
# Far above chance, and far from certain: in the book's run more than four fifths of the labels survive thinner strokes
# or a little blur, and only half of them a shift by three pixels in both directions. A name depends on where the
# drawing lies under the cell. No score below can be expected to reach 1 with labels like these.

# %% [markdown]
# ## A map of all features
#
# The recipe of the paper: UMAP {cite:p}`mcinnes2018umap` from the distances $1 - S$ to four dimensions, then to two
# with the cosine metric, for the eye. We look for clusters in the four-dimensional points, with {term}`HDBSCAN`
# {cite:p}`campello2013hdbscan`, which may leave features without a cluster. For the
# {term}`sparse autoencoder <sparse autoencoder (SAE)>`, the first step uses the plain cosine, as in the paper's Figure
# 4: it has no {term}`blocks <block>` that could be moved. {numref}`fig-map-crosscoder` and {numref}`fig-map-sae` are
# the two maps. Fourteen colours cannot be told apart, so each label gets a panel of its own, with its **purity**: the
# share of a feature's ten nearest neighbours, by distance and before any UMAP, that have its label, corrected for
# chance,
#
# $$ \text{corrected purity} = \frac{\text{purity} - \text{chance}}{1 - \text{chance}} , $$ (eq-corrected)
#
# which is 0 for neighbours at random and 1 if all have the label. Chance is larger for a label that many features have.

# %%
def show_map(found):
    labels = found.labels.label
    near = neighbour_purity(found.gap, labels)
    notes = [f"{near.of_label(shape):.2f}, n = {(labels == shape).sum()}"
             if (labels == shape).sum() > 1 else f"n = {(labels == shape).sum()}"
             for shape in range(len(SHAPES))]
    with figures.house_style():
        fig, axes = plt.subplots(3, 5, figsize=(8, 5.6))
        two = found.embedding.two
        figures.label_facets(two, labels, SHAPE_NAMES, axes, notes=notes,
                             pictures=[draw(shape, 0.0, 32)[0, 0] for shape in SHAPES])
    return fig

# %% mystnb={"figure": {"name": "fig-map-crosscoder", "caption": "Map of the group crosscoder's features, after the paper's Figure 3: UMAP of the largest cosine over the group. Each panel shows the same map and, in blue, the features that prefer one drawn shape, which stands in the corner; the map has not seen the labels. Below each name: neighbour purity of that label, corrected for chance, and how many features have it."}, "image": {"alt": "Fourteen copies of one scatter plot. In each the features with one label are blue, all others grey. Some labels lie together, most are spread over several islands."}} tags=["hide-input"]
_ = report.figure("map_crosscoder", show_map(found))

# %% mystnb={"figure": {"name": "fig-map-sae", "caption": "Map of a sparse autoencoder's features with the plain cosine, after the paper's Figure 4. Same layer, same number of latents and of training samples, same labels by drawings."}, "image": {"alt": "Fourteen copies of one scatter plot of an autoencoder's features. In each the features with one label are blue and spread over most of the map."}} tags=["hide-input"]
sae = run.family_map("sae")
_ = report.figure("map_sae", show_map(sae))

# %% [markdown]
# ## Numbers instead of the eye
#
# UMAP draws islands for noise as well ({ref}`ex-noise`), and labels on islands look like order. So three numbers:
# **{term}`neighbour purity`**; the **{term}`adjusted Rand index (ARI)`** of the clusters with the labels, 0 for random
# agreement, 1 for perfect; and the **cluster {term}`silhouette`**, how well separated they are, whatever is in them.
#
# A comparison needs controls, or we do not know what we are comparing. Between the two maps above *two* things
# change: how the coder was trained, and how its features are compared. So we add the **crosscoder with the plain
# cosine**, same training, no group in the comparison; and the SAE, compared over the group. It has no blocks, but two
# ways to get some: **fitted blocks**, by least squares from its latents to whole orbits, and **averaged orbits**, for
# each {term}`latent` the mean {term}`orbit vector` of the samples on which it {term}`fires <firing>`, weighted by how
# strongly,
#
# $$ \tilde F_i = \sum_x f_i(x)\, (x - \bar x) . $$ (eq-averaged)
#
# {doc}`14_answer_key` tells how the two are related. Here it matters only that like is compared with like.

# %%
def averaged(coder):
    """What the latents write and what is correlated with them: `eq-averaged`."""
    return moments(coder, some).products.unflatten(1, (G.order, -1)).float()


def averaged_map(other_seed):
    base = run.family_map("sae", seed=other_seed)
    gap = symmetry.distance(max_cosine(averaged(base.coder)[base.features], G))
    points = symmetry.embed(gap, seed=other_seed)
    return symmetry.score_families(gap, points, symmetry.cluster(points.four),
                                   base.labels.label)


scores = {
    "crosscoder": [living[s].scores for s in seeds],
    "plain": [run.family_map(symmetric=False, seed=s).scores for s in seeds],
    "averaged": [averaged_map(s) for s in seeds],
    "fitted": [run.family_map("fitted", seed=s).scores for s in seeds],
    "sae": [run.family_map("sae", seed=s).scores for s in seeds]}

# %%
names = {"crosscoder": "group crosscoder", "plain": "crosscoder, plain cosine",
         "averaged": "SAE, averaged orbits", "fitted": "SAE, fitted blocks",
         "sae": "SAE, plain cosine"}
measures = {"neighbour_purity": "neighbour purity", "chance_purity": "purity by chance",
            "corrected_purity": "corrected purity", "ari": "ARI",
            "cluster_silhouette": "cluster silhouette", "clusters": "clusters"}


def over_seeds(key, values, note, **more):
    values = [float(value) for value in values if not math.isnan(value)]
    wide = dict(interval=interval_of(values), over=f"{len(values)} seeds") \
        if len(values) > 1 else {}
    report.number(key, float(np.mean(values)) if values else float("nan"), note=note,
                  **wide | more)
    return mean_spread(values)

# %%
rows = ["| | " + " | ".join(names.values()) + " |", "|---" * (len(names) + 1) + "|"]
for field, label in measures.items():
    key = field if field != "corrected_purity" else "purity_corrected"
    cells = [over_seeds(f"{way}_{key}", [getattr(row, field) for row in scores[way]],
                        f"{label}, {name}") for way, name in names.items()]
    rows.append(f"| {label} | " + " | ".join(cells) + " |")
display(Markdown("\n".join(rows)))
print(f"mean ± standard deviation over {len(seeds)} seeds of coders and maps; network "
      "and images are the same")

# %% [markdown]
# What ARI does chance give? By construction 0 on average. For labels shuffled among the features of one map:

# %%
rng = np.random.default_rng(seed)
shuffled = [symmetry.score_families(found.gap, found.embedding, found.clusters,
                                    rng.permutation(labels)).ari for _ in range(40)]
chance = report.number("crosscoder_ari_chance", float(np.nanmean(shuffled)), n=40,
                       interval=percentile_interval(shuffled, skip_nan=True),
                       over="shuffles of the labels", note="ARI with shuffled labels")
print(f"ARI {found.scores.ari:.3f}; shuffled labels {chance:.3f}")

# %% [markdown]
# ## Features that nobody trained
#
# The columns above compare trained coders with each other. What would features reach that nobody trained? Each of
# these is an encoder with as many directions, of which the same number fires, labelled by the same drawings:
#
# - **data points**: activations of randomly chosen orbits about the mean. They come with a dictionary, their own
#   orbits;
# - **k-means**: centres of such activations, with the mean orbits of their clusters;
# - **channels**: the layer's own units, of which there are fewer;
# - **random**: directions in which the whitened activations vary alike.
#
# And two that were trained otherwise: a **crosscoder of an untrained network**, the same architecture with random
# weights, and an **SAE of all poses**, which sees every block of the orbits as an activation by itself. That is as much
# data as the crosscoder gets, so it says what the larger number of training images buys.

# %%
def purity_of(coder, F, over_group=True, alive=slice(None), of=run):
    """Corrected purity, with `F` in the place of the dictionary."""
    labels = symmetry.label_by_response(coder, of.stimulus_activations,
                                        of.stimuli.shape).label
    keep = np.arange(len(F))[alive]
    keep = keep[(F[keep].flatten(1).norm(dim=1) > 1e-6).cpu().numpy()]
    F = normalised(F[keep].cpu())
    S = max_cosine(F, G) if over_group else F.flatten(1) @ F.flatten(1).T
    return neighbour_purity(symmetry.distance(S), labels[keep])


results = {("crosscoder", "averaged"): [
    purity_of(living[s].coder, averaged(living[s].coder), alive=living[s].features)
    for s in seeds]}
for (kind, _), made in nobody.items():
    key = kind.replace(" ", "_").replace("-", "_")
    if made.dictionary is not None:
        results.setdefault((key, "own"), []).append(
            purity_of(made.encoder, made.dictionary))
    results.setdefault((key, "averaged"), []).append(
        purity_of(made.encoder, averaged(made.encoder)))

# %%
def all_poses(s):
    """An SAE whose activations are single blocks of the orbits, with fitted blocks."""
    source = coders.AllPoses(run.orbits("train"))
    settings = {key: getattr(run.profile, key)
                for key in ("batch_size", "lr", "sparsity", "amp")}
    sae = coders.SparseAutoencoder(
        source.channels, run.profile.latents, activation=run.profile.activation,
        k=run.profile.k, scale=source.scale, seed=s).to(run.device)
    coders.train(sae, source, steps=run.profile.control_steps or run.profile.steps,
                 seed=s, progress=False, **settings)
    return coders.fit_blocks(sae, some)


turned = [all_poses(s) for s in seeds[:1 if run.profile.control_steps else None]]
results["all_poses", "averaged"] = [purity_of(c, averaged(c.sae)) for c in turned]
results["all_poses", "fitted"] = [purity_of(c, c.dictionary) for c in turned]

blind = run.control("untrained")
blind_coder = blind.coder()
results["untrained", "own"] = [purity_of(
    blind_coder, blind_coder.dictionary.detach(), of=blind,
    alive=np.flatnonzero(blind.evaluate(blind_coder).frequency > 0))]

# %% tags=["hide-input"]
titles = {"crosscoder": "group crosscoder", "sae": "SAE",
          "all_poses": "SAE of all poses", "data_points": "data points",
          "k_means": "k-means", "channels": "channels", "random": "random directions",
          "untrained": "crosscoder, untrained network"}
inherited = {("crosscoder", "own"): "crosscoder", ("sae", "own"): "sae",
             ("sae", "averaged"): "averaged", ("sae", "fitted"): "fitted"}
table = {where: [row.corrected_purity for row in scores[method]]
         for where, method in inherited.items()}
for where, rows_of in results.items():
    table[where] = [row.corrected for row in rows_of]
    row, way = where
    only = sum(other == row for other, _ in (*inherited, *results)) == 1
    key = f"{row}_purity_corrected" if way == "own" or only else \
        f"{row}_{way}_purity_corrected"
    sure = dict(interval=rows_of[0].interval, over="features")
    over_seeds(key, table[where], f"corrected purity, {titles[row]}, {way}",
               n=len(rows_of[0].each), **(sure if len(rows_of) == 1 else {}))
rows = ["| | own dictionary | fitted blocks | averaged orbits |", "|---|---|---|---|"]
ways = ("own", "fitted", "averaged")
for row, title in titles.items():
    cells = [mean_spread(table.get((row, way), [])) for way in ways]
    rows.append(f"| {title} | " + " | ".join(cells) + " |")
display(Markdown("\n".join(rows)))

# %% mystnb={"figure": {"name": "fig-scores", "caption": "Neighbour purity, corrected for chance, of trained coders and of features that nobody trained. Each dot is one seed or draw. Filled: compared by their own dictionary vectors, for the SAE by its plain cosine. Rings: by averaged orbits. Triangles: by fitted blocks. Compare like with like."}, "image": {"alt": "A dot plot with one line for each kind of features. Data points and k-means centres lie as far to the right as the group crosscoder, random directions and the autoencoder with plain cosine on the left."}} tags=["hide-input"]
marks = {"own": dict(marker="o", s=34, color=figures.BLUE),
         "averaged": dict(marker="o", s=34, fc="none", ec=figures.ORANGE),
         "fitted": dict(marker="^", s=34, color=figures.GREEN)}
with figures.house_style():
    fig, ax = plt.subplots(figsize=(7, 3.8))
    for (row, way), values in table.items():
        ax.scatter(values, [-list(titles).index(row)] * len(values), **marks[way])
    for way, name in (("own", "own dictionary"), ("fitted", "fitted blocks"),
                      ("averaged", "averaged orbits")):
        ax.scatter([], [], label=name, **marks[way])
    ax.axvline(0, color=figures.MUTED, lw=1)
    ax.set_yticks([-y for y in range(len(titles))], list(titles.values()))
    ax.set(xlabel="neighbour purity, corrected for chance")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    report.figure("scores", fig)

# %% [markdown]
# Read each column by itself. In the book's run:
#
# - The crosscoder is above the SAE, however the SAE gets its blocks, above the SAE of all poses, above random
#   directions, and above the crosscoder of an untrained network (that one with a single seed).
# - **It is not above data points or k-means centres.** A random sample of activations, which has learned nothing, has
#   neighbours at least as pure as the crosscoder's in the mean over seeds, and cluster centres have purer ones.
# - So high purity is no sign that a dictionary was trained well. It says how far similar vectors answer alike, and
#   activations themselves do so as well as any feature here.

# %%
if profile == "book":
    below = table["sae", "own"] + table["sae", "fitted"] + table["untrained", "own"]
    assert min(table["crosscoder", "own"]) > max(below)
    assert min(table["crosscoder", "averaged"]) > max(table["random", "averaged"])

# %% [markdown]
# **At equal fidelity.** The coders have the same number of active latents, but the SAE reconstructs the untransformed
# block better than the crosscoder, which spends its latents on all blocks. Does an SAE of the crosscoder's fidelity
# have purer neighbours? We train SAEs with fewer active latents, one seed each.

# %% tags=["hide-input"]
level = run.evaluate(coder).fve_identity
report.number("crosscoder_fve_identity", level,
              note="variance of the untransformed block explained, group crosscoder")
short = dict(steps=run.profile.control_steps) if run.profile.control_steps else {}
ours = [table["crosscoder", way][0] for way in ("averaged", "own")]
print(f"crosscoder: FVE {level:.3f}, purity averaged {ours[0]:.3f}, own {ours[1]:.3f}")
sweep = []
for fewer in (k // 16, k // 8, k // 4, k):
    less = run.coder("sae", k=max(fewer, 1), **short)
    how_well = run.evaluate(less)
    alive = np.flatnonzero(how_well.frequency > 0)
    by_group = purity_of(less, averaged(less), alive=alive).corrected
    as_is = purity_of(less, less.dictionary.detach(), False, alive).corrected
    fve = how_well.fve_identity
    sweep.append((abs(fve - level), fve, by_group, as_is))
    print(f"SAE, k = {fewer:3}: FVE {fve:.3f}, purity averaged {by_group:.3f}, plain "
          f"{as_is:.3f}")
_, nearest_fve, by_group, as_is = min(sweep)
_ = report.number("sweep_best_averaged", max(row[2] for row in sweep), internal=True)

# %%
for key, value, note in (
        ("equal_fve", nearest_fve, "the same, SAE whose k comes nearest to it"),
        ("equal_fve_averaged_purity_corrected", by_group,
         "corrected purity of that SAE, averaged orbits"),
        ("equal_fve_sae_purity_corrected", as_is,
         "corrected purity of that SAE, plain cosine")):
    print(f"{note}: {report.number(key, value, note=note):.3f}")

# %% [markdown]
# In the book's run the SAE with the same $k$ comes nearest in fidelity. Read alike, by averaged orbits, it stays below
# the crosscoder in purity, and so do all SAEs of the sweep.
#
# **And the misprint?** Symmetrised by averaging both directions, the printed similarity gives a purity of its own:

# %%
as_printed = neighbour_purity(symmetry.distance((printed + printed.T) / 2), labels)
correct = neighbour_purity(found.gap, labels)
for key, value, note in (
        ("erratum_purity", as_printed, "corrected purity with the printed reflection"),
        ("correct_purity", correct, "the same with the correct reflection, same seed")):
    report.number(key, value.corrected, note=note, n=len(value.each),
                  interval=value.interval, over="features")
    print(f"{note}: {value.corrected:.3f}, {value.interval[0]:.3f} to "
          f"{value.interval[1]:.3f} over features")

# %% [markdown]
# ## Order inside a family
#
# $S_{ij}$ throws away which $h$ was best. It is worth keeping: if $F_i$ matches $h \cdot F_j$, then feature $i$ should
# prefer the same pattern as feature $j$, moved by $h$. That is a prediction, and the drawn shapes can test it. All of
# them are their own mirror images, so a preferred drawing has one direction, and $h$, a rotation or a reflection, takes
# it to another. We take shapes that repeat only after a full turn, and *all* pairs of features with the same such
# label, in bins of similarity. The null shuffles preferred directions among the features of each label, a thousand
# times; pairs that share a feature then still depend on each other as before.

# %%
single = [shape for shape in range(len(SHAPES)) if SHAPES[shape].fold == 1]
with torch.no_grad():
    x0 = run.stimulus_activations.to(coder.device)
    responses = coder.preactivations(x0).cpu()[:, features]
orientation = np.full(len(D), np.nan)
for feature in np.flatnonzero(np.isin(labels, single)):
    of_class = (run.stimuli.shape == labels[feature]).nonzero()[:, 0]
    best = of_class[responses[of_class, feature].argmax()]
    orientation[feature] = math.degrees(run.stimuli.orientation[best])
step = 360 / 32  # degrees between drawings
bins = pose_errors(S, element, orientation, labels, run.action, seed=seed)

# %%
rows = ["| similarity | pairs | median error | in steps | shuffled | 95 % | p |",
        "|---" * 7 + "|"]
for row in bins:
    start = f"| {row.above:.1f} to {row.below:.1f} | {row.pairs} | "
    rows.append(f"{start}{row.error:.0f}° | {row.error / step:.1f} | "
                f"{row.null:.0f}° | {row.interval[0]:.0f}° to "
                f"{row.interval[1]:.0f}° | {row.p:.3f} |"
                if row.pairs else f"{start} | | | | |")
display(Markdown("\n".join(rows)))
close, everybody = (pose_errors(S, element, orientation, labels, run.action, seed=seed,
                                bins=(low, 1.0))[0] for low in (0.5, -1.0))

# %% tags=["hide-input"]
for prefix, row, which in (("angle", close, "pairs of one label with S ≥ 0.5"),
                           ("angle_all", everybody, "all pairs of one label")):
    report.number(f"{prefix}_pairs", row.pairs, note=which)
    report.number(f"{prefix}_error", row.error, unit="°", n=row.pairs,
                  note=f"error of the predicted direction, median, {which}")
    report.number(f"{prefix}_error_steps", row.error / step, n=row.pairs,
                  note=f"the same in steps of the drawings, {which}")
    report.number(f"{prefix}_error_null", row.null, unit="°", n=row.pairs,
                  interval=row.interval, over="shuffles within labels",
                  note=f"the same with directions shuffled, {which}")
    report.number(f"{prefix}_error_p", row.p, n=row.pairs,
                  note=f"share of shuffles that do as well, {which}")
    print(f"{which}: n = {row.pairs}, error {row.error:.1f}°, shuffled "
          f"{row.null:.1f}°, p = {row.p:.3f}")
report.number("angle_error_shuffled", close.null, internal=True)
for row in bins[1:]:
    report.number(f"angle_steps_from_{row.above:.1f}", row.error / step, internal=True)
    report.number(f"angle_p_from_{row.above:.1f}", row.p, internal=True)
if profile == "book":
    assert close.p < 0.01

# %% [markdown]
# In the book's run the median error falls with similarity, to one step between drawings from $S = 0.3$ on, and of a
# thousand shuffles none does as well. That even pairs with little similarity are told better than by chance is to be
# expected: the best element of any two features of one label turns what they share. {numref}`fig-ring` shows pairs one
# by one. To see single families as well, we take every feature with such a label as a reference, with its twelve most
# similar features of the same label, and order these families by their mean similarity. Shown are the *tightest*, the
# best of its kind, and the one in the *middle* of the order. In neither are all told right.

# %%
alike = (labels[:, None] == labels) & np.isin(labels, single)[:, None]
relatives = torch.where(torch.as_tensor(alike), S, -1.0).fill_diagonal_(-1.0)
near = relatives.topk(min(12, len(D) - 1), dim=1)
tightness = near.values.clamp(min=0).mean(1)
ranked = [i for i in tightness.argsort(descending=True).tolist() if tightness[i] > 0]
chosen = {"tightest": ranked[0], "middle": ranked[len(ranked) // 2]}
predicted = predicted_angles(np.nan_to_num(orientation), run.action)


def by_element(i, j):
    """Direction of feature i as the element predicts it from j, and the preferred."""
    return predicted[element[i, j], j], np.broadcast_to(orientation[i], np.shape(j))


for name, reference in chosen.items():
    mine = near.indices[reference][near.values[reference] > 0].numpy()
    said, is_so = by_element(mine, np.full(len(mine), reference))
    off = np.abs((said - orientation[mine] + 180) % 360 - 180)
    print(f"{name}: f/{features[reference]}, “{SHAPE_NAMES[labels[reference]]}”, "
          f"{len(mine)} relatives, median error {np.median(off):.0f}°")

# %% mystnb={"figure": {"name": "fig-ring", "caption": "Predicted against preferred directions. Left: all pairs of one label with a similarity of at least 0.5; n stands in the table above. Right: a reference and its twelve nearest relatives of the same label, for the tightest family of this run (filled, chosen because it is the best of its kind) and for the one in the middle of the order (rings). On the line both agree; points in opposite corners agree too, for directions are cyclic."}, "image": {"alt": "Two scatter plots of two angles against each other with a diagonal line. On the left most points lie near the line or opposite to it; on the right two families of twelve points each."}} tags=["hide-input"]
i, j = np.nonzero(np.triu(alike & (S.numpy() >= 0.5), 1))
with figures.house_style():
    fig, (left, right) = plt.subplots(1, 2, figsize=(7, 3.7))
    left.scatter(orientation[i], predicted[element[i, j], j], s=9, alpha=0.35,
                 color=figures.BLUE, linewidths=0)
    for (name, reference), look in zip(chosen.items(), (
            dict(color=figures.ORANGE), dict(fc="none", ec=figures.BLUE)),
            strict=True):
        mine = near.indices[reference][near.values[reference] > 0].numpy()
        right.scatter(orientation[mine], predicted[element[mine, reference], reference],
                      s=40, label=name, **look)
    right.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    degrees = [0, 180, 360]
    for ax in (left, right):
        ax.axline((0, 0), slope=1, color="0.6", linewidth=1)
        ax.set(xlabel="preferred", ylabel="by the group element", xticks=degrees,
               yticks=degrees, xlim=(-10, 370), ylim=(-10, 370), aspect="equal")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:.0f}°")
    report.figure("ring", fig)

# %% [markdown]
# ## Exercises
#
# ```{exercise} Why the maximum?
# :label: ex-mean
#
# Replace the maximum over the group by the mean. Show that the result depends only on the group average of each
# feature, $\bar F = \frac1{\lvert G\rvert} \sum_h h \cdot F$, and check it with numbers. What happens to lines
# and curves?
# ```
#
# ```{solution-start} ex-mean
# :class: dropdown
# ```

# %%
few = normalised(D[:50])
moved = torch.stack([act(few, G, h) for h in range(G.order)])
mean_cosine = einsum(few, moved, "i g d, h j g d -> h i j").mean(0)
average = moved.mean(0).flatten(1)
assert torch.allclose(mean_cosine, average @ average.T, atol=1e-5)
print(f"length of the average of a feature: {average.norm(dim=1).median():.2f} in the "
      "median")

# %% [markdown]
# Averaging twice is the same as averaging once, so $\langle F_i, \bar F_j\rangle = \langle \bar F_i, \bar F_j
# \rangle$. All blocks of $\bar F$ are equal: it is the invariant part of the feature. A line and a curve differ
# in the rest, so the mean hides what distinguishes them.
#
# ```{solution-end}
# ```
#
# ```{exercise} Clusters in noise
# :label: ex-noise
#
# Take random unit vectors instead of the dictionary, with as many dimensions as you like. Run the same map and
# the same clustering. How many clusters do you get, and what do the scores say?
# ```
#
# ```{solution-start} ex-noise
# :class: dropdown
# ```

# %%
noise = torch.randn(len(D), 40, generator=torch.Generator().manual_seed(seed))
noise = noise / noise.norm(dim=1, keepdim=True)
gap = symmetry.distance(noise @ noise.T)
points = symmetry.embed(gap, seed=seed)
nothing = symmetry.score_families(gap, points, symmetry.cluster(points.four), labels)
print(f"{nothing.clusters} clusters hold {nothing.clustered:.0%} of the points; ARI "
      f"{nothing.ari:.3f}, "
      f"purity {nothing.neighbour_purity:.3f}, chance {nothing.chance_purity:.3f}")
assert abs(nothing.neighbour_purity - nothing.chance_purity) < 0.06
assert nothing.clusters > 1 or profile == "smoke"

# %% [markdown]
# Noise falls into clusters too. The numbers that use labels see through it: purity is at chance, and the ARI near 0.
#
# ```{solution-end}
# ```

# %% [markdown]
# ## Summary
#
# - The largest cosine over the group makes turned copies neighbours. It is symmetric because a group has inverses
#   ({prf:ref}`prop-symmetric`); with the reflection as printed in the paper it is not.
# - Close relatives are more than chance and rare; raw data points have more of them. Families, in what follows, are
#   loose.
# - A map and its clusters are worth what labels say about them, labels what a second set of drawings says about them,
#   and a score what features reach that nobody trained.
# - In the book's run, neighbours of the group crosscoder's features are purer than those of a sparse autoencoder,
#   however it is given blocks, and than those of an untrained network. **They are not purer than those of features that
#   nobody trained**: raw data points reach them, and k-means centres exceed them.
# - The group element that maps one member onto another predicts by how much their preferred patterns are turned, the
#   better the closer they are.

# %% [markdown]
# ## Limits
#
# The labels know fourteen shapes, drawn at the centre, and the built-in network was trained to name them; natural
# features that prefer textures or colours get none, or a wrong one. The seeds are those of coders: network and images
# are the same for all. Labels and similarities are read from two halves of one coder. And the SAE here is trained on
# the same samples as the crosscoder, with the same number of latents; the paper's had more of both.

# %% [markdown]
# ## What next
#
# {doc}`06_seeing` looks at what the features look for.

# %% [markdown]
# ## On InceptionV1
#
# The same cells, run with `profile="inception"`, gave the right-hand column. The weights are the BVLC training of
# InceptionV1 (GoogLeNet), not the paper's. It was trained with random mirrors, and on photographs, not on these
# drawings. {numref}`fig-map-crosscoder-inception`, {numref}`fig-map-sae-inception` and the
# picture below them are the counterparts of the figures above, and so is {numref}`fig-scores-inception`.
#
# Relatives are rarer still: fewer than one feature in ten has one with $S \ge 0.5$ and none has one with
# $S \ge 0.7$, while two fifths of the data points have the first. The crosscoder's neighbours are purer than the SAE's,
# but with averaged orbits the intervals overlap. K-means centres have purer ones again.

# %% tags=["hide-input"]
report.save()
shown = report.comparable()
subjects = {
    "Relatives, labels and the misprint": r"(relatives|label|erratum|correct).*",
    "Order inside a family": r"angle.*", "Purity, corrected": r".*purity_corrected"}
for title, words in subjects.items():
    mine = [key for key in shown if re.fullmatch(words, key)]
    display(Markdown(f"**{title}**\n\n{report.compare(*mine)}"))
    shown = [key for key in shown if key not in mine]
display(Markdown(f"**Maps and fidelity**\n\n{report.compare(*shown)}"))

# %% [markdown]
# ```{figure} ../book/reference/05_families/map_crosscoder.png
# :alt: Scatter plot of InceptionV1 features found by the group crosscoder, with their preferred drawn shapes.
# :name: fig-map-crosscoder-inception
#
# InceptionV1, mixed3b, reference run (profile `inception`): map of the group crosscoder's features. Compare with
# Figure 3 of the paper.
# ```
#
# ```{figure} ../book/reference/05_families/map_sae.png
# :alt: Scatter plot of InceptionV1 features found by a sparse autoencoder, with their preferred drawn shapes.
# :name: fig-map-sae-inception
#
# InceptionV1, reference run: map of the sparse autoencoder's features. Compare with Figure 4 of the paper.
# ```

# %% tags=["hide-input"]
display(HTML(figures.published(
    "05_families", "ring",
    caption="InceptionV1, reference run: the angle inside families. Look at the "
            "number of pairs in the table first.",
    alt="Two measures of the angle between InceptionV1 features against each other.")))
