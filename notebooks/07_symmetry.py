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
# - what the symmetries of a whole layer are, and which labels to doubt.
#
# **You need** stabilisers and conjugation from {doc}`01_groups`, and the profile $c(h)$ from {doc}`04_heatmaps`.
#
# **Run time** under a minute on one CPU core when {doc}`chapter 3 <03_training>` has been run, a few minutes
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
from IPython.display import Markdown, display

from groupcc_lite import figures
from groupcc_lite.answers import (
    calibrate_tau,
    disturbed,
    drawing,
    drawn_features,
    score,
    shape_stabiliser,
    standard,
)
from groupcc_lite.groups import dihedral, representatives
from groupcc_lite.runs import Run
from groupcc_lite.stimuli import SHAPE_NAMES, SHAPES
from groupcc_lite.symmetry import (
    TAU,
    block_cosines,
    centre_activations,
    living_dictionary,
    max_cosine,
    self_similarity,
    stabilisers,
)

# %%
run = Run(profile, seed=seed, images=images, weights=weights)
report = run.report("07_symmetry")
G, A, model = run.group, run.action, run.model
n = G.order // 2  # rotations; element n + k is s r^k
generator = torch.Generator().manual_seed(seed)
print(run, "- threshold", TAU)

# %% [markdown]
# ## From profile to subgroup
#
# {doc}`Chapter 4 <04_heatmaps>` sorted features by three numbers each ({prf:ref}`def-kinds`): half turn, quarter turn,
# best mirror. That is a choice. The complete answer to "what symmetry does this feature have?" is a set: *all* elements
# that leave it as it is. This set is a {term}`subgroup`, the {term}`stabiliser` of {prf:ref}`def-orbit`.
#
# Which answers are possible? There are only finitely many, and the computer finds all of them from the Cayley
# table.

# %%
subgroups, classes = G.subgroups(), representatives(G.subgroups())
print(f"{G.name}: {len(subgroups)} subgroups in {len(classes)} conjugacy classes")
for H in classes:
    members = sum(K.conjugacy_class == H.conjugacy_class for K in subgroups)
    first = ", ".join(G.names[h] for h in H.elements[:4])
    first += ", ..." if H.order > 4 else ""
    print(f"order {H.order:2d}  {H.label:>10}  {members:2d} of them, such as "
          f"{{{first}}}")
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
drawn = drawn_features(A, size)
print("shapes, blocks, responses:", tuple(drawn.shape))

# %% [markdown]
# Now the answer key, from geometry alone and not from the pictures. Every shape is its own mirror image along its axis.
# So a transformation leaves the shape alone exactly if it turns that axis by a multiple of the shape's period:
# 360° for a curve, 180° for a line, 90° for a cross, anything for a disc. Only elements of $G$ count, so under a
# small group different shapes can have the same stabiliser.

# %%
labels = stabilisers(drawn, G)
print(f"{'shape':>14}  {'of all planar symmetries':>24}  {'found in ' + G.name:>13}  "
      "inside  outside  margin")
for shape, s in zip(SHAPES, labels, strict=True):
    print(f"{shape.name:>14}  {shape.stabiliser:>24}  {s.subgroup.label:>13}  "
          f"{s.inside:6.3f}  {s.outside:7.3f}  "
          f"{s.margin:6.3f}")
right = [s.subgroup == shape_stabiliser(shape, A)
         for shape, s in zip(SHAPES, labels, strict=True)]
report.number("drawn_right", sum(right),
              note="of 14 drawn shapes, stabilisers right, exactly equivariant filters")
report.number("drawn_margin", min(s.margin for s in labels),
              note="smallest margin of a drawn shape")
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
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center",
               ncols=2)
    report.figure("drawn", fig)

# %% [markdown]
# ### The floor
#
# Exactly equivariant is only true of the elements that move pixels onto pixels. The others interpolate. How far
# from 1 does that push $c$ for a shape that does not mind at all?

