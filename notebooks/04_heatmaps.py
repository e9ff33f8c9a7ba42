# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Symmetry heatmaps
#
# **You will learn**
#
# - how to draw the symmetry of one feature as a picture, the paper's Figure 5,
# - how to read it: diagonals, four quarters, and what they mean,
# - when such a picture depends only on $g^{-1}h$, and how to measure by how much it fails,
# - how to find curves, lines and invariant features in a whole dictionary without looking,
# - which of these finds to doubt.
#
# **You need** the block action from {doc}`01_groups` and an idea of what a crosscoder is ({doc}`03_training`).
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

import matplotlib.pyplot as plt
import torch
from IPython.display import Markdown, display
from scipy.stats import spearmanr

from groupcc_lite import figures
from groupcc_lite.figures import element_colours
from groupcc_lite.runs import Run, mean_spread
from groupcc_lite.stimuli import SHAPE_NAMES, SHAPES, draw, stimuli
from groupcc_lite.symmetry import (
    act,
    block_cosines,
    centre_activations,
    label_by_response,
    living_dictionary,
    normalised,
    self_similarity,
)

run = Run(profile, seed=seed, images=images, weights=weights)
report = run.report("04_heatmaps")
G, A, model = run.group, run.action, run.model
n = G.order // 2  # rotations; element n + k is s r^k
HALF, QUARTER = n // 2, n // 4  # half a turn and a quarter turn, as numbers of elements
print(run)
assert n % 4 == 0

# %% [markdown]
# ## One feature, many blocks
#
# A {term}`dictionary vector` $F$ has one {term}`block` $F[g]$ for every element of the {term}`group`. Block $g$ says
# what the layer looks like when the {term}`feature` is there and the image has been transformed by $g$. So compare the
# blocks with each other.
#
# ```{prf:definition} Block heatmap
# :label: def-heatmap
#
# The **{term}`block heatmap`** of a dictionary vector $F$ is the picture of the square table
#
# $$ B[g, h] = \cos(F[g], F[h]) , \qquad g, h \in G . $$ (eq-heatmap)
# ```
#
# That is all. If the feature is a line, turning it by half a turn gives the same line, so blocks half a turn
# apart should agree. If it is a blob, all blocks should. The picture is Figure 5 of the paper
# {cite:p}`gorton2024group`.
#
# Before we trust such pictures on learned features, we draw three for which we know the answer. Let the
# "network" be the pixels themselves, and let the "feature" be a drawing: block $g$ holds the pixels of the
# transformed drawing.

# %%
unit = model.input_size / 96  # drawings keep their share of the image
# both even: one common centre
large, small = A.source_size(model.input_size), 2 * int(32 * unit)


def drawing(shape, angle=0.0):
    return draw(shape, angle, large, scale=unit, half_width=1.4 * unit)


def pixels(shape):
    x = A.images(drawing(shape), small)[:, 0].mean(1).flatten(1)
    return x - x.mean()


drawn = torch.stack([pixels(shape) for shape in SHAPES])
print("shapes, blocks, pixels:", tuple(drawn.shape))

# %%
def show_heatmaps(B, names, caption_of=str):
    # small, so that its type is large on a phone
    fig, axes = plt.subplots(1, len(names), figsize=(6, 2.7))
    for ax, matrix, name in zip(axes, B, names, strict=True):
        figures.block_heatmap(matrix, G, ax)
        ax.set_title(caption_of(name), fontsize=10)
        if ax is not axes[0]:
            ax.set_yticklabels([])
    figures.colour_bar(axes, "cosine")
    return fig


three = [SHAPE_NAMES.index(name) for name in ("blob", "line", "curve")]

# %% mystnb={"figure": {"name": "fig-drawn-heatmaps", "caption": "Block heatmaps of three drawings, computed from their pixels; no network. A blob is the same under everything. A line comes back after half a turn, so there is a second diagonal beside the main one. A curve comes back only after a full turn."}, "image": {"alt": "Three square heat maps, each cut into four quarters. The blob's is uniformly dark orange. The line's quarters are crossed by two stripes each, the curve's by one."}} tags=["hide-input"]
with figures.house_style():
    report.figure("drawn", show_heatmaps(block_cosines(drawn[three]),
                                         [SHAPE_NAMES[i] for i in three]))

# %% [markdown]
# Where do the stripes of {numref}`fig-drawn-heatmaps` come from? Watch two heatmaps grow, row by row. Row $g$ compares
# the drawing in position $g$, on the left, with the drawing in all positions, and a dark cell says *the same*. As the
# drawing turns, the dark cells move along. The line meets itself twice in a full turn, the curve once. Then come the
# mirror images, which turn the other way.

# %% tags=["hide-input"]
pair = [SHAPE_NAMES.index("line"), SHAPE_NAMES.index("curve")]
positions = [A.images(drawing(SHAPES[i]), small)[:, 0] for i in pair]
growing = block_cosines(drawn[pair])


def rows_up_to(g):
    fig, axes = plt.subplots(2, 2, figsize=(4, 4.4), width_ratios=[1, 1.9])
    for (left, right), pictures, B_full, i in zip(axes, positions, growing, pair,
                                                  strict=True):
        left.imshow(pictures[g].mean(0), cmap="gray", vmin=0.1, vmax=1)
        left.axis("off")
        left.set_title(f"{SHAPE_NAMES[i]}, {G.latex[g]}", loc="center")
        figures.block_heatmap(B_full, G, right)
        right.axhspan(g + 0.5, G.order, color="white", zorder=3)
        right.axhspan(g - 0.5, g + 0.5, fill=False, edgecolor="black", linewidth=1.5,
                      zorder=5)
        right.set_ylim(G.order - 0.5, -0.5)
    return fig


