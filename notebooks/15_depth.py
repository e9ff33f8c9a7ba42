# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Depth and other networks
#
# **On {term}`InceptionV1`** symmetry does not simply grow with depth ({numref}`fig-depth-inception`). In its first two
# layers here more features have a symmetry beyond chance than with random weights, in later ones fewer. In another
# network, EfficientNet-Lite0, it is the other way round: the share grows, and random weights have next to none.
#
# ```{figure} ../book/reference/15_depth/depth.png
# :alt: Eight plots over layers, four for each network. The excess of symmetry falls in GoogLeNet and rises in EfficientNet.
# :name: fig-depth-inception
#
# GoogLeNet (InceptionV1, BVLC weights) and EfficientNet-Lite0, reference run: what a linear map explains, what a
# crosscoder explains, the share of features with a symmetry beyond chance, and the power that no element changes, by
# layer, trained and with random weights. Small dots are single coders.
# ```
#
# **You will learn**
#
# - how to say how far a layer is from equivariance without training anything on it,
# - how symmetry and invariance change from layer to layer, and how much of that random weights do as well,
# - what a network learns in which nothing turns or shifts along by construction,
# - whether two networks have features in common, and which null such a claim needs.
#
# **You need** orbits and the {term}`linear reference` of {doc}`02_orbits`, stabilisers, surrogates and confirmed labels
# of {doc}`07_symmetry`. All other chapters look at one layer of one network.
#
# **Run time** about a minute and a half on one CPU core.
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
from IPython.display import HTML, Markdown, display

from groupcc_lite import figures
from groupcc_lite.answers import shared
from groupcc_lite.runs import DEPTH_PROFILES, table_by_column
from groupcc_lite.stimuli import SHAPE_NAMES
from groupcc_lite.studies import WEIGHTS, LayerStudy

# %%
study = LayerStudy(profile, seed=seed, images=images)
study.check()  # a layer that cannot be read should say so before the others are
report = study.report("15_depth")
networks = [name for name, _ in study.profile.networks]
G = study.run(study.layers[0]).group
print(f"{' and '.join(networks)}, {len(study.layers)} layers and kinds of weights, "
      f"{G.name}, {study.profile.images} images, masks of "
      f"{study.profile.mask_radius:g} px")

# %% [markdown]
# ## Two networks without much in common
#
# `tiny-inception` is the convolutional network of the other chapters. A filter is the same wherever it looks, so the
# network shifts along with its input by construction, up to its stride. Turning along is nowhere built in.
#
# `tiny-vit` is a small *vision transformer* (Dosovitskiy et al. 2021). It cuts the image into patches of 8 by 8 pixels,
# makes a vector, a *token*, of each, adds to it a learned vector for the patch's position, and lets every token look at
# every other one in six blocks. Nothing in it shifts along, let alone turns: what one position does, another one has to
# learn anew. Before training its position vectors are sines and cosines, and its key matrices equal its query matrices;
# so *random weights* are not all random here.
#
# Both networks were trained for the same task on the same drawings, to name the shape at each place. Drawings show
# every orientation equally often; which one it is was never asked. The convolutional network names 99 % of held-out
# shapes right, the transformer 59 % (chance 7 %): it names closed shapes, textures and edges, but seldom lines, curves
# or T-junctions.
#
# Which part of the image does a cell see? For a convolution that follows from its layers. A token sees the whole image
# through attention. We read it at the middle of its patch all the same, and call such a geometry *nominal*: it says
# where a token sits, not what it sees.

# %% tags=["hide-input"]
lines = ["| network | layer | channels | a cell every | sees |",
         "|---|---|---|---|---|"]
for which in study.layers:
    if which.weights == "trained":
        model = study.run(which).model
        sees = ("the image (nominal)" if model.geometry.nominal
                else f"{model.geometry.receptive_field} px")
        lines.append(f"| {which.network} | {which.layer} | {model.channels} | "
                     f"{model.geometry.stride:g} px | {sees} |")
