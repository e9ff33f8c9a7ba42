# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Seeing features
#
# **On {term}`InceptionV1`** a picture can be drawn for every feature ({numref}`fig-gallery-inception`). A feature
# answers to a relative's picture, moved as the dictionary predicts, more strongly than to about three quarters of the
# other ways to move it; by chance it would be half.
#
# ```{figure} ../book/reference/06_seeing/gallery.png
# :alt: Twenty-four feature visualisations in colour, among them furry snouts, lattices, spirals and spots.
# :name: fig-gallery-inception
#
# InceptionV1, mixed3b, reference run: every so many features by number, drawn from their encoder directions. The
# pictures come from the weights alone; no photograph is involved.
# ```
#
# **You will learn**
#
# - how to draw what a feature looks for: an objective, a parameterisation, and random transformations,
# - why a group crosscoder can be drawn as easily as a plain dictionary,
# - what a family looks like, and how to check with pictures, for all features, that relatives are moved copies,
# - whether a crosscoder's pictures work as well as those of a sparse autoencoder,
# - how much such a picture proves, in numbers.
#
# **You need** features and families from {doc}`05_families`. Nothing about feature visualisation.
#
# **Run time** about two minutes on one CPU core when {doc}`chapter 5 <05_families>` has been run, a few more
# otherwise.
#
# **Look up** symbols in {doc}`../book/notation`, words in the {doc}`../book/glossary`. The first use of a word leads
# there.
#
# ```{admonition} The short way
# :class: tip
#
# Later chapters need nothing of this one. To see pictures only: the figure above and *Walk through the features*. To
# know what they prove: *What does a picture prove?*
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
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import HTML, Markdown, display

from groupcc_lite import figures
from groupcc_lite.answers import reposed_pictures
from groupcc_lite.base import bootstrap, percentile_interval, share_interval
from groupcc_lite.groups import rotations_of
from groupcc_lite.orbits import IdentityBlocks
from groupcc_lite.runs import Run
from groupcc_lite.symmetry import (
    block_cosines,
    max_cosine,
    picture_responses,
    render_features,
    render_steps,
    self_similarity,
    unrelated,
)

run = Run(profile, seed, images=images, weights=weights)
report = run.report("06_seeing")
G, n = run.group, rotations_of(run.group)
found = run.family_map("crosscoder")
coder, alive = found.coder, torch.as_tensor(found.features)
W = coder.W_e.detach().cpu()[alive]  # one encoder direction per living feature
D = coder.dictionary.detach().cpu()[alive]  # and one dictionary vector
print(run, "with", len(alive), "living features")

# %% [markdown]
# ## The question
#
# The last chapters sorted {term}`features <feature>` by the symmetry of their
# {term}`dictionary vectors <dictionary vector>`. A {term}`heatmap <block heatmap>` can say "half a turn changes
# nothing". It cannot say whether the feature looks for a line, a grating or an ellipse.
#
# One way to find out is to show the network many images and to look at those that excite the feature. Then we
# see what the images happen to contain. Another way is to *make* an image that excites it, starting from
# noise, and to look at what appears {cite:p}`olah2017feature`. This is called **{term}`feature visualisation`**, and
# it needs three decisions.
#
# **1. The objective.** What should grow? The encoder computes feature $i$ as
#
# $$ f_i = \mathrm{sparse}\bigl(w_i \cdot (x[e] - b) + b_i\bigr), \qquad x[e] = a(I)(p) . $$ (eq-feature)
#
# This is {eq}`eq-encode` for one {term}`latent`, with $w_i$ for row $i$ of $W_e$. Only $w_i \cdot a(I)(p)$ depends on
# the image. So we take an image, run the network up to our layer, look at the cell in the middle of the
# {term}`activation` grid, and ask for a large product with the direction $w_i$:
#
# $$ \text{picture of feature } i \;=\; \text{an image } I \text{ with large } w_i \cdot a(I)(0) . $$ (eq-visualise)
#
# This is where the design of the {term}`group` {term}`crosscoder` pays off. It *writes* a {term}`block` for every
# transformation, but it *reads* the untransformed block only. Had the encoder read the whole orbit, the image would
# have to be rendered together with all its transformed copies, and every step would cost as many forward passes as the
# group has elements. As it is, one pass is enough, as for a plain
# {term}`sparse autoencoder <sparse autoencoder (SAE)>`.

