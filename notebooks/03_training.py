# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Training a group crosscoder
#
# **On {term}`InceptionV1`** a dictionary of 1,024 features explains about half of the variance of what a layer says to
# a photograph in 32 poses, and reads only the first one ({numref}`fig-blocks-inception`). A dense matrix for each pose
# explains a little more, and so does a sparse autoencoder that is given blocks afterwards. With another seed it is
# another dictionary: at best a twentieth of the features come back more clearly than by chance.
#
# ```{figure} ../book/reference/03_training/blocks.png
# :alt: A bar for each element of D16 with a black tick for the linear map. The first bar is the highest.
# :name: fig-blocks-inception
#
# InceptionV1, mixed3b, reference run: variance explained for each pose on held-out photographs (bars), and what a
# matrix for each pose explains (ticks).
# ```
#
# **You will learn**
#
# - what a group crosscoder computes, and what every term of its objective is for,
# - how to judge a crosscoder: variance explained per block, beside a linear map; {term}`L0`, the number of latents that
#   are active at a time; dead latents,
# - that a sparse autoencoder is the crosscoder of the trivial group,
# - how far such numbers can be trusted, and whether features come back in another training,
# - in the appendices: how far the numbers move with other images and budgets, why the sparsity weight $\lambda$ means
#   nothing without the scale of the activations, and how ReLU with a penalty compares with TopK.
#
# **You need** {doc}`02_orbits`: orbit vectors, exact and resampled elements, the linear reference.
#
# **Run time** about three minutes on one CPU core, nearly all of it for training. Trained coders are kept, so the
# second time it takes seconds.
#
# **Look up** symbols in {doc}`../book/notation`, words in the {doc}`../book/glossary`. The first use of a word leads
# there.
#
# ```{admonition} The short way
# :class: tip
#
# Later chapters need *One block in, all blocks out*, *The objective*, *How good is it?*, *Does it depend on the
# seed?* and the definition at the head of *How sparse is it?*: half an hour. *The trivial group* is one sentence: with
# one element, all this is a sparse autoencoder. The first appendix is for those who doubt the numbers. The other two
# are for coders with the penalty of the paper (L1), which only {doc}`chapter 14 <14_answer_key>` has.
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

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import HTML, Markdown, display

from groupcc_lite import figures
from groupcc_lite.answers import (
    above_null,
    best_matches,
    median_interval,
)
from groupcc_lite.coders import (
    GroupCrosscoder,
    SparseAutoencoder,
    copy_fve,
    data_dictionary,
    evaluate,
    firing_frequency,
)
from groupcc_lite.figures import BLUE, INK, ORANGE
from groupcc_lite.groups import cyclic
from groupcc_lite.orbits import thinned
from groupcc_lite.runs import (
    Run,
    fold_measures,
    fold_seeds,
    fve_over_images,
    mean_spread,
    uncertain,
)
from groupcc_lite.symmetry import living_dictionary

# %%
run = Run(profile, seed=seed, images=images, weights=weights)
report = run.report("03_training")
G, settings = run.group, run.profile
train_orbits, held_out = run.orbits("train"), run.orbits("held-out")
d, m = train_orbits.channels, settings.latents
print(run)
print(f"{len(train_orbits)} orbits to train on, {len(held_out)} held out; {G.order} "
      f"blocks of {d} channels")

# %% [markdown]
# ## One block in, all blocks out
#
# A {term}`sparse autoencoder <sparse autoencoder (SAE)>` explains an {term}`activation` as a sum of a few directions. A
# group {term}`crosscoder` {cite:p}`gorton2024group` reads the same activation $x[e]$, the response to the image as it
# stands. But it has to produce the whole {term}`orbit vector` under a {term}`group`: also the responses to the image
# turned and mirrored.
#
# ```{prf:definition} Group crosscoder
# :label: def-crosscoder
#
# A **group crosscoder** with $m$ **{term}`latents <latent>`** computes
#
# $$ f = \mathrm{sparse}\big(W_e\,(x[e] - b) + b_e\big) \in \mathbb{R}^m, $$ (eq-encode)
#
# $$ \hat x[g] = \sum_{i=1}^{m} f_i \, W_{d,i}[g] + b_d[g], \qquad g \in G , $$ (eq-decode)
#
# where $\mathrm{sparse}$ leaves few numbers different from zero, and none below zero: at its simplest it is a ReLU.
# $W_{d,i}$ is the **{term}`dictionary vector`** of latent
# $i$; it has $\lvert G\rvert$ {term}`blocks <block>`. {doc}`Chapter 1 <01_groups>` called it $F_i$.
# ```
#
# Block $g$ says what the layer does *when the image is transformed by $g$*, if the latent is active. If latent $i$
# finds an upright curve, then block $r$ of its dictionary vector must hold what the layer says to a curve turned by one
# step. So the crosscoder has to learn how its {term}`features <feature>` transform. That is the whole idea.

# %%
fresh = GroupCrosscoder(G, d, m, scale=train_orbits.scale, seed=seed)
for name, parameter in fresh.named_parameters():
    print(f"{name:4} {tuple(parameter.shape)}")
x = train_orbits.rows(range(4))
f = fresh.encode(x[:, 0])
other = x.clone()
other[:, 1:] = 0  # the encoder sees the first block only
assert torch.equal(fresh(other).latents, f)
assert fresh(x).reconstruction.shape == x.shape == (4, G.order, d)

