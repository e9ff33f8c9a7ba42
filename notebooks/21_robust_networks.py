# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Are robust networks more symmetric?
#
# **In the book's run: not that we could tell.** When the image turns, networks that were trained on attacks change less.
# Plain networks do so too when their drawings are blurred ({numref}`fig-robust-symmetry`). A census finds no more symmetric
# features. Attacks on plain networks neither turn with the image nor move with it by a pixel. And effective features per
# channel are fewer, but so they are in networks that were never trained.
#
# {doc}`20_superposition` found in toys that training on attacks changes {term}`superposition`.
# {cite:t}`gorton2025adversarial` say that this is so in a network too; {cite:t}`bereska2025superposition` report that
# effective features can rise. Here are networks of our own to ask. They also answer a question that neither abstract
# puts: what training on attacks does to symmetry.
#
# **You will learn**
#
# - how to measure superposition in a layer, and why the measure needs a second look,
# - which controls a statement about robust networks needs: noise, no training, and less training,
# - what is left of "more equivariant" when smoothness and invariance are taken out,
# - whether attacks turn with the image.
#
# **You need** {doc}`03_training` for sparse codes, {doc}`15_depth` for measures of equivariance, {doc}`20_superposition` for
# attacks.
#
# **Run time** a minute and a half on one CPU core.
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
from groupcc_lite.actions import PlanarAction
from groupcc_lite.base import interval_of, read_json
from groupcc_lite.figures import PALETTE
from groupcc_lite.groups import dihedral
from groupcc_lite.models import ShapeNaming, load_model, load_tiny
from groupcc_lite.runs import Run, get_robust_profile
from groupcc_lite.studies import (
    HELD_OUT,
    MARGIN,
    ROBUST_KINDS,
    RobustStudy,
    drawn,
    symmetry_of,
    turned_drawings,
    turning,
)
from groupcc_lite.superposition import L2Attack, RobustNetwork

# %%
# All networks are kin of the built-in one, and drawings their images: those given
# above are not used.
run = Run(profile, seed=seed, model="tiny-inception", layer="mixed3b")
report, settings = run.report("21_robust_networks"), get_robust_profile(profile)
report.facts["group"] = settings.group  # of the census
study = RobustStudy(settings, seed, work=run.work)
layers = settings.layers
last = layers[-1]

# %% tags=["hide-input"]
KEYS = [f"{kind}_{eps:g}" if eps else kind for kind, eps in ROBUST_KINDS]
NAMES = ["plain", *(f"attacks, ε = {eps:g}" for kind, eps in ROBUST_KINDS
                    if kind == "attack"), "noise", "untrained", "stopped"]


def note(key, values, what, digits=2, internal=False):
    """A mean over seeds with its interval; nothing if nothing was measured."""
    if not np.isfinite(values).any():
        return "–"
    return report.mean(key, values, what, digits, internal=internal)


# Compared with the reference run, at the end.
COMPARED = {"accuracy", "attacked", "attacked_loss", "psi", "density", "ceiling",
            "relative", "between", "excess", "turns", "moves"}
DIFFERENCES = COMPARED | {"attacked_1", "fve", "dimensions", "beyond", "error",
                          "copied", "invariant", "score"}


def apart(gaps):
    """Whether the interval of paired differences leaves 0 out."""
    if len(gaps) < 2 or not np.isfinite(gaps).all() or np.ptp(gaps) == 0:
        return False
    low, high = interval_of(map(float, gaps))
    return not low <= 0 <= high


def rows_of(columns, key="{}"):
    """A row for each kind; bold where a measure differs from plain networks."""
    rows = ["| network | " + " | ".join(what for _, what, _ in columns.values()) + " |",
            "|---" * (1 + len(columns)) + "|"]
    for number, (kind, name) in enumerate(zip(KEYS, NAMES, strict=True)):
        cells = []
        for column, (values, what, digits) in columns.items():
            where, gaps = key.format(column), values[number] - values[0]
            place = key.format("").strip("_")
            said = f"{what}, {place}, {name}" if place else f"{what}, {name}"
            cell = note(f"{where}_{kind}", values[number], said, digits,
                        internal=column not in COMPARED)
            if number and number < 5 and column in DIFFERENCES:
                note(f"{where}_{kind}_change", gaps, f"{said} minus plain",
                     internal=(column, number) != ("density", 3))
            cells.append(f"**{cell}**" if number and apart(gaps) else cell)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return Markdown("\n".join(rows))


