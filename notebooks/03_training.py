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
# **You will learn**
#
# - what a group crosscoder computes, and what every term of its objective is for,
# - why the sparsity weight $\lambda$ means nothing without the scale of the activations,
# - how to judge a crosscoder: variance explained per block, against the linear ceiling; L0; dead latents,
# - how ReLU with an L1 penalty compares with TopK,
# - that a sparse autoencoder is the crosscoder of the trivial group.
#
# **You need** {doc}`02_orbits`: orbit vectors, exact and resampled elements, the linear ceiling.
#
# **Run time** about a minute and a half on one CPU core, nearly all of it for training. Trained coders are kept, so the
# second time it takes seconds.
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
import torch
from IPython.display import Markdown, display

from groupcc_lite import figures
from groupcc_lite.coders import (
    GroupCrosscoder,
    SparseAutoencoder,
    copy_fve,
    evaluate,
    train,
)
from groupcc_lite.figures import BLUE, INK, ORANGE
from groupcc_lite.groups import cyclic
from groupcc_lite.runs import Run, mean_spread
from groupcc_lite.symmetry import max_cosine, normalised

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
# $$ f = \mathrm{act}\big(W_e\,(x[e] - b) + b_e\big) \in \mathbb{R}^m, $$ (eq-encode)
#
# $$ \hat x[g] = \sum_{i=1}^{m} f_i \, W_{d,i}[g] + b_d[g], \qquad g \in G , $$ (eq-decode)
#
# where $\mathrm{act}$ leaves few numbers different from zero. $W_{d,i}$ is the **{term}`dictionary vector`** of latent
# $i$; it has $\lvert G\rvert$ {term}`blocks <block>`. Later chapters call it $F_i$.
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
# **Sparsity** adds up the lengths of all contributions: latent $i$ adds the vector $f_i W_{d,i}$, and its length is
# $f_i \lVert W_{d,i}\rVert$, because ReLU keeps $f_i \ge 0$. The norm has to be there. Without it, the coder
# could halve every $f_i$ and double every $W_{d,i}$: the same reconstruction, half the penalty.
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
# **{term}`TopK`** {cite:p}`gao2024scaling` enforces sparsity instead of paying for it. Of all latents, the $k$ with the
# largest contribution $f_i \lVert W_{d,i} \rVert$ stay, the rest are set to zero. **{term}`BatchTopK`**
# {cite:p}`bussmann2024batchtopk` keeps the $kB$ largest of a batch of $B$ samples, so that a difficult sample may use
# more latents than an easy one. Both drop the second term of {eq}`eq-loss`. They have another one instead,
#
# $$ L_{\text{aux}} = \alpha \, \Big\lVert \, x - \hat x - \sum_{i \in \text{dead}} z_i W_{d,i} \Big\rVert^2 ,
#   \qquad \alpha = \tfrac1{32} , $$ (eq-aux)
#
# where $z$ holds the strongest pre-activations among the latents that have not {term}`fired <firing>` for long. A
# latent that is never selected gets no gradient and stays dead for ever. {eq}`eq-aux` lets
# {term}`dead latents <dead latent>` learn what the living ones leave over, until they are strong enough to be selected.

# %%
sparse = GroupCrosscoder(G, d, m, activation="topk", k=8, seed=seed)
active = sparse.encode(x[:, 0]) > 0
assert (active.sum(dim=1) <= 8).all()
contribution = fresh.encode(x[:, 0]) * fresh.W_d.flatten(1).norm(dim=1)
assert torch.equal(active[0].nonzero()[:, 0],
                   contribution[0].topk(8).indices.sort().values)

# %% [markdown]
# ## What λ means
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
# That is an identity. Does training find it too? We train some small coders, from the same start. For speed they are
# sparse autoencoders: {eq}`eq-scale` holds for every group. Look for the row that agrees with the first.

# %%
single = run.training_source("sae")
base = settings.l1_sparsities[0] / G.order ** 0.5


