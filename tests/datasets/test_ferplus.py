"""FER+ on tiny trees with labels by hand, and on the real folder where it is."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_utils.core import InputError
from fer_utils.datasets import class_counts, load_images, read_ferplus
from fer_utils.datasets.ferplus import argmax_labels, majority_labels, probability_votes
from tests.datasets import trees

REAL = Path("/tmp/ferplus/ferplus")

# Votes in FER+'s order (neutral happiness surprise sadness anger disgust fear contempt unknown NF);
# by hand, the label in ours (neutral happy sad surprise fear disgust anger contempt, −1 none).
MAJORITY = [
    *((" ".join("9" if i == place else "0" for i in range(10)), label)
      for place, label in enumerate([0, 1, 3, 2, 6, 5, 4, 7, -1, -1])),
    ("5 5 0 0 0 0 0 0 0 0", -1),  # a tie
    ("4 1 1 1 1 1 1 0 0 0", 0),  # single votes count as none: 4 of 4
    ("4 0 0 2 2 0 0 0 1 1", -1),  # 4 of 8: half is not more than half
    ("5 0 0 2 2 0 0 0 1 0", 0),  # 5 of 9
    ("4 0 0 0 0 0 0 0 4 2", -1),  # "unknown" and "no face" count among the rest
    ("1 1 1 1 1 1 1 1 1 1", -1),  # nothing left
]  # fmt: skip
ARGMAX = [
    ("5 5 0 0 0 0 0 0 0 0", 0),  # the first of equals
    ("0 1 1 1 1 1 1 1 1 2", -1),
    ("0 0 0 4 2 0 0 0 4 0", 2),
    ("0 0 0 0 0 0 0 0 0 0", -1),
]


@pytest.mark.parametrize("rule, worked", [(majority_labels, MAJORITY), (argmax_labels, ARGMAX)])
def test_label_rules(rule, worked):
    votes = np.array([votes.split() for votes, _ in worked], dtype=int)
    assert rule(votes).tolist() == [label for _, label in worked]


def probability_by_the_letter(votes):
    """FER+'s rule for one image, a loop over tallies as its authors describe it."""
    tally = {place: count for place, count in enumerate(votes) if count > 1}
    total, kept, faceless = sum(tally.values()), {}, False
    while tally and sum(kept.values()) < 0.75 * total and len(kept) < 3 and not faceless:
        most = max(tally.values())
        for place in sorted(place for place in tally if tally[place] == most):
            del tally[place]
            if place >= 8:
                faceless = True
                break
            kept[place] = most
    if sum(kept.values()) <= total / 2 or len(kept) > 3:
        kept = {}
    return [kept.get(place, 0) for place in range(10)]


def test_probability_rule():
    generator = np.random.default_rng(0)
    votes = generator.multinomial(10, generator.dirichlet([0.35] * 10, 2000))
    expected = [probability_by_the_letter(row) for row in votes.tolist()]
    np.testing.assert_array_equal(probability_votes(votes), expected)
    assert 0.3 < np.any(expected, axis=1).mean() < 0.95


HAPPY, SAD, TIE = "0 9 0 0 0 0 0 0 1 0", "0 0 0 8 2 0 0 0 0 0", "5 5 0 0 0 0 0 0 0 0"
# (number of the file, number of the picture, votes)
TREE = {
    "FER2013Train": [
        (0, 0, HAPPY),
        (1, 1, SAD),  # stands in test
        (2, 2, HAPPY),  # stands in validation, where the majority rule drops it
        (3, 3, TIE),  # stands in test, but is not usable here
        (4, 4, SAD),
        (5, 4, HAPPY),  # twice in train: no leak
    ],
    "FER2013Valid": [(6, 2, TIE), (7, 7, HAPPY), (8, 8, SAD)],
    "FER2013Test": [(9, 1, HAPPY), (10, 3, SAD), (11, 8, SAD), (12, 8, HAPPY)],
}
DUPLICATES = {"test_in_train": 2, "validation_in_train": 1, "test_in_validation": 2}


@pytest.fixture
def root(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (9, 12, 10), dtype=np.uint8)
    for folder, rows in TREE.items():
        (tmp_path / "data" / folder).mkdir(parents=True)
        lines = []
        for number, picture, votes in rows:
            name = f"fer{number}.png"
            Image.fromarray(pictures[picture]).save(tmp_path / "data" / folder / name)
            lines.append(f'{name},"(1, 2, 10, 12)",{votes.replace(" ", ",")}\n')
        (tmp_path / "data" / folder / "label.csv").write_text("".join(lines))
    return tmp_path


