"""Duplicates against a double loop over all pixels, and the audit against worked examples."""

import os

import krippendorff
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fer_utils.core import EXPRESSIONS, InputError, paper
from fer_utils.datasets import duplicates
from fer_utils.datasets.duplicates import audit, find_groups, near_pairs
from fer_utils.datasets.images import hash_images, remembered_checks
from fer_utils.datasets.manifest import SPLITS, VOTE_COLUMNS
from fer_utils.datasets.synthetic import draw_manifest, read_synthetic


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Files, some of which show the same picture; name → split, label."""
    root = tmp_path_factory.mktemp("planted")
    faces = draw_manifest(read_synthetic(train=64, validation=8, test=8, seed=7).iloc[:6])
    pictures = [Image.fromarray(face) for face in faces]
    files = {
        "plain.png": ("train", 0, pictures[0]),
        "copy.bmp": ("test", 0, pictures[0]),
        "other.png": ("train", 3, pictures[1]),
        "other_label.png": ("train", 4, pictures[1]),
        "upright.png": ("train", 1, pictures[2]),
        "mirrored.png": ("test", 1, pictures[2].transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        "dark.png": ("train", 2, pictures[3]),
        "bright.png": ("validation", 2, pictures[3].point(lambda value: int(0.8 * value + 40))),
        "original.png": ("train", 5, pictures[4]),
        "small.jpg": ("validation", 6, pictures[4].resize((48, 48))),
        "alone.png": ("train", 6, pictures[5]),
        "black.png": ("train", 7, Image.new("RGB", (64, 64))),
        "grey.png": ("test", 7, Image.new("RGB", (64, 64), "grey")),
    }
    for name, (_, _, picture) in files.items():
        picture.save(root / name, **({"quality": 80} if name.endswith("jpg") else {}))
    rows = [(name, label, split) for name, (split, label, _) in files.items()]
    manifest = pd.DataFrame(rows, columns=["image", "label", "split"])
    manifest.attrs = {"dataset": "folder", "root": str(root)}
    return manifest


def test_duplicates_are_found_within_and_across_splits(planted):
    found = audit(planted)
    table = found.duplicates.set_index(["images", "duplicates_in"])
    expected = {
        ("test", "train"): (1, 1),
        ("validation", "train"): (0, 2),
        ("test", "validation"): (0, 0),
        ("train", "train"): (2, 0),
        ("validation", "validation"): (0, 0),
        ("test", "test"): (0, 0),
    }
    assert {key: tuple(row) for key, row in table.iterrows()} == expected
    assert found.other_label == {"exact": 2, "near": 2}
    groups, quick = find_groups(planted), find_groups(planted, near=False)
    assert groups["exact"].tolist() == [0, 0, 1, 1, *[-1] * 9]
    assert groups["group"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, -1, -1, -1]
    assert find_groups(planted)["group"].tolist() == groups["group"].tolist()
    assert quick["group"].equals(groups["exact"])
    assert audit(planted, near=False).duplicates["near"].sum() == 0


def test_faces_are_compared_in_their_boxes(planted):
    """Half of a picture is its near-duplicate, if that is where the picture's face is."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 128), dtype=np.uint8)
    Image.fromarray(noise).save(f"{planted.attrs['root']}/two_faces.png")
    right = noise[:, 64:]
    Image.fromarray(right // 2).save(f"{planted.attrs['root']}/right.png")
    table = pd.DataFrame({"image": ["two_faces.png", "right.png"], "label": 0, "split": "train"})
    table[["box_x", "box_y", "box_width", "box_height"]] = [[64, 0, 64, 64], [0, 0, 64, 64]]
    table.attrs = planted.attrs
    assert find_groups(table)["group"].tolist() == [0, 0]
    whole = table.drop(columns=["box_x"])
    assert find_groups(whole)["group"].tolist() == [-1, -1]


@pytest.mark.parametrize("damage", ["", '{"pairs": [[0', '["pairs"]', '{"other": 1}'])
def test_the_same_images_are_searched_once(planted, tmp_path, monkeypatch, damage):
    searched, marked = [], planted.assign(fingerprint=hash_images(planted))
    monkeypatch.setattr(
        duplicates, "near_pairs", lambda t: (searched.append(len(t)), near_pairs(t))[1]
    )

    def search(table):
        with remembered_checks(tmp_path):
            return find_groups(table)["group"].tolist()

    first = search(marked)
    assert first == search(planted) == search(marked) and searched == [11]
    (store,) = tmp_path.iterdir()
    store.write_text(damage)
    assert search(marked) == first == search(marked) and searched == [11, 11]
    monkeypatch.setattr(duplicates, "MIN_CORRELATION", 1.1)  # another rule
    assert search(marked) == find_groups(marked, near=False)["exact"].tolist()
    boxed = marked.assign(box_x=0, box_y=0, box_width=9, box_height=9)  # other parts of the images
    others = boxed, boxed.assign(box_x=1), marked.iloc[2:]
    assert all(search(table) for table in others) and searched == [11, 11, 11, 11, 11, 10]
    find_groups(marked)  # outside nothing is remembered
    assert len(searched) == 7


def test_groups_of_held_out_images_alone(planted):
    """Enough for intervals; a manifest that has all its groups keeps them."""
    held_out = {"other.png": "test", "other_label.png": "test", "upright.png": "validation"}
    table = planted.assign(split=planted["image"].map(held_out).fillna(planted["split"]))
    found = duplicates.group_held_out(table)
    groups = found.set_index("image")["duplicate_group"]
    assert groups[groups >= 0].to_dict() == {
        "other.png": 0, "other_label.png": 0, "upright.png": 1, "mirrored.png": 1
    }  # fmt: skip
    assert found.attrs == planted.attrs and "duplicate_group" not in table
    assert duplicates.group_held_out(found) is found


def test_near_pairs_are_those_of_a_comparison_of_all_with_all(monkeypatch):
    monkeypatch.setattr(duplicates, "_PART", 13)
    monkeypatch.setattr(duplicates, "_BLOCK", 7)  # pairs within a block and across
    random = np.random.default_rng(0)
    thumbnails = random.integers(0, 256, (60, 32, 32)).astype(np.uint8)
    for place in range(20):  # with more and more noise; every third one is mirrored
        twin = thumbnails[place] + random.normal(0, 2.5 * place, (32, 32))
        twin = twin[:, ::-1] if place % 3 == 0 else twin
        thumbnails[40 + place] = twin.clip(0, 255).round()
    thumbnails[20:22] = thumbnails[22]  # exact ones are near ones too
    thumbnails[30:32] = 9  # constant ones are not
    vectors, mirrored = (faces.reshape(60, -1) for faces in (thumbnails, thumbnails[:, :, ::-1]))
    with np.errstate(invalid="ignore"):
        both = [np.corrcoef(vectors, others)[:60, 60:] for others in (vectors, mirrored)]
    close = np.triu(np.nan_to_num(np.maximum(*both)) >= duplicates.MIN_CORRELATION, k=1)
    expected = np.argwhere(close)
    assert 12 < len(expected) < 22, "some twins are too noisy"
    assert near_pairs(thumbnails).tolist() == expected.tolist()
    assert near_pairs(thumbnails[:0]).shape == (0, 2)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(SPLITS)), max_size=30))
