"""Variants beside each other: against scipy's paired t-test, and what the picture shows."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fer_utils import comparison, losses, paper, plots
from fer_utils.errors import InputError
from fer_utils.run_parameters import parameters


def made_up(seeds=(0, 1, 2)):
    random = np.random.default_rng(0)
    rows = [
        {"setting": s, "variant": v, "seed": n, "collapsed": v == "c", "run": f"{s}-{v}-{n}"}
        for n in seeds for s in ("drawn", "real") for v in ("a", "b", "c")
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**{name: random.uniform(0.2, 0.6, len(rows)) for name in comparison.COMPARED})


@pytest.mark.parametrize("metric", comparison.COMPARED)
def test_differences_and_intervals_are_those_of_scipys_paired_t_test(metric):
    runs = made_up()
    table = comparison.compare_variants(runs, "b", metric)
    assert table[["setting", "variant"]].values.tolist() == [[s, v] for s in ("drawn", "real") for v in "abc"]
    for row in table.itertuples():
        own, base = (
            runs[(runs["setting"] == row.setting) & (runs["variant"] == name)].sort_values("seed")[metric].to_numpy()
            for name in (row.variant, "b")
        )
        assert getattr(row, metric) == pytest.approx(own.mean())
        assert getattr(row, f"{metric}_sd") == pytest.approx(own.std(ddof=1))
        assert row.collapsed == (3 if row.variant == "c" else 0)
        if row.variant != "b":
            expected = stats.ttest_rel(own, base).confidence_interval(0.95)
            assert (row.low, row.high) == pytest.approx(tuple(expected))
            assert row.same_sign == sum(np.sign(own - base) == np.sign((own - base).mean()))


def test_one_seed_has_no_interval():
    single = comparison.compare_variants(made_up(seeds=[0]), "a")
    assert single["low"].isna().all() and single["difference"].notna().all()
    assert "nan" not in comparison.printed_comparison(single, "a").to_string()
    compared = comparison.compare_variants(made_up(), "a", "accuracy")
    assert "Accuracy against the reference" in comparison.printed_comparison(compared, "a", "accuracy")
    with pytest.raises(InputError, match="unknown reference 'z'"):
        comparison.compare_variants(made_up(), "z")


def test_missing_runs_leave_gaps_that_are_seen():
    runs = made_up().query("run != 'real-c-2' and not (setting == 'real' and variant == 'a')")
    table = comparison.compare_variants(runs, "b", variants="abcd", seeds=[0, 1, 2]).set_index(["setting", "variant"])
    assert table["seeds_missing"].tolist() == [0, 0, 0, 3, 3, 0, 1, 3]
    row = table.loc["real", "c"]
    assert row["pairs"] == 2 and row["seeds"] == 2
    own = runs[(runs["setting"] == "real") & (runs["seed"] < 2)].set_index(["variant", "seed"])["macro_recall"]
    assert row["difference"] == pytest.approx((own["c"] - own["b"]).mean())
    assert table.loc[("real", "a"), ["macro_recall", "difference", "low"]].isna().all()
    printed = comparison.printed_comparison(table.reset_index(), "b").set_index(["Setting", "Variant"])
    assert printed.loc[("real", "c"), "Collapsed"] == "2 of 2 (1 missing)"
    assert printed.loc[("real", "a"), "Macro recall"] == "–" and "nan" not in printed.to_string()
    undefined = made_up()
    undefined.loc[0, "f1"] = np.nan
    assert np.isnan(comparison.compare_variants(undefined, "b").loc[0, "f1"])


def test_the_picture_keeps_the_row_of_a_variant_that_a_setting_misses():
    runs = made_up().query("run != 'real-c-2' and not (setting == 'real' and variant == 'a')")
    for ax, notes in zip(plots.figure_variants(runs, "b").axes, ([], ["0 of 3\nseeds", "2 of 3\nseeds"]), strict=True):
        assert [text.get_text() for text in ax.texts] == notes
        for place, variant in enumerate("abc"):
            own = runs[(runs["setting"] == ax.get_title("left")[4:]) & (runs["variant"] == variant)]
            drawn = [
                x
                for line in ax.lines
                for x, y in zip(*line.get_data(), strict=True)
                if line.get_marker() in "ox" and y == place
            ]
            assert sorted(drawn) == pytest.approx(sorted(100 * own["macro_recall"]))


def test_the_picture_holds_every_run_and_marks_the_collapsed():
    runs = made_up()
    figure = plots.figure_variants(runs, "a")
    for ax, (_, own) in zip(figure.axes, runs.groupby("setting", sort=False), strict=True):
        drawn = sorted(x for line in ax.lines if line.get_marker() in "ox" for x in line.get_xdata())
        assert drawn == pytest.approx(sorted(100 * own["macro_recall"]))
        crosses = [x for line in ax.lines if line.get_marker() == "x" for x in line.get_xdata()]
        assert sorted(crosses) == pytest.approx(sorted(100 * own[own["collapsed"]]["macro_recall"]))


def test_what_stands_in_two_places_is_the_same():
    """Run parameters must not import torch, so names and λ of the losses stand with the published values too."""
    assert tuple(paper.LOSSES) == losses.PAPER_LOSSES and tuple(paper.RIVALS) == losses.RIVALS
    for name in losses.LOSS_NAMES:
        assert parameters({"loss": name}).cluster_weight == losses.make_loss(name, [2, 1], 4).cluster_weight or (
            losses.make_loss(name, [2, 1], 4).cluster is None
        )
