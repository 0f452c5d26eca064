"""How far the taggers of a dataset agree, and the accuracy that this leaves within reach."""

import numpy as np
import pandas as pd

from fer_utils.datasets.votes import VOTE_COLUMNS
from fer_utils.expressions import NUM_CLASSES

PANELS = 2_000  # second panels drawn for each pattern of votes


def measure_agreement(manifest: pd.DataFrame, seed: int = 0) -> dict | None:
    """Agreement of the taggers who voted on each image.

    Only votes for the eight expressions count, and only of images with at least two of them. What a reader keeps has
    passed its label rule: on the images that a majority rule drops, taggers agree less.

    A *predictor* answers with one class an image. The best possible one knows, for each image, how a very large panel
    would vote, and answers with its favourite. No model, however good, can be expected to reach more against labels
    that people like these taggers gave.

    Args:
        manifest: a manifest with `votes_neutral` … `votes_contempt`.
        seed: of the panels drawn.

    Returns:
        None without such votes, else a dict:

        - `images`: how many have two votes or more; `votes`: mean votes of each.
        - `alpha`: Krippendorff's alpha, nominal: 1 for perfect agreement, 0 for chance; NaN where all votes are for
          one class.
        - `pairwise`: chance that two different taggers of an image agree.
        - `one_more_low`, `one_more_high`: bounds of the best predictor's accuracy against one more tagger. Low: each
          vote is predicted by the favourite of the image's other votes (ties count in shares), who know less than a
          large panel. High: the mean share of the image's favourite, which is too high since the favourite was chosen
          by these very votes.
        - `second_panel`: chance that a second panel, as many votes drawn from the image's own, has the same favourite
          (ties count in shares): about the best accuracy against labels that are favourites of so few votes. Like
          `one_more_high` it takes the votes at hand for those of a large panel, so it is rather too high than too low.

    Example:
        >>> votes = [[9, 1, 0, 0, 0, 0, 0, 0], [0, 5, 5, 0, 0, 0, 0, 0]]
        >>> agreement = measure_agreement(pd.DataFrame(votes, columns=VOTE_COLUMNS))
        >>> agreement["images"], round(agreement["pairwise"], 3), agreement["one_more_high"]
        (2, 0.622, 0.7)
    """
    if not set(VOTE_COLUMNS) <= set(manifest):
        return None
    votes = manifest[list(VOTE_COLUMNS)].fillna(0).to_numpy(dtype=int)  # (N, 8)
    votes = votes[votes.sum(axis=1) >= 2]
    if len(votes) == 0:
        return None
    # Only the numbers matter to all but alpha, not for which class: a few hundred patterns stand for all images.
    patterns, images = np.unique(-np.sort(-votes, axis=1), axis=0, return_counts=True)  # (P, 8), largest first
    totals = patterns.sum(axis=1)
    agreeing = (patterns * (patterns - 1)).sum(axis=1) / (totals * (totals - 1))
    measures = {
        "pairwise": agreeing,
        "one_more_low": np.array([_predicted_by_others(pattern) for pattern in patterns]),
        "one_more_high": patterns[:, 0] / totals,
        "second_panel": _same_favourite(patterns, seed),
    }
    means = {name: float(np.average(values, weights=images)) for name, values in measures.items()}
    return {"images": len(votes), "votes": float(votes.sum(axis=1).mean()), "alpha": _alpha(votes)} | means


def votes_by_label(manifest: pd.DataFrame) -> np.ndarray:
    """Votes by the image's label: what people take each expression for.

    Args:
        manifest: a manifest with `votes_neutral` … `votes_contempt`.

    Returns:
        float array (8, 8): the sum, over the images of a label (rows), of each image's shares of votes (columns), so
        that a row adds up to its images.

    Example:
        >>> votes = pd.DataFrame([[6, 0, 4, 0, 0, 0, 0, 0]], columns=VOTE_COLUMNS)
        >>> votes_by_label(votes.assign(label=0))[0].tolist()
        [0.6, 0.0, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    votes = manifest[list(VOTE_COLUMNS)].fillna(0).to_numpy(dtype=float)
    labels, totals = manifest["label"].to_numpy(), votes.sum(axis=1)
    counted = (totals > 0) & (labels >= 0)
    shares = votes[counted] / totals[counted, None]
    return np.stack([shares[labels[counted] == label].sum(axis=0) for label in range(NUM_CLASSES)])


def _alpha(votes: np.ndarray) -> float:
    import krippendorff

    if np.count_nonzero(votes.any(axis=0)) < 2:
        return float("nan")
    return float(krippendorff.alpha(value_counts=votes, level_of_measurement="nominal"))


def _predicted_by_others(pattern: np.ndarray) -> float:
    """Share of the votes that the favourite of the other votes foretells; a favourite among equals counts in part."""
    right = 0.0
    for label in np.flatnonzero(pattern):
        others = pattern - np.eye(len(pattern), dtype=int)[label]
        favourites = others == others.max()
        right += pattern[label] * favourites[label] / favourites.sum()
    return right / pattern.sum()


def _same_favourite(patterns: np.ndarray, seed: int) -> np.ndarray:
    """(P, 8), largest first → (P,) chance that as many votes, drawn from a pattern's own, favour its first class."""
    random = np.random.default_rng(seed)
    chances = []
    for pattern in patterns:
        panels = random.multinomial(pattern.sum(), pattern / pattern.sum(), size=PANELS)  # (2000, 8)
        favourites = panels == panels.max(axis=1, keepdims=True)
        chances.append((favourites[:, 0] / favourites.sum(axis=1)).mean())
    return np.array(chances)