# %%
print(f"the decoder writes {D.shape[1]} blocks per feature, the encoder reads 1 "
      f"direction of {W.shape[1]} channels")
assert W.shape == (len(alive), run.model.channels)
assert D.shape == (len(alive), G.order, run.model.channels)

# %% [markdown]
# **2. The parameterisation.** Gradient ascent changes numbers that describe an image. They need not be its
# pixels. Neighbouring pixels of natural images are alike, so pixels are a poor choice of coordinates: a step
# of the optimiser changes each of them separately, and high frequencies win. We describe the image by its
# Fourier coefficients, scaled so that low frequencies move as easily as in natural images, and by colour axes
# that are uncorrelated in photographs.
#
# **3. Robustness.** A network can be excited by patterns that depend on single pixels and mean nothing. So
# the image is shifted, scaled and rotated a little at random before each step. What survives does not hang on
# single pixels. The rotations here stay within five degrees, because orientation is what this book is about.
#
# All three come from Lucent {cite:p}`lucent`. Take them away one by one, for a single feature ({numref}`fig-parts`).

# %%
S, element = max_cosine(D, G, elements=True)
S.fill_diagonal_(-1)
# The best relative at each element. A good example has relatives at all of them and
# little symmetry of its own.
best = torch.stack([torch.where(element == g, S, -1.0).amax(1)
                    for g in range(1, G.order)], dim=1)
example = int((best.mean(1) - self_similarity(D, G)[:, 1:].mean(1)).argmax())

