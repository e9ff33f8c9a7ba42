# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One matrix that turns
#
# **In the reference run** one matrix turns the activations of two small networks by a quarter turn, and its powers by
# two and three quarters ({numref}`fig-powers-reference`). Found by gradient descent or by least squares, it misses a
# hundredth of the variance or less. For the convolutional network it does so before any training.
#
# ```{figure} ../book/reference/11_one_matrix/powers.png
# :alt: Two panels of lines on a logarithmic axis over the powers of M. On the left least squares lies lowest and Adam next; on the right Adam lies lowest. The identity lies far above.
# :name: fig-powers-reference
#
# Reference run, three seeds: the share of the variance that powers of one matrix miss, by how the matrix was found. What
# misses nothing is off the axis: least squares on the CNN, trained or not.
# ```
#
# **You will learn**
#
# - another way to bring symmetry into a dictionary: an *invariant* autoencoder and one matrix $M$ that turns,
# - how well a single matrix predicts the response to a turned image, and what $R^2$ hides,
# - that a closed form finds the matrix at once, where an optimiser needs thousands of steps,
# - how to watch it turn,
# - that a network without any training can pass the same test, and why.
#
# **You need** {doc}`01_groups` for orbits and generators, and {doc}`03_training` for sparse autoencoders and variance
# explained.
#
# **Run time** about a minute and a half on one CPU core, most of it for training two small networks. What is trained
# is kept, and the next two chapters use it.
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
images = None  # not used in this chapter
weights = None  # not used in this chapter

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown, display

from groupcc_lite import figures
from groupcc_lite.coders import least_squares, r2
from groupcc_lite.models import activations
from groupcc_lite.orbits import TensorOrbits
from groupcc_lite.runs import SceneRun, additivity, matrix_rows, mean_spread, record
from groupcc_lite.stimuli import SCENE_SHAPES, random_scenes, scene_orbits, tile

# %%
study = SceneRun(profile, seed=seed)
report = study.report("11_one_matrix")
G, bases = study.group, study.profile.base_models
train_scenes, test_scenes = study.scenes("train"), study.scenes("held-out")
print(study)

# %% [markdown]
# ## Another way to the same end
#
# A group {term}`crosscoder` ({prf:ref}`def-crosscoder`) stores what every feature does under every transformation:
# $\lvert G\rvert$ blocks per {term}`dictionary` vector. Erdogan and Lucic {cite:p}`erdogan2025equivariant` store the
# transformation instead, once for all features. Let $\psi(x) \in \mathbb{R}^d$ be a network's
# {term}`activations <activation>` for the whole image $x$, and let $g$ generate the group, here the quarter turn. One
# image of every {term}`orbit` is declared **canonical**.
#
# ```{prf:definition} Equivariant SAE
# :label: def-equivariant-sae
#
# An **equivariant SAE** has two parts, trained for canonical images $x$ and $p = 1, \dots, \lvert G\rvert$:
#
# - an **invariant {term}`sparse autoencoder <sparse autoencoder (SAE)>`**, an encoder $E$ that leaves few numbers
#   different from zero, and an affine decoder $D$. It maps the activations of any image of an orbit to those of the
#   canonical one, $D(E(\psi(g^p x))) \approx \psi(x)$.
# - a **transformation matrix** $M \in \mathbb{R}^{d \times d}$, which turns activations,
#   $M^p\,\psi(x) \approx \psi(g^p x)$.
#
# It reconstructs the activations of any image by
#
# $$ \hat\psi(g^p x) = M^p\, D(E(\psi(g^p x))) . $$ (eq-equivariant)
# ```
#
# The two parts are learned independently of each other. The {term}`latents <latent>` say *what* is in the image, and
# $p$ says how it lies. The number of parameters does not grow with the group. The price: one linear map has to do for
# all features.

# %% [markdown]
# ## Scenes
#
# The paper's images are simple enough to know everything about them. Each has 64 × 64 pixels and four quadrants, and in
# each quadrant stands one of the eight shapes of {numref}`fig-scene-shapes`. Six of them look different in all four
# orientations, two repeat after half a turn. A turn of the image moves the quadrants and turns the shapes.

