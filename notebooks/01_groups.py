# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Groups and their actions
#
# The {doc}`front page <../book/index>` shows one feature of {term}`InceptionV1` and its eight nearest relatives: most
# of them are the same arch in another pose. *The same in another pose* is a phrase that a group makes exact.
#
# **You will learn**
#
# - what a group is, and why a finite one is nothing but a multiplication table,
# - how a group acts on images, on points, and on lists that have one entry per element,
# - how the symmetry of a thing is measured: its orbit and its stabiliser,
# - how lists are compared when one of them may be transformed,
# - in the appendices: why more symmetry means fewer images; why the reflection printed in the group crosscoder paper is
#   not a reflection, and what the correct one is.
#
# **You need** a little Python and the idea of a matrix. No group theory, no trained network: everything here is
# computed from drawings.
#
# **Run time** under half a minute on one CPU core, with every profile.
#
# **Look up** symbols in {doc}`../book/notation`, words in the {doc}`../book/glossary`. The first use of a word leads
# there.
#
# ```{admonition} The short way
# :class: tip
#
# Later chapters need all sections before the exercises: 40 minutes. The appendix on cosets can wait until
# {doc}`chapter 7 <07_symmetry>`. The other appendices correct a misprint; read them when you implement the method.
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
profile = "book"  # this chapter computes the same under every profile
seed = 0
images = None  # not used in this chapter
weights = None  # not used in this chapter

# %%
import math

import matplotlib.pyplot as plt
import torch

from groupcc_lite import figures
from groupcc_lite.actions import PlanarAction
from groupcc_lite.base import work_folder
from groupcc_lite.groups import (
    FiniteGroup,
    cyclic,
    dihedral,
    permutation_group,
    product,
)
from groupcc_lite.runs import Report, get_profile
from groupcc_lite.stimuli import SHAPES, draw, sample_drawings
from groupcc_lite.symmetry import act, max_cosine, paper_reflection, printed_similarity

folder = work_folder() / "reports" / get_profile(profile).name
report = Report(folder, "01_groups", profile, seed=seed)

# %% [markdown]
# ## Sixteen curve detectors
#
# {term}`InceptionV1` was trained to name the objects in photographs. Somewhere on the way, in its layer
# {term}`mixed3b`, it has neurons that fire for curves. One of them likes curves that open to the right. Another one
# likes the same curve, turned a little. A third one likes it turned further, and so on around the clock
# {cite:p}`cammarata2020curve`. Turn the image, and each neuron hands its activity over to the next. Nobody
# built this into the network {cite:p}`olah2020equivariance`.
#
# The simplest detector that can do this is a template. Detector $k$ holds a drawing of a curve, turned by $k$
# steps of $360°/16 = 22.5°$. Its response to an image is the cosine between template and image. Let us make
# sixteen of them for a curve, sixteen for a straight line, and show all detectors all orientations.

# %%
angles = 2 * math.pi / 16 * torch.arange(16)


def templates(shape):
    x = draw(shape, angles, size=64)[:, 0].flatten(1)
    x = x - x.mean(dim=1, keepdim=True)
    return x / x.norm(dim=1, keepdim=True)


curves, lines = templates("curve"), templates("line")
curve_responses = curves @ curves.T  # [detector, orientation of the image]
line_responses = lines @ lines.T

# %% mystnb={"figure": {"name": "fig-handoff", "caption": "Template detectors for drawn shapes; no network. Left: the templates. Right: the response of each detector (row) to the shape in each orientation (column). Turning the image by one step moves every column down by one. A line is back after half a turn, so its pattern has two stripes."}, "image": {"alt": "Two rings of small drawings, sixteen curves and sixteen lines, each turned by 22.5 degrees against its neighbour. Beside each a square heat map of responses: one bright diagonal stripe for curves, two for lines."}} tags=["hide-input"]
def ring(ax, shape):
    ink = draw(shape, angles, size=40, half_width=1.8, foreground=(0.1,) * 3,
               background=(1.0,) * 3)[:, 0]
    for k, drawing in enumerate(ink):
        x, y = math.cos(angles[k]), math.sin(angles[k])
        ax.imshow(drawing, cmap="gray", vmin=0, vmax=1,
                  extent=[x - 0.19, x + 0.19, y - 0.19, y + 0.19])
        ax.text(0.7 * x, 0.7 * y, k, ha="center", va="center")
    ax.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), aspect="equal")
    ax.axis("off")


with figures.house_style():
    fig, axes = plt.subplots(2, 2, figsize=(7, 6.4))
    for (left, right), shape, values in zip(axes, ("curve", "line"),
                                            (curve_responses, line_responses),
                                            strict=True):
        ring(left, shape)
        left.set_title(f"sixteen {shape} templates", loc="center")
        shown = right.imshow(values, cmap="magma", vmin=0, vmax=1)
        right.set(xlabel="orientation of the image", ylabel="detector",
                  xticks=range(0, 16, 4), yticks=range(0, 16, 4))
        right.grid(False)
        fig.colorbar(shown, ax=right, label="response", shrink=0.85)

# %% [markdown]
# Read {numref}`fig-handoff` column by column. The next column has the same numbers, one place further down:

# %%
handed_over = curve_responses[:, 0].roll(1)
half_turn = line_responses.roll(8, dims=1)  # eight steps
assert (curve_responses[:, 1] - handed_over).abs().max() < 0.01
assert (line_responses - half_turn).abs().max() < 1e-4

# %% [markdown]
# (The templates are made of pixels, so the numbers agree to 1 %, not exactly.)
#
# So turning the image does to the detectors what a fixed rule, "one place further", does to a list. This is
# called **{term}`equivariance <equivariant>`**. And the rule can do nothing at all: eight places further, and the line
# detectors are as they were.
#
# Two questions follow, and this chapter answers both.
#
# 1. Which rules are there, and how do they combine? This is a *{term}`group`* and its *{term}`actions <action>`*.
# 2. Which of them leave a given thing as it is? This is its *{term}`stabiliser`*, the precise meaning of "its
#    symmetry".
#
# A group {term}`crosscoder` {cite:p}`gorton2024group` asks the same questions about {term}`features <feature>` that
# nobody had to guess as templates. Everything it does with its {term}`dictionary` is an action from this chapter.