size, last = run.profile.vis_size, run.profile.vis_steps
edge = max(0, (size - run.model.geometry.receptive_field) // 2)
# what the central cell can see; the picture stays grey outside
field = slice(edge, size - edge)
parts = {"everything": {}, "no transformations": {"robust": False},
         "plain colours": {"decorrelate": False},
         "pixels, no transformations": {"robust": False, "fourier": False}}
trials = {name: render_steps(run.model, W[example], [last], size=size, seed=seed,
                             **off)[0]
          for name, off in parts.items()}

# %% [markdown]
# How excited is the feature by each of them, and how much of that is left when the finished image is shifted
# by a few pixels? Without transformations the response can be larger, and yet it survives the shift less well: in the
# book's run most of it is lost, for this one feature. It depends more on single pixels.

# %%
def under_shifts(picture, by=3):
    """Mean response to the picture moved by `by` pixels in eight directions."""
    moves = [(dx, dy) for dx in (-by, 0, by) for dy in (-by, 0, by) if dx or dy]
    moved = np.stack([np.roll(picture, move, axis=(0, 1)) for move in moves])
    return float(picture_responses(run.model, moved, W[[example]]).mean())


direct = {name: float(picture_responses(run.model, p[None], W[[example]]))
          for name, p in trials.items()}
shifted = {name: under_shifts(p) for name, p in trials.items()}
for name in parts:
    print(f"{name:27} response {direct[name]:8.2f}, shifted by 3 px "
          f"{shifted[name]:8.2f}")
kept = report.number("kept_robust", shifted["everything"] / direct["everything"],
                     note="share of the response left after shifts by 3 px, drawn with "
                          "transformations")
kept_plain = report.number("kept_plain",
                           shifted["no transformations"] / direct["no transformations"],
                           note="the same, drawn without transformations")

# %% mystnb={"figure": {"name": "fig-parts", "caption": "One feature drawn in four ways: with everything; without random transformations; without decorrelated colours; with plain pixels and no transformations. All took the same number of steps from noise; shown is what the central cell can see. Without transformations the pattern is made of single pixels."}, "image": {"alt": "Four pictures of the same feature in a row. The first shows a smooth pattern in the middle on grey. The last is covered with fine noise."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(8, 2.5))
    figures.feature_grid(np.stack(list(trials.values()))[:, field, field], ax,
                       ["everything", "no transf.", "plain colours", "pixels"],
                         columns=4)
    report.figure("parts", fig, caption="One feature, drawn in four ways",
                  alt="Four pictures of one feature")

# %% [markdown]
# ## From noise to picture
#
# Every picture of this chapter starts from the same faint noise. {numref}`fig-steps` shows the example feature on its
# way.

# %%
stops = sorted({0, *(2**k for k in range(1, 12) if 2**k < last), last})
way = render_steps(run.model, W[example], stops, size=size, seed=seed)
growth = picture_responses(run.model, way, W[[example]])[:, 0]
assert growth.max() > growth[0]  # it works at all

# %% mystnb={"figure": {"name": "fig-steps", "caption": "The example feature of this run after the given numbers of steps. A smooth spot comes first and detail follows."}, "image": {"alt": "A row of pictures that begins with faint noise and ends with a clear pattern in the middle of a grey square."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(7, 3.9))
    figures.feature_grid(way[:, field, field], ax, [f"step {s}" for s in stops])
    report.figure("steps", fig, caption="One feature from noise to picture",
                  alt="A pattern grows out of noise")

# %% [markdown]
# One trap is worth knowing. The activations of our layer have gone through a ReLU. If noise leaves all units
# of a direction off, the gradient is zero and the image would stay noise for ever. The library lets the
# gradient pass through such units, for those images that have no other. Lucent knows this trick too, but
# switches it for a whole batch at once.

# %% [markdown]
# ## A whole family
#
# {doc}`Chapter 5 <05_families>` measured how {term}`similar <similarity over the group>` two features are when one may
# be transformed, and by which element $h$ they agree best: $F_i \approx h \cdot F_j$. What does this say about the
# patterns that they look for? If feature $j$ looks for a pattern $I_j$, then by {prf:ref}`prop-rearrange` $h \cdot F_j$
# belongs to the transformed pattern $h I_j$. So feature $i$ should look for **the picture of $j$, transformed by $h$**:
#
# $$ F_i \approx h \cdot F_j \quad\Longrightarrow\quad I_i \approx h I_j . $$ (eq-family)
#
# This is a prediction and not a theorem, for $F$ is what the decoder writes, and $I$ is what the encoder reads.
#
# Take the example feature. For each rotation, pick its most similar relative among the features that agree
# with it best by that rotation, and draw them in order. {numref}`fig-family` shows this {term}`family`.

# %%
relatives = {}
for h in range(1, n):
    at = torch.where(element[example] == h, S[example], -1.0)
    if at.max() > 0:
        relatives[h] = int(at.argmax())
members = [example, *relatives.values()]
family = run.visualise(coder, alive[members].numpy())
print(f"relatives at {len(relatives)} of {n - 1} rotations, similarity "
      f"{min(S[example, j] for j in relatives.values()):.2f} to "
      f"{max(S[example, j] for j in relatives.values()):.2f}")

# %% [markdown]
# Do they look like turns of one picture? Nobody turns sixteen pictures in the head, so the lower rows do it: each
# relative's picture, moved by its $h$ into the pose of the first.

# %%
source = torch.as_tensor(family.transpose(0, 3, 1, 2).copy())
# (rotation, member, 3, s, s); smaller than the pictures, so that no corner is empty
moved = run.action.images(source, elements=range(n))
turned = moved[:, 1:]  # the relatives
in_pose = moved[[0, *relatives], range(len(members))]


def window(pictures):
    """Of pictures (k, 3, s, s) the middle, as far as the central cell can see."""
    side = min(pictures.shape[-1], run.model.geometry.receptive_field)
    cut = (pictures.shape[-1] - side) // 2
    return pictures[..., cut:cut + side, cut:cut + side]

# %% mystnb={"figure": {"name": "fig-family", "caption": "Above: the example feature e and, for each rotation, its most similar relative. The number is the cosine of the dictionary vectors after the rotation named above it. Below: the same pictures, moved by these rotations into the pose of the first. If families are real, they look like the first. Shown is the receptive field of one cell."}, "image": {"alt": "Two grids of feature pictures. In the upper one the pattern in the middle turns from one to the next where the cosine is high. In the lower one each is turned back."}} tags=["hide-input"]
names = ["$e$", *(f"{G.latex[h]}  {S[example, j]:.2f}" for h, j in relatives.items())]
rows = -(-len(members) // 8)
with figures.house_style():
    fig, (above, below) = plt.subplots(2, 1, figsize=(7.5, 0.8 + 2.5 * rows))
    for ax, shown, title in ((above, moved[0], "as they are"),
                             (below, in_pose, "moved into one pose")):
        figures.feature_grid(window(shown), ax, names, columns=min(8, len(members)))
        ax.set_title(title, loc="left")
    report.figure("family", fig, caption="A family by rotation, and in one pose",
                  alt="Pictures of a feature family, as they are and in one pose")

# %% [markdown]
# The rule takes the feature with the most complete family, so this is the best of its kind and proves nothing about the
# others; those come below. But it shows the test. We can do what {eq}`eq-family` says: turn the picture of each
# relative by its $h$, show it to the network, and ask the *example* feature. As a control, turn it by all the other
# rotations. {numref}`fig-turned` shows all answers.

# %%
pixels = turned.flatten(0, 1).permute(0, 2, 3, 1).numpy()
heard = picture_responses(run.model, pixels, W[[example]]).view(n, len(relatives))
chosen = heard[list(relatives), range(len(relatives))]
# how many other rotations excite the example feature more
rank = (heard > chosen).float().sum(0)
steps_off = (heard.argmax(0) - torch.tensor(list(relatives))).abs()
steps_off = torch.minimum(steps_off, n - steps_off).float()

# %% tags=["hide-input"]
report.number("family_rotation_rank", float(rank.mean()),
              note=f"rotations, of {n}, that fit a relative's picture better than the "
                   "predicted one, mean")
report.number("family_rotation_chance", (n - 1) / 2, note="the same by chance")
report.number("family_degrees_off", float(steps_off.median()) * 360 / n, unit="degrees",
              note="best rotation of a relative's picture against the predicted one, "
                   "median")
print(f"predicted rotation: {rank.mean():.1f} others do better, {(n - 1) / 2:.1f} by "
      "chance")
print(f"best rotation lies {steps_off.median() * 360 / n:.0f} degrees from the "
      "predicted one (median)")

# %% mystnb={"figure": {"name": "fig-turned", "caption": "Response of the example feature to the picture of each relative (column), turned by each rotation (row), as a share of the column's largest. A ring marks the rotation that the dictionary vectors predict. On a perfect family the rings lie on the brightest cells."}, "image": {"alt": "A heat map with one column per relative and one row per rotation. Rings mark predicted cells along the diagonal."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(5.6, 4.2))
    shares = ax.imshow(heard / heard.amax(0).clamp(min=1e-6), cmap="viridis", vmin=0,
                       vmax=1, aspect="auto")
    for colour, width in (("black", 4), ("white", 1.8)):
        ax.scatter(range(len(relatives)), list(relatives), s=80, facecolors="none",
                   edgecolors=colour, lw=width)
    fig.colorbar(shares, label="share of the column's largest response")
    ax.set_xticks(range(len(relatives)), [G.latex[h] for h in relatives], fontsize=9.5)
    ax.set_yticks(range(n), [G.latex[h] for h in range(n)], fontsize=9.5)
    ax.set(xlabel="relative that agrees best by", ylabel="its picture turned by")
    ax.grid(False)
    report.figure("turned", fig, caption="Turning a family's pictures back",
                  alt="Heat map with marked predictions")

# %% [markdown]
# ## Walk through the features
#
# Each frame shows a feature's picture beside its heatmap from {doc}`chapter 4 <04_heatmaps>`. Does a picture with a
# line come with the two stripes of a half turn? Does a round spot come with a flat heatmap? {numref}`fig-gallery` shows
# the pictures side by side. In Jupyter and on Colab the slider offers every feature that was drawn.

# %%
count = min(run.profile.vis_count, len(alive))
# evenly spaced, not hand-picked
drawn = np.unique(np.linspace(0, len(alive) - 1, count).round().astype(int))
pictures = run.visualise(coder, alive[drawn].numpy())
B = block_cosines(D)

# %% tags=["hide-input"]
def card(k):
    with figures.house_style():
        fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3), dpi=90)
        figures.feature_grid(pictures[[k]][:, field, field], left)
        figures.block_heatmap(B[drawn[k]], G, right, n_rotations=n)
        left.set_title(f"feature {alive[drawn[k]]}")
    return fig


