"""The cells of Figure 6 that the paper's text prints, ours beside them."""

import pandas as pd

from fer_utils.expressions import EXPRESSIONS, LABELS
from fer_utils.metrics import count_confusion, wilson_interval
from fer_utils.paper.values import CONFUSIONS, RECALLS


def compare_cells(predictions: pd.DataFrame, runs: pd.DataFrame, models) -> pd.DataFrame:
    """Shares of a true class that a model takes for a class, where the paper gives them.

    Args:
        predictions: a study's `predictions.parquet`.
        runs: its `runs.csv`.
        models: the paper's numbers that the study plans; one without a run has NaN.

    Returns:
        DataFrame, a row a cell: `model`, `true`, `predicted`, `images` (of the true class in the test set), `seeds`,
        `share` (mean over seeds) with its 95 % Wilson interval `low`, `high` on these images, `published` and
        `difference`.

    >>> runs = pd.DataFrame({"run": ["a"], "model": [6]})
    >>> predictions = pd.DataFrame([[1.0] + [0.0] * 7] * 4, columns=[f"p_{name}" for name in EXPRESSIONS])
    >>> compare_cells(predictions.assign(run="a", label=7), runs, [6])[["true", "share", "published"]].values.tolist()
    [['contempt', 0.0, 0.06], ['disgust', nan, 0.36]]
    """
    rows = []
    for number in sorted(set(models) & set(RECALLS)):
        own = runs[runs["model"] == number]
        counted = predictions[predictions["run"].isin(own["run"])]
        if len(own):
            guesses = counted[[f"p_{name}" for name in EXPRESSIONS]].to_numpy().argmax(axis=1)
            confusion = count_confusion(counted["label"], guesses) / len(own)  # of one seed
        cells = {(name, name): share for name, share in RECALLS[number].items()} | CONFUSIONS.get(number, {})
        for (true, predicted), published in cells.items():
            row = {"model": number, "true": true, "predicted": predicted, "images": 0, "seeds": len(own)}
            row |= dict.fromkeys(("share", "low", "high"), float("nan"))
            if len(own) and confusion[LABELS[true]].sum():
                found, images = confusion[LABELS[true], LABELS[predicted]], confusion[LABELS[true]].sum()
                low, high = wilson_interval(found, images)
                row |= {"images": round(images), "share": found / images, "low": low, "high": high}
            rows.append(row | {"published": published, "difference": row["share"] - published})
    return pd.DataFrame(rows)


def printed_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """`compare_cells` as a table to read, in per cent and points.

    >>> cell = {"model": 6, "true": "fear", "predicted": "fear", "images": 9, "share": 0.5, "low": 0.4, "high": 0.6}
    >>> printed_cells(pd.DataFrame([cell | {"published": 0.6, "difference": -0.1}])).iloc[0].tolist()
    ['6', 'fear', 'fear', '9', '50 [40, 60]', '60', '−10']
    """
    rows = []
    for row in cells.itertuples():
        gap = pd.isna(row.share)
        rows.append({
            "No.": str(row.model), "True": row.true, "Predicted": row.predicted, "Images": f"{row.images:,}",
            "Ours": "–" if gap else f"{100 * row.share:.0f} [{100 * row.low:.0f}, {100 * row.high:.0f}]",
            "Paper": f"{100 * row.published:.0f}",
            "Difference": "–" if gap else f"{100 * row.difference:+.0f}".replace("-", "−"),
        })  # fmt: skip
    return pd.DataFrame(rows)
