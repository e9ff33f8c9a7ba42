# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Symmetry, automatically
#
# **You will learn**
#
# - how to get from a heatmap to a subgroup, by rule, with a number that says how sure the rule is,
# - that the rule is right wherever the answer is known: on drawn shapes and on planted features,
# - where its threshold comes from, and what happens when it is moved,
# - what the symmetries of a whole layer are, and which labels to doubt,
# - how the same information looks as a spectrum over frequencies,
# - that nothing of this is special to rotations and mirrors.
#
# **You need** stabilisers and cosets from {doc}`01_groups`, and the profile $c(h)$ from {doc}`04_heatmaps`. Irreps are
# explained as they come up.
#
# **Run time** about two minutes on two CPU cores when chapter 3 has been run, a few minutes otherwise.
#
# **Look up** symbols in {doc}`../book/notation`, words in the {doc}`../book/glossary`. The first use of a word leads
# there.

# %% tags=["bootstrap", "remove-cell"]
# On Google Colab this cell installs the library beside Colab's own torch. Anywhere else it does nothing.
import os
import sys

keep_on_drive = False  # True: what is computed stays in your Google Drive, and the next session goes on from there

if "google.colab" in sys.modules:
    import subprocess
    from importlib.metadata import version
    from pathlib import Path

    if keep_on_drive:
        from google.colab import drive

        drive.mount("/content/drive")
    home = Path("/content/drive/MyDrive/groupcc" if keep_on_drive else "/content/groupcc")
    os.environ.setdefault("GROUPCC_WORK", str(home / "work"))
    if (home / "data").is_dir():  # weights and photographs for the profile "inception"
        os.environ.setdefault("GROUPCC_DATA", str(home / "data"))
    keep = [f"{name}=={version(name)}" for name in ("torch", "torchvision", "numpy", "ipython", "ipywidgets")]
    Path("/content/keep.txt").write_text("\n".join(keep))
    source = os.environ.get("GROUPCC_SOURCE", "git+https://github.com/group-crosscoders/book@v0.1.0")
    pip = [sys.executable, "-m", "pip", "install", "-q", "-c", "/content/keep.txt", source]
    done = subprocess.run(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{source} could not be installed beside {', '.join(keep)}:\n{done.stdout}")
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    print("groupcc-lite", version("groupcc-lite"), *keep[:3], "GPU:", gpu)
    print("Results go to", os.environ["GROUPCC_WORK"])

# %% tags=["parameters"]
profile = "book"  # smoke, book, inception or paper
seed = 0
images = None  # folder of photographs; None: the profile's own images
weights = None  # weights file of the profile's model; None: the usual place

# %%
import math
import time
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown, display
from scipy.stats import spearmanr

from groupcc_lite import figures, symmetry
from groupcc_lite.actions import ColourAction, PlanarAction, product_action
from groupcc_lite.answers import (
    calibrate_tau,
    disturbed,
    drawing,
    drawn_features,
    plant,
    responses,
    score,
    shape_stabiliser,
    standard,
)
from groupcc_lite.groups import cyclic, dihedral, representatives
from groupcc_lite.models import load_model
from groupcc_lite.runs import Run
from groupcc_lite.stimuli import SHAPE_NAMES, SHAPES, ImageSubset, draw
from groupcc_lite.symmetry import (
    TAU,
    act,
    block_cosines,
    centre_activations,
    equivariance_score,
    irrep_power,
    max_cosine,
    normalised,
    self_similarity,
    stabilisers,
)

run = Run(profile, seed=seed, images=images, weights=weights)
report = run.report("08_symmetry")
G, A, model = run.group, run.action, run.model
n = G.order // 2  # rotations; element n + k is s r^k
HALF = n // 2  # half a turn, as a number of elements
generator = torch.Generator().manual_seed(seed)
print(run, "- threshold", TAU)
assert n % 2 == 0

# %% [markdown]
# ## From profile to subgroup
#
# Chapter 4 sorted features by three numbers each ({prf:ref}`def-kinds`): half turn, quarter turn, best mirror. That is
# a choice. The complete answer to "what symmetry does this feature have?" is a set: *all* elements that leave it as it
# is. This set is a {term}`subgroup`, the {term}`stabiliser` of {prf:ref}`def-orbit`.
#
# Which answers are possible? There are only finitely many, and the computer finds all of them from the Cayley
# table.

# %%
subgroups, classes = G.subgroups(), representatives(G.subgroups())
print(f"{G.name}: {len(subgroups)} subgroups in {len(classes)} conjugacy classes")
for H in classes:
    members = sum(K.conjugacy_class == H.conjugacy_class for K in subgroups)
    first = ", ".join(G.names[h] for h in H.elements[:4]) + (", ..." if H.order > 4 else "")
    print(f"order {H.order:2d}  {H.label:>10}  {members:2d} of them, such as {{{first}}}")
assert all(G.order % H.order == 0 for H in subgroups)  # Lagrange
assert G.name != "D_16" or (len(subgroups), len(classes)) == (36, 14)
_ = report.number("subgroups", len(subgroups), note="subgroups of the group")

# %% [markdown]
# The mirror along one direction and the mirror along another are different subgroups, but the same kind of symmetry.
#
# ```{prf:definition} Conjugate subgroups
# :label: def-conjugate
#
# Two subgroups $H$ and $K$ of $G$ are **conjugate** if $K = gHg^{-1}$ for some $g \in G$. A **{term}`conjugacy class`**
# consists of a subgroup and all that are conjugate to it.
# ```
#
# One is the other, seen after a turn of the head: if a thing has the stabiliser $H$, its copy under $g$ has $gHg^{-1}$
# ({prf:ref}`prop-conjugate`). So classes are what we count, and {numref}`fig-lattice` shows them all. (Mirrors still
# fall into two classes, and an {ref}`exercise <ex-two-classes>` asks why.)

# %% mystnb={"figure": {"name": "fig-lattice", "caption": "All subgroups of the profile's group. Conjugate ones share a box, with their number below the name; height is size. A line leads from a subgroup to the next larger ones that contain it. Every feature of the layer gets exactly one of these boxes."}, "image": {"alt": "A lattice of boxes joined by lines, from none at the bottom through half turn and mirrors to all at the top."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 1.3 + 0.72 * len({H.order for H in classes})))
    report.figure("lattice", figures.subgroup_lattice(G, ax).figure)

# %% [markdown]
# A learned vector is never left *exactly* as it is. We need a threshold $\tau$ for the cosine. And once there is
# a threshold, the elements above it need not form a subgroup: a broadly tuned feature resembles its copy one
# step further, and that copy the next, but the feature does not resemble its copy at right angles. So the rule is
#
# ```{prf:definition} Stabiliser with a margin
# :label: def-stabiliser
#
# Let $c$ be the {term}`self-similarity profile` of a feature ({prf:ref}`def-profile`) and $\tau$ a threshold. The
# **stabiliser** of the feature is the largest subgroup $H$ of $G$ with $c(h) \ge \tau$ for all $h \in H$. Of several
# of the same size, it is the one with the largest minimum of $c$. Its **margin** is how far the nearest cosine is
# from the threshold,
#
# $$ \min\Bigl( \min_{h \in H} c(h) - \tau,\;\; \tau - \max_{h \notin H} c(h) \Bigr) . $$ (eq-margin)
# ```
#
# There always is one, for $\{e\}$ passes: $c(e) = 1$. A small {term}`margin` says that a slightly different threshold
# would have given another answer. A negative one says that some element outside $H$ passes, although the subgroup that
# it generates together with $H$ does not.
#
# ## Proved on drawings
#
# Before this rule meets learned features, it meets features whose symmetry we know. We need an *exactly*
# equivariant "layer": one centre-surround filter, the difference of two Gaussians, at every pixel of a window. The
# filter is round, so transforming the image only moves its responses around. The "feature" is a drawn shape, and
# block $g$ holds the responses to the shape transformed by $g$. (Pixels without a filter would do as well, but
# filled shapes overlap so much with their turned copies that the margins become small.)

# %%
size = model.input_size
unit = size / 96  # drawings keep their share of the image
drawn = drawn_features(A, size)
print("shapes, blocks, responses:", tuple(drawn.shape))

# %% [markdown]
# Now the answer key, from geometry alone and not from the pictures. Every shape is its own mirror image along its axis.
# So a transformation leaves the shape alone exactly if it turns that axis by a multiple of the shape's period:
# 360° for a curve, 180° for a line, 90° for a cross, anything for a disc. Only elements of $G$ count, so under a
# small group different shapes can have the same stabiliser.

# %%
labels = stabilisers(drawn, G)
print(f"{'shape':>14}  {'of all planar symmetries':>24}  {'found in ' + G.name:>13}  inside  outside  margin")
for shape, s in zip(SHAPES, labels, strict=True):
    print(f"{shape.name:>14}  {shape.stabiliser:>24}  {s.subgroup.label:>13}  {s.inside:6.3f}  {s.outside:7.3f}  "
          f"{s.margin:6.3f}")
right = [s.subgroup == shape_stabiliser(shape, A) for shape, s in zip(SHAPES, labels, strict=True)]
report.number("drawn_right", sum(right), note="of 14 drawn shapes, stabilisers right, exactly equivariant filters")
report.number("drawn_margin", min(s.margin for s in labels), note="smallest margin of a drawn shape")
assert len(SHAPES) == 14 and all(right) and min(s.margin for s in labels) > 0

# %% [markdown]
# All fourteen are right: not only the size or the name, but the very elements. {numref}`fig-drawn-stabilisers` shows
# four of them.

# %% mystnb={"figure": {"name": "fig-drawn-stabilisers", "caption": "Profiles of four drawn shapes through the exactly equivariant filters. The dashed line is the threshold; rings mark the elements of the stabiliser that was found. Blue rotations, orange mirrors."}, "image": {"alt": "Four line plots over the angle with a dashed horizontal line. The line has rings at 0, 180 and 360 degrees, the curve at 0 and 360 or on one mirror, the cross every 90 degrees, the blob everywhere."}} tags=["hide-input"]
chosen = [SHAPE_NAMES.index(name) for name in ("curve", "line", "cross", "blob")]
c_drawn = self_similarity(drawn, G)
with figures.house_style():
    fig, axes = plt.subplots(2, 2, figsize=(6, 5), sharex=True, sharey=True)
    for ax, i in zip(axes.flat, chosen, strict=True):
        figures.stabiliser_profile(c_drawn[i], labels[i], G, ax, legend=False)
        ax.set_title(f"{SHAPE_NAMES[i]}: {labels[i].subgroup.label}")
        ax.set_xticks([0, 90, 180, 270], ["0°", "90°", "180°", "270°"])
        ax.label_outer()
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    report.figure("drawn", fig)

# %% [markdown]
# ### The floor
#
# Exactly equivariant is only true of the elements that move pixels onto pixels. The others interpolate. How far
# from 1 does that push $c$ for a shape that does not mind at all?

# %%
exact = torch.tensor(A.exact)
round_shapes = c_drawn[[shape.fold == 0 for shape in SHAPES]]
print(f"disc and circle, smallest c over exact elements: {round_shapes[:, exact].min():.4f}")
assert round_shapes[:, exact].min() > 0.9999
if exact.all():
    print("every element of", G.name, "is exact, so there is no floor to see")
else:
    floor = report.number("floor", float(round_shapes[:, ~exact].min()),
                          note="smallest c of a disc or circle over resampled elements")
    print(f"disc and circle, smallest c over resampled ones: {floor:.4f}")
    assert floor > 0.95

# %% [markdown]
# ### Through the network
#
# The same drawings as activations at the image centre of the profile's network, as in {doc}`04_heatmaps`.
#
# ```{prf:proposition} A function of the picture keeps its symmetry
# :label: prop-any-function
#
# Let $F[g] = \Phi(gI)$ for any function $\Phi$. If $kI = I$, then $k \cdot F = F$.
# ```
#
# *Because* $(k \cdot F)[g] = F[gk] = \Phi(gkI) = \Phi(gI)$. So nothing that belongs into the stabiliser can get lost,
# up to interpolation. But more can get in: a network may not tell two pictures apart that differ.

# %%
seen = torch.stack([centre_activations(model, drawing(shape, A, size)) for shape in SHAPES])
seen = seen - seen.mean((0, 1))
through = stabilisers(seen, G)
right = [s.subgroup == shape_stabiliser(shape, A) for shape, s in zip(SHAPES, through, strict=True)]
for shape, s, ok, row in zip(SHAPES, through, right, self_similarity(seen, G), strict=True):
    verdict = "right" if ok else "larger" if s.subgroup.order > shape_stabiliser(shape, A).order else "not right"
    print(f"{shape.name:>14}  {s.subgroup.label:>11}  {verdict:>9}  margin {s.margin:5.2f}")
    assert row[[h for h in shape_stabiliser(shape, A).elements if exact[h]]].min() > 0.999  # the pictures are the same
_ = report.number("network_right", sum(right), note="of 14 drawn shapes, stabilisers right, through the network")

# %% [markdown]
# How does the rule get there? Let us try subgroups one after another on the line, as the network sees it, from nothing
# to everything. Of each kind, we take the member whose smallest cosine is largest. In the circles below, every element
# has its place: rotations $r^k$ on the left, mirrors $sr^k$ on the right, both at the angle of $r^k$. The further out a
# point is, the larger is $c(h)$, and the dashed circle is the threshold. A subgroup passes if *all* of its points, the
# filled ones, lie on the dashed circle or beyond it. The margin is the distance from that circle to the nearest point.

# %% tags=["hide-input"]
LINE = SHAPE_NAMES.index("line")
c_line, best_of_kind = self_similarity(seen, G)[LINE].numpy(), {}
for H in sorted(subgroups, key=lambda H: -c_line[list(H.elements)].min().round(5)):
    best_of_kind.setdefault(H.label, H)
candidates = sorted(best_of_kind.values(), key=lambda H: H.order)
accepted = through[LINE].subgroup


def verdict(H):
    """Smallest cosine inside H, largest outside (None if nothing is), and what follows."""
    outside = [h for h in range(G.order) if h not in H.elements]
    low, high = float(c_line[list(H.elements)].min()), float(c_line[outside].max()) if outside else None
    if low < TAU:
        return low, high, "fails: some of its elements do not reach the threshold"
    return low, high, ("passes, but something larger does too" if H != accepted else
                       f"passes, and nothing larger does: the stabiliser, margin {through[LINE].margin:.2f}")


def candidate_card(H):
    fig = plt.figure(figsize=(5.2, 2.7))
    left, middle, right = (fig.add_subplot(1, 3, k, projection="polar" if k > 1 else None) for k in (1, 2, 3))
    middle_part = slice(size // 4, -size // 4)
    left.imshow(drawing(SHAPES[LINE], A, size)[0, 0, middle_part, middle_part], cmap="gray")
    left.set_title(f"{H.label}\n{H.order} of {G.order} elements", fontsize=11, loc="center")
    left.axis("off")
    radius = np.maximum(c_line, -0.3)  # below its centre a polar plot would go on at the opposite side
    for ax, half, title in ((middle, range(n), "rotations"), (right, range(n, G.order), "mirrors")):
        for h in half:
            member, passes = h in H.elements, c_line[h] >= TAU
            colour = "0.7" if not member else figures.PALETTE[0] if passes else figures.PALETTE[1]
            ax.plot([2 * math.pi * (h % n) / n] * 2, [-0.3, radius[h]], color=colour, linewidth=1)
            ax.scatter(2 * math.pi * (h % n) / n, radius[h], s=42, facecolors=colour if member else "white",
                       edgecolors=colour, marker="o" if passes or not member else "X", zorder=3, clip_on=False)
        ax.plot(np.linspace(0, 2 * math.pi, 90), [TAU] * 90, "--", color="0.3", linewidth=1)
        ax.set_ylim(-0.3, 1.05)
        ax.set(yticks=[], theta_zero_location="N")
        ax.set_xticks(np.radians([0, 90, 180, 270]), ["0°", "90°", "180°", "270°"], fontsize=9)
        ax.set_title(title, fontsize=11, loc="center")
    low, high, text = verdict(H)
    between = "" if high is None else f", largest outside {high:.2f}"
    fig.supxlabel(f"smallest c inside {low:.2f}{between}\n{text}", fontsize=11)
    return fig


passing = [H for H in candidates if verdict(H)[0] >= TAU]
assert accepted in passing and accepted.order == max(H.order for H in passing)
with figures.house_style(), plt.rc_context({"savefig.dpi": 90}):
    frames = [figures.png(candidate_card(H)) for H in candidates]
figures.feature_stack(frames, [H.label for H in candidates], [
    f"The line against the subgroup {H.label} of order {H.order}: smallest cosine inside {verdict(H)[0]:.2f}"
    + ("" if verdict(H)[1] is None else f", largest outside {verdict(H)[1]:.2f}") + f". It {verdict(H)[2]}."
    for H in candidates], description="subgroup", width="500px")

# %% [markdown]
# ## Where the threshold comes from
#
# On drawings any $\tau$ in a wide range does. A learned vector has errors.
#
# ```{prf:proposition} Errors shrink the profile
# :label: prop-errors
#
# Let $F^*$ be a vector of length 1 with the profile $c^*$. Let $U$ be random, with mean 0, independent blocks, and
# $\mathbb{E} \lVert U \rVert^2 = 1$. Let $0 \le q \le 1$ and $F = qF^* + \sqrt{1-q^2}\, U$. Then
# $\mathbb{E} \lVert F \rVert^2 = 1$ and
#
# $$ \mathbb{E}\, \langle F, h \cdot F \rangle = q^2 c^*(h) \qquad \text{for } h \ne e . $$ (eq-shrunk)
#
# If $F'$ is another such vector, with an error independent of $U$, then $\mathbb{E} \langle F, F' \rangle = q^2$.
# ```
#
# *Because* all terms in which an error stands once have mean 0, and so has
# $\langle U, h \cdot U \rangle = \sum_g \langle U[g], U[gh] \rangle$, since the blocks $g$ and $gh$ are different and
# therefore independent. What is left is $q^2 \langle F^*, h \cdot F^* \rangle$.
#
# Here $q$ is, nearly, the cosine of the learned vector with the truth. So on the stabiliser of the truth $c$ is not 1,
# but about $q^2$, and the threshold has to be below that. It also has to be above whatever a feature without the
# symmetry reaches by chance.
#
# Where exactly is a question for data with known answers. `planted.standard` makes them: an orthogonal representation
# of $G$, and a family of features for every kind of stabiliser. `disturbed` gives the true
# {term}`dictionary vectors <dictionary vector>` an error of known size, either independent in every block, or the same
# for all blocks and moved along by the group. The second kind is what remains when a feature is mixed with others.
# {numref}`fig-tau` counts the mistakes.

# %%
problem = standard(seed, group=G)
print(f"{problem.features} features in {problem.channels} channels:",
      dict(Counter(H.label for H in problem.stabiliser)))
c_true, c_disturbed = self_similarity(problem.dictionary, G), self_similarity(disturbed(problem, 0.9, seed=seed), G)
inside = torch.cat([row[list(H.elements)[1:]] for row, H in zip(c_disturbed, problem.stabiliser, strict=True)])
print(f"cosine 0.9: c on the true stabiliser {inside.mean():.3f} on average, predicted {0.9**2:.3f}")
assert abs(inside.mean() - 0.9**2) < 0.02
assert (c_disturbed - 0.9**2 * c_true)[:, 1:].abs().mean() < 0.05

# %%
taus, cosines = np.linspace(0.3, 0.98, 18), (0.98, 0.95, 0.9, 0.85, 0.8)
cases = {q: [(disturbed(problem, q, equivariant=e, seed=seed), problem) for e in (False, True)] for q in cosines}
errors = {q: calibrate_tau(both, taus).errors.mean(0) for q, both in cases.items()}
calibrated = calibrate_tau([case for q in (0.98, 0.95, 0.9) for case in cases[q]], taus)
print(f"fewest errors over the cosines 0.98, 0.95 and 0.9: tau from {calibrated.best[0]:.2f} to "
      f"{calibrated.best[1]:.2f}; in use: {TAU}")
report.number("tau", TAU, note="threshold in use")
report.number("tau_best", calibrated.tau, note="threshold with the fewest errors at cosines 0.98, 0.95, 0.9")
for q in cosines:
    wrong = [1 - score(*case).stabiliser_of_all for case in cases[q]]
    report.number(f"error_at_{q}", float(np.mean(wrong)), note=f"wrong stabilisers at the threshold, cosine {q}")
    print(f"cosine {q}: {wrong[0]:.1%} wrong with independent errors, {wrong[1]:.1%} with shared ones")
    assert q < 0.9 or np.mean(wrong) <= 0.02

# %% mystnb={"figure": {"name": "fig-tau", "caption": "Share of wrong stabilisers on planted features against the threshold, one line for each cosine between the disturbed vector and the truth, both kinds of error averaged. Too low a threshold finds symmetries that are not there, too high a one misses those that are. The worse a feature is learned, the lower and narrower is the range that works. Dashed: the threshold of this chapter."}, "image": {"alt": "Five valley-shaped curves over the threshold. Each has a flat bottom near zero that ends the earlier on the right the smaller the cosine is."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 4))
    figures.threshold_curves({f"cosine {q}": values for q, values in errors.items()}, taus, ax,
                                    ylabel="share of wrong stabilisers")
    report.figure("tau", fig)

# %% [markdown]
# The threshold is right for features that are learned well, and strict with the others: a feature learned with
# a cosine below about $\sqrt\tau$ is called asymmetric whatever it is. How well are ours learned? Nobody knows the
# truth, but there is a hint. Two coders with different random starts find similar features, and if each has
# the cosine $q$ with a common truth, they have about $q^2$ with one another, by the last part of
# {prf:ref}`prop-errors`.

# %%
def living_dictionary(coder):
    alive = run.evaluate(coder).frequency > 0
    return coder.dictionary.detach().cpu()[alive], alive.nonzero()[0]


coder = run.coder()
D, features = living_dictionary(coder)
D_other, _ = living_dictionary(run.coder(seed=seed + 1))
both = max_cosine(torch.cat([D, D_other]), G)
twin = both[:len(D), len(D):].amax(1).clamp(min=0)
report.number("strict", float(TAU**0.5), note="cosine with the truth that the threshold asks for, about")
report.number("twin", float(twin.median()), note="cosine with the nearest feature of another seed, median")
report.number("twin_root", float(twin.sqrt().median()), note="its root: cosine with a common truth, at a guess")
print(f"nearest feature of another seed: {twin.median():.2f} in the median, so q is about {twin.sqrt().median():.2f};"
      f" the threshold asks for {TAU**0.5:.2f}")

# %% [markdown]
# If the second number is below the third, the census that follows is a *lower bound* on symmetry for the typical
# feature. We come back to that by moving the threshold.
#
# ## The census
#
# Now all living features of the trained {term}`crosscoder`, each with the stabiliser of {prf:ref}`def-stabiliser`
# ({numref}`fig-census`).

# %%
c, found = self_similarity(D, G), stabilisers(D, G)
margin = np.array([s.margin for s in found])
label = np.array([s.subgroup.label for s in found])
names = list(dict.fromkeys(H.label for H in classes))
report.number("living_count", len(D), note="features that fire on held-out images")
for name in names:
    key = "census_" + name.lower().replace(" ", "_")
    count = report.number(key, int((label == name).sum()), note=f"features with stabiliser: {name}")
    print(f"{name:>10}: {count:4d} of {len(D)}")
symmetric = report.number("symmetric_share", float((label != "none").mean()), note="features with any symmetry")
assert sum(Counter(label.tolist()).values()) == len(D)

# %% mystnb={"figure": {"name": "fig-census", "caption": "The census: how many living features of the trained crosscoder have which stabiliser, on the lattice of subgroups. Darker boxes hold more features."}, "image": {"alt": "The lattice of subgroups with a number of features in each box; the box for none is the darkest."}} tags=["hide-input"]
counts = dict(Counter(s.subgroup.conjugacy_class for s in found))
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 1.3 + 0.72 * len({H.order for H in classes})))
    report.figure("census", figures.subgroup_lattice(G, ax, counts=counts).figure)

