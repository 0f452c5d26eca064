"""What the paper concludes from its accuracies, with the uncertainty that 4,000 test images and one run each leave."""

import math
from statistics import NormalDist

import pandas as pd

from fer_utils.paper.values import MODELS, TEST_COUNTS

# Claim → pairs of models, the one said to be better first.
CLAIMS = {
    "weighted cluster against weighted softmax": [(5, 3), (10, 8), (15, 13), (20, 18)],
    "weighted cluster against center + weighted softmax": [(5, 4), (10, 9), (15, 14), (20, 19)],
    "weighted cluster against softmax": [(5, 1), (10, 6), (15, 11), (20, 16)],
    "softmax against center + softmax": [(1, 2), (6, 7), (11, 12), (16, 17)],
    "pre-trained against scratch, SE-ResNet-50": [(6, 1), (7, 2), (8, 3), (9, 4), (10, 5)],
    "SE-ResNet-50 against ResNet-50, both pre-trained": [(6, 16), (7, 17), (8, 18), (9, 19), (10, 20)],
}


def published_claims(confidence: float = 0.95) -> pd.DataFrame:
    """The paper's comparisons of accuracies, each with its interval.

    The two shares are taken as independent, since the paper prints no predictions: the interval is difference ±
    z·√(p₁(1 − p₁)/n + p₂(1 − p₂)/n), n = 4,000. On the same images it would be narrower; the spread over seeds, of
    which the paper has one, would widen it.

    Args:
        confidence: 0–1, exclusive.

    Returns:
        DataFrame, a row a pair: `claim`, `model`, `against`, `difference`, `low`, `high` (fractions) and `outside`
        (whether the interval lies above 0).

    >>> published_claims().groupby("claim", sort=False)["outside"].sum().iloc[:3].tolist()
    [0, 0, 4]
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rows = []
    for claim, pairs in CLAIMS.items():
        for model, against in pairs:
            a, b = MODELS[model].accuracy, MODELS[against].accuracy
            half = z * math.sqrt((a * (1 - a) + b * (1 - b)) / sum(TEST_COUNTS))
            row = {"claim": claim, "model": model, "against": against, "difference": a - b}
            rows.append(row | {"low": a - b - half, "high": a - b + half, "outside": a - b > half})
    return pd.DataFrame(rows)


def printed_published_claims(claims: pd.DataFrame) -> pd.DataFrame:
    """`published_claims` as a table to read, differences in points.

    >>> printed_published_claims(published_claims()).iloc[1].tolist()
    ['', '10 − 8', '+0.98 [−1.17, +3.13]', 'no']
    """
    rows = []
    for claim, group in claims.groupby("claim", sort=False):
        for place, row in enumerate(group.itertuples()):
            numbers = [f"{100 * value:+.2f}".replace("-", "−") for value in (row.difference, row.low, row.high)]
            rows.append({
                "Claim": "" if place else claim,
                "Models": f"{row.model} − {row.against}",
                "Accuracy": f"{numbers[0]} [{numbers[1]}, {numbers[2]}]",
                "More than noise": "yes" if row.outside else "no",
            })  # fmt: skip
    return pd.DataFrame(rows)
