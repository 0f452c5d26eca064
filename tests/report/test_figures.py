"""Figures: the numbers in their artists, and no text outside of them."""

import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fer_utils import metrics, report
from fer_utils.core import COLORS, EXPRESSIONS, paper
from fer_utils.report.study_figures import short_count
from tests.report import made

LABELS = np.repeat(np.arange(8), 6)
RANDOM = np.random.default_rng(0)
FACES = RANDOM.integers(0, 256, (48, 24, 24, 3), dtype=np.uint8)
HEAT = np.ones((9, 24, 24))
P = np.exp(made.log_probabilities(LABELS, 0.5, 2.0, RANDOM).astype(float))
P /= P.sum(axis=1, keepdims=True)
GAPS = np.where(np.arange(48)[:, None] % 9 == 3, np.nan, P)  # no face in every ninth frame
BOTH = {"images": ["test", "train"], "duplicates_in": ["train", "train"]}
DUPLICATES = pd.DataFrame({**BOTH, "exact": [288, 3], "near": [175, 4]})
HISTORY = pd.DataFrame({
    "epoch": [1, 2, 3], "train_loss": [2.0, 1.5, 1.2], "validation_loss": [2.1, 1.7, 1.5],
    "validation_accuracy": [0.3, 0.5, 0.55], "validation_f1": [0.2, 0.4, 0.5],
    "between_distance": [1.0, 2.0, 3.0], "within_distance": [2.0, 2.0, 2.0],
    **{f"validation_recall_{name}": [0.1, 0.2, 0.1 * k] for k, name in enumerate(EXPRESSIONS)},
})  # fmt: skip


def trace(centers=True, names=("A", "B", "C")):
    targets = np.repeat(range(len(names)), 5)
    return {
        "features": RANDOM.normal(size=(len(targets), 2)) + targets[:, None],
        "path": RANDOM.normal(size=(11 if centers else 0, len(names), 2)),
        "start": 2 if centers else 0, "output_weight": np.eye(len(names))[:, :2],
        "output_bias": np.zeros(len(names)), "recall": np.linspace(0.2, 1, len(names)),
        "targets": targets, "names": names,
    }  # fmt: skip


def draw(name, *data, **options):
    return report.draw(getattr(report, f"plot_{name}"), *data, **options)


def texts(artists):
    return [text.get_text() for text in artists]


FIVE = {name: trace("c" in name, EXPRESSIONS) for name in paper.LOSSES.values()}
CARDS = FACES[:4], P[:4], ["1: happy"] * 4
FIGURES = {
    "counts": lambda: report.figure_class_counts(made.count_table(), published=True),
    "samples": lambda: report.figure_samples(FACES, LABELS),
    "people": lambda: report.figure_identities(FACES, [f"person {k // 6}" for k in range(48)]),
    "duplicates": lambda: draw("duplicates", DUPLICATES, size=(4, 1.6)),
    "votes": lambda: draw("votes", 5 * np.eye(8), size=(4, 3.6)),
    "training": lambda: report.figure_training(HISTORY, 6, "explore/first"),
    "training of people": lambda: report.figure_training(HISTORY.iloc[:, :7], 6, "a/b"),
    "confusions": lambda: report.figure_confusions({"one": 5 * np.eye(8), "two\nlines": np.eye(8)}),
    "reliability": lambda: draw("reliability", metrics.reliability(LABELS, P), size=(4, 3)),
    "roc": lambda: draw("roc", P[:, 0], LABELS < 4, baseline=P[:, 1]),
    "gallery": lambda: report.figure_gallery(FACES[:11], ["happy → sad\n93 %"] * 11, "Mistakes"),
    "overlays": lambda: report.figure_overlays(FACES[:9], HEAT, ["a"] * 9),
    "boxes": lambda: draw("boxes", FACES[0], [[-2, 3, 9, 9], [12, 9, 8, 8]]),
    "cards": lambda: report.figure_cards(*CARDS),
    "heated cards": lambda: report.figure_cards(*CARDS, heatmaps=HEAT[:4]),
    "video": lambda: draw("expressions", np.arange(48) / 25, GAPS, size=(6, 2.2)),
    "playground": lambda: report.figure_playground(FIVE, "λ = 1, α = 1"),
    "network": lambda: report.figure_architecture(made.ARCHITECTURE),
}


def overhang(figure):
    """By how many pixels anything reaches outside of a figure."""
    FigureCanvasAgg(figure).draw()
    box, dpi = figure.get_tightbbox(), figure.dpi
    width, height = figure.get_size_inches()
    return dpi * max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_leaves_its_figure(name):
    assert overhang(FIGURES[name]()) < 2


def test_the_free_line_and_every_loss_stand_where_their_numbers_are(fold_cases, fold_scores):
    curves = report.operating_curves(fold_cases)
    figure = report.figure_tradeoff(fold_scores, curves)
    ax = figure.axes[0]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), 100 * curves[["accuracy", "recall"]])
    lines = [line.get_xydata() for line in ax.lines]
    points = {line.get_label(): place for line, place in zip(ax.lines, lines, strict=True)}
    for row in fold_scores.to_dict("records"):
        place = [[100 * row["accuracy"], 100 * row["macro_recall"]]]
        name = row["name"] if row["loss"] else "softmax with the τ of validation"
        np.testing.assert_allclose(points[name], place)
        ends = [100 * row["accuracy_low"], 100 * row["accuracy_high"]]
        assert any(np.allclose(line[:, 0], ends) for line in lines if len(line) == 2)
        (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
        assert left < ends[0] and ends[1] < right and low < place[0][1] < high
    assert texts(ax.texts)[:3] == ["τ = 0.5", "τ = 1", "τ = 1.5"]
    assert texts(ax.texts)[3:] == ["p = 0.5", "p = 1"] and overhang(figure) < 2


def test_losses_without_a_softmax_are_drawn_without_a_line(fold_cases, fold_scores):
    curves = report.operating_curves(fold_cases[1:])
    figure = report.figure_tradeoff(fold_scores[1:-1], curves)
    names = [case.name for case in fold_cases[1:]]
    assert curves.empty and texts(figure.legends[0].get_texts()) == names
    assert overhang(figure) < 2


def test_learning_curves_are_means_with_bands_over_runs(folds, fold_cases):
    figure = report.figure_curves(folds.history, fold_cases)
    own = folds.history[folds.history["run"].isin(fold_cases[0].runs["run"])]
    expected, ax = own.groupby("epoch")["validation_loss"].mean(), figure.axes[1]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected)
    assert len(ax.collections) == 5 and overhang(figure) < 2