# %% [markdown]
# ## Transformations that compose and can be undone
#
# Take a square sheet of paper. Turn it by a quarter. Turn it over. Whatever you do, as long as the sheet fills
# the same square in the end, has three properties: two moves in a row are again such a move, doing nothing is
# one, and every move can be undone.
#
# ```{prf:definition} Group
# :label: def-group
#
# A **group** is a set $G$ with a product, such that
#
# - the product $gh$ of two elements is an element (*closure*),
# - $(gh)k = g(hk)$ (*associativity*),
# - there is an identity $e$ with $eg = ge = g$,
# - every $g$ has an inverse $g^{-1}$ with $g g^{-1} = g^{-1} g = e$.
# ```
#
# We read $gh$ from right to left, like functions: **first $h$, then $g$**. The eight moves of the square are
# the group $D_4$: the rotations $e, r, r^2, r^3$ and the reflections $s, sr, sr^2, sr^3$. Here $r$ is a quarter
# turn counter-clockwise, $s$ is the mirror that swaps left and right, and $sr$ means: first turn, then mirror.

# %%
G4 = dihedral(4)
print(G4)
print(*enumerate(G4.names))
print(G4.table)

# %% [markdown]
# That table is all there is. Elements are numbers, `0` is the identity, and `table[g, h]` is the product $gh$.
# It is called the **{term}`Cayley table`**. Any fact about a finite group can be read from it, so in this book every
# permutation and every inverse is computed from a table, and none is typed in by hand.

# %%
r, s = G4.index("r"), G4.index("s")
print("first r, then s:", G4.names[G4.multiply(s, r)])
print("first s, then r:", G4.names[G4.multiply(r, s)])
print("inverse of r:   ", G4.names[G4.inverse[r]])
assert G4.multiply(r, s) == G4.multiply(s, G4.inverse[r])  # r s = s r^-1
assert not G4.is_abelian

# %% [markdown]
# The order matters. Try it with the sheet of paper: $rs = sr^{-1}$, "mirror, then turn" is "turn the other way,
# then mirror". A mirror reverses the sense of rotation. Keep this one equation in mind; a mistake in
# the paper, the subject of an appendix, is to forget it.
#
# The four axioms of {prf:ref}`def-group` are statements about the table. With eight elements we can simply try
# everything:

# %%
T, elements = G4.table, range(G4.order)
for g in elements:
    assert T[0, g] == T[g, 0] == g  # identity
    assert any(T[g, h] == T[h, g] == 0 for h in elements)  # inverse
    for h in elements:
        assert T[g, h] in elements  # closure
        for k in elements:
            assert T[T[g, h], k] == T[g, T[h, k]]  # associativity

# %% [markdown]
# `FiniteGroup` does the same whenever it is given a table, so an object that exists is a group. Change one
# entry, and it names the elements at fault:

# %%
T[1, 2] = 4
try:
    FiniteGroup(T, names=G4.names)
except ValueError as error:
    print(error)

# %% [markdown]
# ## The groups of this book
#
# **Cyclic groups.** $C_n$ has the $n$ rotations by multiples of $360°/n$. Its table adds modulo $n$.
#
# **{term}`Dihedral groups <dihedral group>`.** $D_n$ has the same $n$ rotations and, for each of them, one reflection.
# Element number `k` is $r^k$ and element `n + k` is $sr^k$: first rotate by $r^k$, then reflect.
#
# ```{important}
# This book says $D_{16}$ for the group with 16 rotations, 32 elements in all. The paper says $D_{32}$ for the
# same group, counting elements instead of rotations. In code it is `dihedral(16)`.
# ```
#
# **Products.** $G \times H$ has the pairs $(g, h)$, multiplied part by part. And **anything else** that has a
# table, or that some permutations {term}`generate <generator>`: `FiniteGroup(table)`, `permutation_group([...])`.
# {numref}`fig-cayley` shows three of these tables.

# %%
C16, G = cyclic(16), dihedral(16)
C4xC2 = product(cyclic(4), cyclic(2))
S3 = permutation_group([(1, 0, 2), (1, 2, 0)], name="S_3")
print(C16, G, C4xC2, S3, sep="\n")
assert G.order == 32
assert (G.element_orders[16:] == 2).all()  # every reflection undoes itself

# %% mystnb={"figure": {"name": "fig-cayley", "caption": "Cayley tables: row g, column h, one colour for each product gh; reflections are paler. In the cyclic group every row is the row above, shifted. The dihedral tables have four quarters. On the left the factor h is a rotation and stripes lean one way. On the right it is a reflection and they lean the other way: that is rs = sr⁻¹."}, "image": {"alt": "Three square tables of colours. The large one, D 4, has names in its cells. C 16 has diagonal stripes in one direction. D 16 falls into four quarters, and the stripes in the right-hand quarters lean the other way."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplot_mosaic([["D4", "C16"], ["D4", "D16"]], figsize=(7.4, 5.4),
                                   width_ratios=[1.35, 1])
    for key, group in (("D4", G4), ("C16", C16), ("D16", G)):
        figures.cayley_table(group, axes[key])
        axes[key].set_title(f"${group.name[0]}_{{{group.name[2:]}}}$", loc="center")
    for key in ("C16", "D16"):
        axes[key].set(xlabel="", ylabel="", xticks=[], yticks=[])

