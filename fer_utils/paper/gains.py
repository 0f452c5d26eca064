"""Who gains by a loss: recall of each class above softmax's, on the same images and seeds."""

from statistics import NormalDist

import numpy as np
import pandas as pd

from fer_utils.expressions import EXPRESSIONS
from fer_utils.metrics.checks import check_same_images
from fer_utils.paper.values import BASES, LOSSES, MODELS, RECALLS

GROUP = ["base", "pretrained"]
MACRO = "mean of classes"


def class_gains(predictions: pd.DataFrame, runs: pd.DataFrame, reference: str = "softmax") -> pd.DataFrame:
    """Difference of recall between each loss and the reference, for every base and start.

    A pair is two runs of one base, start and seed on the same images. An image counts +1 where the loss alone has it
    right and −1 where the reference alone has, averaged over the seeds of both; a class's gain is the mean of its
    images. The interval takes images and seeds as drawn: the variance of the mean over images, with one more image won
    and one more lost (Bonett & Price 2012: no interval of width 0, even for 15 images), plus the variance over seeds,
    at a t quantile with Satterthwaite's degrees of freedom. One seed leaves the part of the images, which is
    `metrics.compare_recalls`; the mean of the classes is not drawn towards 0 as its classes are.

    Args:
        predictions: a study's `predictions.parquet`.
        runs: its `runs.csv`.
        reference: key of `LOSSES`.

    Returns:
        DataFrame, a row a base, start, loss and class, and one for the mean of the classes (`expression`
        "mean of classes"): `base`, `pretrained`, `loss`, `expression`, `images` (of the test set), `seeds`, `gain`,
        `low`, `high` (fractions, 95 %; NaN where no seed has both runs) and `published` (the paper's gain where it
        prints one, else NaN).

    Raises:
        InputError: where runs that are compared do not share their test images.

    >>> runs = pd.DataFrame({"run": ["a", "b"], "model": [6, 8], "seed": 0})
    >>> predictions = pd.DataFrame({"run": ["a"] * 2 + ["b"] * 2, "image": ["x", "y"] * 2, "label": [0, 1, 0, 1]})
    >>> predictions[[f"p_{name}" for name in EXPRESSIONS]] = [[1.0] + [0.0] * 7] * 3 + [[0.0, 1.0] + [0.0] * 6]
    >>> class_gains(predictions, runs).query("loss == 'weighted_softmax'")["gain"].tolist()[:2]
    [0.0, 1.0]
    """
    labels, right = _right(predictions)
    rows = []
    groups = runs.assign(**{name: [getattr(MODELS[number], name) for number in runs["model"]] for name in GROUP})
    for key, group in sorted(groups.groupby(GROUP), key=lambda item: (not item[0][1], list(BASES).index(item[0][0]))):
        by_loss = {loss: dict(zip(part["seed"], part["run"], strict=True)) for loss, part in _by_loss(group)}
        theirs = by_loss.get(reference, {})
        for loss in LOSSES:
            if loss == reference:
                continue
            pairs = [(run, theirs[seed]) for seed, run in by_loss.get(loss, {}).items() if seed in theirs]
            differences = np.array([right[a] - right[b] for a, b in pairs]).reshape(len(pairs), len(labels))
            head = dict(zip(GROUP, key, strict=True)) | {"loss": loss}
            rows += [head | row for row in _of_classes(differences, labels, *key, loss, reference)]
    return pd.DataFrame(rows)


def printed_gains(gains: pd.DataFrame) -> pd.DataFrame:
    """`class_gains` as a table to read: a row a base, start and loss, a column a class, points with their interval.

    >>> row = {"base": "resnet50", "pretrained": True, "loss": "weighted_cluster", "expression": "fear", "seeds": 1}
    >>> printed_gains(pd.DataFrame([row | {"gain": 0.1, "low": -0.02, "high": 0.2}]))["fear"].tolist()
    ['+10.0 [−2.0, +20.0]']
    """
    rows = []
    for (base, pretrained, loss), group in gains.groupby([*GROUP, "loss"], sort=False):
        row = {"Base": BASES[base], "Pre-trained": "yes" if pretrained else "no", "Loss": LOSSES[loss]}
        row["Seeds"] = str(group["seeds"].iloc[0])
        for part in group.itertuples():
            numbers = [f"{100 * value:+.1f}".replace("-", "−") for value in (part.gain, part.low, part.high)]
            row[part.expression] = "–" if part.seeds == 0 else f"{numbers[0]} [{numbers[1]}, {numbers[2]}]"
        rows.append(row)
    return pd.DataFrame(rows)


