"""The atlas's data agree with the library, survive the way to disk and back, and are refused when damaged."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from small import noise_images, small_model
from small_atlas import (
    COPIES,
    SILENT,
    crosscoder_table,
    family_map,
    make_old,
    metrics,
    planted_atlas,
    planted_dictionary,
    sae_table,
)

from groupcc_lite import __main__ as cli
from groupcc_lite.actions import ColourAction, PlanarAction
from groupcc_lite.atlas import contents, storage, web_page
from groupcc_lite.base import described
from groupcc_lite.coders import GroupCrosscoder
from groupcc_lite.groups import cyclic, dihedral, parse_group, representatives
from groupcc_lite.models import load_model
from groupcc_lite.orbits import TensorOrbits
from groupcc_lite.runs import Run, feature_table, relatives
from groupcc_lite.symmetry import (
    FALSE_RATE,
    INVARIANT,
    TAU,
    Embedding,
    act,
    block_cosines,
    centred,
    confirmed_census,
    encoder_profile,
    normalised,
    self_similarity,
)

G = dihedral(8)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> contents.Atlas:
    return planted_atlas(tmp_path_factory.mktemp("work"))


@pytest.fixture
def folder(made, tmp_path):
    return storage.write_atlas(made, tmp_path / "data")


# ------------------------------------------------------------------------------------------------ what is measured

def test_relatives_are_found_with_the_element_that_carries_them_over():
    D, origin = planted_dictionary(G)
    found = relatives(D, G, count=COPIES - 1)
    F = normalised(D)
    for i, (number, _) in enumerate(origin):
        assert {origin[row][0] for row in found.row[i]} == {number}, "the copies of a feature are its relatives"
        for row, cosine, h in zip(found.row[i], found.cosine[i], found.element[i], strict=True):
            assert cosine == pytest.approx(1, abs=1e-4)
            assert float((F[i] - act(F[row], G, int(h))).norm()) < 0.01


def test_relatives_of_random_vectors_against_every_element_by_hand():
    D = torch.randn(7, 8, 3, generator=torch.Generator().manual_seed(2))
    small = dihedral(4)
    found, F = relatives(D, small, count=2), normalised(D)
    for i in range(7):
        best = {j: max(float((F[i] * act(F[j], small, h)).sum()) for h in range(8)) for j in range(7) if j != i}
        ranked = sorted(best, key=best.get, reverse=True)[:2]
        assert found.row[i].tolist() == ranked
        assert found.cosine[i] == pytest.approx([best[j] for j in ranked], abs=1e-5)
    for count in (0, 7):
        with pytest.raises(ValueError, match=f"count is {count}; expected 1 to 6"):
            relatives(D, small, count=count)


def test_a_table_knows_planted_stabilisers_and_leaves_dead_features_out():
    table, (D, origin) = crosscoder_table(G), planted_dictionary(G)
    assert 3 not in table.features and len(table.features) == len(D) == table.latents - 1
    subgroups, classes = G.subgroups(), representatives(G.subgroups())
    for (number, h), k in zip(origin, table.symmetries.subgroup, strict=True):
        assert subgroups[k].conjugacy_class == classes[number].conjugacy_class
        assert h > 0 or subgroups[k].elements == classes[number].elements
    assert table.symmetries.margin.min() > 0.1
    assert table.symmetries.spectrum.sum(1) == pytest.approx(np.ones(len(D)), abs=1e-5)
    c = self_similarity(D, G)
    assert np.allclose(table.symmetries.profile, c) and np.allclose(table.symmetries.centred, centred(c))
    assert np.allclose(table.symmetries.trivial, table.symmetries.spectrum[:, 0], atol=1e-5)
    assert table.frequency == pytest.approx((table.features + 1) / 100)


def test_labels_are_supported_and_confirmed_as_in_the_census():
    """The same coder, orbits and seed as `confirmed_census`: the atlas says of each feature what chapter 7 counts."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(60, 16, 24, generator=generator)
    x[..., :12] += x[:, torch.as_tensor(G.table[9].copy()), :12]  # half of the channels see no mirror s r
    orbits, coder = TensorOrbits(x, G), GroupCrosscoder(G, 24, 150, activation="relu", seed=2)
    with torch.no_grad():
        coder.W_e[:30, 12:] = coder.W_e[30:, :12] = 0
        for row in range(80):  # mirrors s r, and half turns
            coder.W_d[row] += act(coder.W_d[row].clone(), G, 9 if row < 60 else 4)
        coder.W_d[80:90] = torch.randn(10, 1, 24, generator=generator)
    alive = np.delete(np.arange(150), 3)
    measured = metrics(150, alive, 16)
    census = confirmed_census(coder, measured.frequency, orbits, seed=5)
    heard = encoder_profile(coder, orbits)[torch.as_tensor(alive)]
    found, subgroups = feature_table(family_map(coder, alive), measured, heard, seed=5).symmetries, G.subgroups()
    assert [subgroups[k] for k in found.subgroup] == [s.subgroup for s in census.labels]
    assert [subgroups[k] for k in found.supported] == [s.subgroup for s in census.supported.stabilisers]
    assert np.array_equal(found.rate, census.supported.rate.nan_to_num(-1).numpy())
    assert np.array_equal(found.confirmed == 1, (census.confirmed | census.invariant).numpy())
    asked = found.confirmed >= 0
    assert np.array_equal(asked, found.subgroup != 0)  # this encoder answers everywhere
    threshold = np.where(found.trivial > 0.99, INVARIANT, TAU)
    assert np.array_equal(found.confirmed[asked] == 1, (found.encoder >= threshold)[asked])
    labels = {subgroups[k].label for k in found.supported}
    assert {"one mirror", "all"} <= labels and "half turn" not in labels and (found.rate == -1).sum() >= 10
    assert found.confirmed[:29].min() == 1 and (found.confirmed[29:79] == 0).mean() > 0.8


