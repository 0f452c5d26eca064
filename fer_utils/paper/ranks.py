"""Which loss comes first, over bases, starts and seeds: average ranks with Nemenyi's critical difference."""

import math

import pandas as pd

from fer_utils.errors import check_choice
from fer_utils.paper.values import BASES, LOSSES

# The studentised range's 95 % quantile at infinite degrees of freedom, over √2, by the number of losses.
NEMENYI = {2: 1.960, 3: 2.344, 4: 2.569, 5: 2.728}
BLOCK = ["base", "pretrained", "seed"]


def rank_losses(runs: pd.DataFrame, metric: str = "macro_recall") -> pd.DataFrame:
    """The losses' ranks in every block of a base, a start and a seed that ran all of the study's losses.

    Args:
        runs: a study's `runs.csv`.
        metric: the higher, the better; equal ones share their ranks' mean.

    Returns:
        DataFrame, a row a complete block, index `base`, `pretrained`, `seed`; a column a loss with ranks from 1, the
        best; no rows where no block has two losses or more. `attrs["incomplete"]` lists the blocks left out.

    Raises:
        InputError: for an unknown metric.

    >>> runs = pd.DataFrame({"loss": ["softmax", "weighted_cluster"], "macro_recall": [0.4, 0.5]})
    >>> rank_losses(runs.assign(base="resnet50", pretrained=True, seed=0)).values.tolist()
    [[2.0, 1.0]]
    """
    check_choice("metric", metric, runs.columns)
    scores = runs.pivot(index=BLOCK, columns="loss", values=metric)
    scores = scores[[loss for loss in LOSSES if loss in scores]]
    complete = scores.dropna() if scores.shape[1] > 1 else scores.iloc[:0]
    ranks = complete.rank(axis=1, ascending=False)
    ranks.attrs["incomplete"] = list(scores.index.difference(complete.index))
    return ranks


def say_blocks(ranks: pd.DataFrame) -> str:
    """What the ranks rest on, and what was left out.

    Args:
        ranks: what `rank_losses` returns.

    >>> ranks = pd.DataFrame({"softmax": [], "weighted_cluster": []})
    >>> ranks.attrs["incomplete"] = [("resnet50", True, 0)]
    >>> say_blocks(ranks)
    '0 blocks of a base, start and seed ran all the losses. Left out: ResNet-50 pre-trained, seed 0.'
    """
    incomplete = [
        f"{BASES[base]} {'pre-trained' if pretrained else 'from scratch'}, seed {seed}"
        for base, pretrained, seed in ranks.attrs["incomplete"]
    ]
    text = f"{len(ranks)} block{'' if len(ranks) == 1 else 's'} of a base, start and seed ran all the losses."
    return f"{text} Left out: {'; '.join(incomplete)}." if incomplete else text


def critical_difference(losses: int, blocks: int) -> float:
    """How far two average ranks must be apart to differ at the 5 % level (Nemenyi): q·√(k(k + 1) / 6N).

    Args:
        losses: k, 2 to 5.
        blocks: N, taken as independent. Seeds of one base on one test set are less than that, so the true difference
            is rather larger (Demšar 2006, section 3.2.2).

    >>> round(critical_difference(5, 12), 2)
    1.76
    """
    check_choice("number of losses", losses, NEMENYI)
    return NEMENYI[losses] * math.sqrt(losses * (losses + 1) / (6 * blocks))


def friedman_p(ranks: pd.DataFrame) -> float:
    """Friedman's test: how likely average ranks are so unequal if all losses are alike.

    Args:
        ranks: what `rank_losses` returns. Of few blocks the χ² approximation is rough.

    >>> ranks = pd.DataFrame({"a": [1.0] * 6, "b": [2.0] * 6})
    >>> round(friedman_p(ranks), 3)
    0.014
    """
    from scipy.special import chdtrc  # a tenth of the time that scipy.stats takes to load

    blocks, losses = ranks.shape
    off = ranks - (losses + 1) / 2
    spread = blocks * (off.mean() ** 2).sum()
    within = (off**2).to_numpy().sum() / (blocks * (losses - 1))  # ties make it less
    return float(chdtrc(losses - 1, spread / within)) if within else 1.0


def printed_ranks(ranks: pd.DataFrame) -> pd.DataFrame:
    """Average ranks as a table, the best first.

    >>> printed_ranks(pd.DataFrame({"softmax": [2.0, 2.0], "weighted_cluster": [1.0, 1.0]})).iloc[0].tolist()
    ['weighted cluster + weighted softmax', '1.00', '2 of 2', '1.39']
    """
    blocks, losses = ranks.shape
    means = ranks.mean().sort_values(kind="stable")
    return pd.DataFrame({
        "Loss": [LOSSES[loss] for loss in means.index],
        "Average rank": [f"{value:.2f}" for value in means],
        "First in": [f"{int((ranks[loss] == 1).sum())} of {blocks}" for loss in means.index],
        "Critical difference": f"{critical_difference(losses, blocks):.2f}",
    })  # fmt: skip