# %%
exact = torch.tensor(A.exact)
round_shapes = c_drawn[[shape.fold == 0 for shape in SHAPES]]
print(f"disc and circle, smallest c over exact elements: "
      f"{round_shapes[:, exact].min():.4f}")
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
seen = torch.stack([centre_activations(model, drawing(shape, A, size))
                    for shape in SHAPES])
seen = seen - seen.mean((0, 1))
through = stabilisers(seen, G)
right = [s.subgroup == shape_stabiliser(shape, A)
         for shape, s in zip(SHAPES, through, strict=True)]
for shape, s, ok, row in zip(SHAPES, through, right, self_similarity(seen, G),
                             strict=True):
    wanted = shape_stabiliser(shape, A)
    wrong = "larger" if s.subgroup.order > wanted.order else "not right"
    verdict = "right" if ok else wrong
    print(f"{shape.name:>14}  {s.subgroup.label:>11}  {verdict:>9}  margin "
          f"{s.margin:5.2f}")
    # under exact elements the pictures are the same
    assert row[[h for h in wanted.elements if exact[h]]].min() > 0.999
_ = report.number("network_right", sum(right),
                  note="of 14 drawn shapes, stabilisers right, through the network")

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

# %% tags=["hide-input"]
def verdict(H):
    """Smallest cosine inside H, largest outside or None, and what follows."""
    outside = [h for h in range(G.order) if h not in H.elements]
    low = float(c_line[list(H.elements)].min())
    high = float(c_line[outside].max()) if outside else None
    if low < TAU:
        return low, high, "fails: some of its elements do not reach the threshold"
    return low, high, ("passes, but something larger does too" if H != accepted else
                       f"passes, and nothing larger does: the stabiliser, margin "
                       f"{through[LINE].margin:.2f}")