# %% [markdown]
# ## A group acts on images
#
# A table of products knows nothing about pictures. What connects the two is an action.
#
# ```{prf:definition} Action
# :label: def-action
#
# A group **acts** on a set when each $g$ moves each $x$ to some $g \cdot x$, such that
#
# $$ e \cdot x = x, \qquad g \cdot (h \cdot x) = (gh) \cdot x . $$
# ```
#
# On the plane, $r$ and $s$ act by matrices. We measure a point $p$ in pixels from the image centre, $x$ to the
# right and $y$ *down*, as images are stored; "counter-clockwise" is always meant as seen on the screen. With $\theta$
# the angle of one step,
#
# $$ r = \begin{pmatrix} \cos\theta & \sin\theta \\ -\sin\theta & \cos\theta \end{pmatrix}, \qquad
#   s = \begin{pmatrix} -1 & 0 \\ 0 & 1 \end{pmatrix} . $$
#
# On images the rule is
#
# $$ (gI)(q) = I(g^{-1} q), $$ (eq-act-image)
#
# so that what is at $p$ in $I$ is found at $gp$ in $gI$.
#
# Here is a picture without any symmetry, with a marked point, and all that $D_4$ makes of them
# ({numref}`fig-act`).

# %%
NIGHT, SUN, CORAL, SKY = torch.tensor([
    [0.12, 0.18, 0.30], [0.98, 0.78, 0.25],
    [0.93, 0.40, 0.35], [0.45, 0.75, 0.85]])[..., None, None]


def paint(canvas, colour, shape, angle, **where):
    cover = draw(shape, angle, canvas.shape[-1],
                 foreground=(1, 1, 1), background=(0, 0, 0), **where)
    return canvas + cover * (colour - canvas)


picture = NIGHT.expand(1, 3, 97, 97)
picture = paint(picture, SUN, "curve", 0.5, scale=2.2, half_width=4)
picture = paint(picture, CORAL, "blob", 0, scale=1.2, position=(26, -16))
picture = paint(picture, SKY, "line", 2.2, scale=0.9, half_width=3,
                position=(-22, 24))
point = torch.tensor([26.0, -16.0])  # the coral dot

# %%
A4 = PlanarAction(G4)
orbit = A4.images(picture)[:, 0]  # (8, 3, 97, 97)
path = A4.points(point)  # (8, 2)


def apply(g, image):
    return A4.images(image[None], elements=[g])[0, 0]


for g in elements:
    for h in elements:
        assert torch.equal(apply(g, orbit[h]), orbit[G4.multiply(g, h)])

# %% mystnb={"figure": {"name": "fig-act", "caption": "A drawn picture and its eight images under D₄. Upper row: rotations, counter-clockwise. Lower row: the same, then mirrored left to right. The white ring is drawn at gp, computed from the matrices alone; it always lands on the coral dot."}, "image": {"alt": "Two rows of four small pictures of a yellow arc, a coral dot and a blue bar. From left to right each is turned by a quarter turn; the lower row is the mirror image of the upper one. A white ring surrounds the coral dot in every one."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(2, 4, figsize=(7, 4.1))
    for g, ax in enumerate(axes.flat):
        ax.imshow(orbit[g].permute(1, 2, 0), extent=[-48.5, 48.5, 48.5, -48.5])
        ax.scatter(*path[g], s=200, facecolors="none", edgecolors="white",
                   linewidths=1.8)
        ax.set_title(G4.latex[g], loc="center")
        ax.axis("off")

# %% [markdown]
# For these eight elements every pixel lands on a pixel, so the law holds bit for bit. The assertion above tried
# all 64 products.
#
# **Why the inverse?** It is tempting to write $I(gq)$ instead. Then the transformations come out in the wrong
# order: $g$ after $h$ would be $hg$. Let us count how often that matters.

# %%
tempting = orbit[G4.inverse]  # I(g q) is what we call g^-1 I
failures = 0
for g in elements:
    for h in elements:
        twice = apply(G4.inverse[g], tempting[h])
        failures += not torch.equal(twice, tempting[G4.multiply(g, h)])
print(failures, "of 64 products are wrong")
assert failures == 24

# %% [markdown]
# It fails for exactly the 24 pairs that do not commute. With rotations alone nobody would have noticed. Mirrors
# find such mistakes, and this will happen again in an exercise and in the appendices.
#
# **Turning by 22.5°.** Of the 32 elements of $D_{16}$ only those 8 move pixels onto pixels. The others have to
# be interpolated, and a turned square shows its corners unless the source image is larger than the crop.
# `PlanarAction` says how large, and interpolates once, straight from the source. {numref}`fig-orbit` shows the result.

# %%
A = PlanarAction(G)
print(A)
print("to crop 96 pixels, take a source of", A.source_size(96))
scene = sample_drawings([4], size=A.source_size(96), seed=1).images
scene_orbit = A.images(scene, 96)[:, 0]
assert A.exact.sum() == 8
assert len(scene_orbit.flatten(1).unique(dim=0)) == 32

# %% mystnb={"figure": {"name": "fig-orbit", "caption": "The 32 images of one drawn scene under D₁₆, in the order that every table and heat map of this book uses: first the 16 rotations in steps of 22.5°, then the 16 reflections. No corner is empty, because the source is larger than the crop."}, "image": {"alt": "Thirty-two small pictures of the same scattered shapes on a pale yellow ground, sixteen turned further and further, then sixteen mirrored ones."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(7.4, 4.9))
    figures.orbit_grid(scene_orbit, G, ax)

# %% [markdown]
# ## Orbits and stabilisers
#
# ```{prf:definition} Orbit and stabiliser
# :label: def-orbit
#
# The **{term}`orbit`** of $x$ is everything it can be moved to, $Gx = \{gx : g \in G\}$. Its **stabiliser** is what
# leaves it alone, $\mathrm{Stab}(x) = \{g : gx = x\}$.
# ```
#
# The stabiliser is a group itself, a {term}`subgroup` of $G$: if $g$ and $h$ change nothing, neither do $gh$ and
# $g^{-1}$. It is what we mean by the symmetry of $x$. The scene above has the stabiliser $\{e\}$ and 32 different
# images. What about a line, or a circle?
#
# Interpolated images are never equal to the last bit, so we compare by cosine: $c(g)$ between $I$ and $gI$,
# with the mean brightness taken off. It is 1 where $g$ leaves the image alone.

