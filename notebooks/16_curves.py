# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The missing curve detectors
#
# **On {term}`InceptionV1`** a quarter of the 480 neurons of `mixed3b` are curve detectors by our definition, and the
# largest gap between their directions, all kinds of curves together, is 18 degrees. As many latents of an autoencoder leave
# none that is clearly smaller. What is missing are copies. Symmetry says: if a unit looks for a curve, there should be one
# that looks for the turned curve. For three of four strong detectors of an autoencoder, some neuron answers to photographs
# alike and has the same direction by drawn arcs. For a turned copy, one in four. Other latents and the crosscoder hold no
# more of them, and activations that were picked at random as many. {numref}`fig-curves-inception` shows the fullest of 64
# families.
#
# ```{figure} ../book/reference/16_curves/family.png
# :alt: A picture of a curve, and three rings of pictures of curves around it, each turned as its place asks; some are empty.
# :name: fig-curves-inception
# :width: 640px
#
# GoogLeNet (InceptionV1, BVLC weights), `mixed3b`, reference run: a curve detector, a latent of a sparse autoencoder
# (middle), and who holds its copies, one every 22.5 degrees, among neurons (inside), latents of another training and the
# group crosscoder (outside). The copy that is not turned stands at the right. Numbers are correlations with what symmetry
# predicts. An empty circle: nobody passed both tests. On average only a quarter of the places is filled; the median family
# stands at the end of the chapter.
# ```
#
# The paper behind this chapter, *The missing curve detectors of InceptionV1* {cite:p}`gorton2024missing`, reports curve
# detectors in sparse autoencoders that fill gaps between those of neurons. Its network is another training of the same
# architecture, and its dictionaries saw far more activations.
#
# **You will learn**
#
# - what a curve detector is, by a definition that drawings and photographs must meet,
# - whether sparse dictionaries have orientations that neurons lack, once both have equally many units,
# - which detectors a symmetry predicts, and which of them are there,
# - how to take a neuron with two meanings apart, exactly, and what that shows.
#
# **You need** orbits ({doc}`02_orbits`), sparse autoencoders and the crosscoder ({doc}`03_training`), similarity and
# stabilisers ({doc}`05_families`, {doc}`07_symmetry`).
#
# **Run time** about two minutes on one CPU core, when the crosscoder of {doc}`03_training` is there.
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
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import HTML, Markdown, display

from groupcc_lite import figures
from groupcc_lite.base import interval_of
from groupcc_lite.responses import UNTRAINED, largest_gap, ring
from groupcc_lite.studies import (
    BRANCHES,
    SAES,
    TRAINED_UNITS,
    CurveStudy,
    at_equal_numbers,
    bar_of_random_weights,
    double_neurons,
    predicted,
    strongest,
    take_apart,
)
from groupcc_lite.symmetry import distance, embed, irrep_power

# %%
curves = CurveStudy(profile, seed=seed, images=images, weights=weights)
curves.check()
report, settings = curves.report("16_curves"), curves.profile
last, G, main = curves.layers[-1], curves.main.group, curves.main
print(f"{settings.network}, layers {', '.join(curves.layers)}; "
      f"{len(main.all_images)} images, {len(curves.stimuli)} arcs, {G.name}")

# %% [markdown]
# ## Arcs
#
# To ask a unit for its preferred direction one needs images whose direction is known. An **arc** is a piece of a circle
# through the middle of the image. Stimuli come in two *kinds*: a stroke along at most half a circle, and an edge, the
# border of a whole disc. *Polarity* says whether the stroke, or the hollow side of the edge, is light or dark. The
# *direction* is where the hollow side faces. So an arc comes back after a full turn and not before, and a straight stroke,
# an arc of curvature 0, comes back after half a turn.

# %% mystnb={"figure": {"name": "fig-arcs", "caption": "Some of the stimuli: strokes and edges of each radius in one direction, in both polarities. All have the same step in brightness."}, "image": {"alt": "Four rows of grey pictures, two with light and dark strokes and two with discs, from straight to tightly bent."}} tags=["hide-input"]
numbers = torch.arange(len(curves.stimuli))[:, None].float()
shown = curves.stimuli.table(numbers)[0].long()
step = settings.directions // 8
chosen = shown[:, :, step].flatten()
with figures.house_style():
    fig, ax = plt.subplots(figsize=(1.15 * shown.shape[1], 4.8))
    figures.feature_grid(curves.stimuli.images[chosen].permute(0, 2, 3, 1), ax,
                         columns=shown.shape[1])

# %% [markdown]
# There are 72 directions, 5 degrees apart. A stroke or an edge has the same step in brightness whatever its direction and
# curvature. That matters: with equal contrast of the whole image a short, tight arc would be the brightest, and units of
# a seven-pixel filter would all seem to love curves.
#
# A *unit* is a neuron, a latent of a dictionary, or any direction in the layer with a threshold. All get the same images
# and are read in the middle.