# %% [markdown]
# ### Is it noise?
#
# Two controls. Random vectors have no symmetry, so the rule must find none. And if we shuffle the blocks of each
# feature, with another permutation for each, its numbers stay the same but their order, which carries the symmetry,
# is lost. Only features whose blocks are nearly all alike can survive that.

# %%
noise = torch.randn(500, G.order, D.shape[-1], generator=generator)
assert {s.subgroup.label for s in stabilisers(noise, G)} == {"none"}
order = torch.rand(len(D), G.order, generator=generator).argsort(1)
shuffled = D[torch.arange(len(D))[:, None], order]
after = np.array([s.subgroup.label for s in stabilisers(shuffled, G)])
partly = [(values != "none") & (values != "all") for values in (label, after)]
report.number("partly", int(partly[0].sum()), note="features with some symmetry, but not all")
report.number("partly_shuffled", int(partly[1].sum()), note="the same after shuffling the blocks of each feature")
print("random vectors: no symmetry in 500")
print(f"neither none nor all: {partly[0].sum()} features, after shuffling {partly[1].sum()}")
print(f"all: {(label == 'all').sum()} features, after shuffling {(after == 'all').sum()}")
assert partly[1].sum() <= partly[0].sum()

# %% [markdown]
# ### Exact mirrors and others
#
# In a group with interpolated elements there is a bias to watch. A mirror that moves pixels onto pixels keeps
# fine detail, any other blurs a little. If the exact mirrors are over-represented, part of the census may be owed to
# the pixel grid: to ours, or to that of the network, whose filters sit on one too. Or to the world: photographs,
# unlike our drawings, have a horizon, and the exact mirrors are the upright, the level and the diagonal ones.