def test_a_silent_encoder_is_no_verdict():
    table = crosscoder_table(G).symmetries
    assert table.subgroup[SILENT] != 0 and table.confirmed[SILENT] == -1 == table.encoder[SILENT]
    assert (table.confirmed[table.subgroup == 0] == -1).all()
    assert {0, 1} <= set(table.confirmed.tolist())


def test_a_crosscoder_needs_its_encoder():
    coder = GroupCrosscoder(G, 24, 12, activation="relu")
    with pytest.raises(ValueError, match="encoder is missing"):
        feature_table(family_map(coder, np.arange(12)), metrics(12, np.arange(12), 16))


def test_an_sae_has_neighbours_but_no_symmetries():
    table = sae_table()
    assert table.symmetries is None and table.kind == "sae" and not table.relatives.element.any()


def test_features_out_of_order_are_refused():
    import dataclasses

    table = sae_table()
    for features in (table.features[::-1].copy(), table.features + 1):
        with pytest.raises(ValueError, match="not increasing numbers from 0 to 29"):
            dataclasses.replace(table, features=features)


def test_points_are_spread_until_none_hides_another():
    points = np.repeat(np.random.default_rng(0).normal(size=(20, 2)), 10, axis=0)
    points[0] = points[1:10].mean(0)
    places, apart = contents.spread(points), (1 / (np.pi * 200)) ** 0.5
    assert cKDTree(points).query(points, k=2)[0][:, 1].min() == 0  # they did hide each other
    assert cKDTree(places).query(places, k=2)[0][:, 1].min() > 0.7 * apart
    assert places.min() == 0 and places.max() == 1
    assert np.array_equal(places, contents.spread(points))
    centres = places.reshape(20, 10, 2).mean(1)
    assert np.corrcoef(centres[:, 0], points[::10, 0])[0, 1] > 0.95, "islands stay where they were"
    far = np.array([[0.0, 0.0], [1.0, 0.5], [0.25, 1.0]])
    assert contents.spread(far) == pytest.approx(far, abs=1e-5)


# ------------------------------------------------------------------------------------------------------- the group

@pytest.mark.parametrize("n", [1, 2, 3, 4, 16])
def test_angles_on_the_circles_are_those_of_the_action(n):
    action = PlanarAction(dihedral(n))
    facts = contents.group_facts(action)
    assert facts["rotations"] == n and facts["planar"]
    for k, angle in enumerate(np.radians(facts["circle"])):
        moved = action.matrices[k] @ [np.cos(angle), -np.sin(angle)]  # y points down
        if k < n:  # a rotation carries "right" to its angle
            assert action.matrices[k] @ [1, 0] == pytest.approx([np.cos(angle), -np.sin(angle)], abs=1e-9)
        else:  # a mirror keeps its axis
            assert moved == pytest.approx([np.cos(angle), -np.sin(angle)], abs=1e-9)
    assert np.array(facts["matrices"]).reshape(-1, 2, 2) == pytest.approx(action.matrices)