def short_sae(scale, sparsity, start=seed):
    coder = SparseAutoencoder(d, m, scale=scale * single.scale,
                              seed=start).to(run.device)
    train(coder, single, steps=settings.curve_steps,
          batch_size=settings.batch_size // 4, lr=settings.lr,
          sparsity=sparsity, seed=start, progress=False)
    return run.evaluate(coder)


outcomes = {(scale, ratio): short_sae(scale, ratio * base)
            for scale, ratio in ((1, 1), (2, 1), (2, 2), (2, 4))}
for (scale, ratio), outcome in outcomes.items():
    print(f"activations x {scale}, {ratio} λ:   L0 {outcome.l0:6.1f}   variance "
          f"explained {outcome.fve:.3f}")

# %%
distance = {ratio: abs(outcomes[2, ratio].fve - outcomes[1, 1].fve)
            for ratio in (1, 2, 4)}
print("difference in variance explained:",
      {f"{ratio} λ": round(gap, 4) for ratio, gap in distance.items()})
assert min(distance, key=distance.get) == 2 or profile == "inception"

# %% [markdown]
# The agreement is not perfect. Adam takes steps of the same size in whatever unit, so biases that have to go twice as
# far are late, and a short training shows it. But the answer is clear. So the library multiplies activations by the
# `scale` of {doc}`chapter 2 <02_orbits>`, which makes a typical number about one, and keeps the scale in the saved
# file. Then a $\lambda$ can be carried from model to model.
#
# From group to group it needs one more factor. With $\lvert G\rvert$ blocks the first term of {eq}`eq-loss` has
# $\lvert G\rvert$ times as many summands. The norm of a vector that writes equally into all blocks grows by
# $\sqrt{\lvert G\rvert}$ only. So the same sparsity needs a $\lambda$ that is about $\sqrt{\lvert G\rvert}$ times
# larger. We have just used this: `base` is the crosscoder's $\lambda$ divided by that root.
#
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
# determine $x[g]$. The {term}`linear ceiling` of {prf:ref}`def-ceiling` is what the best linear map reaches. It is
# dense and free to use any combination of channels. A crosscoder may use only a few latents at a time, so coming near
# the ceiling is a success. It has one advantage, though: its encoder is not linear.

# %%
metrics, ceiling = run.evaluate(coder), run.ceiling()
exact, identity = train_orbits.exact, np.arange(G.order) == 0
copied = copy_fve(held_out.in_order())
groups = {"untransformed": identity, "exact": exact & ~identity, "resampled": ~exact,
          "all but e": ~identity}
print("elements         copy   crosscoder   linear ceiling")
for name, which in groups.items():
    if which.any():
        print(f"{name:14} {copied[which].mean():6.3f}   "
              f"{metrics.fve_per_block[which].mean():10.3f}"
              f"   {ceiling[which].mean():14.3f}")

# %%
reached = metrics.fve_per_block[~identity].mean() / ceiling[~identity].mean()
print(f"all blocks: {metrics.fve:.3f} of the variance, with {metrics.l0:.1f} of {m} "
      "latents active")
print(f"on transformed images the crosscoder reaches {100 * reached:.0f} % of the "
      "linear ceiling")
assert metrics.fve > copied[1:].mean()
assert metrics.fve_identity > metrics.fve_per_block[~identity].max()
assert profile == "smoke" or 0.5 < reached < 1.5
assert ceiling[~identity].max() < metrics.fve_identity or profile != "book"

# %% mystnb={"figure": {"name": "fig-fve-blocks", "caption": "Variance explained for each block on held-out images of this run, and the linear ceiling (black). Dark bars are exact elements, light bars resampled ones. The first bar is the block that the encoder sees. No transformed block is explained as well as that one, and no linear map could do that either."}, "image": {"alt": "A bar for each element of the group with a black tick above it. The first bar is the highest; the others are nearly level, each near its tick."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(7.4, 3.4))
    figures.fve_per_block(metrics.fve_per_block, G, ax, ceiling=ceiling, exact=exact)
    report.figure("blocks", fig)

