"""The paper's six metrics on the eight expressions and more, their intervals, and paired comparisons of runs.

The paper says that all metrics but accuracy are "calculated in a binary-class manner". Its own numbers say otherwise:
all twenty published kappas equal (accuracy − 1/8) / (7/8), which is the multi-class kappa on a balanced test set. So
here accuracy, kappa and alpha are multi-class, and F1, AUC and AUC-PR are one-vs-rest averages over the classes;
`summarise` gives the one-vs-rest kappa and alpha beside them.

scikit-learn and scipy are imported where they are used: they take a second to load, and tables and figures, which need
only the intervals, go without.
"""

from fer_utils.metrics.calibration import calibration_error, reliability
from fer_utils.metrics.classes import per_class, small_classes
from fer_utils.metrics.confusion import confusion_rows, count_confusion, macro_recall, recall_per_class
from fer_utils.metrics.evaluating import evaluate
from fer_utils.metrics.intervals import wilson_interval
from fer_utils.metrics.pairs import compare_paired, compare_recalls, macro_recall_difference, mcnemar
from fer_utils.metrics.resampling import bootstrap
from fer_utils.metrics.seeds import holm, over_seeds
from fer_utils.metrics.verdicts import amount, p_text, verdict
from fer_utils.metrics.weighted import METRICS, summarise

__all__ = [
    "METRICS",
    "amount",
    "bootstrap",
    "calibration_error",
    "compare_paired",
    "compare_recalls",
    "confusion_rows",
    "count_confusion",
    "evaluate",
    "holm",
    "macro_recall",
    "macro_recall_difference",
    "mcnemar",
    "over_seeds",
    "p_text",
    "per_class",
    "recall_per_class",
    "reliability",
    "small_classes",
    "summarise",
    "verdict",
    "wilson_interval",
]
