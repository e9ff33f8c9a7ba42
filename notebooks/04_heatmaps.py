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
# **On {term}`InceptionV1`** symmetry can be seen ({numref}`fig-three-inception`). Each square compares what one feature
# writes for one pose with what it writes for another. A dark line that crosses a whole quarter is a symmetry: falling in
# the upper left quarter a turn, rising in the upper right a mirror. It may be paler than the main diagonal, which is
# always 1; the numbers above say how alike. Faint lines are near misses. Lines in the other direction, as in the third
# square, are no symmetry. The drawing above each square has the symmetry that the square shows. Such features are few:
# for a tenth of all, decoder, encoder and preferred drawing say the same; give each feature the drawing of another, and it
# is still a fortieth, by chance.
# This chapter says how to read the squares, and when not to trust them.
#
# ```{figure} ../book/reference/04_heatmaps/three_confirmed.png
# :alt: Three square heat maps with diagonal stripes, a small drawing above each: two arcs and a line.
# :name: fig-three-inception
#
# InceptionV1, mixed3b, reference run: three features (f and their number) whose decoder, encoder and preferred drawing
# agree about the symmetry, and the drawing that excites them most. c(180°) is the likeness to the half-turned copy; the
# last number is the least likeness, in both halves of the coder, over the drawing's symmetries.
# ```
#
# **You will learn**
#
# - how to draw the symmetry of one feature as a picture, the paper's Figure 5,
# - how to read it: diagonals, four quarters, and what they mean,
# - when such a picture depends only on $g^{-1}h$, and how to measure by how much it fails,
# - how to test what one half of a coder says about a feature by the other half,
# - which curves, lines and invariant features pass, and which to doubt.
#
# **You need** the block action from {doc}`01_groups` and an idea of what a crosscoder is ({doc}`03_training`).
#
# **Run time** under a minute on one CPU core when {doc}`chapter 3 <03_training>` has been run, a few minutes
# otherwise.
#
# **Look up** symbols in {doc}`../book/notation`, words in the {doc}`../book/glossary`. The first use of a word leads
# there.
#
# ```{admonition} The short way
# :class: tip
#
# Later chapters need everything up to and including *Learned features*, and *What the other half says* as far as its
# first subheading: twenty-five minutes. *Does curvature predict the second diagonal?* tests a claim of the paper, and
# controls as well. *Figure 5: three in a row* is for readers of the paper.
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
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from IPython.display import HTML, Markdown, display
from scipy.stats import spearmanr

from groupcc_lite import figures
from groupcc_lite.answers import interval_over_features, separation
from groupcc_lite.base import interval_of
from groupcc_lite.runs import CONTROLS, Run, table_by_column
from groupcc_lite.stimuli import SHAPE_NAMES, SHAPES, draw, stimuli
from groupcc_lite.symmetry import (
    TAU,
    block_cosines,
    centre_activations,
    centred,
    confirmed,
    encoder_profile,
    equivariance_score,
    label_by_response,
    living_dictionary,
    self_similarity,
    stabilisers,
)

run = Run(profile, seed=seed, images=images, weights=weights)
report = run.report("04_heatmaps")
G, A, model = run.group, run.action, run.model
n = G.order // 2  # rotations; element n + k is s r^k
HALF, QUARTER = n // 2, n // 4  # half a turn and a quarter turn, as numbers of elements
print(run)
assert n % 4 == 0

# %% [markdown]
# The same questions are put to controls: the same architecture with random weights, raw pixels (*patches*), and, for
# the built-in network, a sibling that was trained to report orientations (*told*). Where the controls have fewer images
# than the run, *trained* is the run's own network with as few.

# %%
told = run.profile.model == "tiny-inception"
names = [name for name in CONTROLS if name != "told" or told]
controls = {name: run.control(name) for name in names}
if controls["trained"].keys() == run.keys():
    del controls["trained"]  # the run itself

# %% tags=["hide-input"]
def record(key, name, value, note, **about):
    key = key if name == "this run" else f"{key}_{name}"
    return report.number(key, value, note=note, over="features", **about)


def show(*keys):
    display(Markdown(table_by_column(report.numbers, keys, ("this run", *CONTROLS))))


def median_of(values):
    return float(values.nanmedian())


def sure_of(values):
    return interval_over_features(lambda drawn: median_of(values[drawn]), len(values))

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
# If the feature is a line, half a turn gives the same line, so blocks half a turn apart should agree. If it is a blob,
# all blocks should. The picture is Figure 5 of the paper {cite:p}`gorton2024group`.
#
# First three for which we know the answer. Let the "network" be the pixels themselves, and let the "feature" be a
# drawing: block $g$ holds the pixels of the transformed drawing.

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
three = [SHAPE_NAMES.index(name) for name in ("blob", "line", "curve")]
shown = torch.cat([A.images(drawing(SHAPES[i]), small, elements=[0])[0] for i in three])