def test_other_groups_and_other_actions_say_so():
    assert contents.group_facts(PlanarAction(cyclic(6)))["circle"] == [0, 60, 120, 180, 240, 300]
    product = parse_group("C_2 x C_2")
    facts = contents.group_facts(PlanarAction(product, [np.diag([a, b]) for a in (1, -1) for b in (1, -1)]))
    assert facts["circle"] is None and facts["rotations"] is None
    hue = contents.group_facts(ColourAction(cyclic(3)))
    assert not hue["planar"] and hue["circle"] == [0, 120, 240] and len(hue["colours"][1]) == 9
    assert contents.group_facts(PlanarAction(cyclic(3)))["colours"] is None


@pytest.mark.parametrize("group, elements, words", [
    ("D_8", (0,), "nothing but the identity"), ("D_8", range(16), "all 16 elements"), ("D_8", (0, 4), "the half turn"),
    ("D_8", (0, 9), "one mirror"), ("D_8", (0, 4, 8, 12), "the half turn and 2 mirrors"),
    ("D_8", (0, 2, 4, 6), "turns by multiples of 90°"),
    ("D_8", (0, 2, 4, 6, 8, 10, 12, 14), "turns by multiples of 90° and 4 mirrors"),
    ("C_9", (0, 3, 6), "turns by multiples of 120°")])
def test_subgroups_in_words(group, elements, words):
    action = PlanarAction(parse_group(group))
    H = next(H for H in action.group.subgroups() if H.elements == tuple(elements))
    assert contents.symmetry_words(H, action) == words


def test_subgroups_of_other_groups_are_lists_of_elements():
    group = parse_group("C_4 x C_2")
    action = ColourAction(group, [np.eye(3)] * 8)
    H = next(H for H in group.subgroups() if H.order == 2)
    assert contents.symmetry_words(H, action) == group.names[H.elements[1]]


# ---------------------------------------------------------------------------------------------------- the pictures

@pytest.mark.parametrize("count", [1, 2, 7, 64, 100])
def test_every_beginning_of_the_drawing_order_is_spread_evenly(count):
    order = contents.drawing_order(count)
    assert sorted(order.tolist()) == list(range(count))
    for part in (count // 4, count // 2):
        if part > 1:
            assert np.diff(np.sort(order[:part])).max() <= 2 * 2 ** np.ceil(np.log2(count / part))


@pytest.mark.parametrize("size", [48, 64, 80, 96])
def test_the_window_lies_evenly_around_the_central_cell(size):
    model = load_model("tiny-inception", weights="random").at_size(size)
    window = contents.central_window(model, size)
    low, high = model.geometry.box(model.geometry.centre_cell)
    assert (window.start + window.stop - 1) / 2 == model.geometry.first + 4 * model.geometry.centre_cell
    assert low <= window.start and window.stop - 1 <= high and window.stop - window.start >= min(59, size - 6)


def test_drawing_goes_on_where_it_stopped_and_a_larger_sample_keeps_the_smaller(tmp_path):
    run = Run("smoke", model=small_model(), images=noise_images(4, 48), action=PlanarAction(G), work=tmp_path)
    coder, features = GroupCrosscoder(G, 6, 40, activation="relu"), np.arange(1, 40, 2)
    settings = dict(size=32, steps=2)
    some = contents.feature_pictures(run, coder, features, limit=16, **settings)
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "visualisations").rglob("*.safetensors")}
    every = contents.feature_pictures(run, coder, features, **settings)
    assert len(files) == 1 and all(p.stat().st_mtime_ns == time for p, time in files.items())
    folders = list((tmp_path / "visualisations").iterdir())  # a batch of 16, and the rest
    assert len(folders) == 2 and all(described(folder)["provenance"]["seed"] == 0 for folder in folders)
    assert every.row.tolist() == list(range(20)) and len(some.row) == 16 and (np.diff(some.row) > 0).all()
    assert np.array_equal(some.image, every.image[some.row])
    alone = run.visualise(coder, features[[5]], size=32, steps=2)[0]
    window = contents.central_window(run.model, 32)
    assert np.array_equal(every.image[5], (alone[window, window] * 255).round().astype(np.uint8))
    assert not len(contents.feature_pictures(run, coder, features, limit=0, **settings).row)