# %% [markdown]
# ## The networks
#
# All are the built-in network, trained to name shapes in drawings with the same drawings, start and number of steps.
# What differs is what happens to each drawing before the network sees it: nothing (*plain*), an {term}`adversarial
# attack` within a radius $\varepsilon$, or random noise. The attack is the one of {doc}`20_superposition`, here on an
# image $I$ with pixels from 0 to 1:
#
# ```{prf:definition} Attack on an image
# :label: def-image-attack
#
# $$ A(I) = I + \arg\max_{\lVert \delta \rVert \le \varepsilon} L(I + \delta) , $$ (eq-image-attack)
#
# with $I + \delta$ within $[0, 1]$ and the cross-entropy $L$ of the right names, approached by steps along the gradient,
# each followed by a projection into the ball.
# ```
#
# There are three radii, and three seeds of each kind. Noise has the norm of the largest attacks. Two more kinds are
# references: *untrained* networks with random weights; and *stopped* ones, plain training that ended early. They tell what
# training on attacks does from what learning less, or nothing, does.
#
# What follows are means over seeds with standard deviations. A number is **bold** if it differs from that of plain
# networks: the 95 % interval of the paired differences, each from the plain network of the same seed, leaves 0 out.
# With three seeds this interval is wide, 2.5 standard deviations of the differences to each side. That rule, and what
# would count as which answer, were written down before these networks were measured (`studies.robust_findings`).
#
# Whatever radius a network was trained with, in the table all are attacked with the same one, $\varepsilon = 1/2$: the
# length of the whole change, over all pixels together.

# %%
found = study.found  # everything that is measured below, once, and kept

# %% tags=["hide-input"]
def recorded(of, what):
    """From the networks' records, by kind and seed; untrained ones have none."""
    known = [[np.nan if kind == "untrained" else read_json(
        study.weights(RobustNetwork(kind, eps, number)).with_suffix(".json"))[of][what]
        for number in settings.seeds] for kind, eps in ROBUST_KINDS]
    return np.array(known)


accuracy = recorded("held_out", "accuracy")
accuracy[-2] = study.values("accuracy")[-2]
columns = {"accuracy": (accuracy, "accuracy", 2), **{
    key: (recorded("under_attack", key), what, 2) for key, what in (
        ("clean", "of 64 drawings"), ("attacked", "of these, attack"),
        ("noisy", "of these, noise"),
        ("clean_loss", "loss"), ("attacked_loss", "loss, attack"),
        ("noisy_loss", "loss, noise"))}}
for eps in settings.radii:
    columns |= {f"{name}_{eps:g}": (study.values(f"accuracy {name} {eps:g}"),
                                    f"accuracy, {what} {eps:g}", 2)
                for name, what in (("attacked", "attack"), ("noisy", "noise"))}
display(rows_of(columns))

# %% [markdown]
# In the book's run plain networks name 97 % of shapes. Training on attacks costs accuracy: 93, 83 and 62 % are left, by
# radius. Under the attack plain networks name 61 %; training on attacks adds 7 and 2 points at the smaller radii and costs 8
# at the largest. The loss says more: 2.8 for plain networks under attack, and between 0.7 and 1.3 for all that were trained
# on attacks. Noise of the attack's norm changes nothing, and training on noise leaves the loss under attack at 2.6.
#
# So "robust" means a lower loss under attack than plain networks have. All three radii give that, and the largest does not
# give most of it. Networks of the largest radius have also *learned less*. Whatever is found in them may come from that.
# Stopped networks are there to tell: they name as badly, 66 %, and an attack brings them down to 28 %.

# %% [markdown]
# ## What an attack looks like
#
# The pictures show one drawing, the attack on it, and the attack on the drawing turned by a quarter, turned back. If
# attacks turned with the image, the last two would be equal. Move from network to network.

# %% tags=["hide-input"]
quarter = PlanarAction(dihedral(4))


def attack_on(network, scenes, eps=settings.eps):
    """What an attack of ten steps adds to drawings."""
    naming = ShapeNaming(network, scenes)
    return L2Attack(eps, 10)(naming.losses, scenes.images) - scenes.images


def show_change(ax, change, title):
    ax.imshow(change.mean(0), cmap=figures.DIVERGING, vmin=-0.03, vmax=0.03)
    ax.set(title=title)
    ax.axis("off")