# %% [markdown]
# ## What counts as a curve detector
#
# ```{prf:definition} Curve detector
# :label: def-curve-detector
#
# Let $r(\theta)$ be a unit's response to arcs of direction $\theta$, of the kind, polarity and curvature that excite it
# most. The unit is **tuned to a curve** if
#
# - it prefers one direction: the vector strength $\left|\sum_\theta r(\theta) e^{i\theta}\right| / \sum_\theta r(\theta)$
#   is at least 0.4, and the opposite direction gets at most half of the peak;
# - the preference is smooth: both neighbouring directions, 5 degrees away, get at least a quarter of the peak;
# - it prefers curves: straight stimuli of any kind and polarity get at most 0.8 of the peak.
#
# Its **direction** is that of the vector sum. It is a **curve detector** if images without arcs agree. Take the 20 places
# in held-out images that excite the unit most, and turn each image about its place:
#
# - after the smallest turns of the group, 22.5 degrees for $D_{16}$, at least a tenth of the response remains;
# - after half a turn, at most half of that remains;
# - the best arc excites the unit at least half as much as these places do.
# ```
#
# Why these? A unit of lines has two directions, half a turn apart, and fails the first item. A unit with a high threshold
# may fire for a single stimulus by accident, and fails the second. Photographs took no part in choosing the direction. They
# say that the unit minds half a turn and does not mind a small one; which direction it prefers they do not say. The places
# are chosen by the untransformed image, so its response is the largest by selection; the half turn is compared with small
# turns, which were not selected.
#
# From here to the exercise all numbers are those of the small built-in network. InceptionV1, at the end, differs.

# %%
neurons = curves.units(last, "neurons")
of_neurons = curves.detectors(last, neurons)
sae, metrics = curves.saes(last, "SAE, TopK")[0]
of_latents = curves.detectors(last, curves.units(last, "SAE, TopK"))
for found in (of_neurons, of_latents):
    noise = curves.with_noise(last, found)
    print(f"{found.units.name}: {found.units.count} units, {int(found.tuned.sum())} "
          f"tuned, {int(found.confirmed.sum())} curve detectors; with noise for arcs "
          f"{int(noise.confirmed.sum())}")

# %% [markdown]
# The noise has the power spectra of the arcs and random phases, turned through the same directions. Any pattern has a
# direction that it fits best, so some units are tuned to noise as well, in the book's run latents more often than neurons:
# much of what separates them below is of this kind. No count of curve detectors means much by itself.
#
# A detector is best looked at whole. On the left is the feature's picture. In the middle is its radial tuning curve,
# drawn as on the screen: the lobe points where the hollow side faces. On the right is its response to all directions and
# curvatures of its best kind and polarity.

# %% mystnb={"figure": {"name": "fig-detectors", "caption": "The curve detectors that photographs excite most, two latents and a neuron. Not all are what one expects: two lobes less than a quarter turn apart can still pass. From left to right: feature visualisation, tuning over a full turn at the best curvature (grey: the response when photographs or drawings that excite the unit are turned, from the image as it is at the unit's direction), and response by direction and curvature."}, "image": {"alt": "Three rows of a picture, a polar plot with one lobe, and a heatmap with one bright spot."}} tags=["hide-input"]
def best_rows(found, unit):
    """Responses at a unit's best kind and polarity, and the row of its curvature."""
    responses = found.units.read(curves.shown(last)).detach()
    table = curves.stimuli.table(responses)[unit][found.tuning.style[unit]]
    return table, int((table.amax(1)).argmax())


alive = np.flatnonzero(metrics.frequency > 0)
cases = [(of_latents, u) for u in strongest(of_latents, 2).tolist()]
cases += [(of_neurons, u) for u in strongest(of_neurons, 1).tolist()]
each = torch.eye(neurons.count)  # a neuron's direction is its own axis
looks = [sae.W_e.detach().cpu()[alive[u]] if f is of_latents else each[u]
         for f, u in cases]
small = dict(size=main.model.usable_size(main.profile.atlas_size),
             steps=main.profile.atlas_steps, progress=False)
pictures = main.draw(torch.stack(looks), **small)
with figures.house_style():
    fig = plt.figure(figsize=(8.4, 2.7 * len(cases)))
    for row, (found, unit) in enumerate(cases):
        table, best = best_rows(found, unit)
        left = fig.add_subplot(len(cases), 3, 3 * row + 1)
        figures.feature_grid(pictures[row][None], left)
        kind = "latent" if found is of_latents else "neuron"
        left.set_title(f"{kind} {alive[unit] if found is of_latents else unit}")
        rose = fig.add_subplot(len(cases), 3, 3 * row + 2, projection="polar")
        turned = found.turning.profile[unit].numpy() * float(table[best].max())
        start = float(found.tuning.direction[unit]) / (2 * math.pi) * len(turned)
        figures.tuning_rose(np.roll(turned, round(start)), rose, fill=False,
                            colour=figures.MUTED)
        figures.tuning_rose(table[best], rose)
        figures.curvature_map(table, curves.curvatures,
                              fig.add_subplot(len(cases), 3, 3 * row + 3))
    report.figure("detectors", fig)

# %% [markdown]
# ## Dictionaries of the first layers
#
# {cite:t}`gorton2024missing` trained sparse autoencoders on the first five layers of InceptionV1. We train two kinds on
# each: ReLU with the L1 term weighted by decoder norms, the form that the group crosscoder paper uses, and TopK. One pass
# over the images reads all layers. Points are drawn by the norm of the activation, as there, but more of them from fewer
# images.

