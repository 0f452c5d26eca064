"""The published values digit by digit, their audit, and tables beside them."""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, t

from fer_utils import metrics, paper
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.paper import beside

# Copied from Tables 5 and 6 by hand, apart from paper/values.py: base, number, pre-trained, accuracy, F1, kappa, alpha,
# AUC-PR, AUC.
PUBLISHED = """
SE-ResNet-50 1 no 50.65 46.87 43.60 42.60 62.87 90.67
SE-ResNet-50 2 no 46.07 39.24 38.37 36.89 55.96 87.92
SE-ResNet-50 3 no 56.37 56.41 50.14 50.09 62.27 90.49
SE-ResNet-50 4 no 56.90 57.06 50.74 50.71 62.24 90.33
SE-ResNet-50 5 no 56.27 56.42 50.03 49.97 61.57 90.10
SE-ResNet-50 6 yes 52.22 49.51 45.40 44.54 63.27 90.75
SE-ResNet-50 7 yes 47.08 40.02 39.51 38.27 54.91 86.75
SE-ResNet-50 8 yes 59.72 59.72 53.97 53.93 66.47 91.85
SE-ResNet-50 9 yes 59.60 59.50 53.83 53.82 65.35 91.21
SE-ResNet-50 10 yes 60.70 60.49 55.09 55.06 66.55 91.82
ResNet-50 11 no 49.85 46.67 42.69 41.46 62.80 90.63
ResNet-50 12 no 46.62 39.96 39.00 37.67 54.08 86.26
ResNet-50 13 no 57.40 57.33 51.31 51.23 63.05 90.82
ResNet-50 14 no 57.20 57.08 51.09 51.06 62.61 90.50
ResNet-50 15 no 57.37 57.40 51.29 51.24 62.79 90.52
ResNet-50 16 yes 51.88 48.89 45.00 44.10 61.60 90.22
ResNet-50 17 yes 48.33 44.00 40.94 39.80 56.96 87.89
ResNet-50 18 yes 58.65 58.59 52.74 52.71 64.58 91.17
ResNet-50 19 yes 58.27 58.07 52.31 52.24 63.59 90.54
ResNet-50 20 yes 59.45 59.42 53.66 53.66 65.26 91.51
"""

RARE = ("contempt", "disgust")


def make_runs(models, seeds=(0,), **changes) -> pd.DataFrame:
    """A reduced study's runs.csv; the metrics are the published ones minus 0.1, and 0.01 more a seed."""
    rows = []
    for number in models:
        model = paper.MODELS[number]
        for seed in seeds:
            scores = {metric: getattr(model, metric) - 0.1 + 0.01 * seed for metric in paper.METRICS}
            row = {"run": f"model{number}-seed{seed}", "model": number, "base": model.base, "dataset": "synthetic"}
            row |= {"architecture": "se_resnet14", "pretrained": model.pretrained, "loss": model.loss, "seed": seed}
            rows.append(row | {"image_size": 48, "train_images": 4000, "test_images": 800} | scores | changes)
    return pd.DataFrame(rows)


# ---- published values


def test_every_published_value():
    rows = [line.split() for line in PUBLISHED.strip().splitlines()]
    assert [int(row[1]) for row in rows] == list(paper.MODELS) == list(range(1, 21))
    for base, number, pretrained, *printed in rows:
        model = paper.MODELS[int(number)]
        assert (paper.BASES[model.base], model.pretrained) == (base, pretrained == "yes")
        assert [f"{100 * getattr(model, metric):.2f}" for metric in paper.METRICS] == printed


def test_losses_repeat_in_the_papers_order():
    assert [model.loss for model in paper.MODELS.values()] == list(paper.LOSSES) * 4
    assert list(paper.LOSSES.values())[-1] == "weighted cluster + weighted softmax"


def test_losses_of_each_model():
    """Again from the tables: the four rows of each loss."""
    names = ("softmax", "center + softmax", "weighted softmax", "center + weighted softmax")
    for first, name in enumerate((*names, "weighted cluster + weighted softmax"), start=1):
        numbers = [number for number, model in paper.MODELS.items() if paper.LOSSES[model.loss] == name]
        assert numbers == [first, first + 5, first + 10, first + 15]


def test_table_3():
    printed = "neutral 74,374 happy 133,915 sad 24,959 surprise 13,590 fear 5,878 disgust 3,303 anger 24,382 "
    printed += "contempt 3,250"
    shown = zip(EXPRESSIONS, paper.TRAINING_COUNTS, strict=True)
    assert " ".join(f"{name} {count:,}" for name, count in shown) == printed
    assert f"{sum(paper.TRAINING_COUNTS):,}" == "283,651"
    assert paper.VALIDATION_COUNTS == paper.TEST_COUNTS == (500,) * 8
    lists = (75_374, 134_915, 25_959, 14_590, 6_878, 4_303, 25_382, 4_250)  # AffectNet's own lists together
    assert tuple(count + 1000 for count in paper.TRAINING_COUNTS) == lists