# %% mystnb={"figure": {"name": "fig-drawn-heatmaps", "caption": "Three drawings and their block heatmaps, computed from their pixels; no network. A blob is the same under everything. A line comes back after half a turn, so there is a second diagonal beside the main one. A curve comes back only after a full turn."}, "image": {"alt": "Three square heat maps, each cut into four quarters. The blob's is uniformly dark orange. The line's quarters are crossed by two stripes each, the curve's by one."}} tags=["hide-input"]
with figures.house_style():
    fig = figures.heatmap_row(block_cosines(drawn[three]),
                              [SHAPE_NAMES[i] for i in three], G,
                              pictures=shown)
    report.figure("drawn", fig)

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
    for places, pictures, B, i in zip(axes, positions, growing, pair, strict=True):
        figures.heatmap_up_to(g, B, pictures[g], G, places)
        places[0].set_title(f"{SHAPE_NAMES[i]}, {G.latex[g]}", loc="center")
    return fig


stops = sorted({*range(0, n, max(1, n // 8)), *range(n, G.order, max(1, n // 4)),
                G.order - 1})
with figures.house_style():
    frames = [figures.png(rows_up_to(g)) for g in stops]
figures.feature_stack(frames, [G.names[g] for g in stops], [
    f"A line and a curve moved by {G.names[g]}, and their heatmaps, filled from the "
    f"top to the row of {G.names[g]}."
    for g in stops], description="rows up to", start=-1, plays=True)

# %% [markdown]
# ## How to read it
#
# Rows and columns run through the elements in the book's usual order: first the rotations $r^k$, then the
# reflections $sr^k$. The thin lines separate them, so there are four quarters. What is being compared in each?
# Two blocks are apart by the element that leads from one to the other, $g^{-1}h$:
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

# %% [markdown]
# - **Top left: rotations.** The main diagonal is $g^{-1}h = e$ and always 1. A stripe $k$ places beside it says
#   that the feature looks like its copy turned by $r^k$. A second full-strength stripe in the middle is a half
#   turn.
# - **Top right: mirrors.** A stripe along a rising diagonal says that the feature looks like its copy under one
#   reflection. A curve has one mirror, so one stripe (it wraps around). A line has two.
# - **Bottom right** repeats top left, **bottom left** repeats top right, *if* the network treats a mirrored
#   image as it treats the image. If the quarters differ, it does not.
# - **The width of a stripe** says how fast the feature changes: a sharp stripe is tuned finely to orientation.

# %% [markdown]
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
# A network with that property is called unitarily {term}`equivariant`. Nothing in the architecture of ours forces it to
# be. Its training does ask for something like it: the built-in network had to name shapes in scenes that show every
# orientation equally often, which works like augmentation by all rotations, and GoogLeNet was trained on images and
# their left-right mirror images. So we measure: take the mean of $B$ over all pairs with the same $g^{-1}h$, and ask
# which share of the variance of $B$ it explains, without the diagonal, which is 1 anyway. This share is the
# {term}`equivariance score`. For a circle or a blob $B$ hardly varies, and the share means nothing.

# %%
oriented = torch.tensor([shape.fold > 0 for shape in SHAPES])
of_pixels = equivariance_score(drawn[oriented], G)
print(f"pixels: share explained by g^-1 h is at least {of_pixels.min():.2f}")
assert of_pixels.min() > 0.95

# %% [markdown]
# ## The same drawings through the network
#
# Now the blocks are the layer's {term}`activations <centre activation>` at the image centre, $F[g] = a(g I)(0)$.
# Activations behind a ReLU are never negative, so any two of them have a large cosine. We take off the mean over all
# drawings, as the decoder's bias $b_d$ does in a {term}`crosscoder`. {numref}`fig-network-heatmaps` shows the result.

# %%
def through_network(shape, model=model):
    return centre_activations(model, A.images(drawing(shape), model.input_size)[:, 0])


seen = torch.stack([through_network(shape) for shape in SHAPES])
seen = seen - seen.mean((0, 1))

# %% mystnb={"figure": {"name": "fig-network-heatmaps", "caption": "The same three drawings, now as activations of the profile's network at the image centre. Stripes are where they should be, as they would be for any function of these images; between the stripes they are less even than for pixels."}, "image": {"alt": "Three square heat maps like the ones for pixels: uniform for the blob, two stripes in each quarter for the line, one for the curve, with blue, negative areas between the stripes."}} tags=["hide-input"]
with figures.house_style():
    fig = figures.heatmap_row(block_cosines(seen[three]),
                              [SHAPE_NAMES[i] for i in three], G,
                              pictures=shown)
    report.figure("network", fig)

# %% [markdown]
# Be careful with what this shows. A drawn line *is* the same image after half a turn, so *any* function of the
# image has the line's second diagonal. What does not come for free is how evenly $B$ follows $g^{-1}h$ between those
# diagonals. So compare the score with what random weights and raw pixels give, for the shapes that have an orientation.
# The score also rises with whatever no element changes, so we take that off as well: *centred*,
# $F[g] - \frac1{\lvert G\rvert}\sum_k F[k]$.

# %%
for name, of in {"this run": run, **controls}.items():
    x = torch.stack([through_network(shape, of.model) for shape in SHAPES])
    x = (x - x.mean((0, 1)))[oriented]
    plain = equivariance_score(x, G)
    rest = equivariance_score(x - x.mean(1, keepdim=True), G)
    record("network_share", name, median_of(plain), n=len(plain),
           interval=sure_of(plain),
           note="share of B that g⁻¹h explains, drawn shapes, median")
    record("network_share_centred", name, median_of(rest), n=len(rest),
           interval=sure_of(rest), note="the same, centred")
of_drawings = ("network_share", "network_share_centred")
show(*of_drawings)

# %% [markdown]
# In the book's run the trained network follows $g^{-1}h$ more closely than random weights do, and pixels, which are
# equivariant by construction, more closely than either. So training made this network more equivariant, on drawings
# like those on which it was trained, in all orientations.

# %% [markdown]
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
# Since $g^{-1}(gh) = h$, the sum runs along the stripe of $h$, and longer blocks count more. {doc}`07_symmetry` draws
# profiles.

# %%
c_seen = self_similarity(seen, G)
w = seen.norm(dim=2) / seen.flatten(1).norm(dim=1, keepdim=True)
B = block_cosines(seen)
g = torch.arange(G.order)
for h in range(G.order):
    gh = torch.as_tensor(G.table[:, h])
    assert torch.allclose(c_seen[:, h], (w * w[:, gh] * B[:, g, gh]).sum(1), atol=1e-4)

# %% [markdown]
# ## Learned features
#
# Now to the trained crosscoder, and to coders trained in the same way on the controls. We keep the features that
# {term}`fire <firing>` on {term}`held-out images`.

# %%
class Halves(NamedTuple):
    """Both halves of a coder's living features: dictionary, profiles c(h), shapes."""
    coder: object
    features: object  # numbers of the latents
    D: torch.Tensor
    c: torch.Tensor  # decoder
    e: torch.Tensor  # encoder, on held-out orbits
    label: torch.Tensor  # drawn shape that excites the encoder most; -1: none clearly
    response: torch.Tensor  # to every class of shapes


def both_halves(run, seed=seed):
    coder = run.coder(seed=seed)
    D, features = living_dictionary(coder, run.evaluate(coder).frequency)
    e, D = encoder_profile(coder, run.orbits("held-out"))[features].cpu(), D.cpu()
    named = label_by_response(coder, run.stimulus_activations, run.stimuli.shape)
    return Halves(coder, features, D, self_similarity(D, G), e,
                  torch.as_tensor(named.label[features]),
                  torch.as_tensor(named.response[features]))

# %%
coder, features, D, c, e, label, response = mine = both_halves(run)
columns = {"this run": mine} | {name: both_halves(control)
                                for name, control in controls.items()}
living_count = report.number("living_count", len(D), n=len(D),
                             note="features that fire on held-out images")

# %%
share = equivariance_score(D, G)
for name, of in columns.items():
    plain = equivariance_score(of.D, G)
    rest = equivariance_score(of.D - of.D.mean(1, keepdim=True), G)
    record("feature_share", name, median_of(plain), n=len(plain),
           interval=sure_of(plain),
           note="share of B that g⁻¹h explains, learned features, median")
    record("feature_share_centred", name, median_of(rest), n=len(rest),
           interval=sure_of(rest),
           note="the same without each feature's invariant part")
of_features = ("feature_share", "feature_share_centred")
show(*of_features)

# %% [markdown]
# On features the trained network is ahead of random weights again, and pixels are level with it.
#
# For the trained network both numbers are lower than on drawings: the crosscoder knows the other blocks only as far as
# $x[e]$ determines them ({doc}`03_training`), and directions are learned from finitely many samples.
#
# The paper shows three features. It is tempting to find all of their kind by thresholds: call *curve* whatever has a
# mirror and a low $c(180°)$. Such a rule cannot be tested by what it selects. This book does two other things.
#
# - {term}`Stabilisers <stabiliser>`: the largest subgroup for whose elements the profile stays above 0.4, after what all
#   elements share was taken off (the {term}`centred profile`); how far the nearest value is from 0.4 is its *margin*
#   ({doc}`07_symmetry`). What all elements share is the other case: a feature is {term}`invariant` if the plain
#   $c(h) \ge 0.5$ for *all* $h$, so that more than half of what it writes is the same for all elements.
# - Tests in which one half of the coder selects and the other half answers.
#
# How much of a count of mirrors would chance give? {doc}`Chapter 7 <07_symmetry>` has a null for that, which says nothing
# about invariant features and half turns. For those the other half of the coder is the witness.

# %% [markdown]
# ## What the other half says
#
# The heatmap looks at the decoder only. The encoder is a separate matrix, and it can be asked separately: show it the
# activations of held-out images in all poses, and compare its responses to all images with its responses to the
# same images transformed by $h$ (`encoder_profile`). Does it agree about half a turn? And does it answer alike in all
# poses where the decoder's feature is invariant?

# %%
B, found = block_cosines(D), stabilisers(D, G)
whole = torch.tensor([s.subgroup.order == G.order for s in found])
report.number("invariant_count", int(whole.sum()), n=len(D), note="invariant features")

# %%
def rank(x, y):
    """Rank correlation; nan where one side does not vary."""
    known = ~(x.isnan() | y.isnan())
    x, y = x[known], y[known]
    varies = len(x) > 1 and x.min() < x.max() and y.min() < y.max()
    return float(spearmanr(x, y).statistic) if varies else math.nan

# %% tags=["hide-input"]
for name, of in columns.items():
    x, y = of.c[:, HALF], of.e[:, HALF]
    sure = interval_over_features(lambda i, x=x, y=y: rank(x[i], y[i]), len(x))
    record("encoder_rank_correlation", name, rank(x, y), n=len(x), interval=sure,
           note="half turn by decoder and by encoder, rank correlation")
    every = torch.tensor([s.subgroup.order == G.order for s in stabilisers(of.D, G)])
    alike = of.e[:, 1:].mean(1)
    record("invariant_percent", name, 100 * float(every.float().mean()), n=len(every),
           unit="%", note="per cent of the features that are invariant")
    record("invariant_encoder", name, median_of(alike[every]), n=int(every.sum()),
           interval=sure_of(alike[every]), note="encoder's mean cosine over the group, "
           "invariant features, median")
    record("all_encoder", name, median_of(alike), n=len(alike), interval=sure_of(alike),
           note="the same for all features")
unchanged = ("invariant_percent", "invariant_encoder", "all_encoder")

# %% [markdown]
# **What comes out in the book's run:** in every column decoder and encoder rank the features alike by half a turn, and invariant features
# are read alike in all poses. The rows hold three kinds of number: the first a rank correlation, from -1 to 1, where 0
# is no agreement; the second per cent of the features; the last two mean cosines, where 1 is the same response in every
# pose. In brackets 95 % intervals over features; *n* counts features.

# %%
show("encoder_rank_correlation", *unchanged)

# %% [markdown]
# The two halves agree about half a turn in all columns. So a profile says something about the feature, and not only
# about its decoder. It says nothing about the network's training: pixels do it too.
#
# And what is written invariantly is read invariantly, in all columns, if by few features. (Drawings would be a weak
# witness here: half a turn maps every fifth of them onto itself.) But in the book's run invariant features are *more*
# common in the untrained network and in pixels. Training the network makes fewer of them.
#
# ### Lines and curves, selected by the encoder
#
# Now the paper's claim. Select features by the drawn shape that excites their *encoder* most, and read the *decoder*.
# The prediction follows from the drawings' geometry alone:
#
# | the encoder prefers | leaves the shape as it is | so $c(h)$ should be high at |
# |---|---|---|
# | curves, corners, T-junction, edge | one mirror | no rotation |
# | line, grating | half a turn, two mirrors | 180° |
# | cross, square, checks | quarter turns, four mirrors | 90° and 180° |
# | circle, blob | everything | all angles |

# %%
def prefers(label, test):
    return torch.tensor([k >= 0 and test(SHAPES[k]) for k in label.tolist()])


half, centred_half = c[:, HALF], centred(c)[:, HALF]

# %% [markdown]
# How well does the selection separate the numbers? `separation` gives the chance that a feature of the first sort has
# the larger one; 0.5 says nothing. And the other way round: select by the decoder's stabiliser, with or without a half
# turn, and read the encoder on held-out orbits.
#
# *Centred* numbers, written $c'$, leave out what is the same in all poses ({term}`centred profile`).

# %%
def tests_of(of):
    even = prefers(of.label, lambda s: s.fold in (2, 4))
    odd = prefers(of.label, lambda s: s.fold == 1)
    square = prefers(of.label, lambda s: s.fold == 4)
    less = prefers(of.label, lambda s: s.fold in (1, 2))
    by_decoder = torch.tensor([HALF in s.subgroup.elements
                               for s in stabilisers(of.D, G)])
    return {"halfturn_auc": separation(of.c[:, HALF], even, odd),
            "halfturn_auc_centred": separation(centred(of.c)[:, HALF], even, odd),
            "quarterturn_auc": separation(of.c[:, QUARTER], square, less),
            "decoder_selects_auc": separation(of.e[:, HALF], by_decoder)}


meaning = {"halfturn_auc": "c(180°), prefers lines ... checks against curves ...",
           "halfturn_auc_centred": "the same, centred profiles",
           "quarterturn_auc": "c(90°), prefers cross ... checks against others",
           "decoder_selects_auc": "encoder at 180°, decoder has half a turn or not"}

# %% tags=["hide-input"]
for name, of in columns.items():
    for key, s in tests_of(of).items():
        record(key, name, s.auc, n=s.selected + s.others, interval=s.interval,
               note=meaning[key])
        if (key, name) == ("halfturn_auc", "this run"):
            report.number("halfturn_p", s.p, n=s.selected + s.others,
                          note="p of the half-turn test, 2,000 shuffles")
by_seed = [report.numbers["halfturn_auc"]["value"]]
by_seed += [tests_of(both_halves(run, other))["halfturn_auc"].auc
            for other in range(seed + 1, seed + run.profile.seeds)]
if len(by_seed) > 1:
    report.number("halfturn_auc_seeds", sum(by_seed) / len(by_seed), n=len(by_seed),
                  interval=interval_of(by_seed), over="seeds of the coder",
                  note="half-turn test, mean over seeds")
if profile == "book":
    assert report.numbers["halfturn_auc"]["interval"][0] > 0.5

# %% [markdown]
# **What comes out in the book's run:** features that prefer lines or other drawings with a half turn have more of it
# than those that prefer curves and the like, more often than not; random weights give about the same. Every number in this table is a **probability**: draw one feature
# that was selected and one that was not; how likely has the first the larger cosine? 0.5 is a coin, 1 means always. In
# brackets 95 % intervals over features; *n* counts the features of both sorts.

# %%
show(*meaning)

# %% [markdown]
# The encoder's choice of a shape tells where the decoder has a half turn, so the paper's claim holds as a tendency.
# Does it need a trained network? In the book's run it does not: with random weights the number is the same, since a
# line is the same image after half a turn for any network. With centred profiles both are smaller, and the interval of
# random weights includes 0.5. In pixels the half-turn test finds nothing there. Selected by the decoder, few features
# have a half turn, and their encoders have it in all columns.
#
# Two comparisons more. *Curves repeat only after a full turn*: if that set them apart, curves would have a lower
# centred $c'(180°)$ than all other features; this test was fixed before its number was known. *Lines against curves*,
# the paper's own comparison: lines and gratings against the three curves alone.

# %%
arcs = prefers(label, lambda s: s.name.endswith("curve"))
lines = prefers(label, lambda s: s.fold == 2)
for key, s, note in (
        ("curve_auc", separation(-centred_half, arcs),
         "chance that c′(180°) of a curve is below that of another feature"),
        ("line_curve_auc", separation(half, lines, arcs),
         "chance that c(180°) of a line or grating is above that of a curve")):
    record(key, "this run", s.auc, note, n=s.selected + s.others, interval=s.interval)

# %%
circle = label == SHAPE_NAMES.index("circle")
sorts = {"line": lines, "curve": arcs, "circle": circle}  # gratings count as lines
for name, among in sorts.items():
    record(f"halfturn_{name}", "this run", median_of(half[among]), n=int(among.sum()),
           interval=sure_of(half[among]),
           note=f"decoder's c(180°), encoder prefers a {name}, median")
    record(f"encoder_{name}", "this run", median_of(e[among, HALF]),
           n=int(among.sum()), interval=sure_of(e[among, HALF]),
           note=f"the same by the encoder on held-out orbits, {name}")
    present = float((centred_half[among] >= TAU).float().mean())
    record(f"halfturn_{name}_present", "this run", present, n=int(among.sum()),
           note=f"share with c′(180°) of at least {TAU}, {name}")
each_sort = ("halfturn_{}", "encoder_{}", "halfturn_{}_present")
two_sorts = ["curve_auc", "line_curve_auc"]
per_sort = [key.format(name) for name in sorts for key in each_sort]

# %% [markdown]
# **What comes out in the book's run:** curves are set apart from lines and gratings, but not from all other features.
# Both numbers are probabilities as above, for a pair of features; 0.5 says nothing.

# %%
show(*two_sorts)

# %% [markdown]
# The next table is folded. Its numbers are cosines (medians over features, 1: the same after half a turn), and in
# the rows that begin with *share* the share of the features whose centred cosine passes the threshold.

# %% tags=["hide-output"]
show(*per_sort)

# %% [markdown]
# In the book's run few curves have a second diagonal, as the paper says. But that is no mark of curves: most other
# features have none either, and a curve's $c'(180°)$ is not below that of another feature. Nor do most features that
# prefer a line have a half turn that would pass the threshold; their encoders, by which they were selected, have more
# of it.
#
# *The circle* should have everything and has little, in both halves. A ring has a stroke in every direction at some
# distance from its centre, so it suits a feature that looks for a stroke beside its point. The name is a poor one.
#
# ### Does curvature predict the second diagonal?
#
# "Decreasing curvature", says the paper. So take the curvature of the drawn arcs, weighted by the feature's largest
# response to each (0 for lines), and correlate it with the half turn: by the dictionary, which is the paper's claim,
# and by the encoder on held-out orbits. A negative number supports the claim.

# %%
curvature = {"line": 0.0, "wide curve": 1 / 26, "curve": 1 / 14, "tight curve": 1 / 8}
of_stroke = torch.tensor(list(curvature.values()))
for name, of in columns.items():
    weights = of.response[:, [SHAPE_NAMES.index(stroke) for stroke in curvature]]
    preferred = weights @ of_stroke / weights.sum(1).clamp(min=1e-9)
    strokes = prefers(of.label, lambda s: s.name in curvature)
    for side, values in (("dictionary", of.c[:, HALF]), ("encoder", of.e[:, HALF])):
        x, y = preferred[strokes], values[strokes]
        sure = interval_over_features(lambda i, x=x, y=y: rank(x[i], y[i]), len(x))
        record(f"curvature_{side}_correlation", name, n=len(x), interval=sure,
               value=rank(x, y) if len(x) > 2 else math.nan,
               note=f"preferred curvature and half turn by {side}, rank correlation")
curved = ("curvature_dictionary_correlation", "curvature_encoder_correlation")

# %% [markdown]
# **What comes out in the book's run:** the more curved the preferred stroke, the less half a turn; but pixels show it,
# too. The numbers are rank correlations, from -1 to 1; below 0 supports the claim.

# %%
show(*curved)

# %% [markdown]
# In the book's run both are negative, the encoder's more so. But pixels have negative ones too, and so has the network
# that was told orientations; with random weights few features prefer a stroke, and the dictionary's interval holds
# zero as well as the trained network's value. So this run does not show that the claim needs training.
# {numref}`fig-two-halves` shows both halves.

# %% mystnb={"figure": {"name": "fig-two-halves", "caption": "Half a turn by both halves of the coder: c(180°) of the dictionary vector (across) and of the encoder on held-out orbits (up), one mark per feature. Marks say which shape excites the encoder most. The halves agree; the shapes overlap widely."}, "image": {"alt": "A scatter plot that rises from lower left to upper right. Lines and gratings lie somewhat further up and to the right than curves; most features lie low in the left half."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 4.6))
    rest = ~(lines | arcs | circle)
    for among, name, marker in ((rest, "others", "o"), (arcs, "curves", "s"),
                                (lines, "line, grating", "^"), (circle, "circle", "D")):
        ax.scatter(half[among], e[among, HALF], s=12 if name == "others" else 30,
                   marker=marker, color="#c4cbd1" if name == "others" else None,
                   label=f"{name} ({int(among.sum())})")
    ax.set(xlabel="$c(180°)$ of the dictionary vector", ylabel="of the encoder")
    ax.legend(loc="lower right")
    report.figure("two_halves", fig)

# %% [markdown]
# ## Figure 5: three in a row
#
# Which features may be shown as a curve or a line? Those about which three witnesses say the same. (1) The decoder: its
# stabiliser $H$ from the centred profile. (2) The encoder on held-out orbits: it confirms $H$ (`confirmed`). (3) The
# drawing that excites the encoder most, which has to be left alone by the elements of $H$ and by no others: not only
# the right kind of symmetry, but the right axis.

# %%
drawings = stimuli(model.input_size, n * max(1, 32 // n))
same = torch.arange(len(drawings))
leaves = torch.stack([torch.tensor(drawings.act(A, h)) == same for h in range(G.order)])
print(f"half a turn maps {leaves[HALF].float().mean():.0%} of the drawings onto "
      "themselves")
with torch.no_grad():
    x0 = centre_activations(model, drawings.images)
    excited = coder.preactivations(x0.to(coder.W_e.device)).relu().cpu()[:, features]
best = excited.argmax(0)

# %% tags=["hide-input"]
holds = torch.zeros(len(D), G.order, dtype=torch.bool)
for i, s in enumerate(found):
    holds[i, list(s.subgroup.elements)] = True
two = confirmed(found, e)
three_agree = two & (holds == leaves[:, best].T).all(1) & (label >= 0)
shuffled = torch.randperm(len(D), generator=torch.Generator().manual_seed(seed))
by_chance = two & (holds == leaves[:, best[shuffled]].T).all(1) & (label[shuffled] >= 0)
report.number("three_witnesses", int(three_agree.sum()), n=living_count,
              note="features whose decoder, encoder and drawing have one stabiliser")
report.number("three_witnesses_shuffled", int(by_chance.sum()), n=living_count,
              note="the same with the drawing of another feature")
show("three_witnesses", "three_witnesses_shuffled")

# %% [markdown]
# {numref}`fig-three` shows one feature for each step of the paper's figure: a curve, a wide curve, and a line or
# grating. It takes the one whose two halves have the largest smallest centred cosine on the drawing's own stabiliser,
# from those with three witnesses if there are any; the number above says what the halves have.

# %%
of_drawing = leaves[:, best].T
both = torch.minimum(centred(c), centred(e)).masked_fill(~of_drawing, 1).amin(1)


def strongest(*names):
    """The feature that prefers one of these shapes and is borne out best."""
    among = prefers(label, lambda s: s.name in names)
    among = among & three_agree if (among & three_agree).any() else among
    best_of = torch.where(among, both.nan_to_num(-1), -2).argmax()
    return [int(best_of)] if among.any() else []


steps = ("curve", "tight curve"), ("wide curve",), ("line", "grating")
row = [i for shapes in steps for i in strongest(*shapes)]


def title(i):
    return (f"f/{features[i]}{'' if three_agree[i] else ', doubtful'}\n"
            f"$c(180°)$ = {half[i]:.2f}\nboth halves: {both[i]:.2f}")

# %% mystnb={"figure": {"name": "fig-three", "caption": "Block heatmaps of learned features, after the paper's Figure 5, and above each the drawing that excites its encoder most: a curve, a wide curve, a line or grating. Chosen by rule. Doubtful: no feature that prefers this shape has a decoder, an encoder and a drawing with one and the same stabiliser."}, "image": {"alt": "Three square heat maps with a small drawing above each. The curves have one clear diagonal in each quarter, the grating several."}} tags=["hide-input"]
with figures.house_style():
    fig = figures.heatmap_row(B[row], [title(i) for i in row], G,
                              pictures=drawings.images[best[row]])
    report.figure("three_confirmed", fig)

# %% [markdown]
# ### Three features to doubt
#
# The most doubtful ones by three rules: of the features whose decoder has a half turn, the one whose encoder has
# least of it, which need not be little; the symmetric feature with the smallest margin; and, among features with any symmetry, the one whose heatmap is
# the least a function of $g^{-1}h$.

# %%
def clearest(score, among):
    """The feature with the best score among some; among all if there are none."""
    among = among if among.any() else torch.ones_like(among)
    return int(torch.where(among, score, -torch.inf).argmax())


margin = torch.tensor([s.margin for s in found])
symmetric = (holds.sum(1) > 1) & ~whole
doubtful = [clearest(-e[:, HALF].nan_to_num(1.0), holds[:, HALF] & ~whole),
            clearest(-margin.abs(), symmetric),
            clearest(-share.nan_to_num(1.0), symmetric)]


def doubt(i):
    return (f"f/{features[i]}, share {share[i]:.2f}\ndictionary {half[i]:.2f}\n"
            f"encoder {e[i, HALF]:.2f}")

# %% mystnb={"figure": {"name": "fig-doubtful", "caption": "Three doubtful features, chosen by rule. Above each: the drawing that excites its encoder most, half a turn by dictionary vector and by encoder, and the share of the heatmap that g⁻¹h explains. Left: the decoder has a half turn, and the encoder has least of it. Middle: on the threshold. Right: a symmetry is there on average, but the heatmap is patchy."}, "image": {"alt": "Three square heat maps, a small drawing above each: many parallel diagonals, one faint beside a clear one, and patches."}} tags=["hide-input"]
with figures.house_style():
    fig = figures.heatmap_row(B[doubtful], [doubt(i) for i in doubtful], G,
                              pictures=drawings.images[best[doubtful]])
    report.figure("doubted", fig)

# %% [markdown]
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
cross = self_similarity(drawn[[SHAPE_NAMES.index("cross")]], G)[0]
rotations, mirrors = (half.topk(4).indices.sort().values.tolist()
                      for half in (cross[:n], cross[n:]))
print("largest values at rotations", rotations, "and mirrors", mirrors)
assert rotations == mirrors == list(range(0, n, n // 4))

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Propellers
# :label: ex-propellers
#
# The letters S, N and Z have a half turn and no mirror. How many features have the stabiliser of such a propeller, in
# the decoder, and how many of these does the encoder confirm?
# ```
#
# ```{solution-start} ex-propellers
# :class: dropdown
# ```

# %%
propellers = torch.tensor([s.subgroup.elements == (0, HALF) for s in found])
print(int(propellers.sum()), "features with a half turn and no mirror, confirmed:",
      int((propellers & two).sum()))

# %% [markdown]
# ```{solution-end}
# ```

# %% [markdown]
# ## Summary
#
# - The block heatmap $B[g, h] = \cos(F[g], F[h])$ shows a feature's symmetry as stripes: rotations along falling
#   diagonals, mirrors along rising ones. The profile $c(h)$ is its mean along stripes ({prf:ref}`prop-mean`).
# - By {prf:ref}`prop-stripes` it depends on $g^{-1}h$ only exactly when orthogonal matrices turn the blocks into each
#   other. How far that holds is a number. In the book's run it is higher for the trained network than for random
#   weights, on drawings and on features; raw pixels, which are equivariant by construction, have as much. On
#   InceptionV1 random weights have more, on features.
# - Selected by the encoder, lines, gratings and crosses have more of a half turn in the decoder than curves and
#   corners. Random weights give the same, and no threshold separates the two sorts.
# - Decoder and encoder agree about half a turn, and invariant features are read as they are written. They are rarer
#   after the network's training than before.

# %% [markdown]
# ## Limits
#
# A heatmap shows the symmetry of what the decoder writes, averaged over everything the feature fires for. It
# does not say what the feature looks for; {doc}`06_seeing` does. Preferred shapes are taken at the image centre, so
# features that look beside it are named badly. Intervals treat the features of one dictionary as independent; another
# seed finds other features ({doc}`03_training`).

# %% [markdown]
# ## What next
#
# {doc}`05_families` compares features with *each other* instead of with themselves.

# %% [markdown]
# ## On InceptionV1
#
# The right-hand column is the run with `profile="inception"`: {term}`InceptionV1` in the BVLC training (GoogLeNet), not
# the paper's, with images as they are and mirrored left to right. Read the two correlations with curvature side by
# side: the first is the paper's claim, the second is not.
#
# Three things are other than above. A curve's $c'(180°)$ is below that of another feature somewhat more often than not.
# **Random weights follow $g^{-1}h$ more closely than the trained network** on features (on drawings too, but there the
# intervals overlap), so what training did to the built-in network it did not do here. And invariant features are rarest
# in pixels; random weights have more of them than the trained network, as above.

# %% tags=["hide-input"]
report.save()
alone = ("living_count", "halfturn_p", "halfturn_auc_seeds", *two_sorts,
         *curved, "invariant_count",
         "three_witnesses", "three_witnesses_shuffled")
display(Markdown(report.compare(*alone)))

# %% [markdown]
# InceptionV1 with its controls, which have fewer photographs and steps; *trained* has as few.

# %% tags=["hide-input"]
with_controls = (*of_drawings, *of_features, "encoder_rank_correlation", *unchanged,
                 *meaning, *curved)
there = {k: v for k, v in figures.published_numbers("04_heatmaps").items() if "n" in v}
display(Markdown(table_by_column(there, with_controls, ("InceptionV1", *CONTROLS),
                                 first="InceptionV1")))
for key, caption, alt in (
        ("two_halves", "half a turn by decoder and encoder", "A scatter plot."),
        ("doubted", "three doubtful features", "Three square heat maps.")):
    caption = f"InceptionV1, reference run: {caption}."
    display(HTML(figures.published("04_heatmaps", key, caption=caption, alt=alt)))
