# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Features compared by what they say
#
# **On {term}`InceptionV1`** what features say and what they write often tell of the same symmetry
# ({numref}`fig-said-inception`): for three fifths of the crosscoder's features responses to turned photographs have the
# stabiliser that the dictionary vectors have, for a sixth by chance. Neighbours by responses share a drawn shape a little
# more often than neighbours by dictionary vectors. Responses need no crosscoder.
#
# ```{figure} ../book/reference/17_responses/responses.png
# :alt: Two density plots of pairs of features, similarity by responses over similarity of dictionary vectors.
# :name: fig-said-inception
#
# GoogLeNet (InceptionV1, BVLC weights), `mixed3b`, reference run: similarity up to the group of pairs of features, by
# dictionary vectors (across) and by responses to held-out photographs (upwards). Left: the crosscoder. Right: an SAE whose
# blocks were fitted.
# ```
#
# Before group crosscoders there was another way to compare features up to a group. Appendix A of {cite:t}`gorton2024group`
# gives each feature of an ordinary SAE a vector of its activations on all transformed images, and permutes that. The paper
# has no results with it, and names the length of these vectors as the weakness of the method.
#
# **You will learn**
#
# - how features of any coder can be compared up to a group by what they say,
# - why their vectors never need to be held, and what that saves,
# - from which side the group acts on a response,
# - where responses and dictionary vectors agree, and which is the better guide.
#
# **You need** similarity and families ({doc}`05_families`), stabilisers ({doc}`07_symmetry`), the Fourier transform
# ({doc}`09_spectra`) and the answer key ({doc}`14_answer_key`).
#
# **Run time** about half a minute on one CPU core, when the coders of {doc}`03_training` and {doc}`09_spectra` are there.
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
from groupcc_lite.answers import Budget, standard, study
from groupcc_lite.groups import dihedral
from groupcc_lite.responses import ResponseVectors, response_vectors
from groupcc_lite.runs import Run, get_response_profile
from groupcc_lite.studies import compare_responses, reads_what_it_writes
from groupcc_lite.symmetry import distance, label_by_response, neighbour_purity

# %%
run = Run(profile, seed=seed, images=images, weights=weights)
run.check()
report, settings = run.report("17_responses"), get_response_profile(profile)
G = run.group
print(run)

# %% [markdown]
# ## A vector of responses
#
# Show a feature an image in all orientations. It says $|G|$ numbers. Do that for many images, and you have the feature's
# {term}`response vector`: $q[j, g]$, what it says to image $j$ moved by $g$. A feature that looks for the same thing in another
# orientation says the same numbers in another order within each image.
#
# Here are two latents of an ordinary SAE, which knows no group. Their response vectors have hardly anything in common, until
# one of them is moved by the right element. Of all pairs this is the one that gains most.

# %%
single = run.coder("sae")
held_out = run.orbits("held-out")
alive = np.flatnonzero(run.evaluate(run.fitted()).frequency > 0)
vectors = response_vectors(single, held_out, G, alive)
similar, element = (part.cpu() for part in vectors.similarity(elements=True))
x = torch.cat(list(held_out.in_order()))
q = single.encode(x.flatten(0, 1).to(single.device))[:, alive].cpu()
q = q.unflatten(0, x.shape[:2]).detach()  # images, elements, features
flat = torch.nn.functional.normalize(q.flatten(0, 1), dim=0)
plain = (flat.T @ flat).fill_diagonal_(1)

# %% tags=["hide-input"]
frequent = (q[:, 0] > 0).double().mean(0) > 0.01
eligible = (similar - plain) * (frequent[:, None] & frequent)
one, two = divmod(int(eligible.argmax()), len(alive))
h = int(element[one, two])
print(f"latents {alive[one]} and {alive[two]}: cosine {plain[one, two]:.2f}; "
      f"with the second moved by {G.names[h]}: {similar[one, two]:.2f}")

