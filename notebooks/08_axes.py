# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which way is up?
#
# **On {term}`InceptionV1`** mirrors of features prefer the axes of the photographs, most of all the upright one, which
# swaps left and right ({numref}`fig-rose-inception`); features of random weights lean the same way, if less. Train on
# turned photographs, and the preference turns along: it is the photographs', as far as the dictionary goes. The network
# has one of its own as well.
#
# ```{figure} ../book/reference/08_axes/rose.png
# :alt: Roses of mirror axes. For the trained network the upright petal is by far the longest, for random weights it is the longest, surrogates have no preference.
# :name: fig-rose-inception
#
# InceptionV1, mixed3b, reference run: axes of mirrors (above) and mean leaning to each axis (below), for the trained
# network and its controls. A petal's direction is the axis on the screen.
# ```
#
# **You will learn**
#
# - which line each mirror of the group is about, and how to draw a layer's mirrors as a rose of axes,
# - how to test whether a layer prefers some axes, with a threshold and without one, and what chance would give,
# - what a preference is owed to: the images, the network, or the pixels, and which experiments can tell,
# - whether a second, disjoint set of images leads to the same axes, and what a match of features is worth.
#
# **You need** stabilisers and centred profiles from {doc}`07_symmetry`, the block action from {doc}`01_groups`.
#
# **Run time** a few minutes on one CPU core when {doc}`chapter 7 <07_symmetry>` has been run.
#
# **Look up** symbols in {doc}`../book/notation`, words in the {doc}`../book/glossary`.
#
# **What the networks were trained on.** `tiny-inception`: drawings in which every orientation and every mirror image is
# equally common, which works like augmentation by all rotations; it was trained to name the shapes. Its control
# `tiny-inception-told` was trained to report orientations too. InceptionV1 in the BVLC training (GoogLeNet): upright
# photographs, **half of them mirrored left to right** at random, trained to name things. So for InceptionV1 two
# causes point in one direction: the world's gravity, and the mirrors of its training.
#
# **Whom we compare.** *trained* and *told*: the two networks above. *untrained*: random weights. *patches*: pixels in
# place of a layer. *surrogate*: profiles of the trained network's features with unrelated axes, as in chapter 7.
#
# ```{admonition} The short way
# :class: tip
#
# Later chapters need nothing of this one. *The rose* and *Images, network, or pixels?* explain the two tests: twenty
# minutes. The small network passes them as it should, without a preferred axis. What the landing page reports is in
# *On InceptionV1*.
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

from groupcc_lite import coders, figures
from groupcc_lite.base import bootstrap, interval_of, percentile_interval
from groupcc_lite.runs import Run
from groupcc_lite.symmetry import (
    MovedOrbits,
    axes_of,
    axis_voters,
    axis_votes,
    axis_weights,
    confirmed,
    copies,
    encoder_profile,
    fitting_batches,
    isotropy,
    linear_ceiling,
    living_dictionary,
    max_cosine,
    mirror_agreement,
    preference_turn,
    profile_stabilisers,
    self_similarity,
    supported_stabilisers,
    surrogate,
)

# %%
run = Run(profile, seed=seed, images=images, weights=weights)
report = run.report("08_axes")
G, A = run.group, run.action
n = G.order // 2  # rotations; element n + k is s r^k
axes = axes_of(A)
print(run, "-", len(axes.elements), "axes,", axes.step, "degrees apart")

# %% [markdown]
# ## Axes on the screen
#
# A mirror exchanges the two sides of a line through the image centre, its **axis**. In $D_n$ the element $s r^k$ first
# turns by $360°k/n$ and then exchanges left and right. A direction $\alpha$, counter-clockwise from level, goes to
# $180° - \alpha - 360°k/n$, and stays where it is for
#
# $$ \alpha_k = 90° - \tfrac{180°}{n} k . $$ (eq-axis)
#
# So $s$ itself, left and right exchanged, has the *upright* axis. Let us ask a picture: two spots on a line at
# $\alpha_k$
# are left alone by $s r^k$, and by no other mirror.

# %%
def spots(angle, size):
    """Two different spots on a line through the centre, at this angle."""
    y, x = torch.meshgrid(*[torch.arange(size) - (size - 1) / 2] * 2, indexing="ij")
    a = np.radians(angle)
    blobs = [w * torch.exp(-((x - d * np.cos(a)) ** 2 + (y + d * np.sin(a)) ** 2) / 18)
             for d, w in ((14.0, 1.0), (-8.0, 0.6))]
    return sum(blobs).expand(1, 3, -1, -1)


