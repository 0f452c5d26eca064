"""Selection, paging and the other figures against manifests counted by hand, and what widgets make of a move."""

import ipywidgets
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_utils import browsing, plots, splits, widgets
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.transforms import denormalise, train_transform

VOTES = [f"votes_{name}" for name in EXPRESSIONS]
# label, split, votes for neutral, happy and sad; every image has ten votes.
ROWS = [
    (0, "train", 10, 0, 0),
    (1, "train", 3, 7, 0),
    (1, "train", 4, 6, 0),
    (2, "train", 0, 0, 10),
    (1, "validation", 0, 9, 1),
    (2, "test", 0, 4, 6),
    (1, "test", 0, 10, 0),
]
# Images 1 and 5 are one picture, 2 a near-duplicate of both; 4 has a file that the manifest leaves out.
GROUPS = [-1, 0, 0, -1, 1, 0, -1, 1]
HASHES = ["a", "b", "c", "d", "e", "b", "f", "e"]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    root = tmp_path_factory.mktemp("faces")
    table = pd.DataFrame([row[:2] for row in ROWS], columns=["label", "split"])
    table[VOTES] = 0
    table[VOTES[:3]] = [row[2:] for row in ROWS]
    table["image"] = [f"{place}.png" for place in range(len(ROWS))]
    for place, name in enumerate(table["image"]):
        Image.new("L", (20 + place, 30), 30 * place).save(root / name)
    table.attrs = {"dataset": "folder", "root": str(root)}
    return table


@pytest.fixture(scope="module")
def table(manifest):
    dropped = pd.DataFrame({"image": ["dropped.png"], "label": [-1], "split": ["train"]})
    measured = pd.concat([manifest[["image", "label", "split"]], dropped], ignore_index=True)
    return browsing.catalogue(manifest, measured.assign(group=GROUPS, hash=HASHES))


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize(
    ("choice", "places"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6]),
        ({"expression": "happy"}, [1, 2, 4, 6]),
        ({"split": "test"}, [5, 6]),
        ({"expression": "happy", "split": "train"}, [1, 2]),
        ({"confidence": (0.7, 0.9)}, [1, 4]),
        ({"confidence": (0.7000000000000001, 0.8999999999999999)}, [1, 4]),  # as a slider's steps come out
        ({"confidence": (1, 1)}, [0, 3, 6]),
        ({"twins": "with duplicates"}, [1, 2, 5, 4]),
        ({"twins": "same picture, different labels"}, [1, 2, 5]),
        ({"twins": "same picture, different labels", "expression": "sad"}, [5]),
        ({"expression": "contempt"}, []),
    ],
)
def test_a_choice_is_the_rows_counted_by_hand(table, choice, places):
    rows = browsing.select(table, **choice)
    assert rows["image"].tolist() == [f"{place}.png" for place in places]
    assert rows.attrs == table.attrs


def test_duplicates_are_named_the_same_pixels_first(table):
    assert table["twins"].tolist() == [
        "", "= sad, test + 1", "≈ happy, train + 1", "", "= unlabelled, train", "= happy, train + 1", "",
    ]  # fmt: skip


def test_twins_of_random_groups_are_those_of_a_search_row_by_row():
    random = np.random.default_rng(0)
    group = random.integers(-1, 12, 60)
    measured = pd.DataFrame({"image": range(60), "label": random.integers(0, 3, 60), "split": "train", "group": group})
    measured["hash"] = [f"{number}-{random.integers(2)}" if number >= 0 else str(n) for n, number in enumerate(group)]
    found = browsing.catalogue(measured[["image", "label", "split"]].iloc[:50], measured)
    for row in range(50):
        others = [n for n in range(60) if n != row and group[n] == group[row] >= 0]
        same = [n for n in others if measured["hash"][n] == measured["hash"][row]]
        if not others:
            assert found["twins"][row] == "" and not found["mixed"][row]
            continue
        first, more = (same or others)[0], f" + {len(others) - 1}" if len(others) > 1 else ""
        assert found["twins"][row] == f"{'=' if same else '≈'} {EXPRESSIONS[measured['label'][first]]}, train{more}"
        labels = {measured["label"][n] for n in (row, *others) if n < 50}
        assert found["mixed"][row] == (len(labels) > 1)


