"""The paper's own numbers: checked against each other, and what its comparisons can bear."""

from statistics import NormalDist

import numpy as np
import pandas as pd

from fer_utils.core import EXPRESSIONS, paper

# What the paper concludes from its accuracies: pairs of models, the one said to be better first.
CLAIMS = {
    "weighted cluster against weighted softmax": [(5, 3), (10, 8), (15, 13), (20, 18)],
    "weighted cluster against center + weighted softmax": [(5, 4), (10, 9), (15, 14), (20, 19)],
    "weighted cluster against softmax": [(5, 1), (10, 6), (15, 11), (20, 16)],
    "softmax against center + softmax": [(1, 2), (6, 7), (11, 12), (16, 17)],
    "pre-trained against from scratch, SE-ResNet-50": [(n + 5, n) for n in range(1, 6)],
    "SE-ResNet-50 against ResNet-50, pre-trained": [(n, n + 10) for n in range(6, 11)],
}


def published_claims() -> pd.DataFrame:
    """The paper's comparisons of accuracies, unpaired, for `plot_differences`."""
    pairs = [(claim, *pair) for claim, own in CLAIMS.items() for pair in own]
    a, b = (np.array([paper.MODELS[pair[side]].accuracy for pair in pairs]) for side in (1, 2))
    error = np.sqrt((a * (1 - a) + b * (1 - b)) / sum(paper.TEST_COUNTS))
    half = NormalDist().inv_cdf(0.975) * error
    names = [f"{model} − {against}" for _, model, against in pairs]
    table = pd.DataFrame({"heading": [pair[0] for pair in pairs], "row": names})
    return table.assign(difference=a - b, low=a - b - half, high=a - b + half)


def audit_paper() -> pd.DataFrame:
    """What text and tables say of the same thing: printed, computed, and whether they agree."""
    models, counts = paper.MODELS, dict(zip(EXPRESSIONS, paper.TRAINING_COUNTS, strict=True))
    total = sum(counts.values())
    kappas = [abs(m.kappa - (m.accuracy - 1 / 8) / (7 / 8)) < 2e-4 for m in models.values()]
    rows = [
        ("Table 3", "training images", 283_651, total),
        ("Section 4.1", "happy before the split", 134_915, counts["happy"] + 1000),
        ("Section 4.1", "contempt before the split", 4_250, counts["contempt"] + 1000),
        ("Section 1", "share of contempt (%)", 1.2, round(100 * counts["contempt"] / total, 1)),
        ("Eq. 6", "smallest class", "disgust", min(counts, key=counts.get)),
        ("Section 4.4", "accuracy of model 7 (%)", 46.07, round(100 * models[7].accuracy, 2)),
        ("Section 4.4", "model with the highest AUC", 10, max(models, key=lambda n: models[n].auc)),
        ("Tables 5, 6", "models with multi-class kappa, (acc − ⅛) / ⅞", 20, sum(kappas)),
    ]
    for old, new, name, printed in (
        (6, 10, "contempt", 1000), (6, 10, "disgust", 150),
        (16, 20, "contempt", 500), (16, 20, "disgust", 150),
    ):  # fmt: skip
        gain = round(100 * (paper.RECALLS[new][name] / paper.RECALLS[old][name] - 1))
        rows.append(("Section 4.4", f"gain of {name}, model {old} to {new} (%)", printed, gain))
    for claim, pairs in CLAIMS.items():
        ahead = sum(models[a].accuracy > models[b].accuracy for a, b in pairs)
        rows.append(("Section 4.4", f"{claim}: ahead, of {len(pairs)} pairs", len(pairs), ahead))
    table = pd.DataFrame(rows, columns=["where", "what", "printed", "computed"])
    return table.assign(agrees=["yes" if a == b else "no" for _, _, a, b in rows])