for k, (element, angle) in enumerate(zip(axes.elements, axes.angles, strict=True)):
    views = A.images(spots(angle, 65), size=43, elements=[0, *axes.elements])[:, 0, 0]
    assert int((views[1:] - views[0]).abs().amax((1, 2)).argmin()) == k
    if k % (n // 4) == 0:
        print(f"{G.names[element]:>6}: axis at {angle:5.1f} degrees, "
              f"{'pixels to pixels' if axes.exact[k] else 'resampled'}")

# %% [markdown]
# ## The rose
#
# Which axes do the features of a layer have? Two ways to count. A feature **votes** for the axis of its mirror if its
# stabiliser is a single mirror that {doc}`chapter 7 <07_symmetry>`'s surrogate does not have as often
# (`supported_stabilisers`). Votes are few and clear. Or every feature **leans**: its centred profile at the mirrors,
# $c'(s r^k)$, less their mean over $k$. No threshold, and all features take part, but broad ones lean a little to
# many axes.
#
# ```{prf:definition} Isotropy
# :label: def-isotropy
#
# A dictionary is **isotropic** if no axis is more frequent among its features than another, nor leaned to more.
# ```
#
# The test shifts each feature's row of votes or leanings by a random number of steps of its own, and asks how often the
# mean row then varies as much as it does in truth. Features with a plain cosine of 0.7 or more are copies, and so are
# copies of copies. They have one axis without the layer preferring it, so they are shifted together. We fix this before
# we look. A chi-square test would need five expected votes an axis, and there are fewer. And neighbouring axes have
# similar leanings, which a random shift keeps and a random order would not.

# %%
def look(run, coder):
    """Everything about the axes of one coder's living features."""
    D, features = living_dictionary(coder, run.evaluate(coder).frequency)
    c, its_axes = self_similarity(D, G), axes_of(run.action)
    found = supported_stabilisers(c, G, seed=seed).stabilisers
    c_encoder = encoder_profile(coder, run.orbits("held-out")).cpu()[features]
    return dict(D=D, c=c, axes=its_axes, found=found, encoder=c_encoder,
                copies=copies(D),
                votes=axis_votes(found, its_axes), weights=axis_weights(c, its_axes),
                plain=axis_votes(profile_stabilisers(c, G), its_axes))


def near(its_axes, *angles):
    """Which axes are nearest to one of these directions: one, or the two beside it."""
    apart = np.abs((its_axes.angles[:, None] - np.array(angles) + 90) % 180 - 90)
    return (apart <= its_axes.step / 2 + 1e-6).any(1)

# %%
names = ["trained", "untrained", "patches"]
names += ["told"] if run.profile.model == "tiny-inception" else []
controls = {name: run.control(name) for name in names}
looks = {name: look(control, control.coder()) for name, control in controls.items()}
chance = surrogate(looks["trained"]["c"], G, seed=seed)
labels = supported_stabilisers(chance, G, seed=seed + 1).stabilisers
looks["surrogate"] = dict(c=chance, axes=axes, votes=axis_votes(labels, axes),
                          copies=np.arange(len(chance)),  # axes of copies are unrelated
                          weights=axis_weights(chance, axes), found=labels,
                          plain=axis_votes(profile_stabilisers(chance, G), axes))

# %% tags=["hide-input"]
DIRECTIONS = {"left_right": (90,), "up_down": (0,), "diagonal": (45, 135)}
WORDS = {"left_right": "left-right", "up_down": "up-down", "diagonal": "each diagonal"}


def tell(name, found, suffix):
    """Report the votes of one column by direction, and both tests."""
    votes, its_axes = found["votes"], found["axes"]
    counts, row = votes.sum(0), {}
    again = bootstrap(lambda drawn: votes[drawn].sum(0), len(votes), draws=500,
                      seed=seed) if len(votes) else counts[None]
    rest = ~near(its_axes, 0, 45, 90, 135)
    for key, which in [(key, near(its_axes, *angles)) for key, angles in
                       DIRECTIONS.items()] + [("other_mean", rest)]:
        if which.any():
            row[key] = report.number(
                f"axes_{key}{suffix}", float(counts[which].mean()), n=len(votes),
                note=f"{name}: votes for {WORDS.get(key, 'each other axis')}",
                interval=percentile_interval(again[:, which].mean(1)),
                over="features")
    same = found["copies"]
    for key, rows, groups in (
            ("chi2_p", votes, same[axis_voters(found["found"], its_axes)]),
            ("soft_p", found["weights"], same)):
        p = isotropy(rows, copies=groups, seed=seed) if len(rows) else None
        row[key] = report.number(f"axes_{key}{suffix}", p, n=len(rows),
                                 note=f"{name}: isotropy, p of "
                                 + ("votes" if key == "chi2_p" else "leanings"))
    lean = float(found["weights"].mean(0)[near(its_axes, 90)].mean())
    row["lean"] = report.number(f"axes_lean{suffix}", lean,
                                note=f"{name}: mean leaning to left-right")
    return row

# %% tags=["hide-input"]
def table(rows):
    """Columns of `tell` as a markdown table."""
    head = "| | left-right | up-down | each diagonal | each other axis | votes | " \
           "p, votes | p, leanings | leaning to left-right |"
    lines = [head, "|---" * 9 + "|"]
    for name, (row, found) in rows.items():
        cells = [row.get(key) for key in ("left_right", "up_down", "diagonal",
                                          "other_mean")]
        cells = ["–" if cell is None else f"{cell:.1f}" for cell in cells]
        cells.append(str(len(found["votes"])))
        cells += ["–" if row[key] is None else f"{row[key]:.3f}"
                  for key in ("chi2_p", "soft_p")]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {row['lean']:+.3f} |")
    return Markdown("\n".join(lines))


suffixes = {name: "" if name == "trained" else f"_{name}" for name in looks}
rows = {name: (tell(name, found, suffixes[name]), found)
        for name, found in looks.items()}
table(rows)

# %% [markdown]
# Votes are numbers of features; the p values are shares of random shifts. {numref}`fig-rose` draws the same: above the
# votes of all features that pass the threshold, supported or not, below the leanings.

# %% mystnb={"figure": {"name": "fig-rose", "caption": "Roses of mirror axes. Each petal is an axis as seen on the screen, upright for left-right mirrors. Orange: mirrors that move pixels to pixels; blue: mirrors that interpolate. Top: the features, counted in the title, with one mirror by the threshold alone; dashed, an equal share for all axes. Bottom: mean leaning of all features; the dashed circle is zero, inwards is negative, and the scale is that of the largest leaning of all, a few hundredths."}, "image": {"alt": "Two rows of round charts, one column for each network or control, with sixteen petals at both ends of sixteen lines."}} tags=["hide-input"]
with figures.house_style():
    fig, grid = plt.subplots(2, len(looks), figsize=(2.1 * len(looks), 4.6),
                             subplot_kw=dict(projection="polar"))
    reach = max(np.abs(found["weights"].mean(0)).max() for found in looks.values())
    for (top, bottom), (name, found) in zip(grid.T, looks.items(), strict=True):
        counts, lean = found["plain"].sum(0), found["weights"].mean(0)
        figures.axis_rose(counts, axes.angles, top, exact=axes.exact,
                          expected=float(counts.mean()))
        figures.axis_rose(lean, axes.angles, bottom, exact=axes.exact, expected=0.0,
                          low=-1.05 * float(reach))
        bottom.set_ylim(-1.05 * float(reach), 1.05 * float(reach))
        top.set_title(f"{name}\n{int(counts.sum())} features", fontsize=10)
        for ax in (top, bottom):
            ax.set_xticklabels([])
    report.figure("rose", fig, alt="Roses of mirror axes by network")

# %% [markdown]
# Two patterns would be telling. The **pixel grid** treats upright, level and the two diagonals alike: if interpolation
# or the lattice of the filters were the cause, four orange petals would stand out. **Gravity** and mirrored training
# treat them differently. The built-in network saw all directions equally often, so its rose should be flat, and that of
# its untrained copy too; a rose that were not flat would mean that the method itself prefers axes. In the book's run no
# p value of this chapter is below 0.1, and the mean leaning to left-right stays within two hundredths of a cosine:
# flat. Few mirrors are *supported* there, and flat roses of few votes are weak evidence. Many more pass the threshold,
# but more than half as many do in the surrogate of the trained network. These upper roses are not tested: petals of
# *patches* at level and the diagonals, for instance, are votes that no surrogate was held against.
#
# Does it depend on the seed of the coder?

# %%
by_seed = []
for other in range(run.profile.seeds):
    found = look(run, run.coder(seed=seed + other))
    by_seed.append(found["weights"].mean(0)[near(axes, 90)].mean())
    print(f"seed {seed + other}: leaning to left-right {by_seed[-1]:+.3f}, "
          f"votes {found['votes'].sum(0)[near(axes, 90)].sum():.0f} "
          f"of {len(found['votes'])}")
_ = report.number("axes_lean_seeds", float(np.mean(by_seed)), n=len(by_seed),
                  interval=interval_of(by_seed), over="seeds",
                  note="mean leaning to left-right, all images")

# %% [markdown]
# ## Decoder and encoder
#
# The axes so far are the decoder's. The encoder is another matrix. Its own profile comes from its responses to held-out
# orbits (`encoder_profile`). If both halves look for one thing, they have one axis. For chance we compare each decoder
# with the encoder of *another* feature (`mirror_agreement`). A random axis would be too easy: if all features had the
# upright axis, any two would agree.

# %%
for name in names:
    found = looks[name]
    sure = confirmed(found["found"], found["encoder"]).numpy()
    mirrors = np.array([s.subgroup.order == 2 and s.subgroup.elements[1] >= n
                        for s in found["found"]])
    both = [s for s, yes in zip(found["found"], sure & mirrors, strict=True) if yes]
    found["sure"] = axis_votes(both, axes)
    found["confirmed"] = len(both), len(mirrors)
    print(f"{name:>9}: confirmed {len(both)}, of these left-right "
          f"{found['sure'].sum(0)[near(axes, 90)].sum():.0f}")

# %%
for name in names:
    agree = mirror_agreement(looks[name]["found"], looks[name]["encoder"], G)
    chances = float(agree.chance[0]), float(agree.chance[:2].sum())
    if len(agree.steps) > 1:  # chance takes another feature
        for key, value, by_chance, words in (
                ("same", agree.exact, chances[0], "the same"),
                ("within_one", agree.near, chances[1], "within one step")):
            report.number(f"axes_{key}{suffixes[name]}", value, n=len(agree.steps),
                          note=f"{name}: encoder's best mirror {words}")
            report.number(f"axes_{key}_chance{suffixes[name]}", by_chance,
                          n=len(agree.steps), note=f"{name}: {words} by chance")
        print(f"{name:>9}: of {len(agree.steps)} mirrors the encoder's best is the "
              f"same for {agree.exact:.0%} (chance {chances[0]:.0%}), within a step "
              f"for {agree.near:.0%} (chance {chances[1]:.0%})")

# %%
for name in names:
    count, features = looks[name]["confirmed"]
    report.number(f"axes_confirmed{suffixes[name]}", count, n=features,
                  note=f"{name}: mirrors confirmed by the encoder")

# %% [markdown]
# In the book's run the agreement of supported mirrors is far above chance, with random weights as well, and it is
# lowest for the told network; the numbers of mirrors are printed above. So it says that a coder's two halves agree on
# an axis, and nothing about what the network learned.

# %% [markdown]
# ## Images, network, or pixels?
#
# Suppose a layer prefers the upright axis. The images that the coder saw may be to blame, or the network, in whose
# weights its training left a direction, or the pixel grid, on which some mirrors are exact. To tell them apart, turn
# one against the others. But careful: turning the *images* does less than it seems.
#
# ```{prf:proposition} Turned images, the same orbits
# :label: prop-moved
#
# The orbit vector of $(hI, hp)$ is $h \cdot x$, where $x$ is that of $(I, p)$. If a dictionary $F_i$ and codes explain
# $x$ on some images, then $h \cdot F_i$ with the same codes explain the orbits of the images moved by $h$ as well, and
# a stabiliser $H$ becomes $hHh^{-1}$: all axes turn with the images.
# ```
#
# *Because* block $g$ of the first is $a(g h I)(g h p) = x[gh]$, up to interpolation; the rest is
# {prf:ref}`prop-conjugate`. So turning the images only renames the blocks that the decoder must write. What changes is
# *what the encoder reads*. It always reads block $e$, the picture as it stands, and block $e$ of the moved orbits is
# block $h$ of the old ones: a turned picture, seen by an upright network. If that network gives the same block for two
# pictures that are mirror images about *its* upright axis, because it was trained to ignore left and right, the encoder
# gives both the same code. The decoder can then only write their mean, which has that mirror.
#
# The second knob is the group. Conjugating $D_n$ by one step between axes, $180°/n$, gives the same mirrors with other
# names: nothing would be tested. Conjugated by *half* a step the axes lie between the old ones. No mirror is exact
# any more, while rotations stay what they are.

# %%
half = axes.step / 2
same, between = A.conjugated(axes.step), A.conjugated(half)
assert sorted(axes_of(same).angles) == sorted(axes.angles)  # other names only
turn = 360 / n  # r
print(f"images turned by {turn:g} degrees; group conjugated by {half:g} degrees")
print("exact mirrors:", int(axes.exact.sum()), "as it is,",
      int(axes_of(between).exact.sum()), "conjugated;",
      "exact rotations:", int(between.exact[:n].sum()))

# %% [markdown]
# Predictions, written down before looking. Where the preferred axes lie, if they are owed to
#
# | photographs | group | the images of the coder | the network | the pixel grid |
# |---|---|---|---|---|
# | as they are | as it is | upright | upright | four exact ones alike |
# | turned | as it is | turned with them | upright | four exact ones alike, or these turned with the images |
# | as they are | conjugated | both beside upright | both beside upright | none |
# | turned | conjugated | both beside the turned upright | both beside upright | none |
#
# Rows 1 and 3 cannot tell images from network; rows 2 and 4 can. Row 3 tells the grid from both. The grid's entry in
# row 2 is double, because photographs are not turned afresh, only blocks are renamed: what exact mirrors do to the
# block that the encoder reads stays, and how sharp the stored blocks are goes along.
#
# The criterion: we turn the curve of mean leanings of row 1 until it fits that of another row best, and note the angle.
# Fourier series let us turn by less than a step. Features drawn again with replacement show how sure it is. By chance a
# sample lies within half a step of a given angle in 6 % of the cases, for sixteen axes.

# %%
fits = run.all_images.size >= between.source_size(run.model.input_size)
wide = run if fits else Run(profile, seed=seed, images=images, weights=weights,
                            action=between)  # D_4 needs no margin, its copy does
conditions = {"turned": (controls["trained"], 1),
              "conjugated": (wide.control(action=between), 0)}
conditions["both"] = (conditions["conjugated"][0], 1)
for name, (control, h) in conditions.items():
    looks[name] = look(control, control.moved_coder(h))
    rows[name] = (tell(name, looks[name], f"_{name}"), looks[name])
table({name: rows[name] for name in ("trained", *conditions)})

# %%
first = looks["trained"]
for name in conditions:
    found = looks[name]
    moved = preference_turn(first["weights"], first["axes"].angles,
                            found["weights"], found["axes"].angles, seed=seed)
    stays, follows = moved.within(0, half), moved.within(turn, half)
    print(f"{name:>10}: turned by {moved.angle:+.1f} degrees; of 500 samples "
          f"{stays:.0%} stay, {follows:.0%} turn by {turn:g}")
    report.number(f"axes_turn_{name}", moved.angle, unit="°",
                  note=f"{name}: preference turned by",
                  interval=moved.interval,
                  over="features")
    report.number(f"axes_stays_{name}", stays, note=f"{name}: samples that stay")
    report.number(f"axes_follows_{name}", follows,
                  note=f"{name}: samples that turn with the images")

# %% mystnb={"figure": {"name": "fig-axes-turned", "caption": "Mean leaning against the direction of the axis on the screen, under the four conditions. Dotted: upright, and upright turned with the images. Look at the scale: a layer without preferred axes has lines within a hundredth or so of zero, and their wiggles are accidents that coders of the same images and start share."}, "image": {"alt": "Four lines over the direction of the axis from 0 to 180 degrees, with two dotted vertical lines."}} tags=["hide-input"]
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 3.6))
    for name in ("trained", *conditions):
        angles, lean = looks[name]["axes"].angles, looks[name]["weights"].mean(0)
        order = np.argsort(angles)
        ax.plot(angles[order], lean[order], marker="o", markersize=4,
                label="as they are" if name == "trained" else name)
    for at in (90, 90 + turn):
        ax.axvline(at % 180, color=figures.MUTED, linestyle=":", linewidth=1)
    ax.set(xlabel="axis, degrees from level", ylabel="mean leaning",
           xticks=range(0, 181, 45))
    ax.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    report.figure("turned", fig, alt="Leaning by axis under four conditions")

