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
# **You will learn**
#
# - how to compare features so that turned copies of each other count as the same,
# - why that comparison must be symmetric, and what the misprint in the paper does to a trained dictionary,
# - how to draw a map of all features and find clusters in it, and how far to believe either,
# - whether families are clearer than with a sparse autoencoder: numbers, controls, error bars,
# - how the group element that maps one member onto another orders a family around the circle.
#
# **You need** {doc}`01_groups` for the action and {doc}`04_heatmaps` for the self-similarity of one feature.
#
# **Run time** about a minute on one CPU core, most of it for training coders with other seeds and for UMAP.
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
profile = "book"  # smoke, book, inception or paper
seed = 0
images = None  # folder of photographs; None: the profile's own images
weights = None  # weights file of the profile's model; None: the usual place

# %%
import math
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from einops import einsum
from IPython.display import Markdown, display

from groupcc_lite import figures, symmetry
from groupcc_lite.coders import moments
from groupcc_lite.runs import Run, mean_spread
from groupcc_lite.stimuli import SHAPE_NAMES, SHAPES
from groupcc_lite.symmetry import act, max_cosine, normalised, printed_similarity

run = Run(profile, seed=seed, images=images, weights=weights)
report = run.report("05_families")
G, n = run.group, run.group.order // 2
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
#
# How near is near? There is no sharp answer for learned features, so this chapter asks for clusters and for nearest
# neighbours, and measures both.

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
print(f"nearest neighbour by plain cosine:      "
      f"{(plain - 2 * torch.eye(len(D))).amax(1).mean():.2f} on average")
print(f"nearest neighbour by cosine over group: "
      f"{(S - 2 * torch.eye(len(D))).amax(1).mean():.2f} on average")

# %% mystnb={"figure": {"name": "fig-similarity", "caption": "Similarity of all pairs of features of the trained crosscoder, by plain cosine and by the largest cosine over the group. The group lifts every pair, related or not, because it takes the best of many; what counts is the tail of close pairs on the right."}, "image": {"alt": "Two overlapping histograms on a logarithmic scale. Plain cosines are centred near zero, cosines over the group are shifted to the right and reach higher."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 3.4))
    for values, name in ((plain, "plain cosine"), (S, "largest over the group")):
        ax.hist(values[*pairs], bins=np.linspace(-0.6, 1, 65), histtype="stepfilled",
                alpha=0.6, label=name)
    ax.set(yscale="log", xlabel="similarity", ylabel="pairs")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    report.figure("similarity", fig)

# %% [markdown]
# ## It has to be symmetric
#
# {term}`UMAP` wants a distance, and $1 - S_{ij}$ can only be one if $S_{ij} = S_{ji}$. It is, by
# {prf:ref}`prop-symmetric`, for one reason: with $h$ its inverse is in the group as well.
#
# {doc}`Chapter 1 <01_groups>` found that the reflection printed in the paper, {eq}`eq-paper-reflection`, is no
# reflection, so that the arrangements which it tries are not closed under inverses. How much does this matter for a
# trained {term}`dictionary`?

# %%
printed = printed_similarity(D, G)
assert (S - S.T).abs().max() < 1e-4
nobody = 2 * torch.eye(len(D))  # a feature is not its own neighbour
differ = (S - printed)[*pairs].abs()
changed = (S - nobody).argmax(1) != (printed - nobody).argmax(1)
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
    print("families.distance:", error)
else:
    raise AssertionError("the printed reflection should not give a distance")

# %% [markdown]
# So the misprint is not harmless, but it does not ruin everything either: rotations are treated correctly, and a
# feature that is its own mirror image needs no reflection to find its relatives. We come back below to what it does
# to the result.
#
# ## Labels that know nothing of the map
#
# The paper judges its map by eye. We want numbers, so we need to know what the features are from another
# source. We show each feature clean drawings of fourteen shapes, in all orientations, two sizes and both
# contrasts, and name it after the shape that excites it most, whatever the orientation. If the second-best
# shape comes within 10 %, the feature gets no label.

# %%
labels = found.labels.label
assert len(SHAPES) == 14
labelled = report.number("labelled", float((labels >= 0).mean()),
                         note="features with a clear preferred shape")