# %%
one = [s.subgroup.elements[1] for s in found if s.subgroup.label == "one mirror"]
expected = float(exact[n:].float().mean())
if one:
    share = report.number("exact_mirrors", float(exact[one].float().mean()),
                          note="of features with one mirror, those with an exact one")
    print(f"{len(one)} features with one mirror; an exact one: {share:.0%}, by chance {expected:.0%}")
_ = report.number("exact_mirrors_chance", expected, note="share of exact mirrors in the group")

# %% [markdown]
# ### What to doubt
#
# Each label comes with its margin {eq}`eq-margin`, so doubtful ones can be listed instead of discovered. We call a
# label **doubtful** if its margin is below 0.05 ({numref}`fig-census-bars`).

# %% mystnb={"figure": {"name": "fig-census-bars", "caption": "The census by label. Pale: margin below 0.05, that is, a slightly different threshold would change the label, or an element outside the stabiliser passes the threshold as well."}, "image": {"alt": "Horizontal bars, one for each kind of symmetry, each with a dark and a pale part."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 1.2 + 0.36 * len(names)))
    report.figure("bars", figures.census_bars(found, G, ax).figure)

# %%
doubtful = report.number("doubtful_share", float((margin < 0.05).mean()), note="features with a margin below 0.05")
not_closed = (c >= TAU).sum(1).numpy() > np.array([s.subgroup.order for s in found])
assert (not_closed == (margin < 0)).all()
report.number("not_closed", float(not_closed.mean()), note="features with a passing element outside the stabiliser")
near = 0
for i in np.flatnonzero(not_closed):
    H = found[i].subgroup.elements
    passing = [h for h in range(G.order) if h not in H and c[i, h] >= TAU]
    near += any(int(G.table[h, step]) in H for h in passing for step in (1, n - 1))
