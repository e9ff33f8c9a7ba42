# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sampling orbits
#
# Turn a photograph, and a layer of a network says something else. Could one have known what, without running the network
# again? If it could be computed from what the layer said to the photograph as it was, the network would treat both in
# one lawful way; if not, it would see two pictures. To ask this, one needs *the same point* of the picture in every
# turned and mirrored copy, and what the layer says there: an {term}`orbit vector`. This chapter makes these data for
# all that follows, and asks the simplest form of the question: how much does one fixed matrix for each turn or mirror
# predict? (The measure is *variance explained*: 1 is a perfect prediction, 0 no better than always saying the mean, below
# 0 worse than that; {prf:ref}`def-fve` has the formula.)
#
# **On {term}`InceptionV1`** it predicts about half of the variance of what a layer says to the transformed photograph.
# Is that much? Random weights are easier to predict, and pixels easiest ({numref}`fig-learning-inception`). So such a
# number is no measure of what a network has learned. It is a reference, to compare later chapters with.
#
# ```{figure} ../book/reference/02_orbits/learning.png
# :alt: A rising line that ends at one half, and three dashed levels: patches highest, then untrained, then trained.
# :name: fig-learning-inception
#
# InceptionV1, mixed3b, reference run: how much of the response to a transformed photograph a matrix predicts, against
# the number of photographs that it was fitted on. Dashed, with fewer photographs: the same network (*trained*), its
# architecture with random weights (*untrained*), and raw pixels (*patches*).
# ```
#
# **You will learn**
#
# - how a point of an image is followed through all transformed images, and read from a network,
# - what a linear map can say about the turned image, and why that is no measure of what a network has learned,
# - in the appendices: why the activation grid is not centred on the image, and what it costs to ignore this; how to find
#   out *from the network itself* whether points are read in the right place; how much is lost by interpolation, and what
#   it takes to lose nothing; how the data set is stored, checked and resumed.
#
# **You need** {doc}`01_groups`: the group $D_n$, its action on images and points, and orbit vectors.
#
# **Run time** a few minutes on one CPU core, most of it for orbits, those of three control networks among them. They
# are kept on disk, and the later chapters use them again.
#
# **Look up** symbols in {doc}`../book/notation`, words in the {doc}`../book/glossary`. The first use of a word leads
# there.
#
# ```{admonition} The short way
# :class: tip
#
# Later chapters need all sections before the exercises: half an hour. The appendices are for those who sample orbits
# themselves. They check where points are read, measure what reading between cells changes, and show how orbits are kept
# on disk.
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
profile = "book"
seed = 0
images = None  # a folder of photographs, for the profiles inception and paper
weights = None  # a weights file for the profile's model

# %% tags=["hide-input"]
import tempfile
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import HTML, Markdown, display

from groupcc_lite import figures
from groupcc_lite.actions import PlanarAction
from groupcc_lite.base import interval_of, sha256_of
from groupcc_lite.coders import copy_fve
from groupcc_lite.figures import BLUE, GREEN
from groupcc_lite.groups import dihedral
from groupcc_lite.orbits import (
    OrbitStore,
    mask_points,
    read_at,
    sample_orbits,
    transformed_cells,
)
from groupcc_lite.runs import Run, table_by_column
from groupcc_lite.stimuli import ImageSubset
from groupcc_lite.symmetry import (
    act,
    ceiling_curve,
    centred,
    equivariance_score,
    fitting_batches,
    interval_over_images,
    linear_ceiling,
    linear_map,
    missed_by_image,
    self_similarity,
    supported_stabilisers,
)

run = Run(profile, seed=seed, images=images, weights=weights)
report = run.report("02_orbits")
model, action, G = run.model, run.action, run.group
geometry, S, n = model.geometry, model.input_size, run.group.order // 2
print(run)

# %% [markdown]
# ## The plan
#
# {doc}`Chapter 1 <01_groups>` introduced {term}`orbit vectors <orbit vector>` ({prf:ref}`def-orbit-vector`),
#
# $$ x[g] = a(gI)(gp), \qquad g \in G, $$ (eq-orbit)
#
# where $G$ is the {term}`group`, $I$ is an image, $p$ a point in it, and $a(I)(p)$ the {term}`activations <activation>`
# of one layer at that point: one number per channel. In words: transform the image, run the network, and look where the
# point has gone. One image costs $\lvert G\rvert$ runs of the network, and gives many points.
#
# Three decisions are hidden in {eq}`eq-orbit`. Which points? Where *exactly* is $gp$ in the grid of activations?
# And what are transformed pixels, when $g$ does not map pixels to pixels?
#
# Points are measured in pixels from the centre of the image, $x$ to the right and $y$ down. So $gp$ is a product
# with a $2 \times 2$ matrix, and the same matrix turns the image ({numref}`fig-follow`).

# %%
image = run.source("train").load([0])
example = sample_orbits(model, action, image, points_per_image=5, seed=seed)
moved = action.points(example.points)  # (|G|, 5, 2)
turned = action.images(image, S)[:, 0]
assert example.blocks.shape == (5, G.order, model.channels)