# %% [markdown]
# ## The objective
#
# ```{prf:definition} Objective
# :label: def-objective
#
# The paper minimises, averaged over samples $x$,
#
# $$ L = \underbrace{\sum_{g \in G} \lVert x[g] - \hat x[g] \rVert^2}_{\text{reconstruction}}
#   \; + \; \lambda \underbrace{\sum_{i=1}^m f_i \, \lVert W_{d,i} \rVert}_{\text{sparsity}} . $$ (eq-loss)
# ```
#
# **Reconstruction** counts all blocks alike. The encoder has seen one of them. For the others it can only do as well
# as $x[e]$ determines them.
#
# **Sparsity** is a penalty, the *L1 penalty*: it adds up the lengths of all contributions. Latent $i$ adds the vector
# $f_i W_{d,i}$, and its length is $f_i \lVert W_{d,i}\rVert$, because ReLU keeps $f_i \ge 0$. So what is not needed is
# best set to zero. The norm has to be there. Without it, the coder could halve every $f_i$ and double every
# $W_{d,i}$: the same reconstruction, half the penalty.
#
# **Which norm?** $\lVert W_{d,i}\rVert$ is the norm of the whole vector, all blocks concatenated. Crosscoders between
# layers {cite:p}`lindsey2024crosscoders` add up the norms of the blocks instead. That choice makes it cheaper to
# write into *few* blocks, which is what one wants to find features that some layers have and others lack. Here no
# element of the group is special, and a feature should be free to write into all of them.
#
# Let us write {eq}`eq-loss` down once more, in code, and compare with the library:

# %%
strength = 10.0
y = x * fresh.scale
error = y - fresh(x).reconstruction * fresh.scale
reconstruction = error.square().sum(dim=(1, 2)).mean()
sparsity = (f * fresh.W_d.flatten(1).norm(dim=1)).sum(dim=1).mean()
total, parts = fresh.loss(x, sparsity=strength)
print(f"reconstruction {reconstruction:.4g}, sparsity {sparsity:.4g}, total "
      f"{reconstruction + strength * sparsity:.4g}")
assert torch.allclose(total, reconstruction + strength * sparsity, rtol=1e-4)
assert torch.allclose(parts["reconstruction"], reconstruction, rtol=1e-4)

# %% [markdown]
# ### In place of the penalty
#
# Most coders of this book are not charged for what is active; it is cut off. **{term}`TopK`**
# {cite:p}`gao2024scaling` keeps the $k$ latents with the largest contribution $f_i \lVert W_{d,i} \rVert$, and sets
# the rest to zero. **{term}`BatchTopK`** {cite:p}`bussmann2024batchtopk` keeps the $kB$ largest of a batch of $B$
# samples, so that a difficult sample may use more latents than an easy one. Both drop the second term of
# {eq}`eq-loss`. They have another one instead,
#
# $$ L_{\text{aux}} = \alpha \, \Big\lVert \, x - \hat x - \sum_{i \in \text{dead}} z_i W_{d,i} \Big\rVert^2 ,
#   \qquad \alpha = \tfrac1{32} , $$ (eq-aux)
#
# where $z$ holds the strongest pre-activations (what goes into $\mathrm{sparse}$) among the *dead* latents, those that
# have not {term}`fired <firing>`, that is, been above zero, for long. A latent that is never selected gets no gradient
# and stays dead for ever. {eq}`eq-aux` lets {term}`dead latents <dead latent>` learn what the living ones leave over,
# until they are strong enough to be selected.

# %%
sparse = GroupCrosscoder(G, d, m, activation="topk", k=8, seed=seed)
active = sparse.encode(x[:, 0]) > 0
assert (active.sum(dim=1) <= 8).all()
contribution = fresh.encode(x[:, 0]) * fresh.W_d.flatten(1).norm(dim=1)
assert torch.equal(active[0].nonzero()[:, 0],
                   contribution[0].topk(8).indices.sort().values)

# %% [markdown]
# ## Training
#
# The default of this book is BatchTopK. `run.coder()` trains it with Adam, with a short warm-up and a decay of the
# learning rate at the end, or loads it if it has been trained with the same settings before.

# %%
coder = run.coder()
history = run.history()
print(f"{type(coder).__name__} for {coder.group.name}: {coder.latents} latents, "
      f"{coder.activation}"
      + (f", k = {coder.k}" if coder.k else ""))
print(f"{settings.steps} steps of {settings.batch_size} orbits = "
      f"{settings.steps * settings.batch_size} samples, "
      f"{settings.steps * settings.batch_size / len(train_orbits):.1f} epochs")
assert history[-1]["step"] == settings.steps and history[-1]["fve"] > history[0]["fve"]

# %% mystnb={"figure": {"name": "fig-history", "caption": "This run's training, with the model and images of the profile: the loss, the variance explained on the current batch over all blocks, and the share of latents that have not fired for long."}, "image": {"alt": "Three plots over training steps: the loss falls quickly and levels off, variance explained rises in the same way, the share of dead latents stays low."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(1, 3, figsize=(7.4, 2.6))
    figures.training_curves(history, axes, keys=("loss", "fve", "dead"))
    report.figure("history", fig)

# %% [markdown]
# ## How good is it?
#
# From here on, everything is measured on {term}`held-out images`: whole images that no coder has been trained on.
#
# ```{prf:definition} Fraction of variance explained
# :label: def-fve
#
# The **{term}`fraction of variance explained <fraction of variance explained (FVE)>`** of block $g$ is
#
# $$ \mathrm{FVE}[g] = 1 - \frac{\sum \lVert x[g] - \hat x[g] \rVert^2}{\sum \lVert x[g] - \bar x[g] \rVert^2} ,
# $$ (eq-fve)
#
# with sums over samples and the mean $\bar x[g]$ of each block. In total, both sums run over the blocks as well.
# ```
#
# One is perfect, zero is as good as the mean. And what is possible? For $g \ne e$ not 1, since $x[e]$ does not
# determine $x[g]$. What the best linear map from $x[e]$ explains, {doc}`chapter 2 <02_orbits>` calls the
# {term}`linear reference` ({prf:ref}`def-ceiling`). It is no bound for a crosscoder, whose encoder is not linear. It is
# something to compare with: the map is dense and free to use any combination of channels, the crosscoder may use a few
# latents at a time.