# %% tags=["hide-input"]
lines = ["| layer | coder | FVE | L0 | dead | detectors: neurons | latents |",
         "|---" * 7 + "|"]
by_layer = {}
for layer in curves.layers:
    plain = curves.detectors(layer, curves.units(layer, "neurons"))
    by_layer[layer, "neurons"] = [plain]
    report.number(f"neurons_{layer}", int(plain.confirmed.sum()),
                  n=plain.units.count, note=f"curve detectors among neurons of {layer}")
    for name in SAES:
        made = curves.saes(layer, name)
        found = [curves.detectors(layer, curves.units(layer, name, number))
                 for number in range(settings.seeds)]
        by_layer[layer, name] = found
        key = f"{name.split()[-1].lower()}_{layer}"
        fve, l0, dead = (np.mean([getattr(m, what) for _, m in made])
                         for what in ("fve", "l0", "dead"))
        share = [float(f.confirmed.double().mean()) for f in found]
        for what, value in (("fve", fve), ("l0", l0), ("dead", dead)):
            report.number(f"{what}_{key}", value, note=f"{what} of {name}, {layer}")
        report.number(f"share_{key}", np.mean(share), n=found[0].units.count,
                      note=f"share of curve detectors, {name}, {layer}")
        lines.append(f"| {layer} | {name} | {fve:.3f} | {l0:.0f} | {dead:.2f} "
                     f"| {int(plain.confirmed.sum())} of {plain.units.count} "
                     f"| {np.mean(share):.0%} of {found[0].units.count} |")
display(Markdown("\n".join(lines)))

# %% [markdown]
# FVE is the share of variance explained on held-out images, L0 the mean number of latents that fire, dead the share that
# never does. Numbers are means over seeds. Curve detectors appear from `conv2d2` on, among neurons as among latents.

# %% [markdown]
# ## Do features fill gaps?
#
# Neurons are few, so their directions leave gaps. The abstract of {cite:t}`gorton2024missing` reports curve detectors
# among features that fill such gaps. Two things must be kept apart. A set with more units has more detectors and smaller
# gaps, whatever they are. And a direction that nobody trained is tuned too, if its threshold is high. So every set is
# judged by equally many units, drawn from it at random, and beside sets that nobody trained:
#
# - *random directions* with the covariance of the activations,
# - *data points*, activations themselves,
# - *principal components*, each in both senses,
# - a *shuffled dictionary*: the encoder's rows with their channels in another order,
# - the neurons, and an SAE, of the same network with *random weights*.
#
# Thresholds of the first four are such that they fire as often as the SAE's latents do, by the median.

# %%
sets = {"neurons": [of_neurons]} | {name: by_layer[last, name] for name in SAES}
sets["crosscoder"] = [curves.detectors(last, curves.units(last, "crosscoder", start))
                      for start in range(settings.crosscoder_seeds)]
sets |= {name: [curves.detectors(last, curves.units(last, name, number))
                for number in range(settings.seeds)] for name in UNTRAINED}
for name in ("neurons", "SAE, TopK"):
    starts = 1 if name == "neurons" else settings.seeds
    sets[f"random weights, {name}"] = [
        curves.detectors(last, curves.units(last, name, number, "random"), "random")
        for number in range(starts)]
count = min(found.units.count for made in sets.values() for found in made)
styles, curvatures = shown.shape[0], shown.shape[1] - 1  # one is straight
equal = {name: at_equal_numbers(found, count, styles=styles, curvatures=curvatures)
         for name, found in sets.items()}

# %% mystnb={"figure": {"name": "fig-gaps", "caption": "Coverage of the circle at equal numbers of units. Left: how many are curve detectors; open squares: how many pass with noise in place of arcs. Middle: the largest gap between their directions. Right: the same within a kind and polarity, the mean over the four. Bars: the middle 95 % of draws, of all seeds; blue: trained units, orange: units that nobody trained. Grey crosses: the mean gap if detectors had angles drawn at random. Random weights were not shown noise."}, "image": {"alt": "Three plots with a row for each set of units; points with horizontal bars, squares to the left of most points in the first one, crosses near the points in the second."}} tags=["hide-input"]
noise = {name: np.mean([float(curves.with_noise(last, f).confirmed.double().mean())
                        for f in sets[name]])
         for name in sets if not name.startswith("random weights")}
with figures.house_style():
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 4.6), sharey=True)
    for row, (name, found) in enumerate(equal.items()):
        colour = figures.BLUE if name in TRAINED_UNITS else figures.ORANGE
        shown_here = (found.detectors, found.gap, found.gap_of_kind)
        for ax, values in zip(axes, shown_here, strict=True):
            low, high = np.quantile(values, [0.025, 0.975])
            ax.plot([low, high], [row, row], color=colour)
            ax.plot(values.mean(), row, "o", color=colour)
        if name in noise:
            axes[0].plot(count * noise[name], row, "s", color=colour, fillstyle="none")
        for ax, what in ((axes[1], "gap"), (axes[2], "gap_of_kind")):
            ax.plot(found.by_chance[what].mean(), row, "x", color=figures.MUTED)
    axes[0].set_yticks(range(len(equal)), list(equal))
    axes[0].invert_yaxis()
    axes[0].set(xlabel=f"detectors of {count}")
    for ax, label in ((axes[1], "largest gap"), (axes[2], "within a kind")):
        ax.set(xlabel=f"{label} (degrees)", xscale="log")
        ax.set_xticks([10, 20, 40, 80, 160], ["10", "20", "40", "80", "160"])
        ax.minorticks_off()
    report.figure("gaps", fig)