# %% mystnb={"figure": {"name": "fig-scene-shapes", "caption": "The eight shapes in the orientations that differ."}, "image": {"alt": "Eight small white shapes on black, each shown in up to four quarter turns: bar, diagonal, corner, tee, cup, triangle, half-disc, arrow."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(7.4, 2.4))
    pairs = [(s, o) for s, shape in enumerate(SCENE_SHAPES)
             for o in range(shape.orientations)]
    titles = [SCENE_SHAPES[s].name if o == 0 else "" for s, o in pairs]
    tiles = torch.stack([tile(s, o) for s, o in pairs])
    figures.feature_grid(tiles, ax, titles, columns=14)
    report.figure("shapes", fig)

# %% [markdown]
# Which image of an orbit is the canonical one? The paper says that there is one and not which. We read it like this:
# canonical scenes stand **upright**, all their shapes in the base orientation, and other orientations come from turning
# the whole image ({numref}`fig-scene-orbits`). That makes the representative recognisable, as the {term}`invariant`
# autoencoder needs, and it agrees with the shares of negative answers that the paper prints ({doc}`12_probes`). There
# are $8^4$ upright scenes and, because a few of them turn into each other, 4,090 orbits. A quarter of the scenes is
# held out: nothing here is trained on any image of their orbits.

# %%
codes = [part.orbit_codes(G) for part in (train_scenes, test_scenes)]
orbits_of_scenes = len(torch.cat(codes).unique())
print(f"{orbits_of_scenes:,} orbits, one upright scene of each: "
      f"{len(train_scenes):,} to train on, {len(test_scenes):,} held out")
assert orbits_of_scenes == len(train_scenes) + len(test_scenes) == 4090
assert len(SCENE_SHAPES) == 8 and not set(codes[0].tolist()) & set(codes[1].tolist())

# %% mystnb={"figure": {"name": "fig-scene-orbits", "caption": "Three scenes, one per row: the canonical image, then turned by one, two and three quarter turns."}, "image": {"alt": "Three rows of four square images. Each image holds four white shapes on black, one per quadrant; from left to right the image turns by ninety degrees."}} tags=["hide-input"]
sample = train_scenes[[5, 1200, 2400]]
orbit = scene_orbits(sample.images(), G)
# turning the picture or the description: the same
assert torch.equal(orbit[:, 3], sample.act(G, 3).images())
with figures.house_style():
    fig, ax = plt.subplots(figsize=(5.2, 4))
    figures.feature_grid(orbit[:, :, 0].flatten(0, 1), ax, columns=4)
    report.figure("orbits", fig)

# %% [markdown]
# ## Two networks to explain
#
# The networks $\psi$ are autoencoders that squeeze an image through 256 numbers: an **MLP**, which knows nothing of
# images, and a **CNN**. We train them as the paper does, on images turned at random, and read the 256 numbers before
# the encoder's last ReLU. Nothing asks them to be equivariant. {numref}`fig-base-models` shows what they make of scenes
# that they have not seen.

# %%
@torch.no_grad()
def rebuilt(base, images):
    """What a base model makes of images (b, h, w)."""
    model = study.autoencoder(base)
    parts = [model(part[:, None].to(study.device)) for part in images.split(256)]
    return torch.cat(parts).cpu()[:, 0]


images_held_out = scene_orbits(test_scenes.images(), G)[:, :, 0]
variance = float((images_held_out - images_held_out.mean((0, 1))).square().mean())
for base in bases:
    turned = images_held_out.flatten(0, 1)
    error = float((rebuilt(base, turned) - turned).square().mean())
    parameters = sum(p.numel() for p in study.autoencoder(base).parameters())
    print(f"{base}: {parameters:,} parameters, held-out pixel error {error:.5f}, "
          f"{100 * (1 - error / variance):.1f} % of the variance explained")
    assert error < variance / 2

# %% mystnb={"figure": {"name": "fig-base-models", "caption": "Held-out scenes, turned at random (first row), and what each base model makes of them."}, "image": {"alt": "Rows of small square images: the originals, then reconstructions by each network, in which the shapes can be recognised."}} tags=["hide-input"]
scenes = torch.arange(0, len(images_held_out), len(images_held_out) // 8)[:8]
chosen = images_held_out[scenes, torch.arange(8) % G.order]
rows = [chosen, *(rebuilt(base, chosen).clamp(0, 1) for base in bases)]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(7.4, 1.0 * len(rows)))
    figures.feature_grid(torch.cat(rows), ax, columns=8)
    report.figure("base_models", fig)