print(f"margin below 0.05: {doubtful:.0%}; elements that pass are no subgroup: {not_closed.sum()} features")
print(f"of those, {near} have a passing element one rotation step beside the stabiliser")
_ = report.number("one_step", near / max(1, int(not_closed.sum())),
                  note="of those, passing element one step beside it")

# %% [markdown]
# The second kind of doubt often has an innocent reason: **broad tuning**. A feature that changes little within one
# step of the group passes for that step. It is not symmetric under it, for then it would be symmetric under all
# repetitions. This is what asking for a subgroup is good for, and why the margin is a warning but not a verdict.
#
# {numref}`fig-doubtful-labels` shows three doubtful features, chosen by rule: the symmetric feature with the margin
# closest to zero, the asymmetric one with the margin closest to zero, and of all others the one with the smallest
# margin.

# %% mystnb={"figure": {"name": "fig-doubtful-labels", "caption": "Three doubtful labels, chosen by rule, with heatmap and profile. Left: the symmetric feature with the margin closest to zero. Middle: the same among features without symmetry. Right: the smallest margin of all others, negative if there are such. Rings mark the stabiliser, the dashed line the threshold."}, "image": {"alt": "Three square heat maps above three profiles with a dashed line that some points just reach or just miss."}} tags=["hide-input"]
def extreme(value, among):
    return int(np.where(among if among.any() else True, value, np.inf).argmin())


doubts = [extreme(np.abs(margin), label != "none"), extreme(np.abs(margin), label == "none")]
doubts.append(extreme(margin, ~np.isin(np.arange(len(D)), doubts)))
with figures.house_style():
    fig, axes = plt.subplots(2, 3, figsize=(6, 4.8))
    for (top, bottom), i in zip(axes.T, doubts, strict=True):
        figures.block_heatmap(block_cosines(D[[i]])[0], G, top)
        figures.stabiliser_profile(c[i], found[i], G, bottom, legend=False)
        bottom.set_xticks([0, 180], ["0°", "180°"])
        top.set_title(f"f/{features[i]}: {label[i]}\nmargin {margin[i]:.3f}", fontsize=10)
        if bottom is not axes[1, 0]:
            top.set_yticklabels([])
            bottom.set(ylabel="", yticklabels=[])
    report.figure("doubtful", fig)

# %% [markdown]
# ### Moving the threshold
#
# A census without its threshold says nothing. So {numref}`fig-census-sweep` has it for all thresholds that anyone could
# reasonably ask for.

# %%
levels = np.linspace(0.5, 0.9, 9)
sweep = [Counter(s.subgroup.label for s in stabilisers(D, G, tau=float(tau))) for tau in levels]
most = sorted(names, key=lambda name: -max(counts[name] for counts in sweep))[:6]
curves = {name: [counts[name] / len(D) for counts in sweep] for name in names if name in most}
for tau in (0.5, 0.6, 0.7):
    at = sweep[int(np.abs(levels - tau).argmin())]
    report.number(f"symmetric_at_{tau}", 1 - at["none"] / len(D), note=f"features with any symmetry, threshold {tau}")
invariant = [counts["all"] for counts in sweep]
assert invariant == sorted(invariant, reverse=True)

# %% mystnb={"figure": {"name": "fig-census-sweep", "caption": "The census against the threshold: share of living features with each label. Dashed: the threshold in use. Where a line is steep, the count is a matter of convention."}, "image": {"alt": "Lines over the threshold, the one for none rising, those for symmetric kinds falling."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 4))
    figures.threshold_curves(curves, levels, ax, ylabel="share of features")
    report.figure("sweep", fig)

# %% [markdown]
# ### Does the encoder agree?
#
# The decoder writes, the encoder reads, and they are separate matrices. The encoder's answers to drawn shapes give it a
# label of its own, by the same functions: the response to all stimuli transformed by $g$ is block $g$ of a
# vector, and $(h \cdot f)[g] = f[gh]$ holds for it like for any orbit.

# %%
shown, steps = run.stimuli, 32
ticks = (shown.orientation * steps / (2 * math.pi)).round().long().tolist()
kinds = list(zip(shown.shape.tolist(), shown.polarity.tolist(), shown.scale.tolist(), strict=True))
place = {(kind, tick): i for i, (kind, tick) in enumerate(zip(kinds, ticks, strict=True))}
period = Counter(kinds)
assert steps % n == 0