# ------------------------------------------------------------------------------------------------- to disk and back

def test_the_way_to_disk_and_back_costs_rounding_only(made, folder):
    read = storage.read_atlas(folder)
    assert read["group"]["name"] == "D_8" and read["maps"]["crosscoder"] == dict(count=len(
        made.tables["crosscoder"].features), latents=made.tables["crosscoder"].latents)
    for kind, table in made.tables.items():
        back = read["tables"][kind]
        assert back["features"] == table.features.tolist()
        assert np.array_equal(back["relatives"], table.relatives.row)
        assert np.array_equal(back["relative_element"], table.relatives.element)
        assert back["relative_cosine"] == pytest.approx(table.relatives.cosine, abs=2e-5)
        assert back["xy"] == pytest.approx(table.xy, abs=1e-5)
        assert back["frequency"] == pytest.approx(table.frequency, rel=1e-6)
        assert np.array_equal(back["family"], table.family) and np.array_equal(back["drawing"], table.drawing)
        drawn = np.flatnonzero(back["picture"] >= 0)
        assert drawn.tolist() == made.pictures[kind].row.tolist() and back["picture_size"] == 24
    table, back = made.tables["crosscoder"].symmetries, read["tables"]["crosscoder"]
    assert back["blocks"] == pytest.approx(table.blocks, abs=0.51 / 127)
    assert np.array_equal(back["blocks"], back["blocks"].transpose(0, 2, 1))
    assert back["spectrum"].sum(1) == pytest.approx(np.ones(len(table.spectrum)), abs=1e-3)
    for name in ("profile", "centred", "trivial", "inside", "outside", "margin", "equivariance", "rate", "encoder"):
        assert back[name] == pytest.approx(getattr(table, name), abs=5e-5), name
    for name in ("subgroup", "supported", "confirmed"):
        assert np.array_equal(back[name], getattr(table, name)), name
    assert set(map(int, read["subgroups"])) == set(table.subgroup.tolist()) | set(table.supported.tolist())
    assert (read["tau"], read["invariant"], read["false_rate"]) == (TAU, INVARIANT, FALSE_RATE)
    assert back["metrics"]["fve_exact"] is None and back["metrics"]["l0"] == 8


def test_heatmaps_in_chunks_come_back_in_order(made, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "CHUNK", 3)
    back = storage.read_atlas(storage.write_atlas(made, tmp_path))
    assert len(list(tmp_path.glob("crosscoder-blocks-*.js"))) > 10 and back["chunk"] == 3
    D, _ = planted_dictionary(G)
    assert back["tables"]["crosscoder"]["blocks"] == pytest.approx(block_cosines(D).numpy(), abs=0.51 / 127)


def test_pictures_stand_on_sheets_in_the_order_of_their_numbers(made, folder):
    from PIL import Image

    sheet = np.asarray(Image.open(folder / "crosscoder-0.webp"))
    k, size = 21, 24
    y, x = divmod(k, storage.COLUMNS)
    found = sheet[y * size:(y + 1) * size, x * size:(x + 1) * size].astype(float)
    assert np.abs(found - made.pictures["crosscoder"].image[k]).mean() < 12
    assert np.abs(found - made.pictures["crosscoder"].image[k].transpose(1, 0, 2)).mean() > 40


def test_a_smaller_atlas_leaves_no_files_of_a_larger_one(made, folder):
    (folder / "notes.txt").write_text("mine")
    none = contents.Pictures(np.zeros(0, dtype=np.int64), np.zeros((0, 1, 1, 3), dtype=np.uint8))
    storage.write_atlas(made._replace(pictures={kind: none for kind in made.tables}), folder)
    assert not list(folder.glob("*.webp")) and (folder / "notes.txt").read_text() == "mine"
    assert storage.read_atlas(folder)["tables"]["sae"]["sheets"] == 0