# %% [markdown]
# For the built-in network this is a negative control: with flat roses every angle is as good as another, and the
# samples must scatter widely. If they agreed on an angle, the method would make preferences up.

# %% [markdown]
# ## Without a coder
#
# The {term}`linear reference` asks no dictionary: how well does the best linear map predict the block of the mirrored
# picture, $x[s r^k]$, from that of the picture, $x[e]$? To turn the images, predict from block $r$, the block of the
# mirrored turned picture. If a network is better at some mirrors by itself, they stay the same when it reads turned
# images. If the images are nearly mirror symmetric by themselves, it is *their* axis that counts, and it turns.

# %%
def ceilings(control, h):
    """Linear references of all mirrors, reading block h."""
    train, held_out = (MovedOrbits(control.orbits(part), h)
                       for part in ("train", "held-out"))
    return linear_ceiling(fitting_batches(train), held_out.in_order())[
        list(axes.elements)].numpy()

# %%
read = {name: [ceilings(controls[name], h) for h in (0, 1)]
        for name in ("trained", "untrained", "patches")}
for name, (upright, turned) in read.items():
    for key, angles in DIRECTIONS.items():
        report.number(f"ceiling_{key}_{name}",
                      float(upright[near(axes, *angles)].mean()),
                      note=f"{name}: linear reference, {WORDS[key]}")
    report.number(f"ceiling_rest_{name}", float(np.median(upright)),
                  note=f"{name}: linear reference, median mirror")
    report.number(f"ceiling_turned_stays_{name}", float(turned[near(axes, 90)].mean()),
                  note=f"{name}: the same, images turned, upright axis")
    report.number(f"ceiling_turned_follows_{name}",
                  float(turned[near(axes, 90 + turn)].mean()),
                  note=f"{name}: the same, images turned, axis turned with them")
    print(f"{name:>9}: best axis {axes.angles[upright.argmax()]:g} degrees, images "
          f"turned {axes.angles[turned.argmax()]:g}; spread {np.ptp(upright):.3f}")