display(Markdown("\n".join(lines)))

# %% [markdown]
# All layers get the same: images, mask, points for each image, group, and size and training of the
# {term}`crosscoder`. Otherwise depth could not be told from settings. The same goes for random weights, the null of
# all that training may have done. All layers share one mask. In layers whose receptive field does not fit, points see
# the border. It looks the same after quarter turns and mirrors, but not after a turn by 45 degrees.

# %%
measured = {which: study.measure(which) for which in study.layers}
stacks = {(name, kind): study.stack(name, kind)
          for name in networks for kind in WEIGHTS}

# %% [markdown]
# ## Equivariance without a coder
#
# A network is equivariant at a point if what it says there goes along when the image moves. One can look at small
# motions and ask how fast this fails.
#
# ```{prf:definition} Local equivariance error
# :label: def-local-error
#
# Let $T_t$ be a motion of the image, a shift by $t$ pixels or a rotation or scaling about the centre, and $f(I)(p)$
# what a layer says of image $I$ at point $p$. With $D f = \frac{d}{dt} f(T_t I)(T_t p)$ at $t = 0$, the **local
# equivariance error** is
#
# $$ \mathbb{E}\,\lVert D f\rVert^2 \;/\; \mathbb{E}\,\lVert f - \bar f\rVert^2 , $$ (eq-local-error)
#
# with $\bar f$ the mean over images and points, and $t$ in units that move the points by one pixel in the mean of
# squares.
# ```
#
# The derivative is the Lie derivative of Gruver et al. (2023), read at points instead of in a whole grid. It is taken
# as a central difference. The error is 0 if every *channel* goes along. A layer whose channels change places under a
# rotation is equivariant as well, and has an error: that is what the {term}`linear reference` forgives. Moving images and
# reading between cells cost something too, which the same measure shows for pixels averaged over tiles as wide as a
# cell.

# %% mystnb={"figure": {"name": "fig-local-error", "caption": "Local equivariance error by depth, in units of the layer's variance per pixel that the image moves, squared. Trained (blue) and random weights (orange, dashed) of each network. Grey crosses: pixels averaged over tiles as wide as the layer's cells."}, "image": {"alt": "Four panels, two networks by rotation and shift, each with a line for trained and one for random weights over the layers."}} tags=["hide-input"]
def over_layers(name, value):
    """What `value` takes from each layer's measures, by weights."""
    return {kind: np.array([value(measured[which]) for which in stacks[name, kind]])
            for kind in WEIGHTS}


def names_of(name):
    return [which.layer for which in stacks[name, "trained"]]


MOTIONS = {"rotation": [0], "shift": [1, 2]}
with figures.house_style():
    fig, axes = plt.subplots(2, 2, figsize=(8.4, 5.4), sharey="row")
    for row, (motion, which) in zip(axes, MOTIONS.items(), strict=True):
        for ax, name in zip(row, networks, strict=True):
            lines = over_layers(name, lambda m, w=which: m.local.errors[w].mean())
            figures.depth_lines(lines, names_of(name), ax, title=f"{name}: {motion}",
                                ylabel="local error" if name == networks[0] else "")
            tiles = over_layers(name, lambda m, w=which: m.local.pixels[w].mean())
            ax.plot(tiles["trained"], "x", color=figures.MUTED, label="pixels")
    axes[0, 0].legend()
    report.figure("local_error", fig)

# %% [markdown]
# In both networks training makes errors *larger*, at every layer. Selective features change faster when their stimulus
# moves than random ones do. So a small error is no sign of training, and none of quality: a blur of the image has a
# smaller one than any layer here, as the crosses show.
#
# Rotation costs about as much as a shift, although shifts are built into one of the two networks. They are built in for
# whole strides only, and a pixel is less than a stride: what is read between cells is an average of neighbours. With
# depth the convolutional network gets worse, trained or not. The trained transformer begins near where the other one
# ends, and stays there. Patches alone do not explain it: with random weights the same patches give a third of that
# error.

