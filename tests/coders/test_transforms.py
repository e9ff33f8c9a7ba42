import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from groupcc_lite.coders.transforms import TransformMatrix, identity_r2, least_squares, mean_r2, procrustes, project, r2
from groupcc_lite.groups import cyclic, dihedral, permutation_group, product

GROUPS = [cyclic(4), cyclic(5), dihedral(3), dihedral(4), product(cyclic(2), cyclic(4)),
          permutation_group([(1, 0, 2, 3), (1, 2, 3, 0)], name="S_4")]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def planted_representation(group, copies=2, *, orthogonal=True, seed=0):
    """The regular representation, some identities beside it, in a random basis: (|G|, d, d) in float64."""
    n, d = group.order, copies * group.order + 2
    rho = torch.eye(d, dtype=torch.float64).repeat(n, 1, 1)
    for g in range(n):
        regular = torch.zeros(n, n, dtype=torch.float64)
        regular[group.table[g], range(n)] = 1  # e_h -> e_gh
        rho[g, :d - 2, :d - 2] = torch.block_diag(*[regular] * copies)
    basis = torch.randn(d, d, dtype=torch.float64, generator=seeded(seed))
    basis = torch.linalg.qr(basis).Q if orthogonal else torch.eye(d) + 0.5 * basis / d ** 0.5
    return basis @ rho @ torch.linalg.inv(basis)


def planted_orbits(rho, count, *, noise=0.01, spread=1.0, seed=0):
    """x[g] = rho(g) x[e] + noise, where x[e] varies `spread` times as much in its first channel as in its last."""
    x0 = torch.randn(count, rho.shape[1], generator=seeded(seed)).double()
    x0 = x0 * torch.logspace(0, -np.log10(spread), rho.shape[1], dtype=torch.float64)
    x = torch.einsum("gcd,bd->bgc", rho, x0)
    return (x + noise * torch.randn(x.shape, generator=seeded(seed + 1))).float()


def with_matrices(group, M, **settings):
    transform = TransformMatrix(group, M.shape[-1], **settings)
    with torch.no_grad():
        transform.M.copy_(M)
    return transform


def noisy(group, rho, size, seed=3):
    """Matrices of the generators with an error of about `size` along every direction."""
    M = rho[list(TransformMatrix(group, rho.shape[1]).words.generators)]
    return M + size * torch.randn(M.shape, generator=seeded(seed)) / M.shape[-1] ** 0.5


def adam(transform, x, *, steps=400, batch=256, lr=0.02, **terms):
    """The paper's training, with a rate that falls to zero."""
    optimiser = torch.optim.Adam(transform.parameters(), lr=lr)
    order = seeded(7)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = lr * (1 - step / steps)
        optimiser.zero_grad()
        transform.loss(x[torch.randint(len(x), (batch,), generator=order)], **terms)[0].backward()
        optimiser.step()
    return transform


# ------------------------------------------------------------------------------------------------- matrices, loss

@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_exact_matrices_give_the_whole_representation(group):
    rho = planted_representation(group, 1)
    transform = with_matrices(group, noisy(group, rho, 0.0))
    torch.testing.assert_close(transform.matrices().double(), rho, atol=1e-5, rtol=0)
    x0 = torch.randn(5, rho.shape[1], generator=seeded(0))
    torch.testing.assert_close(transform(x0), torch.einsum("gcd,bd->bgc", transform.matrices(), x0), atol=1e-5, rtol=0)
    assert transform.relation_error() < 1e-5


def test_it_starts_at_the_identity_as_in_the_paper():
    transform = TransformMatrix(dihedral(4), 3)
    assert torch.equal(transform.matrices(), torch.eye(3).repeat(8, 1, 1)) and transform.M.shape == (2, 3, 3)
    assert transform.relation_error() == 0


