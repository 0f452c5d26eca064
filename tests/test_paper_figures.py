"""Tables 1 to 4, gains, ranks, claims and captions against independent sums; a missing run is a gap everywhere."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare, studentized_range

from fer_utils import metrics, paper, plots
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.paper.gains import MACRO, interval, shrunk_mean
from fer_utils.paper.ranks import NEMENYI
from tests.test_plots import make_study

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def study():
    return make_study(range(1, 11), (0, 1, 2))


def without(study, *runs):
    return {name: table[~table["run"].isin(runs)] for name, table in study.items()}


# ---- tables 1 to 4


def test_counts_beside_the_papers():
    counts = pd.DataFrame({"split": "train", "expression": EXPRESSIONS, "images": [40, 0, 8, 8, 8, 4, 8, 8]})
    table = paper.compare_counts(counts).set_index("expression")
    assert table.loc["total", "train"] == 84 and table.loc["total", "train_published"] == 283_651
    assert table.loc["neutral", "weight"] == 0.1 and table.loc["disgust", "weight"] == 1  # N_min is disgust's here
    assert table.loc["neutral", "weight_published"] == pytest.approx(3250 / 74374)
    assert math.isnan(table.loc["happy", "weight"]) and table["test"].isna().all()
    printed = paper.printed_counts(table.reset_index()).set_index("Expression")
    assert printed.loc["happy", ["Training", "Training, paper", "Test", "Weight (Eq. 6)"]].tolist() == [
        "0", "133,915", "–", "–",
    ]  # fmt: skip


def network(base, frozen, **changes):
    stages = [("stage 1", [64, 24, 24]), ("stage 2", [256, 12, 12]), ("embedding", [512])]
    stages = [
        {"name": n, "modules": "m", "repeat": 2, "output": o, "parameters": 1000, "frozen": n in frozen}
        for n, o in stages
    ]
    return {"base": base, "architecture": "se_resnet14", "image_size": 48, "stages": stages} | changes


def test_networks_that_differ_in_what_is_frozen_share_their_lines():
    pair = {"se_resnet50": network("se_resnet50", ["stage 1"]), "se_resnet50-scratch": network("se_resnet50", [])}
    table = paper.compare_networks(pair)
    assert len(table) == 3 and table["Network"].tolist() == ["se_resnet14, 48 px", "", ""]
    assert table["Frozen"].tolist() == ["yes, pre-trained rows", "no", "no"]
    assert table[["Output", "Output, paper", "Repeat, paper"]].iloc[1].tolist() == ["12×12", "56×56", "3"]
    pair["se_resnet50-scratch"]["image_size"] = 64
    table = paper.compare_networks(pair)
    assert len(table) == 6 and table["Network"].iloc[3] == "se_resnet14, 64 px, from scratch"
    other = paper.compare_networks({"resnet50": network("resnet50", [])})
    assert set(other["Output, paper"]) == {"–"}  # Table 2 is about SE-ResNet-50


def test_approaches_show_what_was_measured():
    runs = pd.DataFrame({"pretrained": [False, False], "seconds": [60, 180], "accuracy": [0.5, 0.6], "device": "CPU"})
    table = paper.compare_approaches(runs)
    assert table.iloc[6, -2:].tolist() == ["2.0 min on CPU", "50.0–60.0 %, 2 runs"]
    assert set(table.iloc[[0, 5, 7], -1]) == {"–"}


def test_every_table_is_plain_latex_and_even_markdown(study):
    gains = paper.class_gains(study["predictions"], study["runs"])
    counts = pd.DataFrame({"split": "train", "expression": EXPRESSIONS, "images": 1})
    tables = [paper.compare_terms(), paper.printed_counts(paper.compare_counts(counts)), paper.printed_gains(gains)]
    tables += [paper.printed_audit(paper.audit_published()), paper.printed_ranks(paper.rank_losses(scored(study)))]
    tables += [paper.printed_published_claims(paper.published_claims())]
    tables += [paper.compare_networks({"se_resnet50": network("se_resnet50", [])})]
    for table in tables:
        assert paper.to_latex(table, "Table", "α ± 1 %.").isascii()
        assert len({line.count("|") for line in paper.to_markdown(table).splitlines()}) == 1


# ---- gains


def test_gains_of_one_seed_are_the_paired_comparison_of_recalls():
    study = make_study([6, 8, 10], (0,))
    gains = paper.class_gains(study["predictions"], study["runs"])
    by_run = dict(list(study["predictions"].groupby("run")))
    guesses = {run: part.filter(regex="^p_").to_numpy().argmax(axis=1) for run, part in by_run.items()}
    labels = by_run["model6-seed0"]["label"].to_numpy()
    expected = metrics.compare_recalls(labels, guesses["model6-seed0"], guesses["model10-seed0"])
    own = gains[(gains["loss"] == "weighted_cluster") & (gains["expression"] != MACRO)].set_index("expression")
    for ours, theirs in (("gain", "difference"), ("low", "low"), ("high", "high")):
        assert own[ours].to_numpy() == pytest.approx(expected[theirs].to_numpy())
    mean = gains[(gains["loss"] == "weighted_cluster") & (gains["expression"] == MACRO)].iloc[0]
    sampled = metrics.macro_recall_difference(labels, guesses["model6-seed0"], guesses["model10-seed0"])
    assert mean["gain"] == pytest.approx(sampled["difference"])
    assert mean["high"] - mean["low"] == pytest.approx(sampled["high"] - sampled["low"], rel=0.25)  # n = 10 a class
    missing = gains[gains["loss"] == "center_softmax"]
    assert set(missing["seeds"]) == {0} and missing[["gain", "low", "high"]].isna().all(axis=None)


def test_gains_take_the_published_ones_along(study):
    gains = paper.class_gains(study["predictions"], study["runs"]).set_index(["pretrained", "loss", "expression"])
    published = gains["published"].dropna()
    assert published[True, "weighted_cluster", "contempt"] == pytest.approx(0.59 - 0.06)
    assert published[False, "center_softmax", MACRO] == pytest.approx(0.4607 - 0.5065)
    assert len(published) == 2 + 2 * 4


def test_interval_of_several_seeds_covers_images_and_seeds():
    """Images and seeds drawn anew 1,000 times: the true gain lies in about 95 % of the intervals (a little less, for
    three seeds that differ much), and in far fewer without the seeds' part."""
    random, n, skill, spread = np.random.default_rng(0), 200, 0.8, 0.4
    # Right where a normal variable of variance 1 + 1 + spread² exceeds −skill.
    true = 0.5 * math.erf(skill / math.sqrt(2 * (2 + spread**2)))
    inside, without_seeds = [], []
    for _ in range(1000):
        hard = random.normal(size=n)  # how hard an image is, for all runs alike
        right = [hard + random.normal(size=(3, n)) + random.normal(0, spread, (3, 1)) + s > 0 for s in (0, skill)]
        differences = right[1].astype(float) - right[0]
        center, variance = shrunk_mean(differences)
        low, high = interval(center, variance, differences.mean(axis=1))
        inside.append(low <= true <= high)
        low, high = interval(center, variance, np.zeros(1))
        without_seeds.append(low <= true <= high)
    assert 0.9 <= np.mean(inside) <= 0.99 and np.mean(without_seeds) < 0.85


