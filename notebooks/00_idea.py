# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The idea on one screen
#
# **You will learn** what a group crosscoder is, on one feature from beginning to end, and what its parts are called.
#
# **You need** nothing. The code is folded away; the chapters explain it.
#
# **Run time** under two minutes on one CPU core when {doc}`chapter 3 <03_training>` has been run, a few more otherwise.

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

# %% tags=["parameters", "hide-input"]
profile = "book"  # smoke, book, inception or paper
seed = 0
images = None  # folder of photographs; None: the profile's own images
weights = None  # weights file of the profile's model; None: the usual place

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown, display

from groupcc_lite import figures
from groupcc_lite.groups import rotations_of
from groupcc_lite.runs import Run
from groupcc_lite.symmetry import (
    TAU,
    block_cosines,
    centred,
    living_dictionary,
    self_similarity,
    stabilisers,
)

run = Run(profile, seed=seed, images=images, weights=weights)
report = run.report("00_idea")
G, A, model, n = run.group, run.action, run.model, rotations_of(run.group)
coder, held_out = run.coder(), run.orbits("held-out")
D, features = living_dictionary(coder, run.evaluate(coder).frequency)
D = D.cpu()  # what is drawn is small
found = stabilisers(D, G)

def moving(blocks):
    """Blocks less what all of them have in common: what turning changes."""
    return blocks - blocks.mean(-2, keepdim=True)


# Of the features with a clear symmetry, but not all, the one that says most of what
# turning changes at the held-out point where it fires most.
some = [k for k, s in enumerate(found) if 1 < s.subgroup.order < G.order]
clear = [k for k in some if found[k].inside - found[k].outside > 0.2]
partly = torch.tensor(clear or some or range(len(D)))
with torch.no_grad():
    codes = torch.cat([coder.encode(x[:, 0].to(coder.device)).cpu()[:, features]
                       for x in held_out.in_order()])[:, partly]
top = codes.argmax(0)  # for each of these features the point where it fires most
x = held_out.rows(top.numpy()) * float(coder.scale)
shares = torch.cosine_similarity(moving(x).flatten(1), moving(D[partly]).flatten(1))
best = int(shares.argmax())
shown, row, x, alike = int(partly[best]), int(top[best]), x[best], float(shares[best])
assert profile != "book" or alike > 0.4  # both tables have the band
image = run.source("held-out").load([int(held_out.image[row])])
point = torch.as_tensor(held_out.points[row], dtype=torch.float32).view(1, 1, 2)

# %% [markdown]
# ## One feature, completely
#
# A network looks at an image. At some point of the image, one of its layers says something: a list of numbers, one for
# each of its channels. Nothing in the network's architecture is made for turning. So: turn the image, follow the point,
# and listen again.
#
# 1. **Turn.** Take one image and all its turned and mirrored copies, 32 of them here: its *orbit*. They are named $r^k$,
#    turned by $k$ of 16 steps, and $s r^k$, then also mirrored left to right; $e$ is the upright one. The dot marks the
#    point, which moves along.
# 2. **Listen.** Write down what the layer says at the point of each copy, one row below the other. Each row is a
#    *block* of the *orbit vector*.
# 3. **Explain by few features.** A *group crosscoder* sees only the first row, the upright image. From it, it says which
#    few of its *features* are present and how strongly; those *fire*. Each feature owns a table of the same shape, its
#    *dictionary vector*, and the tables of those that fire, times their strength, must add up to all rows. The coder is
#    shown the copies in a fixed order, but no rule that leads from one to the next: it has to learn what the layer will
#    say to the other 31.
# 4. **Compare the rows of one feature.** Rows that are alike mean that the feature is the same for both copies. All
#    comparisons together are its *heatmap*. A second dark line is a symmetry: parallel to the diagonal a turn, rising
#    to the right a mirror.
#
# {numref}`fig-idea` shows all four steps for one feature.