print(f"{labelled:.0%} of the features have a label")
for k, count in Counter(labels[labels >= 0].tolist()).most_common():
    print(f"{SHAPE_NAMES[k]:>14} {count:4d}  {'#' * round(40 * count / len(labels))}")

# %% [markdown]
# These labels come from the encoder and from drawings; the similarity comes from the decoder. Neither has
# seen the other, although both belong to one coder that was trained as a whole.
#
# ## A map of all features
#
# The recipe of the paper: UMAP {cite:p}`mcinnes2018umap` from the distances $1 - S$ to four dimensions, then to two
# with the cosine metric, for the eye. We look for clusters in the four-dimensional points, with {term}`HDBSCAN`
# {cite:p}`campello2013hdbscan`, which may leave features without a cluster. For the
# {term}`sparse autoencoder <sparse autoencoder (SAE)>`, the first step uses the plain cosine, as in the paper's Figure
# 4: it has no {term}`blocks <block>` that could be moved. {numref}`fig-map-crosscoder` and {numref}`fig-map-sae` are
# the two maps.

# %%
def show_map(found, name):
    with figures.house_style():
        fig, ax = plt.subplots(figsize=(6, 6.2))
        figures.umap_scatter(found.embedding.two, ax, labels=found.labels.label,
                             names=SHAPE_NAMES)
        ax.set_title(name)
    return fig


# %% mystnb={"figure": {"name": "fig-map-crosscoder", "caption": "Map of the group crosscoder's features, after the paper's Figure 3: UMAP of the largest cosine over the group. Colours are the preferred drawn shapes; the map has not seen them. Grey: no clear preference."}, "image": {"alt": "Scatter plot of a group crosscoder's features in islands, coloured by preferred shape."}} tags=["hide-input"]
_ = report.figure("map_crosscoder", show_map(found, "group crosscoder"))

# %% mystnb={"figure": {"name": "fig-map-sae", "caption": "Map of a sparse autoencoder's features with the plain cosine, after the paper's Figure 4. Same layer, same number of latents and of training samples, same labels by drawings."}, "image": {"alt": "Scatter plot of an autoencoder's features in islands, coloured by preferred shape."}} tags=["hide-input"]
sae = run.family_map("sae")
_ = report.figure("map_sae", show_map(sae, "sparse autoencoder"))

# %% [markdown]
# What is in the clusters? For the largest ones, the labels of their members:

# %%
for number, size in Counter(found.clusters[found.clusters
                                           >= 0].tolist()).most_common(10):
    inside = labels[(found.clusters == number) & (labels >= 0)]
    shares = [f"{SHAPE_NAMES[k]} {count}"
              for k, count in Counter(inside.tolist()).most_common(3)]
    print(f"cluster {number:2d}, {size:3d} features, {len(inside):3d} labelled: "
          f"{', '.join(shares)}")

# %% [markdown]
# ## Numbers instead of the eye
#
# Maps like these seduce. UMAP can draw islands for noise ({ref}`ex-noise`), and colours on islands look
# like order. So four numbers:
#
# - **{term}`neighbour purity`**: of a feature's ten nearest neighbours *by distance*, before any UMAP, which share has
#   its label? To be compared with neighbours drawn at random.
# - **{term}`adjusted Rand index (ARI)`** and **{term}`adjusted mutual information (AMI)`** of the clusters with the
#   labels: 0 for random agreement, 1 for perfect.
# - **cluster {term}`silhouette`**: how well separated the clusters are, whatever is in them.
#
# And a comparison needs controls, or we do not know what we are comparing. Between the two maps above *two* things
# change: how the coder was trained, and how its features are compared. So we add
#
# - the **crosscoder with the plain cosine**: same training, no group in the comparison;
# - the **SAE with averaged orbits**: ordinary training, but the group in the comparison. For each {term}`latent` we
#   take the mean {term}`orbit vector` of the samples that it {term}`fires <firing>` on, weighted by how strongly, as a
#   substitute for the {term}`dictionary vector` with blocks that it does not have:
#
#   $$ \tilde F_i = \sum_x f_i(x)\, (x - \bar x) . $$ (eq-averaged)
#
#   (The paper's appendix A describes a relative of this.)