scenes = drawn(4, seed=HELD_OUT + 8)
turned = turned_drawings(scenes, quarter, 1)
frames, alts = [], []
for (kind, eps), name in zip(ROBUST_KINDS[:5], NAMES, strict=False):
    tiny = load_tiny(study.weights(RobustNetwork(kind, eps, settings.seeds[0])))
    first, second = attack_on(tiny, scenes), attack_on(tiny, turned)
    back = quarter.images(second, 96, elements=[quarter.group.inverse[1]])[0]
    with figures.house_style():
        fig, axes = plt.subplots(1, 3, figsize=(6.6, 2.5))
        axes[0].imshow(scenes.images[0].movedim(0, 2))
        axes[0].set(title="drawing")
        axes[0].axis("off")
        show_change(axes[1], first[0], "attack")
        show_change(axes[2], back[0], "of the turned one")
    frames.append(fig)
    alts.append(f"Network: {name}. A drawing, the attack on it, and the attack on "
                "the turned drawing, turned back")
figures.feature_stack(frames, NAMES[:5], alts, description="network")

# %% [markdown]
# On the plain network the attack is fine grain, and the two patterns have little in common but where the shape is. On
# networks that were trained on attacks it has larger spots, which may lie on another shape when the drawing is turned.
# The last section counts how much the two agree.

# %% [markdown]
# ## Superposition in a layer
#
# In toys features are known. In a network they are those of a {term}`sparse autoencoder <sparse autoencoder (SAE)>`.
# We train one on each layer of each network, all of the same width and with the same number of active latents, and
# read two numbers on held-out drawings. One is the {term}`fraction of variance explained <fraction of variance explained
# (FVE)>`, FVE. The other counts {term}`effective features`: take each latent's share of the sum of all activations, and
# $H$ the entropy of these shares. Then $e^H$ is the number of latents if all are used alike, and less if a few do most.
# Divided by the $d$ channels it says how many features share a channel: $\psi = e^H / d$.
#
# In plain networks of the book's run $e^H$ is four fifths of all latents. In the reference run, with twice as many, it is
# three fifths. So $\psi$ compares networks at one width and says nothing by itself.
#
# The rule that was fixed before: networks trained on attacks have a higher FVE and a lower $\psi$ than plain ones, and
# noise-trained ones do not. We take that for what it should mean if training on attacks lowers superposition, as is
# reported second-hand of {cite:t}`gorton2025adversarial`. The mean over layers was chosen later. We look at three layers, from early to late: `conv2d2`, `mixed3a` and `mixed3b`.
#
# The number of active latents is fixed in training only, by a threshold. So changed drawings may activate more: it is
# reported second-hand that attacked ones do. The last two columns say how many more, for attacks and for noise of the
# same norm.

# %% tags=["hide-input"]
COLUMNS = {"fve": ("FVE", 3), "psi": ("ψ", 2), "l0_clean": ("active", 1),
           "l0_attacked": ("more by attack", 2), "l0_noisy": ("more by noise", 2)}
for layer in layers:
    display(Markdown(f"Layer {layer}:"), rows_of(
        {name: (study.values(f"{name} {layer}"), what, digits)
         for name, (what, digits) in COLUMNS.items()}, f"{{}}_{layer}"))

# %% tags=["hide-input"]
plain = {name: np.stack([study.values(f"{name} {layer}") for layer in layers])
         for name in ("fve", "psi", "l0_attacked", "l0_noisy")}
over_layers = {"fve": (plain["fve"] - plain["fve"][:, :1]).mean(0),
               "psi": (plain["psi"] / plain["psi"][:, :1] - 1).mean(0)}
for number, (kind, name) in enumerate(zip(KEYS, NAMES, strict=True)):
    if number:
        for key, what in (("fve", "FVE minus plain's"), ("psi", "ψ over plain's, - 1")):
            what = f"{what}, mean over layers, {name}"
            print(what, note(f"all_{key}_{kind}", over_layers[key][number], what, 3))
for name, what in (("l0_attacked", "attacks"), ("l0_noisy", "noise")):
    what = f"more active latents by {what}, plain networks, mean over layers"
    print(what, note(f"all_{name}_plain", plain[name][:, 0].mean(0), what, 3))
for key in ("fve", "psi"):
    for kind in ("attack_0.25", "attack_0.5", "attack_1"):
        gap = (over_layers[key][KEYS.index(kind)]
               - over_layers[key][KEYS.index("noise_1")])
        what = f"{key}, mean over layers, {kind.replace('_', ' ')} minus noise-trained"
        print(what, note(f"all_{key}_{kind}_minus_noise", gap, what, 3))
