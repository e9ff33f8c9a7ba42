# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Any group
#
# **On {term}`InceptionV1`** nearly all features write much the same when all colours of a photograph are turned around
# the wheel, and some of them are colourful all the same ({numref}`fig-colours-inception`). The hue is a group as good
# as the turns, and so is any other.
#
# ```{figure} ../book/reference/10_any_group/colour_features.png
# :alt: Three rows of six feature visualisations; from row to row the hue is turned, and the share of the response that is left stands above.
# :name: fig-colours-inception
#
# InceptionV1, mixed3b, reference run: features with the power that hues leave alone (top), and their pictures with the
# hue turned, with the share of the response that is left.
# ```
#
# **You will learn**
#
# - that nothing about stabilisers and spectra is special to rotations and mirrors,
# - how to build a group of turns and colours, and which symmetries combine the two,
# - why turning the hue needs pictures that are less saturated,
# - which features do not care about colour or about turns, and which of that is owed to training.
#
# **You need** the stabilisers of {doc}`07_symmetry` and the spectra of {doc}`09_spectra`.
#
# **Run time** about a minute on one CPU core. It trains its own small crosscoders.
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
profile = "book"  # smoke, book, inception or paper
seed = 0
images = None  # folder of photographs; None: the profile's own images
weights = None  # weights file of the profile's model; None: the usual place

# %%
import math
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import HTML, Markdown, display
from scipy.stats import spearmanr

from groupcc_lite import figures, symmetry
from groupcc_lite.actions import ColourAction, PlanarAction, product_action
from groupcc_lite.answers import (
    disturbed,
    drawing_responses,
    drawn_features,
    plant,
    score,
    shape_stabiliser,
)
from groupcc_lite.base import bootstrap, interval_of, percentile_interval
from groupcc_lite.groups import cyclic, dihedral
from groupcc_lite.models import load_model, patch_model
from groupcc_lite.runs import Run
from groupcc_lite.stimuli import SHAPES, ImageSubset, draw
from groupcc_lite.symmetry import (
    INVARIANT,
    TAU,
    irrep_power,
    living_dictionary,
    on_factor,
    self_similarity,
    small_census,
    stabilisers,
)

# %%
run = Run(profile, seed=seed, images=images, weights=weights)
report = run.report("10_any_group")
model = run.model
size = model.input_size
unit = size / 96  # drawings keep their share of the image
print(run, "- thresholds", TAU, "of a centred profile,", INVARIANT, "for invariance")

# %% [markdown]
# ## Other turns and mirrors
#
# Nothing in {doc}`07_symmetry` and {doc}`09_spectra` knows what a rotation is. A {term}`group` is a table;
# {term}`subgroups <subgroup>`, {term}`irreps <irrep>`, {term}`profile <self-similarity profile>`, {term}`stabiliser`
# and spectrum follow from it. So let us change the group: the six rotations of $C_6$, and $D_5$ with its five mirrors.
# The same functions, from the drawings of {doc}`07_symmetry` to a trained {term}`crosscoder`, small enough to take
# seconds.

# %%
others = {"C_6": PlanarAction(cyclic(6)), "D_5": PlanarAction(dihedral(5))}
for name, action in others.items():
    shapes = stabilisers(drawn_features(action, size), action.group)
    wrong = [s.name for s, t in zip(SHAPES, shapes, strict=True)
             if t.subgroup != shape_stabiliser(s, action)]
    assert set(wrong) <= {"T-junction"}
    report.number(f"drawn_right_{name}", len(SHAPES) - len(wrong), internal=True)
    print(f"{name}: {len(action.group.subgroups())} subgroups, "
          f"{len(action.group.irreps())} irreps,",
          "drawn shapes:", dict(Counter(t.subgroup.label for t in shapes)),
          "- wrong:", ", ".join(wrong) or "none")

