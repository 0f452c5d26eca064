"""The audit: planted faults are found, planted twins too, and agreement is what its published example says."""

import os

import krippendorff
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_utils import datasets, plots
from fer_utils.audit import audit, report
from fer_utils.audit.agreement import measure_agreement
from fer_utils.audit.near import MAX_BITS, MIN_CORRELATION, find_near_pairs, perceptual_hashes
from fer_utils.datasets.images import hash_images
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS

VOTES = [f"votes_{name}" for name in EXPRESSIONS]


def faces(count, size=64):
    drawn = datasets.read_synthetic(train=64, validation=8, test=8, image_size=size, seed=7)
    return datasets.load_images(drawn.iloc[:count])


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Files with one fault each, and twins of every kind; name → (split, label)."""
    root = tmp_path_factory.mktemp("faults")
    pictures = [Image.fromarray(face) for face in faces(11)]
    files = {
        "plain.png": ("train", 0, pictures[0]),
        "copy.png": ("test", 0, pictures[0]),
        "other.png": ("train", 3, pictures[1]),
        "same_other_label.png": ("train", 4, pictures[1]),
        "mirrored.png": ("test", 1, pictures[2].transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        "upright.png": ("train", 1, pictures[2]),
        "bright.png": ("validation", 2, pictures[3].point(lambda value: min(255, int(0.8 * value + 40)))),
        "dark.png": ("train", 2, pictures[3]),
        "recompressed.jpg": ("validation", 5, pictures[4]),
        "original.png": ("train", 5, pictures[4]),
        "alone.png": ("train", 6, pictures[5]),
        "tiny.png": ("train", 7, pictures[6].resize((20, 20))),
        "constant.png": ("train", 7, Image.new("RGB", (64, 64), (90, 90, 90))),
        "cmyk.jpg": ("train", 6, pictures[7].convert("CMYK")),
        "grey.png": ("train", 6, pictures[8].convert("L")),
        "alpha.png": ("train", 6, pictures[9].convert("RGBA")),
        "turned.jpg": ("train", 6, pictures[10]),
    }
    turned = Image.Exif()
    turned[0x0112] = 3  # to be shown upside down
    for name, (_, _, picture) in files.items():
        options = {"quality": 70} if name.endswith("jpg") else {}
        picture.save(root / name, **options, **({"exif": turned} if name == "turned.jpg" else {}))
    (root / "broken.png").write_bytes((root / "plain.png").read_bytes()[:400])
    rows = [(name, label, split) for name, (split, label, _) in files.items()]
    rows += [("broken.png", 0, "train"), ("absent.png", 0, "train")]
    manifest = pd.DataFrame(rows, columns=["image", "label", "split"])
    manifest[["box_x", "box_y", "box_width", "box_height"]] = [[2, 2, 60, 60]] * len(manifest)
    manifest.loc[manifest["image"] == "alone.png", "box_x"] = -5
    manifest.attrs = {"dataset": "folder", "root": str(root)}
    return manifest


@pytest.fixture(scope="module")
def found(planted):
    return audit(planted, workers=2)


@pytest.mark.parametrize(
    ("check", "names"),
    [
        ("unreadable", {"broken.png", "absent.png"}),
        ("tiny", {"tiny.png"}),
        ("constant", {"constant.png"}),
        ("odd_mode", {"cmyk.jpg", "alpha.png"}),
        ("turned", {"turned.jpg"}),
        ("grey_in_colour", {"grey.png", "constant.png"}),
        ("box_outside", {"alone.png", "tiny.png"}),
    ],
)
def test_every_planted_fault_is_found_and_nothing_else(found, check, names):
    assert set(found.images.loc[found.images[check], "image"]) == names
    assert found.table.loc[check, "count"] == len(names)


def test_twins_are_found_within_and_across_splits(found):
    table = found.table["count"]
    assert table["exact_test_in_train"] == 1 and table["exact_within_train"] == 2
    assert table["near_test_in_train"] == 1 and table["near_validation_in_train"] == 2
    assert table["exact_validation_in_train"] == table["exact_test_in_validation"] == 0
    assert table["exact_mixed"] == 2
    pairs = {frozenset(pair) for pair in found.near[["first", "second"]].to_numpy()}
    expected = [("mirrored.png", "upright.png"), ("bright.png", "dark.png"), ("recompressed.jpg", "original.png")]
    assert pairs == {frozenset(pair) for pair in expected}
    assert found.near.loc[found.near["mirrored"], "first"].tolist() == ["mirrored.png"]
    groups = found.images.set_index("image")["group"]
    assert groups["plain.png"] == groups["copy.png"] >= 0 and groups["alone.png"] == -1


def test_hashes_are_those_that_training_leaks_are_removed_by(found, planted):
    readable = ~found.images["unreadable"]
    assert found.images.loc[readable, "hash"].tolist() == hash_images(planted[readable.to_numpy()])


@pytest.mark.parametrize("tile", [(128, 4096), (7, 11)])
def test_pairs_are_those_of_a_comparison_of_all_with_all(tile, monkeypatch):
    """Brute force over bits and correlations, one pair at a time; pairs within a tile and across."""
    for name, size in zip(("_ROWS", "_COLUMNS"), tile, strict=True):
        monkeypatch.setattr(f"fer_utils.audit.near.{name}", size)
    random = np.random.default_rng(0)
    thumbnails = random.integers(0, 256, (60, 32, 32)).astype(np.uint8)
    for place in range(20):  # twins with more and more noise; every third one is mirrored
        twin = thumbnails[place].astype(float) + random.normal(0, 4 * place, (32, 32))
        twin = twin[:, ::-1] if place % 3 == 0 else twin
        thumbnails[40 + place] = twin.clip(0, 255).round()
    hashes, flipped = perceptual_hashes(thumbnails)
    expected = {}
    for first in range(60):
        for second in range(first + 1, 60):
            for mirrored, other, image in (
                (False, hashes[second], thumbnails[second]),
                (True, flipped[second], thumbnails[second][:, ::-1]),
            ):
                bits = bin(int(hashes[first]) ^ int(other)).count("1")
                correlation = np.corrcoef(thumbnails[first].ravel(), image.ravel())[0, 1]
                if bits <= MAX_BITS and correlation >= MIN_CORRELATION:
                    expected[first, second] = (bits, mirrored, round(correlation, 4))
    pairs = find_near_pairs(thumbnails, workers=2)
    got = {
        (first, second): (bits, mirrored, round(correlation, 4))
        for first, second, bits, correlation, mirrored in pairs.itertuples(index=False)
    }
    assert got == expected and len(expected) >= 7


def test_krippendorffs_own_example():
    """Four observers, twelve units, nominal (Krippendorff 2011, Computing Krippendorff's alpha-reliability): 0.743."""
    observers = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    votes = np.zeros((12, 8), int)
    for values in observers:
        for unit, value in enumerate(values):
            if value != ".":
                votes[unit, int(value)] += 1
    agreement = measure_agreement(pd.DataFrame(votes, columns=VOTES))
    assert agreement["alpha"] == pytest.approx(0.743, abs=5e-4) and agreement["images"] == 11  # one unit has one value


def test_accuracies_within_reach_by_hand():
    """Two votes against one: foretold by the others 1/2, 1/2 and 0; a second panel by the binomial distribution."""
    agreement = measure_agreement(pd.DataFrame([[0, 2, 0, 1, 0, 0, 0, 0]], columns=VOTES))
    assert agreement["pairwise"] == pytest.approx(1 / 3)
    assert agreement["one_more_low"] == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert agreement["one_more_high"] == pytest.approx(2 / 3)
    assert agreement["second_panel"] == pytest.approx((2 / 3) ** 3 + 3 * (2 / 3) ** 2 / 3, abs=0.03)


def test_alpha_is_krippendorffs_own_and_the_bounds_are_right():
    random = np.random.default_rng(1)
    votes = random.multinomial(10, random.dirichlet(np.full(8, 0.3), 50))
    table = pd.DataFrame(votes, columns=VOTES)
    agreement = measure_agreement(table)
    assert agreement["alpha"] == pytest.approx(krippendorff.alpha(value_counts=votes, level_of_measurement="nominal"))
    # Pair by pair, as the words say it.
    raters = [np.repeat(np.arange(8), row) for row in votes]
    pairs = [np.mean([a == b for i, a in enumerate(r) for j, b in enumerate(r) if i != j]) for r in raters]
    assert agreement["pairwise"] == pytest.approx(np.mean(pairs))
    assert agreement["one_more_high"] == pytest.approx((votes.max(axis=1) / 10).mean())
    assert agreement["pairwise"] <= agreement["one_more_low"] + 0.05 <= agreement["one_more_high"] + 0.05
    perfect = measure_agreement(pd.DataFrame(np.eye(8, dtype=int) * 10, columns=VOTES))
    assert perfect["alpha"] == perfect["pairwise"] == perfect["one_more_low"] == perfect["second_panel"] == 1
    assert measure_agreement(table.drop(columns=VOTES[:1])) is None


def test_files_that_the_manifest_leaves_out_take_part(tmp_path):
    """A picture that the label rule dropped from the test folder is still a leak of its twin in training."""
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
    first, second = (Image.fromarray(face) for face in faces(2))
    first.save(tmp_path / "train/a.png")
    second.save(tmp_path / "test/b.png")
    first.save(tmp_path / "test/dropped.png")
    manifest = pd.DataFrame({"image": ["train/a.png", "test/b.png"], "label": [0, 1], "split": ["train", "test"]})
    manifest.attrs = {"dataset": "folder", "root": str(tmp_path)}
    row = audit(manifest).table.loc["exact_test_in_train"]
    assert (row["count"], row["all_files"]) == (0, 1)
    assert audit(manifest, unlisted=False).table.loc["exact_test_in_train", "all_files"] == 0


def test_the_report_is_one_page_with_figures_that_show_no_face(found, planted, tmp_path):
    with_votes = planted.assign(**dict.fromkeys(VOTES, 1))
    page = report(audit(with_votes, near=False), tmp_path / "audit.md").read_text()
    for word in ("# Audit of folder", "19 images (15 train, 2 validation, 2 test)", "Krippendorff", "absent.png"):
        assert word in page, word
    drawn = {path.name for path in tmp_path.iterdir()}
    shown = {part.split(")")[0] for part in page.split("](")[1:]}
    assert shown <= drawn and all(name.endswith(".png") for name in shown)
    assert not any("mean" in name or "sample" in name for name in drawn)
    assert [patch.get_height() for patch in plots.figure_class_counts(found.counts).axes[0].patches][0] == 3


def test_mean_faces_are_means():
    drawn = datasets.read_synthetic(train=64, validation=8, test=8, image_size=64, proportions="balanced")
    found = audit(drawn, near=False)
    grey = [np.asarray(Image.fromarray(face).convert("L"), float) for face in datasets.load_images(drawn)]
    for label in range(8):
        own = np.mean([face for face, has in zip(grey, drawn["label"], strict=True) if has == label], axis=0)
        assert np.abs(found.mean_faces[label] - own).max() < 1e-9
    assert found.effective_images == pytest.approx(64)


def test_fer2013_in_its_own_form(tmp_path):
    """Images that are rows of one CSV: the same pixels in two usages."""
    random = np.random.default_rng(0)
    pixels = [" ".join(map(str, row)) for row in random.integers(0, 256, (3, 48 * 48))]
    lines = [
        f"3,{pixels[0]},Training",
        f"3,{pixels[0]},PrivateTest",
        f"0,{pixels[1]},PublicTest",
        f"6,{pixels[2]},Training",
    ]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]))
    found = audit(datasets.read_dataset("fer2013", tmp_path))
    assert found.table["count"][["unreadable", "odd_mode", "exact_test_in_train"]].tolist() == [0, 0, 1]


