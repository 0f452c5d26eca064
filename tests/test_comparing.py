"""`python -m fer_utils compare` on made-up results: what is matched, what is refused and why."""

import json

import numpy as np
import pandas as pd
import pytest

from fer_utils import __main__, comparing, metrics
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS

PROBABILITIES = [f"p_{name}" for name in EXPRESSIONS]
TARGETS = np.repeat(np.arange(8), 40)


def write_results(root, study, cases, seeds=(0, 1, 2), gain=None, missing=(), change=None, **about):
    """`results/<study>/` of made-up runs: as `gain` says of a case, so many more images right."""
    runs, predictions = [], []
    for case in cases:
        for seed in seeds:
            name = f"{case}-seed{seed}"
            if name in missing:
                continue
            random = np.random.default_rng([seed, len(case)])
            own = (gain or {}).get(case, 0.0) + 0.01 * seed
            right = np.random.default_rng(seed).random(len(TARGETS)) < 0.4 + own  # one seed's runs err alike
            scores = 0.5 * random.random((len(TARGETS), 8))
            scores[np.arange(len(TARGETS)), np.where(right, TARGETS, (TARGETS + 1) % 8)] += 1
            table = pd.DataFrame(
                {"run": name, "image": [f"{n:03d}.png" for n in range(len(TARGETS))], "label": TARGETS}
            )
            table[PROBABILITIES] = (scores / scores.sum(axis=1, keepdims=True)).astype("float32")
            predictions.append(table.sample(frac=1, random_state=seed))  # the order of rows means nothing
            row = {"run": name, "seed": seed, "dataset": "ferplus", "evaluation": "test", "test_images": len(TARGETS)}
            runs.append(row | {"validation_images": 7, "difficulty": 0.1, "subjects": 3, "data_seed": 0})
    runs, predictions = pd.DataFrame(runs), pd.concat(predictions, ignore_index=True)
    if change:
        runs, predictions = change(runs, predictions)
    folder = root / "results" / study
    folder.mkdir(parents=True)
    runs.to_csv(folder / "runs.csv", index=False)
    predictions.to_parquet(folder / "predictions.parquet")
    content = {"models": [], "variants": list(cases), "settings": [], "seeds": list(seeds)} | about
    (folder / "study.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkout")
    write_results(root, "one", ["plain", "better"], gain={"better": 0.25})
    write_results(root, "two", ["plain", "better", "third"], gain={"plain": 0.2, "better": 0.25})
    write_results(
        root, "gappy", ["plain", "better"], missing=["plain-seed1", "better-seed0", "better-seed1", "better-seed2"]
    )
    write_results(root, "paper", ["model06", "model10"], seeds=[0], models=[6, 10], variants=[])
    return root


def test_two_cases_are_paired_by_seed(root):
    found = comparing.compare("one/plain", "one/better", root)
    assert list(found.table["metric"]) == list(comparing.ORDER) and set(comparing.ORDER) == set(metrics.METRICS)
    row = found.table.set_index("metric").loc["macro_recall"]
    assert (row["seeds"], row["planned"], row["same_sign"]) == (3, 3, 3) and row["p_holm"] == row["p_value"]
    table = pd.read_parquet(root / "results/one/predictions.parquet")
    recalls = {
        run: metrics.summarise(own["label"].to_numpy(), own[PROBABILITIES].to_numpy())["macro_recall"]
        for run, own in table.groupby("run")
    }
    differences = [recalls[f"better-seed{seed}"] - recalls[f"plain-seed{seed}"] for seed in range(3)]
    assert row["difference"] == pytest.approx(np.mean(differences))
    over = metrics.over_seeds(differences)
    assert (row["seeds_low"], row["seeds_high"]) == pytest.approx((over["low"], over["high"]))
    assert row["p_value"] >= over["p_value"] - 1e-12
    assert found.verdicts[0].startswith("Macro recall: one/better is better than one/plain (+") and found.notes == []