# %% [markdown]
# Can it be more than 100 %? Yes: the ceiling binds linear maps only. Drawings have a small vocabulary of shapes. A
# latent that decides which shape it is and how it lies knows the rest, and that decision is not linear. On
# photographs little is decided so clearly.
#
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
# ## L1 or TopK?
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

# %% mystnb={"figure": {"name": "fig-tradeoff", "caption": "Variance explained on held-out images of this run against L0, for ReLU with an L1 penalty and for TopK. Every point is a short training with the same number of samples. The dashed line is the linear ceiling, averaged over all blocks."}, "image": {"alt": "Two lines of points. The TopK line rises from left to right with its k. The points of ReLU with L1 form a line of their own at larger L0. A dashed horizontal line marks the ceiling."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6.4, 4))
    figures.tradeoff(curve, ax)
    ax.axhline(ceiling.mean(), color=INK, linestyle="--", linewidth=1.2,
               label="linear ceiling")
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
# under control as well, which is why it is our default. What L1 has to offer: it is the paper's choice, and it lets the
# number of active latents follow the sample.
#
# ## The trivial group
#
# For the group with one element, {prf:ref}`def-crosscoder` and {prf:ref}`def-objective` read and write one block. That
# is a sparse autoencoder. It needs no code of its own:

# %%
plain = SparseAutoencoder(d, m, activation="topk", k=8, seed=seed)
trivial = GroupCrosscoder(cyclic(1), d, m, activation="topk", k=8, seed=seed)
assert torch.equal(plain(x[:, :1]).reconstruction, trivial(x[:, :1]).reconstruction)

sae = run.coder("sae")
sae_metrics = run.evaluate(sae)
print(f"on the untransformed block, with L0 {sae_metrics.l0:.1f} and {metrics.l0:.1f}:")
print(f"  sparse autoencoder {sae_metrics.fve:.3f}   group crosscoder "
      f"{metrics.fve_identity:.3f}")

# %% [markdown]
# The autoencoder has one block to explain and can spend all its latents on it. The crosscoder has to serve
# $\lvert G\rvert$ blocks with the same latents. At equal L0, a difference is the price, on this one block, for knowing
# how features transform.
#
# ## Does it depend on the seed?
#
# A coder's start is random, and training finds one of many solutions. Two questions: does the *quality* depend on the
# seed, and do the *features*? For the second one, look for each dictionary vector's best match among those of another
# seed: first by plain cosine, then by the {term}`largest cosine over the group <similarity over the group>`, which also
# accepts a transformed copy. Chapters {doc}`4 <04_heatmaps>` and
# {doc}`5 <05_families>` use the same coders again.

# %%
starts = range(seed, seed + settings.seeds)
coders = [run.coder(seed=start) for start in starts]
scores = np.array([run.evaluate(trained).fve for trained in coders])
first, second = (trained.dictionary.detach().cpu() for trained in coders[:2])
one, other = normalised(first).flatten(1), normalised(second).flatten(1)
over_group = max_cosine(torch.cat([first, second]), G)[:m, m:]
matches = {"plain": (one @ other.T).amax(dim=1),
           "over the group": over_group.amax(dim=1)}
print(f"variance explained over {len(starts)} seeds: {mean_spread(scores, 4)}")
for name, match in matches.items():
    share = 100 * (match > 0.7).float().mean()
    print(f"best match in another seed, {name}: median cosine {match.median():.2f}, "
          f"above 0.7 for {share:.0f} %")

# %%
assert scores.std(ddof=1) < 0.03
few = all((match > 0.7).float().mean() < 0.5 for match in matches.values())
assert few or profile == "inception"
assert (matches["over the group"] >= matches["plain"] - 1e-4).all()