# %% mystnb={"figure": {"name": "fig-axes-ceiling", "caption": "Linear reference of each mirror against its axis: solid, images as they are; dashed, turned. A peak that stays is the network's or the grid's, one that moves by the whole turn is the images'. Peaks or dips at 0, 45, 90 and 135 degrees alike are the pixel grid's; dips of unsmoothed blocks move by half the turn, with the blocks that are predicted."}, "image": {"alt": "Three pairs of lines, solid and dashed, over the direction of the axis."}} tags=["hide-input"]
order = np.argsort(axes.angles)
with figures.house_style():
    fig, ax = plt.subplots(figsize=(6, 3.6))
    for number, (name, both) in enumerate(read.items()):
        for values, style in zip(both, ("-", "--"), strict=True):
            ax.plot(axes.angles[order], values[order], style,
                    color=figures.PALETTE[number], marker="o", markersize=3,
                    label=name if style == "-" else None)
    ax.set(xlabel="axis, degrees from level", ylabel="variance explained",
           xticks=range(0, 181, 45))
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    report.figure("ceilings", fig, alt="Linear references by axis")
for name, curve in zip(("dip", "dip_turned"), read["trained"], strict=True):
    beside = (np.roll(curve[order], 1) + np.roll(curve[order], -1)) / 2
    for angle, dip in zip(axes.angles[order], beside - curve[order], strict=True):
        report.number(f"{name}_{angle:g}", dip, internal=True)