# %% [markdown]
# The rule reads 13 of the 14 drawn shapes right, under both groups. The T-junction has a symmetry too many: its bar is
# the larger part of it, and half a turn leaves the bar nearly as it is. The threshold is set for dictionary vectors
# that are learnt with errors, and the price is that a drawing which nearly has a symmetry is said to have it. Note what
# the group does not know: a quarter turn is not in $C_6$, so a cross has only its half turn left; and under $D_5$ the
# drawn curve has no symmetry, because its axis is not one of the five mirrors.
#
# One check of {doc}`07_symmetry` is missing here. In an abelian group, as every $C_n$ and every product of them, all
# irreps over the complex numbers have dimension one, and then the powers *are* the Fourier coefficients of the profile
# (the Wiener-Khinchin theorem). So a surrogate with the same powers is the profile itself. There are no axes that could
# agree by chance: a stabiliser in an abelian group is a statement about powers and nothing else. The null must come
# from elsewhere: from a network that has learnt nothing, or from no network at all.

# %%
tiny = (dict(drawings=60, steps=40, latents=64, points_per_image=8)
        if profile == "smoke" else
        dict(drawings=400, steps=300, latents=128, points_per_image=16))

# %%
def trained_census(name, action):
    """Stabilisers of a small crosscoder of the built-in network under this action."""
    small = Run("smoke", seed, action=action, **tiny)
    W, _ = living_dictionary(small.coder(), small.evaluate(small.coder()).frequency)
    found, census, power = small_census(W, small.group)
    assert torch.allclose(power[:, 0], self_similarity(W, small.group).mean(1),
                          atol=1e-4)
    shares = zip(small.group.irreps(), power.mean(0).tolist(), strict=True)
    print(f"{name}: {len(W)} living features, census {dict(census)}, mean power "
          + ", ".join(f"{irrep.name} {share:.3f}" for irrep, share in shares))
    report.number(f"any_{name.replace(' ', '_')}", str(dict(census)),
                  note=f"census of a small crosscoder, {name}")
    return found


for name, action in others.items():
    trained_census(name, action)

# %% [markdown]
# ## Turns and colours
#
# The group need not move the plane at all. Let $C_4$ turn the image and $C_2$ swap its red and its blue channel. These
# commute, so together they are $C_4 \times C_2$, with eight elements. Which symmetry has a red line? A grey one? A line
# that is red on one side and blue on the other? {numref}`fig-colours` has pictures of some.

# %%
quarter = PlanarAction(cyclic(4))
# one matrix on (red, green, blue) per element
swap = ColourAction(cyclic(2), [np.eye(3), np.eye(3)[[2, 1, 0]]])
turn_swap = product_action(quarter, swap)
K = turn_swap.group
RED, BLUE, GREY, BACK = (0.9, 0.4, 0.4), (0.4, 0.4, 0.9), (0.9,) * 3, (0.4,) * 3


def stroke(shape, front, angle=0.0, back=BACK):
    return draw(shape, angle, size, scale=unit, half_width=1.4 * unit, foreground=front,
                background=back)

# %%
right_half = (torch.arange(size) >= size / 2).expand(1, 3, size, -1)
two_tone = torch.where(right_half, stroke("line", RED), stroke("line", BLUE))
crossed = stroke("line", RED) + stroke("line", BLUE, math.pi / 2) - BACK[0]
pictures = {
    "grey cross": (stroke("cross", GREY), "all"),
    "red cross": (stroke("cross", RED), "C4"),
    "grey line": (stroke("line", GREY), "C2 x C2"),
    "red line": (stroke("line", RED), "C2"),
    "half red, half blue line": (two_tone, "C2"),
    "red and blue cross": (crossed, "C4"),
    "red curve": (stroke("curve", RED), "none")}

# %%
def coloured(picture, action):
    """The exact filters' responses, in every channel, under every element."""
    return drawing_responses(action.images(picture)[:, 0]).flatten(1)


marked = stabilisers(torch.stack([coloured(picture, turn_swap)
                                  for picture, _ in pictures.values()]), K)