# %%
metrics, ceiling = run.evaluate(coder), run.ceiling()
exact, identity = train_orbits.exact, np.arange(G.order) == 0
copied = copy_fve(held_out.in_order())
groups = {"untransformed": identity, "exact": exact & ~identity, "resampled": ~exact,
          "all but e": ~identity}
print("elements         copy   crosscoder   linear reference")
for name, which in groups.items():
    if which.any():
        print(f"{name:14} {copied[which].mean():6.3f}   "
              f"{metrics.fve_per_block[which].mean():10.3f}"
              f"   {ceiling[which].mean():16.3f}")

# %%
sae = run.coder("sae")
sae_metrics = run.evaluate(sae)
reached = metrics.fve_per_block[~identity].mean() / ceiling[~identity].mean()
print(f"all blocks: {metrics.fve:.3f} of the variance, with {metrics.l0:.1f} of {m} "
      "latents active")
print(f"transformed blocks: {100 * reached:.0f} % of the linear reference")
print(f"the untransformed block alone: {metrics.fve_identity:.3f}; a sparse "
      f"autoencoder with L0 {sae_metrics.l0:.1f} explains {sae_metrics.fve:.3f} of it")
assert metrics.fve > copied[1:].mean()
assert metrics.fve_identity > metrics.fve_per_block[~identity].max()
assert sae_metrics.fve > metrics.fve_identity or profile == "smoke"

# %% [markdown]
# The last line is the price. On the block that it sees, the crosscoder keeps less than a
# {term}`sparse autoencoder <sparse autoencoder (SAE)>` of the same size and L0, because its latents have
# $\lvert G\rvert$ blocks to serve, and what the others do not need of $x[e]$ is hardly paid for. Whoever asks what the
# layer says about the image as it stands loses that much by asking a crosscoder.

# %% mystnb={"figure": {"name": "fig-fve-blocks", "caption": "Variance explained for each block on held-out images of this run, and the linear reference (black). Dark bars are exact elements, light bars resampled ones. The first bar is the block that the encoder sees; no transformed block is explained as well."}, "image": {"alt": "A bar for each element of the group with a black tick for the linear map. The first bar is the highest; the others are nearly level, and their ticks lie below their tops. Only the first tick, at 1, lies above."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(7.4, 3.4))
    figures.fve_per_block(metrics.fve_per_block, G, ax, ceiling=ceiling, exact=exact)
    report.figure("blocks", fig)

# %% [markdown]
# Can it be more than 100 %? Yes, for the reference is linear. Drawings have a small vocabulary of shapes: a latent that
# decides which shape it is and how it lies knows the rest, and that decision is not linear.
#
# ### What it is not evidence for
#
# A layer whose activations for a turned image are settled by those for the upright one need not have *learned*
# anything. The same questions to the same architecture with random weights, and to no network at all: raw patches of
# pixels, for which turning is a linear map but for interpolation. All have the same images and budget.

# %%
controls = {name: run.control(name) for name in ("trained", "untrained", "patches")}
quality = {}
print("            crosscoder, all blocks       linear reference")
for name, control in controls.items():
    value, ends = fve_over_images(control.coder(), control.orbits("held-out"))
    quality[name] = value, ends, float(control.ceiling()[1:].mean())
    print(f"{name:9}   {value:.3f} ({ends[0]:.3f} to {ends[1]:.3f})   "
          f"{quality[name][2]:10.3f}")

# %% [markdown]
# In brackets: 95 % over images, as explained below. In the book's run the untrained network does better than the
# trained one, by the coder and by the linear map, and pixels do best. So a high share of variance explained is no sign
# of a learned symmetry. It says how *simply* the blocks depend on each other, and training made that less simple. What
# is learned has to be looked for in the features ({doc}`chapter 7 <07_symmetry>` and {doc}`chapter 8 <08_axes>`), each
# time beside the same two columns.
#
# ### How sure is it?
#
# Held-out images are a sample, and so are the images trained on. Three answers. First, the same coder on other held-out
# images: draw the held-out images again and again with replacement, all points of an image together. Beside it the
# fair opponent of {doc}`chapter 5 <05_families>`: a sparse autoencoder that was trained on $x[e]$ alone and is given
# blocks for all $g$ by least squares.

# %%
fitted = run.fitted()
intervals = {"crosscoder": fve_over_images(coder, held_out),
             "sparse autoencoder, blocks fitted": fve_over_images(fitted, held_out),
             "difference": fve_over_images(coder, held_out, other=fitted)}
images_held_out = len(run.source("held-out"))
print(f"variance explained, all blocks, 95 % interval over {images_held_out} images")
for name, (value, (low, high)) in intervals.items():
    print(f"{name:34}   {value:6.3f}   {low:6.3f} to {high:6.3f}")

# %% [markdown]
# For drawings the crosscoder explains more than its opponent, and more than the linear reference; both are compared on
# the same images, so the interval of the difference is shorter than either. On photographs and InceptionV1 it is the
# other way round: there the crosscoder explains less than its opponent, and less than the linear reference.
#
# Second, the images that were trained on, and the length of training:

# %%
seen = evaluate(coder, thinned(train_orbits, 4096)).fve
third = [row["loss"] for row in history if row["step"] > 2 / 3 * settings.steps]
falls = 1 - np.mean(third[-3:]) / np.mean(third[:3])
print(f"variance explained: seen {seen:.3f}, held out {metrics.fve:.3f}")
print(f"the loss fell by {100 * falls:.1f} % over the last third of the steps, in "
      "which the learning rate goes to 0")