# %%
def orbit_cosines(x, action=A, size=64):
    x = action.images(x, size)[:, 0].flatten(1)
    x = x - x.mean(dim=1, keepdim=True)
    x = x / x.norm(dim=1, keepdim=True)
    return x @ x.T

# %% [markdown]
# All pairs of images under the group give a matrix $C$. Rows of it that are high in the same places belong to equal
# images, so counting different rows counts the images in the orbit.

# %%
print("         shape  stabiliser  images  product   expected")
cosines, sizes = {}, {}
for shape in SHAPES:
    C = orbit_cosines(draw(shape, 0.0, A.source_size(64)))
    stabiliser = [g for g in range(32) if C[0, g] > 0.95]
    size = len({tuple(row) for row in (C > 0.95).tolist()})
    print(f"{shape.name:>14}{len(stabiliser):>12}{size:>8}"
          f"{len(stabiliser) * size:>9}   {shape.stabiliser}")
    assert G.generated(stabiliser) == tuple(stabiliser)  # a subgroup
    assert len(stabiliser) * size == 32
    cosines[shape.name], sizes[shape.name] = C, size
assert (sizes["curve"], sizes["line"], sizes["blob"]) == (16, 8, 1)

# %% [markdown]
# Look at the last column but one. It is always 32.
#
# ```{prf:theorem} Orbit and stabiliser
# :label: thm-orbit-stabiliser
#
# $\lvert Gx\rvert \cdot \lvert\mathrm{Stab}(x)\rvert = \lvert G\rvert$.
# ```
#
# More symmetry means fewer images. A {term}`family` of curve detectors needs all 16 orientations, because each curve
# has only one mirror of its own. A family of line detectors needs 8. A blob needs one. {numref}`fig-profiles` shows
# where these symmetries sit, and the first appendix proves the theorem.

# %% mystnb={"figure": {"name": "fig-profiles", "caption": "How much of a drawn shape is left after each transformation: the cosine c(g) between the shape and its image, for D₁₆. The stabiliser is where c reaches 1 (black rings). A curve has one mirror; a line the half turn and two mirrors; a cross quarter turns and four mirrors; a blob everything."}, "image": {"alt": "Four plots over the angle, for a curve, a line, a cross and a blob, each with one line for rotations and one for reflections. Black rings mark where they reach one: 2 elements for the curve, 4 for the line, 8 for the cross, all 32 for the blob."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(2, 2, figsize=(7.2, 6.2), sharex=True, sharey=True)
    for name, ax in zip(("curve", "line", "cross", "blob"), axes.flat, strict=True):
        profile_of = cosines[name][0]
        figures.self_similarity_profile(profile_of, G, ax, legend=name == "curve")
        fixed = (profile_of > 0.95).nonzero()[:, 0]
        ax.scatter(360 / 16 * (fixed % 16), profile_of[fixed], s=130, facecolors="none",
                   edgecolors="black", zorder=4,
                   clip_on=False)
        inset = ax.inset_axes([0.03, 0.04, 0.26, 0.36])
        inset.imshow(draw(name, 0.0, 48)[0, 0], cmap="gray", vmin=0.2, vmax=1)
        inset.axis("off")
        ax.set(ylim=(-0.75, 1.08),
               ylabel="cosine $c(g)$" if name in ("curve", "cross") else "",
               xlabel="" if name in ("curve", "line") else "angle of $r^k$")

# %% [markdown]
# ## Lists with one entry per element
#
# Now to the objects that a group crosscoder works with. Show the network the whole orbit of an image $I$,
# follow a point $p$ through it, and write down the {term}`activations <activation>` $a$.
#
# ```{prf:definition} Orbit vector
# :label: def-orbit-vector
#
# The **{term}`orbit vector`** of an image $I$ at a point $p$ is the list of activations
#
# $$ x[g] = a(gI)(gp), \qquad g \in G . $$ (eq-orbit-vector)
#
# It has $\lvert G\rvert$ **{term}`blocks <block>`**, each with as many numbers as the layer has channels.
# ```
#
# What does it look like for the turned image $hI$ with its point $hp$? Its block $g$ is $a(ghI)(ghp)$. But that
# is a block we already have: $x[gh]$. So turning the image only rearranges the blocks.
#
# ```{prf:definition} Block action
# :label: def-block-action
#
# An element $h$ acts on whatever has one block for each element of the group by
#
# $$ (h \cdot x)[g] = x[gh] . $$ (eq-block-action)
# ```
#
# This is the **{term}`regular representation`** (the right-regular one: $h$ multiplies from the right).
#
# ```{prf:proposition} Turning an image rearranges its blocks
# :label: prop-rearrange
#
# If $x$ is the orbit vector of $I$ at $p$, then $h \cdot x$ is the orbit vector of $hI$ at $hp$. And
# {eq}`eq-block-action` is an action: $g \cdot (h \cdot x) = (gh) \cdot x$.
# ```
#
# The first part was just shown. The second: block $k$ of $g \cdot (h \cdot x)$ is $(h \cdot x)[kg] = x[kgh]$, which
# is block $k$ of $(gh) \cdot x$. Note what was *not* assumed: nothing about the network. The rule holds for every
# function $a$ whatsoever. Let us take three random filters as a stand-in for a network and check.

# %%
generator = torch.Generator().manual_seed(seed)
filters = torch.randn(3, 3, 7, 7, generator=generator)