def test_two_runs_are_compared_whatever_they_are(root):
    found = comparing.compare("one/plain-seed0", "two/third-seed2", root, ["accuracy"])
    assert found.table["seeds"].tolist() == [1] and found.table["test"].tolist() == ["McNemar"]
    assert "one seed" in found.verdicts[0] and found.verdicts[0].startswith("Accuracy: two/third-seed2")
    assert np.isnan(found.table["seeds_low"].item())


def test_two_studies_are_matched_by_case_and_seed_and_corrected(root):
    found = comparing.compare("one", "two", root)
    assert found.table["case"].unique().tolist() == ["plain", "better"]
    first = found.table[found.table["metric"] == "macro_recall"].set_index("case")
    assert first.loc["plain", "difference"] == pytest.approx(0.2, abs=0.06) and first.loc["better", "difference"] == 0
    np.testing.assert_allclose(first["p_holm"], metrics.holm(first["p_value"]))
    assert found.verdicts[0].startswith("Macro recall: plain of two is better than plain of one")
    assert "for 2 comparisons" in found.verdicts[0] and "there is no difference" in found.verdicts[1]
    assert found.notes == ["Only in two, not compared: third."]


def test_a_missing_run_is_a_visible_gap(root):
    found = comparing.compare("one", "gappy", root)
    table = found.table.set_index(["case", "metric"])
    assert table.loc[("plain", "macro_recall"), ["seeds", "planned"]].tolist() == [2, 3]
    assert table.loc[("better", "macro_recall"), "seeds"] == 0 and np.isnan(
        table.loc[("better", "accuracy"), "difference"]
    )
    assert found.notes == ["Missing in gappy/plain: seed 1.", "Missing in gappy/better: seed 0, 1, 2."]
    assert "2 of 3 seeds" in found.verdicts[0] and "nothing can be said" in found.verdicts[1]
    shown = comparing.printed(found)
    assert shown["seeds"].tolist() == ["2 of 3"] * 2 + ["0 of 3"] * 2 and "nan" not in shown.to_string()
    with pytest.raises(InputError, match="expected finished runs in gappy/better-seed1, found none"):
        comparing.compare("one/better-seed1", "gappy/better-seed1", root)


def spoil(rows=slice(None), **values):
    """Change columns of the predictions of one run."""

    def change(runs, predictions):
        own = predictions.index[predictions["run"] == "plain-seed0"]
        for name, value in values.items():
            predictions.loc[own[rows], name] = value
        return runs, predictions

    return change


def with_runs(**values):
    return lambda runs, predictions: (runs.assign(**values), predictions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r, p: (r, p[p["run"] != "plain-seed0"]), "bad/plain-seed0 is incomplete: .* of 320 images, found 0"),
        (lambda r, p: (r, p.iloc[5:]), "run bad/plain-seed0 is incomplete: .* of 320 images, found 315"),
        (with_runs(evaluation="validation"), "incomplete: expected predictions of 7 images, found 320"),
        (lambda r, p: (r, p.drop(columns="p_contempt")), "found .*p_anger; runs with other classes cannot be compared"),
        (lambda r, p: (r, p.assign(p_boredom=0.0)), "p_boredom; runs with other classes cannot be compared"),
        (spoil(slice(0, 1), image="999.png"), "found 320 and 320 of which 319 are common"),
        (lambda r, p: (r, p.assign(image="x" + p["image"])), "found 320 and 320 of which 0 are common"),
        (lambda r, p: (r, p.assign(label=(p["label"] + 1) % 8)), "320 of 320 images labelled otherwise, 000.png first"),
        (spoil(slice(0, 2), image="000.png"), "expected every image once, found .* of 320 again"),
        (spoil(slice(0, 3), p_sad=np.nan), "run bad/plain-seed0: .* found NaN or infinity in 3 of 320"),
        (spoil(slice(0, 3), p_sad=2.0), "run bad/plain-seed0: .* found 3 of 320 rows that do not"),
        (with_runs(dataset="rafdb"), "for one/plain-seed0 and bad/plain-seed0, found dataset ferplus and rafdb"),
    ],
    ids=range(12),
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_by_name(root, tmp_path, change, message):
    (tmp_path / "results").mkdir()
    (tmp_path / "results/one").symlink_to(root / "results/one")
    write_results(tmp_path, "bad", ["plain", "better"], change=change)
    with pytest.raises(InputError, match=message) as error:
        comparing.compare("one/plain", "bad/plain", tmp_path, ["macro_recall"])
    assert "\n" not in str(error.value)


