"""What costs no training: logit adjustment, temperature, and curves of accuracy and macro recall.

All from stored log-probabilities (N, 8), or (S, N, 8) of seeds, where −inf stands for probability
0 (float16 ends at −65504). Logits do as well.
"""

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from fer_utils.core import NUM_CLASSES, InputError, require
from fer_utils.metrics.intervals import describe_sample, draw_weights, find_kinds
from fer_utils.metrics.scores import check_labels

TAUS = np.linspace(0, 1.5, 61)
TEMPERATURES = (0.05, 20.0)
EQUAL = 0.003  # accuracies so near count as equal


class Fitted(float):
    """A number found in a range; `bound`: at an end of it, so that the best may lie beyond."""

    bound = False


def logit_adjust(log_probabilities, counts, tau: float) -> np.ndarray:
    """Post-hoc logit adjustment (Menon et al. 2021): log p − τ log π, renormalised.

    π are the shares of `counts`, training images (8,), or (N, 8) where images come from several
    folds; a class without any is not lifted. τ = 0 changes nothing, 1 takes the prior out.
    """
    return log_softmax(_adjusted(log_probabilities, counts, tau), axis=-1)


def apply_temperature(log_probabilities, temperature: float) -> np.ndarray:
    """log p / T, renormalised: predictions stay; above 1 they are less sure."""
    require(temperature > 0, "a temperature above 0", temperature)
    return log_softmax(_checked(log_probabilities) / temperature, axis=-1)


def probabilities(log_probabilities) -> np.ndarray:
    """Probabilities (…, 8) that sum to 1, of stored ones that hardly do: float16, −inf included."""
    found = np.exp(np.asarray(log_probabilities, dtype=np.float64))
    return found / found.sum(axis=-1, keepdims=True)


def fit_temperature(log_probabilities, labels) -> Fitted:
    """The temperature 0.05–20 of lowest negative log-likelihood, for validation images (N, 8).

    Probability 0 counts as the least of float16: it may be the true class's, whatever the
    temperature.
    """
    from scipy.optimize import minimize_scalar  # here: slow to load, and few need it

    log_probabilities = np.maximum(_checked(log_probabilities), np.finfo(np.float16).min)
    labels = check_labels(labels, "labels", len(log_probabilities))

    def loss(log_temperature: float) -> float:
        scaled = apply_temperature(log_probabilities, np.exp(log_temperature))
        return -scaled[np.arange(len(labels)), labels].mean()

    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded").x
    best = min((low, high, found), key=loss)  # the search never quite reaches an end
    fitted = Fitted(np.exp(best))
    fitted.bound = best in (low, high)
    return fitted


def operating_curve(log_probabilities, labels, counts, taus=TAUS) -> pd.DataFrame:
    """`accuracy` and `macro_recall`, means over seeds, as `tau` of logit adjustment rises."""
    guesses = _predict(log_probabilities, counts, taus)
    labels = check_labels(labels, "labels", guesses.shape[-1])
    accuracy, recall = _score(labels, guesses, np.ones((len(labels), 1)))
    return pd.DataFrame({"tau": taus, "accuracy": accuracy[:, 0], "macro_recall": recall[:, 0]})


def choose_tau(log_probabilities, labels, counts, taus=TAUS, within=EQUAL) -> Fitted:
    """The τ of highest macro recall on validation images; of equals the smallest.

    It may be at most `within` (a fraction) less accurate than the first: so thousands of images
    decide, not a few rare ones.
    """
    curve = operating_curve(log_probabilities, labels, counts, taus)
    kept = curve["accuracy"] >= curve["accuracy"].iloc[0] - within
    best = curve["macro_recall"].where(kept, -1).argmax()
    tau = Fitted(curve["tau"].iloc[best])
    tau.bound = best in (0, len(curve) - 1)
    return tau


