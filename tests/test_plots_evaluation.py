"""The numbers in the artists of the figures that look into one run."""

import numpy as np
import pytest

from fer_utils import metrics, plots
from fer_utils.errors import InputError
from fer_utils.expressions import COLORS, EXPRESSIONS


def axes():
    return plots.new_figure().subplots()


def test_overlay_is_grey_where_the_heatmap_is_0_and_its_line_surrounds_half_of_its_maximum():
    heatmap = np.zeros((9, 9))
    heatmap[4, 4] = 1
    ax = plots.plot_overlay(axes(), np.full((9, 9, 3), 200, np.uint8), heatmap)
    picture, heat = ax.images
    assert (picture.get_array() == 200).all() and picture.cmap.name == "gray"
    assert np.array_equal(heat.get_alpha() > 0, heatmap > 0)
    (line,) = ax.collections[0].get_paths()
    assert np.abs(line.vertices - 4).sum(axis=1).max() == 0.5
    assert not plots.plot_overlay(axes(), np.zeros((9, 9), np.uint8), np.zeros((9, 9))).collections


@pytest.mark.parametrize(
    ("image", "heatmap", "message"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4)), r"expected a uint8 image .*, found float64 \(4, 4\)"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 5)), r"of the image's size \(4, 4\), found \(4, 5\)"),
        (np.zeros((4, 4), np.uint8), np.full((4, 4), 2), "from 0 to 1 .* with values 2 to 2"),
        (np.zeros((4, 4), np.uint8), np.full((4, 4), np.nan), "with values nan to nan"),
    ],
    ids=["float image", "another size", "above 1", "nan"],
)
def test_overlay_names_bad_input(image, heatmap, message):
    with pytest.raises(InputError, match=message):
        plots.plot_overlay(axes(), image, heatmap)


# ---- curves and calibration