@pytest.mark.parametrize("damage, message", [
    (lambda f: (f / "crosscoder-0.webp").write_bytes(b"RIFF"), "crosscoder-0.webp is damaged or truncated .4 bytes"),
    (lambda f: (f / "sae.js").unlink(), "lacks sae.js"),
    (lambda f: (f / "atlas.js").unlink(), "holds no atlas"),
    (lambda f: (f / "atlas.js").write_text((f / "atlas.js").read_text()[:200]), "atlas.js is no file of an atlas"),
    (lambda f: (f / "atlas.js").write_text('atlasData("atlas", {"format":);\n'), "atlas.js is no file of an atlas"),
    (lambda f: (f / "atlas.js").write_text(storage.script("atlas", {"format": 0})), "format 0, expected 1 or 2"),
])
def test_damaged_folders_are_named(folder, damage, message):
    storage.check_atlas(folder)
    damage(folder)
    with pytest.raises(ValueError, match=message) as refused:
        storage.read_atlas(folder)
    assert "groupcc atlas" in str(refused.value)


def test_data_of_the_old_format_are_read_as_they_are(folder):
    new = storage.read_atlas(folder)["tables"]["crosscoder"]
    old = storage.read_atlas(make_old(folder))
    table = old["tables"]["crosscoder"]
    assert old["format"] == 1 and old["tau"] == 0.7 and "invariant" not in old
    assert np.array_equal(table["subgroup"], new["subgroup"]) and np.array_equal(table["profile"], new["profile"])
    assert not {"centred", "trivial", "supported", "rate", "confirmed", "encoder"} & set(table)


def test_the_published_data_are_read():
    """Whatever format they are of: they stay as they are until the next reference run."""
    root = Path(__file__).resolve().parents[2]
    read = storage.read_atlas(root / "book" / "reference" / "atlas")
    table = read["tables"]["crosscoder"]
    assert len(table["features"]) == len(table["profile"]) == len(table["subgroup"])
    assert set(map(str, table["subgroup"].tolist())) <= set(read["subgroups"])
    assert b"InceptionV1" in web_page.book_files(root, "book", "d3.js")["atlas/index.html"]


def test_what_cannot_be_packed_is_refused():
    for values, kind, scale, message in (([np.nan], "f4", 1.0, "NaN or infinite"),
                                         ([2.0], "i1", 1 / 127, "do not fit i1"),
                                         ([-1.0], "u2", 1 / 65535, "do not fit u2")):
        with pytest.raises(ValueError, match=message):
            storage.pack(np.array(values), kind, scale)
    with pytest.raises(ValueError, match="not JSON compliant|Out of range"):
        storage.script("x", float("nan"))


# --------------------------------------------------------------------------------------------------------- the page

def test_the_page_holds_the_data_and_only_files_beside_it(folder):
    files = web_page.page_files(folder, d3="d3<.js", origin="Reference run", home="../x.html")
    index = files["index.html"].decode()
    assert "{{" not in index and "d3&lt;.js" in index and 'href="../x.html"' in index
    assert "Reference run. Stem, layer features, group D_8, profile smoke, seed 0" in index
    assert files["data/sae.js"] == (folder / "sae.js").read_bytes()
    own = "".join(files[name].decode() for name in files if not name.startswith("data/"))
    assert "http://" not in own and "https://" not in own and "fetch(" not in own and "import " not in own
    (folder / "sae.js").write_text("")
    with pytest.raises(ValueError, match="sae.js is damaged"):
        web_page.page_files(folder, d3="d3.js")


def test_the_book_shows_the_reference_run_else_its_own_else_says_so(made, tmp_path, monkeypatch):
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path / "work"))
    assert "groupcc atlas --profile smoke" in web_page.book_part(tmp_path, "smoke")
    assert web_page.book_files(tmp_path, "smoke", "d3.js") == {}
    storage.write_atlas(made, web_page.atlas_folder("smoke") / "data")
    own = web_page.book_part(tmp_path, "smoke")
    assert "This book's own run" in own and "not results on InceptionV1" in own and "<iframe" in own
    reference = made._replace(facts=made.facts | dict(model="googlenet", profile="inception"))
    storage.write_atlas(reference, tmp_path / "book" / "reference" / "atlas")
    text = web_page.book_part(tmp_path, "smoke")
    assert "Reference run: InceptionV1 (BVLC GoogLeNet)" in text and "not results" not in text
    files = web_page.book_files(tmp_path, "smoke", "d3.js")
    assert b"Reference run. InceptionV1" in files["atlas/index.html"] and "atlas/data/sae.js" in files
    assert "earlier rule" not in text
    make_old(tmp_path / "book" / "reference" / "atlas")
    assert "earlier rule" in (old := web_page.book_part(tmp_path, "smoke")) and "threshold 0.7" in old