def test_gains_refuse_other_images_and_labels(study):
    predictions, runs = study["predictions"], study["runs"]
    fewer = predictions[~((predictions["run"] == "model10-seed0") & (predictions["image"] == 3))]
    with pytest.raises(InputError, match="same test images for model1-seed0 and model10-seed0, found 80 and 79"):
        paper.class_gains(fewer, runs)
    other = predictions.assign(label=predictions["label"].mask(predictions["run"] == "model10-seed0", 3))
    with pytest.raises(InputError, match="expected the same labels for model1-seed0 and model10-seed0, found 70 of 80"):
        paper.class_gains(other, runs)


def test_gains_do_not_depend_on_the_order_of_the_images(study):
    shuffled = study["predictions"].sample(frac=1, random_state=0)
    shuffled = shuffled.sort_values("run", key=lambda names: names != "model1-seed0", kind="stable")
    pd.testing.assert_frame_equal(
        paper.class_gains(shuffled, study["runs"]), paper.class_gains(study["predictions"], study["runs"])
    )


# ---- cells of Fig. 6


def test_cells_of_fig_6(study):
    part = without(study, "model6-seed0", "model6-seed1", "model6-seed2")
    cells = paper.compare_cells(part["predictions"], part["runs"], [6, 10])
    assert len(cells) == 2 + 2 + 8 and cells["share"].isna().tolist() == [True] * 2 + [False] * 10
    own = study["predictions"][study["predictions"]["run"].str.startswith("model10-")]
    own = own[own["label"] == EXPRESSIONS.index("surprise")]
    taken = (own.filter(regex="^p_").idxmax(axis=1) == "p_fear").mean()
    row = cells[(cells["true"] == "surprise") & (cells["predicted"] == "fear")].iloc[0]
    assert row["share"] == pytest.approx(taken) and row["low"] < taken < row["high"]
    assert (row["images"], row["published"]) == (10, 0.18) and row["difference"] == pytest.approx(taken - 0.18)
    assert paper.printed_cells(cells).iloc[0, -3:].tolist() == ["–", "6", "–"]