# %% mystnb={"figure": {"name": "fig-circle", "caption": "Directions of all curve detectors, as seen on the screen: neurons (inside), latents of one TopK autoencoder, and of the crosscoder (outside)."}, "image": {"alt": "Three rings of short lines, the inner one with visible gaps."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(5.4, 5.4), subplot_kw=dict(projection="polar"))
    figures.covered_circle({name: sets[name][0].directions[sets[name][0].confirmed]
                            for name in ("neurons", "SAE, TopK", "crosscoder")}, ax)
    fig.legend(loc="outside lower center", ncols=3)
    report.figure("circle", fig)

# %% tags=["hide-input"]
keys = {name: name.lower().replace(", ", "_").replace(" ", "_") for name in equal}
for name, found in equal.items():
    for what, unit in (("detectors", ""), ("gap", "degrees"), ("covered", ""),
                       ("gap_of_kind", "degrees"), ("gap_of_curvature", "degrees")):
        of_seeds = getattr(found, what).mean(1)  # over draws
        spread = interval_of(of_seeds) if len(of_seeds) > 1 else None
        report.number(f"{what}_{keys[name]}", of_seeds.mean(), unit, n=found.units,
                      interval=spread, over=f"{len(of_seeds)} seeds",
                      note=f"{what.replace('_', ' ')} at equal numbers, {name}")
        if what in found.by_chance:
            report.number(f"{what}_by_chance_{keys[name]}",
                          found.by_chance[what].mean(), unit,
                          note=f"the same, angles drawn at random, {name}")
    if name in noise:
        report.number(f"noise_{keys[name]}", count * noise[name], n=found.units,
                      note=f"detectors at equal numbers, noise for arcs, {name}")
for name in BRANCHES:
    branch = curves.detectors(last, curves.units(last, name))
    there = int(branch.confirmed.sum())
    report.number(f"branch_{name}", there, n=branch.units.count,
                  note=f"curve detectors among neurons of the branch {name}")
    print(f"branch {name}: {there} of {branch.units.count} neurons")
for name in ("neurons", "SAE, TopK", "crosscoder"):
    gaps = [math.degrees(largest_gap(f.directions[f.confirmed]))
            for f in sets[name]]
    report.number(f"whole_gap_{keys[name]}", np.mean(gaps), "degrees",
                  n=equal[name].units, note=f"largest gap, all units, {name}")
    print(f"all {equal[name].units} units, {name}: largest gap {np.mean(gaps):.0f}°")

# %% [markdown]
# In the book's run a latent of either SAE is a curve detector about twice as often as a neuron, and at equal numbers the
# SAEs leave smaller gaps, the L1 SAE clearly so. Taken all together, latents leave a gap less than half as wide as that of
# neurons. So far the paper's claim holds.
#
# But look at the grey crosses. Gaps of latents are those that as many angles drawn at random would leave, pooled or within
# a kind. They are smaller because detectors are more, and not because they stand where somebody is missing.
#
# And look at the orange rows. A shuffled dictionary has nearly as many detectors as the TopK SAE, random directions and
# data points a few less. A direction that fires seldom answers to few orientations, trained or not. Their gaps are wider
# because they are fewer. Only neurons, trained or not, stand more evenly than chance. Neurons of random weights have as
# many detectors as trained ones, and no wider gap. Of an SAE's latents about half as many are detectors with random weights
# as with trained ones.
#
# The last printed lines say where detectors lie in an Inception block, which runs four *branches* side by side: filters of
# one, three and five cells, and a pool. No branch has a monopoly.

# %% [markdown]
# ## Predicted by symmetry
#
# A gap says nothing about what is missing. Symmetry does. If a unit looks for a curve $P$, then for every element $h$
# there could be one that looks for $hP$. It would say of the moved image $hJ$ what the first says of $J$: its responses
# to an orbit are those of the first in another order. So each prediction is a vector of responses, and we can look for the
# unit that comes closest. ({doc}`17_responses` compares all features in this way.)
#
# ```{prf:definition} Member of a family
# :label: def-member
#
# Let $q_u[j, g]$ be the response of unit $u$ to image $j$ moved by $g$. The **member at $h$** of the family of $u$, among
# a set of candidates, is the candidate $v$ whose responses $q_v[j, hg]$ have the largest correlation with $q_u[j, g]$. It
# is **present** if this correlation is above what neurons of random weights offer for 95 % of all predictions, and if $v$
# is itself a curve detector whose direction, by the arcs, is that of $u$ turned by $h$, to half a step of the group.
# ```
#
# Photographs or drawings choose the member, arcs judge it. The detectors are those of one TopK autoencoder; among latents
# they are looked for in another training of it, so that none can find itself. Every set has equally many candidates. Each
# detector makes one prediction for each rotation; mirrors are left to {doc}`07_symmetry`. Three standards stand beside: directions that nobody trained, the directions of all candidates that are detectors dealt out
# anew among these, and the detector as it is, *unturned*. The last is a yardstick: a symmetric layer would hold the turned
# copies as often as the detector itself.