def test_recalls_and_human_agreement():
    contempt, disgust = ({n: f"{recalls[name]:.0%}" for n, recalls in paper.RECALLS.items()} for name in RARE)
    assert contempt == {6: "6%", 10: "59%", 16: "10%", 20: "53%"}
    assert disgust == {6: "36%", 10: "54%", 16: "30%", 20: "47%"}
    assert f"{paper.HUMAN_AGREEMENT:.2%}" == "65.56%"
    # Section 4.4: 16 and 15 % taken for contempt, 11 and 12 % of contempt, surprise and fear, disgust and anger.
    confused = {f"{true} {taken}": f"{share:.0%}" for (true, taken), share in paper.CONFUSIONS[10].items()}
    assert confused == {
        "neutral contempt": "16%", "happy contempt": "15%", "contempt neutral": "11%", "contempt happy": "12%",
        "surprise fear": "18%", "fear surprise": "13%", "disgust anger": "15%", "anger disgust": "12%",
    }  # fmt: skip


def test_tables_1_and_2():
    """Stages 1 to 3 are frozen; six conventional approaches are judged alike."""
    stages = [(name, *row) for name, row in paper.STAGES.items()]
    assert [(row[1], row[3], row[4]) for row in stages[:5]] == [
        ("112×112", 1, True), ("56×56", 3, True), ("28×28", 4, True), ("14×14", 6, False), ("7×7", 3, False),
    ]  # fmt: skip
    assert "2048×512" in stages[5][2] and "512×8" in stages[6][2]
    judged = list(paper.APPROACHES.values())
    assert set(judged[:6]) == {("high", "low", "low", "medium")} and len(judged) == 8
    assert judged[6:] == [("low", "high", "high", "high"), ("low", "medium", "medium", "high")]


def test_recipe():
    assert (paper.RECIPE["momentum"], paper.RECIPE["weight_decay"], paper.RECIPE["image_size"]) == (0.9, 0.0005, 224)
    assert paper.RECIPE["batch_size"] == {"pretrained": 36, "scratch": 30}
    assert set(paper.RECIPE["lambda"].values()) == {0.5, 1.0} and paper.RECIPE["alpha"] == paper.RECIPE["gamma"] == 1
    assert paper.RECIPE["learning_rate"] == {"pretrained": 1e-3, "scratch": 1e-2}


# ---- audit


def test_audit_finds_what_is_known_to_be_wrong():
    checks = paper.audit_published()
    kappas = checks[checks["check"].str.contains("kappa")]
    assert len(kappas) == 20 and kappas["holds"].all()
    assert (kappas["printed"] - kappas["computed"]).abs().max() <= 0.0051  # rounding of two decimals, nothing else
    wrong = checks[~checks["holds"]].set_index("check")
    assert wrong.loc["N_min, the smallest class", ["printed", "computed"]].tolist() == [3303, 3250]
    assert wrong.loc["accuracy of model 7", ["printed", "computed"]].tolist() == [46.07, 47.08]
    assert wrong.loc["gain in recall of contempt, model 6 to 10", ["printed", "computed"]].tolist() == [1000, 883]
    pairs = wrong.loc["weighted cluster above weighted softmax"]
    assert pairs["computed"] == 2 and "model 5: 56.27, model 3: 56.37" in pairs["remark"]
    assert "model 7: 47.08, model 17: 48.33" in wrong.loc["SE-ResNet-50 above ResNet-50, same loss", "remark"]
    assert len(wrong) == 13 and len(checks) == 39
    printed = paper.printed_audit(checks)
    assert printed["Holds"].tolist() == ["no"] * 13 + ["yes"] * 7 and printed["What"].iloc[-1].endswith("20 models")


def test_audit_significance_by_hand():
    row = paper.audit_published().iloc[-1]
    assert row["printed"] == 0.98 and not row["holds"]
    assert row["computed"] == round(196 * math.sqrt((0.607 * 0.393 + 0.5972 * 0.4028) / 4000), 2)
    assert row["remark"].endswith("standard error of model 10: 0.77")


# ---- beside the paper


def test_one_seed_gets_the_wilson_interval_and_gaps_stay():
    table = paper.beside_published(make_runs([6, 10])).set_index("model")
    assert table.index.tolist() == list(range(1, 11))
    row = table.loc[10]
    assert row["accuracy"] == pytest.approx(0.507) and row["accuracy_published"] == 0.607
    expected = binomtest(round(0.507 * 800), 800).proportion_ci(0.95, method="wilson")
    assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx((expected.low, expected.high), abs=1e-3)
    assert row["ran"] == "se_resnet14, synthetic, 48 px, 4,000 training images, 800 test images, 1 seed"
    assert [row[f"{metric}_difference"] for metric in paper.METRICS] == pytest.approx([-0.1] * 6)
    assert np.isnan(row["f1_low"])
    gap = table.loc[7]
    assert gap["ran"] == "not run" and gap["seeds"] == 0 and np.isnan(gap["accuracy"]) and gap["f1_published"] == 0.4002