# %% [markdown]
# Seen images are explained better than others, and the loss still fell. So the number is a *budget*: what this many
# images and steps buy, and not what a crosscoder of this size can do. More images would move it, and so would more
# steps. The first panel of {numref}`fig-history` shows the same.
#
# Third, both at once: [an appendix](#appendix-other-images-other-budgets) trains shorter coders on other
# {term}`folds <held-out images>` of the images, and their variance explained moves far more than that of other seeds.

# %% [markdown]
# ## How sparse is it?
#
# ```{prf:definition} L0, dead latents, firing frequency
# :label: def-sparsity
#
# **{term}`L0`** is the mean number of latents per sample that are not zero. A latent's **firing frequency** is the
# share of held-out samples for which it is not zero. A latent is **dead** if that share is 0.
# ```
#
# A dead latent takes up memory and explains nothing. A latent that fires for half of all samples is not much of a
# feature, and one that fires for one in ten thousand has hardly been trained ({numref}`fig-frequency`).

# %%
frequency = metrics.frequency
alive = frequency > 0
print(f"L0 {metrics.l0:.1f}; dead latents: {100 * metrics.dead:.1f} %; "
      f"the median living latent fires for {100 * np.median(frequency[alive]):.1f} % "
      "of the samples")
assert abs(frequency.sum() - metrics.l0) < 1e-6  # two ways of counting the same
assert metrics.dead < 0.5
print(f"k was set to {coder.k}" if coder.k else "no k was set")

# %% [markdown]
# L0 need not equal $k$ here. In training, BatchTopK keeps the $kB$ largest contributions of a batch. Outside training a
# sample must not depend on its neighbours, so a fixed threshold takes over: a running mean of where the cut was. In
# a short training that mean lags behind.

# %% mystnb={"figure": {"name": "fig-frequency", "caption": "How often latents fire on held-out images of this run (logarithmic). The line is the mean, L0 divided by the number of latents. Dead latents, if any, are the bar on the far left."}, "image": {"alt": "A histogram of firing frequencies on a logarithmic axis with one broad hump around the line for the mean."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6.2, 3))
    floor = 0.3 / len(held_out)
    ax.hist(np.maximum(frequency, floor), bins=np.geomspace(floor, 1, 40), color=BLUE)
    ax.axvline(metrics.l0 / m, color=ORANGE, linewidth=2, label="mean")
    ax.set(xscale="log", xlabel="fires for this share of samples", ylabel="latents")
    ax.legend()
    report.figure("frequencies", fig)

# %% [markdown]
# ## The trivial group
#
# For the group with one element, {prf:ref}`def-crosscoder` and {prf:ref}`def-objective` read and write one block. That
# is a sparse autoencoder. It needs no code of its own:

# %%
plain = SparseAutoencoder(d, m, activation="topk", k=8, seed=seed)
trivial = GroupCrosscoder(cyclic(1), d, m, activation="topk", k=8, seed=seed)
assert torch.equal(plain(x[:, :1]).reconstruction, trivial(x[:, :1]).reconstruction)

# %% [markdown]
# ## Does it depend on the seed?
#
# A coder's start is random, and training finds one of many solutions. Two questions: does the *quality* depend on the
# seed, and do the *features*? For the second one, look for each dictionary vector's best match among those of another
# seed, by the {term}`largest cosine over the group <similarity over the group>`, which also accepts a transformed copy.
#
# The best of hundreds of cosines is never small, so such a match says nothing without a *null*: the same number where
# there is nothing to find. Two of them: the nearest
# *other* feature of the *same* dictionary, and the nearest of as many **data points**, orbit vectors of held-out images
# about their mean, which nobody has trained. A feature counts as found again if its match is better than 99 % of the
# matches with data points.

# %%
starts = range(seed, seed + settings.seeds)
coders = [run.coder(seed=start) for start in starts]
scores = np.array([run.evaluate(trained).fve for trained in coders])
print(f"variance explained over {len(starts)} seeds: {mean_spread(scores, 4)}")
assert scores.std(ddof=1) < 0.03


def features(run, start, **changes):
    coder = run.coder(seed=start, **changes)
    return living_dictionary(coder, firing_frequency(coder, run.orbits("held-out")))[0]


def replication(D, others, source):
    points = data_dictionary(source, min(len(others), len(source)), seed=seed)
    found, null = best_matches(D, others, G), best_matches(D, points, G).group
    return dict(match=found.group, plain=found.plain, points=null,
                own=best_matches(D, None, G).group, above=above_null(found.group, null))

# %% [markdown]
# Four pairs of coders: two seeds of the main coder; two seeds of shorter coders that were trained on one half of the
# images; one on this half and one on the other, so that they have no image in common; and two seeds on the untrained
# network. `run.fold(k, of=2)` is the same run with one half of all images held out, first or second as $k$ says.

# %%
half, other_half = run.fold(0, of=2), run.fold(1, of=2)
untrained = controls["untrained"].fold(0)
one = features(half, seed)
pairs = {
    "another seed": replication(features(run, seed), features(run, seed + 1), held_out),
    "half of the images": replication(one, features(half, seed + 1),
                                      half.orbits("held-out")),
    "disjoint halves": replication(one, features(other_half, seed + 1),
                                   half.orbits("held-out")),
    "untrained network": replication(features(untrained, seed),
                                     features(untrained, seed + 1),
                                     untrained.orbits("held-out"))}