# %%
def averaged_map(other_seed):
    """Scores of the SAE's features, compared over the group by averaged orbits."""
    base = run.family_map("sae", seed=other_seed)
    orbits = moments(base.coder, run.orbits("train")).products  # sum of f_i (x - mean)
    averaged = orbits.unflatten(1, (G.order, -1))[base.features].float()
    gap = symmetry.distance(max_cosine(averaged, G))
    points = symmetry.embed(gap, seed=other_seed)
    return symmetry.score_families(gap, points, symmetry.cluster(points.four),
                                   base.labels.label)


# %%
seeds = range(seed, seed + run.profile.seeds)
scores = {
    "crosscoder": [run.family_map(seed=s).scores for s in seeds],
    "plain": [run.family_map(symmetric=False, seed=s).scores for s in seeds],
    "averaged": [averaged_map(s) for s in seeds],
    "sae": [run.family_map("sae", seed=s).scores for s in seeds]}
names = {"crosscoder": "group crosscoder", "plain": "crosscoder, plain cosine",
         "averaged": "SAE, averaged orbits", "sae": "SAE, plain cosine"}
measures = {"neighbour_purity": "neighbour purity", "chance_purity": "purity by chance",
            "ari": "ARI", "ami": "AMI",
            "cluster_silhouette": "cluster silhouette", "clusters": "clusters",
            "clustered": "share in clusters"}

# %%
rows = ["| | " + " | ".join(names.values()) + " |", "|---" * (len(names) + 1) + "|"]
for field, label in measures.items():
    cells = []
    for method in names:
        values = np.array([getattr(row, field) for row in scores[method]], dtype=float)
        report.number(f"{method}_{field}", float(np.nanmean(values)),
                      note=f"{label}, {names[method]}")
        report.number(f"{method}_{field}_sd", float(np.nanstd(values, ddof=1)),
                      note=f"{label}, {names[method]}, sd")
        cells.append(mean_spread(values))
    rows.append(f"| {label} | " + " | ".join(cells) + " |")
display(Markdown("\n".join(rows)))
print(f"mean ± standard deviation over {len(seeds)} seeds, each with coders and maps "
      "of its own")

# %% mystnb={"figure": {"name": "fig-scores", "caption": "Four scores for the four combinations of training and comparison, each dot one seed, bars the mean. Short lines in the first panel: purity by chance. First and third: compared over the group. First and second: trained on whole orbits. The panels differ in scale."}, "image": {"alt": "Four small panels, one per score, each with four bars, for the group crosscoder, the crosscoder with plain cosine, the autoencoder with averaged orbits and the autoencoder with plain cosine, and one dot for each seed."}} tags=["hide-input"]
short = {"crosscoder": "group\ncross-\ncoder", "plain": "cross-\ncoder,\nplain",
         "averaged": "SAE,\naver-\naged", "sae": "SAE,\nplain"}
with figures.house_style():
    fig, axes = plt.subplots(2, 2, figsize=(6, 6))
    for ax, field in zip(axes.flat,
                         ("neighbour_purity", "ari", "ami", "cluster_silhouette"),
                         strict=True):
        for x, (method, colour) in enumerate(zip(short, figures.PALETTE, strict=False)):
            values = [getattr(row, field) for row in scores[method]]
            ax.bar(x, np.nanmean(values), color=colour, alpha=0.35, width=0.7)
            ax.scatter(x + 0.12 * (np.arange(len(values)) - (len(values) - 1) / 2),
                       values, color=colour, zorder=3)
            if field == "neighbour_purity":
                chance = np.mean([row.chance_purity for row in scores[method]])
                ax.hlines(chance, x - 0.4, x + 0.4, color="0.2", zorder=4)
        ax.set(title=measures[field])
        ax.set_xticks(range(len(short)), list(short.values()), fontsize=9.5)
        ax.grid(axis="x", visible=False)
    report.figure("scores", fig)

# %% [markdown]
# ## The verdict
#
# The paper's claim, in our terms: the group crosscoder's neighbours and clusters agree with the labels better than
# those of the sparse autoencoder. A claim about methods should hold for every seed, not on average only.

# %%
def wins(first, second, field):
    ahead = [getattr(a, field) > getattr(b, field) for a in scores[first]
             for b in scores[second]]
    return sum(ahead), len(ahead)