# %% [markdown]
# ## One matrix
#
# The first claim of the paper: a single matrix explains over 98 % of the variance of the turned activations. The paper
# finds it with Adam, starting at $M = I$.
#
# ```{prf:definition} Loss of the transformation matrix
# :label: def-transform-loss
#
# The loss of a transformation matrix $M$ is
#
# $$ L_M = \mathbb{E}_{x,\,p}\; \lVert \psi(g^p x) - M^p \psi(x) \rVert^2 , $$ (eq-transform)
#
# the mean over canonical images $x$ and over the powers $p = 1, \dots, \lvert G\rvert$.
# ```
#
# The power $p = \lvert G\rvert$ belongs to it: after four quarter turns $M$ must give $\psi(x)$ back.
#
# A share of variance, $R^2$, is one minus the squared error divided by a total. But which total?
#
# ```{prf:definition} R² about zero and about the mean
# :label: def-r2
#
# For each power $p$, let $\bar\psi_p$ be the mean of $\psi(g^p x)$ over {term}`held-out <held-out images>` canonical
# scenes, and $Q_p = \sum \lVert \psi(g^p x) - M^p \psi(x) \rVert^2$ the squared error of $M$. With sums over the same
# scenes,
#
# $$ R^2_0(p) = 1 - \frac{Q_p}{\sum \lVert \psi(g^p x) \rVert^2} , $$ (eq-r2-zero)
#
# $$ R^2_{\mathrm{mean}}(p) = 1 - \frac{Q_p}{\sum \lVert \psi(g^p x) - \bar\psi_p \rVert^2} . $$ (eq-r2)
# ```
#
# $R^2_{\mathrm{mean}}$ is the fraction of variance explained of {prf:ref}`def-fve`. The paper does not say which of the
# two it reports. We report both, because they can be far apart:
#
# ```{prf:proposition} About zero, a common mean counts as explained
# :label: prop-r2
#
# Let $v_p = \sum \lVert \psi(g^p x) - \bar\psi_p \rVert^2 / \sum \lVert \psi(g^p x) \rVert^2$ be the share of the
# squared length that varies from scene to scene. Then
#
# $$ 1 - R^2_0(p) = v_p\, \bigl( 1 - R^2_{\mathrm{mean}}(p) \bigr) , $$ (eq-r2-ratio)
#
# and $R^2_0(p) \ge R^2_{\mathrm{mean}}(p)$.
# ```
#
# *Because* both have the same numerator, and $v_p$ is the quotient of their denominators. It is at most 1, since the
# mean is the point from which squared distances are smallest.
#
# The paper calls closed forms impractical. For $M$ there is a simple one. If $M$ turns by a quarter, it has to do so
# from every orientation to the next. So let $y$ run through all images of all orbits, and ask for
# $M \psi(y) = \psi(g y)$.
#
# ```{prf:proposition} Two closed forms
# :label: prop-closed-forms
#
# Let $S = \mathbb{E}_y\, \psi(y)\psi(y)^\top$ be invertible, and let
# $C = \mathbb{E}_y\, \psi(gy)\psi(y)^\top$ have the singular value decomposition $U \Sigma V^\top$. The error
# $\mathbb{E}_y \lVert \psi(gy) - M\psi(y) \rVert^2$ is smallest
#
# - among all matrices for $M = C S^{-1}$ (**least squares**),
# - among orthogonal matrices for $M = U V^\top$ (**Procrustes**).
# ```
#
# *Because* the error is a convex function of $M$, and its derivative $2(MS - C)$ vanishes at $CS^{-1}$. An orthogonal
# $M$ leaves lengths as they are, so the error is smallest where
# $\operatorname{tr}(M^\top C) = \sum_i \Sigma_{ii}\, (U^\top M V)_{ii}$ is largest. No entry of an orthogonal matrix
# exceeds 1, and for $M = UV^\top$ all of these are 1. (The code adds a tiny multiple of $I$ to $S$ and to $C$. Where
# activations do not vary, that leaves $M = I$.)