# %% [markdown]
# ## What a linear reader finds
#
# The {term}`linear reference` allows channels to change places: how much of the activation for the turned image is a
# linear function of the one for the upright image? {numref}`fig-depth` has it on top, with what the
# {term}`crosscoder` explains. It writes the activations for all 16 turned and mirrored images as a sum of few features,
# each with one vector for each image. A feature is symmetric if some of these vectors are equal. Some features look so
# by chance, because they change little; made-up features that change as little ({term}`surrogates <surrogate>`) say how
# many. The third row shows what is beyond that, the last one how much of a feature's squared length is the same for all
# 16 images.

# %% mystnb={"figure": {"name": "fig-depth", "caption": "From the image upwards. The linear reference is a mean over all elements but the identity, variance explained one over all blocks, so that it can be above. Excess: share of living features with a symmetry, but not all, less that of surrogates. Lines are means of two coders, small marks the two."}, "image": {"alt": "Eight panels, two networks side by side and four quantities below each other, each with a line for trained and one for random weights."}} tags=["hide-input"]
PANELS = {"linear reference": lambda m: m.ceiling, "crosscoder, FVE": lambda m: m.fve,
          "excess symmetry": lambda m: m.excess,
          "power that no element changes": lambda m: m.power[:, 0]}
with figures.house_style():
    fig, axes = plt.subplots(len(PANELS), 2, figsize=(8.4, 9.6), sharey="row")
    for row, (title, value) in zip(axes, PANELS.items(), strict=True):
        for ax, name in zip(row, networks, strict=True):
            figures.depth_lines(over_layers(name, value), names_of(name), ax,
                                title=f"{name}: {title}")
    axes[0, 0].legend()
    report.figure("depth", fig)

# %% tags=["hide-input"]
wording = dict(
    ceiling="linear reference, g not e", copied="a copy of x[e], g not e",
    turning="error by elements, g not e", local_rotation="local error, rotation",
    local_shift="local error, shift", local_scale="local error, scale",
    fve="crosscoder, variance explained", living="living features",
    excess="symmetry beyond surrogates, share of features",
    established="supported and confirmed symmetry, share",
    invariant="invariant on both sides, share", trivial="power that no element changes")


def values(m):
    return dict(
        ceiling=m.ceiling, copied=m.copied, turning=m.turning.mean,
        local_rotation=m.local.errors[0], local_shift=m.local.errors[1:3].mean(),
        local_scale=m.local.errors[3], fve=m.fve.mean(), living=m.living.mean(),
        excess=m.excess.mean(), established=m.established.mean(),
        invariant=m.invariant.mean(), trivial=m.power[:, 0].mean())


def key_of(key, *which):
    """tiny-inception, conv2d0, trained -> key_tiny_inception_conv2d0_trained."""
    return "_".join((key, *which)).replace("-", "_").replace(".", "_")


def tables(numbers, networks):
    """A table for each network and kind of weights, with a column for each layer."""
    for name, layers in networks:
        for kind in WEIGHTS:
            mine = {f"{key}/{layer}": numbers[key_of(key, name, layer, kind)]
                    for key in wording for layer in layers}
            display(Markdown(f"**{name}, {kind} weights**\n\n"
                             + table_by_column(mine, wording, layers,
                                               key="{key}/{column}")))


for which, m in measured.items():
    for key, value in values(m).items():
        report.number(key_of(key, *which), float(value), note=wording[key])


tables(report.numbers, study.profile.networks)

# %% [markdown]
# Three things can be read off, in the book's run.
#
# *Convolutional network.* With depth its activations for turned images become less predictable from those for upright
# ones, with random weights much less so. Its features become more symmetric: the excess over surrogates rises from
# nothing to nearly a tenth of them, most of it between the first two layers, and random weights stay far below.
# Symmetries that the encoder confirms are too few to say the same: 1 % of the features of the last layer, and as many
# in the random transformer.
#
# *Transformer.* The row *a copy* says how well the activation for the upright image, unchanged, predicts that for the
# turned one. It rises from below 0 to a third: the last block depends less on orientation than the first. Random
# weights depend on it less still. And training ends with *fewer* symmetric features than random weights have. Less
# orientation is not more symmetry: a code for names needs neither a mirror nor a half turn.
#
# *Both.* The power that no element changes grows with depth, with or without training. In the convolutional network
# training makes it smaller; in the transformer's last block it makes no difference. Averaging by pooling and attention
# may be the reason; we did not test it. Whoever reports invariance by depth should report it for random weights, too.