def test_several_seeds_give_their_t_interval_and_missing_ones_are_counted():
    runs = make_runs([16, 20], seeds=(0, 1, 2))
    runs = runs[runs["run"] != "model16-seed1"]
    table = paper.beside_published(runs, models=[16, 20]).set_index("model")
    row = table.loc[20]
    kappas = paper.MODELS[20].kappa - 0.1 + np.array([0.0, 0.01, 0.02])
    low, high = t.interval(0.95, 2, kappas.mean(), kappas.std(ddof=1) / math.sqrt(3))
    assert (row["kappa"], row["kappa_low"], row["kappa_high"]) == pytest.approx((kappas.mean(), low, high))
    assert row["interval"] == "95 % t interval of the mean over seeds" and row["ran"].endswith("3 seeds")
    assert table["seeds_missing"].tolist() == [1, 0]
    printed = paper.printed_table(table.reset_index())
    assert printed["Source"].iloc[0].endswith("2 seeds (1 missing)")
    every_seed_known = paper.beside_published(runs, models=[20], seeds=range(5))
    assert every_seed_known["seeds_missing"].item() == 2


def test_one_seed_with_predictions_gets_an_interval_of_every_metric():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(8), 80)
    predictions = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in EXPRESSIONS])
    predictions = predictions.assign(run="model10-seed0", label=np.repeat(np.arange(8), 10))
    table = paper.beside_published(make_runs([10]), models=[9, 10], predictions=predictions).set_index("model")
    expected = metrics.bootstrap(predictions["label"], probabilities, beside.RESAMPLES)
    for metric in paper.METRICS:
        ours = table.loc[10, [f"{metric}_low", f"{metric}_high"]].tolist()
        assert ours == expected.loc[metric, ["low", "high"]].tolist()
    assert table.loc[10, "interval"].startswith("95 % stratified bootstrap") and table.loc[9, "interval"] == ""
    assert paper.say_intervals(table, "Reduced.").endswith("of the one seed. Reduced.")
    assert set(paper.printed_table(table.reset_index()).iloc[3][list(paper.METRICS.values())].str.count(r"\[")) == {1}


def test_printed_table_looks_like_the_papers():
    printed = paper.printed_table(paper.beside_published(make_runs([10]), models=[9, 10]))
    assert list(printed.columns) == ["No.", "Pre-trained", "Loss", "Source", *paper.METRICS.values()]
    gap, ours = printed.iloc[0], printed.iloc[3]
    assert gap["Source"] == "ours: not run" and set(gap[list(paper.METRICS.values())]) == {"–"}
    assert ours["Accuracy"].startswith("50.70 [") and ours["AUC"] == "81.82"
    assert printed.iloc[4]["AUC-PR"] == "66.55" and "AffectNet, 224 px, 283,651" in printed.iloc[4]["Source"]
    assert printed.iloc[5]["Accuracy"] == "−10.00"