for (name, (_, wanted)), s in zip(pictures.items(), marked, strict=True):
    elements = ", ".join(K.names[h] for h in s.subgroup.elements)
    print(f"{name:>24}: {s.subgroup.label:>8}  {{{elements}}}")
    assert s.subgroup.label == wanted

# %% mystnb={"figure": {"name": "fig-colours", "caption": "Five of the drawings, their middle enlarged, for the group of quarter turns and the red-blue swap, with the stabilisers that were found. The fourth and fifth combine a turn and a swap: neither alone leaves the picture as it is."}, "image": {"alt": "Five small pictures: a grey cross, a red line, a red cross, a line that is half red and half blue, and a cross with one red and one blue stroke."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(1, 5, figsize=(6, 1.8))
    picked = ("grey cross", "red line", "red cross", "half red, half blue line",
              "red and blue cross")
    for ax, name in zip(axes, picked, strict=True):
        middle = slice(size // 4, -size // 4)
        picture = pictures[name][0][0, :, middle, middle].permute(1, 2, 0)
        ax.imshow(picture.clamp(0, 1).numpy())
        ax.set_title(marked[list(pictures).index(name)].subgroup.label, fontsize=11)
        ax.set(xticks=[], yticks=[])
        ax.grid(False)

# %% [markdown]
# The two last ones are the interesting ones. Their stabilisers are subgroups that contain neither the bare turn nor
# the bare swap, only the two at once. No list of "half turn? mirror? colour?" finds those; a list of subgroups
# does. And on {term}`planted features` of this group, with errors as in {prf:ref}`prop-errors`, the rule is right too:

# %%
turn_and_swap = K.index("(r^2, r)")
half_and_half = marked[list(pictures).index("half red, half blue line")].subgroup
assert half_and_half.elements == (0, turn_and_swap)
truth = plant(K, channels=32, seed=seed)
planted = score(disturbed(truth, 0.95, seed=seed), truth)
print(f"planted features of {K.name} at cosine 0.95: {planted.stabiliser_of_all:.0%} "
      f"of {truth.features} are right")
assert planted.stabiliser_of_all > 0.95
_ = report.number("any_product", planted.stabiliser_of_all,
                  note="planted features of C_4 x C_2, stabilisers right")

# %% [markdown]
# And trained: the same function as for $C_6$ and $D_5$. That the swap leaves features alone says little here: a network
# that hardly sees hue, as the built-in one (below), leaves nothing else to find.

# %%
found_swap = trained_census(K.name, turn_swap)
for elements, count in Counter(s.subgroup.elements for s in found_swap).most_common():
    print(f"{count:4d} features with {{{', '.join(K.names[h] for h in elements)}}}")
keep_swap = np.mean([K.index("(e, r)") in s.subgroup.elements for s in found_swap])
print(f"the swap alone leaves {keep_swap:.0%} of the features as they are")
_ = report.number("any_swap", float(keep_swap),
                  note="features of a small crosscoder that the red-blue swap leaves "
                       "alone")

# %% [markdown]
# ## Turning the hue
#
# Red, yellow, green, cyan, blue, magenta, and red again: hues lie on a circle around grey. So turning the hue is a
# rotation as well, about the grey axis of the colour cube. A third of a turn passes the channels on, red to green to
# blue to red. Every other turn mixes them, and there is a snag. The circle is round and the cube is not: pure red,
# turned by 60°, would have less than no blue. Clipping such values would break the group, since two clipped turns are
# not one turn twice as far. `ColourAction` takes saturation out of the images instead, before anything else and for
# all elements alike, as much as the worst colour of the cube needs: half of it for turns of the hue, nothing for
# permutations of the channels.

# %%
hue, unfaded = ColourAction(cyclic(6)), ColourAction(cyclic(6), saturation=1.0)
sample = run.source("train").load(range(24))
views, vivid = (action.images(sample, model.input_size) for action in (hue, unfaded))
outside = float(((vivid < -1e-6) | (vivid > 1 + 1e-6)).any(2).any(0).float().mean())

# %%
def clipped(pixels, g):
    return unfaded.images(pixels, elements=[g])[0].clamp(0, 1)


gap = float((clipped(clipped(vivid[0], 1), 1) - clipped(vivid[0], 2)).abs().max())
print(f"saturation kept: {hue.saturation:g} for sixths, "
      f"{ColourAction(cyclic(3)).saturation:g} for thirds of a turn")
print(f"at full saturation {outside:.1%} of the pixels leave the cube; clipped, two "
      f"turns differ from one by {gap:.2f}")
assert views.min() > -1e-6 and views.max() < 1 + 1e-6
assert hue.saturation == 0.5 and gap > 1e-3
for g in range(6):  # (h g) I = h (g I), where what is faded already is not faded again
    assert torch.allclose(unfaded.images(views[g]),
                          views[cyclic(6).table[:, g].tolist()], atol=1e-5)
_ = report.number("hue_outside", outside,
                  note="pixels that some hue takes out of the colour cube at full "
                       "saturation")

# %% [markdown]
# Known answers first. To the exactly equivariant filters of {doc}`07_symmetry`, a grey cross is the same in all hues:
# all power in the trivial irrep. Take a red cross on a cyan ground that is equally bright. It consists of hue alone,
# and turning the hue moves its responses around a circle: all power at frequency 1. The red cross on grey from above is
# a bit of both.

# %%
# both have the mean 0.5
equal = stroke("cross", (0.7, 0.4, 0.4), back=(0.4, 0.55, 0.55))
crosses = (pictures["grey cross"][0], equal, pictures["red cross"][0])
tuned = torch.stack([coloured(picture, hue) for picture in crosses])
P_hue = irrep_power(tuned, cyclic(6))
for name, row, s in zip(("grey", "red on cyan", "red on grey"), P_hue,
                        stabilisers(tuned, cyclic(6)), strict=True):
    print(f"cross, {name:>11}: stabiliser {s.subgroup.label}, power",
          {irrep.name: round(p, 3) for irrep, p in zip(cyclic(6).irreps(), row.tolist(),
                                                       strict=True)})
assert P_hue[0, 0] > 0.999 and P_hue[1, 1] > 0.999 and P_hue[2, :2].min() > 0.1
assert P_hue[:, 2:].max() < 1e-6

# %% [markdown]
# Linear filters have nothing at higher frequencies: a colour is a grey part, which stays, and a part that goes
# round once. What a trained feature has in E2 and B is the work of the nonlinearities. (In the census, "half turn"
# now is the step to the complementary hue.)

# %%
_ = trained_census("hue C_6", hue)

# %% [markdown]
# ## Which features are colour-invariant?
#
# The question is best asked together with another one, so that there is something to compare with: which features are
# invariant to *turns*? The group $C_4 \times C_3$ of quarter turns and thirds of the hue answers both for the same
# feature. All twelve elements are exact, nothing is interpolated, and nothing is faded.
#
# ```{prf:definition} Invariant share
# :label: def-invariant-share
#
# Let $N$ be a subgroup of $G$. The **invariant share** of a {term}`dictionary vector` $F$ under $N$ is what averaging
# over $N$ leaves of its squared length,
#
# $$ q_N = \Bigl\lVert \frac{1}{\lvert N\rvert} \sum_{h \in N} h \cdot F \Bigr\rVert^2 \Big/ \lVert F\rVert^2
# = \frac{1}{\lvert N\rvert} \sum_{h \in N} c(h) . $$ (eq-invariant-share)
#
# A feature is **invariant** under $N$ if $c(h) \ge \frac12$ for all $h \in N$: the rule for the whole group in
# {prf:ref}`def-stabiliser`, put to a subgroup. Where $N$ holds the turns of the hue, it is called **colour-invariant**.
# ```
#
# The two sides of {eq}`eq-invariant-share` agree because averaging is an orthogonal projection, as in
# {prf:ref}`prop-spectrum`. For $N = G$, $q_N$ is the power in the trivial irrep. Unrelated blocks have $c(h)$ about 0
# for $h \ne e$, so for them $q_N$ is about $1 / \lvert N\rvert$.
#
# In code: a dictionary vector is a table of $4 \times 3$ blocks. Counting the four blocks in a column as channels, it
# is a function on the hues alone, and the invariant share is its power in the trivial irrep of $C_3$. The same with
# rows, for turns.
#
# This time it is the profile's own network that we ask, with a part of its images. There are two controls. The same
# network with random weights says what the architecture does without training. And raw patches of the images say what
# is there before any network: most pixels of a photograph are nearly grey, so a patch that is merely *written down*
# changes little with the hue.

# %%
both_ways = product_action(quarter, ColourAction(cyclic(3)))
count = {"smoke": 40, "book": 240}.get(profile, 120)
few = ImageSubset(run.source("train"), range(min(count, len(run.source("train")))))
networks = {"trained": model, "patches": patch_model(model), "untrained": load_model(
    run.profile.model, run.profile.layer, weights="random")}
sampled = dict(steps=tiny["steps"], latents=tiny["latents"], held_out=0.2,
               mask_radius=run.profile.mask_radius or model.geometry.max_mask_radius,
               points_per_image=min(48, run.profile.points_per_image))
own = {name: Run("smoke", seed, images=few, model=network, action=both_ways, **sampled)
       for name, network in networks.items()}
ENDS = {"trained": "", "untrained": "_untrained", "patches": "_patches"}

# %%
factors = {"turns": cyclic(4), "hue": cyclic(3)}


def on_part(D, part):
    """Vectors over C_4 x C_3 as functions on one factor, by its name."""
    return on_factor(D, list(factors.values()), list(factors).index(part))


assert both_ways.exact.all() and both_ways.saturation == 1

# %% [markdown]
# Before any feature is learned: how much do the activations change? $1 - {}$correlation between activations before
# and after, over all sampled points, is 0 if nothing happens and 1 if the two have nothing in common.

# %%
moved = {"hue": [1, 2], "turns": [3, 6, 9]}  # (g, h) is number 3 g + h
for name, small in own.items():
    x = torch.cat(list(small.orbits("train").in_order()))
    x = x - x.mean((0, 1))
    for part, elements in moved.items():
        change = 1 - 2 * (x[:, [0]] * x[:, elements]).sum() / (
            len(elements) * x[:, 0].square().sum() + x[:, elements].square().sum())
        report.number(f"{part.removesuffix('s')}_change{ENDS[name]}", float(change),
                      note=f"change of the activations, {part}, {name}", n=len(x))
        print(f"{name:>9}, {part:>5}: {change:.2f}")

# %%
ratio = {name: report.numbers[f"hue_change{end}"]["value"]
         / report.numbers[f"turn_change{end}"]["value"] for name, end in ENDS.items()}
print("hue against turns:", ", ".join(f"{name} {value:.2f}"
                                      for name, value in ratio.items()))

# %% [markdown]
# Patches and random weights take a change of hue more than half as seriously as a turn. Training changes that. The
# built-in network was trained to name shapes, in all orientations alike, on drawings whose tints are drawn at random:
# shape and ground differ in brightness, and hue says nothing about the shape. It has become nearly blind to hue, and
# it tells turned patches apart far more than random weights do. How it is on photographs, the column for
# InceptionV1 below says.
#
# Now the features. For each living one we take the two invariant shares, and ask under which factor it is invariant
# ({prf:ref}`def-invariant-share`, {numref}`fig-colour-invariance`). Errors in the blocks lower both
# ({prf:ref}`prop-errors`).

# %%
invariant, everything, alive = {}, {}, {}
for name, small in own.items():
    W, alive[name] = living_dictionary(small.coder(),
                                       small.evaluate(small.coder()).frequency)
    invariant[name] = {part: irrep_power(on_part(W, part), H)[:, 0].numpy()
                       for part, H in factors.items()}
    everything[name] = {part: np.array([s.subgroup.order == H.order
                                        for s in stabilisers(on_part(W, part), H)])
                        for part, H in factors.items()}
    # the mean of c over N is the same number
    for part, N in (("turns", [0, 3, 6, 9]), ("hue", [0, 1, 2])):
        assert np.allclose(self_similarity(W, both_ways.group)[:, N].mean(1),
                           invariant[name][part], atol=1e-4)
        typical = np.median(invariant[name][part])
        print(f"{name:>9}, {part:>5}: {everything[name][part].mean():.0%} of {len(W)} "
              f"features are invariant, invariant power {typical:.2f} in the median")

# %% tags=["hide-input"]
for (name, end), part in ((item, part) for item in ENDS.items() for part in factors):
    key, share, found = part.removesuffix("s"), invariant[name][part], everything[name]
    leave = f"{part} leave" if part == "turns" else "hues leave"
    again = bootstrap(lambda drawn, x=share: np.median(x[drawn]), len(share))
    report.number(f"{key}_power{end}", float(np.median(share)), n=len(share),
                  interval=percentile_interval(again),
                  note=f"power that {leave} alone, median, {name}", over="features")
    low, high = interval_of(found[part].astype(float))
    report.number(f"{key}_invariant{end}", float(found[part].mean()), n=len(share),
                  interval=(max(0.0, low), min(1.0, high)), over="features",
                  note=f"features invariant to {part}, {name}")

# %%
rank = report.number("hue_turn_rank",
                     float(spearmanr(invariant["trained"]["hue"],
                                     invariant["trained"]["turns"])[0]),
                     note="rank correlation of invariance to hue and to turns over the "
                          "features")
print(f"rank correlation of the two over the features: {rank:.2f}")

# %% [markdown]
# Two readings. Invariance to *hue* is largely there before training: raw patches and random weights have much of it,
# because colours are pale. Training adds to it in the built-in network. Invariance to *turns* is not learnt there.
# Patches and random weights have *more* invariant features than the trained network, and turns leave more of their
# power alone. Training makes features that turn with the image, not features that ignore its turning.

# %% mystnb={"figure": {"name": "fig-colour-invariance", "caption": "Every living feature of a crosscoder for quarter turns and thirds of the hue circle: the share of its power that turns of the hue leave alone, and the share that turns of the image leave alone. Circles: this profile's network. Squares: raw patches. Triangles: the same network with random weights. The dashed lines are what a vector of unrelated blocks has."}, "image": {"alt": "A scatter plot of three kinds of points. Circles lie in a narrow column at the right edge; squares and triangles are spread widely to the left."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 4.2))
    for (name, shares), marker in zip(invariant.items(), "os^", strict=True):
        ax.scatter(shares["hue"], shares["turns"], s=22, alpha=0.7, marker=marker,
                   linewidths=0, label=name)
    ax.axvline(1 / 3, color="0.4", linestyle="--", linewidth=1)
    ax.axhline(1 / 4, color="0.4", linestyle="--", linewidth=1)
    ax.set(xlabel="power that turns of the hue leave alone",
           ylabel="power that quarter turns leave alone",
           xlim=(None, 1.01), ylim=(None, 1.01))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, markerscale=1.5)
    report.figure("colour_invariance", fig)