# %% [markdown]
# ## The same feature in another network?
#
# Different networks have no coordinates in common, and their features no dictionary vectors that could be compared.
# What they have in common is pictures. So we ask each living feature of both networks what it says to the same points
# of the same held-out images under all elements, $r_i[n, g]$, and look for partners that agree up to the group.
#
# ```{prf:definition} Counterpart
# :label: def-counterpart
#
# The **counterpart** of feature $i$ in another network is the feature $j$, with an element $h$, for which the
# correlation of $r_i[n, g]$ with $r_j[n, hg]$ over all points $n$ and elements $g$ is largest. Partner $j$ then says to
# $hJ$ what $i$ says to $J$.
# ```
#
# The best of hundreds of correlations is never small. An easy null would be to compare features on different images:
# whatever they like, their responses then have nothing to do with each other. But two features that both like bright
# spots beat that null, whoever made them. Ours is *the other network's architecture with random weights*: it sees the
# same pixels through the same patches, and has learned nothing. A feature is called
# shared if its counterpart is better than 99 % of the counterparts that features have there, with as many candidates
# on both sides. This was decided before any number of the transformer was looked at. What could at best be reached is
# said by another coder of the *same* layer.

# %%
last = {name: stacks[name, "trained"][-1] for name in networks}
blank = {name: stacks[name, "random"][-1] for name in networks}
one, other = networks
ours = {name: study.features(last[name]) for name in networks}
nothing = {name: study.features(blank[name]) for name in networks}
found = {"another coder of the same layer": shared(
             ours[one], study.features(last[one], seed=1), nothing[one], G, seed=seed),
         f"{other}, last layer": shared(ours[one], ours[other], nothing[other], G,
                                        seed=seed)}
for which in stacks[other, "trained"][:-1]:
    null = study.features(which._replace(weights="random"))
    found[f"{other}, {which.layer}"] = shared(ours[one], study.features(which), null, G,
                                              seed=seed)

# %% tags=["hide-input"]
notes = dict(share="features of {one} that are shared",
             gain="correlation with the counterpart, less that in random weights",
             drawn="the same pairs on drawn shapes, median correlation",
             drawn_chance="the same with the partners of other pairs",
             same="pairs with the same stabiliser", same_chance="the same by chance")
keys = {name: f"to{number}" for number, name in enumerate(found)}
for name, s in found.items():
    k = keys[name]
    note = {key: text.format(one=one) for key, text in notes.items()}
    report.number(f"share_{k}", s.above.share, interval=s.above.interval,
                  n=s.above.features, over="features", note=note["share"])
    report.number(f"gain_{k}", s.gain, interval=s.gain_interval, over="features",
                  n=s.above.features, note=note["gain"])
    for key in ("drawn", "drawn_chance", "same", "same_chance"):
        report.number(f"{key}_{k}", getattr(s, key), n=s.pairs, note=note[key])
lines = ["| counterparts in | " + " | ".join(notes).replace("_", " ") + " |",
         "|---" * (1 + len(notes)) + "|"]
for name, s in found.items():
    cells = (s.above.share, s.gain, s.drawn, s.drawn_chance, s.same, s.same_chance)
    lines.append(f"| {name} | " + " | ".join(f"{v:.2f}" for v in cells) + " |")
display(Markdown("\n".join(lines)))