def test_a_word_applies_its_last_letter_first():
    group, rho = dihedral(3), torch.randn(2, 2, 2, generator=seeded(0))
    matrices = with_matrices(group, rho).matrices()
    torch.testing.assert_close(matrices[group.index("s r")], rho[1] @ rho[0])  # first r, then s
    assert not torch.allclose(matrices[group.index("s r")], rho[0] @ rho[1])


def test_the_loss_of_a_cyclic_group_is_equation_3():
    x = torch.randn(6, 4, 3, generator=seeded(0))
    transform = with_matrices(cyclic(4), torch.randn(1, 3, 3, generator=seeded(1)), scale=2.0)
    slow = 0.0
    for sample in x:
        for p in range(1, 5):
            predicted = sample[0]
            for _ in range(p):
                predicted = transform.M[0] @ predicted
            slow = slow + ((2 * (sample[p % 4] - predicted)) ** 2).sum() / (6 * 4)
    total, parts = transform.loss(x)
    torch.testing.assert_close(total, slow)
    torch.testing.assert_close(parts["error"], slow.detach())
    slow.backward()
    by_hand = transform.M.grad.clone()
    transform.zero_grad()
    total.backward()
    torch.testing.assert_close(transform.M.grad, by_hand)


def test_the_loss_of_a_dihedral_group_has_a_term_for_each_element_and_relator():
    group, x = dihedral(2), torch.randn(5, 4, 3, generator=seeded(0))
    transform = with_matrices(group, torch.randn(2, 3, 3, generator=seeded(1)))
    r, s = transform.M.detach()
    word = {(1, 2, 1, 2): r @ s @ r @ s, (2, 1, 2, 1): s @ r @ s @ r}[transform.words.relators[2]]
    terms = [(r, 1), (s, 2), (s @ r, 3), (r @ r, 0), (s @ s, 0), (word, 0)]
    slow = torch.stack([(x[:, 0] @ A.T - x[:, g]).square().sum(1).mean() for A, g in terms]).mean()
    total, parts = transform.loss(x, relations=0.5)
    torch.testing.assert_close(parts["error"], slow)
    penalty = sum((A - torch.eye(3)).square().sum() for A in (r @ r, s @ s, word)) / 3
    torch.testing.assert_close(parts["relations"], 0.5 * penalty)
    torch.testing.assert_close(total.detach(), slow + 0.5 * penalty)


def test_diagnostics_leave_out_the_identity_element():
    x = torch.tensor([[[2.0, 0.0], [1.0, 1.0]]])
    row = TransformMatrix(cyclic(2), 2).diagnostics(x, {})
    assert row == {"r2": pytest.approx(1 - (1 + 1) / 2)}


# ------------------------------------------------------------------------------------------- recovering the truth

@pytest.mark.parametrize("group", GROUPS[:5], ids=str)
@pytest.mark.parametrize("fit", [least_squares, procrustes])
def test_closed_forms_recover_a_planted_representation(group, fit):
    rho = planted_representation(group)
    x = planted_orbits(rho, 1500)
    transform = fit(x[:1000].split(300), group)
    assert r2(transform, x[1000:]).min() > 0.999 and mean_r2(transform, x[1000:].split(100), about="mean") > 0.999
    torch.testing.assert_close(transform.matrices().double(), rho, atol=0.02, rtol=0)


def test_least_squares_is_that_of_all_pairs():
    x = torch.randn(40, 6, 3, generator=seeded(0))
    group = dihedral(3)
    ours = least_squares(x.split(7), group, ridge=0.0)
    for M, a in zip(ours.M, (1, 3), strict=True):
        sources = x.flatten(0, 1).numpy()
        targets = x[:, [int(group.table[a, g]) for g in range(6)]].flatten(0, 1).numpy()
        assert np.abs(M.detach().numpy() - np.linalg.lstsq(sources, targets, rcond=None)[0].T).max() < 1e-4