def transformed(h):
    """Number of the stimulus that each stimulus becomes under h."""
    turned = [tick + (h % n) * steps // n for tick in ticks]
    if h >= n:
        turned = [steps // 2 - tick for tick in turned]
    return [place[kind, tick % period[kind]] for kind, tick in zip(kinds, turned, strict=True)]


# %%
with torch.no_grad():
    x0 = run.stimulus_activations.to(coder.W_e.device)
    to_drawings = coder.preactivations(x0).relu().cpu()[:, features]
to_drawings = to_drawings - to_drawings.mean(0)
answers = to_drawings.norm(dim=0).numpy() > 1e-6
read = torch.stack([to_drawings[transformed(h)][:, answers].T for h in range(G.order)], dim=1)
c_read, read_label = self_similarity(read, G), [s.subgroup.label for s in stabilisers(read, G)]
turned = transformed(1)
assert [turned[k] for k in transformed(n)] == transformed(G.multiply(1, n))  # stimuli move as the group says
same = np.array(read_label) == label[answers]
print(f"{answers.sum()} features answer to drawings; same label by decoder and encoder: {same.mean():.0%}")
_ = report.number("encoder_same", float(same.mean()), note="features with the same label by decoder and encoder")

# %% [markdown]
# The same label is a lot to ask. Here is a fairer question: on the *decoder's* stabiliser, how symmetric are the
# encoder's responses? The control takes the stabiliser of another symmetric feature instead.

# %%
kept = [s for s, keep in zip(found, answers, strict=True) if keep]
partial = [k for k, s in enumerate(kept) if 1 < s.subgroup.order < G.order]
print(f"{len(partial)} answering features with some symmetry, but not all")
if len(partial) > 1:
    own = [float(c_read[k, list(kept[k].subgroup.elements)].min()) for k in partial]
    other = [float(c_read[k, list(kept[j].subgroup.elements)].min())
             for k, j in zip(partial, partial[1:] + partial[:1], strict=True)]
    for key, values, note in (("encoder_inside", own, "smallest response cosine on the decoder's stabiliser, median"),
                              ("encoder_control", other, "the same on another feature's stabiliser")):
        print(f"{note}: {report.number(key, float(np.median(values)), note=note):.2f}")

# %% [markdown]
# ## The spectrum
#
# The stabiliser is all or nothing. A feature that comes back *nearly* after half a turn deserves a number. Here it is:
# a dictionary vector is a function on the group, and functions on a group are sums of waves. For the rotations alone
# that is the Fourier series over the angle; for any finite group the waves are its **irreps**.
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
    waves = [irrep.dim / (irrep.kind * group.order) * irrep.character for irrep in group.irreps()]
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
          "curve-like: one mirror": label == "one mirror", "line-like: half turn, not all": has_half & (label != "all"),
          "invariant: all": label == "all"}
spectra = {name: P[torch.as_tensor(among)].mean(0) for name, among in groups.items() if among.any()}
with figures.house_style():
    fig, axes = plt.subplots(len(spectra), 1, figsize=(6, 1.0 + 1.25 * len(spectra)), sharex=True, squeeze=False)
    for ax, (name, spectrum) in zip(axes.flat, spectra.items(), strict=True):
        figures.irrep_bars(spectrum, G, ax, legend=False)
        ax.set(ylim=(0, 1), yticks=(0, 0.5, 1))
        ax.set_title(f"{name} ({int(groups[name].sum())})", fontsize=11, pad=4)
    report.figure("spectrum", fig)

# %%
for irrep, value in zip(G.irreps(), P.mean(0).tolist(), strict=True):
    report.number(f"power_{irrep.name}", value, note=f"mean power in {irrep.name}")
report.number("power_odd", float(P[:, odd].sum(1).mean()), note="mean power at odd frequencies")
if has_half.any():
    line_odd = P[torch.as_tensor(has_half)][:, odd].sum(1)
    report.number("line_odd", float(line_odd.mean()), note="the same for features with a half turn")
    assert line_odd.max() <= (1 - TAU) / 2 + 1e-4  # by the last part of the proposition

# %% [markdown]
# And *only* even, for a line that has its half turn exactly: the drawn one.

# %%
P_drawn = irrep_power(drawn, G)
for name in ("line", "grating", "cross", "curve", "blob"):
    print(f"{name:>8}: odd frequencies {P_drawn[SHAPE_NAMES.index(name), odd].sum():.4f}, "
          f"trivial {P_drawn[SHAPE_NAMES.index(name), 0]:.3f}")
for shape, row in zip(SHAPES, P_drawn, strict=True):
    assert (shape.fold == 1) == bool(row[odd].sum() > 0.01)  # what repeats after half a turn is even
    assert row[1] < 0.01  # and every shape has a mirror

# %% [markdown]
# ## How equivariant is the network?
#
# All of this reads a feature's *own* symmetry. Another matter is whether the network treats all orientations alike:
# whether turning the image acts on the activations as one fixed orthogonal map. If so, the {term}`block heatmap`
# $B[g, h]$ depends on $g^{-1}h$ only ({prf:ref}`prop-stripes`). Chapter 4 measured by hand how far that holds.
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
# We compare learned features with drawn shapes, through filters and through the network, and with shuffled blocks
# ({numref}`fig-equivariance-scores`). Where $B$ hardly varies, as for a disc, there is nothing to explain, and we leave
# it out.

# %%
def varying_score(vectors):
    varies = block_cosines(vectors).flatten(1).var(1) > 1e-3
    return equivariance_score(vectors[varies], G)


scores = {"learned features": varying_score(D), "drawn, filters": varying_score(drawn),
          "drawn, network": varying_score(seen), "shuffled blocks": varying_score(shuffled)}
for name, values in scores.items():
    key = "score_" + name.replace(", ", "_").replace(" ", "_")
    report.number(key, float(values.median()), note=f"equivariance score, {name}, median")
    print(f"{name:>16}: median {values.median():.2f}, from {values.min():.2f} to {values.max():.2f}")
assert scores["drawn, filters"].min() > 0.9
assert scores["shuffled blocks"].median() < scores["learned features"].median()

# %% mystnb={"figure": {"name": "fig-equivariance-scores", "caption": "Equivariance score of every living feature, and of the same features after shuffling their blocks. Vertical lines: medians for drawn shapes through the network (dashed) and through the exactly equivariant filters (dotted)."}, "image": {"alt": "Two histograms, the one for learned features to the right of the one for shuffled blocks, with two vertical lines."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 3.6))
    for name in ("learned features", "shuffled blocks"):
        ax.hist(scores[name], bins=np.linspace(0, 1, 41), histtype="stepfilled", alpha=0.65, label=name)
    for name, style in (("drawn, network", "--"), ("drawn, filters", ":")):
        ax.axvline(scores[name].median(), color="0.25", linestyle=style, linewidth=1.6, label=name)
    ax.set(xlabel="equivariance score", ylabel="features", xlim=(0, 1.01))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    report.figure("equivariance", fig)

# %% [markdown]
# ## The same for an SAE
#
# An ordinary SAE has seen no transformed image, so it has no blocks to read. But it can be given some afterwards: the
# best linear map from its latents to the whole orbit that each sample came from (`run.fitted`; {doc}`09_answer_key`
# tests on known answers that this works). Then everything above applies. Here and in {numref}`fig-census-sae` are
# crosscoder and SAE side by side, with the mean over seeds and the standard deviation:

# %%
def census_of(coder):
    W, _ = living_dictionary(coder)
    shares = Counter(s.subgroup.label for s in stabilisers(W, G))
    power = irrep_power(W, G).mean(0)
    return ({name: shares[name] / len(W) for name in names} | {"half turn missing: odd power": float(power[odd].sum())}
            | {"power in the trivial irrep": float(power[0])}
            | {"equivariance score, median": float(varying_score(W).median()), "living features": len(W)})


starts = range(seed, seed + run.profile.seeds)
compared = {"crosscoder": [census_of(run.coder(seed=start)) for start in starts],
            "SAE, blocks fitted": [census_of(run.fitted(seed=start)) for start in starts]}

# %% tags=["hide-input"]
rows = ["| share of living features | " + " | ".join(compared) + " |", "|---|---|---|"]
for key in compared["crosscoder"][0]:
    cells = []
    for name, of_seeds in compared.items():
        values = [of_seed[key] for of_seed in of_seeds]
        report.number(f"{'sae' if 'SAE' in name else 'cc'}_{key.split(':')[0].split(',')[0].lower().replace(' ', '_')}",
                      float(np.mean(values)), note=f"{name}, {key}, mean over seeds")
        digits = 0 if key == "living features" else 3
        spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
        cells.append(f"{np.mean(values):.{digits}f}{spread}")
    rows.append(f"| {key} | " + " | ".join(cells) + " |")
display(Markdown("\n".join(rows)))

# %% mystnb={"figure": {"name": "fig-census-sae", "caption": "The census of the crosscoder and of an SAE with fitted blocks: share of living features with each label. Means over seeds, whiskers are standard deviations."}, "image": {"alt": "Grouped horizontal bars, two for each kind of symmetry, one for the crosscoder and one for the SAE."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 1.2 + 0.42 * len(names)))
    for offset, (name, of_seeds) in zip((-0.2, 0.2), compared.items(), strict=True):
        values = np.array([[of_seed[key] for key in names] for of_seed in of_seeds])
        spread = values.std(0, ddof=1) if len(values) > 1 else np.zeros(len(names))
        ax.barh(np.arange(len(names)) + offset, values.mean(0), 0.36, xerr=spread, label=name)
    ax.set(yticks=range(len(names)), yticklabels=names, xlabel="share of living features")
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    report.figure("census_sae", fig)

# %% [markdown]
# ## Laws
#
# A rule that is applied to hundreds of features should be tested on more than examples.
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
        conjugate = sorted(int(G.table[G.table[h, g], G.inverse[h]]) for g in s.subgroup.elements)
        assert t.subgroup.elements == tuple(conjugate)
        assert t.subgroup.conjugacy_class == s.subgroup.conjugacy_class and abs(t.margin - s.margin) < 1e-4
    assert torch.allclose(irrep_power(moved, G), irrep_power(vectors, G), atol=1e-5)
    assert torch.allclose(equivariance_score(moved, G), equivariance_score(vectors, G), atol=1e-4)
    similarity = max_cosine(torch.cat([vectors, moved]), G)[:len(vectors), len(vectors):]
    assert torch.allclose(similarity, max_cosine(vectors, G), atol=1e-4)


for h in range(G.order):
    check_laws(D[:40], h)
    check_laws(drawn[:, :, ::23], h)  # any subset of the responses is as good an example
assert torch.allclose(c, c[:, G.inverse], atol=1e-5) and torch.equal(both, both.T)
print(f"all laws hold for {len(D[:40])} learned and {len(drawn)} drawn features under {G.order} elements")

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


large = torch.randn(128 if profile == "smoke" else 512, 32, D.shape[-1], generator=generator)
seconds = {}
for way in (max_cosine, direct):
    way(large[:32], dihedral(16))  # the first call prepares irreps and threads
    began = time.perf_counter()
    S = way(large, dihedral(16))
    seconds[way], seconds[way, "S"] = time.perf_counter() - began, S
assert torch.allclose(seconds[max_cosine, "S"], seconds[direct, "S"], atol=1e-5)
ratio = report.number("speed", seconds[direct] / seconds[max_cosine], note="max_cosine, direct way / Fourier, D_16")
print(f"{len(large)} features: direct {seconds[direct]:.2f} s, Fourier {seconds[max_cosine]:.2f} s, ratio {ratio:.1f}")

# %% [markdown]
# ## Any group
#
# Nothing above knows what a rotation is. A group is a table; subgroups, irreps, profile, stabiliser and spectrum
# follow from it. So let us change the group: the six rotations of $C_6$, and $D_5$ with its five mirrors. The same
# functions, from drawings to a trained crosscoder, small enough to take seconds.

# %%
others = {"C_6": PlanarAction(cyclic(6)), "D_5": PlanarAction(dihedral(5))}
for name, action in others.items():
    shapes = stabilisers(drawn_features(action, size), action.group)
    wrong = [s.name for s, t in zip(SHAPES, shapes, strict=True) if t.subgroup != shape_stabiliser(s, action)]
    assert wrong == []
    print(f"{name}: {len(action.group.subgroups())} subgroups, {len(action.group.irreps())} irreps,",
          "drawn shapes:", dict(Counter(t.subgroup.label for t in shapes)))

# %% [markdown]
# All shapes are right under both groups. Note what the group does not know: a quarter turn is not in $C_6$, so a
# cross has only its half turn left; and under $D_5$ the drawn curve has no symmetry, because its axis is not one of the
# five mirrors.

# %%
tiny = (dict(drawings=60, steps=40, latents=64, points_per_image=8) if profile == "smoke" else
        dict(drawings=400, steps=300, latents=128, points_per_image=16))


def small_census(name, action):
    """Train a small crosscoder of the built-in network under this action; census and spectrum of its features."""
    small = Run("smoke", seed, action=action, **tiny)
    small_coder = small.coder()
    alive = small.evaluate(small_coder).frequency > 0
    W, K = small_coder.dictionary.detach().cpu()[alive], small.group
    found = stabilisers(W, K)
    census, power = Counter(s.subgroup.label for s in found), irrep_power(W, K)
    assert torch.allclose(power.sum(1), torch.ones(len(W)), atol=1e-5)
    assert torch.allclose(spectrum_from_profile(self_similarity(W, K), K), power, atol=1e-4)
    print(f"{name}: {len(W)} living features, census {dict(census)}, mean power "
          + ", ".join(f"{irrep.name} {p:.3f}" for irrep, p in zip(K.irreps(), power.mean(0).tolist(), strict=True)))
    report.number(f"any_{name.replace(' ', '_')}", str(dict(census)), note=f"census of a small crosscoder, {name}")
    return found


for name, action in others.items():
    small_census(name, action)

# %% [markdown]
# ### Turns and colours
#
# The group need not move the plane at all. Let $C_4$ turn the image and $C_2$ swap its red and its blue channel. These
# commute, so together they are $C_4 \times C_2$, with eight elements. Which symmetry has a red line? A grey one? A line
# that is red on one side and blue on the other? {numref}`fig-colours` has pictures of some.

# %%
quarter = PlanarAction(cyclic(4))
swap = ColourAction(cyclic(2), [np.eye(3), np.eye(3)[[2, 1, 0]]])  # one matrix on (red, green, blue) per element
turn_swap = product_action(quarter, swap)
K = turn_swap.group
RED, BLUE, GREY, BACK = (0.9, 0.4, 0.4), (0.4, 0.4, 0.9), (0.9, 0.9, 0.9), (0.4, 0.4, 0.4)


def stroke(shape, front, angle=0.0, back=BACK):
    return draw(shape, angle, model.input_size, scale=unit, half_width=1.4 * unit, foreground=front, background=back)


right_half = (torch.arange(model.input_size) >= model.input_size / 2).expand(1, 3, model.input_size, -1)
pictures = {
    "grey cross": (stroke("cross", GREY), "all"),
    "red cross": (stroke("cross", RED), "C4"),
    "grey line": (stroke("line", GREY), "C2 x C2"),
    "red line": (stroke("line", RED), "C2"),
    "half red, half blue line": (torch.where(right_half, stroke("line", RED), stroke("line", BLUE)), "C2"),
    "red and blue cross": (stroke("line", RED) + stroke("line", BLUE, math.pi / 2) - BACK[0], "C4"),
    "red curve": (stroke("curve", RED), "none")}

# %%
def coloured(picture, action):
    """Responses of the exactly equivariant filters, in every channel, to a picture under every element."""
    return responses(action.images(picture)[:, 0]).flatten(1)


marked = stabilisers(torch.stack([coloured(picture, turn_swap) for picture, _ in pictures.values()]), K)
for (name, (_, wanted)), s in zip(pictures.items(), marked, strict=True):
    elements = ", ".join(K.names[h] for h in s.subgroup.elements)
    print(f"{name:>24}: {s.subgroup.label:>8}  {{{elements}}}")
    assert s.subgroup.label == wanted

# %% mystnb={"figure": {"name": "fig-colours", "caption": "Five of the drawings, their middle enlarged, for the group of quarter turns and the red-blue swap, with the stabilisers that were found. The fourth and fifth combine a turn and a swap: neither alone leaves the picture as it is."}, "image": {"alt": "Five small pictures: a grey cross, a red line, a red cross, a line that is half red and half blue, and a cross with one red and one blue stroke."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(1, 5, figsize=(6, 1.8))
    picked = ("grey cross", "red line", "red cross", "half red, half blue line", "red and blue cross")
    for ax, name in zip(axes, picked, strict=True):
        middle = slice(model.input_size // 4, -model.input_size // 4)
        ax.imshow(pictures[name][0][0, :, middle, middle].permute(1, 2, 0).clamp(0, 1).numpy())
        ax.set_title(f"{marked[list(pictures).index(name)].subgroup.label}", fontsize=11)
        ax.set(xticks=[], yticks=[])
        ax.grid(False)

# %% [markdown]
# The two last ones are the interesting ones. Their stabilisers are subgroups that contain neither the bare turn nor
# the bare swap, only the two at once. No list of "half turn? mirror? colour?" finds those; a list of subgroups
# does.

# %%
turn_and_swap = K.index("(r^2, r)")
assert marked[list(pictures).index("half red, half blue line")].subgroup.elements == (0, turn_and_swap)
truth = plant(K, channels=32, seed=seed)
planted = score(disturbed(truth, 0.95, seed=seed), truth)
print(f"planted features of {K.name} at cosine 0.95: {planted.stabiliser_of_all:.0%} of {truth.features} are right")
assert planted.stabiliser_of_all > 0.95
_ = report.number("any_product", planted.stabiliser_of_all, note="planted features of C_4 x C_2, stabilisers right")

# %% [markdown]
# And trained: the same function as for $C_6$ and $D_5$.

# %%
found_swap = small_census(K.name, turn_swap)
for elements, count in Counter(s.subgroup.elements for s in found_swap).most_common():
    print(f"{count:4d} features with {{{', '.join(K.names[h] for h in elements)}}}")
keep_swap = np.mean([K.index("(e, r)") in s.subgroup.elements for s in found_swap])
print(f"the swap alone leaves {keep_swap:.0%} of the features as they are")
_ = report.number("any_swap", float(keep_swap),
                  note="features of a small crosscoder that the red-blue swap leaves alone")

# %% [markdown]
# ### Turning the hue
#
# Red, yellow, green, cyan, blue, magenta, and red again: hues lie on a circle around grey. So turning the hue is a
# rotation as well, about the grey axis of the colour cube. A third of a turn passes the channels on, red to green to
# blue to red. Every other turn mixes them, and there is a snag. The circle is round and the cube is not: pure red,
# turned by 60°, would have less than no blue. Clipping such values would break the group, since two clipped turns are
# not one turn twice as far. `ColourAction` takes saturation out of the images instead, before anything else and for
# all elements alike, as much as the worst colour of the cube needs: half of it for turns of the hue, nothing for
# permutations of the channels.

# %%
hue, unfaded = ColourAction(cyclic(6)), ColourAction(cyclic(6), saturation=1.0)
sample = run.source("train").load(range(24))
views, vivid = (action.images(sample, model.input_size) for action in (hue, unfaded))
outside = float(((vivid < -1e-6) | (vivid > 1 + 1e-6)).any(2).any(0).float().mean())


def clipped(pixels, g):
    return unfaded.images(pixels, elements=[g])[0].clamp(0, 1)


gap = float((clipped(clipped(vivid[0], 1), 1) - clipped(vivid[0], 2)).abs().max())
print(f"saturation kept: {hue.saturation:g} for sixths, {ColourAction(cyclic(3)).saturation:g} for thirds of a turn")
print(f"at full saturation {outside:.1%} of the pixels leave the cube; clipped, two turns differ from one by {gap:.2f}")
assert views.min() > -1e-6 and views.max() < 1 + 1e-6 and hue.saturation == 0.5 and gap > 1e-3
for g in range(6):  # (h g) I = h (g I), where what is faded already is not faded again
    assert torch.allclose(unfaded.images(views[g]), views[cyclic(6).table[:, g].tolist()], atol=1e-5)
_ = report.number("hue_outside", outside, note="pixels that some hue takes out of the colour cube at full saturation")

# %% [markdown]
# Known answers first. To the filters, a grey cross is the same in all hues: all power in the trivial irrep. Take a red
# cross on a cyan ground that is equally bright. It consists of hue alone, and turning the hue moves its responses
# around a circle: all power at frequency 1. The red cross on grey from above is a bit of both.

# %%
equal = stroke("cross", (0.7, 0.4, 0.4), back=(0.4, 0.55, 0.55))  # both have the mean 0.5
crosses = (pictures["grey cross"][0], equal, pictures["red cross"][0])
tuned = torch.stack([coloured(picture, hue) for picture in crosses])
P_hue = irrep_power(tuned, cyclic(6))
for name, row, s in zip(("grey", "red on cyan", "red on grey"), P_hue, stabilisers(tuned, cyclic(6)), strict=True):
    print(f"cross, {name:>11}: stabiliser {s.subgroup.label}, power",
          {irrep.name: round(p, 3) for irrep, p in zip(cyclic(6).irreps(), row.tolist(), strict=True)})
assert P_hue[0, 0] > 0.999 and P_hue[1, 1] > 0.999 and P_hue[2, :2].min() > 0.1
assert P_hue[:, 2:].max() < 1e-6

# %% [markdown]
# Linear filters have nothing at higher frequencies: a colour is a grey part, which stays, and a part that goes
# round once. What a trained feature has in E2 and B is the work of the nonlinearities. (In the census, "half turn"
# now is the step to the complementary hue.)

# %%
found_hue = small_census("hue C_6", hue)

# %% [markdown]
# ### Which features are colour-invariant?
#
# The question is best asked together with another one, so that there is something to compare with: which features are
# invariant to *turns*? The group $C_4 \times C_3$ of quarter turns and thirds of the hue answers both for the same
# feature. All twelve elements are exact, nothing is interpolated, and nothing is faded.
#
# ```{prf:definition} Invariant share
# :label: def-invariant-share
#
# Let $N$ be a subgroup of $G$. The **invariant share** of a dictionary vector $F$ under $N$ is what averaging over $N$
# leaves of its squared length,
#
# $$ q_N = \Bigl\lVert \frac{1}{\lvert N\rvert} \sum_{h \in N} h \cdot F \Bigr\rVert^2 \Big/ \lVert F\rVert^2
# = \frac{1}{\lvert N\rvert} \sum_{h \in N} c(h) . $$ (eq-invariant-share)
#
# A feature is **invariant** under $N$ if $c(h) \ge \tau$ for all $h \in N$. Where $N$ holds the turns of the hue, it is
# called **colour-invariant**.
# ```
#
# The two sides of {eq}`eq-invariant-share` agree because averaging is an orthogonal projection, as in
# {prf:ref}`prop-spectrum`. For $N = G$, $q_N$ is the power in the trivial irrep. Unrelated blocks have $c(h)$ about 0
# for $h \ne e$, so for them $q_N$ is about $1 / \lvert N\rvert$.
#
# In code: a dictionary vector is a table of $4 \times 3$ blocks. Counting the four blocks in a column as channels, it
# is a function on the hues alone, and the invariant share is its power in the trivial irrep of $C_3$. The same with
# rows, for turns.
#
# This time it is the chapter's own network that we ask, with a part of its images. The control is the same network
# before training, with random weights.

# %%
both_ways = product_action(quarter, ColourAction(cyclic(3)))
count = {"smoke": 40, "book": 240}.get(profile, 120)
few = ImageSubset(run.source("train"), range(min(count, len(run.source("train")))))
untrained = load_model(run.profile.model, run.profile.layer, weights="random")
own = {name: Run("smoke", seed, images=few, model=network, action=both_ways,
                 steps=tiny["steps"], latents=tiny["latents"], held_out=0.2,
                 points_per_image=min(48, run.profile.points_per_image))
       for name, network in (("trained", model), ("untrained", untrained))}


def on_factor(D, part):
    """Vectors over C_4 x C_3 as functions on one factor; the blocks of the other one count as channels."""
    table = D.unflatten(1, (4, 3))
    return (table if part == "turns" else table.transpose(1, 2)).flatten(2)


factors = {"turns": cyclic(4), "hue": cyclic(3)}
assert both_ways.exact.all() and both_ways.saturation == 1

# %% [markdown]
# Before any feature is learned: how much do the activations change? $1 - {}$correlation between activations before
# and after, over all sampled points, is 0 if nothing happens and 1 if the two have nothing in common.

# %%
moved = {"hue": [1, 2], "turns": [3, 6, 9]}  # (g, h) is number 3 g + h
for name, small in own.items():
    x = torch.cat(list(small.orbits("train").in_order()))
    x = x - x.mean((0, 1))
    for part, elements in moved.items():
        change = 1 - 2 * (x[:, [0]] * x[:, elements]).sum() / (
            len(elements) * x[:, 0].square().sum() + x[:, elements].square().sum())
        key = f"{part.removesuffix('s')}_change" + ("" if name == "trained" else "_untrained")
        report.number(key, float(change), note=f"change of the activations, {part}, {name} network")
        print(f"{name:>9} network, {part:>5}: {change:.2f}")
ratio = {name: report.numbers[f"hue_change{end}"]["value"] / report.numbers[f"turn_change{end}"]["value"]
         for name, end in (("trained", ""), ("untrained", "_untrained"))}
print("hue against turns:", ", ".join(f"{name} {value:.2f}" for name, value in ratio.items()))
assert ratio["trained"] < min(1, ratio["untrained"]) and 0.1 < ratio["untrained"] < 10

# %% [markdown]
# Random weights take a change of hue about as seriously as a turn, up to a factor of a few. Training changes that:
# what a network learns to tell apart are orientations more than hues. How much more depends on the task. The
# built-in network had to name shapes that are drawn in random colours, so hue never helped it, and it has become
# nearly blind to hue. Photographs are another matter: compare the column for InceptionV1 below.
#
# Now the features. For each living one we take the two invariant shares, and ask under which factor it is invariant
# ({prf:ref}`def-invariant-share`, {numref}`fig-colour-invariance`). As before, both are lower bounds: errors in the
# blocks look like a lack of symmetry.

# %%
invariant, alive = {}, {}
for name, small in own.items():
    small_coder = small.coder()
    alive[name] = np.flatnonzero(small.evaluate(small_coder).frequency > 0)
    W = small_coder.dictionary.detach().cpu()[alive[name]]
    invariant[name] = {part: irrep_power(on_factor(W, part), H)[:, 0].numpy() for part, H in factors.items()}
    everything = {part: np.mean([s.subgroup.label == "all" for s in stabilisers(on_factor(W, part), H)])
                  for part, H in factors.items()}
    for part, N in (("turns", [0, 3, 6, 9]), ("hue", [0, 1, 2])):  # the mean of c over N is the same number
        assert np.allclose(self_similarity(W, both_ways.group)[:, N].mean(1), invariant[name][part], atol=1e-4)
        keys = [f"{part.removesuffix('s')}_{kind}" + ("" if name == "trained" else "_untrained")
                for kind in ("power", "invariant")]
        report.number(keys[0], float(np.median(invariant[name][part])),
                      note=f"power that {part} leave alone, median, {name} network".replace("hue", "hues"))
        report.number(keys[1], float(everything[part]), note=f"features invariant to {part}, {name} network")
        print(f"{name:>9}, {part:>5}: {everything[part]:.0%} of {len(W)} features are invariant,",
              f"invariant power {report.numbers[keys[0]]['value']:.2f} in the median")
rank = report.number("hue_turn_rank", float(spearmanr(invariant["trained"]["hue"], invariant["trained"]["turns"])[0]),
                     note="rank correlation of invariance to hue and to turns over the features")
print(f"rank correlation of the two over the features: {rank:.2f}")

# %% mystnb={"figure": {"name": "fig-colour-invariance", "caption": "Every living feature of a crosscoder for quarter turns and thirds of the hue circle: the share of its power that turns of the hue leave alone, and the share that turns of the image leave alone. Blue: this profile's network. Orange: the same network with random weights. The dashed lines are what a vector of unrelated blocks has."}, "image": {"alt": "A scatter plot of blue and orange points. The blue ones lie towards the right edge, spread from low to high; the orange ones reach further to the left."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 4.2))
    for (name, shares), marker in zip(invariant.items(), "o^", strict=True):
        ax.scatter(shares["hue"], shares["turns"], s=22, alpha=0.7, marker=marker, linewidths=0, label=name)
    ax.axvline(1 / 3, color="0.4", linestyle="--", linewidth=1)
    ax.axhline(1 / 4, color="0.4", linestyle="--", linewidth=1)
    ax.set(xlabel="power that turns of the hue leave alone", ylabel="power that quarter turns leave alone",
           xlim=(None, 1.01), ylim=(None, 1.01))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, markerscale=1.5)
    report.figure("colour_invariance", fig)

# %% [markdown]
# Does the encoder agree? Its answers to the same point in all twelve versions are a vector like the decoder's,
# so the same function gives the invariant share of what it *reads*.

# %%
small, small_coder = own["trained"], own["trained"].coder()
with torch.no_grad():
    x = torch.cat(list(small.orbits("held-out").in_order())).to(small_coder.W_e.device)
    heard = torch.stack([small_coder.preactivations(x[:, g]).relu() for g in range(12)]).cpu()[:, :, alive["trained"]]
heard = (heard - heard.mean((0, 1))).permute(2, 0, 1)
heeds = heard.flatten(1).norm(dim=1) > 1e-6
for part, H in factors.items():
    reads = irrep_power(on_factor(heard[heeds], part), H)[:, 0].numpy()
    agrees = float(spearmanr(reads, invariant["trained"][part][heeds.numpy()])[0])
    report.number(f"{part.removesuffix('s')}_encoder_rank", agrees,
                  note=f"rank correlation of decoder and encoder, invariance to {part}")
    print(f"{part:>5}: invariant power of the responses {np.median(reads):.2f} in the median; rank correlation with "
          f"the decoder's {agrees:.2f}")
    assert part == "hue" or agrees > 0.2

# %% [markdown]
# For turns the two agree well on which features are more invariant than others. For hue they can only agree where there
# is something to rank, that is, not in a network that hardly sees it.
#
# Last, pictures: {numref}`fig-colour-features` has the three features with the smallest and the three with the largest
# invariant share under hue. Each was drawn for its feature by gradient ascent, as in {doc}`06_seeing`, and then shown
# to it with the hue turned by one and by two thirds.

# %%
ranked = invariant["trained"]["hue"].argsort()
shown_features = np.r_[ranked[:3], ranked[-3:]]
drawn_for = small.visualise(small_coder, alive["trained"][shown_features], size=run.profile.vis_size,
                            steps=run.profile.vis_steps)
turned_hue = ColourAction(cyclic(3)).images(torch.as_tensor(drawn_for.transpose(0, 3, 1, 2).copy()))
directions = small_coder.W_e.detach()[torch.as_tensor(alive["trained"][shown_features])]
answer_to = torch.stack([symmetry.responses(model, pixels.permute(0, 2, 3, 1).numpy(), directions).diagonal()
                         for pixels in turned_hue])
kept = answer_to / answer_to[0]
for key, part, which in (("hue_kept_least", slice(3), "least"), ("hue_kept_most", slice(3, 6), "most")):
    print(f"{which} colour-invariant: {kept[1:, part].mean():.0%} of the response is left with the hue turned")
    report.number(key, float(kept[1:, part].mean()), note=f"response left, hue turned, {which} invariant features")

# %% mystnb={"figure": {"name": "fig-colour-features", "caption": "Features of this profile's network, drawn by gradient ascent: the three least colour-invariant ones on the left, the three most on the right. Above: the invariant share of power. Second and third row: the same pictures with the hue turned by one and by two thirds, with the response that is left."}, "image": {"alt": "Three rows of six small pictures of features on grey. From row to row their colours change and their shapes do not."}} tags=["hide-input"]
edge = max(0, (run.profile.vis_size - model.geometry.receptive_field) // 2)
field = slice(edge, run.profile.vis_size - edge)
titles = [f"{share:.2f}" for share in invariant["trained"]["hue"][shown_features]] + [
    f"{share:.0%}" for share in kept[1:].flatten().tolist()]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 3.9))
    figures.feature_grid(turned_hue.flatten(0, 1)[:, :, field, field].clamp(0, 1), ax, titles, columns=6)
    report.figure("colour_features", fig)