what = "active latents of plain networks, attacks minus noise"
gap = (plain["l0_attacked"] - plain["l0_noisy"])[:, 0].mean(0)
print(what, note("all_l0_gap_plain", gap, what, 3))

# %% mystnb={"figure": {"name": "fig-robust-superposition", "caption": "Differences from the plain network of the same seed, by layer; each dot is one seed, bars are means. Top: fraction of variance explained by autoencoders of equal width. Middle: effective features per channel. Bottom: the same per dimension of the activations."}, "image": {"alt": "Three dot plots. For larger attacks and untrained networks the first rises, the second falls and the third rises; noise and stopped networks stay near zero."}} tags=["hide-input"]
SHORT = ["plain", "ε = ¼", "ε = ½", "ε = 1", "noise", "untrained", "stopped"]


def dots(ax, values, title, names=SHORT):
    """One dot a seed, one colour a layer: values is (layers, kinds, seeds)."""
    for number, of_layer in enumerate(values):
        x = np.arange(len(names)) + 0.24 * (number - (len(values) - 1) / 2)
        ax.plot(x, of_layer, "o", ms=4, color=PALETTE[number], alpha=0.6)
        ax.plot(x, of_layer.mean(1), "_", ms=11, mew=2.5, color=PALETTE[number],
                label=layers[number])
    ax.axhline(0, color="0.6", lw=0.8)
    ax.set(title=title, xticks=range(len(names)), xticklabels=names)


def stacked(name):
    return np.stack([study.values(f"{name} {layer}") for layer in layers])


channels = np.array([load_model("tiny-inception", layer).channels for layer in layers])
density = stacked("psi") * channels[:, None, None] / stacked("dimensions")
with figures.house_style():
    fig, axes = plt.subplots(3, 1, figsize=(6.2, 7.4), sharex=True)
    for ax, values, title in zip(axes, (stacked("fve"), stacked("psi"), density), (
            "FVE, minus plain", "ψ, minus plain",
            "features / dim., minus plain"), strict=True):
        dots(ax, (values - values[:, :1])[:, 1:], title, SHORT[1:])
    axes[2].legend(fontsize=9.5)
    report.figure("superposition", fig)

# %% [markdown]
# In the book's run, over the three layers, training on attacks lowers $\psi$ by 6, 10 and 32 %, and all three
# intervals lie below 0; so do those of the differences from noise-trained networks. By layer, all $\psi$ leave 0 out at the
# largest radius only. FVE rises by 0.03, 0.04 and 0.09; for the smallest radius the interval holds 0, and against
# noise-trained networks it does for all. Noise-trained networks themselves differ from plain ones in neither, nor do
# stopped ones. So $\psi$ falls, as is reported of robust networks. It is not the rise that
# {cite:t}`bereska2025superposition` say is possible.
#
# But look at the untrained networks. Their $\psi$ is lower by 32 %, and their FVE higher by 0.07: as in those of the
# largest radius, without any training. A low $\psi$ is not a sign of features that were sorted out.
#
# Do attacks activate more latents than noise? At random cells three plain networks cannot show it: of 16 active ones the
# difference is 0.02, and its interval holds 0. Most of an attack is in a few cells, which random ones miss.

# %% [markdown]
# ### The denominator
#
# $\psi$ divides by the number of channels, which no training changes. But activations need not use all of it. Their
# **dimensions in use** are counted by the {term}`participation ratio` of the covariance's eigenvalues,
# $(\sum_k \lambda_k)^2 / \sum_k \lambda_k^2$: $d$ if all directions vary alike, 1 if a single one does. Divide the
# effective features $e^H$ by these instead. We chose this ratio after seeing its two parts, so take it as a hint.

# %% tags=["hide-input"]
for number, layer in enumerate(layers):
    display(Markdown(f"Layer {layer}:"), rows_of({
        "dimensions": (study.values(f"dimensions {layer}"), "dimensions in use", 1),
        "density": (density[number], "effective features per dimension in use", 1)},
        f"{{}}_{layer}"))

# %% [markdown]
# In the book's run the activations of networks of the largest radius use 4 to 6 dimensions, where those of plain ones use 9
# to 18; in two of three layers the interval of the difference leaves 0 out. Untrained ones use fewer than 4. And per
# dimension in use effective features *rise* in the last two layers: at the last from 12 to 22. So whether a robust network
# has less superposition depends on what its features are counted against. The next section shows what else takes
# dimensions away: pictures that differ as wholes.