# %% [markdown]
# The four exact mirrors may do better here, as with patches, which they permute, or worse: reading between cells
# smooths a block, and what is smooth is easier to predict. If the grid is the cause, the four go together. What a world
# or a training prefers would part them. In the book's run patches have peaks at the four. Three of the four exact axes
# of the trained network have dips of one to five hundredths, and the dips of the dashed curves lie half the turn
# further, as the unsmoothed blocks do. That looks like resampling and not like a preference; but no interval says so.
#
# And the images alone: how similar is a picture to its mirror image, about which axis? We compare brightness within the
# largest circle, means removed.

# %%
few = controls["trained"].all_images
chosen = np.linspace(0, len(few) - 1, min(100, len(few))).astype(int).tolist()
size = run.model.input_size
y, x = torch.meshgrid(*[torch.arange(size) - (size - 1) / 2] * 2, indexing="ij")
disc = x**2 + y**2 <= (size / 2) ** 2
alike = []
for start in range(0, len(chosen), 10):
    views = A.images(few.load(chosen[start:start + 10]), size=size,
                     elements=[0, *axes.elements]).mean(2)[..., disc]
    views = torch.nn.functional.normalize(views - views.mean(-1, keepdim=True), dim=-1)
    alike.append((views[1:] * views[0]).sum(-1).T)