# %% tags=["hide-input"]
def candidate_card(H):
    fig = plt.figure(figsize=(5.2, 2.7))
    left, middle, right = (fig.add_subplot(1, 3, k, projection=projection)
                           for k, projection in enumerate((None, "polar", "polar"), 1))
    middle_part = slice(size // 4, -size // 4)
    left.imshow(drawing(SHAPES[LINE], A, size)[0, 0, middle_part, middle_part],
                cmap="gray")
    left.set_title(f"{H.label}\n{H.order} of {G.order} elements", fontsize=11,
                   loc="center")
    left.axis("off")
    # below its centre a polar plot would go on at the opposite side
    radius = np.maximum(c_line, -0.3)
    for ax, half, title in ((middle, range(n), "rotations"),
                            (right, range(n, G.order), "mirrors")):
        for h in half:
            member, passes = h in H.elements, c_line[h] >= TAU
            colour = figures.PALETTE[0 if passes else 1] if member else "0.7"
            ax.plot([2 * math.pi * (h % n) / n] * 2, [-0.3, radius[h]], color=colour,
                    linewidth=1)
            ax.scatter(2 * math.pi * (h % n) / n, radius[h], s=42, edgecolors=colour,
                       facecolors=colour if member else "white",
                       marker="o" if passes or not member else "X", zorder=3,
                       clip_on=False)
        ax.plot(np.linspace(0, 2 * math.pi, 90), [TAU] * 90, "--", color="0.3",
                linewidth=1)
        ax.set_ylim(-0.3, 1.05)
        ax.set(yticks=[], theta_zero_location="N")
        ax.set_xticks(np.radians([0, 90, 180, 270]), ["0°", "90°", "180°", "270°"],
                      fontsize=9)
        ax.set_title(title, fontsize=11, loc="center")
    low, high, text = verdict(H)
    between = "" if high is None else f", largest outside {high:.2f}"
    fig.supxlabel(f"smallest c inside {low:.2f}{between}\n{text}", fontsize=11)
    return fig

# %% tags=["hide-input"]
passing = [H for H in candidates if verdict(H)[0] >= TAU]
assert accepted in passing and accepted.order == max(H.order for H in passing)
with figures.house_style(), plt.rc_context({"savefig.dpi": 90}):
    frames = [figures.png(candidate_card(H)) for H in candidates]


def description(H):
    low, high, text = verdict(H)
    between = "" if high is None else f", largest outside {high:.2f}"
    return (f"The line against the subgroup {H.label} of order {H.order}: smallest "
            f"cosine inside {low:.2f}{between}. It {text}.")


figures.feature_stack(frames, [H.label for H in candidates],
                      [description(H) for H in candidates],
                      description="subgroup", width="500px")

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
# Where exactly is a question for data with known answers. `standard` makes them: an orthogonal representation
# of $G$, and a family of features for every kind of stabiliser. `disturbed` gives the true
# {term}`dictionary vectors <dictionary vector>` an error of known size, either independent in every block, or the same
# for all blocks and moved along by the group. The second kind is what remains when a feature is mixed with others.
# {numref}`fig-tau` counts the mistakes.

# %%
problem = standard(seed, group=G)
print(f"{problem.features} features in {problem.channels} channels:",
      dict(Counter(H.label for H in problem.stabiliser)))
c_true = self_similarity(problem.dictionary, G)
c_disturbed = self_similarity(disturbed(problem, 0.9, seed=seed), G)
inside = torch.cat([row[list(H.elements)[1:]]
                    for row, H in zip(c_disturbed, problem.stabiliser, strict=True)])
print(f"cosine 0.9: c on the true stabiliser {inside.mean():.3f} on average, predicted "
      f"{0.9**2:.3f}")
assert abs(inside.mean() - 0.9**2) < 0.02
assert (c_disturbed - 0.9**2 * c_true)[:, 1:].abs().mean() < 0.05

# %%
taus, cosines = np.linspace(0.3, 0.98, 18), (0.98, 0.95, 0.9, 0.85, 0.8)
cases = {q: [(disturbed(problem, q, equivariant=e, seed=seed), problem)
             for e in (False, True)] for q in cosines}
errors = {q: calibrate_tau(both, taus).errors.mean(0) for q, both in cases.items()}

# %%
calibrated = calibrate_tau([case for q in (0.98, 0.95, 0.9) for case in cases[q]], taus)
print(f"fewest errors over the cosines 0.98, 0.95 and 0.9: tau from "
      f"{calibrated.best[0]:.2f} to "
      f"{calibrated.best[1]:.2f}; in use: {TAU}")
report.number("tau", TAU, note="threshold in use")
report.number("tau_best", calibrated.tau,
              note="threshold with the fewest errors at cosines 0.98, 0.95, 0.9")
for q in cosines:
    wrong = [1 - score(*case).stabiliser_of_all for case in cases[q]]
    report.number(f"error_at_{q}", float(np.mean(wrong)),
                  note=f"wrong stabilisers at the threshold, cosine {q}")
    print(f"cosine {q}: {wrong[0]:.1%} wrong with independent errors, {wrong[1]:.1%} "
          "with shared ones")
    assert q < 0.9 or np.mean(wrong) <= 0.02

# %% mystnb={"figure": {"name": "fig-tau", "caption": "Share of wrong stabilisers on planted features against the threshold, one line for each cosine between the disturbed vector and the truth, both kinds of error averaged. Too low a threshold finds symmetries that are not there, too high a one misses those that are. The worse a feature is learned, the lower and narrower is the range that works. Dashed: the threshold of this chapter."}, "image": {"alt": "Five valley-shaped curves over the threshold. Each has a flat bottom near zero that ends the earlier on the right the smaller the cosine is."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 4))
    figures.threshold_curves({f"cosine {q}": values for q, values in errors.items()},
                             taus, ax, ylabel="share of wrong stabilisers")
    report.figure("tau", fig)

# %% [markdown]
# The threshold is right for features that are learned well, and strict with the others: a feature learned with
# a cosine below about $\sqrt\tau$ is called asymmetric whatever it is. How well are ours learned? Nobody knows the
# truth, but there is a hint. Two coders with different random starts find similar features, and if each has
# the cosine $q$ with a common truth, they have about $q^2$ with one another, by the last part of
# {prf:ref}`prop-errors`.

# %%
coder, other_coder = run.coder(), run.coder(seed=seed + 1)
D, features = living_dictionary(coder, run.evaluate(coder).frequency)
D_other, _ = living_dictionary(other_coder, run.evaluate(other_coder).frequency)
both = max_cosine(torch.cat([D, D_other]), G)
twin = both[:len(D), len(D):].amax(1).clamp(min=0)
report.number("strict", float(TAU**0.5),
              note="cosine with the truth that the threshold asks for, about")
report.number("twin", float(twin.median()),
              note="cosine with the nearest feature of another seed, median")
report.number("twin_root", float(twin.sqrt().median()),
              note="its root: cosine with a common truth, at a guess")
print(f"nearest feature of another seed: {twin.median():.2f} in the median, so q is "
      f"about {twin.sqrt().median():.2f};"
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
    count = report.number(key, int((label == name).sum()),
                          note=f"features with stabiliser: {name}")
    print(f"{name:>10}: {count:4d} of {len(D)}")
_ = report.number("symmetric_share", float((label != "none").mean()),
                  note="features with any symmetry")
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

# %%
partly = [(values != "none") & (values != "all") for values in (label, after)]
report.number("partly", int(partly[0].sum()),
              note="features with some symmetry, but not all")
report.number("partly_shuffled", int(partly[1].sum()),
              note="the same after shuffling the blocks of each feature")
print("random vectors: no symmetry in 500")
print(f"neither none nor all: {partly[0].sum()} features, after shuffling "
      f"{partly[1].sum()}")
print(f"all: {(label == 'all').sum()} features, after shuffling "
      f"{(after == 'all').sum()}")
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
    print(f"{len(one)} features with one mirror; an exact one: {share:.0%}, by chance "
          f"{expected:.0%}")
_ = report.number("exact_mirrors_chance", expected,
                  note="share of exact mirrors in the group")

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
doubtful = report.number("doubtful_share", float((margin < 0.05).mean()),
                         note="features with a margin below 0.05")
not_closed = (c >= TAU).sum(1).numpy() > np.array([s.subgroup.order for s in found])
assert (not_closed == (margin < 0)).all()
_ = report.number("not_closed", float(not_closed.mean()),
                  note="features with a passing element outside the stabiliser")

# %%
near = 0
for i in np.flatnonzero(not_closed):
    H = found[i].subgroup.elements
    passing = [h for h in range(G.order) if h not in H and c[i, h] >= TAU]
    near += any(int(G.table[h, step]) in H for h in passing for step in (1, n - 1))
print(f"margin below 0.05: {doubtful:.0%}; elements that pass are no subgroup: "
      f"{not_closed.sum()} features")
print(f"of those, {near} have a passing element one rotation step beside the "
      "stabiliser")
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


doubts = [extreme(np.abs(margin), label != "none"),
          extreme(np.abs(margin), label == "none")]
doubts.append(extreme(margin, ~np.isin(np.arange(len(D)), doubts)))
with figures.house_style():
    fig, axes = plt.subplots(2, 3, figsize=(6, 4.8))
    for (top, bottom), i in zip(axes.T, doubts, strict=True):
        figures.block_heatmap(block_cosines(D[[i]])[0], G, top)
        figures.stabiliser_profile(c[i], found[i], G, bottom, legend=False)
        bottom.set_xticks([0, 180], ["0°", "180°"])
        top.set_title(f"f/{features[i]}: {label[i]}\nmargin {margin[i]:.3f}",
                      fontsize=10)
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
sweep = [Counter(s.subgroup.label for s in stabilisers(D, G, tau=float(tau)))
         for tau in levels]
most = sorted(names, key=lambda name: -max(counts[name] for counts in sweep))[:6]
curves = {name: [counts[name] / len(D) for counts in sweep] for name in names
          if name in most}

# %% tags=["hide-input"]
for tau in (0.5, 0.6, 0.7):
    at = sweep[int(np.abs(levels - tau).argmin())]
    report.number(f"symmetric_at_{tau}", 1 - at["none"] / len(D),
                  note=f"features with any symmetry, threshold {tau}")
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
with torch.no_grad():
    x0 = run.stimulus_activations.to(coder.W_e.device)
    to_drawings = coder.preactivations(x0).relu().cpu()[:, features]
to_drawings = to_drawings - to_drawings.mean(0)
answers = to_drawings.norm(dim=0).numpy() > 1e-6
moved = [run.stimuli.act(A, h) for h in range(G.order)]  # what each stimulus becomes
read = torch.stack([to_drawings[stimulus][:, answers].T for stimulus in moved], dim=1)
c_read = self_similarity(read, G)
read_label = [s.subgroup.label for s in stabilisers(read, G)]
assert [moved[1][k] for k in moved[n]] == moved[G.multiply(1, n)]  # as the group says
same = np.array(read_label) == label[answers]
print(f"{answers.sum()} features answer to drawings; same label by decoder and "
      f"encoder: {same.mean():.0%}")
_ = report.number("encoder_same", float(same.mean()),
                  note="features with the same label by decoder and encoder")

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
    for key, values, note in (("encoder_inside", own,
                               "smallest response cosine on the decoder's stabiliser, "
                               "median"),
                              ("encoder_control", other,
                               "the same on another feature's stabiliser")):
        print(f"{note}: {report.number(key, float(np.median(values)), note=note):.2f}")

# %% [markdown]
# ## On InceptionV1
#
# The same cells, run with `profile="inception"`, gave the right-hand column. The weights are the BVLC training of
# {term}`InceptionV1` (GoogLeNet), not the paper's. {numref}`fig-census-inception` is the counterpart of
# {numref}`fig-census`.

# %% tags=["hide-input"]
report.save()
display(Markdown(report.compare(
    "living_count", "census_none", "census_half_turn", "census_one_mirror",
    "census_c4", "census_c2_x_c2", "census_d4", "census_all", "symmetric_share",
    "symmetric_at_0.5", "symmetric_at_0.6", "symmetric_at_0.7", "doubtful_share",
    "not_closed", "one_step", "partly", "partly_shuffled", "exact_mirrors",
    "exact_mirrors_chance", "encoder_same", "encoder_inside", "encoder_control",
    "twin", "tau", "tau_best", "drawn_right", "drawn_margin", "network_right")))

# %% [markdown]
# ```{figure} ../book/reference/07_symmetry/census.png
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
                                           if K.conjugacy_class == H.conjugacy_class]
                       for H in mirrors}
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
# - On drawn shapes with an exactly equivariant layer the rule is right for all fourteen. On
#   {term}`planted features` it is right as long as they are learned well enough for the threshold, for errors
#   multiply the profile by $q^2$ ({prf:ref}`prop-errors`).
# - The census of a layer depends on the threshold, so it is shown with it, and with how many labels are doubtful.
#
# ## Limits
#
# The dictionary vector is what a feature *writes*, and a vector that is learned with block-wise noise looks less
# symmetric than the feature is. Symmetries that lie between the group's elements are not seen at all: the axis of
# a curve can only be named if it is one of the group's. And broad tuning and true invariance differ by degree.
#
# ## What next
#
# A stabiliser is all or nothing. {doc}`09_spectra` looks at the same profiles without a threshold, as spectra, and
# asks how equivariant the network is. {doc}`14_answer_key` asks how well each *method* recovers planted features in the
# first place; here only the rule was put to the test on them.