# %% [markdown]
# ## Does a robust layer turn with the image?
#
# Two measures from earlier chapters, and what may be mistaken for what they measure.
#
# - The {term}`linear reference`: how much a linear map from the activation of the image as it is explains of those of
#   turned and mirrored images, on held-out drawings. *It is also high if nothing changes when the image turns.* So
#   beside it stands what a *copy* explains, which predicts that nothing changes; its FVE is negative if that is worse than
#   predicting the mean. There is the share that the linear map adds of what the best multiple of a copy misses. And there
#   is how much of the variance lies *between pictures*: what a whole picture has in common cannot turn.
# - The {term}`local equivariance error`: turn the image a little, read at the place to which the point has moved, and see
#   how much each channel has changed. It is 0 if every channel goes along. Channels that exchange their roles count as
#   error; the linear reference forgives that. *The error is also low if activations are smooth*: then they change little
#   wherever one reads. So we divide it by the change at the old place. A ratio near 1 means that following the point
#   gains nothing; a low one, that the activation moves with the image.
#
# "More equivariant" was to mean a lower error *and* a higher reference than in plain networks, with neither in
# noise-trained ones. The ratio was to be lower too. And there is one more rival: that robust networks have learned
# less. Stopped networks name as badly; if they are as equivariant, training on attacks is not the reason. The ratio and
# the stopped networks were added when first numbers of one layer were known, and before the study had run.

# %% tags=["hide-input"]
SYMMETRY = {"ceiling": ("linear reference", 2), "copied": ("a copy", 2),
            "beyond": ("beyond it, scaled", 2), "between": ("between pictures", 2),
            "error": ("error", 3), "unfollowed": ("point stays", 3),
            "relative": ("ratio", 2)}
symmetry = {name: stacked(name) for name in SYMMETRY if name != "beyond"}
scaled = ((1 + symmetry["copied"]) / 2).clip(0) ** 2  # the best multiple of a copy
symmetry["beyond"] = (symmetry["ceiling"] - scaled) / (1 - scaled)
for number, layer in enumerate(layers):
    display(Markdown(f"Layer {layer}:"), rows_of(
        {name: (symmetry[name][number], what, digits)
         for name, (what, digits) in SYMMETRY.items()}, f"{{}}_{layer}"))

# %% tags=["hide-input"]
side = settings.blurs[0]
for number, layer in enumerate(layers):
    for name, what in (("error", "error"), ("relative", "ratio")):
        values = study.values(f"{name} blurred {side} {layer}")[0]
        said = f"{what}, {layer}, plain networks, drawings blurred by {side} px"
        print(f"{said}: {note(f'{name}_{layer}_blurred', values, said, 3)}")
        gap = symmetry[name][number, KEYS.index("attack_1")] - values
        said = f"{what}, {layer}, attacks, ε = 1, minus blurred plain"
        cell = note(f"{name}_{layer}_attack_1_minus_blurred", gap, said, 3)
        print(said, cell, "" if apart(gap) else "(0 is within)")

# %% tags=["hide-input"]
for number, layer in enumerate(layers):
    for kind in ("attack_0.5", "attack_1"):
        row = KEYS.index(kind)
        for name in ("ceiling", "error", "relative"):
            what = f"{SYMMETRY[name][0]}, {layer}, {NAMES[row]} minus stopped"
            gap = symmetry[name][number, row] - symmetry[name][number, -1]
            cell = note(f"{name}_{layer}_{kind}_minus_stopped", gap, what, 3)
            print(what, cell, "" if apart(gap) else "(0 is within)")

# %% mystnb={"figure": {"name": "fig-robust-symmetry", "caption": "How layers turn with the image; each dot is one network, bars are means over seeds. Top: linear reference. Middle: of what the best multiple of a copy misses, the share that the linear map adds. Bottom: local equivariance error over the change at a point that stays."}, "image": {"alt": "Three dot plots over seven kinds of networks. The first rises with the radius of attacks and is nearly as high untrained, the second changes little, the third falls with the radius."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(3, 1, figsize=(6.2, 7.4), sharex=True)
    for ax, name, title in zip(axes, ("ceiling", "beyond", "relative"), (
            "linear reference", "beyond a scaled copy", "error / point stays"),
            strict=True):
        dots(ax, symmetry[name], title)
    axes[0].legend(fontsize=9.5)
    report.figure("symmetry", fig)