# ---- ranks


def scored(study):
    return study["runs"].assign(macro_recall=study["runs"]["accuracy"])


def test_ranks_friedman_and_nemenyi_equal_scipy(study):
    ranks = paper.rank_losses(scored(study))
    assert ranks.shape == (6, 5) and ranks.sum(axis=1).eq(15).all() and ranks.attrs["incomplete"] == []
    assert paper.friedman_p(ranks) == pytest.approx(friedmanchisquare(*ranks.to_numpy().T).pvalue)
    for losses, quantile in NEMENYI.items():
        assert quantile == pytest.approx(studentized_range.ppf(0.95, losses, np.inf) / math.sqrt(2), abs=1e-3)
    assert paper.critical_difference(4, 20) == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 20)))
    with pytest.raises(InputError, match="unknown number of losses 6"):
        paper.critical_difference(6, 10)


def test_a_block_that_lacks_a_loss_is_named_and_left_out(study):
    ranks = paper.rank_losses(scored(without(study, "model7-seed1")))
    assert len(ranks) == 5
    assert paper.say_blocks(ranks).endswith("Left out: SE-ResNet-50 pre-trained, seed 1.")
    alone = paper.rank_losses(scored(make_study([1, 6], (0,))))
    assert len(alone) == 0 and paper.say_blocks(alone).startswith("0 blocks")
    with pytest.raises(InputError, match="unknown metric 'macrorecall'"):
        paper.rank_losses(scored(study), "macrorecall")


# ---- claims


def test_published_claims_by_hand():
    claims = paper.published_claims().set_index(["model", "against"])
    half = 1.959964 * math.sqrt((0.607 * 0.393 + 0.5972 * 0.4028) / 4000)
    assert claims.loc[(10, 8), ["difference", "low", "high"]].tolist() == pytest.approx(
        [0.0098, 0.0098 - half, 0.0098 + half]
    )
    assert not claims.loc[(10, 8), "outside"] and claims.loc[(10, 6), "outside"]
    assert not claims.loc[claims["claim"] == "weighted cluster against weighted softmax", "outside"].any()
    figure = plots.figure_claims(paper.published_claims())
    filled = [c.lines[0].get_markerfacecolor() != "white" for c in figure.axes[0].containers]
    assert filled == claims["outside"].tolist()
    assert figure.axes[0].containers[1].lines[0].get_xdata()[0] == pytest.approx(0.98)


# ---- figures


def test_gain_figure_draws_the_table(study):
    gains = paper.class_gains(study["predictions"], study["runs"])
    counts = pd.DataFrame({"split": "train", "expression": EXPRESSIONS, "images": paper.TRAINING_COUNTS})
    figure = plots.figure_gain(gains, counts)
    pretrained, scratch = figure.axes
    assert pretrained.get_title("left") == "(a) SE-ResNet-50, pre-trained, 3 seeds"
    labels = [label.get_text() for label in scratch.get_xticklabels()]
    assert labels[0] == "happy\n10" and labels[-2:] == ["contempt\n10", "mean\n80"]
    own = gains[gains["pretrained"] & (gains["loss"] == "weighted_cluster")].set_index("expression")
    line, _, (bars,) = pretrained.containers[-1].lines
    assert line.get_ydata()[7] == pytest.approx(100 * own.loc["contempt", "gain"])
    ends = sorted(bars.get_segments()[7][:, 1])
    assert ends == pytest.approx([100 * own.loc["contempt", "low"], 100 * own.loc["contempt", "high"]])
    hollow = [line for line in pretrained.lines if line.get_markerfacecolor() == "none"]
    assert np.nanmax(hollow[-1].get_ydata()) == pytest.approx(53)