def _by_loss(group: pd.DataFrame):
    return group.groupby(group["model"].map(lambda number: MODELS[number].loss))


def _right(predictions: pd.DataFrame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Labels of the test images, and for each run whether it has them right, as 0 and 1 in the same order."""
    guesses = predictions[[f"p_{name}" for name in EXPRESSIONS]].to_numpy().argmax(axis=1)
    table = predictions[["run", "image", "label"]].assign(right=(guesses == predictions["label"]).astype(float))
    by_run = {run: part.set_index("image") for run, part in table.groupby("run", sort=False)}
    name, first = next(iter(by_run.items()))
    for run, part in by_run.items():
        check_same_images(first["label"], part["label"], f"{name} and {run}")
        by_run[run] = part.loc[first.index]
    return first["label"].to_numpy(), {run: part["right"].to_numpy() for run, part in by_run.items()}


def _of_classes(differences: np.ndarray, labels: np.ndarray, base, pretrained, loss: str, reference: str):
    """A row a class, and the mean of the classes; `differences` is (seeds, images) of −1, 0 and 1."""
    seeds, parts = len(differences), []
    models = {model.loss: model for model in MODELS.values() if (model.base, model.pretrained) == (base, pretrained)}
    recalls, before = (RECALLS.get(models[name].number, {}) for name in (loss, reference))
    unknown = {"seeds": seeds, "gain": np.nan, "low": np.nan, "high": np.nan}
    for label, name in enumerate(EXPRESSIONS):
        own = differences[:, labels == label]  # (seeds, images of the class)
        row = {"expression": name, "images": own.shape[1], **unknown}
        row["published"] = recalls[name] - before[name] if name in recalls and name in before else np.nan
        if own.size:
            center, variance = shrunk_mean(own)
            by_seed = own.mean(axis=1)
            row["gain"] = by_seed.mean()
            row["low"], row["high"] = interval(center, variance, by_seed)
            parts.append((variance, by_seed))
        yield row
    row = {"expression": MACRO, "images": len(labels), **unknown}
    row["published"] = models[loss].accuracy - models[reference].accuracy  # equal on a balanced test set
    if parts:
        variances, by_seed = (np.array(values) for values in zip(*parts, strict=True))
        row["gain"] = by_seed.mean()  # the centre too: shrinking each class towards 0 would add up
        row["low"], row["high"] = interval(row["gain"], variances.sum() / len(parts) ** 2, by_seed.mean(axis=0))
    yield row


def shrunk_mean(differences: np.ndarray) -> tuple[float, float]:
    """Mean over seeds and images of (seeds, images) differences −1 to 1 with one more won and one more lost, and the
    variance that drawing images gives it.

    >>> [round(float(value), 4) for value in shrunk_mean(np.zeros((1, 14)))]
    [0.0, 0.0078]
    """
    by_image = differences.mean(axis=0)
    n = len(by_image) + 2
    center = by_image.sum() / n
    return center, ((by_image**2).sum() + 2) / n**2 - center**2 / n


def interval(center: float, of_images: float, by_seed: np.ndarray) -> tuple[float, float]:
    """95 % around `center`, within −1 to 1, from the variance over images and the values of the seeds.

    >>> [round(float(value), 4) for value in interval(0.1, 0.01, np.array([0.1]))]
    [-0.096, 0.296]
    """
    from scipy.special import stdtrit

    seeds = len(by_seed)
    of_seeds = by_seed.var(ddof=1) / seeds if seeds > 1 else 0.0
    total = of_images + of_seeds
    quantile = NormalDist().inv_cdf(0.975)
    if of_seeds > 0:
        quantile = stdtrit((seeds - 1) * (total / of_seeds) ** 2, 0.975)
    half = quantile * np.sqrt(total)
    return max(center - half, -1.0), min(center + half, 1.0)
