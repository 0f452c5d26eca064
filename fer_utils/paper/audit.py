"""The paper's own numbers checked against one another."""

import math
from statistics import NormalDist

import pandas as pd

from fer_utils.expressions import EXPRESSIONS
from fer_utils.paper.values import MODELS, RECALLS, TEST_COUNTS, TRAINING_COUNTS, VALIDATION_COUNTS


def audit_published() -> pd.DataFrame:
    """Check the published values against one another.

    Returns:
        DataFrame, a row a check: `where` (table, equation or section), `check` (what must agree), `printed`,
        `computed` and their `unit`, `holds` (bool), `remark`.

    >>> checks = audit_published()
    >>> int(checks["holds"].sum()), len(checks)
    (24, 31)
    """
    rows = [*_kappa_identity(), *_counts(), *_text(), *_significance()]
    return pd.DataFrame(rows, columns=["where", "check", "printed", "computed", "unit", "holds", "remark"])


def _kappa_identity():
    for model in MODELS.values():
        # The accuracy itself is rounded; the image count behind it is not.
        correct = round(model.accuracy * sum(TEST_COUNTS))
        kappa = (correct / sum(TEST_COUNTS) - 1 / 8) / (7 / 8)
        yield (
            "Tables 5, 6",
            f"model {model.number}: kappa = (accuracy − 1/8) / (7/8)",
            round(100 * model.kappa, 2),
            round(100 * kappa, 4),
            "%",
            abs(model.kappa - kappa) < 1e-4,
            "so kappa is multi-class, not binary as section 4.4 says",
        )


def _counts():
    total = sum(TRAINING_COUNTS)
    counts = dict(zip(EXPRESSIONS, TRAINING_COUNTS, strict=True))
    smallest = min(counts, key=counts.get)
    happy, contempt = (counts[name] + 1000 for name in ("happy", "contempt"))
    yield "Table 3", "training images in all", 283_651, total, "images", total == 283_651, ""
    test = sum(TEST_COUNTS)
    yield "Table 3", "test images in all", 4000, test, "images", test == 4000 == sum(VALIDATION_COUNTS), "as validation"
    yield "Section 4.1", "happy before the split", 134_915, happy, "images", happy == 134_915, "500 + 500 held out"
    yield "Section 4.1", "contempt before the split", 4250, contempt, "images", contempt == 4250, "500 + 500 held out"
    yield (
        "Equation 6",
        "N_min, the smallest class",
        counts["disgust"],
        counts[smallest],
        "images",
        smallest == "disgust",
        f"the text says disgust; Table 3 says {smallest}",
    )
    share = 100 * counts["contempt"] / total
    yield "Section 1", "contempt's share", 1.2, round(share, 2), "%", abs(share - 1.2) <= 0.05, "of the training images"


def _text():
    accuracy = round(100 * MODELS[7].accuracy, 2)
    yield (
        "Section 4.4",
        "accuracy of model 7",
        46.07,
        accuracy,
        "%",
        accuracy == 46.07,
        "46.07 is model 2's in Table 5",
    )
    for name, printed in (("contempt", 1000), ("disgust", 150)):
        before, after = RECALLS[6][name], RECALLS[10][name]
        gain = round(100 * (after - before) / before)
        remark = f'"improved by" is {100 * after / before:.0f} % of the old value'
        yield "Section 4.4", f"gain in recall of {name}, model 6 to 10", printed, gain, "%", gain == printed, remark
    best = max(MODELS.values(), key=lambda model: model.auc)
    remark = f"model {best.number} has the highest AUC, though model 10 is said to lead in all metrics"
    yield "Section 4.4", "AUC of the best model", 91.82, round(100 * best.auc, 2), "%", best.number == 10, remark


def _significance():
    n = sum(TEST_COUNTS)
    new, old = MODELS[10].accuracy, MODELS[8].accuracy
    error = math.sqrt((new * (1 - new) + old * (1 - old)) / n)
    needed = NormalDist().inv_cdf(0.975) * error
    yield (
        "Section 4.4",
        "model 10 above model 8 by more than 1.96 standard errors",
        round(100 * (new - old), 2),
        round(100 * needed, 2),
        "points",
        new - old > needed,
        f"one run each, {n:,} images, unpaired; standard error of model 10: {100 * math.sqrt(new * (1 - new) / n):.2f}",
    )