# %% mystnb={"figure": {"name": "fig-said", "caption": "Responses of two latents to the twenty places that excite the first one most, by element: turns left of the line, mirrors right of it. Left and middle: as they are. Right: the second one, moved by the element that brings both together."}, "image": {"alt": "Three heatmaps with 20 rows; the left and the right one have bright bands in the same places."}} tags=["hide-input"]
rows = q[:, :, one].amax(1).topk(20).indices
moved = q[:, torch.as_tensor(G.table[G.inverse[h]]), two]
with figures.house_style():
    fig, axes = plt.subplots(1, 3, figsize=(9.2, 3.4), sharey=True)
    for ax, said, title in zip(axes, (q[..., one], q[..., two], moved),
                               (f"latent {alive[one]}", f"latent {alive[two]}",
                                f"{alive[two]}, moved by {G.names[h]}"), strict=True):
        ax.imshow(said[rows], aspect="auto", cmap="Blues")
        ax.axvline(G.order / 2 - 0.5, color=figures.MUTED, linewidth=0.8)  # mirrors
        ax.set(title=title, xlabel="element", yticks=[])
        ax.grid(visible=False)
    axes[0].set_ylabel("places in images")
    report.figure("said", fig)

# %% [markdown]
# The length of these vectors, images times $|G|$, need not be a weakness. Similarities are inner products, and an inner
# product over images is a sum. In Fourier space ({doc}`09_spectra`) a pair of features needs $|G|$ numbers, and each batch
# of images adds to them. Memory does not grow with the images. It grows with the pairs of features, so for more features
# than places the vectors themselves are shorter. Nothing is approximated, as a comparison with the vectors shows.
# {doc}`../book/benchmarks` has times and memory for both ways.

# %%
some = flat.unflatten(0, q.shape[:2])[:, :, :20]
naive = torch.stack([
    (some.flatten(0, 1).T @ some[:, torch.as_tensor(G.table[g])].flatten(0, 1))
    for g in range(G.order)]).amax(0)
print(f"{len(flat):,} entries a feature; streamed sums hold "
      f"{G.order * len(alive):,} numbers a feature")
print(f"largest difference: {(naive - similar[:20, :20]).abs().max():.1e}")

# %% [markdown]
# ## From which side?
#
# A dictionary vector says what a layer does if the *pattern* is moved: $F[g]$ of the pattern $hP$ is
# $F[gh]$, so elements act from the right. A response says what is found in the *image*. Who looks for $hP$ finds it in
# $J$ where another one finds $P$ in $h^{-1}J$:
#
# $$ (h \cdot q)[j, g] = q[j, h^{-1} g] . $$ (eq-response-action)
#
# The element stands on the left. The paper describes a permutation within each image that is "very similar" to that of
# dictionary vectors, where it stands on the right. If all elements commute, similarities are the same either way, at
# inverse elements. In $D_n$ the wrong side mixes up mirrors with different axes, and fewer stabilisers are found. An
# exercise shows how.

# %% [markdown]
# ## What they say and what they write
#
# Now compare both on the same features: the crosscoder, with responses of its own encoder, and an SAE with blocks fitted
# after its training ({doc}`09_spectra`). *Same stabiliser* counts features for which both sides find the same one. *From
# the right* moves responses from the wrong side. *Chance* deals stabilisers, and partners that respond as strongly, anew.

# %%
coder = run.coder()
living = np.flatnonzero(run.evaluate(coder).frequency > 0)
compared = {
    "crosscoder": compare_responses(coder, coder, held_out, living, seed=seed),
    "SAE, blocks fitted": compare_responses(run.fitted(), single, held_out, alive,
                                            seed=seed)}
for name, found in compared.items():
    print(f"{name}: rank correlation {found.agreement:.2f}, from the right "
          f"{found.agreement_right:.2f}, chance {found.agreement_chance:.2f}")
    print(f"same stabiliser: {found.same:.0%}, from the right {found.same_right:.0%}, "
          f"chance {found.same_chance:.0%}")

# %% mystnb={"figure": {"name": "fig-responses", "caption": "Similarity up to the group of pairs of features, by dictionary vectors (across) and by responses to held-out orbits (upwards). Left: the crosscoder, blocks against its own encoder. Right: an SAE with fitted blocks."}, "image": {"alt": "Two density plots that rise from lower left to upper right."}} tags=["hide-input"]
with figures.house_style():
    fig, axes = plt.subplots(1, 2, figsize=(8.6, 3.8), sharex=True, sharey=True)
    for ax, (name, found) in zip(axes, compared.items(), strict=True):
        pairs = tuple(torch.triu_indices(len(found.said), len(found.said), 1))
        ax.hexbin(found.written[pairs], found.said[pairs], gridsize=40, bins="log",
                  cmap="Blues", linewidths=0)
        ax.set(title=name, xlabel="similarity of dictionary vectors")
        ax.grid(visible=False)
    axes[0].set_ylabel("similarity of responses")
    report.figure("responses", fig)