def test_closed_forms_are_the_identity_where_activations_do_not_vary():
    x = torch.randn(50, 4, 3, generator=seeded(0))
    x[..., 2] = 0
    for fit in (least_squares, procrustes):
        M = fit([x], cyclic(4)).M[0]
        torch.testing.assert_close(M[2], torch.tensor([0.0, 0.0, 1.0]), atol=1e-6, rtol=0)
        torch.testing.assert_close(M[:, 2], M[2], atol=1e-6, rtol=0)


def test_procrustes_is_orthogonal():
    M = procrustes([torch.randn(30, 8, 5, generator=seeded(0))], dihedral(4)).M
    torch.testing.assert_close(M @ M.mT, torch.eye(5).repeat(2, 1, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("group, relations", [(cyclic(4), 0.0), (cyclic(4), 1.0), (dihedral(4), 0.0)], ids=str)
def test_adam_from_the_identity_recovers_a_planted_representation(group, relations):
    rho = planted_representation(group, 3 if group.order == 4 else 1)
    x = planted_orbits(rho, 1500)
    transform = adam(TransformMatrix(group, rho.shape[1]), x[:1000], relations=relations)
    assert r2(transform, x[1000:]).min() > 0.999
    assert float(identity_r2(x[1000:], group, rho.shape[1])[1:].max()) < 0.6


def test_negative_control_unrelated_orbits_cannot_be_predicted():
    x = torch.randn(2000, 4, 8, generator=seeded(0)) + 3
    for transform in (least_squares([x[:1500]], cyclic(4)), procrustes([x[:1500]], cyclic(4))):
        assert r2(transform, x[1500:], about="mean")[1:].max() < 0.02
    assert r2(least_squares([x[:1500]], cyclic(4)), x[1500:], about="zero")[1:].min() > 0.8  # the mean alone gives this


# ------------------------------------------------------------------------------------------- exact representations

@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("orthogonal", [False, True])
def test_projections_obey_every_relation_and_stay_near(group, orthogonal):
    rho = planted_representation(group, 1)
    learned = with_matrices(group, noisy(group, rho, 0.05))
    before = learned.M.clone()
    exact = project(learned, orthogonal=orthogonal)
    assert learned.relation_error() > 0.01 and exact.relation_error() < 1e-5 and torch.equal(learned.M, before)
    matrices, table = exact.matrices().detach(), torch.tensor(group.table)
    torch.testing.assert_close(matrices[table], matrices[:, None] @ matrices[None], atol=1e-5, rtol=0)
    assert (matrices.double() - rho).norm() < (learned.matrices().double() - rho).norm()
    if orthogonal:
        torch.testing.assert_close(matrices @ matrices.mT, matrices[:1].expand_as(matrices), atol=1e-5, rtol=0)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_an_exact_representation_is_its_own_projection_in_any_coordinates(group):
    learned = with_matrices(group, noisy(group, planted_representation(group, 1, orthogonal=False), 0.0))
    for spread in (1.0, 30.0):
        learned.begin(planted_orbits(learned.matrices().detach().double(), 100, noise=0.0, spread=spread))
        torch.testing.assert_close(project(learned).M, learned.M, atol=2e-5, rtol=0)


@pytest.mark.parametrize("group", [cyclic(4), dihedral(4)], ids=str)
def test_a_projection_spares_the_directions_in_which_activations_vary(group):
    """Where activations are all but constant M is noise: measured with their moments this costs nothing."""
    rho = planted_representation(group, 2)
    d = rho.shape[1]
    rho = torch.stack([torch.block_diag(A, torch.eye(8)) for A in rho])
    x = torch.cat([planted_orbits(rho[:, :d, :d], 1500), torch.zeros(1500, group.order, 8)], dim=2)
    x += torch.tensor([10.0] * 8 + [0.0] * d).roll(-8) @ rho.mean(0).T.float()  # a large mean that no g moves
    x[..., d:] += 0.001 * torch.randn(1500, group.order, 8, generator=seeded(5))
    learned = least_squares(x[:1000].split(200), group)
    exact = project(learned)
    assert learned.relation_error() > 0.2 and exact.relation_error() < 1e-5
    assert mean_r2(exact, x[1000:], about="mean") > 0.999
    learned.moment.copy_(torch.eye(d + 8))
    assert mean_r2(exact, x[1000:], about="mean") >= mean_r2(project(learned), x[1000:], about="mean")


def test_second_moments_are_those_of_many_batches():
    """One batch may have fewer rows than channels: then its moments know nothing of most directions."""
    x = torch.randn(400, 4, 6, generator=seeded(0))
    transform = TransformMatrix(cyclic(4), 6)
    transform.begin(x[:2])
    for batch in x.split(2):
        transform.loss(batch)
    torch.testing.assert_close(transform.moment, (x[:, 0].T @ x[:, 0] / 400).double(), atol=1e-5, rtol=1e-4)
    transform.eval().loss(5 * x)
    torch.testing.assert_close(transform.moment, (x[:, 0].T @ x[:, 0] / 400).double(), atol=1e-5, rtol=1e-4)


def test_constrained_training_keeps_the_relations_and_the_fit():
    rho = planted_representation(cyclic(4), 3)
    x = planted_orbits(rho, 1500)
    transform = adam(TransformMatrix(cyclic(4), rho.shape[1]), x[:1000], steps=200)
    transform.begin(x[:256])
    for _ in range(3):
        adam(transform.constrain_(), x[:1000], steps=20, lr=1e-3)
    assert transform.relation_error() > 1e-5
    assert transform.constrain_() is transform and transform.relation_error() < 1e-5
    assert r2(transform, x[1000:]).min() > 0.999


def test_what_is_no_representation_is_refused():
    far = torch.linalg.qr(torch.randn(2, 16, 16, generator=seeded(0))).Q
    for group, M in ((dihedral(4), far), (cyclic(4), far[:1]), (cyclic(4), 0 * far[:1]), (cyclic(4), far[:1] / 0)):
        with pytest.raises(ValueError, match=f"too far from any representation of {group.name}"):
            project(with_matrices(group, M))
    learned = with_matrices(cyclic(4), noisy(cyclic(4), planted_representation(cyclic(4)), 0.3))
    with pytest.raises(ValueError, match="raise `steps`"):
        project(learned, 1)


# ----------------------------------------------------------------------------------------------------------- R^2

def test_r2_by_hand():
    x = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[0.0, 3.0], [1.0, 0.0]]])
    transform = with_matrices(cyclic(2), torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]) * 2)
    # M x[e]: (0, 2), (6, 0), against (0, 2), (1, 0); M^2 = 4 I: (4, 0), (0, 12), against (1, 0), (0, 3)
    assert r2(transform, x).tolist() == pytest.approx([1 - (9 + 81) / 10, 1 - 25 / 5])
    # about the channels' means (.5, 1.5), (.5, 1): x[e] has 0.5 + 4.5, x[g] has 0.5 + 2
    assert r2(transform, x.split(1), about="mean").tolist() == pytest.approx([1 - 90 / 5, 1 - 25 / 2.5])
    assert mean_r2(transform, x) == pytest.approx((1 - 9 + 1 - 5) / 2)
    assert identity_r2(x, cyclic(2), 2).tolist() == pytest.approx([1, 1 - (1 + 4 + 1 + 9) / 5])


