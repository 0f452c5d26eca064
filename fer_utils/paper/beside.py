"""A study's results beside the published ones."""

import numpy as np
import pandas as pd

from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.metrics import bootstrap, wilson_interval
from fer_utils.paper.values import BASES, LOSSES, METRICS, MODELS, PRETRAINING, RECIPE, TEST_COUNTS, TRAINING_COUNTS

MINUS = "\N{MINUS SIGN}"
RESAMPLES = 1000  # of the bootstrap
_PROTOCOL = (
    "dataset",
    "architecture",
    "weights",
    "image_size",
    "test_images",
)  # what the seeds of one model must share to be averaged


def models_of(runs: pd.DataFrame) -> list[int]:
    """The paper's models that a study should show: all of each base that it ran.

    Args:
        runs: a study's `runs.csv`.

    Raises:
        InputError: if there are no runs, or they carry no model of the paper.

    >>> import pandas as pd
    >>> models_of(pd.DataFrame({"model": [13, 20]}))
    [11, 12, 13, 14, 15, 16, 17, 18, 19, 20]
    """
    unknown = sorted(set(runs["model"]) - set(MODELS))
    if runs.empty or unknown:
        found = f"model {', '.join(map(str, unknown))}" if unknown else "0 runs"
        raise InputError(f"expected runs of models 1–20, found {found}")
    bases = {MODELS[number].base for number in runs["model"]}
    return [number for number, model in MODELS.items() if model.base in bases]


def beside_published(runs: pd.DataFrame, models=None, seeds=None, predictions=None, diverged=None) -> pd.DataFrame:
    """Each model's six metrics beside the paper's.

    Args:
        runs: a study's `runs.csv`, a row a run, metrics as fractions 0–1.
        models: paper's model numbers to show; default all of the bases that were run. One without a run stays as a
            row of NaN, so that a gap is seen.
        seeds: seeds that every model should have; default all that occur in `runs`.
        diverged: rows of `runs.csv` whose training diverged before there was anything to evaluate.
        predictions: `predictions.parquet`, from which a model of one seed gets an interval for every metric.

    Returns:
        DataFrame, a row a model: `model`, `base`, `pretrained`, `loss`; `ran` (what really ran, in words, to be shown
        wherever the values are), `seeds` and `seeds_missing` (counts), `interval` (what low and high are); and for
        each metric `<metric>` (mean over seeds), `<metric>_low`, `<metric>_high`, `<metric>_published`,
        `<metric>_difference` (ours − published). With several seeds low and high are the 95 % t interval of their mean,
        which says what other seeds would give on the same images; with one, the stratified bootstrap's over these
        images, or without predictions the accuracy's Wilson interval and NaN for the other metrics.

    Raises:
        InputError: for runs that are not the paper's model they claim to be, two runs of one model and seed, or seeds
            of one model under different protocols.

    >>> import pandas as pd
    >>> run = {"model": 10, "base": "se_resnet50", "pretrained": True, "loss": "weighted_cluster", "seed": 0}
    >>> run |= {"architecture": "se_resnet14", "image_size": 48, "train_images": 4000, "test_images": 800}
    >>> run |= {metric: 0.5 for metric in METRICS}
    >>> table = beside_published(pd.DataFrame([run]), models=[8, 10])
    >>> table[["model", "accuracy", "accuracy_low", "accuracy_published", "accuracy_difference"]].round(4)
       model  accuracy  accuracy_low  accuracy_published  accuracy_difference
    0      8       NaN           NaN              0.5972                  NaN
    1     10       0.5        0.4654              0.6070               -0.107
    """
    models = models_of(runs) if models is None else list(models)
    seeds = sorted(set(runs["seed"])) if seeds is None else list(seeds)
    _check(runs)
    failed = {number: 0 if diverged is None else int((diverged["model"] == number).sum()) for number in models}
    return pd.DataFrame(
        [
            _row(number, runs[(runs["model"] == number) & runs["seed"].isin(seeds)], seeds, predictions, failed[number])
            for number in models
        ]
    )