# %% [markdown]
# On the crosscoder responses agree with its blocks on the stabiliser of more than half of the
# features, five times chance, and moved from the wrong side on clearly fewer. For the SAE with fitted blocks the lead over
# chance is smaller, because stabilisers that are
# dealt anew agree in half of the cases.
#
# Similarities hardly mind the side: their rank correlation is nearly the same from the right. Stabilisers do mind. Pairs
# that are similar by responses tend to be so by dictionary vectors, more for the crosscoder than for the SAE.

# %% [markdown]
# ## Which sorts features better?
#
# Ask drawn shapes, as {doc}`05_families` does: how often do a feature's ten nearest neighbours prefer the same shape?
# *Said* is by responses, *written* by dictionary vectors.
#
# There is a catch: shapes are named by encoders, and responses are made by encoders. So ask twice, the second time with
# every latent read by its own dictionary vector.

# %%
read_by = {"crosscoder": (coder, living), "SAE, blocks fitted": (single, alive)}
purity = {}
for name, (reader, members) in read_by.items():
    for named_by, who in (("encoders", reader),
                          ("dictionary", reads_what_it_writes(reader))):
        label = label_by_response(who, run.stimulus_activations,
                                  run.stimuli.shape).label[members]
        said, written = (neighbour_purity(distance(similarity), label) for similarity
                         in (compared[name].said, compared[name].written))
        purity[name, named_by] = dict(said=said.purity, written=written.purity,
                                      chance=said.chance)
        print(f"{name}, shapes by {named_by}: " + ", ".join(
            f"{k} {v:.2f}" for k, v in purity[name, named_by].items()))

# %% tags=["hide-input"]
report.number("long_vector", len(held_out) * G.order,
              note="entries of a response vector, held-out points times elements")
report.number("held_per_feature", G.order * len(living),
              note="numbers that are held for each feature instead")
for name, key in (("crosscoder", "cc"), ("SAE, blocks fitted", "sae")):
    for by in ("encoders", "dictionary"):
        for what, value in purity[name, by].items():
            report.number(f"purity_{what}_{by}_{key}", value,
                          note=f"neighbours of a shape by {by}, {what}, {name}")
    for what in ("agreement", "agreement_right", "agreement_chance"):
        report.number(f"{what}_{key}", getattr(compared[name], what),
                      note=f"rank correlation ({what.replace('_', ' ')}), {name}")
    for what in ("same", "same_right", "same_chance"):
        report.number(f"{what}_{key}", getattr(compared[name], what),
                      note=f"same stabiliser ({what.replace('_', ' ')}), {name}")

# %% [markdown]
# Neighbours by responses prefer the same drawn shape more often than neighbours by dictionary vectors if encoders name the
# shapes. If dictionary vectors name them, that lead is gone for the crosscoder, and smaller for the SAE.

# %% [markdown]
# ## Where the truth is known
#
# The answer key plants features with known families and stabilisers ({doc}`14_answer_key`). The same SAE is judged by
# responses, and with fitted blocks; the crosscoder stands beside.

# %%
methods = ["SAE, response vectors", "SAE, blocks fitted", "crosscoder, TopK"]
budget = Budget(orbits=4096, held_out=1024, steps=settings.steps)
planted = study({"planted": lambda start: standard(start, group=settings.group,
                                                   channels=32)},
                methods, range(seed, seed + settings.seeds), budget,
                folder=run.work / "answer_key")

# %% tags=["hide-input"]
short = dict(zip(methods, ("responses", "fitted", "crosscoder"), strict=True))
lines = ["| method | cosine | recovered | stabiliser, of these | families (ARI) |",
         "|---" * 5 + "|"]
for method in methods:
    scores = [found for trial, found in planted.items() if trial.method == method]
    row = {what: np.nanmean([s[what] for s in scores])
           for what in ("cosine", "recovered", "stabiliser", "ari")}
    for what, value in row.items():
        report.number(f"planted_{what}_{short[method]}", float(value), n=len(scores),
                      note=f"planted problem, {what}, {method}")
    cells = " | ".join(f"{v:.2f}" for v in row.values())
    lines.append(f"| {method} | {cells} |")
display(Markdown("\n".join(lines)))