# %% [markdown]
# Does the encoder agree? Its answers to the same point in all twelve versions are a vector like the decoder's,
# so the same function gives the invariant share of what it *reads*.

# %%
small, small_coder = own["trained"], own["trained"].coder()
with torch.no_grad():
    x = torch.cat(list(small.orbits("held-out").in_order())).to(small_coder.W_e.device)
    heard = torch.stack([small_coder.preactivations(x[:, g]).relu()
                         for g in range(12)]).cpu()[:, :, alive["trained"]]
heard = (heard - heard.mean((0, 1))).permute(2, 0, 1)
heeds = heard.flatten(1).norm(dim=1) > 1e-6
for part, H in factors.items():
    reads = irrep_power(on_part(heard[heeds], part), H)[:, 0].numpy()
    agrees = float(spearmanr(reads, invariant["trained"][part][heeds.numpy()])[0])
    report.number(f"{part.removesuffix('s')}_encoder_rank", agrees,
                  note=f"rank correlation of decoder and encoder, invariance to {part}")
    print(f"{part:>5}: invariant power of the responses {np.median(reads):.2f} in the "
          "median; rank correlation with "
          f"the decoder's {agrees:.2f}")
    assert part == "hue" or agrees > 0.2

# %% [markdown]
# For turns the two agree well on which features are more invariant than others. For hue they can only agree where there
# is something to rank, that is, not in a network that hardly sees it.
#
# Last, pictures: {numref}`fig-colour-features` has the three features with the smallest and the three with the largest
# invariant share under hue. Each was drawn for its feature by gradient ascent, as in {doc}`06_seeing`, and then shown
# to it with the hue turned by one and by two thirds. On the built-in network all invariant shares are near 1, so this
# order means little, and in the book's run the least invariant ones keep no less of their response than the most.