print("median of the best match   with it   own dictionary   data points   found again")
for name, found in pairs.items():
    print(f"{name:24} {found['match'].median():9.3f}   {found['own'].median():14.3f}"
          f"   {found['points'].median():11.3f}   {100 * found['above'].share:8.1f} %")
assert all((found["match"] >= found["plain"] - 1e-4).all() for found in pairs.values())

# %% mystnb={"figure": {"name": "fig-replication", "caption": "How well features come back, in this run: the best match of every feature over the group. Left: in a coder of another seed, in its own dictionary and among data points. Right: in shorter coders of the same half of the images, of the other half, and on the untrained network. The dotted line is the 99 % quantile of the matches with data points on the left."}, "image": {"alt": "Two panels of outlined histograms of cosines between 0 and 1. In each panel the histograms overlap for the most part."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.4), sharex=True, sharey=True)
    main = pairs["another seed"]
    left = {"another seed": main["match"], "own dictionary": main["own"],
            "data points": main["points"]}
    right = {"same half": pairs["half of the images"]["match"],
             "disjoint halves": pairs["disjoint halves"]["match"],
             "untrained": pairs["untrained network"]["match"]}
    for ax, panel in zip(axes, (left, right), strict=True):
        for (name, values), style in zip(panel.items(), ("-", "--", ":"), strict=True):
            ax.hist(values.numpy(), bins=np.linspace(0, 1, 41), histtype="step",
                    linewidth=1.8, linestyle=style, density=True, label=name)
        ax.axvline(main["above"].bar, color=INK, linewidth=1, linestyle=":")
        ax.set(xlabel="best cosine over the group")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=9)
    axes[0].set(ylabel="density of features")
    report.figure("replication", fig)

# %% [markdown]
# In the book's run hardly any feature is found again. A match in another seed is as good as a match in the own
# dictionary or with a data point, with the same images or with others, and on the untrained network as well. So the
# median cosine with another seed says how densely vectors lie in this space, not how much two coders agree. It cannot
# be turned into a "cosine with a common truth" either: that would need matches that stand above their null.
#
# Does it change with the size of the dictionary, the length of training, or the number of images?
# [An appendix](#how-many-features-come-back) tries one at a time, and finds no way to bring back more than a few.
#
# The quality hardly depends on the seed. The features do: the directions into which a coder of this size splits the
# activations are to a large part its own choice, as has been found for language models too
# {cite:p}`paulo2025different`. So a single feature proves little. What can be claimed are statements about a whole
# dictionary, checked with several seeds and several sets of images, and this is how the next chapters proceed.

# %% [markdown]
# ## Exercises
#
# ```{exercise} The other norm
# :label: ex-norm
#
# Compare the norm of the whole dictionary vector with the sum of its blocks' norms. Show that the ratio of the second
# to the first lies between 1 and $\sqrt{\lvert G\rvert}$. When does it reach either end? What is it for the trained
# coder?
# ```
#
# ```{solution-start} ex-norm
# :class: dropdown
# ```

# %%
D = coder.dictionary.detach().cpu()[torch.tensor(alive)]
blocks = D.norm(dim=2)
ratio = blocks.sum(dim=1) / blocks.square().sum(dim=1).sqrt()
print(f"ratio {ratio.min():.2f} to {ratio.max():.2f}, median {ratio.median():.2f}; "
      f"√|G| = {G.order ** 0.5:.2f}")
assert (ratio >= 0.999).all() and (ratio <= 1.001 * G.order ** 0.5).all()
assert profile != "book" or ratio.median() > 0.9 * G.order ** 0.5

# %% [markdown]
# It is 1 if one block holds everything, and $\sqrt{\lvert G\rvert}$ if all blocks are equally long (Cauchy-Schwarz).
# A trained coder is near the upper end: its features write into all blocks with nearly the same strength. A feature
# that is strong in only one orientation would stand out here.
#
# ```{solution-end}
# ```
#
# ```{exercise} Cheating the penalty
# :label: ex-cheat
#
# Divide a coder's encoder ($W_e$, $b_e$) by 10 and multiply $W_d$ by 10. What happens to the two parts of
# {eq}`eq-loss`? And what would happen to a penalty $\lambda \sum_i f_i$ without the norm?
# ```
#
# ```{solution} ex-cheat
# :class: dropdown
#
# Neither part changes: every $f_i$ falls to a tenth, and every $\lVert W_{d,i} \rVert$ grows tenfold. A penalty without
# the norm would fall to a tenth at the same reconstruction, and training would go on shrinking it. Keeping all
# $\lVert W_{d,i} \rVert = 1$ forbids that; multiplying by the norm makes it pointless.
# ```

# %% [markdown]
# ## Summary
#
# - A group crosscoder ({prf:ref}`def-crosscoder`) reads the response to an image and reconstructs the responses to all
#   its transformations. Its dictionary vectors have one block per element of the group.
# - The objective is the squared error over all blocks and the summed lengths of the latents' contributions, or TopK in
#   place of the second.
# - Judge a coder on held-out images, block by block, beside a linear map and beside the same network untrained. A plain
#   share of variance says little, and none of it says that a symmetry was learned.
# - A best match needs its nulls: the same dictionary, data points, disjoint images, an untrained network.
# - A sparse autoencoder is the crosscoder of the trivial group.
# - From the first appendix: uncertainty is over images as well as seeds, so train coders on several folds, and count
#   the folds.
# - From the others: $\lambda$ has the unit of an activation ({prf:ref}`prop-unit`), so fix the scale, and save it; L1
#   shrinks what it reconstructs, TopK does not.

# %% [markdown]
# ## Limits
#
# The trainings of this book are short, and go over few images several times. The paper takes ten points of every image
# and goes over a large data set once. Rare features need many images, and many latents.
#
# Variance explained rewards what is large and common. It does not say whether a latent means anything, and a coder
# with a worse score may have better features. The linear reference is no upper bound for a nonlinear encoder. And the
# same images that teach the crosscoder how features transform also decide which features it finds.