def a(image, point):
    centre = (image.shape[-1] - 1) / 2
    x, y = (point + centre).round().long().tolist()
    patch = image[:, y - 3:y + 4, x - 3:x + 4]
    return (filters * patch).sum((1, 2, 3))

# %%
def orbit_vector(image, point):
    turned, points = A4.images(image[None])[:, 0], A4.points(point)
    return torch.stack([a(turned[g], points[g]) for g in elements])


spot = point + torch.tensor([5.0, 3.0])  # on the rim of the coral dot
x = orbit_vector(picture[0], spot)
print(tuple(x.shape), "= 8 blocks of 3 channels")
assert len(x.unique(dim=0)) == 8  # the rim looks different every time

# %% [markdown]
# `act(x, G, h)` is $h \cdot x$. It agrees with the turned image, and it is an action:

# %%
moved_spot = A4.points(spot)
for h in elements:
    moved = orbit_vector(orbit[h], moved_spot[h])
    assert torch.equal(moved, act(x, G4, h))
    for g in elements:
        twice = act(act(x, G4, h), G4, g)
        assert torch.equal(twice, act(x, G4, G4.multiply(g, h)))

# %% [markdown]
# A {term}`dictionary vector` of a group crosscoder has the same shape, one block per element, because it is there to
# add up to orbit vectors. So it is transformed by the same rule.
#
# In our order of the blocks, rotations first, this is what the two generators do:

# %%
for name in ("r", "s"):
    blocks = [G4.names[k] for k in G4.regular[G4.index(name)]]
    print(name, ". x = [", *blocks[:4], "|", *blocks[4:], "]", sep="  ")
assert G4.regular[r].tolist() == [1, 2, 3, 0, 5, 6, 7, 4]
assert G4.regular[s].tolist() == [4, 7, 6, 5, 0, 3, 2, 1]

# %% [markdown]
# - $r$ shifts both halves one place to the left.
# - $s$ swaps the halves *and reverses both*, keeping the first block of each half in front.
#
# Why both? Block $r^k$ of $s \cdot x$ is $x[r^k s] = x[sr^{-k}]$, and block $sr^k$ is $x[sr^ks] = x[r^{-k}]$.
# The minus sign is in both halves. It is our equation $rs = sr^{-1}$ again: seen in a mirror, everything turns
# the other way.

# %% [markdown]
# ## When are two lists alike?
#
# The features of later chapters come as such lists: the *dictionary vector* $F_i$ of feature $i$ has a block for each
# element. Two features belong to one family when one is a transformed copy of the other. So dictionary vectors are
# compared by their largest cosine over the group.
#
# ```{prf:definition} Similarity over the group
# :label: def-similarity
#
# The {term}`similarity <similarity over the group>` of two dictionary vectors is their largest cosine when one of them
# may be transformed,
#
# $$ S_{ij} = \max_{h \in G} \cos(F_i, h \cdot F_j) . $$ (eq-similarity)
# ```
#
# ```{prf:proposition} Similarity is symmetric
# :label: prop-symmetric
#
# $S_{ij} = S_{ji}$ for every group $G$.
# ```
#
# *Because* $\cos(F_i, h \cdot F_j) = \cos(h^{-1} \cdot F_i, F_j)$, and $h^{-1}$ is in the group as well.

# %% [markdown]
# ## Exercises
#
# ```{exercise} Two groups with eight elements
# :label: ex-eight
#
# $D_4$ and $C_4 \times C_2$ both have eight elements. Are they the same group under other names? Find a
# property of the tables that decides it.
# ```
#
# ```{solution-start} ex-eight
# :class: dropdown
# ```

# %%
for group in (G4, C4xC2):
    print(group, sorted(group.element_orders.tolist()))
assert C4xC2.is_abelian and not G4.is_abelian

# %% [markdown]
# No. Renaming elements changes neither their orders nor whether they commute. $D_4$ has five elements of order
# 2 (four mirrors and the half turn), $C_4 \times C_2$ has three.

# %%
assert (G4.element_orders == 2).sum() == 5
assert (C4xC2.element_orders == 2).sum() == 3

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} The other side
# :label: ex-left
#
# Someone writes the block action as $(h \cdot x)[g] = x[hg]$, multiplying from the left. Which law of an action
# fails? For which groups does nobody notice? Check your answer with the table of $D_4$.
# ```
#
# ```{solution-start} ex-left
# :class: dropdown
# ```
#
# $(h_1 \cdot (h_2 \cdot x))[g] = (h_2 \cdot x)[h_1 g] = x[h_2 h_1 g]$, which is the action of $h_2 h_1$ instead
# of $h_1 h_2$. Nobody notices when the group is *abelian*, that is, when all its
# elements commute, for example with rotations only.

# %%
left, swapped = G4.table, 0  # x[left[h]] has x[hg] in place g
for g in elements:
    for h in elements:
        gh, hg = G4.multiply(g, h), G4.multiply(h, g)
        twice = x[left[h]][left[g]]
        assert torch.equal(twice, x[left[hg]])
        swapped += not torch.equal(twice, x[left[gh]])
print(swapped, "products are wrong, as with the tempting action on images")
assert swapped == 24

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} A shape of your own
# :label: ex-shape
#
# Paint a picture with `paint` whose stabiliser in $D_{16}$ has exactly two elements, $e$ and the half turn
# $r^8$. How many different images does it have? Check with `orbit_cosines`.
# ```
#
# ```{solution-start} ex-shape
# :class: dropdown
# ```
#
# The letters S, N and Z have a half turn and no mirror. Two curves that open to opposite sides make an S. By
# {prf:ref}`thm-orbit-stabiliser` it has $32 / 2 = 16$ images.

# %%
letter = NIGHT.expand(1, 3, 96, 96)
for sign in (1, -1):
    turn = math.pi / 4 + sign * math.pi / 2
    letter = paint(letter, SUN, "tight curve", turn, position=(0, 8 * sign))