# %% [markdown]
# ## On InceptionV1
#
# The same cells, run with `profile="inception"`, gave the right-hand column. The weights are the BVLC training of
# {term}`InceptionV1` (GoogLeNet), not the paper's. {numref}`fig-census-inception`, {numref}`fig-census-sae-inception`,
# {numref}`fig-spectrum-inception` and {numref}`fig-colour-invariance-inception` are the counterparts of the figures
# above.

# %% tags=["hide-input"]
report.save()
display(Markdown(report.compare(
    "living_count", "census_none", "census_half_turn", "census_one_mirror", "census_c4", "census_c2_x_c2", "census_d4",
    "census_all", "symmetric_share", "symmetric_at_0.5", "symmetric_at_0.6", "symmetric_at_0.7", "doubtful_share",
    "not_closed", "one_step", "partly", "partly_shuffled", "exact_mirrors", "exact_mirrors_chance", "encoder_same",
    "encoder_inside", "encoder_control", "power_A1", "power_A2", "power_E1", "power_E2", "power_odd", "line_odd",
    "score_learned_features", "score_drawn_network", "score_shuffled_blocks", "twin", "tau", "tau_best",
    "drawn_right", "drawn_margin", "network_right", "speed", "hue_change", "hue_change_untrained", "turn_change",
    "turn_change_untrained", "hue_invariant", "hue_invariant_untrained", "turn_invariant", "hue_power", "turn_power",
    "hue_turn_rank", "hue_encoder_rank", "hue_kept_least", "hue_kept_most", "hue_outside", "cc_none", "sae_none",
    "cc_one_mirror", "sae_one_mirror", "cc_c2_x_c2", "sae_c2_x_c2", "cc_all", "sae_all", "cc_equivariance_score",
    "sae_equivariance_score")))