# %% mystnb={"figure": {"name": "fig-idea", "caption": "One feature of this page's network, from the image to its symmetry. Top: six of the 32 copies of an image that the coder was not trained on; the dot is the point. Middle: what the layer says at the point of all copies, and what this one feature contributes (rows: copies, turned ones above the line, mirrored ones below; columns: the 40 channels that the feature moves most, sorted by where the right table is largest; what all copies have in common is left out; orange is above zero, blue below). Bottom left: each row of the feature compared with each other row. Bottom right: the same as two curves, each point the mean over all pairs of rows that are one transformation apart, after what all rows share was taken out: 1 means the same, 0 unrelated. Chosen by a rule: of the features with a clear symmetry, but not all, the one that explains most at the point where it fires most."}, "image": {"alt": "Six turned copies of a drawing with a dot on one point; two striped tables side by side that resemble each other; a square heatmap with dark diagonals, and two curves of cosines over the 32 elements."}} tags=["hide-input"]
block = moving(D[shown] * codes[row, best])
channels = block.square().sum(0).topk(min(40, len(block.T))).indices
channels = channels[block[:n, channels].argmax(0).argsort()]  # where they peak
B = block_cosines(D[[shown]])[0]
c = centred(self_similarity(D[[shown]], G), D[[shown]], G)[0]
views = A.images(image, size=model.input_size)
places = A.points(point)
with figures.house_style():
    fig = plt.figure(figsize=(7.6, 8.2))
    rows = fig.add_gridspec(3, 1, height_ratios=[1.3, 2.6, 2.8], hspace=0.3)
    few = [0, n // 8, n // 4, n // 2, n, n + n // 4]
    top = rows[0].subgridspec(1, len(few), wspace=0.08)
    for k, g in enumerate(few):
        ax = fig.add_subplot(top[k])
        figures.points_on_image(views[g][0], places[g][0], ax)
        ax.set_title(f"${G.latex[g].strip('$')}$", fontsize=10)
    middle = rows[1].subgridspec(1, 2, wspace=0.22)
    for k, (table, title) in enumerate([(moving(x), "what the layer says"),
                                        (block, "this feature's share")]):
        ax = fig.add_subplot(middle[k])
        figures.block_table(table[:, channels], G, ax, n_rotations=n)
        ax.set(title=title, xticks=[])
    bottom = rows[2].subgridspec(1, 2, wspace=0.22)
    left, right = fig.add_subplot(bottom[0]), fig.add_subplot(bottom[1])
    figures.block_heatmap(B, G, left, n_rotations=n)
    left.set_title("its rows compared")
    figures.self_similarity_profile(c, G, right, n_rotations=n)
    right.legend(loc="lower center", fontsize=9)
    right.set_title("likeness to itself, moved")

# %% tags=["hide-input"]
stabiliser, none = found[shown], sum(s.subgroup.order == 1 for s in found)
elements = " and ".join(f"`{G.names[h]}`" for h in stabiliser.subgroup.elements)
label = stabiliser.subgroup.label
display(Markdown(
    f"This is feature {features[shown]}, one of the {len(D)} that fire. The "
    "transformations that leave it as it is, its *stabiliser*, are "
    f"{elements} (**{label}**): the lowest of their "
    f"cosines is {stabiliser.inside:.2f}, the highest of all others "
    f"{stabiliser.outside:.2f}, and the book takes one above {TAU:g} for a symmetry: a "
    "convention, since no learned feature reaches 1 (chapter 7 says why). Symmetries "
    "are closed, doing two of them gives a third: so what counts is the largest "
    f"closed set whose cosines are all above {TAU:g}, not a single high one beside it. "
    f"By this rule {none} of the {len(D)} features have no symmetry at all."))

# %% [markdown]
# How to read it. Columns are sorted by the right table, so the band that falls in its upper half is there by
# construction. The evidence is elsewhere. The left table was not sorted by itself, and has the same band: turn the image
# a little, and other channels take over. And below the line, for mirrored copies, both bands climb. The pattern on the
# right is the feature's own, learned from other images; the first row gave only its strength. In the heatmap the dark
# line from corner to corner compares each row with itself. The other dark lines compare a turned copy with a mirrored
# one that the feature cannot tell apart; paler ones are below the threshold. The heatmap of a feature that does not mind
# turning is one even colour.
#
# That is the whole method. {doc}`Chapter 1 <01_groups>` says what a symmetry is, {doc}`2 <02_orbits>` how to follow a
# point, {doc}`3 <03_training>` how the tables are learned, {doc}`4 <04_heatmaps>` what heatmaps show.

# %% [markdown]
# ## What a sparse autoencoder is
#
# A layer has a number of channels, and one would like to know what each of them means. Usually none means one thing.
# A channel that answers to a curve also answers to a dog's ear and to certain letters. The usual explanation is that
# the network knows more things than it has channels.
#
# How can it? In a space of 120 dimensions only 120 directions can be perpendicular. But thousands can be *nearly*
# perpendicular. If each thing that the network knows, a **feature**, has a direction of its own, and only a few are
# present at any point of an image, then their sum can be taken apart again with little confusion. This is called
# **superposition** {cite:p}`elhage2022superposition`. Channels are then the wrong things to look at; the directions
# are the right ones.
#
# A **sparse autoencoder** (SAE) looks for them {cite:p}`bricken2023monosemanticity,cunningham2023sparse`. It is two
# matrices. The *encoder* turns an activation $x$ into many numbers, called *latents*, of which all but a few are set to
# zero. The *decoder* adds up one direction for each latent, times its number:
#
# $$ x \approx b + f_1 D_1 + f_2 D_2 + \dots + f_m D_m, \qquad \text{most } f_i = 0 . $$
#
# Both are trained so that the sum comes close to $x$. The directions $D_i$ are the *dictionary*. Nobody says what the
# directions should be, but if few of them have to explain much, the best choice should be those that the network uses.
# {numref}`fig-sum` takes one activation of this page's network apart.

# %% tags=["hide-input"]
sae = run.coder("sae")
alone = run.evaluate(sae).frequency > 0
with torch.no_grad():
    said = torch.cat([sae.encode(batch[:, 0].to(sae.device)).cpu()
                      for batch in held_out.in_order()])
norms = sae.dictionary[:, 0].norm(dim=1).detach().cpu()
size = min(40, model.input_size // 2)


def seen(k):
    """What the image shows around held-out point k."""
    at = held_out.points[k] + model.input_size / 2 - size / 2
    left, upper = (int(v) for v in np.clip(np.round(at), 0, model.input_size - size))
    whole = A.images(run.source("held-out").load([int(held_out.image[k])]),
                     size=model.input_size, elements=[0])[0][0]
    return whole[:, upper:upper + size, left:left + size]


def examples(i, count=3):
    """Where latent i fires most, from different images, none of them the one above."""
    best = {}
    for k in said[:, i].argsort(descending=True).tolist():
        if held_out.image[k] != held_out.image[row]:
            best.setdefault(int(held_out.image[k]), k)
        if len(best) == count:
            break
    return [seen(k) for k in best.values()]

# %% mystnb={"figure": {"name": "fig-sum", "caption": "One activation as a sum. Top: the surroundings of the point, and its activation less b, what the SAE says when all latents are zero; all channels in a row. Below: the four latents with the largest shares, where each fires most in three other images (the dot is the point), and the sum so far: each strip is the one above it plus this latent's share. Last row: all latents that are not zero, added up. Orange is above zero, blue below, in all rows alike."}, "image": {"alt": "Six rows. Each has small cut-outs of drawings on the left and a coloured strip on the right. From the second on the strips gain colour row by row; the last, the sum over all latents, resembles the first."}} tags=["hide-input"]
with torch.no_grad():
    here = held_out.rows([row])[0, 0].cpu()
    codes = said[row]
    parts = codes[:, None] * sae.dictionary[:, 0].cpu() / float(sae.scale)
    nothing = sae.decode(torch.zeros_like(codes)[None].to(sae.dictionary.device))
    b = nothing[0, 0].cpu()  # what the SAE says where no feature is present
strongest = (codes * norms).topk(4).indices.tolist()
so_far = parts[strongest].cumsum(0)  # one share alone is too pale to be seen
strips = [("", [seen(row)], here - b),
          *((f"{'plus ' * (at > 0)}latent {i}, strength {float(codes[i]):.2f}",
             examples(i), so_far[at]) for at, i in enumerate(strongest)),
          (f"all {int((codes > 0).sum())} together", [], parts.sum(0))]
limit = float((here - b).abs().max())
with figures.house_style():
    fig, axes = plt.subplots(len(strips), 4, figsize=(7.6, 5.6),
                             width_ratios=[1, 1, 1, 7])
    for line, (name, pictures, values) in zip(axes, strips, strict=True):
        for ax in line[:3]:
            ax.axis("off")
        for ax, picture in zip(line, pictures, strict=False):
            figures.points_on_image(picture.clamp(0, 1), np.zeros((1, 2)), ax)
        line[3].imshow(values[None], aspect="auto", cmap=figures.DIVERGING,
                       vmin=-limit, vmax=limit)
        line[3].set(xticks=[], yticks=[])
        line[3].set_title(name, fontsize=10, loc="left", pad=3)
    axes[0, 3].set_title(f"activation $x - b$, {len(here)} channels", fontsize=10,
                         loc="left", pad=3)

# %% [markdown]
# First $b$ was taken away, what the SAE says when no feature is present. The places at which a latent fires say what it
# stands for. Some answer to one thing, others to several: an SAE is no guarantee. Are the directions nearly perpendicular? {numref}`fig-many` compares all pairs.

# %% mystnb={"figure": {"name": "fig-many", "caption": "Cosines between all pairs of this SAE's directions, and, dashed, between as many random directions of the same dimension. Perpendicular directions have cosine 0."}, "image": {"alt": "Two histograms with one narrow peak around zero each, which nearly coincide."}} tags=["hide-input"]
def cosines(vectors):
    unit = torch.nn.functional.normalize(vectors, dim=1)
    return (unit @ unit.T)[tuple(torch.triu_indices(len(unit), len(unit), 1))].numpy()


directions = sae.dictionary[:, 0].detach().cpu()[torch.as_tensor(alone)]
random = torch.randn(directions.shape, generator=torch.Generator().manual_seed(seed))
mine, chance = cosines(directions), cosines(random)
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 2.9))
    bins = np.linspace(-1, 1, 81)
    ax.hist(mine, bins, density=True, color=figures.BLUE, alpha=0.75,
            label=f"{len(directions)} directions of the SAE")
    ax.hist(chance, bins, density=True, histtype="step", linestyle="--",
            color=figures.ORANGE, label="random directions")
    ax.set(xlabel="cosine between two directions", ylabel="density")
    ax.legend(loc="upper right")
    report.figure("many", fig)