# %% [markdown]
# The quality hardly depends on the seed. The features do, and much: few of them come back. Some come back as a
# transformed copy, which is as good. But the directions into which a coder of this size splits the activations are to a
# large part its own choice, as has been found for language models too {cite:p}`paulo2025different`. So a single feature
# proves little. What can be claimed are statements about a whole dictionary, checked with several seeds, and this is
# how the next chapters proceed.

# %% tags=["hide-input"]
for key, value, note in (
        ("fve", metrics.fve, "variance explained, all blocks"),
        ("fve_identity", metrics.fve_identity, "untransformed block"),
        ("fve_exact", metrics.fve_exact, "exact elements"),
        ("fve_resampled", metrics.fve_resampled if not exact.all()
         else "no such element", "resampled elements"),
        ("fve_ceiling", float(ceiling[~identity].mean()),
         "linear ceiling, all blocks but the first"),
        ("ceiling_exact", float(ceiling[exact & ~identity].mean()),
         "linear ceiling, exact elements"),
        ("fve_copy", float(copied[1:].mean()), "copying the untransformed block"),
        ("ceiling_reached", float(reached),
         "crosscoder as a share of the linear ceiling, transformed blocks"),
        ("l0", metrics.l0, "active latents per sample"),
        ("dead", metrics.dead, "share of dead latents"),
        ("sae_fve", sae_metrics.fve, "sparse autoencoder on the untransformed block"),
        ("seeds_fve", float(scores.mean()), "variance explained, mean over seeds"),
        ("seeds_spread", float(scores.std(ddof=1)), "standard deviation over seeds"),
        ("seeds_match", float(matches["plain"].median()),
         "median cosine of a feature's best match in another seed"),
        ("seeds_match_group", float(matches["over the group"].median()),
         "the same, largest cosine over the group"),
        ("stretch_l1", lasso, "shrinkage of L1 at the largest λ: stretch by"),
        ("stretch_topk", topk, "shrinkage of TopK: stretch by")):
    report.number(key, value, note=note)

# %% tags=["hide-input"]
for row in curve:
    l1 = row["k"] is None
    name = f"L1, λ = {row['sparsity']:g}" if l1 else f"TopK, k = {row['k']}"
    key = f"curve_{row['activation']}_{row['sparsity'] or row['k']:g}"
    report.number(f"{key}_fve", row["fve"], note=f"variance explained, {name}")
    report.number(f"{key}_l0", row["l0"], note=f"L0, {name}")
for (scale, ratio), outcome in outcomes.items():
    note = f"activations × {scale}, {ratio} λ: variance explained"
    report.number(f"scale_{scale}_lambda_{ratio}", outcome.fve, note=note)
_ = report.save()

# %% [markdown]
# ## On InceptionV1
#
# The same chapter with the {term}`profile` `inception`: BVLC GoogLeNet's {term}`mixed3b`, the group $D_{16}$, and
# photographs. {numref}`fig-blocks-inception`, {numref}`fig-tradeoff-inception`, {numref}`fig-frequency-inception` and
# {numref}`fig-history-inception` are the counterparts of the figures above.

# %% tags=["hide-input"]
display(Markdown(report.compare(
    "fve", "fve_identity", "fve_exact", "fve_resampled", "fve_ceiling", "ceiling_exact",
    "fve_copy",
    "ceiling_reached", "l0", "dead", "sae_fve", "seeds_fve", "seeds_spread",
    "seeds_match",
    "seeds_match_group", "stretch_l1", "stretch_topk")))