C = orbit_cosines(letter)
assert [G.names[g] for g in range(32) if C[0, g] > 0.95] == ["e", "r^8"]
assert len({tuple(row) for row in (C > 0.95).tolist()}) == 16

# %% [markdown]
# ```{solution-end}
# ```

# %% [markdown]
# ## Summary
#
# - A finite group is its Cayley table. $D_{16}$ (the paper's $D_{32}$) has 16 rotations and 16 reflections, and
#   $rs = sr^{-1}$.
# - It acts on images by {eq}`eq-act-image`, on points by matrices, and on orbit vectors and dictionary vectors by
#   $(h \cdot x)[g] = x[gh]$ ({prf:ref}`def-block-action`). The last rule needs no assumption about the network.
# - The symmetry of a thing is its stabiliser $H$ ({prf:ref}`def-orbit`). Its orbit has $\lvert G\rvert / \lvert
#   H\rvert$ members ({prf:ref}`thm-orbit-stabiliser`).
# - In block order, $r$ shifts both halves to the left, and $s$ swaps the halves and reverses both.
# - From the appendices: each left coset of $H$ makes one member of the orbit. The paper's reflection reverses only one
#   half. That map does not undo itself, as a mirror does, and it makes the similarity of features depend on their order.

# %% [markdown]
# ## Limits
#
# Turning by 22.5° is a stand-in for turning by any angle, and only 8 of the 32 elements move pixels onto
# pixels. Translations are left out; a convolutional network takes care of them. And nothing here says that a
# *trained network* turns its features along with the image. Our templates do so because we drew them in all
# orientations.

# %% [markdown]
# ## What next
#
# {doc}`02_orbits` follows real points through the 32 images of a scene and reads a network's activations there.
# Getting the place right to a fraction of a pixel takes more care than one would think.

# %% [markdown]
# ## Appendix: cosets, or why the product is always 32
#
# {prf:ref}`thm-orbit-stabiliser` was found by counting. Here is the reason, and with it two words that chapters 7, 8 and
# 14 use.
#
# ```{prf:definition} Left coset
# :label: def-coset
#
# Let $H$ be a subgroup of $G$. The **left coset** of an element $g$ is $gH = \{gh : h \in H\}$.
# ```
#
# Let $H = \mathrm{Stab}(x)$. When do $g$ and $g'$ make the same image? Exactly when $g^{-1}g'$ does nothing to
# $x$, that is, when $g'$ lies in the coset $gH$. Cosets of $H$ all have $\lvert H\rvert$ elements and do not
# overlap, so they cut $G$ into $\lvert G\rvert / \lvert H\rvert$ parts, and each part is one image of the orbit.
# That proves {prf:ref}`thm-orbit-stabiliser`. A corner shows it ({numref}`fig-cosets`):

# %%
corner = draw("corner", 0.0, 48)
corner_orbit = A4.images(corner)[:, 0]


def same(x, y):
    return torch.allclose(x, y, atol=1e-6)


H = [g for g in elements if same(corner_orbit[g], corner_orbit[0])]
print("stabiliser:", [G4.names[g] for g in H])
for coset in G4.left_cosets(H):
    print("  left coset:", [G4.names[g] for g in coset])
    for g in elements:
        equal = same(corner_orbit[g], corner_orbit[coset[0]])
        assert equal == (g in coset)

# %% mystnb={"figure": {"name": "fig-cosets", "caption": "The eight images of a drawn corner under D₄, sorted into the left cosets of its stabiliser, one coset a column. Within a column the images are equal, between columns they differ: cosets are the points of the orbit."}, "image": {"alt": "Four columns of two pictures of a corner. In each column the two pictures are the same. From column to column the corner opens to the right, up, left and down."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(2, 4, figsize=(6.4, 3.9))
    for column, coset in enumerate(G4.left_cosets(H)):
        for ax, g in zip(axes[:, column], coset, strict=True):
            ax.imshow(corner_orbit[g, 0], cmap="gray", vmin=0.2, vmax=1)
            ax.set_title(G4.latex[g], loc="center")
            ax.axis("off")

# %% [markdown]
# A turned corner has a turned mirror:
#
# ```{prf:proposition} Stabilisers turn along
# :label: prop-conjugate
#
# If $x$ has the stabiliser $H$, then $gx$ has the stabiliser $g H g^{-1}$.
# ```
#
# *Because* $ghg^{-1}$ takes $gx$ back to $x$, does $h$, which changes nothing, and goes forward again. The same
# argument from $gx$ back to $x$ shows that there are no others. So all members of a family have "the same" symmetry, up
# to such a conjugation. Names like *one mirror* mean a whole {term}`conjugacy class` of subgroups.

# %%
for g in elements:
    moved = corner_orbit[g]
    own = [h for h in elements if same(apply(h, moved), moved)]
    conjugates = [G4.multiply(G4.multiply(g, h), G4.inverse[g]) for h in H]
    assert own == sorted(conjugates)

# %% [markdown]
# ## Appendix: the reflection that the paper prints
#
# Section 2.3.2 of the paper describes the same two operations on a dictionary vector. The rotation agrees with
# ours. The reflection does not: it swaps the halves and then reverses the order *within the new second half
# only*,
#
# $$
# [e, r, \dots, r^{n-1} \mid s, sr, \dots, sr^{n-1}] \;\longmapsto\; [s, sr, \dots, sr^{n-1} \mid e, r^{n-1},
# \dots, r] .
# $$ (eq-paper-reflection)
#
# We call this map $S$ and keep it under the name `paper_reflection`. {numref}`fig-blocks` shows all of them.