# %% [markdown]
# ```{figure} ../book/reference/08_symmetry/census.png
# :alt: The lattice of subgroups of D_16 with the number of InceptionV1 features in each box; most are in none and one mirror.
# :name: fig-census-inception
#
# InceptionV1, mixed3b, reference run (profile `inception`): the census of the group crosscoder's features, as in
# {numref}`fig-census`.
# ```
#
# Four readings, with the numbers in the table. **One mirror is the commonest symmetry**: curves, corners, edges. Then
# come features that no element changes, and those with a half turn and two mirrors, as lines have. Pure rotation
# groups are nearly empty: what comes back after a quarter turn has mirrors too. **Exact mirrors are
# over-represented**: the upright, the level and the diagonal ones hold more than twice as many features as chance
# would give them. **Most labels are doubtful**, and the threshold decides much, because features are learned less well
# than the calibration asks for: the nearest feature of another seed is far below $\tau$. The census is a lower bound
# on symmetry. **It is not noise**: with shuffled blocks, an eighth of the partly symmetric features would be left.
#
# ```{figure} ../book/reference/08_symmetry/census_sae.png
# :alt: Grouped bars for each kind of symmetry, crosscoder and SAE with fitted blocks; the SAE has more features without symmetry and fewer with one mirror.
# :name: fig-census-sae-inception
#
# InceptionV1, reference run, three seeds: the census of crosscoder and SAE, as in {numref}`fig-census-sae`.
# ```
#
# An SAE has even more invariant features, but far fewer with one mirror. {doc}`09_answer_key` suggests why: where
# single activations are noisy, training on whole orbits finds better directions, and errors look like a lack of
# symmetry.
#
# ```{figure} ../book/reference/08_symmetry/spectrum.png
# :alt: Bar charts of mean power over irreps for all InceptionV1 features and for four kinds of features.
# :name: fig-spectrum-inception
#
# InceptionV1, reference run: spectra, as in {numref}`fig-spectrum`.
# ```
#
# ```{figure} ../book/reference/08_symmetry/colour_invariance.png
# :alt: Scatter plot of invariance to hue against invariance to quarter turns, trained and untrained network.
# :name: fig-colour-invariance-inception
#
# InceptionV1, reference run: invariance to hue and to turns, as in {numref}`fig-colour-invariance`. Training moves the
# network to the right, but not as far as the built-in one: photographs have colours worth knowing.
# ```
#
# ## Exercises
#
# ```{exercise} Two classes of mirrors
# :label: ex-two-classes
#
# {numref}`fig-lattice` has two boxes for one mirror. Which mirrors are in which? Would $D_5$ have two boxes as well?
# ```
#
# ```{solution-start} ex-two-classes
# :class: dropdown
# ```