# %%
ranked = invariant["trained"]["hue"].argsort()
shown_features = np.r_[ranked[:3], ranked[-3:]]
drawn_for = small.visualise(small_coder, alive["trained"][shown_features],
                            size=run.profile.vis_size,
                            steps=run.profile.vis_steps)
as_images = torch.as_tensor(drawn_for.transpose(0, 3, 1, 2).copy())
turned_hue = ColourAction(cyclic(3)).images(as_images)

# %%
directions = small_coder.W_e.detach()[torch.as_tensor(alive["trained"][shown_features])]
answer_to = torch.stack([
    symmetry.picture_responses(model, pixels.permute(0, 2, 3, 1).numpy(),
                               directions).diagonal()
    for pixels in turned_hue])
kept = answer_to / answer_to[0]
for key, part, which in (("hue_kept_least", slice(3), "least"),
                         ("hue_kept_most", slice(3, 6), "most")):
    print(f"{which} colour-invariant: {kept[1:, part].mean():.0%} of the response is "
          "left with the hue turned")
    report.number(key, float(kept[1:, part].mean()),
                  note=f"response left, hue turned, {which} invariant features")

# %% mystnb={"figure": {"name": "fig-colour-features", "caption": "Features of this profile's network, drawn by gradient ascent: the three least colour-invariant ones on the left, the three most on the right. Above: the invariant share of power. Second and third row: the same pictures with the hue turned by one and by two thirds, with the response that is left."}, "image": {"alt": "Three rows of six small pictures of features on grey. From row to row their colours change and their shapes do not."}} tags=["hide-input"]
edge = max(0, (run.profile.vis_size - model.geometry.receptive_field) // 2)
field = slice(edge, run.profile.vis_size - edge)
titles = [f"{share:.2f}" for share in invariant["trained"]["hue"][shown_features]] + [
    f"{share:.0%}" for share in kept[1:].flatten().tolist()]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 3.9))
    figures.feature_grid(turned_hue.flatten(0, 1)[:, :, field, field].clamp(0, 1), ax,
                         titles, columns=6)
    report.figure("colour_features", fig)