figures.explorer(card, {f"{alive[i]}": k for k, i in enumerate(drawn)}, frames=24,
                 alt=lambda k: f"Picture of feature {alive[drawn[k]]} beside the "
                               "heatmap of its blocks")

# %% mystnb={"figure": {"name": "fig-gallery", "caption": "Evenly spaced features of this run, not hand-picked. Clear ones and unclear ones are shown alike."}, "image": {"alt": "A grid of feature pictures, each with a coloured pattern in the middle of a grey square."}} tags=["hide-input"]
shown = np.unique(np.linspace(0, len(drawn) - 1,
                              min(24, len(drawn))).round().astype(int))
with figures.house_style():
    fig, ax = plt.subplots(figsize=(8, 4.4))
    figures.feature_grid(pictures[shown][:, field, field], ax,
                         [str(int(alive[drawn[k]])) for k in shown])
    report.figure("gallery", fig, caption="Features, evenly spaced, not hand-picked",
                  alt="Feature pictures")

# %% [markdown]
# ## All features, not one family
#
# Does {eq}`eq-family` hold in general? The test needs a picture of the relative only, so every living feature can be
# asked about every picture of the gallery. What counts as a relative is fixed by a null, not by the outcome: a drawn
# feature that is more similar than 99 % of all pairs of *unrelated* features ({doc}`05_families`), by an element other
# than $e$. We take all features with at least four of them. The **success** of a pair is the share of the other
# elements that please the feature less than the predicted one. Two comparisons:
#
# - **shuffled**: the predicted elements exchanged among the feature's relatives. Pictures and elements are the same;
#   only who belongs to which is lost. Without families, this is as good.
# - **as it is**: no picture is moved.