# %% mystnb={"figure": {"name": "fig-blocks", "caption": "Where the 16 blocks of D₈ go; each cell names the block that stands there. Rotating shifts both halves to the left. Our reflection swaps the halves and runs backwards in both. The paper's runs forwards in the first half and backwards in the second."}, "image": {"alt": "Four rows of sixteen coloured cells with the names of the elements of D 8, cut in the middle by a line. Second row: both halves shifted by one. Third row: halves swapped, both reversed. Fourth row: halves swapped, only the right one reversed."}} tags=["hide-input"]
G8, names = dihedral(8), ("$x$", r"$r \cdot x$", r"$s \cdot x$", "paper's $S$")
printed_order = paper_reflection(torch.arange(16)[None, :, None], G8).flatten()
with figures.house_style():
    fig, ax = plt.subplots(figsize=(7.4, 2.3))
    figures.arrangements([range(16), G8.regular[1], G8.regular[8],
                          printed_order.tolist()], names, G8, ax)

# %% [markdown]
# What would a mirrored picture say? Put the images $gI$ themselves into the blocks, and compare with the orbit
# of the mirrored picture. {numref}`fig-reflection` shows the outcome.

# %%
truth = A4.images(orbit[s][None])[:, 0]  # from pixels
correct = act(orbit.flatten(1), G4, s).view_as(orbit)
printed = paper_reflection(orbit.flatten(1), G4).view_as(orbit)
wrong = [g for g in elements if not torch.equal(printed[g], truth[g])]
print("wrong blocks:", [G4.names[g] for g in wrong])
assert torch.equal(correct, truth)
assert [G4.names[g] for g in wrong] == ["r", "r^3"]

# %% mystnb={"figure": {"name": "fig-reflection", "caption": "What a reflection should do to the blocks of an orbit vector, for D₄, with the images themselves in the blocks. Rearranged by our rule, the orbit of I becomes the orbit of the mirrored picture sI. Rearranged as the paper prints it, the blocks r and r³ (red frames) are exchanged."}, "image": {"alt": "Four rows of eight small pictures. The second row, the orbit of the mirrored picture, and the third row, our rearrangement, are the same. In the fourth row, the paper's rearrangement, the second and fourth pictures have red frames: they stand in each other's place."}} tags=["hide-input"]
with figures.house_style():
    rows = [("orbit of $I$", orbit), ("orbit of $sI$", truth),
            (r"$s \cdot x$, ours", correct), ("$S$, paper", printed)]
    fig, axes = plt.subplots(4, 8, figsize=(7.4, 4.3))
    fig.get_layout_engine().set(w_pad=0.01, h_pad=0.02, wspace=0.02, hspace=0.02)
    for (name, blocks), line in zip(rows, axes, strict=True):
        for g, ax in enumerate(line):
            ax.imshow(blocks[g].permute(1, 2, 0))
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set(visible=blocks is printed and g in wrong, color="red",
                             linewidth=3)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for g, ax in enumerate(axes[0]):
        ax.set_title(G4.latex[g], loc="center")

# %% [markdown]
# A mirror, used twice, must change nothing. Now to the paper's group, $D_{16}$. How often must $S$ be repeated
# until all 32 blocks are back? And how many arrangements can $R$ (the shift) and $S$ generate together? If they
# are to be $D_{16}$, it has to be 32.

# %%
def arrangement(blocks):
    return tuple(blocks.flatten().tolist())


blocks = torch.arange(32)[None, :, None]  # block g holds the number g
R = arrangement(act(blocks, G, G.index("r")))
M = arrangement(act(blocks, G, G.index("s")))
S = arrangement(paper_reflection(blocks, G))

order_of_M = max(permutation_group([M]).element_orders)
order_of_S = max(permutation_group([S]).element_orders)
with_M, with_S = permutation_group([R, M]), permutation_group([R, S])
print("our reflection:   order", order_of_M, "with R:", with_M.order)
print("paper's:          order", order_of_S, "with R:", with_S.order)
assert (order_of_M, with_M.order) == (2, 32)
assert (order_of_S, with_S.order) == (4, 512)

# %% [markdown]
# $S$ has order 4, so it is not a reflection. Used twice it reverses both halves, which is no rotation either.
# And with the shift it makes 512 arrangements instead of 32. The set that the paper's similarity runs over,
# $\{R^k, R^kS\}$, has only 32 of them. It is not closed under products or inverses:

# %%
def then(first, second):
    """Rearrange by `first`, then by `second`."""
    return tuple(first[i] for i in second)


shifts = [arrangement(act(blocks, G, k)) for k in range(16)]
backwards = (0, *range(15, 0, -1))
assert then(S, S) == backwards + tuple(16 + k for k in backwards)
assert then(S, S) not in shifts

papers_set = {*shifts, *(then(S, shift) for shift in shifts)}
assert len(papers_set) == 32
back = then(S, then(S, S))
assert then(S, back) == tuple(range(32))  # `back` undoes S ...
assert back not in papers_set             # ... and is not there
inside = sum(then(f, g) in papers_set for f in papers_set for g in papers_set)
print(inside, "of 1024 products stay inside")

# %% [markdown]
# ### An exercise on the misprint
#
# ```{exercise} How large does it get?
# :label: ex-512
#
# The paper's $S$ makes 512 arrangements for $n = 16$ rotations. How many for other $n$? Compute some, guess a
# formula, and explain it. *Hint:* what do $R$ and $SRS^{-1}$ do to the two halves?
# ```
#
# ```{solution-start} ex-512
# :class: dropdown
# ```

# %%
def arrangements_for(n):
    blocks, group = torch.arange(2 * n)[None, :, None], dihedral(n)
    moves = act(blocks, group, 1), paper_reflection(blocks, group)
    return permutation_group([arrangement(move) for move in moves]).order


counts = {n: arrangements_for(n) for n in range(3, 13)}
print(counts)
for n, count in counts.items():
    assert count == (4 * n**2 if n % 2 else 2 * n**2)