for first, second, question in (
        ("crosscoder", "sae", "the paper's claim"),
        ("crosscoder", "plain", "what the group adds in the comparison, same coder"),
        ("averaged", "sae", "the same for the SAE"),
        ("crosscoder", "averaged", "what crosscoder training adds, group in both")):
    print(f"{names[first]} above {names[second]} ({question}):")
    for field in ("neighbour_purity", "ari"):
        ahead, of = wins(first, second, field)
        print(f"    {measures[field]}: {ahead} of {of} pairs of seeds")
if profile == "book":
    for field in ("neighbour_purity", "ari"):
        ahead, of = wins("crosscoder", "sae", field)
        assert ahead == of, field

# %% [markdown]
# Read the four together, beside {numref}`fig-scores`. The first is the claim, and in the book's run it holds for every
# pair of seeds. The second and third say how much of it is owed to *comparing* over the group. The fourth says what the
# training contributes. How much of the advantage in purity is reached without any crosscoder, by comparing an ordinary
# autoencoder's latents over the group?

# %%
purity = {method: np.mean([row.neighbour_purity for row in scores[method]])
          for method in names}
reached = (purity["averaged"] - purity["sae"]) / (purity["crosscoder"] - purity["sae"])
report.number("comparison_share", float(reached),
              note="share of the advantage in purity that comparison over the group "
                   "reaches without a crosscoder")
print(f"{reached:.0%} of the advantage")
if profile == "book":
    assert 0.5 < reached < 1

# %% [markdown]
# In both runs it is more than half. So the paper's observation is right, but most of the advantage in purity is the
# group in the *comparison*. The training adds a smaller part on top. For the ARI on {term}`InceptionV1` the comparison
# reaches about half, and that share varies from run to run. Training also adds convenience: its dictionary has the
# blocks already, where the averaged orbits need another pass over the data.
#
# One caution about the third column. An averaged orbit {eq}`eq-averaged` holds what its latent writes and, besides,
# what all *correlated* latents write. {doc}`14_answer_key` gives the same SAE blocks by least squares
# ({prf:ref}`def-fitted`), which takes the others out, and in the reference run these reach only about half as much of
# the advantage. That is the whole difference in construction ({prf:ref}`prop-averaged`). {doc}`14_answer_key` walks
# from one to the other, for the crosscoder's latents too, and finds that mixing correlated latents makes their map
# purer as well. So the third column flatters the SAE: read alike, the crosscoder keeps more of its advantage than it
# seems here.
#
# Also look at the size of the numbers, not only at their order. A purity well below 1 and an ARI far below 1
# mean: neighbours share a preferred shape more often than by chance, and most of them still do not. And clusters
# that are well separated (silhouette) need not mean anything (ARI).
#
# **And the misprint?** Symmetrised by averaging both directions, the printed similarity gives a purity of its own:

# %%
as_printed = symmetry.distance((printed + printed.T) / 2)
purity_printed = symmetry.score_families(as_printed, found.embedding, found.clusters,
                                         labels).neighbour_purity
report.number("erratum_purity", purity_printed,
              note="neighbour purity with the printed reflection")
report.number("correct_purity", found.scores.neighbour_purity,
              note="the same with the correct reflection, same seed")
print(f"neighbour purity, printed {purity_printed:.3f}, correct "
      f"{found.scores.neighbour_purity:.3f}, "
      f"chance {found.scores.chance_purity:.3f}")

# %% [markdown]
# ## Order inside a family
#
# $S_{ij}$ throws away which $h$ was best. It is worth keeping: if $F_i$ matches $r^k \cdot F_j$, then feature $i$
# should prefer the same pattern as feature $j$, turned by $k$ steps. That is a prediction, and the drawn
# shapes can test it. We take shapes that repeat only after a full turn, and all pairs of features with the same such
# label and a similarity of at least 0.5.

# %%
shown = run.stimuli
with torch.no_grad():
    x0 = run.stimulus_activations.to(coder.W_e.device)
    responses = coder.preactivations(x0).cpu()[:, features]
single = [k for k, shape in enumerate(SHAPES) if shape.fold == 1]
orientation = np.full(len(D), np.nan)
for i in np.flatnonzero(np.isin(labels, single)):
    of_class = (shown.shape == labels[i]).nonzero()[:, 0]
    best = of_class[responses[of_class, i].argmax()]
    orientation[i] = math.degrees(shown.orientation[best])