# %%
strangers = max_cosine(unrelated(D, seed=seed), G)
above = np.triu_indices(len(D), 1)
bar = float(np.quantile(strangers.numpy()[above], 0.99))
pixels = torch.as_tensor(pictures.transpose(0, 3, 1, 2).copy())
heard = torch.stack([picture_responses(run.model, moved.permute(0, 2, 3, 1).numpy(), W)
                     for g in range(G.order)
                     for moved in run.action.images(pixels, elements=[g])])
reposed = reposed_pictures(heard, S, element, drawn, similar=bar, seed=seed)
print(f"relatives: S of {bar:.2f} or more; {len(reposed.features)} features have four "
      "or more among those drawn")

# %%
def resampled(values):
    """Where the mean lies with 95 % confidence, by drawing features anew."""
    if not len(values):
        return float("nan"), float("nan")
    means = bootstrap(lambda drawn: values[drawn].mean(), len(values), seed=seed)
    return percentile_interval(means)

# %% tags=["hide-input"]
report.number("relative_bar", bar,
              note="similarity from which features count as relatives")
for key, values, note in (
        ("reposed_success", reposed.success, "elements that a feature likes less than "
         "the predicted one, on pictures of its relatives, mean"),
        ("reposed_success_null", reposed.shuffled, "the same with predictions shuffled "
         "among its relatives"),
        ("reposed_unmoved", reposed.unmoved, "the same with pictures as they are")):
    report.number(key, float(values.mean()) if len(values) else float("nan"), note=note,
                  n=len(values), interval=resampled(values), over="features")
    print(f"{note}: {report.numbers[key]['value']:.3f}")
gain = reposed.success - reposed.shuffled
report.number("reposed_above", float((gain > 0).mean()) if len(gain) else float("nan"),
              n=len(gain), note="features whose own predictions beat the shuffled ones")
if profile == "book":
    assert resampled(gain)[0] > 0

# %% mystnb={"figure": {"name": "fig-reposed", "caption": "Success of moved pictures, for every feature with at least four relatives among those drawn: as the dictionary predicts, with predictions shuffled among its relatives (mean of 200 shuffles, hence narrow), and with pictures as they are. A half would be chance if elements were liked alike."}, "image": {"alt": "Three overlapping histograms between 0 and 1. That of the predictions lies further right than the other two."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 3.2))
    for values, name in ((reposed.success, "as predicted"),
                         (reposed.shuffled, "shuffled"), (reposed.unmoved, "as it is")):
        ax.hist(values, bins=np.linspace(0, 1, 31), histtype="step", lw=2, label=name)
    ax.set(xlabel="elements that please less than the predicted one", ylabel="features")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    report.figure("reposed", fig, caption="Moved pictures of relatives, all features",
                  alt="Histograms of success")

# %% [markdown]
# In the book's run the predicted element pleases the feature more than about four fifths of the others, where shuffled
# predictions please it more than about half. So {eq}`eq-family` holds on average, and not exactly. Decoder and encoder
# belong to one coder, so that relatives by the one are relatives by the other is what training should give; here it
# does. It is no sign that training found the families: data points, which nobody trained, have more and closer
# relatives ({doc}`chapter 5 <05_families>`).