# %% [markdown]
# ## Exercises
#
# ```{exercise} A curve under five mirrors
# :label: ex-five-mirrors
#
# Under $D_5$ the drawn curve had no symmetry, because its axis is none of the five mirrors. In how many positions does
# it have one? Turn the drawing in steps of 6° and count.
# ```
#
# ```{solution-start} ex-five-mirrors
# :class: dropdown
# ```

# %%
five = others["D_5"]
turned = [draw("curve", math.radians(angle), five.source_size(size), scale=unit,
               half_width=1.4 * unit) for angle in range(0, 360, 6)]
vectors = torch.stack([drawing_responses(five.images(picture, size)[:, 0]).flatten(1)
                       for picture in turned])
has_mirror = [s.subgroup.label == "one mirror"
              for s in stabilisers(vectors, five.group)]
print([angle for angle, yes in zip(range(0, 360, 6), has_mirror, strict=True) if yes])
assert sum(has_mirror) == 10

# %% [markdown]
# In ten: the axis of the curve has two ends, and it has to lie on one of five lines.
#
# ```{solution-end}
# ```
#
# ```{exercise} Subgroups that mix
# :label: ex-mixed
#
# Which subgroups of $C_4 \times C_2$ are not made of turns on the one hand and swaps on the other? Find them by rule.
# Which of the pictures have them?
# ```
#
# ```{solution-start} ex-mixed
# :class: dropdown
# ```