def numbers(manifest, split):
    names = manifest["image"][manifest["split"] == split]
    return names.str.extract(r"fer(\d+)")[0].astype(int).tolist()


def refusal(root, **options):
    with pytest.raises(InputError) as error:
        read_ferplus(root, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_rows_labels_and_columns(root):
    manifest = read_ferplus(root, remove_leaks=False)
    assert numbers(manifest, "train") == [0, 1, 2, 4, 5]
    assert numbers(manifest, "validation") == [7, 8]
    assert numbers(manifest, "test") == [9, 10, 11, 12]
    assert manifest["label"].tolist() == [1, 2, 1, 2, 1, 1, 2, 1, 2, 2, 1]
    row = manifest.iloc[1]
    assert row[["box_x", "box_y", "box_width", "box_height"]].tolist() == [1, 2, 10, 12]
    assert (row["votes_sad"], row["votes_anger"], row["votes_happy"]) == (8, 2, 0)
    assert manifest.attrs["root"] == str(root / "data")
    assert (manifest.attrs["leaks_removed"], manifest.attrs["duplicates"]) == (0, DUPLICATES)


def test_leaks_leave_training_only(root):
    manifest = read_ferplus(root)
    assert numbers(manifest, "train") == [0, 4, 5] and manifest.index.tolist() == list(range(9))
    assert manifest.attrs["leaks_removed"] == 2  # 1 and 2; 3 was never usable
    assert manifest.attrs["duplicates"] == DUPLICATES
    other = read_ferplus(root / "data")
    assert other.equals(manifest) and other.attrs == manifest.attrs
    (root / "data/FER2013Train/fer0.png").write_bytes(b"")
    skipped = read_ferplus(root, on_bad_image="skip")
    assert numbers(skipped, "train") == [4, 5] and skipped.attrs["bad_images"]["count"] == 1


def test_lists_can_be_read_without_images(root):
    for image in root.rglob("*.png"):
        image.unlink()
    manifest = read_ferplus(root, check_images=False)
    assert len(manifest) == 11 and manifest.attrs["leaks_removed"] is None
    assert "duplicates" not in manifest.attrs
    assert "13 absent" in refusal(root, check_images=False, remove_leaks=True)


def test_rules_and_their_votes(root):
    argmax = read_ferplus(root, label_rule="argmax", remove_leaks=False)
    assert len(argmax) == 13 and argmax["label"].tolist()[3] == 0  # the first of the tie
    likely = read_ferplus(root, label_rule="probability", remove_leaks=False)
    votes = likely[[f"votes_{name}" for name in ("neutral", "happy", "sad", "anger")]].to_numpy()
    assert votes[:4].tolist() == [[0, 9, 0, 0], [0, 0, 8, 0], [0, 9, 0, 0], [5, 5, 0, 0]]
    assert "did you mean 'majority'" in refusal(root, label_rule="majorty")


VOTES = "1,2,3,0,0,0,0,0,0"


@pytest.mark.parametrize(
    "line, message",
    [
        ('x.png,"(0, 0, 48, 48)",1,2,3', "sadness', a whole number from 0 to 9999, found nothing"),
        (f'x.png,"(0, 0, 48, 48)",{VOTES},x', "votes for 'NF', .* found 'x'"),
        (f'x.png,"(0, 0, 48, 48)",{VOTES},-1', "votes for 'NF', .* found '-1'"),
        (f'x.png,"(0, 0, 48)",{VOTES},0', r"height\)', found '\(0, 0, 48\)'"),
        (f'x.png,"(0, 0, 48, 48)",{VOTES},99999999999999', "found '99999999999999'"),
        (f',"(0, 0, 48, 48)",{VOTES},0', "name of an image, found nothing"),
        (f'fer7.png,"(0, 0, 48, 48)",{VOTES},0', "found 'fer7.png' in .* row 2 as well"),
        ("x.png", r"height\)', found nothing"),
    ],
)
def test_a_malformed_row_is_named(root, line, message):
    path = root / "data/FER2013Valid/label.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line]) + "\n")
    with pytest.raises(InputError, match=f"{path} row 3: expected .*{message}"):
        read_ferplus(root)


def test_missing_parts_are_named(root):
    path = root / "data/FER2013Valid/label.csv"
    path.write_text(path.read_text().splitlines()[0])
    assert f"expected usable validation images at {root}" in refusal(root)
    path.unlink()
    assert f"found no {path}" in refusal(root)
    shutil.rmtree(path.parent)
    assert f"found no {path}" in refusal(root)


NEW = """Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF
Training,fer0.png,0,0,9,0,0,0,0,0,1,0
Training,,0,0,0,0,0,0,0,0,0,10
Training,fer1.png,9,0,0,0,0,0,0,0,1,0
PublicTest,fer2.png,0,9,0,0,0,0,0,0,0,1
Training,fer1.png,9,0,0,0,0,0,0,0,1,0
PrivateTest,fer3.png,0,0,0,9,0,0,0,0,0,0
"""
USAGES = [line.partition(",")[0] for line in NEW.splitlines()[1:]]


@pytest.fixture
def new(tmp_path):
    trees.ferplus(tmp_path / "new")
    (tmp_path / "new/fer2013new.csv").write_text(NEW)
    return tmp_path / "new"


def with_pixels(new, usages):
    """`new` without PNG folders, but with FER2013's CSV."""
    shutil.rmtree(new / "data")
    lines = [f"0,{trees.pixel_text(row)},{usage}" for row, usage in enumerate(usages)]
    (new / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]))
    return new


