"""Figure 3 beside the paper's: how unequal the classes are, here and there."""

import pandas as pd
from matplotlib.figure import Figure

from fer_utils.errors import check_choice
from fer_utils.expressions import EXPRESSIONS
from fer_utils.paper import TRAINING_COUNTS
from fer_utils.plots.faces import plot_class_counts
from fer_utils.plots.style import PAGE_WIDTH, new_figure, style


@style()
def figure_counts_beside(counts: pd.DataFrame) -> Figure:
    """Training images of each class, a panel for the study and one for the paper, each on its own axis.

    Args:
        counts: a study's `counts.csv` (columns `split`, `expression`, `images`).

    Raises:
        InputError: where it has no training split.

    >>> counts = pd.DataFrame({"split": "train", "expression": EXPRESSIONS, "images": range(1, 9)})
    >>> [ax.get_title("left") for ax in figure_counts_beside(counts).axes]
    ['(a) this study', '(b) the paper, AffectNet']
    """
    check_choice("split", "train", counts["split"].unique())
    own = counts[counts["split"] == "train"].set_index("expression")["images"].reindex(EXPRESSIONS, fill_value=0)
    figure = new_figure(PAGE_WIDTH, 2.3)
    ours, theirs = figure.subplots(1, 2)
    plot_class_counts(own.to_numpy(), ours)
    plot_class_counts(TRAINING_COUNTS, theirs)
    ours.set_title("(a) this study", loc="left")
    theirs.set_title("(b) the paper, AffectNet", loc="left")
    return figure