# %% [markdown]
# By the rule that was fixed before, networks of the largest radius are more equivariant in all three layers: in the
# book's run the error is about a tenth of that of plain networks, the reference rises by 0.26 to 0.33, and
# noise-trained networks show neither. At $\varepsilon = 1/2$ the error is lower in all layers, and the reference in
# one layer higher for sure. Now the rivals.
#
# *Smoothness.* The change at a point that stays falls nearly as much as the error. Their ratio is lower as well, in
# the first layer 0.56 instead of 0.75, in the second 0.71 instead of 0.91; in the last one, 0.77 instead of 0.95, the
# interval holds 0. But a ratio does not cancel smoothness. Blur the drawings of *plain* networks by a square of 17 pixels:
# their errors fall to those of the largest radius, and their ratios to 0.43, 0.67 and 0.81. Nothing in these networks
# follows better than before.
#
# *Having learned less.* Stopped networks have lower references and higher errors than robust ones in all layers, and
# higher ratios; all intervals leave 0 out. Stopping early at that accuracy does not do it. Having moved less from the start
# is not excluded: in dimensions, $\psi$, FVE and copy these networks lie between stopped and untrained ones, whose
# references are high too, 0.71 to 0.74.
#
# *Invariance.* What a copy explains rises from about $-0.4$ to nearly 0.5, in untrained networks as well. Much of it is that
# pictures differ as wholes: the share of variance between pictures is 0.37 instead of 0.04 in the last layer. Of what
# the best multiple of a copy misses, the linear map adds 0.46 instead of 0.39 there. It adds more in all three layers, but
# the intervals of the last two hold 0, and that of the first ends near it.
#
# What is left: layers of the largest radius change less under rotation than those of networks that have learned less. That
# is not told apart from smoothness.

# %% [markdown]
# ## Do features become symmetric?
#
# A layer could turn more predictably and still have no more symmetric features. So we train a group crosscoder
# on each network, and take the census of {doc}`07_symmetry`: how many of its features have some symmetry beyond what
# their spectra give by chance (*excess*, which may be negative), for how many it is supported and confirmed by the
# encoder, how many are invariant, and how equivariant the blocks of a feature are.

# %% tags=["hide-input"]
CENSUS = {"labelled": ("with a symmetry", 1), "by_chance": ("by chance", 1),
          "excess": ("excess", 3), "established": ("confirmed", 3),
          "invariant": ("invariant", 3), "score": ("equivariance score", 2)}
for layer in settings.census_layers:
    display(Markdown(f"Layer {layer}:"), rows_of(
        {name: (study.values(f"{name} {layer}"), what, digits)
         for name, (what, digits) in CENSUS.items()}, f"{{}}_{layer}"))

# %% [markdown]
# The census finds no more. In the book's run the excess is 0.03 for plain networks and 0.02 to 0.05 for the others that
# were trained, and no interval of a difference leaves 0 out. Less than two per cent of features are confirmed. Networks of the largest
# radius have many invariant features, 32 % instead of 2 %, but their seeds differ so much that the interval holds 0;
# that agrees with what a copy explains. Equivariance scores do not rise either. The crosscoders are small and briefly
# trained, so that only large effects could be seen.

# %% [markdown]
# ## Do attacks turn with the image?
#
# ```{prf:proposition} What an exactly symmetric network's attacks do
# :label: prop-attacks-turn
#
# Let $g$ permute the pixels of images, and let $L(gI) = L(I)$ for all $I$. Then for every best attack $\delta$
# on $I$, $g\delta$ is a best attack on $gI$, and gradients turn: $\nabla L(gI) = g \nabla L(I)$.
# ```
#
# ```{prf:proof}
# A permutation of pixels is orthogonal and keeps them within $[0, 1]$. So $\lVert g\delta \rVert = \lVert \delta \rVert$,
# and $L(gI + g\delta) = L(I + \delta)$: both have the same losses within reach. Differentiate $L(gI) = L(I)$: $g^\top \nabla L(gI) = \nabla L(I)$, and $g^\top = g^{-1}$.
# ```
#
# A quarter turn of the image, or a mirror, permutes its pixels, and the question, to name the shapes where they are, turns
# with the image. So the cosine of $A(gI) - gI$ with $g(A(I) - I)$ says how symmetric the network is *where attacks
# work*. It would be close to 1 for a symmetric network. Beside it stand two nulls, the attack on another drawing and a
# random direction, and a control: the attack on the drawing *moved by one pixel*, with the moved attack. If attacks do not
# even follow that, a small cosine says nothing about turning.