# %% [markdown]
# ## What does a picture prove?
#
# A picture is the end of an optimisation. Three questions keep us honest.
#
# 1. Does it excite its feature more than any point of the images that the crosscoder was trained on? (Of each image
#    some points were read, not all, so some other point may do better.)
# 2. Does the feature {term}`fire <firing>` on it, after the sparsity step?
# 3. Is its own feature the one that it excites most, when every feature is measured against its own largest
#    response to training images?

# %%
points = IdentityBlocks(run.orbits("held-out" if run.profile.stream else "train"))
record = torch.stack([(x[:, 0].float() @ W.T).amax(0)
                      for x in points.in_order()]).amax(0)  # best of all images
answer = picture_responses(run.model, pictures, W)  # (picture, feature)
own = answer[range(len(drawn)), drawn]
# Features whose product is negative on every image have no scale to be measured by.
relative = torch.where(record > 0, answer / record.clamp(min=1e-6), -torch.inf)

# %%
louder_than_all = (own > record[drawn]).double().numpy()
above = report.number("rendered_above_images", float(louder_than_all.mean()),
                      n=len(drawn), interval=share_interval(int(louder_than_all.sum()),
                                                            len(drawn)),
                      over="features",
                      note="pictures that excite their feature more than every point "
                           "read in a training image")
first = report.number("rendered_own_first",
                      float((relative.argmax(1)
                             == torch.as_tensor(drawn)).float().mean()),
                      note="pictures whose own feature comes first among all, each by "
                           "its own scale")
louder = report.number("rendered_also_loud",
                       float((relative > 1).float().sum(1).mean()),
                       note="features that a picture excites more than any training "
                            "image does, mean")

# %% tags=["hide-input"]
report.number("rendered_count", len(drawn), note="features drawn")
# pictures are about their own features rather than about any
assert own.mean() > answer.mean()
for key in ("rendered_count", "rendered_above_images", "rendered_own_first",
            "rendered_also_loud"):
    print(f"{report.numbers[key]['note']}: {report.numbers[key]['value']:.3g}")

# %% [markdown]
# The first number says that optimisation works. The second says whose picture it is: compare it with one in
# several hundred, which is what chance would give. The third is the caution. A picture that excites its feature
# beyond anything seen in training does the same to other features. It is *an* image that the feature likes, not
# the only one, and not one that only this feature likes.

# %%
with torch.no_grad():
    middle = run.model.at_size(size)
    cell = middle.geometry.centre_cell
    pixels = torch.as_tensor(pictures.transpose(0, 3, 1, 2).copy())
    x0 = middle(pixels.to(run.device))[:, :, cell, cell]
    fires = coder.encode(x0)[range(len(drawn)), alive[drawn]] > 0
fire = report.number("rendered_fire", float(fires.float().mean()),
                     note="pictures on which their feature fires")
print(f"features that fire on their own picture: {fire:.0%}")

# %% [markdown]
# **As for a sparse autoencoder?** That is the paper's claim: since the encoder reads only the untransformed activation,
# pictures of a crosscoder's features should come as easily as those of an SAE's. The share above says little by itself,
# because it grows with the number of steps. So we draw features of an SAE of the same layer, evenly spaced too, with
# the same settings, and ask the same question.