def test_a_book_with_the_page_gets_the_atlas_beside_its_pages(made, tmp_path, monkeypatch):
    from tiny_book import make_tiny_book, pretend_run

    from bookmaker import build

    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path / "work"))
    monkeypatch.setattr(build, "script_links", lambda packages, root: {"d3": "_static/vendor/d3/d3.min.js"})
    root = make_tiny_book(tmp_path / "book")
    pretend_run(root, "01_one", "02_two")
    storage.write_atlas(made, root / "book" / "reference" / "atlas")
    source = build.assemble(root, "smoke")
    assert not (source / "extra").exists()
    (root / "_toc.yml").write_text((root / "_toc.yml").read_text() + "- file: book/atlas\n")
    (root / "book" / "atlas.md").write_text(f"# Atlas\n\n{web_page.MARKER}\n")
    build.assemble(root, "smoke")
    text, index = (source / "book" / "atlas.md").read_text(), (source / "extra" / "atlas" / "index.html").read_text()
    assert web_page.MARKER not in text and "<iframe" in text and "D_8" in text
    assert 'src="../_static/vendor/d3/d3.min.js"' in index
    assert (source / "extra" / "atlas" / "data" / "atlas.js").is_file()
    assert not (source / "book" / "reference" / "atlas").exists()


# ----------------------------------------------------------------------------------------------------- the whole way

@pytest.mark.parametrize("arguments, message", [
    (["--profile", "smok"], "profile is 'smok'"), (["--data", "nowhere"], "--data is 'nowhere'"),
    (["--seed", "-1"], "seed is -1"), (["--features", "-1"], "pictures is -1; expected at least 0"),
    (["--size", "0"], "size is 0"), (["--steps", "0"], "steps is 0"), (["--images", "nowhere"], "nowhere"),
    (["--profile", "inception"], "no weights for googlenet")])
def test_wrong_requests_are_one_line_before_anything_is_made(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setenv("GROUPCC_WORK", str(tmp_path / "work"))
    monkeypatch.delenv("GROUPCC_DATA", raising=False)
    assert cli.main(["atlas", "--profile", "smoke", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("groupcc: ") and error.count("\n") == 1
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_run_makes_its_atlas_once(tmp_path, monkeypatch):
    """Everything from images to data, with a network and settings as small as they get; UMAP has tests of its own."""
    def places(gap, seed):
        four = np.random.default_rng(seed).normal(size=(len(gap), 4)).astype(np.float32)
        return Embedding(four, four[:, :2])

    monkeypatch.setattr("groupcc_lite.symmetry.families.embed", places)
    tiny = dict(latents=24, k=4, steps=12, batch_size=32, points_per_image=8, mask_radius=7.0, atlas_size=32,
                atlas_steps=1)
    action = PlanarAction(cyclic(4))
    run = Run("smoke", model=small_model(), images=noise_images(20, action.source_size(32)), action=action,
              work=tmp_path / "work", **tiny)
    data = web_page.make_page(run, tmp_path / "atlas", data_only=True, pictures=4, count=3)
    read, found = storage.read_atlas(data), run.family_map()
    table = read["tables"]["crosscoder"]
    assert table["features"] == found.features.tolist() and table["relatives"].shape == (len(found.features), 3)
    assert (table["picture"] >= 0).sum() == 4 and read["drawing"] == dict(size=32, steps=1)
    assert table["frequency"] == pytest.approx(run.evaluate(found.coder).frequency[found.features], rel=1e-6)
    assert table["frequency"].min() > 0 and read["group"]["rotations"] == 4
    census = confirmed_census(found.coder, run.evaluate(found.coder).frequency, run.orbits("held-out"), seed=run.seed)
    assert np.array_equal(table["confirmed"] == 1, (census.confirmed | census.invariant).numpy())
    assert (data / "crosscoder-0.webp").stat().st_size == read["files"]["crosscoder-0.webp"]["bytes"]
    before = (data / "atlas.js").stat().st_mtime_ns
    web_page.make_page(run, data, data_only=True, pictures=4, count=3)
    assert (data / "atlas.js").stat().st_mtime_ns == before
    (data / "sae.js").write_text("")
    web_page.make_page(run, data, data_only=True, pictures=4, count=3)
    storage.check_atlas(data)
    web_page.make_page(run, data, data_only=True, pictures=5, count=3)
    assert (storage.read_atlas(data)["tables"]["crosscoder"]["picture"] >= 0).sum() == 5