# %% mystnb={"figure": {"name": "fig-follow", "caption": "One image of this run's images under six elements of the group, with five points. A point keeps its colour: it stays on the same spot of the scene. The white ring is the mask: inside it, what a cell of the layer can see lies within the image, whatever the transformation."}, "image": {"alt": "Six copies of one image, three rotated and three mirrored and rotated. Five coloured dots inside a white circle move along with the scene."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(2, 3, figsize=(7.4, 5.4))
    for g, ax in zip((0, 1, n // 2, n, n + 1, n + n // 2), axes.flat, strict=True):
        figures.points_on_image(turned[g], moved[g], ax,
                                mask_radius=geometry.max_mask_radius)
        ax.set_title(G.latex[g])

# %% [markdown]
# ## Which points
#
# A cell of a deep layer sees a square of pixels, its **{term}`receptive field`**. Near the border that square reaches
# past the image, where the network pads with zeros. Padding does not turn with the image, so take points within a
# circle around the centre, the **{term}`mask`**, whose radius is
#
# $$ \text{mask radius} = \tfrac12\,(\text{input size} - \text{receptive field}). $$ (eq-mask)
#
# Most of an image is background. So points are drawn without replacement, $P(p)$ in proportion to the activation's
# length,
#
# $$ P(p) \propto \lVert a(I)(p) \rVert . $$ (eq-norm)
#
# This is the recipe of the paper {cite:p}`gorton2024group`, section 2.2; the mask radius is our choice.

# %%
@torch.no_grad()
def activations(pictures):
    return torch.cat([model(part.to(run.device)).cpu() for part in pictures.split(8)])


def read(grid, points):
    return read_at(grid, geometry.cells(points).expand(len(grid), -1, -1))


inside = mask_points(geometry, geometry.max_mask_radius)
print(f"input {S} px, receptive field {geometry.receptive_field} px; {len(inside)} of "
      f"{geometry.grid ** 2} cells lie in the mask")

# %% [markdown]
# ## Exactly where, and how exactly
#
# ```{prf:definition} Exact and resampled elements
# :label: def-exact
#
# An element is **{term}`exact <exact element>`** if it moves pixels onto pixels, and **resampled** if its pixels have
# to be interpolated.
# ```
#
# The elements of $D_4$, quarter turns and their mirrors, are exact. For all others pixels are resampled, which blurs a
# little.
#
# And where is $gp$ among the cells of the layer? Turn the point about the middle of the *image*, because there the
# image turns; convert to cells last; read between cells with bilinear weights. The middle of the grid of cells is not
# the middle of the image: a program that turns about the middle of the *grid* reads beside the point. And reading
# between cells smooths the blocks, so the shares explained in all later chapters look better than they are. The
# appendix *Where a point is read* proves the one and measures both.

# %% [markdown]
# ## Making the data set
#
# Now the same for all images. `run.orbits()` goes through them once and stores the blocks, 16 bits per number.

# %%
store = run.orbits("train")
print(f"{len(store)} orbits of {store.group.order} blocks, {store.channels} channels, "
      f"scale {store.scale:.4g}")
assert len(store) == len(run.source("train")) * run.profile.points_per_image

# %% [markdown]
# Coders see activations multiplied by the `scale`, which brings the mean squared norm of a block to the number of
# channels: a typical number is then about one, whatever the layer.

# %% [markdown]
# ## A linear reference
#
# If the network were {term}`equivariant`, then for each $g$ a fixed matrix $\rho(g)$ would turn $x[e]$ into $x[g]$. Now
# that we have orbits of all images, we can fit the best such matrix well: on the training images, tested on the
# held-out ones.
#
# ```{prf:definition} Linear reference
# :label: def-ceiling
#
# The **{term}`linear reference`** of an element $g$ is the share of the variance of $x[g]$ on held-out images that is
# explained by the best map $x[e] \mapsto A\,x[e] + c$, fitted on training images by least squares with a small
# penalty on large entries (*ridge regression*). How small, every fifth batch of them decides.
# ```
#
# A {term}`crosscoder` sees $x[e]$ alone, and nobody should blame it for what $x[e]$ does not determine. But this is no
# bound: a nonlinear reader may know more, and so may the same reader after more images. (The function is called
# `linear_ceiling` for what the number is to *linear* maps: of those fitted on the same images, none is expected to do
# better. Some figures of the reference run have that older name, too.)
#
# Compare it with a copy of $x[e]$, as if the response did not change at all ({numref}`fig-equivariance`).

# %%
held_out = run.orbits("held-out")
copied = torch.as_tensor(copy_fve(held_out.in_order()))
linear = torch.tensor(run.ceiling())
others = torch.arange(G.order) > 0
print(f"variance of x[g] explained by a copy of x[e] {copied[others].mean():.3f}, "
      f"by a linear map {linear[others].mean():.3f}")
assert linear[others].mean() > copied[others].mean()

# %% mystnb={"figure": {"name": "fig-equivariance", "caption": "How much of the response to a transformed image is settled by the response to the untransformed one, on held-out images of this run. Orange: copy it. Blue: the best linear map, one for each element. Below zero a copy is worse than the mean."}, "image": {"alt": "Two lines over the elements of the group. The line for the linear map stays high everywhere. The line for copying starts at one for the identity and falls far below the other."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(7.4, 3.4))
    figures.element_lines({"linear map": linear, "copy": copied}, G, ax,
                          ylabel="variance explained")
    ax.axhline(0, color="0.5", linewidth=0.8)
    ax.set_ylim(max(-1, 1.1 * float(copied.min())), 1.03)
    report.figure("equivariance", fig)

# %% [markdown]
# The network's response changes thoroughly: a copy explains far less, for many elements not even as much as the mean
# does. And yet a large part can be predicted, with one fixed matrix per element. Has the network *learned* this? Two
# questions come first. Does the number depend on how many images we have? And what do networks get that have learned
# nothing? We ask the controls of this book, with the same images: the network with random weights, raw pixels (patches
# about as large as a receptive field, without any network), and the same network trained otherwise.

# %%
def judged(way):
    """By held-out image and element: squares the map misses, squares about the mean."""
    fitted = linear_map(fitting_batches(way.orbits("train")))
    return missed_by_image(fitted, way.orbits("held-out"))


def explains(missed, about):
    return float((1 - missed.sum(0) / about.sum(0))[1:].mean())

# %%
controls = ["trained", "untrained", "patches"]
controls += ["told"] if run.profile.model == "tiny-inception" else []
columns = {name: judged(run.control(name)) for name in controls}
for name, sums in columns.items():
    low, high = interval_over_images(explains, *sums)
    report.number(f"ceiling_{name}", explains(*sums), interval=(low, high),
                  n=len(sums[0]), over="held-out images",
                  note=f"linear reference, {name}, the same images")
    print(f"{name:9s}  {explains(*sums):.3f}, 95 % over images {low:.3f} to {high:.3f}")
scores = {name: explains(*sums) for name, sums in columns.items()}
if profile == "book":
    assert scores["patches"] > scores["untrained"] > scores["trained"]

# %%
order = np.random.default_rng(seed).permutation(np.unique(store.image))
counts = [len(order) // part for part in (16, 8, 4, 2, 1)]


def portion(first, last):
    rows = np.flatnonzero(np.isin(store.image, order[first:last]))
    rows = np.random.default_rng(seed).permutation(rows)
    return map(store.rows, np.array_split(rows, max(5, len(rows) // 1024)))


portions = [portion(*ends) for ends in zip([0, *counts[:-1]], counts, strict=True)]
grown = ceiling_curve(portions, held_out.in_order())[:, 1:].mean(1)
print("images:", counts, " explained:", [round(float(v), 3) for v in grown])
report.number("ceiling_half_the_images", float(grown[-2]),
              note="linear reference, fitted on half of the images")

# %% mystnb={"figure": {"name": "fig-learning", "caption": "The linear reference, averaged over all blocks but the first, against the number of images that the map was fitted on (blue); dashed, what the controls reach with all images. Random weights and raw pixels are easier to predict than the trained network."}, "image": {"alt": "A rising line that flattens towards the right. Dashed levels: raw patches near one, the untrained network below, the trained ones lowest."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(7.4, 3.2))
    ax.plot(counts, grown, "o-", color=BLUE, label="this network")
    for number, (name, value) in enumerate(scores.items()):
        ax.axhline(value, linestyle="--", color=figures.PALETTE[number + 1], label=name)
    ax.set(xscale="log", xlabel="images to fit on", ylabel="variance explained",
           ylim=(min(0.3, float(grown.min()) - 0.05), 1.03))
    ax.set_xticks(counts, counts)
    ax.minorticks_off()
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5)
    report.figure("learning", fig)

# %% [markdown]
# The curve still rises a little where our images end. So the reference is a lower bound of itself, too: a crosscoder
# that reaches some share of it has reached a smaller share of what more images would give.
#
# The controls say more. **Random weights score higher than the trained network, and raw pixels highest.** For pixels
# that is no wonder: a turned patch *is* a fixed linear map of the patch, but for the corners of the square and the
# interpolation. Random filters keep much of this, and the trained network's activations are harder to predict (those of
# *told* less so). So a high linear reference is no sign that a network has learned to be equivariant. It says how much a
# linear reader has to work with, and in {doc}`chapter 3 <03_training>` it serves as that. What training adds to
# symmetry must show in something that random weights and pixels do not have.
#
# And training asked for some of it. The drawings on which the built-in network learned to name shapes show every shape
# in all orientations equally often, which works like augmentation by all rotations (*told* was asked for the
# orientation as well). InceptionV1 was trained with photographs mirrored left to right at random.

# %% [markdown]
# ## Exercises
#
# ```{exercise} The blocks shift
# :label: ex-shift-blocks
#
# Turning an image only rearranges the blocks of its orbit vectors, says {prf:ref}`prop-rearrange`. Turn the image of
# {numref}`fig-follow` by a quarter, begin anew at the turned point, and compare. Does it hold for any network?
# ```
#
# ```{solution-start} ex-shift-blocks
# :class: dropdown
# ```

# %%
def orbit_at(picture, point):
    views, spots = action.images(picture, S)[:, 0], action.points(point)
    return read_at(activations(views), geometry.cells(spots))[:, 0]


spot, quarter = example.points[:1].cpu(), n // 4  # a quarter turn, as an element
x = orbit_at(image, spot)
(turned_image,) = action.images(image, image.shape[-1], elements=[quarter])
again = orbit_at(turned_image, action.points(spot, elements=[quarter])[0])
assert torch.allclose(again, act(x, G, quarter), atol=1e-4 * float(x.max()))

# %% [markdown]
# It holds for any function of the image: the same pictures pass through it, in another order.
#
# ```{solution-end}
# ```

# %% [markdown]
# ## Summary
#
# - An orbit vector follows one point of one image through all transformed images. Points are chosen once, inside a
#   circular mask, with probability proportional to the activation's length.
# - Points live in pixels from the image centre and become cell coordinates last.
# - A linear map predicts a large part of the response to a transformed image from the response to the untransformed
#   one ({prf:ref}`def-ceiling`). It is a reference and no bound, it still grows with the number of images, and random
#   weights and raw pixels score higher: it does not measure what a network has learned.
# - From the appendices: a layer's grid is not centred on the image, and turning about its own middle misplaces points
#   ({prf:ref}`prop-misplaced`); the network itself can tell. Reading between cells smooths, which makes variance
#   explained look better; patch-centred orbits ({prf:ref}`def-patch-centred`) do without. Stores are cut into checksummed
#   shards, resume after a crash and repair themselves.

# %% [markdown]
# ## Limits
#
# The mask leaves the outer part of the image unused. A turned image shows a square receptive field a turned square:
# what lies in its corners is not the same. Points of one image resemble each other, so everything is tested on whole
# images that were kept out.

# %% [markdown]
# ## What next
#
# {doc}`03_training` trains a group crosscoder on these orbits and holds it against the linear map.

# %% [markdown]
# ## Appendix: where a point is read
#
# ### The grid is not centred
#
# To read an activation we must know where the cells are. A layer's cells form a grid. Cell number $k$ is centred
# on pixel
#
# $$ \text{first} + \text{stride} \cdot k , $$ (eq-cell)
#
# and strides and paddings decide what `first` is. The model carries these numbers, derived from its layers. The middle
# of the grid and the middle of the image differ.

# %%
print(f"{geometry}\nmiddle of the grid: {geometry.centre_offset:+} px from the "
      "middle of the image, along x and y")
middle_of_grid = geometry.first + geometry.stride * (geometry.grid - 1) / 2
assert geometry.centre_offset == middle_of_grid - (S - 1) / 2 != 0

# %% [markdown]
# ### Two registrations
#
# ```{prf:definition} Registration
# :label: def-registration
#
# A **{term}`registration`** says, for every point $p$ and every element $g$, at which place of the activation grid of
# $gI$ the block $x[g]$ is read.
# ```
#
# **Right.** Turn points about the middle of the image, because there the image turns. Convert to cell coordinates
# last, by {eq}`eq-cell`, and read between cells with bilinear weights. In the library this is
# `registration="image-centre"`.
#
# **Naive.** Take the grid of $gI$ for an image, and turn it back about its own middle, as a function that rotates
# pictures would: `registration="grid-centre"`.
#
# ```{prf:proposition} How far the naive registration is off
# :label: prop-misplaced
#
# Let $o$ be the offset of the grid's middle from the middle of the image. The naive registration misplaces every point
# by the same vector, $o - go$. For a rotation by $\theta$ its length is
#
# $$ \lVert o - go \rVert = 2 \lVert o \rVert \sin(\theta / 2) . $$ (eq-misplaced)
# ```
#
# *Because* it reads at $g(p - o) + o$ instead of $gp$. That is nothing at the identity, and twice the offset at half a
# turn.

# %%
right, naive = (transformed_cells(inside[None], action, geometry, name)
                for name in ("image-centre", "grid-centre"))
misplaced = ((naive - right) * geometry.stride).norm(dim=-1).mean(dim=(1, 2))
angle = 2 * torch.pi * torch.arange(n) / n
predicted = 2 * abs(geometry.centre_offset) * 2 ** 0.5 * (angle / 2).sin()
assert torch.allclose(misplaced[:n], predicted, atol=1e-3)
harmless = [g for g in range(G.order) if misplaced[g] < 1e-3]
print(f"half a turn: {misplaced[n // 2]:.2f} px, of {geometry.stride} px a cell;",
      "elements without error:", [G.names[g] for g in harmless])
assert harmless == [0, n + 3 * n // 4]

# %% [markdown]
# One mirror is harmless: the one on the diagonal. The offset is the same along $x$ and $y$, so it lies on that
# diagonal, and $go = o$.

# %% [markdown]
# ### Ask the network
#
# Is our own bookkeeping right? How *strongly* a network responds to a spot depends on what is there, and little on its
# orientation. So compare the length of the activation at $p$ in
# $I$ with that at $gp + \delta$ in $gI$, over many points, for every small shift $\delta$. Where the
# correlation is largest, there the point has gone ({numref}`fig-where`).

# %%
few = run.source("held-out").load(range(min(32, len(run.source("held-out")))))
upright = activations(action.images(few, S, elements=[0])[0])
half_turned = activations(action.images(few, S, elements=[n // 2])[0])
points, (target,) = inside, action.points(inside, elements=[n // 2])
reach = torch.arange(-9, 10)


before, after = (read(upright, points).norm(dim=-1).flatten(), [[
    read(half_turned, target + torch.tensor([dx, dy])).norm(dim=-1).flatten()
    for dx in reach] for dy in reach])
found = torch.tensor([[torch.corrcoef(torch.stack([before, there]))[0, 1]
                       for there in row] for row in after])

# %%
row, column = divmod(int(found.argmax()), len(reach))
peak = torch.tensor([reach[column], reach[row]]).float()
(shift,) = 2 * geometry.centre_offset * torch.ones(1, 2)  # o - go with go = -o
ours, theirs = found[9, 9], found[9 + round(float(shift[1])),
                                  9 + round(float(shift[0]))]
print(f"correlation {ours:.3f} where we read, {theirs:.3f} where the naive way reads")
assert profile == "smoke" or (ours > theirs and peak.norm() < 3
                              and peak.norm() < (peak - shift).norm())

# %% mystnb={"figure": {"name": "fig-where", "caption": "Where has a point gone after half a turn? Correlation between the response strength at p before and at gp + δ after, over the held-out images of this run. The cross is where we read, the square where the naive registration reads, the ring the best whole-pixel shift."}, "image": {"alt": "A heat map over horizontal and vertical shift in pixels with a single smooth maximum. A cross at zero lies near the ring that marks the maximum; a square lies several pixels away on the diagonal."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(5.2, 4.2))
    shown = ax.imshow(found, cmap="magma", extent=[-9.5, 9.5, 9.5, -9.5])
    ax.plot(*peak, "o", markersize=15, markerfacecolor="none", markeredgewidth=1.8,
            color="black", label="maximum")
    ax.plot(0, 0, "x", markersize=9, markeredgewidth=2.4, color=BLUE,
            label="image centre")
    ax.plot(*shift, "s", markersize=7, markeredgecolor="white", color=GREEN,
            label="grid centre")
    ax.set(xlabel="shift δ along x, pixels", ylabel="along y")
    ax.grid(False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=9.5,
              columnspacing=1)
    fig.colorbar(shown, ax=ax, label="correlation")
    report.figure("where", fig)

# %% [markdown]
# The hill is broad: receptive fields are large, and neighbouring spots respond alike. So the test cannot tell a pixel
# or two. It can tell that the naive way reads beside the top.

# %% [markdown]
# ### What the naive way costs
#
# A crosscoder has to predict $x[g]$ from $x[e]$. How well can the best *linear* map do it? Fit it on most of the
# {term}`held-out images <held-out images>`, test it on the rest, and take the share of variance that it misses.

# %%
stores = {name: run.orbits("held-out", registration=name)
          for name in ("image-centre", "grid-centre")}
right_store, naive_store = stores.values()
# the same points, read in different places
assert np.array_equal(right_store.points, naive_store.points)
pictures = np.unique(right_store.image)
tested = right_store.image >= np.quantile(pictures, 0.7)  # whole images


def linear_fve(store):
    shuffled = np.random.default_rng(seed).permutation(np.flatnonzero(~tested))
    fit = [store.rows(part) for part in np.array_split(shuffled, 10)]
    return linear_ceiling(fit, [store.rows(part)
                                for part in np.array_split(np.flatnonzero(tested), 10)])


explained = {name: linear_fve(store) for name, store in stores.items()}
few_images = {name: float(values[1:].mean()) for name, values in explained.items()}
assert profile == "smoke" or few_images["image-centre"] > few_images["grid-centre"]

# %% mystnb={"figure": {"name": "fig-registration", "caption": "Points read about the image centre and about the grid's own centre, for every element. Top: how many pixels the naive reading is off. Bottom: the share of the variance of x[g] that the best linear map from x[e] misses on held-out images of this run. Lower is better; where both read the same pixels, they miss the same. At e a little is missed as well: the ridge penalty of the fit is one for all elements."}, "image": {"alt": "Two plots over the elements of the group. In the upper one the misplacement of the naive reading rises to its maximum at 180 degrees and falls again, twice; the other line stays at zero. In the lower one the naive line lies above the other, most where the misplacement is large."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(2, 1, figsize=(7.4, 5.6), sharex=True)
    figures.registration_error(torch.zeros(G.order), misplaced, G, axes[0],
                               ylabel="misplaced by, pixels")
    figures.registration_error(1 - explained["image-centre"],
                               1 - explained["grid-centre"], G, axes[1],
                             ylabel="variance missed")
    axes[1].get_legend().remove()
    report.figure("registration", fig)

# %% [markdown]
# The cost in the lower plot is small because the misplacement is the same for all points: for each element the naive
# way reads a *neighbouring* spot, always on the same side, and a linear map can guess part of what lies beside a spot.
# And the naive way maps cells to cells when $g$ is a quarter turn, so it never reads between cells. We do. What does
# that cost?

# %% [markdown]
# ### The interpolation floor
#
# **Pixels.** Resampling blurs a little. To see how much, turn an image *there and back* and compare the
# activations with those of the untouched image. This resamples twice, and an orbit resamples once, so it is an
# upper bound. We do it with $D_{16}$ under every profile.

# %%
fine = PlanarAction(dihedral(16))
margin = (fine.source_size(fine.source_size(S)) - few.shape[-1] + 1) // 2
# only corners that are cropped away
wide = torch.nn.functional.pad(few[:16], [max(margin, 0)] * 4, mode="reflect")
reference = read(upright[:16], inside)
variance = (reference - reference.mean(dim=(0, 1))).square().sum()
there_and_back = {}
for g in (1, 2, 3, 4, 8):
    (there,) = fine.images(wide, fine.source_size(S), elements=[g])
    (back,) = fine.images(there, S, elements=[fine.group.inverse[g]])
    error = read(activations(back), inside) - reference
    there_and_back[g] = float(error.square().sum() / variance)
    print(f"{22.5 * g:5.1f}° there and back: {there_and_back[g]:.4f} of the variance")
resampling = max(there_and_back[g] for g in (1, 2, 3))
assert there_and_back[4] == there_and_back[8] == 0 < resampling  # quarter turns: exact

# %% [markdown]
# **Activations.** Points start on cells. But the grid is not centred, so $gp$ falls *between* cells, even for a
# quarter turn, and what is read there is a weighted mean of four activations. To know what should have been read, turn
# the image about the point itself.
#
# ```{prf:definition} Patch-centred orbits
# :label: def-patch-centred
#
# Let $J$ be the window of $I$ that is centred on $p$ and as large as the receptive field. The **{term}`patch-centred
# <patch-centred orbit>`** orbit vector of $(I, p)$ has the blocks $x[g] = a(gJ)$: the window is turned about its own
# middle, and shown to the one cell that sees just this window.
# ```
#
# The point stays on one cell for all elements, and nothing is read between cells. A window's middle is a pixel or lies
# midway between two, so exact elements are exact. The block $x[e]$ is the same as before. But every *point* now costs
# $\lvert G\rvert$ runs of the network on a small crop, where an *image* cost $\lvert G\rvert$ runs on all of it. So we
# take few points, of some of the images, and sample them both ways: `registration="patch-centred"`.

# %%
everything = run.all_images
limit = min(len(everything), 240)
spaced = np.linspace(0, len(everything) - 1, limit).astype(int).tolist()
ways = {"read": "image-centre", "patch": "patch-centred"}
fewer = dict(images=ImageSubset(everything, spaced), points_per_image=5)
pair = {name: Run(profile, seed, registration=way, weights=weights, **fewer)
        for name, way in ways.items()}
both = [way.orbits("held-out") for way in pair.values()]
assert np.array_equal(both[0].points, both[1].points)  # the same points
x_read, x_patch = (store.rows(range(len(store))) for store in both)
assert torch.allclose(x_read[:, 0], x_patch[:, 0], rtol=2e-3, atol=2e-3)  # 16 bits

# %%
exact = torch.tensor(action.exact)
kinds = {"exact": exact & (torch.arange(G.order) > 0), "resampled": ~exact}
kinds = {kind: which for kind, which in kinds.items() if which.any()}


def spread(x):
    return (x - x.mean(0)).square().sum(-1).mean(0)  # one number for each element


misread = (x_read - x_patch).square().sum(-1).mean(0) / spread(x_patch)
cosine = torch.nn.functional.cosine_similarity(x_read, x_patch, dim=-1).mean(0)
kept = {name: spread(x) / spread(x)[0] for name, x in (("read", x_read),
                                                       ("patch", x_patch))}
for kind, which in kinds.items():
    for name, values in kept.items():
        report.number(f"{name}_variance_{kind}", float(values[which].mean()),
                      note=f"variance of x[g] relative to x[e], {kind} elements")
    report.number(f"patch_cosine_{kind}", float(cosine[which].mean()),
                  note=f"cosine with the reading between cells, {kind} elements")
between = [f"{key}_{kind}" for kind in kinds for key in ("variance", "cosine")]
display(Markdown(table_by_column(report.numbers, between, ("read", "patch"),
                                 key="{column}_{key}")))
reading = float(misread[kinds["exact"]].mean())
assert reading > 0.01 and kept["read"][1:].mean() < kept["patch"][1:].mean()

# %% [markdown]
# Reading between cells touches exact elements too. It smooths: a mean of four activations varies less than each of
# them, so a share of the variance is gone, and most of it is back in patch-centred orbits. What follows for all that is
# built on orbits, we ask next.

# %% [markdown]
# ### What reading between cells changes
#
# The same points, sampled both ways, *read* between cells and *patch*-centred: what becomes of the linear reference, of a
# crosscoder, and of what later chapters read from its dictionary? The coders are small and their training is short,
# with three seeds: enough to compare two ways with equal points and steps, and for nothing else.

# %%
small = dict(latents=256, k=16, steps=100, batch_size=256)


def outcome(way, coder_seed):
    coder = way.coder(seed=coder_seed, **small)
    metrics = way.evaluate(coder)
    D = coder.dictionary.detach()[torch.as_tensor(metrics.frequency > 0)].cpu()
    c = self_similarity(D, G)
    found = supported_stabilisers(c, G).stabilisers
    mirrors = centred(c)[:, n:].mean(0)
    return dict(fve=metrics.fve, similarity=float(c[:, 1:].median()),
                equivariance=float(equivariance_score(D, G).median()),
                supported=float(np.mean([s.subgroup.order > 1 for s in found])),
                upright=float(mirrors[0] - mirrors[1:].mean()))


outcomes = {name: [outcome(way, seed + k) for k in range(3)]
            for name, way in pair.items()}

# %%
sums = {name: judged(way) for name, way in pair.items()}


def residual(missed, about):
    return float((missed.sum(0) / about.sum(0)[0])[1:].mean())


def change(*four):
    return explains(*four[2:]) - explains(*four[:2])


changed = change(*sums["read"], *sums["patch"])
assert profile == "smoke" or changed < 0
low, high = interval_over_images(change, *sums["read"], *sums["patch"])
report.number("patch_change", changed, interval=(low, high), over="held-out images",
              n=len(sums["read"][0]), note="linear reference, patch-centred minus read")

# %% tags=["hide-input"]
wording = dict(linear="linear reference",
               residual="squares missed, relative to the variance of x[e]",
               fve="crosscoder, variance explained",
               similarity="median c(h) of all features, h not e",
               equivariance="equivariance score of block heatmaps, median",
               supported="share of features with a supported stabiliser",
               upright="centred cosine, left-right mirror above the others")
for key, name in product(wording, ways):
    if key in ("linear", "residual"):
        quantity = explains if key == "linear" else residual
        over, count = "held-out images", len(sums[name][0])
        value = quantity(*sums[name])
        interval = interval_over_images(quantity, *sums[name])
    else:
        values = [row[key] for row in outcomes[name]]
        over, count = "3 seeds of coders", len(values)
        value, interval = float(np.mean(values)), interval_of(values)
    report.number(f"{name}_{key}", value, interval=interval, over=over, n=count,
                  note=wording[key])
display(Markdown(table_by_column(report.numbers, wording, ("read", "patch"),
                                 key="{column}_{key}")))

# %% mystnb={"figure": {"name": "fig-patch", "caption": "The same points of held-out images, read between cells (blue) and patch-centred (orange), by element. Left: variance of a block relative to that of x[e]. Middle: linear reference. Right: what the linear map misses, in units of the variance of x[e]. Reading between cells lowers the variance, and so what is missed."}, "image": {"alt": "Three plots over the elements of the group with two lines each. Patch-centred orbits have more variance, a lower linear reference and a larger residual."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(1, 3, figsize=(9.2, 3.1))
    missed, about = ({name: sums[name][k].sum(0) for name in ways} for k in (0, 1))
    for ax, title, of in zip(axes, ("variance of x[g]", "linear reference", "missed"), (
            lambda name: kept[name], lambda name: 1 - missed[name] / about[name],
            lambda name: missed[name] / about[name][0]), strict=True):
        figures.element_lines({way: of(name) for name, way in ways.items()}, G, ax,
                              ylabel=title, legend=False)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center",
               ncols=2)
    report.figure("patch", fig)

# %% [markdown]
# **The linear reference does not rise with the detail; it falls.** A local mean has less detail, and detail is what is hard to predict.
# So a *smoother* target looks *better* explained: variance explained says how predictable a quantity is, and not how
# good the quantity is. What the map misses is larger in absolute terms, too. The crosscoder loses about as much as the
# linear map. In the book's run what is read from the features changes within its interval: similarity to turned copies,
# equivariance score, mirror axes, and the share of supported stabilisers, of which such small coders have few. (A
# {term}`stabiliser` is the symmetry that a feature has; it is {term}`supported <supported symmetry>` if chance would
# rarely give it.)
#
# So orbits that are read between cells are too kind, to linear maps and coders alike; the table says by how much.
# Patch-centred orbits are the right ones: nothing in them depends on where the grid happens to lie. They cost as many
# runs for a *point* as the others for an *image*, if of a smaller crop, so with the many points an image that training
# wants they would be many times as expensive. **The default stays `image-centre`, at this price**, and every chapter's
# numbers are about activations seen through that blur. `Run(..., registration="patch-centred")` does any chapter's work
# the other way.

# %% tags=["hide-input"]
for key, value, note in (
        ("centre_offset", geometry.centre_offset, "offset of the grid's middle, px"),
        ("naive_half_turn", float(misplaced[n // 2]), "naive: px off at half a turn"),
        ("peak_half_turn", float(peak.norm()), "strongest correlation, px from ours"),
        ("peak_naive", float((peak - shift).norm()), "the same, px from the naive"),
        ("linear_fve", float(linear[others].mean()), "linear reference, g not e"),
        ("linear_few", few_images["image-centre"], "linear reference, few images"),
        ("linear_few_naive", few_images["grid-centre"], "the same, naive registration"),
        ("copy_fve", float(copied[others].mean()), "copy, variance explained"),
        ("floor_resampling", resampling, "there and back, share of variance lost"),
        ("floor_reading", reading, "reading between cells, share of variance missed, "
         "exact elements")):
    report.number(key, value, note=note)
_ = report.save()

# %% [markdown]
# ### An exercise on grids
#
# ```{exercise} A centred grid
# :label: ex-centred
#
# The offset depends on the size of the input. Find sizes near this model's own for which the grid *is* centred, so
# that both registrations agree. `model.at_size(size)` gives the same network for another size. Is this a way out?
# ```
#
# ```{solution-start} ex-centred
# :class: dropdown
# ```

# %%
offsets = {size: model.at_size(size).geometry.centre_offset
           for size in range(S - 4, S + 9)}
even = [size for size, offset in offsets.items() if offset == 0]
print("centred sizes:", even)
assert even and S not in even and set(np.diff(even)) <= {geometry.stride}

# %% [markdown]
# Every stride's worth of pixels there is one. For such a size the naive registration is right, and for quarter
# turns it even reads cells exactly. But another layer of the same network needs another size.
#
# ```{solution-end}
# ```

# %% [markdown]
# ## Appendix: a store that survives
#
# Extraction can take hours and must survive a crash. The store is cut into shards. A shard is written under another
# name and renamed when it is whole, and its checksum is written last. Let us pull the plug on a small one, for $D_4$,
# at the third of four images.

# %%
class PulledPlug(ImageSubset):
    def load(self, indices):
        if 2 in indices:
            raise KeyboardInterrupt
        return super().load(indices)


eight, train, four = PlanarAction(dihedral(4)), run.source("train"), range(4)
workshop = tempfile.TemporaryDirectory()
folder = Path(workshop.name) / "orbits"
settings = dict(points_per_image=4, images_per_shard=1, seed=seed, progress=False)
try:
    OrbitStore.make(folder, model, eight, PulledPlug(train, four), **settings)
except KeyboardInterrupt:
    print("killed; on disk:", sorted(path.name for path in folder.iterdir()))

# %% [markdown]
# Two shards are there, nothing half written. The same call again makes the missing ones, the same to the last bit:

# %%
def checksums(folder):
    return {path.name: sha256_of(path) for path in sorted(folder.glob("*.npy"))}


OrbitStore.make(folder, model, eight, ImageSubset(train, four), **settings)
never_stopped = OrbitStore.make(Path(workshop.name) / "second", model, eight,
                                ImageSubset(train, four), **settings)
assert checksums(folder) == checksums(never_stopped.folder)
assert len(checksums(folder)) == 4
workshop.cleanup()

# %% [markdown]
# A shard that was damaged later is noticed by its checksum, and the same call makes it again. `OrbitStream` computes
# the same rows when they are needed and writes nothing, for data that fit no disk.

# %% [markdown]
# ## On InceptionV1
#
# The same chapter with the {term}`profile` `inception`: BVLC GoogLeNet's {term}`mixed3b`, the group $D_{16}$, and
# photographs. Both ways to sample are compared on 240 photographs with 5 points each.

# %% tags=["hide-input"]
both = ("read", "patch")
known = {key: key.partition("_") for key in report.comparable()}
apart = [key for key, (way, _, _) in known.items() if way not in both]
display(Markdown(report.compare(*apart, "patch_change")))
rows = dict.fromkeys(row for key, (way, _, row) in known.items()
                     if way in both and key != "patch_change")
there = figures.published_numbers("02_orbits")
display(Markdown(table_by_column(there, rows, both, key="{column}_{key}")))
for key, caption, alt in (
        ("where", "where a point has gone after half a turn", "A heat map, one hill."),
        ("registration", "pixels and variance lost by the naive registration",
         "Two plots, the naive line above ours."),
        ("equivariance", "what a copy and a linear map explain", "Two lines."),
        ("patch", "both ways to sample", "Three plots of two lines each.")):
    caption = f"InceptionV1, mixed3b, reference run: {caption}."
    display(HTML(figures.published("02_orbits", key, caption=caption, alt=alt)))