# %% mystnb={"figure": {"name": "fig-counterparts", "caption": "Left: correlation of each feature of the first network's last layer with its counterpart, by where that was looked for. Right: for each shape that a shared feature prefers, the best pair. A row is a pair, a column a shape; dark is a large response of the feature (left) and of its counterpart (right) to the shape in any orientation, each by its own largest. Drawn shapes took no part in the matching."}, "image": {"alt": "Left, cumulative curves of correlations, that of another coder furthest right, that of random weights furthest left. Right, two grids of responses to shapes, the left one with a dark diagonal, the right one with several dark cells in a row."}} tags=["hide-input"]
best = found[f"{other}, last layer"].found
pair = best.correlation.nan_to_num(-1)
mine = ours[one].drawings.amax(1)  # (shape, feature)
sharing = best.correlation > found[f"{other}, last layer"].above.bar
prefers = mine.argmax(0).where((mine.amax(0) > 0) & sharing, -1)  # -1: not drawn
shapes = sorted(set(prefers.tolist()) - {-1})
rows = [int(np.argmax(np.where(prefers == shape, pair, -2))) for shape in shapes]
with figures.house_style():
    fig, axes = plt.subplots(1, 3, figsize=(9.4, 4.2), width_ratios=(1.5, 1, 1))
    random = shared(ours[one], nothing[other], nothing[other], G, seed=seed).found
    for name, f in [*((n, s.found) for n, s in list(found.items())[:2]),
                    ("random weights", random)]:
        axes[0].ecdf(f.correlation[~f.correlation.isnan()].numpy(), label=name)
    axes[0].set(xlabel="correlation with the counterpart", ylabel="share of features")
    axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1))
    theirs = ours[other].drawings.amax(1)[:, best.partner[rows]]
    for ax, title, grid in ((axes[1], one, mine[:, rows]), (axes[2], other, theirs)):
        ax.imshow((grid / grid.amax(0).clamp(min=1e-6)).T, aspect="auto", cmap="Blues")
        ax.set_xticks(range(len(SHAPE_NAMES)), SHAPE_NAMES, rotation=90, fontsize=9)
        ax.set(title=title, yticks=[])
        ax.grid(visible=False)
    axes[1].set_yticks(range(len(rows)), [SHAPE_NAMES[k] for k in shapes], fontsize=9)
    report.figure("counterparts", fig)

# %% [markdown]
# In the book's run a quarter of the features of the convolutional network's last layer have a counterpart in the
# transformer's last block that random weights do not offer; one in a hundred would by chance. Another coder of the same
# layer has one for nine in ten, so the question has room for an answer. On drawn shapes, which took no part in the
# matching, these pairs agree nearly as well as two coders of the same layer do, and other pairs not at all. The figure
# says of which kind they are: where a feature of the convolutional network prefers one shape, its partner often prefers
# several. More pairs have the same stabiliser than chance gives, but no more than pairs of two coders have beyond
# chance, and mostly both have none: this says little about symmetry.
#
# The first block offers fewest. What is shared is there by the third block.

# %% [markdown]
# ## Exercises
#
# ```{exercise} Too weak a null
# :label: ex-weak-null
#
# How many features would be called shared with random weights if the bar were taken from images that do not belong
# together, as `Shared.unrelated` has it? Guess first.
# ```
#
# ```{solution-start} ex-weak-null
# :class: dropdown
# ```

# %%
easy = shared(ours[one], nothing[other], nothing[other], G, seed=seed)
passing = (easy.found.correlation > easy.unrelated).float().mean()
print(f"{passing:.0%} of the features have a partner among random ones that is above "
      f"{easy.unrelated:.2f}")

# %% [markdown]
# Far more than one in a hundred. Features that agree on what is bright and what is an edge agree everywhere, whoever
# made them. A null must share with the data whatever is not in question.
#
# ```{solution-end}
# ```
#
# ```{exercise} How small is small?
# :label: ex-step
#
# The local error is a derivative. Up to which angle does it predict the error of a rotation by that angle? Use
# `local_equivariance_error(..., step=...)`, whose usual step is one degree: for a quadratic error law the quotient does
# not depend on the step.
# ```
#
# ```{solution-start} ex-step
# :class: dropdown
# ```