# %%
bar = bar_of_random_weights(curves, of_latents)
looked_in = {name: made[1 if name == "SAE, TopK" else 0]  # another seed than of_latents
             for name, made in sets.items() if name != "SAE, L1"}
family = {name: predicted(curves, of_latents, found, bar, count,
                          weights="random" if "random weights" in name else "trained")
          for name, found in looked_in.items()}
lines = ["| candidates | present | unturned | dealt anew | above the bar |",
         "|---" * 5 + "|"]
for name, found in family.items():
    lines.append(f"| {name} | {found.share.mean():.0%} | {found.unturned.mean():.0%} "
                 f"| {found.by_chance:.1%} | {found.above:.0%} |")
display(Markdown("\n".join(lines)))

# %% tags=["hide-input"]
report.number("present_bar", bar,
              note="correlation above which a member may be present")
for name, found in family.items():
    key, several = keys[name], len(found.share) > 1
    for part, values in (("", found.share), ("unturned_", found.unturned)):
        report.number(f"present_{part}{key}", values.mean(), n=len(values),
                      interval=interval_of(values.tolist()) if several else None,
                      over="detectors", note=f"predictions present, {part}{name}")
    for what in ("by_chance", "above"):
        report.number(f"present_{what}_{key}", getattr(found, what), n=len(found.share),
                      note=f"predictions, {what.replace('_', ' ')}, {name}")

# %% tags=["hide-input"]
drawn_in = {name: family[name] for name in ("neurons", "SAE, TopK", "crosscoder")}
other, its_metrics = curves.saes(last, "SAE, TopK")[1]
its_alive = np.flatnonzero(its_metrics.frequency > 0)
coder = main.coder(seed=seed)
living = np.flatnonzero(main.evaluate(coder).frequency > 0)
read = {"neurons": each, "SAE, TopK": other.W_e.detach().cpu()[its_alive],
        "crosscoder": coder.W_e.detach()[living].cpu()}


def draw_family(one, name):
    """The family of a detector, by number among those that make predictions."""
    members = {who: [(h, read[who][found.members.partner[one, h]])
                     for h in range(found.present.shape[1]) if found.present[one, h]]
               for who, found in drawn_in.items()}
    whose = sae.W_e.detach().cpu()[alive[family["neurons"].detectors[one]]]
    looks = [whose] + [look for found in members.values() for _, look in found]
    centre, *pictures = main.draw(torch.stack(looks), **small)
    turns, drawn = drawn_in["neurons"].present.shape[1], iter(pictures)
    at = {who: {h: next(drawn) for h, _ in found} for who, found in members.items()}
    rings = {who: [found.get(h) for h in range(turns)] for who, found in at.items()}
    values = {who: found.members.correlation[one, :turns].nan_to_num().numpy()
              for who, found in drawn_in.items()}
    with figures.house_style():
        fig, ax = plt.subplots(figsize=(8.6, 8.6))
        figures.family_circle(rings, values, ax, centre=centre)
        report.figure(name, fig)