# %%
METHODS = ("identity", "adam", "least squares", "procrustes")
fits, seconds = {(base, method): [] for base in bases for method in METHODS}, {}
for base, method in fits:
    for start in study.seeds:
        study.activations(base, "train", start)  # so that only the fit itself is timed
        began = time.perf_counter()
        M = study.transform(base, method, start)
        seconds[base, method] = time.perf_counter() - began
        x = study.activations(base, "held-out", start)
        fits[base, method].append({about: r2(M, x, about=about)
                                   for about in ("zero", "mean")})
    if method == "adam":  # trained now or before
        seconds[base, method] = study.transform_history(base, start)[-1]["seconds"]

# %%
columns = ["base model", "method", "R² about zero", "R² about the mean", "worst power",
           "seconds"]
rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
for (base, method), mine in fits.items():
    zero, mean = (mean_spread([float(f[about].mean()) for f in mine], 4)
                  for about in ("zero", "mean"))
    worst = min(float(f["mean"].min()) for f in mine)
    rows.append(f"| {base} | {method} | {zero} | {mean} | {worst:.4f} | "
                f"{seconds[base, method]:.1f} |")
display(Markdown("\n".join(rows)))

# %%
varies = {}  # the share v of the proposition
for base in bases:
    x = study.activations(base, "held-out")
    spread, length = (x - x.mean(0)).square().sum((0, 2)), x.square().sum((0, 2))
    v = varies[base] = (spread / length).float()
    print(f"{base}: {100 * v.mean():.1f} % of the squared length of the activations "
          "varies between scenes")
    for method in METHODS:
        zero, mean = (fits[base, method][0][about] for about in ("zero", "mean"))
        assert torch.allclose(1 - zero, v * (1 - mean), atol=1e-4)
        assert (zero >= mean - 1e-4).all()

# %% [markdown]
# The claim needs a null: what does one matrix explain of a network that has learned nothing? Give both networks random
# weights, those that their training begins with, and fit $M$ by least squares on the same scenes. (1,024 scenes to fit
# on, 512 held-out ones. The last column is explained below.)

# %%
nulls = {(base, kind): [additivity(study, base, start, trained=kind == "trained")
                        for start in study.seeds]
         for base in bases for kind in ("trained", "untrained")}
columns = ["base model", "weights", "R² about the mean", "a sum over quadrants"]
rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
for (base, kind), mine in nulls.items():
    shares = (mean_spread([getattr(null, what) for null in mine], 4)
              for what in ("r2", "additive"))
    rows.append(f"| {base} | {kind} | {' | '.join(shares)} |")
display(Markdown("\n".join(rows)))

# %% mystnb={"figure": {"name": "fig-transform-powers", "caption": "What each power of M leaves unexplained on held-out scenes of this run: 1 - R² about the mean, logarithmic, the mean over seeds. 1 is as good as the mean activations. Less than 1e-7, the precision of the numbers, has no mark: the identity's last power, which is right by definition, and on the CNN all of least squares, trained or untrained."}, "image": {"alt": "One panel per base model with a line per method over the powers one to four. The identity lies highest, above one. On the MLP the untrained network lies far above least squares; on the CNN least squares has no marks at all."}} tags=["hide-input"]
powers = list(range(1, G.order)) + [0]  # last p = |G|, kept at the identity's place
names = [f"$M^{p}$" for p in range(1, G.order + 1)]
with figures.house_style():
    fig, axes = plt.subplots(1, len(bases), figsize=(3.7 * len(bases), 3.2),
                             sharey=True, squeeze=False)
    for base, ax in zip(bases, axes[0], strict=True):
        curves = {}
        for method in METHODS:
            left = [np.mean([1 - float(f["mean"][p]) for f in fits[base, method]])
                    for p in powers]
            curves[method] = [v if v > 1e-7 else np.nan for v in left]
        left = [np.mean([1 - null.powers[p] for null in nulls[base, "untrained"]])
                for p in powers]
        curves["untrained, least squares"] = [v if v > 1e-7 else np.nan for v in left]
        figures.power_curves(curves, ax, labels=names, legend=False, ylabel="")
        ax.set(title=base.upper(), yscale="log")
    axes[0, 0].set_ylabel("$1 - R^2$ about the mean")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower center",
               bbox_to_anchor=(0.5, 1.0), ncols=3)
    report.figure("powers", fig)