@pytest.fixture(scope="module")
def scored():
    """Labels and probabilities that are right rather often; no image of disgust."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, 3, 4, 6, 7], [60, 40, 20, 20, 20, 20, 5])
    logits = 2 * np.eye(8)[labels] + random.normal(size=(len(labels), 8))
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_roc_curves_enclose_the_share_of_pairs_that_are_ranked_right(scored):
    labels, probabilities = scored
    ax = plots.plot_class_curves(labels, probabilities, axes(), "roc")
    *curves, chance = ax.lines
    present = [name for name in EXPRESSIONS if name != "disgust"]
    assert [line.get_color() for line in curves] == [COLORS[name] for name in present]
    for line, name in zip(curves, present, strict=True):
        own, scores = labels == EXPRESSIONS.index(name), probabilities[:, EXPRESSIONS.index(name)]
        right = (scores[own][:, None] > scores[~own]).mean()
        x, y = line.get_data()
        assert np.trapezoid(y, x) / 100**2 == pytest.approx(right)
        assert line.get_label() == f"{name} {right:.3f} ({own.sum()})"
    assert chance.get_label() == "chance"


def test_precision_recall_curves_pass_through_every_threshold(scored):
    labels, probabilities = scored
    lines = plots.plot_class_curves(labels, probabilities, axes(), "precision_recall").lines
    for line, label in zip(lines, (0, 1, 2, 3, 4, 6, 7), strict=True):
        own, scores = labels == label, probabilities[:, label]
        points = {(round(x, 6), round(y, 6)) for x, y in line.get_xydata()}
        for threshold in scores[own]:
            found = scores >= threshold
            recall, precision = 100 * (found & own).sum() / own.sum(), 100 * (found & own).sum() / found.sum()
            assert (round(recall, 6), round(precision, 6)) in points
        assert f"(chance {own.mean():.3f})" in line.get_label() and line.get_drawstyle() == "steps-post"


def test_curves_refuse_other_shapes():
    with pytest.raises(InputError, match=r"expected probabilities \(N, 8\) .*, found \(3, 8\) and 2 labels"):
        plots.plot_class_curves([0, 1], np.eye(8)[:3], axes())


def test_reliability_shows_accuracy_by_confidence(scored):
    labels, probabilities = scored
    table = metrics.reliability(labels, probabilities, bins=5)
    figure = plots.figure_reliability(table, metrics.calibration_error(table))
    above, below = figure.axes
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    x, y = above.lines[1].get_data()
    for left in range(5):
        own = (confidence > left / 5) & (confidence <= (left + 1) / 5)
        assert below.patches[left].get_height() == own.sum()
        if own.any():
            place = np.argmin(np.abs(x - 100 * confidence[own].mean()))
            assert y[place] == pytest.approx(100 * right[own].mean())
    assert above.get_title("left").endswith(f"points, {len(labels)} images")


def test_confusion_counts_beside_per_cent():
    confusion = np.arange(64).reshape(8, 8) * 100
    left, right = plots.figure_confusion_counts(confusion, "a run").axes
    assert [text.get_text() for text in left.texts] == [f"{count:,}" for count in confusion.ravel()]
    assert right.texts[1].get_text() == f"{100 * 100 / confusion[0].sum():.0f}"


# ---- the embedding


def test_the_plane_shows_every_point_by_class_and_the_centres():
    labels, points = np.array([0, 0, 7, 3]), np.arange(8.0).reshape(4, 2)
    ax = plots.plot_plane(points, labels, axes(), np.arange(16.0).reshape(8, 2))
    by_name = {part.get_label().split(" ")[0]: part for part in ax.collections if " (" in part.get_label()}
    assert {name: len(part.get_offsets()) for name, part in by_name.items()} == {
        "neutral": 2, "contempt": 1, "surprise": 1,
    }  # fmt: skip
    assert np.array_equal(by_name["contempt"].get_offsets()[0], points[2])
    rings = [part for part in ax.collections if " (" not in part.get_label()]
    assert len(rings) == 3 * 8 and np.array_equal(rings[-1].get_offsets()[0], [14, 15])
    with pytest.raises(InputError, match=r"expected points \(N, 2\) and a label each, found \(4, 2\) and 3 labels"):
        plots.plot_plane(points, labels[:3], axes())


@pytest.mark.parametrize(("scale", "text"), [(1, "1.00"), (14.26, "14.3"), (1234, "1234"), (0.01, "0.0100")])
def test_distances_are_written_with_three_digits(scale, text):
    values = np.full((8, 8), scale, dtype=float)
    values[5] = values[:, 5] = np.nan
    written = [text.get_text() for text in plots.plot_distances(values, axes()).texts]
    assert written[0] == text and written[5] == "–"


# ---- galleries


def test_a_gallery_holds_every_image_in_its_place():
    images = np.stack([np.full((16, 16, 3), 10 * n, np.uint8) for n in range(5)])
    ax = plots.figure_gallery(images, list("abcde"), "five", columns=2).axes[0]
    sheet = np.asarray(ax.images[0].get_array())
    step = len(sheet) // 3
    found = [sheet[step * (n // 2) + 1, 18 * (n % 2) + 1, 0] for n in range(5)]
    assert found == [0, 10, 20, 30, 40] and [text.get_text() for text in ax.texts] == list("abcde")


def test_an_empty_gallery_says_so_in_its_title():
    figure = plots.figure_gallery([], [], "0 images")
    assert not figure.axes and figure.get_suptitle() == "0 images"


def test_overlays_stand_beneath_their_images():
    images = np.zeros((3, 8, 8, 3), np.uint8)
    figure = plots.figure_overlays(images, np.zeros((3, 8, 8)), list("abc"), columns=2)
    assert [len(ax.images) for ax in figure.axes] == [1, 1, 2, 2, 1, 0, 2, 0]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.figure_gallery(np.zeros((1, 8, 8, 3)), ["a"]), r"expected uint8 images .*, found float64"),
        (lambda: plots.figure_gallery(np.zeros((1, 8, 8), np.uint8), []), "found 0 captions and 1 images"),
        (lambda: plots.figure_overlays([], [], []), "one at least, found 0 images, 0 heatmaps and 0 captions"),
    ],
    ids=["float", "captions", "none"],
)
def test_galleries_name_bad_input(draw, message):
    with pytest.raises(InputError, match=message):
        draw()