def test_ranking_figure_shades_what_cannot_be_told_from_the_best(study):
    ranks = paper.rank_losses(scored(study))
    ax = plots.figure_ranking(ranks).axes[0]
    means = ranks.mean().sort_values(kind="stable")
    assert [container.lines[0].get_xdata()[0] for container in ax.containers] == pytest.approx(means.tolist())
    band, half = ax.patches[0], paper.critical_difference(5, 6) / 2
    assert (band.get_x(), band.get_width()) == pytest.approx((means.iloc[0] - half, 2 * half))
    assert [label.get_text() for label in ax.get_yticklabels()] == [paper.LOSSES[loss] for loss in means.index]
    text = plots.describe_ranking(ranks)
    assert f"{paper.LOSSES[means.index[0]]} {means.iloc[0]:.2f}" in text


def test_tradeoff_points_are_means_with_a_line_to_each_seed(study):
    runs = study["runs"].assign(recall_contempt=study["runs"]["seed"] / 10, recall_disgust=0.2)
    ax = plots.figure_tradeoff(runs).axes[0]
    own = runs[runs["model"] == 1]
    assert ax.lines[0].get_xydata()[0] == pytest.approx([15, 100 * own["accuracy"].mean()])
    assert [line.get_xdata()[1] for line in ax.lines[1:4]] == pytest.approx([10, 15, 20])
    assert ax.lines[0].get_markerfacecolor() == "white"  # from scratch
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert crosses[0].get_xydata()[1] == pytest.approx([(59 + 54) / 2, 60.70])


def test_counts_figure_stands_beside_the_papers():
    counts = pd.DataFrame({"split": "train", "expression": EXPRESSIONS, "images": range(1, 9)})
    ours, theirs = plots.figure_counts_beside(counts).axes
    assert [bar.get_height() for bar in ours.patches] == list(range(1, 9))
    assert tuple(bar.get_height() for bar in theirs.patches) == paper.TRAINING_COUNTS
    with pytest.raises(InputError, match="unknown split 'train'"):
        plots.figure_counts_beside(counts.assign(split="test"))


def test_losses_are_told_apart_without_colour():
    assert len(set(plots.LOSS_MARKERS.values())) == len(paper.LOSSES) == len(plots.LOSS_MARKERS)


@pytest.mark.parametrize("models", [range(1, 21), [6, 10], [1]], ids=["all", "two", "one"])
def test_no_text_is_cut_off(models):
    study = make_study(models, (0,))
    runs = scored(study).assign(recall_contempt=0.1, recall_disgust=0.2)
    counts = pd.DataFrame({"split": "train", "expression": EXPRESSIONS, "images": paper.TRAINING_COUNTS})
    figures = [plots.figure_gain(paper.class_gains(study["predictions"], runs), counts), plots.figure_tradeoff(runs)]
    figures += [plots.figure_counts_beside(counts), plots.figure_claims(paper.published_claims())]
    ranks = paper.rank_losses(runs)
    figures += [plots.figure_ranking(ranks)] if len(ranks) else []
    for figure in figures:
        figure.draw_without_rendering()
        drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert drawn.x0 >= -0.01 and drawn.y0 >= -0.01 and drawn.x1 <= width + 0.01 and drawn.y1 <= height + 0.01


def test_alternative_texts_say_the_numbers(study):
    predictions, runs = study["predictions"], study["runs"]
    text = plots.describe_confusions(predictions, runs[runs["model"] != 6], [6, 10])
    own = predictions[predictions["run"].str.startswith("model10-") & (predictions["label"] == 7)]
    recall = 100 * (own.filter(regex="^p_").idxmax(axis=1) == "p_contempt").mean()
    assert "Of model 6 (SE-ResNet-50, pre-trained, softmax) there is no run" in text
    assert f"contempt {recall:.0f} %; most often mistaken" in text
    curves = plots.describe_curves(study["history"], runs, "se_resnet50")
    assert "Training loss falls in 10 of 10 models" in curves and "with 50 %" in curves
    assert "pre-trained" in plots.describe_rare(predictions, runs, "se_resnet50").lower()