# %% [markdown]
# Four things to take from this and from {numref}`fig-transform-powers`.
#
# - **Without training.** One matrix turns the activations of the *untrained* CNN without any error, and those of the
#   untrained MLP by four fifths or more. On the CNN the claim says nothing about learning. On the MLP training adds
#   what is left.
# - **About what?** About zero, even $M = I$ looks fine, for the activations of all images have a large mean in common
#   ({prf:ref}`prop-r2`). About the mean it is worse than predicting the mean. The baselines that the paper prints, 0.49
#   (MLP) and 0.05 (CNN), lie between our two, in the same order. Ask for the total whenever somebody quotes an $R^2$.
# - **The closed form wins, on these activations.** Least squares looks at single steps only, and yet it reaches more
#   than Adam, for all powers and on both networks, in a fraction of the time. Adam starts at the identity and has to
#   find its way in a badly scaled landscape: the common mean is much longer than everything that varies. But an
#   equivariant SAE lets $M$ turn a *reconstruction*, which has errors. There the order is another one
#   ({doc}`13_relations`).
# - **Orthogonal is too narrow.** A network may stretch what it sees in one orientation, and both do.
#
# ### Watch it turn
#
# Numbers hide what is going on, and here we can look: the base model has a decoder, so activations can be made visible.
# Take held-out scenes, encode them *once*, as they stand. Multiply by the least-squares $M$, again and again, and
# decode after every step. Nothing but the first activations enters.

# %%
@torch.no_grad()
def walk(base, method="least squares"):
    """Pictures decoded from psi(g^p x) and from M^p psi(x), p = 0 .. |G|, for all
    held-out scenes: (p, scene, h, w)."""
    model, x = study.autoencoder(base), study.activations(base, "held-out")
    M, y, seen, predicted = study.transform(base, method).cpu().M[0], x[:, 0], [], []
    for p in range(G.order + 1):
        for pictures, activity in ((seen, x[:, p % G.order]), (predicted, y)):
            pictures.append(model.decode(activity.to(study.device)).cpu()[:, 0])
        y = y @ M.T
    return torch.stack(seen), torch.stack(predicted)

# %%
seen, predicted = walk(bases[-1])
spread = (seen - seen.mean(1, keepdim=True)).square().mean((1, 2, 3))
unlike = (predicted - seen).square().mean((1, 2, 3)) / spread
print("difference between the two pictures, as a share of the pixels' variance")
print("\n".join(f"  p = {p}: {float(share):.1e}" for p, share in enumerate(unlike)))
# M = I would leave the picture as it is at p = 0
unmoved = (seen[:1] - seen[1:-1]).square().mean((1, 2, 3)) / spread[1:-1]
print(f"for M = I {float(unmoved.min()):.2f} or more, until the image is back")
assert unlike[0] < 1e-6 and unlike.max() < unmoved.min() / 2

# %% tags=["hide-input"]
rows_shown = [3, 3 + len(test_scenes) // 2]


def step_card(p):
    fig, axes = plt.subplots(len(rows_shown), 4, figsize=(5.4, 3.0))
    titles = (f"$g^{p}x$", f"from $\\psi(g^{p}x)$", f"from $M^{p}\\psi(x)$",
              "difference")
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=11, loc="center")
    for line, scene in zip(axes, rows_shown, strict=True):
        shown = images_held_out[scene, p % G.order], seen[p, scene], predicted[p, scene]
        for ax, picture in zip(line, shown, strict=False):
            ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
        line[3].imshow(shown[2] - shown[1], cmap=figures.DIVERGING, vmin=-0.5,
                       vmax=0.5)
        for ax in line:
            ax.axis("off")
    return fig


DESCRIBED = ("Two scenes, number of quarter turns: {p}. The image, the picture decoded "
             "from its own activations, the picture decoded from M to the power {p} "
             "applied to the activations of the upright scene, and the pictures' "
             "difference.")
steps = range(G.order + 1)
with figures.house_style():
    frames = [figures.png(step_card(p)) for p in steps]