def test_pages_follow_one_another_and_miss_nothing(table):
    assert browsing.count_pages(table, per_page=3) == 3 and browsing.count_pages(table, expression="fear") == 1
    pages = [browsing.browse(table, page, per_page=3) for page in (1, 2, 3)]
    assert [texts(page)[0] for page in pages] == [
        "images 1–3 of 7, page 1 of 3", "images 4–6 of 7, page 2 of 3", "images 7–7 of 7, page 3 of 3",
    ]  # fmt: skip
    grey = [int(image.get_array()[0, 0, 0]) for page in pages for image in page.axes[0].images]
    assert grey == [30 * place for place in range(7)]
    assert texts(pages[1])[1:] == [
        "sad, train\n100 % of the votes\n", "happy, validation\n90 % of the votes\n= unlabelled, train",
        "sad, test\n60 % of the votes\n= happy, train + 1",
    ]  # fmt: skip


def test_only_the_images_of_the_page_are_opened(table, monkeypatch):
    opened, load = [], browsing.load_images
    monkeypatch.setattr(browsing, "load_images", lambda rows, size: opened.extend(rows["image"]) or load(rows, size))
    browsing.browse(table, 2, per_page=2, split="train")
    assert opened == ["2.png", "3.png"]


def test_without_votes_or_an_audit_there_is_less_to_say(manifest):
    bare = browsing.catalogue(manifest.drop(columns=VOTES))
    assert len(browsing.select(bare, confidence=(0.9, 1))) == 7
    assert browsing.select(bare, twins="with duplicates").empty
    assert texts(browsing.browse(bare))[1] == "neutral, train"


def test_nothing_found_is_said_in_the_pictures_place(table):
    figure = browsing.browse(table, expression="contempt")
    assert texts(figure) == ["No image meets these conditions; widen one of them."] and not figure.axes[0].images


def test_training_sees_what_its_transform_draws(manifest):
    import torch

    figure = browsing.augment(manifest, 3, image_size=32, crop_scale_min=0.2, seed=2, draws=4)
    original, *seen = (image.get_array() for image in figure.axes[0].images)
    assert original.shape == (30, 23, 3) and [image.shape for image in seen] == [(32, 32, 3)] * 4
    assert texts(figure)[:2] == ["sad, train, seen at 32 × 32 pixels", "original, 23 × 30"]
    pixels = torch.from_numpy(np.array(Image.open(f"{manifest.attrs['root']}/3.png").convert("RGB"))).permute(2, 0, 1)
    torch.manual_seed(2 * 4 + 1)
    expected = denormalise(train_transform(32, (0.2, 1.0))(pixels)).permute(1, 2, 0)
    np.testing.assert_array_equal(seen[1], expected)


@pytest.fixture(scope="module")
def unequal():
    """100 neutral and 20 contemptuous images to train and validate on, 10 each to test; image 0 stands in test too."""
    sizes = {("train", 0): 90, ("train", 7): 16, ("validation", 0): 10, ("validation", 7): 4}
    sizes |= {("test", 0): 10, ("test", 7): 10}
    rows = [(label, split) for (split, label), size in sizes.items() for _ in range(size)]
    table = pd.DataFrame(rows, columns=["label", "split"])
    fingerprints = [str(place) for place in range(len(table))]
    fingerprints[120] = "0"
    return table.assign(image=range(len(table)), fingerprint=fingerprints)