@pytest.mark.parametrize(
    "runs, message",
    [
        (make_runs([10]).iloc[:0], "models 1–20, found 0 runs"),
        (make_runs([10], model=21), "found model 21"),
        (make_runs([10], loss="softmax"), "expected model 10 to be .* weighted_cluster; found .* softmax"),
        (pd.concat([make_runs([10])] * 2), "several of model 10, seed 0"),
        (pd.concat([make_runs([10]), make_runs([10], [1], image_size=64)]), "one image_size .* found 48, 64"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(runs, message):
    with pytest.raises(InputError, match=message):
        paper.beside_published(runs)


def test_a_metric_that_one_seed_lacks_is_no_mean_over_the_others():
    runs = make_runs([10], seeds=(0, 1, 2))
    runs.loc[1, "kappa"] = np.nan
    row = paper.beside_published(runs, models=[10]).iloc[0]
    assert np.isnan([row[f"kappa{end}"] for end in ("", "_low", "_high")]).all() and row["accuracy"] > 0


# ---- paired claims


def make_predictions(runs, shares, images=40):
    """Each run as many images right as its model's share says, the same images first."""
    targets = np.repeat(np.arange(8), images)
    tables = []
    for run in runs.itertuples():
        right = np.tile(np.arange(images) / images < shares[run.model] + 0.02 * run.seed, 8)
        table = pd.DataFrame({"run": run.run, "image": [f"{n:03d}" for n in range(len(targets))], "label": targets})
        table[[f"p_{name}" for name in EXPRESSIONS]] = np.eye(8)[np.where(right, targets, (targets + 1) % 8)]
        tables.append(table.sample(frac=1, random_state=run.seed))
    return pd.concat(tables, ignore_index=True)


SHARES = {6: 0.3, 8: 0.6, 10: 0.6}


def test_claims_over_seeds_with_gaps():
    runs = make_runs([6, 8, 10], seeds=(0, 1, 2))
    predictions = make_predictions(runs, SHARES)
    there = runs[runs["run"] != "model6-seed1"]
    tests = paper.paired_tests(predictions, there)
    assert len(tests) == 9 and tests["difference"].isna().sum() == 2 and set(tests["seed"]) == {0, 1, 2}
    assert tests["difference"].dropna().round(9).tolist() == pytest.approx([0.3] * 4 + [0.0] * 3)
    np.testing.assert_allclose(tests["p_holm"], metrics.holm(tests["p_value"]))
    claims = paper.paired_claims(predictions, there)
    assert claims[["seeds", "seeds_missing"]].values.tolist() == [[2, 1], [2, 1], [3, 0]]
    assert claims["difference"].tolist() == pytest.approx([0.3, 0.3, 0.0])
    np.testing.assert_allclose(claims["p_holm"], metrics.holm(claims["p_value"]))
    first, second, third = claims["verdict"]
    assert (
        "weighted softmax did better than softmax here" in first
        and "2 of 3 seeds" in first
        and "3 comparisons" in first
    )
    assert "there is no difference" in third and "not told from noise" in third
    printed = paper.printed_claims(claims)
    assert printed["Seeds of that sign"].tolist() == ["2 of 2 (1 missing)"] * 2 + ["0 of 3"]
    assert paper.printed_tests(tests)["Macro recall"].tolist()[1] == "–"
    assert "nan" not in printed.to_string() + paper.printed_tests(tests).to_string()
    whole = paper.paired_claims(predictions, runs)["verdict"]
    assert "weighted softmax is better than softmax (+30.0 points" in whole[0]


def test_planned_models_and_seeds_that_were_not_run_stay_as_rows():
    runs = make_runs([6, 8])
    predictions = make_predictions(runs, SHARES)
    assert len(paper.paired_claims(predictions, runs)) == 1
    claims = paper.paired_claims(predictions, runs, models=[6, 8, 10], seeds=[0, 1])
    assert claims["seeds"].tolist() == [1, 0, 0] and claims["seeds_missing"].tolist() == [1, 2, 2]
    assert (
        "nothing can be said" in claims["verdict"][1]
        and paper.printed_claims(claims)["p, Holm"].tolist()[1:] == ["–"] * 2
    )
    assert len(paper.paired_tests(predictions, runs, [6, 8, 10], [0, 1])) == 6


def test_runs_on_other_images_are_no_pair():
    runs = make_runs([6, 8])
    predictions = make_predictions(runs, SHARES)
    predictions.loc[predictions["run"] == "model8-seed0", "image"] += "x"
    with pytest.raises(
        InputError, match="same test images for model6-seed0 and model8-seed0, found 320 and 320 of which 0"
    ):
        paper.paired_claims(predictions, runs)


# ---- files


def test_write_table(tmp_path):
    own = paper.beside_published(make_runs([8, 10]))
    paths = paper.write_table(own, tmp_path / "new" / "table5", "Table 5", "50 % of it.", paper.printed_table(own))
    assert [path.name for path in paths] == sorted(path.name for path in (tmp_path / "new").iterdir())
    pd.testing.assert_frame_equal(pd.read_csv(paths[0], keep_default_na=True, na_values=[]), own.replace("", np.nan))
    markdown, latex = paths[1].read_text(), paths[2].read_text()
    lines = markdown.splitlines()
    assert lines[0] == "**Table 5**" and lines[-1] == "50 % of it." and "| 10 | yes | weighted cluster" in markdown
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert "\\caption{Table 5. 50 \\% of it.}" in latex and "se\\_resnet14" in latex and "$-$10.00" in latex
    assert latex.isascii()


def test_an_interrupted_write_leaves_the_old_table(tmp_path, monkeypatch):
    table = pd.DataFrame({"a": [1]})
    paper.write_table(table, tmp_path / "t")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        paper.write_table(pd.DataFrame({"a": [2]}), tmp_path / "t")
    assert (tmp_path / "t.csv").read_text() == "a\n1\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.md", "t.tex"]


def test_markdown_escapes_and_aligns():
    table = pd.DataFrame({"name": ["a|b"], "value": [np.nan]})
    assert paper.to_markdown(table) == "| name | value |\n| --- | ---: |\n| a\\|b | – |\n"


def test_tables_need_no_torch():
    code = "import sys, fer_utils.comparing; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