alike = torch.cat(alike).numpy()

# %%
for key, angles in DIRECTIONS.items():
    values = alike[:, near(axes, *angles)].mean(1)
    report.number(f"alike_{key}", float(values.mean()), n=len(values),
                  interval=interval_of(values), over="images",
                  note=f"images with their mirror images, {WORDS[key]}")
    print(f"{WORDS[key]:>13}: correlation {values.mean():.3f}, 95 % "
          f"{interval_of(values)[0]:.3f} to {interval_of(values)[1]:.3f}")
print(f"     all axes: {alike.mean():.3f}")
_ = report.number("alike_all", float(alike.mean()), note="the same, mean over all axes")

# %% [markdown]
# ## Other images
#
# Features of one set of images need not be those of another. A second set, disjoint from the first, trains a second
# coder with the same settings and another seed. (With the same seed both would start from the same random weights, and
# features that stay near their common start look like features found again.) Each is judged on the other's held-out
# images. Then features are matched, by the largest
# cosine over the group. Two nulls say what a match is worth: the nearest *other* feature of the same dictionary, and a
# "dictionary" of as many random data points of the second set, about their mean.

# %%
one, two, what = run.two_image_sets()
print("second set:", what, "-", len(two.all_images), "images")
assert not set(one.all_images.names) & set(two.all_images.names)
coder_one, coder_two = one.coder(), two.coder(seed=seed + 1)
looks["second"] = look(two, coder_two)
rows["second"] = (tell("second", looks["second"], "_second"), looks["second"])
table({name: rows[name] for name in ("trained", "second")})