@pytest.mark.parametrize(
    ("rule", "options", "train", "held_out", "effective"),
    [
        ("as it is", {}, (90, 16), {"validation": (10, 4), "test": (10, 10)}, 4 / (1 / 90 + 1 / 16)),
        ("equally many of each class", {"per_class": 5}, (90, 10), {"validation": (5, 5), "test": (5, 5)}, 36),
        (
            "a share of each class", {"share": 0.25}, (74, 15), {"validation": (25, 5), "test": (10, 10)},
            4 / (1 / 74 + 1 / 15),
        ),
    ],
    ids=["own", "per_class", "share"],
)  # fmt: skip
def test_another_division_has_the_images_and_weights_counted_by_hand(
    unequal, rule, options, train, held_out, effective
):
    left, right = browsing.divide(unequal, rule, **options, seed=1).axes
    heights = {bars.get_label().split(" ")[0]: [int(bar.get_height()) for bar in bars] for bars in left.containers}
    assert {name: (bars[0], bars[7]) for name, bars in heights.items()} == {"train": train, **held_out}
    assert not any(sum(bars[1:7]) for bars in heights.values())
    assert right.lines[1].get_ydata()[0] == pytest.approx(train[1] / train[0]) and right.lines[3].get_ydata()[0] == 1
    assert right.texts[-1].get_text().startswith(f"effective sample: {effective:,.0f} of {sum(train):,} images")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda table: browsing.select(table, "hapy"), "unknown class 'hapy'; did you mean 'happy'"),
        (lambda table: browsing.select(table, split="valid"), "unknown split 'valid'; did you mean 'validation'"),
        (lambda table: browsing.select(table, twins="duplicates"), "unknown choice of twins 'duplicates'"),
        (lambda table: browsing.select(table, confidence=(0.8, 0.2)), "a range of confidence within 0–1, found 0.8 to"),
        (lambda table: browsing.browse(table, page=2), "expected a page from 1 to 1, found 2"),
        (lambda table: browsing.catalogue(table, table.iloc[::-1]), "expected the audit of this manifest"),
        (lambda table: browsing.augment(table, 7), "position of an image from 0 to 6, found 7"),
        (lambda table: browsing.augment(table, crop_scale_min=0), "expected 0 < crop_scale_min ≤ 1 and a range"),
        (lambda table: browsing.divide(table, "by halves"), "unknown rule 'by halves'"),
        (lambda table: browsing.divide(table, browsing.RULES[1], per_class=9), "more than 18 images of each class"),
        (lambda table: plots.figure_tiles([], ["happy"]), "a title for each of 0 images, found 1"),
    ],
    ids=["class", "split", "twins", "confidence", "page", "audit", "image", "crop", "rule", "per_class", "titles"],
)
def test_a_mistake_is_one_line(table, call, message):
    with pytest.raises(InputError) as error:
        call(table)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.fixture
def leaf():
    """A widget over pages of 2 of `kind` × 3 images, and what it drew."""
    drawn = []

    def draw(kind, page):
        drawn.append((kind, page))
        if kind == 3:
            raise InputError("expected another kind, found 3; choose one")
        return plots.figure_sentence(f"{kind}, {page}")

    kind = ipywidgets.IntSlider(value=2, min=0, max=3)
    widget = widgets.leaf_through(draw, lambda kind: max(-(-kind * 3 // 2), 1), kind=kind)
    return widget, widget.children[0].children[0], kind, drawn


def test_every_move_draws_once(leaf):
    widget, controls, kind, drawn = leaf
    assert drawn == [(2, 1)] and controls.page.max == 3 and controls.previous.disabled
    picture = widget.children[1].value
    for button in (controls.following, controls.following, controls.following, controls.previous):
        button.click()
    assert drawn == [(2, 1), (2, 2), (2, 3), (2, 2)] and widget.children[1].value != picture
    controls.page.value = 3
    assert controls.following.disabled and not controls.previous.disabled
    kind.value = 1  # which has fewer pages
    assert drawn[4:] == [(2, 3), (1, 1)] and (controls.page.value, controls.page.max) == (1, 2)


def test_what_is_refused_is_said_in_the_pictures_place(leaf):
    widget, _, kind, drawn = leaf
    kind.value = 3
    assert drawn[-1] == (3, 1)
    assert widget.children[1].value == "<p role='status'>expected another kind, found 3; choose one</p>"
    kind.value = 1
    assert widget.children[1].value.startswith("<img alt=")


def test_leaks_of_a_division_are_those_that_a_run_would_remove(unequal):
    divided = browsing.division(unequal, browsing.RULES[2], 1, 0.25)
    assert divided.attrs["leaks_removed"] == 1 and 0 not in divided["image"].tolist()
    assert splits.count_duplicates(divided["fingerprint"], divided["split"])["test_in_train"] == 0