def test_people_without_expressions_and_a_folder_without_images(tmp_path):
    people = pd.DataFrame({"image": ["a.png", "b.png"], "label": -1, "split": "train", "subject": ["x", "y"]})
    people.attrs = {"dataset": "identities", "root": str(tmp_path)}
    found = audit(people)
    assert found.table.loc["unreadable", "count"] == 2 and len(found.near) == 0
    assert np.isnan(found.effective_images) and np.isnan(found.mean_faces).all()
    assert "2 images (2 train" in report(found, tmp_path / "page.md").read_text()
    with pytest.raises(InputError, match="mean face of at least one class"):
        plots.figure_mean_faces(found.mean_faces)


@pytest.mark.parametrize(("change", "message"), [("empty", "at least one row"), ("homeless", "where its images are")])
def test_an_unusable_manifest_is_refused_in_one_line(planted, change, message):
    manifest = planted.iloc[:0] if change == "empty" else planted.copy()
    manifest.attrs = {}
    with pytest.raises(InputError, match=message) as error:
        audit(manifest)
    assert "\n" not in str(error.value)


@pytest.mark.skipif("FERPLUS" not in os.environ, reason="FERPLUS does not name the folder of the real FER+")
def test_the_real_ferplus_has_its_known_leaks():
    found = audit(datasets.read_ferplus(os.environ["FERPLUS"], check_images=False, remove_leaks=False), near=False)
    relations = ("test_in_train", "validation_in_train", "test_in_validation")
    assert found.table.loc[[f"exact_{relation}" for relation in relations], "all_files"].tolist() == [288, 279, 44]