stops = sorted({*range(0, n, max(1, n // 8)), *range(n, G.order, max(1, n // 4)),
                G.order - 1})
with figures.house_style():
    frames = [figures.png(rows_up_to(g)) for g in stops]
figures.feature_stack(frames, [G.names[g] for g in stops], [
    f"A line and a curve moved by {G.names[g]}, and their heatmaps, filled from the "
    f"top to the row of {G.names[g]}."
    for g in stops], description="rows up to", width="440px")

# %% [markdown]
# ## How to read it
#
# Rows and columns run through the elements in the book's usual order: first the rotations $r^k$, then the
# reflections $sr^k$. The thin lines separate them, so there are four quarters. What is being compared in each?
# Two blocks are apart by the element that leads from one to the other, $g^{-1}h$ ({numref}`fig-quotient`):
#
# | quarter | $g$ | $h$ | $g^{-1}h$ | constant along |
# |---|---|---|---|---|
# | top left | $r^a$ | $r^b$ | $r^{b-a}$ | diagonals that fall to the right |
# | bottom right | $sr^a$ | $sr^b$ | $r^{b-a}$ | the same |
# | top right | $r^a$ | $sr^b$ | $sr^{a+b}$ | diagonals that rise to the right |
# | bottom left | $sr^a$ | $r^b$ | $sr^{a+b}$ | the same |

# %%
quotient = G.table[G.inverse]  # quotient[g, h] is g^-1 h
for a in range(n):
    for b in range(n):
        assert quotient[a, b] == quotient[n + a, n + b] == (b - a) % n
        assert quotient[a, n + b] == quotient[n + a, b] == n + (a + b) % n

# %% mystnb={"figure": {"name": "fig-quotient", "caption": "Which element leads from block g to block h: one colour per element. Rotations (top left and bottom right) are constant along falling diagonals, reflections (pale, the other two quarters) along rising ones. A heatmap that depends on this element alone has its stripes exactly here."}, "image": {"alt": "A square of colours in four quarters. Top left and bottom right have diagonal stripes that fall to the right, the other two have paler stripes that rise to the right."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(4.2, 4.2))
    figures.block_heatmap(torch.zeros(G.order, G.order), G, ax)
    ax.imshow(element_colours(G)[quotient], interpolation="nearest")
    ax.set_title("$g^{-1}h$")

# %% [markdown]
# So here is how to read {numref}`fig-drawn-heatmaps`.
#
# - **Top left: rotations.** The main diagonal is $g^{-1}h = e$ and always 1. A stripe $k$ places beside it says
#   that the feature looks like its copy turned by $r^k$. A second full-strength stripe in the middle is a half
#   turn.
# - **Top right: mirrors.** A stripe along a rising diagonal says that the feature looks like its copy under one
#   reflection. A curve has one mirror, so one stripe (it wraps around). A line has two.
# - **Bottom right** repeats top left, **bottom left** repeats top right, *if* the network treats a mirrored
#   image as it treats the image. If the quarters differ, it does not.
# - **The width of a stripe** says how fast the feature changes: a sharp stripe is tuned finely to orientation.
#
# ## When B depends on the difference only
#
# For the pixels, turning the image moves every pixel value to another place. Lengths and angles between images
# stay as they are. That is the reason for the stripes.
#
# ```{prf:proposition} Stripes and equivariance
# :label: prop-stripes
#
# Let $F[g]$ be blocks of equal length. The cosine $B[g, h]$ depends on $g^{-1}h$ only if and only if there are
# orthogonal matrices $\rho(g)$, with $\rho(g)\rho(h) = \rho(gh)$, such that $F[g] = \rho(g) F[e]$.
# ```
#
# *If:* $\langle F[g], F[h]\rangle = \langle \rho(g)F[e], \rho(h)F[e]\rangle =
# \langle F[e], \rho(g^{-1}h)F[e]\rangle$, because an orthogonal matrix can be moved to the other side as its
# inverse. *Only if:* the map that sends each $F[g]$ to $F[kg]$ preserves all inner products, since
# $(kg)^{-1}kh = g^{-1}h$. So it extends to an orthogonal map of the space that the blocks span; call it $\rho(k)$.
#
# A network with that property is called unitarily {term}`equivariant`. Nobody forced ours to be. So we measure: take
# the mean of $B$ over all pairs with the same $g^{-1}h$, and ask which share of the variance of $B$ it explains,
# without the diagonal, which is 1 anyway. This share is the {term}`equivariance score`. For a blob $B$ hardly varies,
# and the share means nothing.

# %%
pairs = torch.as_tensor(quotient).flatten()
off_diagonal = pairs != 0


def by_element(B):
    """Mean of B over all pairs (g, h) with the same g^-1 h: (m, |G|)."""
    return torch.zeros(len(B), G.order).index_add_(1, pairs, B.flatten(1)) / G.order


def equivariance_share(B):
    """Share of B's variance that a function of g^-1 h explains.

    nan where B hardly varies. This is `symmetry.equivariance_score`, which takes
    dictionary vectors; it is written out here so that one sees what it does.
    """
    values = B.flatten(1)[:, off_diagonal]
    fitted = by_element(B)[:, pairs][:, off_diagonal]
    variance = values.var(1, unbiased=False)
    share = 1 - (values - fitted).square().mean(1) / variance
    return torch.where(variance > 1e-3, share, torch.nan)


of_pixels = equivariance_share(block_cosines(drawn))
print(f"pixels: share explained by g^-1 h is at least "
      f"{of_pixels.nan_to_num(1.0).min():.2f}")
assert of_pixels.nan_to_num(1.0).min() > 0.95

# %% [markdown]
# ## The same drawings through the network
#
# Now the blocks are the layer's {term}`activations <centre activation>` at the image centre, $F[g] = a(g I)(0)$.
# Activations behind a ReLU are never negative, so any two of them have a large cosine. We take off the mean over all
# drawings, as the decoder's bias $b_d$ does in a {term}`crosscoder`. {numref}`fig-network-heatmaps` shows the result.

# %%
def through_network(shape):
    return centre_activations(model, A.images(drawing(shape), model.input_size)[:, 0])


seen = torch.stack([through_network(shape) for shape in SHAPES])
mean = seen.mean((0, 1))
seen = seen - mean
of_network = equivariance_share(block_cosines(seen))

# %% mystnb={"figure": {"name": "fig-network-heatmaps", "caption": "The same three drawings, now as activations of the profile's network at the image centre. Stripes are where they should be, although the network was never told about rotations; between the stripes they are less even than for pixels."}, "image": {"alt": "Three square heat maps like the ones for pixels: uniform for the blob, two stripes in each quarter for the line, one for the curve, with blue, negative areas between the stripes."}} tags=["hide-input"]
with figures.house_style():
    fig = show_heatmaps(block_cosines(seen[three]), [SHAPE_NAMES[i] for i in three])
    report.figure("network", fig)

# %%
c_seen = self_similarity(seen, G)
print(f"{'shape':>14}  share  half turn  quarter  best mirror  least")
for shape, share, c in zip(SHAPES, of_network, c_seen, strict=True):
    print(f"{shape.name:>14}  {share:5.2f}  {c[HALF]:9.2f}  {c[QUARTER]:7.2f}  "
          f"{c[n:].max():11.2f}  {c.min():5.2f}")
median_share = report.number("network_share", float(of_network.nanmedian()),
                             note="share of B that g⁻¹h explains, drawn shapes through "
                                  "the network, median")

# %% [markdown]
# Be careful with what this shows. A drawn line *is* the same image after half a turn, so *any* function of the
# image has the line's second diagonal ({ref}`ex-random-network` tries a random one). What does not
# come for free is how evenly $B$ follows $g^{-1}h$ between those diagonals. That is what the column *share* says. It is
# not 0 for random weights either, so compare it with theirs in {ref}`an exercise <ex-random-network>`.
#
# ### The interpolation floor
#
# There is another limit, and it is ours. Only eight elements are {term}`exact <exact element>`; the rest are
# interpolated, and an interpolated image is a little blurred. We can see how much that matters, because a drawing can
# also be *redrawn* at the new angle, without any interpolation.

# %%
def redrawn(shape):
    turned = torch.arange(n) * (2 * math.pi / n)
    # our shapes are their own mirror images along their axis
    angles = torch.cat([turned, math.pi - turned])
    edge = (large - model.input_size) // 2
    pictures = torch.cat([drawing(shape, float(angle)) for angle in angles])
    return centre_activations(model,
                              pictures[:, :, edge:large - edge, edge:large - edge])

# %%
again = torch.stack([redrawn(shape) for shape in SHAPES]) - mean
agreement = torch.cosine_similarity(seen, again, dim=-1)  # (shape, element)
exact = torch.tensor(A.exact)
print(f"interpolated against redrawn, exact elements:     at least "
      f"{agreement[:, exact].min():.3f}")
assert exact.sum() == 8 and agreement[:, exact].min() > 0.99
if not exact.all():
    floor = report.number("interpolation_floor", float(agreement[:, ~exact].mean()),
                          note="cosine of interpolated and redrawn activations, "
                               "resampled elements, mean")
    print(f"interpolated against redrawn, resampled elements: {floor:.3f} on average, "
          f"{agreement[:, ~exact].min():.3f} at worst")

# %% [markdown]
# No cosine between an exact and a resampled block can be expected to exceed that. When you compare two features,
# compare them on the same elements.
#
# ## From a matrix to a profile
#
# If a heatmap depends on $g^{-1}h$ only, it holds just $\lvert G\rvert$ numbers. Here is a route to them that needs no
# such assumption.
#
# ```{prf:definition} Self-similarity profile
# :label: def-profile
#
# The **{term}`self-similarity profile`** of a dictionary vector $F$ is its cosine with its own transformed copy
# ({prf:ref}`def-block-action`),
#
# $$ c(h) = \cos(F, h \cdot F), \qquad (h \cdot F)[g] = F[gh] . $$ (eq-profile)
# ```
#
# Heatmap and profile are tied together.
#
# ```{prf:proposition} The profile is a mean along stripes
# :label: prop-mean
#
# With $w_g = \lVert F[g]\rVert / \lVert F\rVert$,
#
# $$ c(h) = \sum_g w_g\, w_{gh}\, B[g, gh] . $$ (eq-stripe)
# ```
#
# Since $g^{-1}(gh) = h$, the sum runs along the stripe of $h$, and longer blocks count more.
# {numref}`fig-drawn-profiles` shows profiles of drawings.

# %%
w = seen.norm(dim=2) / seen.flatten(1).norm(dim=1, keepdim=True)
B = block_cosines(seen)
g = torch.arange(G.order)
for h in range(G.order):
    gh = torch.as_tensor(G.table[:, h])
    assert torch.allclose(c_seen[:, h], (w * w[:, gh] * B[:, g, gh]).sum(1), atol=1e-4)

# %% mystnb={"figure": {"name": "fig-drawn-profiles", "caption": "Self-similarity profiles of the drawn blob, line and curve through the network. Blue: rotations, where the line returns to 1 at 180° and the curve does not. Orange: reflections, where the line reaches 1 twice and the curve once. Where only orange is seen, both coincide."}, "image": {"alt": "Three line plots over the angle. For the blob both lines stay at one. For the line, rotations peak at 0, 180 and 360 degrees. For the curve only at 0 and 360 degrees."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(1, 3, figsize=(6, 2.9), sharey=True)
    for ax, i in zip(axes, three, strict=True):
        figures.self_similarity_profile(c_seen[i], G, ax, legend=False)
        ax.set_title(SHAPE_NAMES[i])
        ax.set_ylabel("$c(h)$" if i == three[0] else "")
        ax.set_xticks([0, 180, 360], ["0°", "180°", "360°"])
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center",
               ncols=2)

# %% [markdown]
# ## Learned features
#
# Now to the trained crosscoder. We keep the features that {term}`fire <firing>` on {term}`held-out images`.

# %%
coder = run.coder()
D, features = living_dictionary(coder, run.evaluate(coder).frequency)
B, c = block_cosines(D), self_similarity(D, G)
share = equivariance_share(B)
living_count = report.number("living_count", len(D),
                             note="features that fire on held-out images")
report.number("feature_share", float(share.nanmedian()),
              note="share of B that g⁻¹h explains, learned features, median")
print(f"{living_count} of {coder.latents} features fire; median share explained by "
      f"g^-1 h: {share.nanmedian():.2f}")

# %% [markdown]
# A learned vector has two handicaps that a drawing has not.
#
# **The {term}`linear ceiling`.** The crosscoder sees $x[e]$ alone and knows the other blocks only as far as $x[e]$
# determines them ({doc}`chapter 3 <03_training>`). What it cannot predict it leaves out, so the block $F[e]$ is the
# longest. Uneven lengths lower the profile even where all blocks point the same way: then $c(h) = \sum_g w_g w_{gh}$,
# which is at most 1.
#
# **Noise.** Directions are learned from finitely many samples, and noise in two blocks lowers their cosine.

# %%
w = D.norm(dim=2) / D.flatten(1).norm(dim=1, keepdim=True)
ceiling = torch.as_tensor(run.ceiling()).float()
could_be = torch.stack([(w * w[:, G.table[:, h]]).sum(1) for h in range(1, G.order)])
print(f"share of the squared length in block e: {w[:, 0].square().mean():.3f}, equal "
      f"blocks: {1 / G.order:.3f}")
print(f"linear ceiling of the other blocks:     {ceiling[1:].mean():.2f} on average")
print(f"c(h) if all blocks pointed one way:     {could_be.mean():.3f} on average")
report.number("length_limit", float(could_be.mean()),
              note="c(h) that unequal block lengths leave possible, mean")
if profile == "book":
    assert w[:, 0].square().mean() > 1.5 / G.order and could_be.mean() > 0.95

# %% [markdown]
# In the book's run block $e$ is clearly longer than its share, and yet the lengths cost at most a few per cent. What
# is missing from 1 in a profile is a matter of direction.
#
# ## Finding curves and lines without looking
#
# The paper shows three features. We want to find *all* features of a kind, by rules, and count them.
#
# ```{prf:definition} Kinds of features
# :label: def-kinds
#
# An element $h$ is *present* in a feature when $c(h) \ge 0.5$, *absent* when $c(h) \le 0.3$, and in doubt between. A
# feature is
#
# - **curve-like** if the best mirror is present and the half turn is absent,
# - **line-like** if the half turn is present and the quarter turn is absent,
# - a **quarter-turn** feature (think of crosses) if the quarter turn is present, but not everything,
# - **{term}`invariant`** if every element is present.
# ```

# %%
PRESENT, ABSENT = 0.5, 0.3


def kinds(c, present=PRESENT, absent=ABSENT):
    half, quarter = c[:, HALF], c[:, QUARTER]
    mirror, least = c[:, n:].amax(1), c.amin(1)
    return {"curve-like": (mirror >= present) & (half <= absent),
            "line-like": (half >= present) & (quarter <= absent),
            "quarter-turn": (quarter >= present) & (least < present),
            "invariant": least >= present}


found = kinds(c)
for name, among in found.items():
    print(f"{name:>13}: {int(among.sum()):4d} of {living_count}")
two = torch.stack(list(found.values())).sum(0) > 1  # a broad curve at the thresholds
print(f"of two kinds: {int(two.sum())}")
assert two.float().mean() < 0.01

# %% [markdown]
# Why 0.5? Because unrelated features hardly ever get there. We compare each feature with a *different* one, drawn at
# random, in place of itself. The best of $n$ mirrors gets more tries than the half turn, so it needs its own
# check.

# %%
other = torch.randperm(len(D), generator=torch.Generator().manual_seed(seed))
other = torch.where(other == torch.arange(len(D)), other.roll(1), other)
F = normalised(D)
null = torch.stack([(F * act(F[other], G, h)).sum((1, 2)) for h in range(G.order)],
                   dim=1)
chance = {"half turn": null[:, HALF], "best mirror": null[:, n:].amax(1)}
for name, values in chance.items():
    print(f"{name:>11} of unrelated features: median {values.median():.2f}, "
          f"at least {PRESENT} for {(values >= PRESENT).float().mean():.1%}")
    report.number("null_" + name.replace(" ", "_"),
                  float((values >= PRESENT).float().mean()),
                  note=f"unrelated pairs whose {name} would count as present")
if profile == "book":
    assert all((values >= PRESENT).float().mean() < 0.01 for values in chance.values())

# %% [markdown]
# ## Figure 5: three in a row
#
# The paper's figure shows three features "of decreasing curvature": two curves and a line. Ours are chosen by
# the profile, one rule each: the curve-like feature with the clearest contrast between mirror and half turn; the
# feature with a good mirror whose half turn is closest to the middle of the doubtful zone; the line-like feature
# with the clearest contrast between half and quarter turn. {numref}`fig-three` shows them, and {numref}`fig-kinds` the
# three clearest of each kind.

# %%
def clearest(score, among):
    """The feature with the best score of a kind; of all if there are none."""
    among = among if among.any() else torch.ones_like(among)
    return int(torch.where(among, score, -torch.inf).argmax())


half, quarter, mirror = c[:, HALF], c[:, QUARTER], c[:, n:].amax(1)
middle = -(half - (PRESENT + ABSENT) / 2).abs()
row = [clearest(mirror - half, found["curve-like"]),
       clearest(middle, mirror >= PRESENT),
       clearest(half - quarter, found["line-like"])]
row = sorted(row, key=lambda i: half[i])
if profile == "book":
    assert found["curve-like"][row[0]] and found["line-like"][row[2]]


def title(i):
    return f"f/{features[i]}\n$c(180°)$ = {half[i]:.2f}"


# %% mystnb={"figure": {"name": "fig-three", "caption": "Block heatmaps of three learned features, chosen by rule, after the paper's Figure 5. Left: a curve-like feature, blocks alike only after a full turn. Middle: in between. Right: the clearest line-like feature, with additional diagonals at 180°."}, "image": {"alt": "Three square heat maps. From left to right a second diagonal, half a turn away from the main one, grows from absent to strong."}} tags=["hide-input"]
with figures.house_style():
    report.figure("three_in_a_row", show_heatmaps(B[row], row, title))

# %% mystnb={"figure": {"name": "fig-kinds", "caption": "The three clearest features of each kind, selected by rule. Columns from left to right: curve-like, line-like, invariant. A kind with fewer than three features shows the next best, so read the number above each: it is c at half a turn."}, "image": {"alt": "Nine square heat maps in three rows. The left column has single diagonals, the middle column double ones, the right column is evenly coloured."}} tags=["hide-input"]
scores = {"curve-like": mirror - half, "line-like": half - quarter,
          "invariant": c.amin(1)}
columns = {name: torch.where(found[name], score, score - 10).topk(3).indices.tolist()
           for name, score in scores.items()}
with figures.house_style():
    fig, axes = plt.subplots(3, 3, figsize=(6, 7))
    for column, (name, chosen) in zip(axes.T, columns.items(), strict=True):
        for ax, i in zip(column, chosen, strict=True):
            figures.block_heatmap(B[i], G, ax)
            ax.set_title(f"f/{features[i]}: {half[i]:.2f}", fontsize=11)
            if column[0] is not axes[0, 0]:
                ax.set_yticklabels([])
        column[0].set_title(f"{name}\n{column[0].get_title(loc='left')}", fontsize=11)
    report.figure("kinds", fig)

# %% [markdown]
# ## Does the other half of the coder agree?
#
# The heatmap looks at the decoder only. The encoder is a separate matrix, and it can be asked separately: show it
# drawn shapes in all orientations, and compare the responses to all stimuli with the responses to the same
# stimuli transformed by $h$ (`shown.act(A, h)` says which stimulus each one becomes). If a feature does not mind half a turn, it should respond alike. This
# **response profile** never sees a dictionary vector.

# %%
shown = stimuli(model.input_size, n * max(1, 32 // n))
with torch.no_grad():
    x0 = centre_activations(model, shown.images)
    responses = coder.preactivations(x0.to(coder.W_e.device)).relu().cpu()[:, features]
z = responses - responses.mean(0)
z = z / z.norm(dim=0).clamp(min=1e-9)
response = torch.stack([(z * z[shown.act(A, h)]).sum(0) for h in range(G.order)], dim=1)
assert torch.allclose(response[:, 0][z.norm(dim=0) > 0.5], torch.tensor(1.0), atol=1e-4)

# %%
rank = spearmanr(half, response[:, HALF]).statistic
report.number("encoder_rank_correlation", float(rank),
              note="half turn by decoder and by encoder, rank correlation")
print(f"rank correlation over all features, half turn: {rank:.2f}")
for kind in ("curve-like", "line-like", "quarter-turn", "invariant"):
    r = response[found[kind]]
    if len(r):
        print(f"{kind:>13}: response at half turn {r[:, HALF].median():5.2f}, quarter "
              "turn "
              f"{r[:, QUARTER].median():5.2f}, mean over all elements "
              f"{r[:, 1:].mean(1).median():5.2f}")

# %% mystnb={"figure": {"name": "fig-encoder", "caption": "Half-turn similarity of every feature: by its dictionary vector (across) and by its encoder's responses to drawn shapes (up). Dashed lines are the two thresholds. The two halves of the coder were trained for different jobs, so agreement is evidence, and the upper left and lower right corners hold the features to doubt."}, "image": {"alt": "A scatter plot of features with line-like and curve-like features in different colours. Line-like features lie to the right, mostly high up; curve-like features lie to the left and spread from bottom to top."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 4.6))
    codes = torch.full((len(D),), -1)
    for code, name in enumerate(found):
        codes[found[name]] = code
    for code, name in enumerate(["none of these", *found], -1):
        of_kind = codes == code
        ax.scatter(half[of_kind], response[of_kind, HALF], s=14 if code < 0 else 28,
                   marker="oos^D"[code + 1], color="#c4cbd1" if code < 0 else None,
                   label=f"{name} ({int(of_kind.sum())})", zorder=2 + code)
    for threshold in (ABSENT, PRESENT):
        ax.axvline(threshold, color="0.4", linestyle="--", linewidth=1)
    ax.set(xlabel="$c(180°)$ of the dictionary vector",
           ylabel="of the responses to shapes", ylim=(-0.4, 1.04))
    ax.legend(loc="upper left", bbox_to_anchor=(0, 1.27), ncols=2)
    report.figure("encoder", fig)

# %% [markdown]
# Compare the lines of the printed table. Line-like features respond alike after half a turn, curve-like ones do
# not. That is what the words promise, and it is asserted below for the book's own run.
#
# The last line is a warning. In the book's run the features that the *decoder* calls invariant do not respond alike
# under the group. There is no contradiction: a feature can read an oriented pattern and still write the same
# direction into every block. The word *invariant* in this chapter is about what a feature writes.

# %% tags=["hide-input"]
for kind, key in (("curve-like", "curve"), ("line-like", "line")):
    among = found[kind]
    report.number(f"{key}_count", int(among.sum()), note=f"{kind} features")
    if among.any():
        report.number(f"{key}_half_turn", float(half[among].median()),
                      note=f"c at half a turn, {kind} features, median")
        report.number(f"{key}_response_half_turn",
                      float(response[among, HALF].median()),
                      note=f"the same by the encoder's responses, {kind} features")
report.number("invariant_count", int(found["invariant"].sum()),
              note="invariant features")
report.number("quarter_count", int(found["quarter-turn"].sum()),
              note="quarter-turn features")
if profile == "book":
    assert response[found["line-like"],
                    HALF].median() > 0.5 > response[found["curve-like"], HALF].median()
    assert response[found["invariant"], 1:].mean(1).median() < 0.5

# %% [markdown]
# ### Three features to doubt
#
# A selection by thresholds always catches some that do not belong. Three rules find the most doubtful ones: the
# feature whose decoder claims a half turn while its encoder most denies it; the feature in the middle
# of the doubtful zone; and, among features with any clear symmetry, the one whose heatmap is the least a
# function of $g^{-1}h$.

# %%
claims = half >= PRESENT
doubtful = [clearest(-response[:, HALF], claims), clearest(middle, ~claims),
            clearest(-share.nan_to_num(1.0), mirror >= PRESENT)]


def doubt(i):
    return (f"f/{features[i]}, share {share[i]:.2f}\ndictionary {half[i]:.2f}\n"
            f"encoder {response[i, HALF]:.2f}")


# %% mystnb={"figure": {"name": "fig-doubtful", "caption": "Three doubtful features, chosen by rule. Above each: half-turn similarity by dictionary vector and by encoder, and the share of the heatmap that g⁻¹h explains. Left: decoder and encoder disagree. Middle: neither present nor absent. Right: a symmetry is there on average, but the heatmap is patchy."}, "image": {"alt": "Three square heat maps with weak, broken or patchy diagonals."}} tags=["hide-input"]
with figures.house_style():
    report.figure("doubtful", show_heatmaps(B[doubtful], doubtful, doubt))

# %% [markdown]
# Patches in the right-hand picture can have a mundane cause. If a feature fires for fine detail, which interpolation
# blurs away, then exact blocks are alike and resampled blocks are alike, and the two sorts differ. So look at what
# is left of $B$ after taking off the part that $g^{-1}h$ explains, and compare pairs of one sort with mixed pairs.

# %%
mixed = exact[:, None] != exact[None, :]
if mixed.any():
    residual = B - by_element(B)[:, torch.tensor(quotient)]
    off = ~torch.eye(G.order, dtype=torch.bool)
    blur = residual[:, ~mixed & off].mean(1) - residual[:, mixed].mean(1)
    report.number("blur_median", float(blur.median()),
                  note="gap between pairs of one sort and mixed pairs, median")
    report.number("blur_features", int((blur > 0.1).sum()),
                  note="features with a gap above 0.1")
    print(f"gap between pairs of one sort and mixed pairs: median {blur.median():.3f}, "
          f"above 0.1 for {int((blur > 0.1).sum())} features; "
          f"f/{features[doubtful[2]]}: {blur[doubtful[2]]:.2f}")
else:
    print("every element of", G.name, "is exact, so interpolation cannot be the cause")

# %% [markdown]
# ## Does curvature predict the second diagonal?
#
# "Decreasing curvature" is a claim about what features respond to. So we measure that as well: the curvature
# of the drawn arcs, weighted by the feature's largest response to each; 0 for lines. If the claim
# is right, features that prefer less curvature have a stronger half turn.

# %%
curvature = {"line": 0.0, "wide curve": 1 / 26, "curve": 1 / 14, "tight curve": 1 / 8}
labels = label_by_response(coder, x0, shown.shape)
columns = [SHAPE_NAMES.index(name) for name in curvature]
strongest = torch.as_tensor(labels.response[features][:, columns])
preferred = strongest @ torch.tensor(list(curvature.values()))
preferred = preferred / strongest.sum(1).clamp(min=1e-9)
arcs = torch.as_tensor([SHAPE_NAMES[k] in curvature if k >= 0 else False
                        for k in labels.label[features]])
print(f"{int(arcs.sum())} features prefer a line or a curve to all other shapes")
if arcs.sum() > 5:
    for name, values in (("dictionary", half), ("encoder", response[:, HALF])):
        rho = spearmanr(preferred[arcs], values[arcs]).statistic
        report.number(f"curvature_{name}_correlation", float(rho),
                      note=f"preferred curvature and half-turn similarity by {name}, "
                           "rank correlation")
        print(f"rank correlation of curvature and half turn by the {name}: {rho:.2f}")

# %% [markdown]
# A negative number supports the claim. Check the size before you quote it: the label comes from drawings at the
# *centre*, while many features of a real layer look at a stroke beside their centre, and such a feature has no
# half turn however straight the stroke is.
#
# ## How many, and does it hold?
#
# The counts depend on where the thresholds are, and on the random start of the training. Both are easily
# varied.

# %%
levels = torch.arange(0.3, 0.86, 0.05).tolist()
sweep = {name: [int(kinds(c, p, p - 0.2)[name].sum()) for p in levels]
         for name in found}

# %%
by_seed = []
for other_seed in range(seed, seed + run.profile.seeds):
    of_seed = run.coder(seed=other_seed)
    D_seed, _ = living_dictionary(of_seed, run.evaluate(of_seed).frequency)
    c_seed = self_similarity(D_seed, G)
    by_seed.append({name: 100 * float(among.float().mean())
                    for name, among in kinds(c_seed).items()})

# %%
for name in found:
    values = torch.tensor([row_[name] for row_ in by_seed])
    key = name.replace("-", "_")
    report.number(f"percent_{key}", float(values.mean()), unit="%",
                  note=f"{name}, mean over seeds")
    report.number(f"spread_{key}", float(values.std()), unit="%",
                  note=f"{name}, standard deviation")
    print(f"{name:>13}: {mean_spread(values, 1)} % of the living features, "
          f"{len(values)} seeds")

# %% mystnb={"figure": {"name": "fig-sweep", "caption": "How many features are of each kind when the threshold for present moves (absent is always 0.2 below). The dashed line marks 0.5, used in this chapter. Counts change gradually: there is no gap in the data that would make one threshold the right one."}, "image": {"alt": "Four falling curves on a logarithmic scale, curve-like on top, line-like, quarter-turn and invariant far below."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 4))
    for (name, counts), marker in zip(sweep.items(), "os^D", strict=True):
        ax.plot(levels, counts, marker=marker, label=name)
    ax.axvline(PRESENT, color="0.4", linestyle="--", linewidth=1)
    ax.set_yscale("symlog", linthresh=1)
    ax.set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])
    ax.set(xlabel="threshold for “present”", ylabel="features",
           ylim=(-0.1, living_count))
    ax.legend(loc="upper left", bbox_to_anchor=(0, 1.25), ncols=2)
    report.figure("sweep", fig)

# %% [markdown]
# {numref}`fig-sweep` says it: a count without its threshold says nothing. Thresholds that are calibrated on data with
# known answers, and whole {term}`stabilisers <stabiliser>` instead of a few kinds, are the subject of
# {doc}`07_symmetry`.
#
# ## Walk through the features
#
# The features below are sorted by their half-turn similarity. In Jupyter and on Colab the slider offers every
# living feature; on a web page, where no Python runs, a selection that was drawn beforehand.

# %% tags=["hide-input"]
def card(i):
    with figures.house_style():
        fig, (left, right) = plt.subplots(1, 2, figsize=(6.2, 3))
        figures.block_heatmap(B[i], G, left)
        figures.self_similarity_profile(c[i], G, right)
        left.set_title(f"f/{features[i]}")
    return fig


def describe(i):
    return (f"Heat map and profile of feature {features[i]}: half turn {half[i]:.2f}, "
            "quarter turn "
            f"{quarter[i]:.2f}, best mirror {mirror[i]:.2f}")


ordered = {f"f/{features[i]}: {half[i]:.2f}": int(i) for i in half.argsort().tolist()}
figures.explorer(card, ordered, alt=describe, description="c(180°)", frames=9)

# %% [markdown]
# ## On InceptionV1
#
# The same cells, run with `profile="inception"`, gave the right-hand column. The weights are the BVLC training of
# {term}`InceptionV1` (GoogLeNet), not the paper's. {numref}`fig-three-inception`, {numref}`fig-kinds-inception`,
# {numref}`fig-encoder-inception` and {numref}`fig-doubtful-inception` are the counterparts of the figures above.

# %% tags=["hide-input"]
report.save()
display(Markdown(report.compare(
    "living_count", "curve_count", "curve_half_turn", "curve_response_half_turn",
    "line_count", "line_half_turn",
    "line_response_half_turn", "quarter_count", "invariant_count", "feature_share",
    "network_share",
    "encoder_rank_correlation", "null_half_turn", "null_best_mirror",
    "percent_curve_like", "spread_curve_like",
    "percent_line_like", "spread_line_like", "percent_invariant", "spread_invariant")))

# %% [markdown]
# ```{figure} ../book/reference/04_heatmaps/three_in_a_row.png
# :alt: Three square heat maps of InceptionV1 features. Left, one diagonal per quarter and faint others; middle, warm nearly everywhere; right, clear further diagonals.
# :name: fig-three-inception
#
# InceptionV1, mixed3b, reference run (profile `inception`): three features chosen by the rules of this chapter,
# in order of increasing half-turn similarity. Compare with Figure 5 of the paper.
# ```
#
# ```{figure} ../book/reference/04_heatmaps/kinds.png
# :alt: Nine square heat maps of InceptionV1 features in three columns, curve-like, line-like and invariant.
# :name: fig-kinds-inception
#
# InceptionV1, reference run: the three clearest features of each kind, as in {numref}`fig-kinds`.
# ```
#
# ```{figure} ../book/reference/04_heatmaps/encoder.png
# :alt: A scatter plot of half-turn similarity of InceptionV1 features by dictionary vector and by encoder responses.
# :name: fig-encoder-inception
#
# InceptionV1, reference run: half-turn similarity by dictionary vector and by the encoder's responses, as in
# {numref}`fig-encoder`.
# ```
#
# ```{figure} ../book/reference/04_heatmaps/doubtful.png
# :alt: Three square heat maps of InceptionV1 features. Two are warm all over with one clear diagonal, the right one is a regular lattice with gaps.
# :name: fig-doubtful-inception
#
# InceptionV1, reference run: doubtful features, chosen by the rules of {numref}`fig-doubtful`.
# ```
#
# ## Exercises
#
# ```{exercise} A cross
# :label: ex-cross
#
# A cross has quarter turns and four mirrors. Sketch its block heatmap. How many stripes are in each quarter?
# Then check with `drawn`.
# ```
#
# ```{solution-start} ex-cross
# :class: dropdown
# ```
#
# Four stripes in each quarter: the rotations by multiples of 90° top left, four mirrors top right.

# %%
cross = by_element(block_cosines(drawn[[SHAPE_NAMES.index("cross")]]))[0]
rotations, mirrors = (half.topk(4).indices.sort().values.tolist()
                      for half in (cross[:n], cross[n:]))
print("rotations with the largest values:", rotations)
print("mirrors with the largest values:  ", mirrors)
assert rotations == mirrors == list(range(0, n, n // 4))

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} A network that knows nothing
# :label: ex-random-network
#
# Replace the network by random weights: multiply the pixels of `drawn` by a random matrix with 64 columns and
# apply a ReLU. Which stripes does a line keep? What happens to the share that $g^{-1}h$ explains?
# ```
#
# ```{solution-start} ex-random-network
# :class: dropdown
# ```

# %%
generator = torch.Generator().manual_seed(seed)
random_network = (drawn @ torch.randn(drawn.shape[-1], 64, generator=generator)).relu()
random_network = random_network - random_network.mean((0, 1))
c_random = self_similarity(random_network, G)
share_random = equivariance_share(block_cosines(random_network))
line, curve = SHAPE_NAMES.index("line"), SHAPE_NAMES.index("curve")
print(f"line at half a turn: {c_random[line, HALF]:.3f}")
print(f"share for a curve: random {share_random[curve]:.2f}, trained "
      f"{of_network[curve]:.2f}, "
      f"pixels {of_pixels[curve]:.2f}")
assert c_random[line, HALF] > 0.99
assert share_random[curve] < of_pixels[curve]

# %% [markdown]
# The line keeps its half turn at full strength: the image is the same, so any function of it is. The share drops,
# because random weights treat some orientations differently from others.
#
# ```{solution-end}
# ```
#
# ```{exercise} Propellers
# :label: ex-propellers
#
# The letters S, N and Z have a half turn and no mirror. Write a rule for such features with the thresholds of
# this chapter. How many are there?
# ```
#
# ```{solution-start} ex-propellers
# :class: dropdown
# ```

# %%
propellers = (half >= PRESENT) & (mirror <= ABSENT)
print(int(propellers.sum()), "features with a half turn and no mirror;",
      int(((half >= PRESENT) & (mirror > ABSENT)).sum()),
      "with a half turn and possibly a mirror")
assert not (propellers & found["curve-like"]).any()

# %% [markdown]
# The drawings of this book have no propellers among them, and few features of an early layer tell left from right,
# so expect few or none.
#
# ```{solution-end}
# ```
#
# ## Summary
#
# - The block heatmap $B[g, h] = \cos(F[g], F[h])$ shows a feature's symmetry as stripes: rotations along falling
#   diagonals, mirrors along rising ones.
# - By {prf:ref}`prop-stripes` it depends on $g^{-1}h$ only exactly when orthogonal matrices turn the blocks into each
#   other. How far
#   that holds is a number. For a drawn curve it is higher in a trained network, which was never asked for it, than for
#   random weights.
# - The profile $c(h)$ is the heatmap averaged along its stripes ({prf:ref}`prop-mean`). Half turn, quarter turn and
#   best mirror sort features into curve-like, line-like, quarter-turn and invariant ones ({prf:ref}`def-kinds`).
# - The encoder is an independent witness. It agrees with line-like and curve-like as groups, and not with every
#   single feature.
#
# ## Limits
#
# A heatmap shows the symmetry of what the decoder writes, averaged over everything the feature fires for. It
# does not say what the feature looks for; {doc}`06_seeing` does. The thresholds are conventions. And the
# responses are taken at the image centre, so features that look beside it are judged unfairly.
#
# ## What next
#
# {doc}`05_families` compares features with *each other* instead of with themselves.