# %% [markdown]
# Yes: nearly all cosines are small. But random directions do as well, so this is no sign of a good dictionary. It only
# shows that there is room for many more directions than channels.

# %% tags=["hide-input"]
near, near_chance = (float((np.abs(some) < 0.25).mean()) for some in (mine, chance))
assert min(near, near_chance) > 0.9  # nearly all, and random ones as well
report.number("directions", len(directions), note="directions that are ever used")
report.number("channels", len(here), note="channels of the layer")
report.number("near", near, note="pairs with a cosine between −0.25 and 0.25, share")
report.number("near_chance", near_chance, note="the same of random directions")
report.number("alike", alike,
              note="cosine of the two tables above, what is common left out")
report.save()
display(Markdown("\n".join(f"- {number['note']}: {number['value']:.5g}"
                           for number in report.numbers.values())))

# %% [markdown]
# An SAE has a blind spot, and this book is about it. It sees the same curve in two orientations as two unrelated
# directions. Nothing in its training connects them. A group crosscoder is an SAE that has to explain all copies of an
# image by *one* set of latents, so each of its directions comes with what it becomes under every turn. One can also give
# an SAE's directions their rows afterwards. {doc}`Chapter 3 <03_training>` sets the two side by side: the crosscoder
# explains more on these drawings, less on InceptionV1.
#
# ## The words used from here on
#
# | word | what it is |
# |---|---|
# | `tiny-inception` | The network of these pages: convolutions and two inception blocks, small enough to train on a laptop. It learned to name the 14 shapes of our drawings, in all orientations. It ships with the library; its layer `mixed3b` has 120 channels. |
# | `tiny-vit` | Its sibling for {doc}`chapter 15 <15_depth>`: a small vision transformer, trained on the same drawings. |
# | InceptionV1 | The network of the paper, and of our *reference run*: GoogLeNet as trained at Berkeley (BVLC), and not the paper's own weights. |
# | profile | A set of settings with a name: `smoke` to see whether everything runs, `book` for these pages, `inception` for the reference run, `paper` for the paper's size. |
# | `Run` | One network, one layer, images, a group and a profile. It makes orbits and coders when they are first asked for, and keeps them on disk. |
# | copy, pose | One image turned or mirrored by an element of the group; the element says in which pose it is. |
# | {term}`orbit vector` | What a layer says at one point of all copies of an image: one {term}`block` for each copy. |
# | {term}`latent`, {term}`feature` | A number of a coder that is zero most of the time; the direction that belongs to it, and what it stands for. |
# | null | The same number where there is nothing to find. What is no larger than its null is no finding. |
# | *untrained*, *patches*, *told* | Controls: the network with random weights; no network, only pixels; `tiny-inception` trained to report orientations as well. |
# | $e$, $r^k$, $s r^k$ | Leave the image as it is; turn it by $k$ steps; turn it and mirror it left to right. |
#
# All others are in the {doc}`../book/glossary`.

# %% [markdown]
# ## Exercises
#
# ```{exercise}
# :label: ex-idea-blob
#
# A feature responds to round blobs, in any orientation of the image. What does its heatmap look like? And that of a
# feature for a straight line through the point?
# ```

# %% [markdown]
# ```{solution} ex-idea-blob
# :class: dropdown
#
# The blob is the same for all copies, so all rows are alike, and the heatmap is one even dark colour. A line is the same
# after half a turn, and after the mirrors along and across it. So every row has four dark cells. In each quarter of the
# heatmap they form two dark lines, half a turn apart.
# ```

# %% [markdown]
# ```{exercise}
# :label: ex-idea-hard
#
# The coder sees the upright image only. How can it know what the layer will say when the image is turned by a quarter?
# When can it not?
# ```

# %% [markdown]
# ```{solution} ex-idea-hard
# :class: dropdown
#
# If it recognises what is there, such as the end of a line that points to the left, it knows what the turned image has
# at the point, and in training it has seen what the layer says then. What the layer does not show of the upright image
# cannot be known: a pattern so fine or so weak that only some channels, for some orientations, notice it.
# {doc}`Chapter 2 <02_orbits>` measures how much a linear guess knows, and {doc}`chapter 3 <03_training>` the coder.
# ```