# %%
sae = run.family_map("sae")
among = np.linspace(0, len(sae.features) - 1, max(1, len(drawn) // 2))
among = among.round().astype(int)
chosen = sae.features[np.unique(among)]
of_sae = run.visualise(sae.coder, chosen)
V = sae.coder.W_e.detach().cpu()[torch.as_tensor(chosen)]
best = torch.stack([(x[:, 0].float() @ V.T).amax(0) for x in points.in_order()]).amax(0)
wins = (picture_responses(run.model, of_sae, V).diagonal() > best).double().numpy()
report.number("rendered_count_sae", len(chosen), note="features of the SAE drawn")
report.number("rendered_above_images_sae", float(wins.mean()), n=len(wins),
              interval=share_interval(int(wins.sum()), len(wins)), over="features",
              note="pictures of an SAE's features that excite it more than every such "
                   "point")
ahead = float(louder_than_all.mean() - wins.mean())
report.number("rendered_difference", ahead, note="difference, crosscoder minus SAE")
print(f"crosscoder {louder_than_all.mean():.2f} of {len(drawn)}, SAE {wins.mean():.2f} "
      f"of {len(wins)}")

# %% [markdown]
# In the book's run every picture of either coder does. So they are as easy to draw, as far as a share at its upper end
# can tell: a difference of a tenth could go unseen among so few.

# %% [markdown]
# ## Exercises
#
# ```{exercise} The opposite
# :label: ex-opposite
#
# Draw the example feature with `negative=True`. What does a picture of *least* response mean for a layer
# behind a ReLU? Predict the sign of the response before you compute it.
# ```
#
# ```{solution-start} ex-opposite
# :class: dropdown
# ```

# %%
# a single picture is cheap, so give it time under the smallest profile too
steps = max(last, 64)
least = render_features(run.model, W[[example]], size=size, steps=steps, seed=seed,
                        negative=True, progress=False)
response = float(picture_responses(run.model, least, W[[example]]))
print(f"response {response:.2f}, to the noise {growth[0]:.2f}")
assert response < growth[0]

# %% [markdown]
# The activations are not negative, but a direction has negative entries, so the product can fall below zero:
# the picture shows what *those* channels look for. The feature itself is off there, and stays off however far
# the product falls.
#
# ```{solution-end}
# ```
#
# ```{exercise} Another noise
# :label: ex-another-noise
#
# Draw the example feature from another seed. Are the two pictures the same, pixel by pixel? Do they excite
# the feature equally? What follows for the sentence "this is what the feature looks for"?
# ```
#
# ```{solution-start} ex-another-noise
# :class: dropdown
# ```

# %%
other = render_features(run.model, W[[example]], size=size, steps=last, seed=seed + 1,
                        progress=False)
alike = np.corrcoef(other.ravel(), trials["everything"].ravel())[0, 1]
again = float(picture_responses(run.model, other, W[[example]]))
print(f"correlation of the pixels {alike:.2f}; responses {direct['everything']:.2f} "
      f"and {again:.2f}")
assert alike < 0.999

# %% [markdown]
# The responses are close while the pixels differ. There are many images that a feature likes; each picture is
# one of them. Trust what several have in common.
#
# ```{solution-end}
# ```

# %% [markdown]
# ## Summary
#
# - A feature is drawn by maximising {eq}`eq-visualise`, in Fourier coefficients and decorrelated colours, under
#   random shifts, scalings and rotations.
# - A group crosscoder reads $x[e]$ only, so one forward pass per step is enough.
# - The dictionary vectors predict by which element the picture of a relative must be moved. Over all features with
#   enough relatives the predictions are better than shuffled ones, which are near chance.
# - Whether pictures come as easily as for a sparse autoencoder is a comparison with one, at the same settings.

# %% [markdown]
# ## Limits
#
# A picture shows one maximum of one direction. It says nothing about weak responses, which are most of what a
# feature does; it mixes what several features like; and its colours and textures are those of the optimiser
# as much as of the feature. On the small network of this book, whose features look for a few strokes,
# pictures are coarser than on InceptionV1.

# %% [markdown]
# ## What next
#
# {doc}`07_symmetry` lets the computer read off the symmetry of every feature. {doc}`../book/replication` collects what
# was confirmed and what was not.

# %% [markdown]
# ## On InceptionV1
#
# The right-hand column comes from the same cells, run with `profile="inception"`. The weights are the BVLC training of
# InceptionV1 (GoogLeNet), not the paper's. The family below, as it is, and
# {numref}`fig-gallery-inception` are counterparts of figures above.

# %% tags=["hide-input"]
report.save()
shown_here = report.comparable()
display(Markdown(report.compare(*shown_here)))

# %% tags=["hide-input"]
display(HTML(figures.published(
    "06_seeing", "family",
    caption="InceptionV1, mixed3b, reference run: the most complete family, the best "
            "of its kind. Above each picture stands the rotation by which its feature"
            " agrees best with the first one, and the similarity. What holds for all "
            "features, the table says.",
    alt="Sixteen feature visualisations. Most show an arc or an edge through the "
        "centre, in different orientations.")))

# %% [markdown]
# Such a family depends on the run: another number of threads changes rounding, training then ends at other features,
# and the rule chooses another family. Trust the distribution over all features.