# ----------------------------------------------------------------------------------------------- files, bad input

def test_save_and_load_give_the_same_matrices(tmp_path):
    group = dihedral(3)
    transform = with_matrices(group, torch.randn(2, 4, 4, generator=seeded(0)), generators=(3, 4), scale=1.5)
    transform.begin(torch.randn(20, 6, 4, generator=seeded(1)))
    transform.save(tmp_path / "t")
    loaded = TransformMatrix.load(tmp_path / "t", group=group)
    assert loaded.config == transform.config and loaded.words == transform.words
    assert torch.equal(loaded.matrices(), transform.matrices()) and torch.equal(loaded.moment, transform.moment)
    assert json.loads(json.dumps(transform.config)) == transform.config


def test_loading_explains_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="no saved transform"):
        TransformMatrix.load(tmp_path / "nothing")
    TransformMatrix(dihedral(3), 4).save(tmp_path / "t")
    with pytest.raises(ValueError, match="trained for D_3, not for C_6"):
        TransformMatrix.load(tmp_path / "t", group=cyclic(6))
    config = json.loads((tmp_path / "t" / "config.json").read_text())
    (tmp_path / "t" / "config.json").write_text(json.dumps(config | {"kind": "GroupCrosscoder"}))
    with pytest.raises(ValueError, match="holds a GroupCrosscoder"):
        TransformMatrix.load(tmp_path / "t")
    (tmp_path / "t" / "config.json").write_text(json.dumps(config | {"channels": 5}))
    with pytest.raises(ValueError, match="do not fit"):
        TransformMatrix.load(tmp_path / "t")
    weights = tmp_path / "t" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match="checksum"):
        TransformMatrix.load(tmp_path / "t")