# %% [markdown]
# ```{figure} ../book/reference/03_training/blocks.png
# :alt: A bar for each element of D16 with a black tick for the linear ceiling. The first bar is the highest.
# :name: fig-blocks-inception
#
# InceptionV1, mixed3b, reference run (profile `inception`): variance explained for each block on held-out
# photographs, and the linear ceiling, as in {numref}`fig-fve-blocks`. Unlike there, the linear map for the mirror $s$
# comes level with the first bar.
# ```
#
# ```{figure} ../book/reference/03_training/tradeoff.png
# :alt: Variance explained against L0 for ReLU with L1 and for TopK, with a dashed line for the linear ceiling.
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
#
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
# Take the trained L1 coder. Divide its encoder (`W_e`, `b_e`) by 10 and multiply `W_d` by 10. What happens to the two
# parts of the loss? What would have happened to a penalty $\lambda \sum_i f_i$ without the norm?
# ```
#
# ```{solution-start} ex-cheat
# :class: dropdown
# ```

# %%
honest = run.coder(activation="relu", sparsity=small, steps=steps)
cheat = run.coder(activation="relu", sparsity=small, steps=steps)
with torch.no_grad():
    cheat.W_e /= 10
    cheat.b_e /= 10
    cheat.W_d *= 10
x = held_out.rows(range(64)).to(run.device)
for name, trained in (("as trained", honest), ("rescaled", cheat)):
    parts = trained.loss(x, sparsity=small)[1]
    bare = small * trained.encode(x[:, 0]).sum(dim=1).mean()
    print(f"{name:11} reconstruction {parts['reconstruction']:.1f}   penalty "
          f"{parts['l1']:.2f}"
          f"   without norm {bare:.2f}")

# %%
before, after = (trained.loss(x, sparsity=small)[1] for trained in (honest, cheat))
assert torch.allclose(before["reconstruction"], after["reconstruction"], rtol=1e-3)
assert torch.allclose(before["l1"], after["l1"], rtol=1e-3)

# %% [markdown]
# Neither part changes. A penalty without the norm would fall to a tenth, and training would go on cheating for ever.
# The usual remedy, keeping all $\lVert W_{d,i} \rVert = 1$, forbids it. Multiplying by the norm makes it pointless.
#
# ```{solution-end}
# ```
#
# ```{exercise} Seen and unseen
# :label: ex-seen
#
# Does the coder explain the orbits that it was trained on better than the held-out ones? Use `evaluate(coder, source)`
# on the training orbits. What does the answer say about the number of images?
# ```
#
# ```{solution-start} ex-seen
# :class: dropdown
# ```

# %%
seen = evaluate(coder, train_orbits)
print(f"variance explained: seen {seen.fve:.3f}, held out {metrics.fve:.3f}")
assert seen.fve > metrics.fve - 0.05

# %% [markdown]
# Where the first number is clearly larger, the coder has begun to learn the training images by heart, and more images
# would help more than more steps. This is why the book reports held-out numbers only.
#
# ```{solution-end}
# ```
#
# ## Summary
#
# - A group crosscoder ({prf:ref}`def-crosscoder`) reads the response to an image and reconstructs the responses to all
#   its transformations. Its dictionary vectors have one block per element of the group.
# - The objective is the squared error over all blocks and the summed lengths of the latents' contributions, or TopK in
#   place of the second.
# - $\lambda$ has the unit of an activation ({prf:ref}`prop-unit`): doubled activations need twice the $\lambda$. So fix
#   the scale, and save it.
# - Judge a coder on held-out images, block by block, against the linear ceiling. A plain share of variance says
#   little.
# - L1 shrinks what it reconstructs; TopK does not.
# - A sparse autoencoder is the crosscoder of the trivial group.
#
# ## Limits
#
# The trainings of this book are short, and go over few images several times. The paper takes ten points of every image
# and goes over a large data set once. Rare features need many images, and many latents.
#
# Variance explained rewards what is large and common. It does not say whether a latent means anything, and a coder
# with a worse score may have better features. The linear ceiling is no upper bound for a nonlinear encoder. And the
# same images that teach the crosscoder how features transform also decide which features it finds.
#
# ## What next
#
# We have a dictionary with one block per transformation. {doc}`04_heatmaps` looks inside: how do a feature's blocks
# relate to each other, and what does that say about its symmetry?