# %% [markdown]
# $4n^2$ for odd $n$ and $2n^2$ for even $n$. $R$ shifts both halves by $+1$. $SRS^{-1}$ shifts one half by $+1$
# and the other by $-1$, because $S$ has reversed only one of them. Together they shift the halves by any $(a,
# b)$ with $a + b$ even: all $n^2$ pairs if $n$ is odd, half of them if $n$ is even. On top of every such pair
# come the four powers of $S$.
#
# ```{solution-end}
# ```

# %% [markdown]
# ## Appendix: what the misprint does to similarities
#
# {prf:ref}`prop-symmetric` needs inverses, and without them the argument breaks: `printed_similarity` is the largest
# cosine over the arrangements that the paper's $S$ leads to. Let us take 100 random dictionary vectors, and as twins
# their mirror images. A twin should have similarity 1.

# %%
D = torch.randn(100, 32, 4, generator=generator)
D = torch.cat([D, act(D, G, 16)])  # 100 + i is the mirror image of i
ours, papers = max_cosine(D, G), printed_similarity(D, G)

# %%
twins = torch.arange(100)
of_twins = papers[twins, twins + 100]
asymmetry = [float((S - S.T).abs().max()) for S in (ours, papers)]
print(f"largest |S_ij - S_ji|: ours {asymmetry[0]:.0e}, "
      f"paper's {asymmetry[1]:.2f}")
print(f"similarity of twins:   ours {ours[twins, twins + 100].min():.3f}, "
      f"paper's {of_twins.mean():.2f} on average")
assert asymmetry[0] < 1e-5 and asymmetry[1] > 0.1
assert ours[twins, twins + 100].min() > 0.9999
assert 0.45 < of_twins.mean() < 0.65

# %% mystnb={"figure": {"name": "fig-asymmetry", "caption": "Similarity of 200 random dictionary vectors under D₁₆, in both directions: each point is a pair. With the correct reflection (left) all pairs lie on the diagonal, and mirror twins are at 1. With the paper's (right) the value depends on the order of the pair, and twins look half similar."}, "image": {"alt": "Two scatter plots of the similarity of i and j against that of j and i. On the left all points lie on the diagonal, with the twins at one. On the right the points form a cloud around the diagonal and the twins are near one half."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(1, 2, figsize=(7.2, 4.1), sharex=True, sharey=True)
    pairs = torch.triu_indices(100, 100, 1)
    for ax, values, name in zip(axes, (ours, papers),
                                ("correct reflection", "as printed"), strict=True):
        ax.axline((0, 0), slope=1, color="0.6", linewidth=1, zorder=0)
        ax.scatter(values[*pairs], values.T[*pairs], s=3, alpha=0.4,
                   label="unrelated pairs", rasterized=True)
        ax.scatter(values[twins, twins + 100], values[twins + 100, twins], s=16,
                   label="mirror twins")
        ax.set(title=name, xlabel="$S_{ij}$", aspect="equal", xlim=(0.05, 1.05),
               ylim=(0.05, 1.05))
    axes[0].set_ylabel("$S_{ji}$")
    axes[0].legend(loc="upper left", markerscale=2)

# %% [markdown]
# {numref}`fig-asymmetry` shows all pairs. A "distance" $1 - S_{ij}$ that depends on the order of $i$ and $j$ is no
# metric, and {term}`UMAP`, which draws the paper's map of features, expects one.
#
# **Why do the paper's pictures look right, then?** Because many features of an early layer have a mirror
# symmetry of their own: curves, lines, corners, blobs. If $s r^k \cdot F = F$, the mirror image of $F$ is also
# a rotated copy of it, and the 16 rotations alone find it. We can check this with dictionary vectors made from
# drawings, where block $g$ holds a coarse copy of the turned shape. Their twins are their mirror images under
# $sr^3$.

# %%
def coarse(image):
    grey = A.images(image, 64)[:, 0].mean(1, keepdim=True)
    pooled = torch.nn.functional.avg_pool2d(grey, 8)
    return (pooled - pooled.mean((1, 2, 3), keepdim=True)).flatten(1)


def least_twin(features, similarity):
    both = torch.cat([features, act(features, G, G.index("s r^3"))])
    S = similarity(both, G)[:len(features), len(features):]
    return float(S.diagonal().min())


# %%
with_mirror = [draw(shape, 0.0, A.source_size(64)) for shape in SHAPES]
for name, group_of in (("14 shapes", with_mirror), ("picture", [picture])):
    F = torch.stack([coarse(image) for image in group_of])
    least = [least_twin(F, f) for f in (max_cosine, printed_similarity)]
    print(f"{name:>9}: ours {least[0]:.3f}, paper's {least[1]:.3f}")
    assert least[0] > 0.99
    assert least[1] > 0.99 if len(F) == 14 else least[1] < 0.9

# %% [markdown]
# So the error is mild for curves, lines and blobs, and real for features that differ from their mirror image.
# {doc}`Chapter 5 <05_families>` measures how much it matters on a trained dictionary. From here on, every reflection in
# this book is the correct one.

# %% [markdown]
# These numbers go into the {doc}`replication table <../book/replication>`.

# %% tags=["hide-input"]
for key, value, note in (
        ("group_order", G.order, "elements of the group"),
        ("paper_reflection_order", int(order_of_S),
         "order of the reflection as printed"),
        ("paper_arrangements", with_S.order,
         "arrangements by shift and printed reflection"),
        ("correct_reflection_order", int(order_of_M),
         "order of the corrected reflection"),
        ("paper_asymmetry_random", asymmetry[1],
         "largest |S_ij - S_ji|, random vectors, printed reflection"),
        ("correct_asymmetry_random", asymmetry[0], "the same, corrected reflection"),
        ("paper_twin_similarity", float(of_twins.mean()),
         "similarity of mirror twins as printed")):
    report.number(key, value, note=note)

# %% tags=["hide-input"]
from IPython.display import Markdown, display

report.save()
display(Markdown(report.compare()))