def test_faces_drawn_otherwise_are_another_test_set(tmp_path):
    for study, difficulty in (("a", 0.1), ("b", 0.2)):
        write_results(tmp_path, study, ["plain"], change=with_runs(dataset="synthetic", difficulty=difficulty))
    with pytest.raises(InputError, match="expected one test set .* found difficulty 0.1 and 0.2"):
        comparing.compare("a", "b", tmp_path)


@pytest.mark.parametrize(
    ("a", "b", "metric", "message"),
    [
        ("onw", "two", "f1", "unknown study under results/: 'onw'; did you mean 'one'?"),
        ("one/plane", "two", "f1", "unknown run of results/one/: 'plane'; did you mean 'plain'?"),
        ("one/plain-seed7", "two", "f1", "'plain-seed7'; did you mean 'plain-seed2'?"),
        ("one", "two", "acuracy", "unknown metric 'acuracy'; did you mean 'accuracy'?"),
        ("one", "one", "f1", "two different sides, found the runs of one on both"),
        ("one/plain", "one/plain-seed1", "f1", "two different sides, found the runs of one/plain on both"),
        ("one", "paper", "f1", "plain-seed0, .* and 2 more and model06-seed0, model10-seed0; to compare two"),
        ("two/third", "paper", "f1", "in two/third and paper, found third-seed0"),
    ],
    ids=range(8),
)  # fmt: skip
def test_wrong_names_are_one_line(root, a, b, metric, message):
    with pytest.raises(InputError, match=message) as error:
        comparing.compare(a, b, root, [metric])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["study.json", "predictions.parquet"])
def test_results_that_are_not_all_there(tmp_path, name):
    write_results(tmp_path, "one", ["plain", "better"])
    (tmp_path / "results/one" / name).unlink()
    with pytest.raises(InputError, match=f"expected {name} in results/one/, found none; write it"):
        comparing.compare("one/plain", "one/better", tmp_path)


def test_few_images_of_a_class_are_named(tmp_path):
    def thin(runs, predictions):
        kept = predictions[(predictions["label"] != 5) | (predictions["image"] < "205.png")]
        return runs.assign(test_images=len(kept) // len(runs)), kept

    write_results(tmp_path, "rare", ["plain", "better"], gain={"better": 0.3}, change=thin)
    found = comparing.compare("rare/plain", "rare/better", tmp_path, ["macro_recall"])
    assert found.notes == ["Of 285 test images only 5 show disgust."]
    assert "did better than" in found.verdicts[0] and "(5 of disgust)" in found.verdicts[0]


def test_the_command_prints_the_table_and_the_verdict(root, monkeypatch, capsys):
    (root / "experiments").mkdir()
    (root / "pyproject.toml").touch()
    monkeypatch.chdir(root)
    assert __main__.main(["compare", "one/plain", "one/better", "--metric", "macro_recall", "brier"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["A: one/plain", "B: one/better", "Per cent, differences in points"]
    assert [line.split()[0] for line in lines[5:7]] == ["Macro", "Brier"]
    assert lines[-1].startswith("Macro recall: one/better is better than one/plain")
    assert __main__.main(["compare", "one/plain", "one/bettr"]) == 2
    assert capsys.readouterr().err.startswith("stopped: unknown run of results/one/: 'bettr'; did you mean 'better'?")