# %%
F = normalised(D).flatten(1)
by_rotation = torch.stack([F @ act(normalised(D), G, k).flatten(1).T for k in range(n)])
# feature i looks like feature j turned by steps[i, j]
similarity, steps = by_rotation.max(0)
i, j = (torch.as_tensor(labels[:, None] == labels[None, :]) & (similarity >= 0.5)
        & torch.as_tensor(np.isin(labels, single))[:, None]).triu(1).nonzero().T.numpy()


def circular(difference):
    return np.abs((difference + 180) % 360 - 180)

# %%
predicted = 360 / n * steps[i, j].numpy()
measured = (orientation[i] - orientation[j]) % 360
error = circular(predicted - measured)
shuffled = circular(np.random.default_rng(seed).permutation(predicted) - measured)
print(len(error), "pairs")
report.number("angle_pairs", len(error),
              note="pairs of one family, similarity at least 0.5")
for key, errors, note in (("angle_error", error,
                           "error of the predicted angle, median"),
                          ("angle_error_shuffled", shuffled,
                           "the same with shuffled predictions")):
    median = report.number(key, float(np.median(errors)) if len(errors)
                           else "no such pair", unit="°", note=note)
    print(f"{note}: {median:.1f}°" if len(errors) else f"{note}: {median}")
if profile == "book":
    assert np.median(error) < 0.6 * np.median(shuffled)

# %% [markdown]
# Now one family in full: of all features with such a label, we take the one that is closest to its twelve nearest
# relatives with the same label as the reference, and these relatives as its family. The picture uses the plain
# cosine, which keeps orientation; two principal components are enough ({numref}`fig-ring`).

# %%
alike = (labels[:, None] == labels) & np.isin(labels, single)[:, None]
relatives = torch.where(torch.as_tensor(alike), similarity, 0)
# thirteen with the feature itself
reference = int(relatives.topk(13, dim=1).values.sum(1).argmax())
members = [k for k in relatives[:, reference].topk(13).indices.tolist()
           if relatives[k, reference] > 0]
# angle of each member against the reference
turned = 360 / n * steps[members, reference].numpy()
relative = (orientation[members] - orientation[reference]) % 360
name = SHAPE_NAMES[labels[reference]]
print(f"{len(members)} features that prefer “{name}”, reference "
      f"f/{features[reference]}; median error of "
      f"the angle {np.median(circular(turned - relative)):.0f}°")

# %% mystnb={"figure": {"name": "fig-ring", "caption": "One family of the crosscoder. Left: its members on their first two principal components, coloured by the angle of the group element that maps the reference (ringed) onto them; where the family is complete they form a ring, in the order of their angles. Right: that angle, from the decoder, against the difference of preferred orientations, from the encoder's responses to drawings; in colour the same family, in grey all pairs with one such label and a similarity of at least 0.5. On the line both agree."}, "image": {"alt": "Left, a scatter of points coloured by angle. Right, a scatter of two angles against each other with a diagonal line."}} tags=["hide-input"]
with figures.house_style():
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2))
    family = F[members] - F[members].mean(0)
    basis = torch.linalg.svd(family, full_matrices=False).Vh[:2]
    xy = (family @ basis.T).numpy()
    figures.umap_scatter(xy, left, angles=turned, size=46, legend=False)
    left.scatter(*xy[members.index(reference)], s=190, facecolors="none",
                 edgecolors="black")
    left.set_title(f"“{name}”, {len(members)} features")
    right.axline((0, 0), slope=1, color="0.6", linewidth=1)
    right.scatter(measured, predicted, color="0.7", s=12)
    right.scatter(relative, turned, c=turned, cmap="twilight", vmin=0, vmax=360, s=40,
                  edgecolors="black",
                  linewidths=0.4)
    degrees = [0, 180, 360]
    right.set(xlabel="by the responses", ylabel="by the group element", xticks=degrees,
              yticks=degrees,
              xticklabels=[f"{d}°" for d in degrees],
              yticklabels=[f"{d}°" for d in degrees], aspect="equal")
    report.figure("ring", fig)

# %% [markdown]
# So the group element is more than a by-product. It is the coordinate inside the family, and
# $S_{ij}$ is what remains of the features when that coordinate is removed.
#
# ## On InceptionV1
#
# The same cells, run with `profile="inception"`, gave the right-hand column. The weights are the BVLC training of
# InceptionV1 (GoogLeNet), not the paper's. {numref}`fig-map-crosscoder-inception`,
# {numref}`fig-map-sae-inception`, {numref}`fig-scores-inception` and {numref}`fig-ring-inception` are the counterparts
# of the figures above.