def compare_at_equal_accuracy(labels, free, counts, other, taus=TAUS, **draws) -> dict:
    """Macro recall of a method less that of the free line, softmax and τ, at equal accuracy.

    In every sample of images the line is scored anew and read at the method's accuracy there, see
    `read_curve`: the interval also holds the doubt of where accuracies are equal.

    `free`, `counts` and `taus` are the line's, as of `operating_curve`, `other` (log-)probabilities
    of the method, `labels` and `draws` as of `bootstrap`.

    Returns:
        dict: `accuracy` and `macro_recall` of the method; `tau`, `free_accuracy` and `free` (macro
        recall) of the line; `equal`: whether the accuracies are, within 0.3 points;
        `difference`, its 95 % interval `low`, `high` and `p_value`.
    """
    line, own = _predict(free, counts, taus), _predict(other, np.ones(NUM_CLASSES), [0])
    labels = check_labels(labels, "labels", line.shape[-1])
    kinds = find_kinds([labels, *line.reshape(-1, len(labels)), *own[0]])
    kept, blocks = draw_weights(labels, kinds, **draws)
    labels, line, own = labels[kept], line[..., kept], own[..., kept]
    parts = []
    for weights in blocks:
        (accuracy,), (recall,) = _score(labels, own, weights)
        parts.append([accuracy, recall, *read_curve(*_score(labels, line, weights), accuracy)])
    parts = np.concatenate(parts, axis=1)
    names = ("accuracy", "macro_recall", "free", "tau", "free_accuracy")
    found = dict(zip(names, parts[:, 0].tolist(), strict=True))
    found["tau"] = float(np.interp(found["tau"], np.arange(len(taus)), taus))
    found["equal"] = abs(found["free_accuracy"] - found["accuracy"]) <= EQUAL
    apart = parts[1] - parts[2]
    return found | {"difference": float(apart[0])} | describe_sample(apart[1:])


def read_curve(accuracy, recall, wanted) -> list[np.ndarray]:
    """Recall, place and accuracy (R,) of curves (T, R) at the last place as accurate as `wanted`.

    They are linear between their points. Near its peak accuracy is flat, and the first τ that falls
    below would be left to chance. An accuracy out of reach is read at the nearest end.
    """
    places = np.broadcast_to(np.arange(len(accuracy))[:, None], accuracy.shape)
    wanted = np.minimum(wanted, accuracy.max(axis=0))
    right = accuracy >= wanted - 1e-9  # the same hits, summed in another order
    last = np.where(right, places, 0).max(axis=0)
    ends = np.stack([last, np.minimum(last + 1, len(accuracy) - 1)])
    start, end = np.take_along_axis(accuracy, ends, axis=0)
    step = (start - wanted) / np.where(start > end, start - end, 1)
    found = (np.take_along_axis(curve, ends, axis=0) for curve in (recall, places, accuracy))
    return [start + step * (end - start) for start, end in found]


def _predict(log_probabilities, counts, taus) -> np.ndarray:
    guesses = [_adjusted(log_probabilities, counts, tau).argmax(axis=-1) for tau in taus]
    return np.array(guesses, np.int8).reshape(len(taus), -1, guesses[0].shape[-1])


def _score(labels, guesses, weights) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy and macro recall (T, R), means over seeds, of (T, S, N) under weights (N, R)."""
    hits, recalls = 0, []
    for label in np.unique(labels):
        own = labels == label
        right = (guesses[..., own] == label).mean(axis=1) @ weights[own]
        hits = hits + right
        recalls.append(right / weights[own].sum(axis=0))
    return hits / weights.sum(axis=0), np.mean(recalls, axis=0)


def _adjusted(log_probabilities, counts, tau) -> np.ndarray:
    counts = np.asarray(counts, dtype=float)
    if counts.shape[-1:] != (NUM_CLASSES,) or not (counts >= 0).all():
        raise InputError(f"expected training images of 8 classes, found {counts.tolist()}")
    shares = counts / counts.sum(axis=-1, keepdims=True)
    return _checked(log_probabilities) - tau * np.log(np.where(shares > 0, shares, 1))


def _checked(log_probabilities) -> np.ndarray:
    values = np.asarray(log_probabilities, dtype=float)
    fits = values.ndim in (2, 3) and values.shape[-1] == NUM_CLASSES
    require(fits, "log-probabilities (N, 8) or (S, N, 8)", values.shape)
    wrong = ~np.isfinite(values.max(axis=-1))  # NaN or inf somewhere, or −inf throughout
    require(not wrong.any(), "log-probabilities", f"{wrong.sum()} rows of none")
    return values