# %% [markdown]
# On the planted problem responses find nearly all families among the features that the SAE has recovered, and their
# stabilisers. Fitted blocks find all families, on more features: by its one block the SAE recovers half of them, by whole
# orbits two thirds, and the crosscoder four fifths. (*Recovered* compares what each method has, one block or all, so rows
# are not quite alike.) So where the truth is known, blocks are the better guide.

# %% [markdown]
# ## Exercises
#
# ```{exercise} From which side?
# :label: ex-side
#
# Take $D_4$ and two features. The first says 1 at $e$ and at $s$, a mirror, and 0 else; the second 1 at $r$ and $sr$ and 0
# else, as for the same pattern in an image that was turned. Which elements leave each unchanged from the left, and which
# from the right? Which is the stabiliser of the pattern?
# ```
#
# ```{solution-start} ex-side
# :class: dropdown
# ```

# %%
D4 = dihedral(4)
q = torch.zeros(1, 8, 2)
turn, mirror = D4.names.index("r"), D4.names.index("s")
q[0, [0, mirror], 0] = 1  # a pattern that the mirror s leaves alone, seen upright
q[0, [turn, D4.table[mirror, turn]], 1] = 1  # the same, in a turned image
for side in ("left", "right"):
    vectors = ResponseVectors(D4, 2, side=side)
    vectors.add(q)
    kept = [[D4.names[h] for h in np.flatnonzero(row > 0.99)]
            for row in vectors.self_similarity().numpy()]
    print(side, kept)

# %% [markdown]
# From the left both features keep $s$: the mirror belongs to the pattern, however the image was turned before. From the
# right the second keeps another mirror, a conjugate of $s$, which says how its image was turned.
#
# ```{solution-end}
# ```
#
# ```{exercise} Similar to everybody
# :label: ex-frequent
#
# Responses are not negative. Two features fire independently of each other, each at a share $p$ of all images and elements,
# always equally strongly. What is the cosine of their response vectors? What becomes of it if you may move one of them?
# ```
#
# ```{solution-start} ex-frequent
# :class: dropdown
# ```

# %%
generator = torch.Generator().manual_seed(0)
for p in (0.02, 0.2):
    vectors = ResponseVectors(D4, 2)
    vectors.add((torch.rand(2000, 8, 2, generator=generator) < p).float())
    print(f"p = {p}: similarity {vectors.similarity()[0, 1]:.3f}")

# %% [markdown]
# Both fire at a share $p^2$, and the vectors have the lengths $\sqrt p$, each up to the same factor: the cosine is $p$. The
# largest of eight, one for each element, is a little more. So frequent features look similar to everybody, and to
# themselves in any pose. That is why stabilisers are read from profiles whose mean is taken off.
#
# ```{solution-end}
# ```

# %% tags=["remove-input"]
_ = report.save()

# %% [markdown]
# ## Summary
#
# - A {term}`response vector` compares features of any coder up to the group. Its similarities are sums over images, so it
#   is never held.
# - Responses move from the left, dictionary vectors from the right. The wrong side finds fewer stabilisers.
# - Responses and dictionary vectors agree on the stabiliser of most features. For drawn shapes neighbours by responses fit a
#   little better; on the planted problem fitted blocks sort families better.

# %% [markdown]
# ## Limits
#
# One layer, one coder of each kind, and no interval over seeds for agreement and purity. Response vectors need the
# activations of whole orbits, as training a crosscoder does; what they save is the training. Labels by drawn shapes know
# fourteen shapes, most features of a layer are about none of them.

# %% [markdown]
# ## What next
#
# {doc}`14_answer_key` has this method beside all others. {doc}`../book/your_own` analyses a network of yours.

# %% [markdown]
# ## The reference run
#
# GoogLeNet, `mixed3b`: 800 photographs, a tenth of them held out, each in 32 orientations.
#
# On the crosscoder both sides agree on the stabiliser of three fifths of the features, a sixth by chance; from the right
# on less than half. For the SAE with fitted blocks similarities agree much less, with a rank correlation of 0.21, but
# stabilisers agree for three quarters, a quarter by chance: here its lead is the larger one. Neighbours by responses prefer the same shape more often for both coders, whoever names the shapes. On the planted
# problem, with more training than in the book's run, the SAE's block recovers 87 % of the features, fitted blocks 89 % and
# the crosscoder 93 %; families are found with an adjusted Rand index of 0.96 by responses and of 1.00 by fitted blocks.

# %% tags=["hide-input"]
display(Markdown(report.compare()))