ranked = sum(found.present.sum(1) for found in drawn_in.values()).argsort()
fullest, median = int(ranked[-1]), int(ranked[len(ranked) // 2])
found = family["crosscoder"]
_ = report.number("family_latents", [
    int(living[found.members.partner[fullest, h]])
    for h in torch.nonzero(found.present[fullest]).flatten().tolist()],
    note="latents of the crosscoder in the fullest family")
for name, made in drawn_in.items():
    report.number(f"filled_{keys[name]}", made.present[:, 1:].double().mean(),
                  n=len(made.share), note=f"places filled, all units, {name}")

# %% mystnb={"figure": {"name": "fig-curve-family", "caption": "The fullest family: the detector (middle), and its member at each rotation among neurons (inside), latents of another training of the SAE, and of the crosscoder (outside), by feature visualisation, with its correlation with the prediction. The copy that is not turned stands at the right. All units are candidates. Nearly every place has somebody above the bar; where a circle is empty the arcs disagree."}, "image": {"alt": "A small picture of an arc, and three rings of such pictures around it, each turned as its place on the ring asks; some places are empty."}} tags=["hide-input"]
draw_family(fullest, "family")

# %% mystnb={"figure": {"name": "fig-typical-family", "caption": "The same for the median family: this is how full they are."}, "image": {"alt": "A small picture in the middle, a few in three rings around it, and many empty places."}} tags=["hide-input"]
draw_family(median, "median_family")

# %% [markdown]
# Read the table from the right. The bar alone says little: photographs or drawings by themselves would grant neurons two
# thirds of the predictions. With both tests few pass by accident, two to four in a hundred of the trained units if
# directions are dealt anew. (Units of random weights hold one in a hundred, but by the bar they could hold at most one in
# twenty, and they lack the detectors too.)
#
# *Unturned* is the yardstick. In the book's run one tenth of the detectors are found again among neurons, one fifth among
# latents of another training, and a quarter in the crosscoder. Turned copies are found less often than that among neurons
# and latents, about two times where the detector is found three times; with so few found unturned the difference is not
# sure. In the crosscoder they are found as often.
#
# But the data hold them as well. Activations picked at random hold as many members as the SAE, turned or not: drawings come
# in all orientations, and so do their activations. Only the crosscoder holds clearly more than they do. Neurons hold no
# more than random directions.

# %% [markdown]
# ## Neurons with two meanings
#
# A *double* neuron answers to two directions that are no half turn apart. We take those whose tuning has two separate
# peaks, 45 to 150 degrees apart, the lesser at least half as high, with a low of at most half of that between them.
#
# What is such a neuron made of? The decoder is linear. What it writes into the neuron's channel $c$ is
#
# $$ \hat x_c = b_c + \sum_i f_i W_{d,i,c} , $$ (eq-contribution)
#
# so each latent's part is exact. Nothing has to be estimated. The parts add up to the reconstruction, not to the neuron:
# what the SAE misses is missing here too.

# %%
doubles, two = double_neurons(curves, of_neurons)
apart = [take_apart(curves, of_neurons, neuron, sae) for neuron in doubles.tolist()]
print(f"{len(doubles)} double neurons of {neurons.count}; vector strength, mean:")
for what in ("purity", "part_purity", "chance_purity"):
    print(f"{what}: {np.mean([getattr(found, what) for found in apart]):.2f}")

# %% mystnb={"figure": {"name": "fig-double", "caption": "The clearest double neurons. Left of each: its tuning over a full turn. Right: what the latents that contribute most write into it; negative parts are left out. Pictures: the neuron, and its parts in the colours' order."}, "image": {"alt": "Rows of two polar plots and small pictures: one plot with two lobes, one with lobes of several latents in colours."}} tags=["hide-input"]
shown_apart = apart[:2]
if shown_apart:
    looks = []
    for found in shown_apart:
        looks += [each[found.neuron], *sae.W_e.detach().cpu()[found.latents]]
    pictures = iter(main.draw(torch.stack(looks), **small))
    with figures.house_style():
        fig = plt.figure(figsize=(9, 3.6 * len(shown_apart)))
        for row, found in enumerate(shown_apart):
            for column, curves_drawn in enumerate(([found.tuning], found.parts)):
                ax = fig.add_subplot(len(shown_apart), 3, 3 * row + column + 1,
                                     projection="polar")
                for number, curve in enumerate(curves_drawn):
                    colour = figures.PALETTE[number] if column else figures.INK
                    figures.tuning_rose(curve.clamp(min=0), ax, colour=colour,
                                        fill=False)
                ax.set_title("parts" if column else f"neuron {found.neuron}")
            grid = fig.add_subplot(len(shown_apart), 3, 3 * row + 3)
            names = ["neuron", *[f"part {n + 1}" for n in range(len(found.latents))]]
            figures.feature_grid(np.stack([next(pictures) for _ in names]), grid,
                                 names)
        report.figure("double", fig)

# %% tags=["hide-input"]
report.number("doubles", len(doubles), n=neurons.count, note="double neurons")
table = np.array([[f.purity, f.part_purity, f.chance_purity, f.explained]
                  for f in apart]).reshape(-1, 4)
kinds = dict(purity=(table[:, 0], "vector strength"),
             part_purity=(table[:, 1], "of their parts"),
             chance_purity=(table[:, 2], "of parts by other weights"),
             beyond_chance=(table[:, 1] - table[:, 2], "of parts, less chance"))
for key, (of_each, note) in kinds.items():
    if len(of_each) > 1:
        report.number(f"double_{key}", of_each.mean(), n=len(of_each), over="neurons",
                      interval=interval_of(of_each), note=f"double neurons, {note}")
if len(table):
    report.number("double_explained", np.median(table[:, 3]), n=len(table),
                  note="variance of a double neuron explained on its arcs, median")

# %% [markdown]
# The reconstruction explains nearly nine tenths of what these neurons say, and the parts are sharper than the neuron. That
# looks like a neuron taken apart, as the paper reports of its example. But it could hardly come out otherwise. Parts that
# excite are never less sharp than their sum, on average by what they contribute: arrows of different directions add up to
# a shorter one.
#
# So ask more. *Chance* takes the four strongest parts that would be found if the decoder's weights into this neuron were
# dealt out anew among the latents. On average over all of these neurons they are sharper still. Any dictionary of sharp
# latents takes a neuron with two lobes apart, and this one no better than chance.

# %% [markdown]
# ## The ring
#
# On her page the author shows a UMAP of the curve features' decoder vectors: a circle. UMAP likes to draw circles, so ask
# the vectors first. Regress them on $\cos k\theta$ and $\sin k\theta$, with $\theta$ the feature's direction by the arcs.
# The share of variance that the first harmonic explains is the ring's; dealing the directions out anew gives the null.
# Several curvatures and kinds lie in these features at once, so a share near one cannot be expected.

# %%
def ring_of(found, vectors):
    inside = found.confirmed
    return ring(vectors[inside], found.tuning.direction[inside])


circles = {"SAE, TopK": ring_of(of_latents, sae.W_d.detach()[alive, 0].cpu()),
           "crosscoder": ring_of(sets["crosscoder"][0],
                                 coder.W_d.detach()[living, 0].cpu())}
for name, found in circles.items():
    shares = ", ".join(f"{share:.3f}" for share in found.shares)
    print(f"{name}: harmonics 1, 2, 3 explain {shares}; by chance "
          f"{found.chance[0]:.3f} each, p = {found.p:.3f}")

# %% mystnb={"figure": {"name": "fig-curve-ring", "caption": "UMAP of the decoder vectors of the SAE's curve detectors (left) and of the crosscoder's blocks for the untransformed image (right), coloured by the direction that the arcs give."}, "image": {"alt": "Two clouds of points coloured by angle."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(1, 2, figsize=(9, 4))
    for ax, found, vectors in (
            (axes[0], of_latents, sae.W_d.detach()[alive, 0].cpu()),
            (axes[1], sets["crosscoder"][0], coder.W_d.detach()[living, 0].cpu())):
        flat = torch.nn.functional.normalize(vectors[found.confirmed], dim=1)
        if len(flat) >= 8:
            angles = found.tuning.direction[found.confirmed].rad2deg()
            figures.umap_scatter(embed(distance(flat @ flat.T), seed=seed).two, ax,
                                 angles=angles, legend=ax is axes[1])
        ax.set_title(found.units.name)
    report.figure("ring", fig)

# %% tags=["hide-input"]
for name, found in circles.items():
    inside = int(sets[name][0].confirmed.sum())
    for number, share in enumerate(found.shares, 1):
        report.number(f"ring_{number}_{keys[name]}", share, n=inside,
                      note=f"harmonic {number} of curve features, {name}")
    report.number(f"ring_chance_{keys[name]}", found.chance[0],
                  note=f"harmonic 1 with directions dealt out anew, {name}")
    report.number(f"ring_p_{keys[name]}", found.p, note=f"p of harmonic 1, {name}")
curved = coder.dictionary.detach()[living][sets["crosscoder"][0].confirmed.numpy()]
power = dict(zip([irrep.name for irrep in G.irreps()], irrep_power(curved, G).mean(0),
                 strict=True))
for k in (1, 2, 3):
    share = float(power.get(f"E{k}", 0))
    report.number(f"curve_power_{k}", share, note=f"power of curve features in E{k}")
    print(f"crosscoder's curve features, power in E{k}: {share:.2f}")

# %% [markdown]
# The first harmonic explains more than chance: four hundredths of the variance for the SAE in the book's run, and the
# second nearly as much. The direction of the arc is one of many things in which these vectors differ. The maps show no
# circle; neighbours share a direction here and there.
#
# The last lines say which {term}`irreps <irrep>` of the group the crosscoder's curve features use: E1 goes round once in a
# turn, E2 twice. {cite:t}`olah2020equivariance` draw curve families as orbits; an orbit that is a circle has its power in
# E1, and sharper tuning adds E2, E3 and so on. Here E1 leads, and the powers fall slowly: the tuning is sharp.

# %% [markdown]
# ## Exercises
#
# ```{exercise} How much does the bar matter?
# :label: ex-curve-bar
#
# Half of the peak for the opposite direction is a convention. Count curve detectors among neurons and latents for bars
# from 0.2 to 0.8. Does the order of the sets change?
# ```
#
# ```{solution-start} ex-curve-bar
# :class: dropdown
# ```

# %%
for bar in (0.2, 0.5, 0.8):
    rule = curves.rule._replace(opposite=bar, turned=bar)
    counts = [float(rule.confirmed(f.tuning, f.turning).double().mean())
              for f in (of_neurons, of_latents, sets["random directions"][0])]
    print(f"bar {bar}: neurons {counts[0]:.0%}, latents {counts[1]:.0%}, "
          f"random directions {counts[2]:.0%}")

# %% [markdown]
# The counts move, the order hardly does. That is what one hopes for from a convention.
#
# ```{solution-end}
# ```
#
# ```{exercise} How many are enough?
# :label: ex-curve-number
#
# Suppose detectors had angles drawn at random. How does the largest gap fall with their number $n$? Guess first: is it
# $360^\circ / n$?
# ```
#
# ```{solution-start} ex-curve-number
# :class: dropdown
# ```

# %%
from groupcc_lite.responses import gap_by_chance

for many in (10, 40, 160):
    gap = np.degrees(gap_by_chance(many, draws=400).mean())
    print(f"{many} angles: {gap:.0f}°, even spacing {360 / many:.0f}°, "
          f"ratio {gap * many / 360:.1f}, "
          f"sum of 1 / k {sum(1 / np.arange(1, many + 1)):.1f}")

# %% [markdown]
# It is larger, and by more the more there are: the mean is even spacing times $1 + 1/2 + \dots + 1/n$, which grows like
# the logarithm of $n$. To halve the gap one needs more than twice as many. So a set with more detectors fills gaps, and a
# wide gap in a large set is no proof that something is missing.
#
# ```{solution-end}
# ```

# %% tags=["remove-input"]
_ = report.save()

# %% [markdown]
# ## Summary
#
# - A {prf:ref}`curve detector <def-curve-detector>` is tuned to one direction, smoothly, by arcs, and photographs agree
#   that half a turn matters.
# - In the built-in network dictionaries have more curve detectors than as many neurons, and therefore smaller gaps.
#   Directions that nobody trained come close in number. In InceptionV1 as many latents close no gap that neurons leave.
# - Symmetry predicts other detectors: a {prf:ref}`member <def-member>` is present if photographs find it and arcs agree.
#   InceptionV1's neurons hold what an SAE's detectors look for, and seldom its turned copies. The crosscoder holds both
#   alike, few as they are.
# - The decoder takes a reconstruction apart exactly. But parts by weights that are dealt out anew are sharper.

# %% [markdown]
# ## Limits
#
# The bars of the definition were not fixed blindly. All but one came before sets were compared on InceptionV1; constant
# brightness steps, smoothness, and the strength of the best arc came after a first look at the built-in network, where
# seven-pixel filters and noise had passed without them. That small turns must leave a tenth came last, when units that any
# turn silences had passed.
#
# That no member is found does not show that none is there: a prediction is met by one unit, and a layer may say the same
# with several. The bar comes from one draw of random weights. Detectors that make predictions are the 64 that photographs
# excite most, of one autoencoder.
#
# The stimuli are arcs of one stroke width. Units that look for a curve
# beside their middle, or for texture on a curve, are missed. Tight edges are small discs, so units of off-centre spots may
# pass. The built-in network was trained on drawn shapes, among which
# curves are one of fourteen. The InceptionV1 of the reference run is the BVLC training, not the paper's, and its
# dictionaries saw far fewer activations than the paper's.

# %% [markdown]
# ## What next
#
# {doc}`17_responses` compares all features of a coder by what they say. The {doc}`atlas <../book/atlas>` shows every feature
# of the crosscoder with its relatives: *Move them all* brings a family into one pose.

# %% [markdown]
# ## The reference run
#
# GoogLeNet's five layers, 800 photographs, a tenth of them held out, 1,024 latents, three autoencoders of each kind and two
# crosscoders.
#
# **Gaps.** In `conv2d0` and `conv2d1`, whose cells see 7 and 11 pixels, hardly any neuron is a curve detector; in `conv2d2`
# more than a third are, in `mixed3a` and `mixed3b` a quarter. Three fifths of those of `mixed3b` lie in the 3x3 branch, and
# a third of both the 3x3 and the 5x5 neurons are detectors. At equal numbers, latents of the L1 autoencoder are detectors
# more often than neurons, those of TopK a little less often, and no gap is clearly smaller. Within a kind, and within a
# curvature, gaps are three to five times as wide, for neurons as for latents. All latents together leave a gap of 10
# degrees, because they are more. Random directions, shuffled dictionaries and above all principal components are detectors
# more often than latents of the TopK autoencoder. Noise gives 35 of 480 neurons a pass, more than of any other set. With
# random weights, neurons are half as often detectors, but latents of an autoencoder as often as with trained ones. So
# neither training nor a dictionary is needed for units that meet this definition.
#
# **Predictions.** For nearly all of them some neuron or latent passes the bar of 0.14; the arcs decide. Unturned, three
# quarters of the detectors are found among neurons. Another training of the autoencoder, cut down to as many units, has two
# fifths of them. Turned, neurons hold a quarter, the other autoencoder a fifth, six times what dealing directions anew
# gives. The crosscoder holds a quarter either way. Data points hold as many turned copies as any of these, random
# directions fewer. So three of four predicted copies are missing, and no dictionary here holds more of them than
# activations picked at random do.
#
# **Double neurons.** The reconstruction explains three quarters of what they say. On average their parts are no sharper
# than they are, and less sharp than parts by other weights; neuron 246 in the figure is an exception.
#
# **Ring.** The first harmonic explains two hundredths of the variance of the curve features' decoder vectors, twice chance;
# in the crosscoder half as much again as chance.

# %% tags=["hide-input"]
there = figures.published_numbers("16_curves")
links = [f"[{latent}](../atlas/index.html#f/{latent})"
         for latent in there.get("family_latents", {}).get("value", [])]
display(Markdown("Latents of the crosscoder in the family at the head of this chapter, "
                 "in the atlas: " + (", ".join(links) or "not measured") + "."))

# %% tags=["hide-input"]
display(Markdown(report.compare()))

# %% tags=["hide-input"]
for key, caption, alt in (
        ("detectors", "curve detectors", "Rows of a picture, a polar plot, a heatmap."),
        ("gaps", "coverage at equal numbers of units", "Rows of bars."),
        ("circle", "directions of all curve detectors", "Three rings of lines."),
        ("median_family", "the median family", "A picture, and few around it."),
        ("double", "double neurons and their parts", "Polar plots and pictures."),
        ("ring", "UMAP of curve features", "Two clouds of points in colours.")):
    caption = f"GoogLeNet, reference run: {caption}."
    display(HTML(figures.published("16_curves", key, caption=caption, alt=alt,
                                   width="900px")))