# %% tags=["hide-input"]
report.save()
keys = [f"{method}_{field}" for field in ("neighbour_purity", "chance_purity", "ari",
                                          "ami", "cluster_silhouette")
        for method in names]
display(Markdown(report.compare(
    "labelled", *keys, "crosscoder_ari_sd", "sae_ari_sd",
    "crosscoder_neighbour_purity_sd", "sae_neighbour_purity_sd",
    "comparison_share", "erratum_asymmetry", "erratum_pairs", "erratum_neighbours",
    "erratum_purity", "correct_purity",
    "angle_pairs", "angle_error", "angle_error_shuffled")))

# %% [markdown]
# ```{figure} ../book/reference/05_families/map_crosscoder.png
# :alt: Scatter plot of InceptionV1 features found by the group crosscoder, coloured by preferred drawn shape.
# :name: fig-map-crosscoder-inception
#
# InceptionV1, mixed3b, reference run (profile `inception`): map of the group crosscoder's features. Compare with
# Figure 3 of the paper.
# ```
#
# ```{figure} ../book/reference/05_families/map_sae.png
# :alt: Scatter plot of InceptionV1 features found by a sparse autoencoder, coloured by preferred drawn shape.
# :name: fig-map-sae-inception
#
# InceptionV1, reference run: map of the sparse autoencoder's features. Compare with Figure 4 of the paper.
# ```
#
# ```{figure} ../book/reference/05_families/scores.png
# :alt: Four panels of scores for four combinations of training and comparison on InceptionV1.
# :name: fig-scores-inception
#
# InceptionV1, reference run: the scores of {numref}`fig-scores`.
# ```
#
# ```{figure} ../book/reference/05_families/ring.png
# :alt: One family of InceptionV1 features, coloured by angle, and two measures of the angle against each other.
# :name: fig-ring-inception
#
# InceptionV1, reference run: one family, as in {numref}`fig-ring`. The family is not complete and forms no ring, but
# the two angles agree. In the whole dictionary only about ten pairs reach the similarity of the grey points.
# ```
#
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
# Noise falls into clusters too, about as many as the features do. The numbers that use labels see through it: purity is
# at chance, and the ARI near 0.
#
# ```{solution-end}
# ```
#
# ```{exercise} Rotations only
# :label: ex-rotations
#
# How much do the reflections contribute? Compute the neighbour purity with the maximum over rotations only.
# ```
#
# ```{solution-start} ex-rotations
# :class: dropdown
# ```

# %%
rotations_only = symmetry.distance((similarity + similarity.T) / 2)
purity = symmetry.score_families(rotations_only, found.embedding, found.clusters,
                                 labels).neighbour_purity
mirrored = float((element[*pairs] >= n).float().mean())
print(f"purity: rotations only {purity:.3f}, whole group "
      f"{found.scores.neighbour_purity:.3f}")
print(f"a reflection is the best element for {mirrored:.0%} of the pairs")
assert (S - similarity).min() > -1e-4

# %% [markdown]
# If most features are their own mirror images, the rotations find nearly every relative alone. This is also why
# the misprint in the paper did less harm than it might have.
#
# ```{solution-end}
# ```
#
# ## Summary
#
# - The largest cosine over the group makes turned copies neighbours. It is symmetric because a group has inverses
#   ({prf:ref}`prop-symmetric`); with the reflection as printed in the paper it is not.
# - A map and its clusters are worth what independent labels say about them. Purity, ARI and AMI over several seeds
#   replace the eye.
# - In the book's run, features of the group crosscoder fall into clearer families than those of a sparse
#   autoencoder. Two controls show that most of this comes from comparing over the group, and a smaller part from
#   the training.
# - The group element that maps one member onto another predicts by how much their preferred patterns are turned.
#
# ## Limits
#
# The labels know fourteen shapes, drawn at the centre; natural features that prefer textures or colours get none, or
# a wrong one. The number of seeds is small. And the SAE here is trained on the same samples as the crosscoder,
# with the same number of latents; the paper's had more of both.
#
# ## What next
#
# {doc}`06_seeing` looks at what the features look for.
