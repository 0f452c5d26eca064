"""The paper's own numbers checked against one another."""

import math

import pandas as pd

from fer_utils.expressions import EXPRESSIONS
from fer_utils.paper.claims import published_claims
from fer_utils.paper.values import MODELS, RECALLS, TEST_COUNTS, TRAINING_COUNTS, VALIDATION_COUNTS


def audit_published() -> pd.DataFrame:
    """Check the published values against one another.

    Returns:
        DataFrame, a row a check: `where` (table, equation or section), `check` (what must agree), `printed`,
        `computed` and their `unit`, `holds` (bool), `remark`.

    >>> checks = audit_published()
    >>> int(checks["holds"].sum()), len(checks)
    (26, 39)
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
    remark = "it shows the pre-trained softmax models, which are 6 and 16, not 1 and 6"
    yield "Section 4.4", "first model of Fig. 6", 1, 6, "model number", False, remark
    for old, new, gains in ((6, 10, {"contempt": 1000, "disgust": 150}), (16, 20, {"contempt": 500, "disgust": 150})):
        for name, printed in gains.items():
            before, after = RECALLS[old][name], RECALLS[new][name]
            gain = round(100 * (after - before) / before)
            remark = f'"improved by" is {100 * after / before:.0f} % of the old value'
            check = f"gain in recall of {name}, model {old} to {new}"
            yield "Section 4.4", check, printed, gain, "%", gain == printed, remark
    best = max(MODELS.values(), key=lambda model: model.auc)
    remark = f"model {best.number} has the highest AUC, though model 10 is said to lead in all metrics"
    yield "Section 4.4", "AUC of the best model", 91.82, round(100 * best.auc, 2), "%", best.number == 10, remark
    lead = round(100 * (MODELS[10].accuracy - MODELS[20].accuracy), 2)
    yield "Section 4.4", "accuracy of model 10 less model 20's", 1.25, lead, "points", lead == 1.25, ""
    yield _ahead("SE-ResNet-50 above ResNet-50, same loss", [(n, n + 10) for n in range(6, 11)])
    yield _ahead("pre-trained above scratch, same loss", [(n + 5, n) for n in range(1, 6)])
    yield _ahead("center loss below the same without it", [(n, n + 1) for n in range(1, 20, 5)], [3, 8, 13, 18])
    cluster = [(n + 4, n + 2) for n in range(1, 20, 5)]
    yield _ahead("weighted cluster above weighted softmax", cluster, where="Abstract")


def _ahead(check: str, pairs, more=(), where: str = "Section 4.4"):
    """How often the accuracy of the first model of a pair is above the second's, where the text says always."""
    pairs = [*pairs, *((n, n + 1) for n in more)]
    behind = [(a, b) for a, b in pairs if MODELS[a].accuracy <= MODELS[b].accuracy]
    found = "; ".join(
        f"model {a}: {100 * MODELS[a].accuracy:.2f}, model {b}: {100 * MODELS[b].accuracy:.2f}" for a, b in behind
    )
    return where, check, len(pairs), len(pairs) - len(behind), "pairs", not behind, f"but {found}" if behind else ""


def _significance():
    claims = published_claims()
    row = claims[(claims["model"] == 10) & (claims["against"] == 8)].iloc[0]
    needed, gap = row["high"] - row["difference"], row["difference"]
    n, share = sum(TEST_COUNTS), MODELS[10].accuracy
    # Paired, only images that one model alone has right count: their share d makes the standard error √(d / n) at most.
    disagree = n * (gap / 1.96) ** 2
    yield (
        "Section 4.4",
        "model 10 above model 8 by more than 1.96 standard errors",
        round(100 * gap, 2),
        round(100 * needed, 2),
        "points",
        gap > needed,
        f"one run each, {n:,} images, unpaired (paired, it would stand out if the two were right on different images "
        f"in less than {100 * disagree:.0f} % of all); standard error of model 10: "
        f"{100 * math.sqrt(share * (1 - share) / n):.2f}",
    )


def printed_audit(audit: pd.DataFrame) -> pd.DataFrame:
    """`audit_published` as a table to read: checks that are alike and hold share a line, what fails comes first.

    >>> printed_audit(audit_published())["Holds"].value_counts().to_dict()
    {'no': 13, 'yes': 7}
    """
    kappas = audit[audit["check"].str.contains("kappa = ") & audit["holds"]]
    rest = audit.drop(kappas.index).sort_values("holds", kind="stable")
    rows = [
        {
            "Where": row.where,
            "What": row.check,
            "Printed": f"{row.printed:,g}",
            "Computed": f"{row.computed:,g}",
            "Unit": row.unit,
            "Holds": "yes" if row.holds else "no",
            "Remark": row.remark,
        }
        for row in rest.itertuples(name="Check")
    ]
    if len(kappas):
        apart = (kappas["printed"] - kappas["computed"]).abs().max()
        rows.append({
            "Where": "Tables 5, 6", "What": f"kappa = (accuracy − 1/8) / (7/8), {len(kappas)} models",
            "Printed": f"{len(kappas)}", "Computed": f"{len(kappas)}", "Unit": "models", "Holds": "yes",
            "Remark": f"within {apart:.4f} points; {kappas['remark'].iloc[0]}",
        })  # fmt: skip
    return pd.DataFrame(rows)