def test_counts_against_a_double_loop(rows):
    counts = duplicates.count_duplicates(*([row[i] for row in rows] for i in (0, 1)))
    for one, other in (("test", "train"), ("validation", "train"), ("test", "validation")):
        expected = sum(split == one and (face, other) in rows for face, split in rows)
        assert counts[f"{one}_in_{other}"] == expected


def test_drawn_people_are_no_duplicates_however_alike():
    """At difficulty 0 they resemble each other enough for a search in pixels to fall for it."""
    drawn = read_synthetic(train=64, validation=8, test=8, difficulty=0.0, subjects=3)
    found = audit(drawn)
    assert (find_groups(drawn) == -1).all(axis=None)
    assert found.duplicates[["exact", "near"]].to_numpy().sum() == 0
    assert found.other_label == {"exact": 0, "near": 0}


def test_classes_and_effective_images_are_those_of_the_paper():
    counts = np.array(paper.TRAINING_COUNTS) // 50
    labels = np.repeat(np.arange(8), counts)
    table = pd.DataFrame({"image": range(len(labels)), "label": labels, "split": "train"})
    table.attrs = {"dataset": "synthetic"}
    classes = audit(table).classes
    assert classes["expression"].tolist() == list(EXPRESSIONS)
    assert classes["images"].tolist() == counts.tolist()
    np.testing.assert_allclose(classes["weight"], counts.min() / counts)
    weights = classes["weight"].to_numpy()[labels]
    effective = weights.sum() ** 2 / (weights**2).sum()
    assert audit(table).effective_images == pytest.approx(effective)
    rare = table[table["label"] != 5].assign(subject="x")
    assert audit(rare).classes["weight"][5] == 0 and audit(rare).agreement is None
    assert np.isnan(audit(rare.assign(label=-1)).effective_images), "people without expressions"