def test_networks_at_chance_are_left_out_by_name(fold_cases, fold_scores):
    scores = fold_scores.copy()
    scores.loc[3, ["accuracy", "macro_recall", "macro_recall_low"]] = 0.13
    figure = report.figure_tradeoff(scores, report.operating_curves(fold_cases))
    labels = texts(figure.legends[0].get_texts())
    assert fold_cases[3].name not in labels and fold_cases[1].name in labels


def test_differences_are_filled_where_their_interval_excludes_zero():
    table = pd.DataFrame({"heading": "a", "row": ["x", "y"], "difference": [0.1, -0.02]})
    ax = draw("differences", table.assign(low=[0.05, -0.05], high=[0.2, 0.01])).axes[0]
    solid, hollow = (bar.lines[0] for bar in ax.containers)
    assert [*solid.get_xdata(), *hollow.get_xdata()] == [10, -2]
    assert hollow.get_markerfacecolor() == "white" and texts(ax.get_yticklabels()) == ["x", "y"]


def test_pictures_stand_in_the_column_of_their_class():
    images = np.zeros((8, 24, 24), np.uint8) + np.arange(8, dtype=np.uint8)[:, None, None]
    sheet = report.figure_samples(images, range(7, -1, -1), per_class=2).axes[0].images[0]
    assert sheet.get_array()[[0, 0, 30], [0, -1, 0], 0].tolist() == [7, 0, 255]  # one row is empty


def test_confusions_are_in_per_cent_of_the_true_class():
    counts = np.diag([4, 2, 2, 2, 2, 2, 2, 0]) + np.eye(8, k=1, dtype=int)
    ax = draw("confusion", counts, published={("neutral", "happy"): 0.16}).axes[0]
    cells = texts(ax.texts)
    assert cells[:2] == ["80", "20"] and cells[63] == "–" and cells[64] == "16"
    assert ax.get_yticklabels()[0].get_text() == "neutral (5)"
    counted = draw("confusion", counts, supports=range(8)).axes[0]
    assert "(7)" in counted.get_yticklabels()[7].get_text()


def test_training_shows_what_there_is_and_keeps_room_for_what_comes():
    loss, scores, distances, recalls = FIGURES["training"]().axes
    assert loss.lines[0].get_ydata().tolist() == [2.0, 1.5, 1.2] and loss.get_xlim() == (0.8, 6.2)
    assert scores.lines[0].get_ydata().tolist() == pytest.approx([30, 50, 55])
    names = [line.get_label() for line in distances.lines]
    assert names == ["between class means", "within a class"]
    assert len(recalls.lines) == 8 and recalls.lines[1].get_color() == COLORS["happy"]
    assert len(FIGURES["training of people"]().axes) == 3


def test_a_heatmap_leaves_grey_what_it_does_not_speak_of():
    heatmap = np.zeros((8, 8))
    heatmap[2:6, 2:6] = 1
    mixed = report.overlay(np.full((8, 8, 3), 100, np.uint8), heatmap)
    assert mixed[0, 0].tolist() == [80, 80, 80] and mixed[2, 2].tolist() == [255, 255, 255]
    assert mixed[3, 3].tolist() != [80, 80, 80] and mixed.dtype == np.uint8


def test_the_playground_shows_paths_from_where_centres_are_and_recalls():
    far = trace()
    far["path"][-1] = 1e5
    above, below = report.figure_playground({"a": far, "b": trace(False)}).axes
    assert len(above.lines) == 3 and len(above.collections) == 2  # paths of one, dots of both
    assert len(above.lines[0].get_xdata()) == 9  # 11 rows from the third on
    assert max(above.lines[0].get_xdata()) < 1  # not in the next column
    widths = [bar[1, 0] - bar[0, 0] for bar in below.collections[0].get_segments()]
    assert np.array(widths) / widths[-1] == pytest.approx([0.2, 0.6, 1])
    assert (
        texts(below.texts)[0] == "20\n60\n100" and "mean recall 60 %" in above.texts[1].get_text()
    )


def test_the_network_is_drawn_from_what_ran():
    found = texts(FIGURES["network"]().axes[0].texts)
    assert {"64×24×24\n9.54 k", "weighted\ncluster\nloss", "+ λ ×"} < {*found}
    legend = texts(FIGURES["network"]().axes[0].get_legend().get_texts())
    assert legend == ["frozen: 9.54 k parameters", "trained: 28.6 k parameters"]
    assert [short_count(n) for n in (9536, 26_044_000, 512)] == ["9.54 k", "26 M", "512"]


def test_a_users_own_settings_do_not_mix_in_and_pyplot_knows_nothing():
    with matplotlib.rc_context({"axes.facecolor": "red"}):
        assert FIGURES["counts"]().axes[0].get_facecolor() == (1, 1, 1, 1)
    assert "matplotlib.pyplot" not in sys.modules or not matplotlib.pyplot.get_fignums()