# %%
for group in (G, dihedral(5)):
    mirrors = [H for H in group.subgroups() if H.label == "one mirror"]
    kinds_of_mirror = {H.conjugacy_class: [group.names[K.elements[1]] for K in mirrors
                                           if K.conjugacy_class == H.conjugacy_class] for H in mirrors}
    print(group.name, list(kinds_of_mirror.values()))
    assert len(kinds_of_mirror) == (1 if group.order // 2 % 2 else 2)

# %% [markdown]
# $r (s r^k) r^{-1} = s r^{k-2}$, so conjugation moves $k$ in steps of two. With an even number of rotations the even
# and the odd $k$ never meet: a square has mirrors through its corners and mirrors through its sides. With an odd
# number, steps of two reach everything, and there is one box.
#
# ```{solution-end}
# ```
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
print({irrep.name: round(p, 3) for irrep, p in zip(G.irreps(), cross.tolist(), strict=True)})
assert n % 4 or cross[~multiples].sum() < 1e-4

# %% [markdown]
# A quarter turn multiplies frequency $k$ by $i^k$, so only multiples of four stay. The cross also has a mirror, so it
# has no power in A2.
#
# ```{solution-end}
# ```
#
# ```{exercise} A threshold of one's own
# :label: ex-threshold
#
# For the two thirds of the living features that have a twin in another seed with the highest cosine, is
# the share of symmetric features larger? What would you conclude, and what not?
# ```
#
# ```{solution-start} ex-threshold
# :class: dropdown
# ```

# %%
stable = (twin >= twin.quantile(1 / 3)).numpy()
print(f"any symmetry: {(label[stable] != 'none').mean():.0%} of the stable features, "
      f"{(label[~stable] != 'none').mean():.0%} of the others")
_ = report.number("symmetric_stable", float((label[stable] != "none").mean()),
                  note="features with any symmetry among those that two seeds share")

# %% [markdown]
# If it is larger, that fits the idea that errors hide symmetry. It does not prove it: features that are easy to learn
# may also be more symmetric.
#
# ```{solution-end}
# ```
#
# ## Summary
#
# - The stabiliser ({prf:ref}`def-stabiliser`) is the largest subgroup on which the profile stays above a threshold. It
#   comes with a margin, and both are computed for every feature.
# - On drawn shapes with an exactly equivariant layer the rule is right for all fourteen, under every group tried here.
#   On {term}`planted features` it is right as long as they are learned well enough for the threshold, for errors
#   multiply the profile by $q^2$ ({prf:ref}`prop-errors`).
# - The census of a layer depends on the threshold, so it is shown with it, and with how many labels are doubtful.
# - Power over irreps ({prf:ref}`def-irrep-power`) is a view without a threshold, and a transform of the profile
#   ({prf:ref}`prop-spectrum`). Odd frequencies measure the missing half turn, exactly.
# - How far the network itself is equivariant is another number, the equivariance score
#   ({prf:ref}`def-equivariance-score`).
# - Only the Cayley table enters. A colour swap is as good as a mirror, and a turn of the hue as good as one of the
#   image. A feature is colour-invariant if every turn of the hue leaves it as it is ({prf:ref}`def-invariant-share`).
#
# ## Limits
#
# The dictionary vector is what a feature *writes*, and a vector that is learned with block-wise noise looks less
# symmetric than the feature is. Symmetries that lie between the group's elements are not seen at all: the axis of
# a curve can only be named if it is one of the group's. And broad tuning and true invariance differ by degree.
#
# The colour census counts thirds of the hue circle, so a feature that repeats after every third of it would pass as
# colour-invariant. Its crosscoders are trained on few images. And hue is an angle about the grey axis of RGB here, not
# as people see it: for the eye, yellow is lighter than blue, and turning one into the other changes more than hue.
#
# ## What next
#
# Here only the rule was put to the test on planted features. {doc}`09_answer_key` asks how well each *method* recovers
# planted features in the first place.