# %% [markdown]
# ## What next
#
# We have a dictionary with one block per transformation. {doc}`04_heatmaps` looks inside: how do a feature's blocks
# relate to each other, and what does that say about its symmetry?

# %% [markdown]
# ## Appendix: other images, other budgets
#
# A number depends on the images as well as on the seed, so let us train again on other images. `run.fold(k)` holds out
# another part of all images; nothing is extracted again. Every fold has its own coders with their own seeds. They are
# shorter than `run.coder()`, so look at how far a number moves, not only at the number. Seeds of one fold share all
# images, so the interval is over the means of folds. They share most of their training images, which no such interval
# can account for.

# %% tags=["hide-input"]
measured = fold_measures(run)
names = dict(
    fve="variance explained, all blocks", fve_identity="untransformed block",
    reference="linear reference, transformed blocks",
    over_reference="crosscoder minus linear reference, transformed blocks",
    l0="L0", dead="share of dead latents",
    supported="features with a supported symmetry",
    confirmed="features with one that the encoder confirms",
    invariant="invariant features",
    mirror_agreement="one mirror: decoder and encoder name the same axis",
    mirror_chance="the same by chance",
    purity_corrected="neighbours with the same label, corrected for chance")

# %% tags=["hide-input"]
rows = ["| quantity | mean | 95 % interval | spread over folds | over seeds |",
        "|---|---|---|---|---|"]
for key, label in names.items():
    found = measured[key]
    known = np.isfinite(found.mean)
    if key not in ("l0", "over_reference"):  # a share, whatever t says for few folds
        found = found._replace(interval=tuple(np.clip(found.interval, 0, 1)))
    cells = [f"{value:.3f}" if np.isfinite(value) else "–" for value in (
        found.mean, *found.interval, found.over_folds, found.over_seeds)]
    rows.append(f"| {label} | {cells[0]} | {cells[1]} to {cells[2]} | {cells[3]} | "
                f"{cells[4]} |")
    report.number(f"folds_{key}", found.mean if known else None, note=f"folds: {label}",
                  n=found.values.size, interval=found.interval if known else None,
                  over=found.over)
display(Markdown("\n".join(rows)))

# %% [markdown]
# Variance explained moves far more between folds than between seeds. A plus-minus over seeds alone, as in "$0.7406 \pm
# 0.0003$" under *Does it depend on the seed?*, is no uncertainty. Numbers about features are the other way round: they
# hang on the seed as much as on the images, and in these short trainings few features have a
# {term}`supported symmetry`, one that chance would rarely give.
# Labels, axes and purity are the subject of chapters {doc}`5 <05_families>`, {doc}`7 <07_symmetry>` and
# {doc}`8 <08_axes>`; here see only how far to trust them.
#
# ### How many features come back?
#
# *Does it depend on the seed?* looked for features in another coder, and found hardly any. Does that change with the
# size of the dictionary, the length of training, or the number of images? One at a time, from the coders of fold 0; the
# last row is the main coder:

# %%
fold = run.fold(0)
few = len(fold.source("train")) // 5
short = settings.fold_steps // 4
sweep = {"fold": (fold, {}), "few_latents": (fold, dict(latents=m // 4)),
         "few_steps": (fold, dict(steps=short)),
         "few_images": (run.fold(0, images=few), {}), "long": (run, {})}

# %%
swept = {}
print("latents   samples   images     fve   match   own dictionary   data points   "
      "again")
for name, (part, changes) in sweep.items():
    judged, budget = part.orbits("held-out"), part.profile
    pair = [features(part, start, **changes) for start in (seed, seed + 1)]
    swept[name] = found = replication(*pair, judged)
    fve = evaluate(part.coder(seed=seed, **changes), thinned(judged, 4096)).fve
    samples = changes.get("steps", budget.steps) * budget.batch_size
    medians = [f"{found[key].median():.3f}" for key in ("match", "own", "points")]
    print(f"{changes.get('latents', m):7}   {samples:7}   {len(part.source()):6}   "
          f"{fve:.3f}   {medians[0]}   {medians[1]:>14}   {medians[2]:>11}   "
          f"{100 * found['above'].share:4.1f} %")

# %% [markdown]
# Fold 0 is one part of the images. The same search in every fold, with the settings of the first row:

# %%
again = []
for number in range(settings.folds):
    part = run.fold(number)
    D, others = (features(part, start) for start in list(fold_seeds(run, number))[:2])
    found = replication(D, others, part.orbits("held-out"))
    again.append([float(found["match"].median()), float(found["points"].median()),
                  found["above"].share])
over_parts = [uncertain(np.array(column)[:, None])
              for column in zip(*again, strict=True)]
what = ("match", "data points", "found again")
for name, found in zip(what, over_parts, strict=True):
    print(f"{name:11}   {found.mean:.3f}, over {settings.folds} folds "
          f"{found.interval[0]:.3f} to {found.interval[1]:.3f}")

# %% [markdown]
# (*Found again* is a share, which cannot be below 0. Its interval is symmetric about the mean of few folds, so its lower
# end can be; read it as 0.)
#
# All columns rise and fall together. Longer training makes matches better, and data points come nearer to features,
# too. Nothing that was tried here makes more than a few per cent of the features come back.

# %% [markdown]
# ## Appendix: what λ means
#
# The paper trains with $\lambda = 3 \cdot 10^{-7}$. Can we use that number?
#
# ```{prf:proposition} λ has the unit of an activation
# :label: prop-unit
#
# For every coder there is one whose loss on doubled activations is
#
# $$ L(2x;\, 2\lambda) = 4\, L(x;\, \lambda) , $$ (eq-scale)
#
# so the best coder for $(2x, 2\lambda)$ is the best one for $(x, \lambda)$, written in other units.
# ```
#
# *Because* one can double $f$, $b$, $b_e$ and $b_d$, and leave $W_e$ and $W_d$ as they are: then all reconstructions
# double. The first term of {eq}`eq-loss` is multiplied by 4, and the second one, with $2\lambda$, by 4 as well. Without
# the scale of the activations a value of $\lambda$ says nothing.

# %%
def doubled(coder):
    twin = GroupCrosscoder(coder.group, coder.channels, coder.latents,
                           scale=2 * float(coder.scale))
    in_units = ("b", "b_e", "b_d", "scale")
    twin.load_state_dict({name: value * (2 if name in in_units else 1)
                          for name, value in coder.state_dict().items()})
    return twin


fresh.begin(x)
for ratio in (1, 2, 4):
    ours, theirs = (doubled(fresh).loss(x, sparsity=ratio * strength)[0],
                    fresh.loss(x, sparsity=strength)[0])
    quotient = (ours / theirs).item()
    print(f"activations doubled, {ratio} λ: loss is multiplied by {quotient:.3f}")
    assert (abs(quotient - 4) < 1e-3) == (ratio == 2)

# %% [markdown]
# That is an identity, so nothing has to be trained to believe it. (A short training finds it only nearly: Adam takes
# steps of the same size in whatever unit, so biases that have to go twice as far are late.) So the library multiplies
# activations by the `scale` of {doc}`chapter 2 <02_orbits>`, which makes a typical number about one, and keeps the
# scale in the saved file. Then a $\lambda$ can be carried from model to model.
#
# From group to group it needs one more factor. With $\lvert G\rvert$ blocks the first term of {eq}`eq-loss` has
# $\lvert G\rvert$ times as many summands. The norm of a vector that writes equally into all blocks grows by
# $\sqrt{\lvert G\rvert}$ only. So the same sparsity needs a $\lambda$ that is about $\sqrt{\lvert G\rvert}$ times
# larger.

# %% [markdown]
# ## Appendix: L1 or TopK?
#
# The two activations trade sparsity against reconstruction in different ways. A single pair of numbers says little, so
# train at several $\lambda$ and several $k$, all with the same short budget, and draw the curve
# ({numref}`fig-tradeoff`). Up and to the left is better.

# %%
curve = run.curve()
print("activation   setting       L0     variance explained")
for row in curve:
    setting = f"λ = {row['sparsity']:g}" if row["k"] is None else f"k = {row['k']}"
    print(f"{row['activation']:10}   {setting:8}   {row['l0']:6.1f}   {row['fve']:.3f}")
by_k = [row["fve"] for row in curve if row["activation"] == "topk"]
# more latents, better reconstruction
assert by_k == sorted(by_k) or profile == "inception"

# %% mystnb={"figure": {"name": "fig-tradeoff", "caption": "Variance explained on held-out images of this run against L0, for ReLU with an L1 penalty and for TopK. Every point is a short training with the same number of samples. The dashed line is the linear reference, averaged over all blocks; it bounds no crosscoder."}, "image": {"alt": "Two lines of points. The TopK line rises from left to right with its k. The points of ReLU with L1 form a line of their own at larger L0. A dashed horizontal line marks the linear map."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(5.2, 4))
    figures.tradeoff(curve, ax)
    ax.axhline(ceiling.mean(), color=INK, linestyle="--", linewidth=1.2,
               label="linear reference")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    report.figure("tradeoff", fig)

# %% [markdown]
# Why does L1 lose variance? It charges for *size*. Every active latent is pulled towards zero, also those that are
# needed, and the reconstruction comes out too short. We can measure it: by which factor should the reconstruction
# (about the mean) be stretched to fit best?
#
# $$ s = \frac{\sum \langle x - b_d,\, \hat x - b_d \rangle}{\sum \lVert \hat x - b_d \rVert^2} $$ (eq-shrink)

# %%
@torch.no_grad()
def stretch(coder):
    agreement = length = 0.0
    mean = (coder.b_d / coder.scale).detach().cpu()
    for x in held_out.in_order():
        guess = coder(x.to(run.device)).reconstruction.cpu() - mean
        agreement += float(((x - mean) * guess).sum())
        length += float(guess.square().sum())
    return agreement / length


steps, (small, *_, large) = settings.curve_steps, settings.l1_sparsities
lasso = stretch(run.coder(activation="relu", sparsity=large, steps=steps))
topk = stretch(run.coder(activation="topk", k=settings.topk_ks[-1], sparsity=0.0,
                         steps=steps))
print(f"the reconstruction should be longer by a factor of {lasso:.2f} (L1, λ = "
      f"{large:g}), {topk:.2f} (TopK)")
assert lasso > topk

# %% [markdown]
# This is **{term}`shrinkage`**. TopK has no penalty, hence next to no shrinkage. It has the number of active latents
# under control as well, which is why its batch version is our default. What L1 has to offer: it is the paper's choice,
# and it lets the number of active latents follow the sample.

# %% [markdown]
# ## On InceptionV1
#
# The same chapter with the {term}`profile` `inception`: BVLC GoogLeNet's {term}`mixed3b`, the group $D_{16}$, and
# photographs. {numref}`fig-blocks-inception`, {numref}`fig-tradeoff-inception`, {numref}`fig-frequency-inception` and
# {numref}`fig-history-inception` are the counterparts of this run's figures. GoogLeNet was trained with random mirror
# images, so that left and right look alike to it was asked for.

# %% tags=["hide-input"]
for key, value, note in (
        ("fve_identity", metrics.fve_identity, "untransformed block"),
        ("sae_fve", sae_metrics.fve, "sparse autoencoder on the untransformed block"),
        ("fve_exact", metrics.fve_exact, "exact elements"),
        ("fve_resampled", metrics.fve_resampled if not exact.all()
         else "no such element", "resampled elements"),
        ("fve_ceiling", float(ceiling[~identity].mean()),
         "linear reference, all blocks but the first"),
        ("ceiling_exact", float(ceiling[exact & ~identity].mean()),
         "linear reference, exact elements"),
        ("fve_copy", float(copied[1:].mean()), "copying the untransformed block"),
        ("ceiling_reached", float(reached),
         "crosscoder as a share of the linear reference, transformed blocks"),
        ("fve_seen", seen, "variance explained on images that were trained on"),
        ("last_third", float(falls), "fall of the loss over the last third of steps"),
        ("l0", metrics.l0, "active latents per sample"),
        ("dead", metrics.dead, "share of dead latents"),
        ("seeds_fve", float(scores.mean()), "variance explained, mean over seeds"),
        ("seeds_spread", float(scores.std(ddof=1)),
         "standard deviation over seeds, same images"),
        ("stretch_l1", lasso, "shrinkage of L1 at the largest λ: stretch by"),
        ("stretch_topk", topk, "shrinkage of TopK: stretch by")):
    report.number(key, value, note=note)
for key, name, note in (
        ("fve", "crosscoder", "variance explained, all blocks"),
        ("fitted_fve", "sparse autoencoder, blocks fitted",
         "sparse autoencoder with fitted blocks, all blocks"),
        ("over_fitted", "difference", "crosscoder minus fitted sparse autoencoder")):
    report.number(key, intervals[name][0], note=note, n=images_held_out,
                  interval=intervals[name][1], over="held-out images, bootstrap")
for name, (value, ends, linear) in quality.items():
    report.number(f"{name}_fve", value, note=f"controls, {name}: variance explained",
                  interval=ends, over="held-out images, bootstrap")
    report.number(f"{name}_linear", linear, note=f"controls, {name}: linear reference")

# %% tags=["hide-input"]
main = pairs["another seed"]
for key, values, note in (
        ("seeds_match_group", main["match"], "best match in another seed, median"),
        ("match_same_dictionary", main["own"], "in its own dictionary"),
        ("match_data_points", main["points"], "among data points"),
        ("match_half", pairs["half of the images"]["match"],
         "in another seed, half of the images, shorter training"),
        ("match_disjoint_images", pairs["disjoint halves"]["match"],
         "in a coder of the other half of the images"),
        ("match_untrained", pairs["untrained network"]["match"],
         "in another seed, untrained network")):
    report.number(key, float(values.median()), note=f"match: {note}", n=len(values),
                  interval=median_interval(values), over="features, bootstrap")
shares = {"": ("another seed", pairs["another seed"]),
          "_half": ("half of the images, shorter", pairs["half of the images"]),
          "_disjoint": ("disjoint halves", pairs["disjoint halves"]),
          "_untrained": ("untrained network", pairs["untrained network"]),
          "_fold": ("fold 0", swept["fold"]),
          "_few_latents": ("fold 0, a quarter of the latents", swept["few_latents"]),
          "_few_steps": ("fold 0, a quarter of the steps", swept["few_steps"]),
          "_few_images": ("fold 0, a fifth of the images", swept["few_images"])}
for name, (label, found) in shares.items():
    report.number(f"match_above_null{name}", found["above"].share,
                  note=f"found again: {label}",
                  n=found["above"].features, interval=found["above"].interval,
                  over="features")
for key, label, found in zip(
        ("match", "match_data_points", "match_above_null"),
        ("best match in another seed", "best match among data points", "found again"),
        over_parts, strict=True):
    report.number(f"folds_{key}", found.mean, note=f"folds: {label}", n=settings.folds,
                  interval=found.interval, over=f"{settings.folds} folds")

# %% tags=["hide-input"]
for row in curve:  # drawn in the figure of the trade-off, and printed above
    key = f"curve_{row['activation']}_{row['sparsity'] or row['k']:g}"
    report.number(f"{key}_fve", row["fve"], note="variance explained", internal=True)
    report.number(f"{key}_l0", row["l0"], note="L0", internal=True)
_ = report.save()

# %% tags=["hide-input"]
shown = report.comparable()
shown = sorted(shown, key=lambda key: key.startswith("folds_"))  # these come last
display(Markdown(report.compare(*shown)))

# %% [markdown]
# ```{figure} ../book/reference/03_training/tradeoff.png
# :alt: Variance explained against L0 for ReLU with L1 and for TopK, with a dashed line for the linear map.
# :name: fig-tradeoff-inception
#
# InceptionV1, reference run: variance explained against L0, as in {numref}`fig-tradeoff`.
# ```
#
# ```{figure} ../book/reference/03_training/frequencies.png
# :alt: A histogram of firing frequencies on a logarithmic axis with a line for the mean.
# :name: fig-frequency-inception
#
# InceptionV1, reference run: how often latents fire on held-out photographs, as in {numref}`fig-frequency`.
# ```
#
# ```{figure} ../book/reference/03_training/history.png
# :alt: Three plots over training steps: loss, variance explained, share of dead latents.
# :name: fig-history-inception
#
# InceptionV1, reference run: training, as in {numref}`fig-history`.
# ```

# %% tags=["hide-input"]
display(HTML(figures.published(
    "03_training", "replication",
    caption="InceptionV1, reference run: how well features come back.",
    alt="Curves of best matches beside their nulls.", width="900px")))