# ---- captions, and what is missing


@pytest.fixture
def checkout(tmp_path):
    """The committed demo, to be damaged."""
    shutil.copytree(ROOT / "results/demo", tmp_path / "results/demo")
    return tmp_path


def remove(checkout, run, names=("runs.csv", "history.csv", "predictions.parquet")):
    for name in names:
        path = checkout / "results/demo" / name
        table = pd.read_parquet(path) if name.endswith("parquet") else pd.read_csv(path)
        table = table[table["run"] != run]
        table.to_parquet(path) if name.endswith("parquet") else table.to_csv(path, index=False)


def test_a_missing_run_is_a_gap_everywhere(checkout):
    remove(checkout, "model06-seed0")
    report = paper.Report(checkout, "demo")
    runs, predictions = report.runs, report.predictions
    assert report.bases() == ["se_resnet50"]
    table = paper.beside_published(runs, seeds=[0])
    assert table.set_index("model").loc[6, "ran"] == "not run" and len(table) == 10
    assert "Missing: model 6, seed 0." in paper.say_protocol(runs, report.about["models"], report.about["seeds"])
    gains = paper.class_gains(predictions, runs)
    assert set(gains.loc[gains["pretrained"], "seeds"]) == {0} and set(gains.loc[~gains["pretrained"], "seeds"]) == {1}
    title = plots.figure_gain(gains, report.counts).get_suptitle()
    assert title == "No run of softmax and another loss to compare: SE-ResNet-50, pre-trained."
    assert len(paper.rank_losses(runs)) == 1
    assert "No result: model 6." in plots.figure_learning_curves(report.history, runs, "se_resnet50").get_suptitle()
    assert "not run" in plots.figure_confusions(predictions, runs, [6, 10]).axes[0].get_title("left")
    assert "9 of 10 models" in plots.figure_published_scatter(table).axes[0].get_title("right")
    figure = plots.figure_claims(paper.published_claims())
    report.add_figure("fig09_test", figure, "A caption.", "What is seen.", published=True)
    page = report.write_readme("A verdict.").read_text()
    assert "A verdict." in page and "![What is seen.](fig09_test.png)" in page
    assert "**Fig. 9.** A caption. n = 800 test images (synthetic); 1 seed" in page
    assert "Missing: model 6, seed 0. Reduced size: synthetic, 5,000 training images, 48 px, se_resnet14." in page


def test_a_missing_seed_is_named(study):
    part = without(study, "model7-seed1")
    title = plots.figure_learning_curves(part["history"], part["runs"], "se_resnet50").get_suptitle()
    assert title.endswith("2–3 seeds. Fewer seeds: model 7 (2).")
    gains = paper.class_gains(part["predictions"], part["runs"])
    assert set(gains.loc[(gains["loss"] == "center_softmax") & gains["pretrained"], "seeds"]) == {2}


def test_half_a_run_is_refused(checkout):
    remove(checkout, "model06-seed0", ["predictions.parquet"])
    with pytest.raises(InputError, match="predictions of every run in results/demo/, found none of model06-seed0"):
        paper.Report(checkout, "demo")


def test_a_study_of_variants_is_sent_to_its_notebook(checkout):
    path = checkout / "results/demo/study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"models": []}))
    with pytest.raises(InputError, match="found one of variants .demo.; draw it with notebook 08_compare_losses"):
        paper.Report(checkout, "demo").bases()


def test_a_full_study_says_nothing_of_its_size():
    run = {"model": 10, "dataset": "affectnet", "train_images": 283_651, "image_size": 224}
    run["architecture"] = "se_resnet50"
    assert paper.say_reduced(pd.DataFrame([run])) == ""
    for change in ({"dataset": "ferplus"}, {"image_size": 96}, {"train_images": 4000}, {"architecture": "resnet50"}):
        text = paper.say_reduced(pd.DataFrame([run | change]))
        assert text.startswith("Reduced size: ")
        assert "Published values are AffectNet's (283,651 training images, 224 px, SE-ResNet-50)" in text