# %%
turns, swaps = set(range(0, 8, 2)), {0, 1}  # (r^k, e) is number 2 k, (e, r) is number 1
mixed = []
for H in K.subgroups():
    apart = len(turns & set(H.elements)) * len(swaps & set(H.elements))
    if apart < H.order:
        mixed.append(H)
        print(f"{H.label:>4}  {{{', '.join(K.names[h] for h in H.elements)}}}")
have_them = {name for name, s in zip(pictures, marked, strict=True)
             if s.subgroup in mixed}
print("pictures with one of them:", ", ".join(sorted(have_them)))
assert have_them == {"half red, half blue line", "red and blue cross"}

# %% [markdown]
# If a subgroup is a product, its order is that of its turns times that of its swaps. For two it is not: those of the
# half red, half blue line and of the red and blue cross.
#
# ```{solution-end}
# ```

# %% [markdown]
# ## Summary
#
# - Only the Cayley table enters. The rule of {prf:ref}`def-stabiliser` is right for 13 of 14 drawn shapes under
#   $C_6$ and $D_5$, and for coloured drawings under $C_4 \times C_2$.
# - A colour swap is as good as a mirror, and a turn of the hue as good as one of the image.
# - A feature is colour-invariant if every turn of the hue leaves it as it is ({prf:ref}`def-invariant-share`). Raw
#   patches have many such features too. In the built-in network training does not make features more invariant to turns.