figures.feature_stack(frames, [f"p = {p}" for p in steps],
                      [DESCRIBED.format(p=p) for p in steps],
                      description="quarter turns", start=-1, plays=True)

# %% [markdown]
# First column: the image, turned. Second: what the base model makes of it. Third: what it makes of $M^p\psi(x)$, which
# has never seen the turned image. Fourth: third minus second, orange where $M$ adds light and blue where it takes light
# away. At $p = 4$ the scene is upright again, and $M$ has been applied four times. The difference that is left there is
# the difference between $M^4$ and $I$.
#
# ### Why is it so easy?
#
# Because the task is small, in two ways. The first: scenes of one orientation have few dimensions.
#
# ```{prf:proposition} Scenes of one orientation lie in few dimensions
# :label: prop-few-dimensions
#
# All upright scenes, and all scenes turned by the same $g^p$, lie in an affine subspace of pixel space with at most
# $4 \cdot 7 = 28$ dimensions.
# ```
#
# *Because* an upright scene is the sum of four tiles, one for each quadrant, each chosen from eight. Eight points lie
# in an affine subspace with at most 7 dimensions, and the four add up. A turn permutes the pixels, so it maps such a
# subspace to another one. The four orientations together have room in 256:

# %%
for base in bases:
    x = study.activations(base, "train")
    for name, rows in (("canonical images", x[:, 0]),
                       ("all four orientations", x.flatten(0, 1))):
        power = torch.linalg.svdvals((rows - rows.mean(0)).double()).square()
        needed = int((power.cumsum(0) / power.sum() < 0.999).sum()) + 1
        print(f"{base}: {needed:3} dimensions hold 99.9 % of the variance of the "
              f"activations of {name}")
some = train_scenes[list(range(0, len(train_scenes), 15))]
pixels = some.images().flatten(1).double()
rank = int(torch.linalg.matrix_rank(pixels - pixels.mean(0)))
print(f"pixels of {len(pixels)} upright scenes: {rank} dimensions hold everything")
assert rank <= 28

# %% [markdown]
# The second: a network need not mix the quadrants. Say of an image which of the eight shapes stands in which of four
# quadrants in which of its two or four orientations: $(6 \cdot 4 + 2 \cdot 2) \cdot 4 = 112$ yes-or-no **tokens**
# $t(x)$, four of them yes.
#
# ```{prf:proposition} Quadrants that do not interact
# :label: prop-additive
#
# Let $\psi(x)$ be a sum of four terms, each of which depends on one quadrant of $x$. Then $\psi(x) = V t(x)$ with a
# matrix $V \in \mathbb{R}^{d \times 112}$. If $V$ is injective on the span of all $t(y)$, there is an $M$ with
# $M \psi(y) = \psi(gy)$ for all images $y$ of all orbits.
# ```
#
# *Because* the term of a quadrant takes one value for each shape and orientation that can stand there, and these values
# are the columns of $V$. A turn moves shapes to other quadrants and orientations, so $t(gy) = P\, t(y)$ with a
# permutation matrix $P$, which maps the span $T$ of all $t(y)$ to itself. Let $W$ undo $V$ on $T$, and put
# $M = V P W$: then $M \psi(y) = V P W V t(y) = V P\, t(y) = V t(gy) = \psi(gy)$. Nothing has to be learned for it.
#
# The CNN is such a sum, whatever its weights. A cell after its two convolutions sees 7 × 7 pixels, and shapes keep three
# pixels away from the edge of their quadrant, so no cell before the last nonlinearity sees two shapes. What follows is
# linear. With random weights $V$ is injective too: 112 vectors in 256 dimensions. The MLP sees all quadrants at once.
# Without training a sum over quadrants explains nine tenths of its activations, the last column of the table, and $M$
# explains less. Training makes it a sum, nearly. That is what it learns, and it is less than equivariance: no unit
# needs to know that a cup at the top right, turned, is a cup at the top left.

# %%
if "cnn" in bases:
    for kind in ("trained", "untrained"):
        for null in nulls["cnn", kind]:
            assert min(null.powers) > 0.999 and null.additive > 0.99999
if profile != "smoke":
    worst = min(null.additive for null in nulls["mlp", "trained"])
    assert worst > max(null.additive for null in nulls["mlp", "untrained"])