# %% tags=["hide-input"]
turns = {name: study.values(name) for name in study.names if name.startswith("turns")}
display(rows_of({
    "turns": (turns["turns"], "mean over elements", 3),
    **{name.replace("turns ", "turns_").replace(" ", "").replace("^", ""): (
        values, name.removeprefix("turns "), 3) for name, values in turns.items()
       if name not in ("turns", "turns other", "turns random")},
    "moves": (study.values("moves"), "moved by 1 px", 3),
    "turns_other": (turns["turns other"], "another drawing's", 3),
    "turns_random": (turns["turns random"], "random", 3)}))

# %% mystnb={"figure": {"name": "fig-attacks-turn", "caption": "Cosine of the attack on a turned drawing with the turned attack, mean over elements of D4; each dot is one network. Orange: with the attack on another drawing. Green: with a random direction. Pink: of the attack on a drawing moved by one pixel with the moved attack. 1 would be a symmetric network."}, "image": {"alt": "Dots over six kinds of networks. Those of turned attacks rise a little from 0 with the radius, those of moved attacks much more; both nulls stay at 0."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 3.2))
    shown = (("turns", "turned"), ("turns other", "another drawing's"),
             ("turns random", "random"), ("moves", "moved by 1 px"))
    for number, (name, label) in enumerate(shown):
        values = study.values(name)[:6]
        x = np.arange(6) + 0.18 * (number - 1.5)
        ax.plot(x, values, "o", ms=4.5, color=PALETTE[number])
        ax.plot(x[:1], values[:1, 0], "o", ms=4.5, color=PALETTE[number], label=label)
    ax.axhline(0, color="0.6", lw=0.8)
    ax.set(title="cosine of attacks", xticks=range(6),
           xticklabels=["plain", "ε = ¼", "ε = ½", "ε = 1", "noise", "untrained"])
    ax.legend()
    report.figure("turns", fig)

# %% [markdown]
# In the book's run the mean cosine is 0.02 for plain networks and 0.06, 0.11 and 0.14 for the three radii. The
# difference from plain networks leaves 0 out for the largest radius only. Noise-trained networks stay at 0.01,
# untrained ones too, and both nulls within 0.02 of 0. Attacks on plain networks do not turn with the image, but they do
# not move with it either: of a drawing moved by one pixel the cosine is 0.05. On networks trained on attacks it is 0.34 to
# 0.48 for the pixel. So attacks on these move with the image, and turn with it much less.

# %% [markdown]
# ## Your own networks
#
# A ResNet18 is the network in the abstract. Robust weights of one {cite:p}`salman2020adversarially` exist and cannot be
# fetched here. Whoever has them, and a folder of photographs, can ask the same questions:
#
# ```bash
# groupcc robust --plain plain.safetensors --robust robust.safetensors --images photographs --eps 3
# ```
#
# Both files hold state dicts of torchvision's `resnet18`, by default; `--model` and `--layers` name others. A pickled
# checkpoint becomes such a file by loading its state dict with `torch.load(..., weights_only=True)`, cutting off what
# stands before `conv1.weight` in every name, and `safetensors.torch.save_file`. No labels are needed: attacks are on
# each network's own prediction. Printed, and written as JSON, are the measures of this chapter for both networks, each
# number of an attack with that of noise of the same norm. The book tests the command with random weights only. And one
# network of each kind has no interval: what differs between two files may be a matter of seeds.

# %% [markdown]
# ## Exercises
#
# ```{exercise} Make attacks turn
# :label: ex-attacks-turn
#
# Average the plain network's loss over the eight turned and mirrored copies of an image, each with its question. By
# {prf:ref}`prop-attacks-turn` the attack on this loss should turn with the image. Does it, up to a cosine of 1?
# ```
#
# ```{solution-start} ex-attacks-turn
# :class: dropdown
# ```

# %%
tiny = load_tiny(study.weights(RobustNetwork("plain", 0.0, settings.seeds[0])))
few = drawn(2, seed=HELD_OUT)
questions = [ShapeNaming(tiny, turned_drawings(few, quarter, g)) for g in range(8)]


def averaged(x):
    turned = quarter.images(x, 96)
    return sum(naming.losses(part) for naming, part in zip(
        questions, turned, strict=True)) / 8


def moved(g):
    """The attack on gI; its loss turns the image back first."""
    x = quarter.images(few.images, 96, elements=[g])[0]
    back = int(quarter.group.inverse[g])
    return L2Attack(0.5, 10)(
        lambda y: averaged(quarter.images(y, 96, elements=[back])[0]), x) - x


print("own {:.3f}, another's {:.3f}, random {:.3f}".format(
    *(float(part.mean()) for part in turning(moved, [1, 4], seed=HELD_OUT))))