# %% [markdown]
# ## Limits
#
# The colour census counts thirds of the hue circle, so a feature that repeats after every third of it would pass as
# colour-invariant. Its crosscoders are trained on few images. And hue is an angle about the grey axis of RGB here, not
# as people see it: for the eye, yellow is lighter than blue, and turning one into the other changes more than hue.

# %% [markdown]
# ## What next
#
# {doc}`11_one_matrix` turns to another method: autoencoders that are made invariant, and one matrix that turns what
# they write. Its dictionaries have blocks like a crosscoder's, so the functions of the last three chapters apply to
# them.

# %% [markdown]
# ## On InceptionV1
#
# The same cells, run with `profile="inception"`, gave the right-hand column, as in {doc}`07_symmetry`.
# The picture below is the counterpart of {numref}`fig-colour-invariance`.

# %% tags=["hide-input"]
report.save()
columns = ["trained", "untrained", "patches"]
display(Markdown(report.compare(
    *(f"hue_{what}{ENDS[name]}" for what in ("change", "invariant")
      for name in columns),
    *(f"turn_invariant{ENDS[name]}" for name in columns))))

# %% [markdown]
# The rest of what was measured:

# %% tags=["hide-input"]
display(Markdown(report.compare(
    *(f"turn_{what}{ENDS[name]}" for what in ("change", "power") for name in columns),
    *(f"hue_power{ENDS[name]}" for name in columns))))
display(Markdown(report.compare(
    "hue_turn_rank", "turn_encoder_rank", "hue_encoder_rank", "hue_kept_least",
    "hue_kept_most", "hue_outside", "any_swap", "any_product",
    *(key for key in report.comparable() if key.startswith("any_") and key not in (
        "any_swap", "any_product")))))

# %% tags=["hide-input"]
display(HTML(figures.published(
    "10_any_group", "colour_invariance",
    caption="InceptionV1, reference run: invariance to hue and to turns. How far to "
            "the right a network lies says how little of the hue it keeps.",
    alt="Scatter plot of invariance to hue against invariance to quarter turns, "
        "trained and untrained network.")))