def say_intervals(beside: pd.DataFrame, more: str = "") -> str:
    """The note of a table or figure of `beside_published`: what its intervals are.

    Args:
        beside: what `beside_published` returns.
        more: a sentence that follows.

    >>> say_intervals(pd.DataFrame({"interval": ["95 % Wilson interval of the accuracy", ""]}), "Reduced.")
    'Intervals: 95 % Wilson interval of the accuracy. Reduced.'
    """
    kinds = [kind for kind in beside["interval"].unique() if kind]
    return " ".join(filter(None, [f"Intervals: {'; '.join(kinds)}." if kinds else "", more]))


def _row(number: int, runs: pd.DataFrame, seeds: list, predictions: pd.DataFrame | None, diverged: int) -> dict:
    published = MODELS[number]
    row = {
        "model": number,
        "base": published.base,
        "pretrained": published.pretrained,
        "loss": published.loss,
        "ran": _what_ran(runs, diverged),
        "seeds": len(runs),
        "seeds_missing": len(seeds) - len(runs),
    }
    row["interval"], intervals = _intervals(runs, predictions)
    for metric in METRICS:
        # A seed of which a metric is undefined leaves the mean undefined, rather than one over fewer seeds.
        mean = runs[metric].mean(skipna=False) if len(runs) else np.nan
        low, high = intervals.get(metric, (np.nan, np.nan))
        there = getattr(published, metric)
        row |= {metric: mean, f"{metric}_low": low, f"{metric}_high": high}
        row |= {f"{metric}_published": there, f"{metric}_difference": mean - there}
    return row


def _intervals(runs: pd.DataFrame, predictions: pd.DataFrame | None) -> tuple[str, dict]:
    """What the interval is, and metric → (low, high)."""
    if runs.empty:
        return "", {}
    if len(runs) > 1:
        from scipy.special import stdtrit  # a tenth of the time that scipy.stats takes to load

        half = stdtrit(len(runs) - 1, 0.975) * runs[list(METRICS)].std(skipna=False) / np.sqrt(len(runs))
        mean = runs[list(METRICS)].mean(skipna=False)
        bounds = {metric: (mean[metric] - half[metric], mean[metric] + half[metric]) for metric in METRICS}
        return "95 % t interval of the mean over seeds", bounds
    if predictions is None:
        images = runs["test_images"].iloc[0]
        low, high = wilson_interval(runs["accuracy"].iloc[0] * images, images)
        return "95 % Wilson interval of the accuracy", {"accuracy": (low, high)}
    own = predictions[predictions["run"] == runs["run"].iloc[0]]
    table = bootstrap(own["label"], own[[f"p_{name}" for name in EXPRESSIONS]], RESAMPLES)
    bounds = {metric: (table.loc[metric, "low"], table.loc[metric, "high"]) for metric in METRICS}
    return "95 % stratified bootstrap interval over the test images of the one seed", bounds


def _what_ran(runs: pd.DataFrame, diverged: int) -> str:
    failed = f"training diverged with {diverged} seed{'' if diverged == 1 else 's'}" if diverged else ""
    if runs.empty:
        return failed or "not run"
    first = runs.iloc[0]
    weights = f" ({first['weights']})" if first["pretrained"] and "weights" in runs else ""
    fewest, most = runs["train_images"].min(), runs["train_images"].max()
    parts = [
        f"{first['architecture']}{weights}",
        *([first["dataset"]] if "dataset" in runs else []),
        f"{first['image_size']} px",
        f"{fewest:,} training images" if fewest == most else f"{fewest:,}–{most:,} training images",
        f"{first['test_images']:,} test images",
        "1 seed" if len(runs) == 1 else f"{len(runs)} seeds",
        *([failed] if failed else []),
    ]
    return ", ".join(parts)