# %%
def fve(coder, run):
    return float(coders.evaluate(coder, run.orbits("held-out")).fve)


for key, value, note in (
        ("second_own", fve(coder_one, one), "first coder on its own images"),
        ("second_fve", fve(coder_one, two), "first coder on the second set"),
        ("second_fve_back", fve(coder_two, one), "second coder on the first set"),
        ("second_fve_own", fve(coder_two, two), "second coder on its own images")):
    report.number(key, value, note="variance explained, " + note)
    print(f"{note}: {value:.3f}")

# %%
D_one = living_dictionary(coder_one, one.evaluate(coder_one).frequency)[0]
D_two = looks["second"]["D"]
points = next(two.orbits("train").batches(len(D_two), seed=seed)).float().cpu()
points = points - points.mean(0)


def nearest(D, others):
    return max_cosine(torch.cat([D, others]), G)[:len(D), len(D):].amax(1)


itself = max_cosine(D_one, G).fill_diagonal_(-1).amax(1)
matches = dict(match=nearest(D_one, D_two), match_null=nearest(D_one, points),
               match_neighbour=itself)
for key, note in (("match", "nearest feature of the other set's coder"),
                  ("match_null", "nearest data point"),
                  ("match_neighbour", "nearest other feature of the same coder")):
    low, middle, high = matches[key].quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    print(f"{note}: median {middle:.3f}, quartiles {low:.3f} and {high:.3f}")
    report.number(f"second_{key}", middle, n=len(D_one), note=note + ", median cosine")
above = matches["match"] > matches["match_null"].quantile(0.99)
_ = report.number("second_above", float(above.float().mean()), n=len(D_one),
                  note="features matched better than 99 % match data points")
print(f"matched better than 99 % are by data points: {above.float().mean():.0%}")

# %% [markdown]
# Read the match only against its nulls: features that are near their neighbours anyway are near something in any
# dictionary. In the book's run both sets are explained about as well by either coder, and yet hardly any feature of the
# one is found again in the other: the median match is no higher than that with data points. Another seed alone does the
# same ({doc}`chapter 3 <03_training>`), so this says nothing about the images; nor do two roses that are both flat.

# %% [markdown]
# ## Exercises
#
# ```{exercise} A group that tests nothing
# :label: ex-same-mirrors
#
# Show that conjugating $D_n$ by $180°/n$ maps $s r^k$ to $s r^{k-1}$. What would a crosscoder on these orbits look
# like?
# ```
#
# ```{solution-start} ex-same-mirrors
# :class: dropdown
# ```

# %%
for k in range(n):
    assert np.allclose(same.matrices[n + k], A.matrices[n + (k - 1) % n])

# %% [markdown]
# The axis $\alpha_k$ turned by a step is $\alpha_{k-1}$, by {eq}`eq-axis`, and a mirror is known by its axis. Rotations
# commute with the turn. So every orbit holds the same blocks, the mirrors' among them one place further, and the
# identity's block is the same: a coder with correspondingly reordered initial weights learns the same features step by
# step. (For even $n$ the map is an automorphism that no element of the group gives: it exchanges both classes of
# mirrors.)
#
# ```{solution-end}
# ```
#
# ```{exercise} How small a preference can be seen?
# :label: ex-power
#
# Plant a preference: let a share $q$ of the votes go to one axis and the rest to all alike. From which $q$ on does the
# test find it, with as many votes as the trained network has here?
# ```
#
# ```{solution-start} ex-power
# :class: dropdown
# ```