# %% [markdown]
# The loss of a turned image is that of the image by construction, so gradients turn exactly. What keeps the cosine
# below 1 is the start of the attack, a little noise that does not turn: different starts end at different points.
#
# ```{solution-end}
# ```
#
# ```{exercise} Smooth is not equivariant
# :label: ex-smooth
#
# Blur the drawings before the plain network sees them. Which of the six columns of the symmetry table change, and does
# the ratio say that the network has become more equivariant?
# ```
#
# ```{solution-start} ex-smooth
# :class: dropdown
# ```

# %%
model = load_model("tiny-inception", last,
                   weights=study.weights(RobustNetwork("plain", 0.0, 0)))
sharp, large = drawn(48, seed=HELD_OUT + 1).images, drawn(6, 96 + MARGIN,
                                                          HELD_OUT + 2).images
for side in (1, 5, 13):
    blurred = [torch.nn.functional.avg_pool2d(x, side, 1, side // 2)
               for x in (sharp, large)]
    turns_by = symmetry_of(model, *blurred)
    print(f"blur {side}: reference {turns_by.ceiling:.2f}, copy {turns_by.copied:.2f},",
          f"error {turns_by.error:.3f}, ratio {turns_by.relative:.2f}")

# %% [markdown]
# The error falls, the copy explains more and the ratio falls, with the network left as it was. So neither a lower error nor
# a lower ratio is following by itself.
#
# ```{solution-end}
# ```

# %% tags=["remove-input"]
_ = report.save()

# %% [markdown]
# ## Summary
#
# - Training on attacks lowers effective features per channel; training on noise, and less training, do not. No training at
#   all does.
# - Per dimension that activations use, effective features rise in two of three layers. That count depends on how much whole
#   pictures differ.
# - Layers of networks of the largest radius change less when the image turns. It is not told apart from smoothness: blurring
#   does the same to plain networks.
# - A small census finds no more symmetric features.
# - Attacks on plain networks neither turn with the image nor move with it by a pixel; those on networks trained on attacks
#   move with it, and turn a little.

# %% [markdown]
# ## Limits
#
# One small architecture on drawings, whose training turns and mirrors shapes by itself; three seeds; one kind of attack.
# Intervals are over networks: other drawings or other autoencoders may differ by more. An interval that holds 0 says that
# three seeds cannot tell, not that there is no effect, and among many that leave 0 out a few do so by chance; of
# noise-trained networks hardly any do. Networks of different radii differ in accuracy too, and stopped networks match that
# of the largest radius only roughly. The mean over layers, stopped networks, the ratio of errors, what is beyond a copy,
# features per dimension in use, blurred drawings, the share between pictures and moved drawings were chosen after first
# numbers were seen. Turned points are read at the nearest cell, up to two pixels off. Latents of autoencoders are not the
# network's features. Of the two papers we know the abstracts.

# %% [markdown]
# ## What next
#
# {doc}`15_depth` has the same measures of symmetry for the layers of larger networks. {doc}`../book/related` has
# other work on superposition.

# %% [markdown]
# ## The reference run
#
# The same networks with more drawings, autoencoders and crosscoders that are wider and trained for longer, and all
# elements of $D_4$. Most of what is said above stands; some intervals are narrower. $\psi$ falls by 12, 18 and 42 %, FVE
# rises by 0.04, 0.06 and 0.12; all intervals leave 0 out, those of the differences from noise-trained networks too.
# Untrained networks have half of the $\psi$. Per dimension in use, effective features of the last layer rise from 19 to 32
# at the largest radius, and show no clear change at the smaller ones.
#
# The ratio of errors is lower for all radii in all layers. From that of blurred plain networks, whose error is the same, the
# ratio of the largest radius differs in no layer for sure. Of what the best multiple of a copy misses, the linear map adds
# 0.10 more in the last layer and 0.12 more in the first, and these two intervals leave 0 out: a hint of more than
# invariance, which is weaker in the book's run.
#
# Attacks turn with the image for all radii, with cosines of 0.08, 0.12 and 0.18; moved by a pixel they have 0.26, 0.36 and
# 0.40, and those on plain networks 0.04. Attacks activate no more latents of plain networks than noise does, and there is no
# more excess of symmetric features. Under attacks of norm 1 networks of the largest radius name fewer shapes than plain
# ones, 41 instead of 53 %: what they gained, under attacks of half that norm, is loss. Open the cell for the numbers side
# by side.

# %% tags=["hide-cell"]
display(Markdown(report.compare()))