def _check(runs: pd.DataFrame) -> None:
    for run in runs.itertuples():
        paper = MODELS[run.model]
        if (run.base, bool(run.pretrained), run.loss) != (paper.base, paper.pretrained, paper.loss):
            raise InputError(
                f"expected model {run.model} to be {paper.base}, pretrained={paper.pretrained}, {paper.loss}; "
                f"found {run.base}, pretrained={bool(run.pretrained)}, {run.loss}"
            )
    twice = runs[runs.duplicated(["model", "seed"])]
    if len(twice):
        raise InputError(
            f"expected one run for each model and seed, found several of model {twice['model'].iloc[0]}, seed "
            f"{twice['seed'].iloc[0]}; an ablation's variants are tables of their own"
        )
    for number, group in runs.groupby("model"):
        for column in [name for name in _PROTOCOL if name in runs]:
            if group[column].nunique() > 1:
                found = ", ".join(map(str, group[column].unique()))
                raise InputError(f"expected one {column} over the seeds of model {number}, found {found}")


def printed_table(beside: pd.DataFrame) -> pd.DataFrame:
    """`beside_published` as a paper prints it: three lines a model, per cent with two decimals.

    Args:
        beside: what `beside_published` returns.

    Returns:
        DataFrame of strings: `No.`, `Pre-trained`, `Loss`, `Source` (ours with what really ran, the paper's with what
        it ran, the difference in points) and a column a metric, intervals in brackets, "–" for what was not run.

    >>> import pandas as pd
    >>> run = {"model": 10, "base": "se_resnet50", "pretrained": True, "loss": "weighted_cluster", "seed": 0}
    >>> run |= {"architecture": "se_resnet14", "image_size": 48, "train_images": 4000, "test_images": 800}
    >>> run |= {metric: 0.5 for metric in METRICS}
    >>> printed_table(beside_published(pd.DataFrame([run]), models=[10]))[["Accuracy", "F1"]].values.tolist()
    [['50.00 [46.54, 53.46]', '50.00'], ['60.70', '60.49'], ['−10.70', '−10.49']]
    """
    lines = []
    for row in beside.to_dict("records"):
        missing = f" ({row['seeds_missing']} missing)" if row["seeds"] and row["seeds_missing"] else ""
        head = {
            "No.": str(row["model"]),
            "Pre-trained": "yes" if row["pretrained"] else "no",
            "Loss": LOSSES[row["loss"]],
            "Source": f"ours: {row['ran']}{missing}",
        }
        blank = {"No.": "", "Pre-trained": "", "Loss": ""}
        lines.append(head | {name: _ours(row, metric) for metric, name in METRICS.items()})
        lines.append(
            blank
            | {"Source": f"paper: {_what_the_paper_ran(row)}"}
            | {n: f"{100 * row[f'{m}_published']:.2f}" for m, n in METRICS.items()}
        )
        lines.append(
            blank | {"Source": "difference"} | {n: _signed(row[f"{m}_difference"]) for m, n in METRICS.items()}
        )
    return pd.DataFrame(lines)


def _what_the_paper_ran(row: dict) -> str:
    base = BASES[row["base"]] + (f" ({PRETRAINING[row['base']]})" if row["pretrained"] else "")
    images = f"{sum(TRAINING_COUNTS):,} training images, {sum(TEST_COUNTS):,} test images"
    return f"{base}, AffectNet, {RECIPE['image_size']} px, {images}, 1 run"


def _ours(row: dict, metric: str) -> str:
    if np.isnan(row[metric]):
        return "–"
    value, low, high = (f"{100 * row[key]:.2f}" for key in (metric, f"{metric}_low", f"{metric}_high"))
    text = value if np.isnan(row[f"{metric}_low"]) else f"{value} [{low}, {high}]"
    return text.replace("-", MINUS)


def _signed(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:+.2f}".replace("-", MINUS)