def with_votes(votes):
    table = pd.DataFrame(votes, columns=VOTE_COLUMNS).assign(image=range(len(votes)), split="train")
    table["label"] = np.argmax(votes, axis=1)
    table.attrs = {"dataset": "synthetic"}
    return table


def test_krippendorffs_own_example():
    """Four observers, twelve units (Krippendorff 2011, Computing alpha-reliability): 0.743."""
    observers = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    votes = np.zeros((12, 8), int)
    for values in observers:
        for unit, value in enumerate(values):
            votes[unit, int(value) if value != "." else 0] += value != "."
    agreement = audit(with_votes(votes)).agreement
    assert agreement["alpha"] == pytest.approx(0.743, abs=5e-4)
    assert agreement["images"] == 11, "one unit has one value"


def test_agreement_pair_by_pair():
    random = np.random.default_rng(1)
    votes = random.multinomial(10, random.dirichlet(np.full(8, 0.3), 50))
    found = audit(with_votes(votes))
    raters = [np.repeat(np.arange(8), row) for row in votes]
    pairs = [np.mean([a == b for i, a in enumerate(r) for b in r[:i]]) for r in raters]
    assert found.agreement["pairwise"] == pytest.approx(np.mean(pairs))
    assert found.agreement["favourite"] == pytest.approx((votes.max(axis=1) / 10).mean())
    alpha = krippendorff.alpha(value_counts=votes, level_of_measurement="nominal")
    assert found.agreement["alpha"] == pytest.approx(alpha) and found.agreement["votes"] == 10
    for label in range(8):
        own = votes[votes.argmax(axis=1) == label] / 10
        np.testing.assert_allclose(found.votes[label], own.sum(axis=0))
    one_class = audit(with_votes([[0, 3, 0, 0, 0, 0, 0, 0]] * 2)).agreement
    assert one_class["pairwise"] == 1 and np.isnan(one_class["alpha"])
    assert audit(with_votes([[0, 1, 0, 0, 0, 0, 0, 0]])).agreement is None


def test_an_unusable_manifest_is_refused_in_one_line(planted):
    homeless = planted.copy()
    homeless.attrs = {}
    for manifest, message in ((planted.iloc[:0], "with rows"), (homeless, "root")):
        with pytest.raises(InputError, match=message) as error:
            audit(manifest)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"absent\.png"):
        audit(planted.assign(image="absent.png"))


@pytest.mark.slow
@pytest.mark.skipif("FERPLUS" not in os.environ, reason="FERPLUS does not name FER+'s folder")
def test_the_real_ferplus_has_its_known_leaks():
    folders = {"FER2013Train": "train", "FER2013Valid": "validation", "FER2013Test": "test"}
    root = os.path.join(os.environ["FERPLUS"], "data")
    names = [(f"{folder}/{name}", split) for folder, split in folders.items()
             for name in os.listdir(f"{root}/{folder}") if name.endswith("png")]  # fmt: skip
    table = pd.DataFrame(names, columns=["image", "split"]).assign(label=0)
    table.attrs = {"dataset": "ferplus", "root": root}
    found = audit(table).duplicates
    assert found["exact"].tolist()[:3] == [288, 279, 44]
    assert 190 <= found["near"][0] <= 205