def test_the_label_file_is_chosen_or_found(new):
    votes = read_ferplus(new, label_file="fer2013new.csv")
    assert numbers(votes, "train") == [0, 1, 1]
    assert votes["label"].tolist() == [3, 0, 1, 0, 2]
    assert votes.attrs["label_file"] == "fer2013new.csv" and "box_x" not in votes
    assert votes.attrs["rows_without_image"] == 1
    assert read_ferplus(new / "data", label_file="fer2013new.csv").equals(votes)
    assert read_ferplus(new)["label"].tolist() == [0, 3, 1, 2]  # label.csv's
    for path in new.rglob("label.csv"):
        path.unlink()
    assert read_ferplus(new).equals(votes)
    (new / "fer2013new.csv").unlink()
    assert "expected fer2013new.csv at" in refusal(new, label_file="fer2013new.csv")


def test_votes_join_the_rows_of_fer2013(new):
    manifest = read_ferplus(with_pixels(new, USAGES))
    assert manifest["image"].tolist() == [0, 2, 3, 4, 5]  # row 1 shows no face
    assert manifest["label"].tolist() == [3, 0, 1, 0, 2]
    faces = trees.FACES[[0, 2, 3, 4, 5]]
    np.testing.assert_array_equal(load_images(manifest)[..., 0], faces)
    assert (manifest.attrs["dataset"], manifest.attrs["pixels"]) == ("ferplus", "fer2013.csv")


@pytest.mark.parametrize(
    "usages, found",
    [
        (USAGES[:-1], "expected the 6 rows of .*, found 5"),
        (
            [*USAGES[:3], "Training", *USAGES[4:]],
            "fer2013.csv row 5: expected the usage .*, found 'Training'",
        ),
        (None, "fer2013.csv beside it"),
    ],
)
def test_rows_of_another_file_are_not_joined(new, usages, found):
    with_pixels(new, usages or [])
    if usages is None:
        (new / "fer2013.csv").unlink()
    with pytest.raises(InputError, match=found):
        read_ferplus(new)


@pytest.mark.parametrize(
    "old, row, message",
    [
        ("fer0.png,0", "fer0.png,x", "row 2: .* votes for 'neutral', .* found 'x'"),
        ("fer0.png,0", "fer0.png,-1", "row 2: .* votes for 'neutral', .* found '-1'"),
        ("fer0.png,0", "fer0.png,0.5", "row 2: .* votes for 'neutral', .* found '0.5'"),
        ("PublicTest", "Public", "row 5: expected the usage .* found 'Public'"),
        ("NF", "nobody", "found none named NF but"),
    ],
)
def test_bad_rows_of_the_new_file_are_named(new, old, row, message):
    (new / "fer2013new.csv").write_text(NEW.replace(old, row, 1))
    with pytest.raises(InputError, match=message):
        read_ferplus(new, label_file="fer2013new.csv", check_images=False)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no FER+ at {REAL}")
def test_the_real_ferplus():
    listed = read_ferplus(REAL, check_images=False)
    published = {  # FER+'s own, in its order
        "train": [8733, 7284, 3136, 3022, 2098, 116, 536, 120],
        "validation": [1180, 862, 411, 348, 289, 25, 60, 16],
        "test": [1083, 892, 394, 382, 269, 16, 86, 15],
    }
    for split, counts in published.items():
        in_ours = [counts[place] for place in (0, 1, 3, 2, 6, 5, 4, 7)]
        assert class_counts(listed, split).tolist() == in_ours
    sizes = {("label.csv", "argmax"): [28385, 3555, 3545]}
    sizes["fer2013new.csv", "majority"] = [25060, 3199, 3153]
    for (file, rule), expected in sizes.items():
        other = read_ferplus(REAL, check_images=False, label_file=file, label_rule=rule)
        assert [(other["split"] == split).sum() for split in published] == expected