# %%
rng, votes = np.random.default_rng(seed), max(10, len(looks["trained"]["votes"]))
for q in (0.0, 0.1, 0.2, 0.3, 0.4):
    planted = [np.eye(n)[np.where(rng.random(votes) < q, 0, rng.integers(0, n, votes))]
               for _ in range(40)]
    hits = np.mean([isotropy(rows_, draws=200) < 0.05 for rows_ in planted])
    print(f"share {q:.1f}: p below 0.05 in {hits:.0%} of 40 trials with {votes} votes")

# %% [markdown]
# At $q = 0$ about one in twenty trials is a false alarm, as it should be. With few votes only a strong preference is
# found, which is why the leanings of *all* features are tested as well. A flat rose of few votes is weak evidence.
#
# ```{solution-end}
# ```

# %% [markdown]
# ## Summary
#
# - Every mirror $s r^k$ has an axis {eq}`eq-axis`; votes and leanings of features make a rose, and random shifts test
#   it
#   ({prf:ref}`def-isotropy`).
# - Turned images give the same orbits with other names ({prf:ref}`prop-moved`): only what the encoder reads differs.
#   So a preference that turns with the images is in the images as the coder has them, and one that stays is in the
#   network or its pixel grid; the conjugated group tells which.
# - Conjugating the group by half a step takes all exact mirrors away; by a whole step it only renames them.

# %% [markdown]
# ## Limits
#
# Gravity and mirrored training point the same way on photographs. No experiment on one trained network separates them;
# that takes networks trained without mirrors, or on turned photographs {cite:p}`henderson2021biased`. Near copies of a
# feature count as one in p values, but not in the intervals over features, which are somewhat too short; the seeds and
# the second set are the better guide. And an axis is read from one layer, at sixteen directions.

# %% [markdown]
# ## What next
#
# Axes are one aspect of a profile. {doc}`09_spectra` takes all of it apart into irreps.

# %% [markdown]
# ## On InceptionV1
#
# The same cells, run with `profile="inception"`, give the right-hand column. All coders of this chapter, *trained* too,
# are made from 320 photographs there, of which a tenth is held out; only the seeds have all 800. The second set are 320
# photographs of the Berkeley segmentation data set. Points of the conjugated group are others than those of *trained*.
# What to look at: *left-right* against *each diagonal*, for
# interpolation would treat them alike; *up-down* beside left-right, for gravity favours left-right only, and the many
# level and upright edges of photographs would be a likelier cause of both; *untrained* and *patches*, for what
# architecture and pixels have without any training; *samples that stay* and *that turn with the images*, for network or
# images.
#
# Supported mirrors of the trained network are left-right most often, up-down next (the intervals of both counts
# overlap), and diagonal hardly ever, which interpolation does not explain. In a second set of photographs left-right is
# clearly ahead of up-down. Turned photographs take the
# preference along by nearly their whole turn, while a turned group leaves it where it is: the dictionary's preference
# is that of the images it was trained on. The linear references stay where they were, so the layer has one of its own.
# Random weights and pixels have hardly any supported mirrors; features of random weights lean to the same two axes, if
# less.

# %% tags=["hide-input"]
report.save()
parts = {"Conditions": ("_turned", "_conjugated", "_both"),
         "The second set": ("_second", "second_"),
         "Without a coder": ("ceiling_", "alike_"),
         "Controls": ("_untrained", "_patches", "_told", "_surrogate"),
         "The trained network": ("",)}
left = report.comparable()
shown = []
for title, marks in parts.items():
    keys = [key for key in left if any(mark in key for mark in marks)
            and (title != "Conditions" or not key.startswith("ceiling_"))]
    left = [key for key in left if key not in keys]
    shown.append(f"**{title}**\n\n" + report.compare(*keys))
display(Markdown("\n\n".join(reversed(shown))))
for key, caption, alt in (
        ("turned", "mean leaning by axis under the four conditions", "Four lines."),
        ("ceilings", "linear references of mirrors by axis", "Lines with peaks.")):
    caption = f"InceptionV1, mixed3b, reference run: {caption}."
    display(HTML(figures.published("08_axes", key, caption=caption, alt=alt,
                                   width="900px")))