# %% [markdown]
# ## Exercises
#
# ```{exercise} What does 0.98 say?
# :label: ex-about-zero
#
# Somebody reports $R^2_0 = 0.98$ for a layer in which 2 % of the squared length of the activations varies between
# images. What is $R^2_{\mathrm{mean}}$? And what would the same 0.98 mean for the two networks above?
# ```
#
# ```{solution-start} ex-about-zero
# :class: dropdown
# ```

# %%
for name, v in [("2 % vary", 0.02)] + [(b, float(varies[b].mean())) for b in bases]:
    print(f"{name}: R² about the mean {1 - (1 - 0.98) / v:.2f}")

# %% [markdown]
# By {eq}`eq-r2-ratio`, $1 - 0.98 = 0.02\,(1 - R^2_{\mathrm{mean}})$, so $R^2_{\mathrm{mean}} = 0$: the prediction is no
# better than the mean activations. The smaller the share that varies, the less an $R^2$ about zero says. Of the two
# networks' squared length more varies, so there the same 0.98 leaves something explained about the mean, as printed
# above: more for the CNN.
#
# ```{solution-end}
# ```
#
# ```{exercise} No upright image
# :label: ex-loose-scenes
#
# Suppose that every shape has an orientation of its own, and the canonical image of an orbit is whichever was drawn
# first. Is there still a matrix $M$? Is there still an invariant autoencoder that works on held-out scenes? Answer
# before you compute: the matrix can be tested with `random_scenes`.
# ```
#
# ```{solution-start} ex-loose-scenes
# :class: dropdown
# ```

# %%
loose = activations(study.autoencoder(bases[0]), random_scenes(2000, seed=seed + 1), G)
fitted = least_squares(TensorOrbits(loose[:1500], G).in_order(), G)
upright = study.transform(bases[0], "least squares").cpu()
for name, M in (("upright", upright), ("loose", fitted)):
    explained = float(r2(M, loose[1500:], about="mean").mean())
    print(f"M fitted on {name} scenes: R² about the mean on loose ones {explained:.3f}")

# %% [markdown]
# $M$ does not care which image is canonical: it maps each image of the orbit to the next. So a matrix fitted on loose
# scenes predicts loose scenes. The invariant autoencoder does care. For a new orbit nothing in an image says which of
# the four was drawn first, so the best it can do is to reconstruct the mean of the four. The whole method rests on a
# {term}`canonical image` that can be recognised.
#
# ```{solution-end}
# ```

# %% tags=["remove-input"]
record(report, matrix_rows(fits, seconds, nulls))
_ = report.save()

# %% [markdown]
# ## Summary
#
# - An equivariant SAE ({prf:ref}`def-equivariant-sae`) has an invariant autoencoder and one matrix $M$ that turns what
#   it writes. $M$ turns the activations of both base models almost perfectly on scenes that it has not seen. Adam gets
#   there slowly; one least-squares step gets further at once ({prf:ref}`prop-closed-forms`).
# - It turns those of an untrained CNN perfectly, and those of an untrained MLP by four fifths. What lets one matrix
#   turn is that quadrants do not interact ({prf:ref}`prop-additive`), which the CNN's architecture gives and the MLP
#   learns.
# - An $R^2$ needs its total ({prf:ref}`def-r2`): about zero, even the identity looks good.
# - Scenes of one orientation lie in few dimensions ({prf:ref}`prop-few-dimensions`), so the task is an easy one.

# %% [markdown]
# ## Limits
#
# Scenes are small: four choices out of eight, no clutter, no noise, one object size. How the paper chose its canonical
# images is our reading.

# %% [markdown]
# ## What next
#
# {doc}`12_probes` takes the other half, the invariant autoencoder, and asks it questions. {doc}`13_relations` asks of
# $M$ what a representation of the group would give: $M^4 = I$, a second generator, and a real network's layer.

# %% [markdown]
# ## The reference run

# %% tags=["hide-input"]
display(Markdown(report.compare(digits=4)))

# %% [markdown]
# This chapter's {term}`reference run` is the same code at the settings of the profile `inception`: both base models
# trained a quarter longer and with three seeds, and $M$ by the paper's schedule.