# %%
from groupcc_lite.orbits import local_equivariance_error

run = study.run(last[one])
some = run.source("held-out").load(range(4))
for step in (1.0, 2.0, 4.0):
    error = local_equivariance_error(run.model, some, generators=["rotation"],
                                     points=12, mask_radius=study.profile.mask_radius,
                                     step=step)
    print(f"{step:4.0f}°: {error.mean:.3f}")

# %% [markdown]
# It falls: the error grows more slowly than the square of the angle, from the first degree on. Part of it is there for
# the smallest motion, since what is read between cells jumps from one pair of cells to the next; the rest saturates
# when features have turned away from their stimulus. A derivative of a network is a statement about small motions only.
#
# ```{solution-end}
# ```

# %% tags=["remove-input"]
_ = report.save()

# %% [markdown]
# ## Summary
#
# - The {prf:ref}`local equivariance error <def-local-error>` needs no coder and no group. Training makes it larger.
# - In the convolutional network more features are symmetric in later layers than in the first, beyond surrogates and
#   random weights. In the transformer tokens change less with depth, but it ends with fewer symmetric features than
#   random weights have.
# - The power that no element changes is no smaller in random networks.
# - A quarter of the convolutional network's features have a {prf:ref}`counterpart <def-counterpart>` in the
#   transformer, if random weights are the null. Images that do not belong together are too weak a null.

# %% [markdown]
# ## Limits
#
# One trained network of each kind, and one draw of random weights. The transformer names 59 % of the shapes; a better
# one might have more symmetric features. Counterparts are found by correlation, which a
# common cause explains as well as a common mechanism. The transformer's geometry is nominal: reading a token at its
# patch's middle is a choice.

# %% [markdown]
# ## What next
#
# {doc}`../book/your_own` analyses one layer of your network. To compare several, give all the same `mask_radius`.

# %% [markdown]
# ## The reference run

# %% tags=["hide-input"]
there = figures.published_numbers("15_depth")
if there:
    tables(there, DEPTH_PROFILES["inception"].networks)
pairs = [key for key in report.comparable()
         if not key.startswith(tuple(f"{name}_" for name in wording))]
display(Markdown(report.compare(*pairs)))

# %% tags=["hide-input"]
for key, caption, alt in (
        ("local_error", "local equivariance error by layer", "Lines over layers."),
        ("counterparts", "correlations with counterparts, and what pairs prefer",
         "Curves of correlations and two grids of responses.")):
    caption = f"GoogLeNet and EfficientNet-Lite0, reference run: {caption}."
    display(HTML(figures.published("15_depth", key, caption=caption, alt=alt,
                                   width="900px")))

# %% [markdown]
# The profile `inception` compares five layers of GoogLeNet with four of EfficientNet-Lite0 on 240 photographs, a fifth of
# them held out. The networks were trained by others, GoogLeNet with photographs mirrored at random.
#
# **Depth.** In GoogLeNet a linear map explains much less of deep trained layers than of the first, and always less than
# of random ones. The excess of symmetry lies above that of random weights in the first two layers and below it in the
# last three. In EfficientNet-Lite0 it is largest in the last two blocks, and random weights have hardly any. But there
# they are a poor null: in the last two blocks their responses change beyond recognition when the image moves a little,
# and in the last one no coder explains anything. The local equivariance error of both trained networks stays between 0.1
# and 0.3 for rotations, through all layers; that of random weights grows. So in later layers training makes these
# networks *steadier* than random ones, unlike the built-in one.
#
# **Counterparts.** Two fifths of the features of GoogLeNet's last layer have a counterpart in EfficientNet-Lite0's last
# block, by the bar of its random weights. Another coder of the same layer has one for a third, by the higher bar of
# GoogLeNet's random weights. So the two shares cannot be compared. The correlations can: they are higher with the other
# coder. Earlier blocks offer fewer, the first hardly any.