def test_sources_of_another_group_are_refused():
    transform = TransformMatrix(cyclic(4), 3)
    transform.check_source(SimpleNamespace(group=cyclic(4), channels=3))
    for group, channels in ((cyclic(3), 3), (cyclic(4), 5)):
        with pytest.raises(ValueError, match=f"for {group.name} with {channels}"):
            transform.check_source(SimpleNamespace(group=group, channels=channels))


def test_bad_input():
    transform, x = TransformMatrix(cyclic(4), 3), torch.ones(2, 4, 3)
    for call in (transform.loss, transform.begin, lambda bad: r2(transform, bad),
                 lambda bad: least_squares([bad], cyclic(4))):
        with pytest.raises(ValueError, match=r"expected \(batch, 4, 3\): one block of 3 channels per element of C_4"):
            call(torch.ones(2, 5, 3))
    with pytest.raises(ValueError, match=r"x0 has shape \(2, 4\)"):
        transform(torch.ones(2, 4))
    with pytest.raises(ValueError, match="relations is -1"):
        transform.loss(x, relations=-1.0)
    with pytest.raises(ValueError, match="NaN"):
        transform.begin(x / 0)
    for batches in ([], [x / 0]):
        with pytest.raises(ValueError, match="empty or holds NaN"):
            procrustes(batches, cyclic(4))
    with pytest.raises(ValueError, match="no orbits to judge"):
        r2(transform, [])
    with pytest.raises(ValueError, match="at least 2 elements"):
        TransformMatrix(cyclic(1), 3)
    with pytest.raises(ValueError, match="positive scale"):
        TransformMatrix(cyclic(2), 3, scale=0.0)


def test_moments_of_many_batches_keep_directions_that_nothing_moves_along():
    """A constant of length 1e3 beside directions without any variance: in single precision these became negative."""
    generator, G, d = torch.Generator().manual_seed(0), cyclic(2), 40
    x = torch.zeros(64, 2, d)
    x[:, :, :3] = torch.randn(64, 1, 3, generator=generator)
    x[:, :, 3:9] = 400.0
    turn = torch.linalg.qr(torch.randn(d, d, generator=generator)).Q
    transform = TransformMatrix(G, d)
    transform.begin(x @ turn)
    transform.train()
    for _ in range(300):
        transform.loss(x[torch.randint(64, (16,), generator=generator)] @ turn)
    assert torch.linalg.eigvalsh(transform.moment.double())[0] > -1e-6
    assert project(transform).relation_error() < 1e-5


@pytest.mark.parametrize("about", ["zero", "mean"])
def test_r2_does_not_depend_on_the_units(about):
    x = torch.randn(50, 2, 8, generator=torch.Generator().manual_seed(0))
    transform = TransformMatrix(cyclic(2), 8)
    torch.testing.assert_close(r2(transform, 1e-9 * x, about=about), r2(transform, x, about=about))
    assert transform.diagnostics(1e-9 * x, {})["r2"] == pytest.approx(transform.diagnostics(x, {})["r2"], abs=1e-5)
