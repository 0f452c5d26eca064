"""Every figure of the study.

A `plot_…` function takes data and an Axes and returns the Axes; a `figure_…` function takes the frames of
`results/<study>/` and returns a whole Figure at print size; `save_figure` alone writes. Nothing here needs torch, and
nothing keeps state in pyplot.
"""

from fer_utils.plots.architecture import figure_architecture, plot_architecture
from fer_utils.plots.audit import (
    figure_agreement,
    figure_duplicates,
    figure_mean_faces,
    figure_weights,
    plot_duplicates,
    plot_votes,
    plot_weights,
)
from fer_utils.plots.browsing import figure_division, figure_sentence, figure_tiles, plot_division
from fer_utils.plots.claims import figure_claims, plot_claims
from fer_utils.plots.confusion import figure_confusions, plot_confusion
from fer_utils.plots.counts import figure_counts_beside
from fer_utils.plots.curves import figure_learning_curves, plot_learning_curves
from fer_utils.plots.describing import (
    describe_architecture,
    describe_claims,
    describe_confusions,
    describe_counts,
    describe_curves,
    describe_gain,
    describe_published,
    describe_ranking,
    describe_rare,
    describe_tradeoff,
)
from fer_utils.plots.embedding import figure_distances, figure_plane, plot_distances, plot_plane
from fer_utils.plots.evaluation import (
    figure_class_curves,
    figure_confusion_counts,
    figure_reliability,
    plot_class_curves,
    plot_reliability,
)
from fer_utils.plots.faces import (
    figure_class_counts,
    figure_identities,
    figure_samples,
    plot_class_counts,
    plot_identities,
    plot_samples,
)
from fer_utils.plots.gain import figure_gain, plot_gain
from fer_utils.plots.gallery import figure_gallery, figure_overlays
from fer_utils.plots.overlay import plot_overlay
from fer_utils.plots.playground import (
    figure_center_steps,
    figure_playground,
    figure_printed_sign,
    plot_embedding,
    plot_recall,
)
from fer_utils.plots.published import figure_published_scatter, plot_published_scatter
from fer_utils.plots.ranking import figure_ranking, plot_ranking
from fer_utils.plots.rare import figure_rare_recall, plot_rare_recall
from fer_utils.plots.recognised import figure_face, figure_picture, figure_recognised, plot_boxes, plot_probabilities
from fer_utils.plots.run import figure_confusion, figure_features, plot_features
from fer_utils.plots.saving import save_figure
from fer_utils.plots.showing import describe
from fer_utils.plots.style import LOSS_COLORS, LOSS_MARKERS, new_figure, style
from fer_utils.plots.tradeoff import figure_tradeoff, plot_tradeoff
from fer_utils.plots.training import figure_training, plot_history, plot_recalls
from fer_utils.plots.variants import figure_diagnostics, figure_variants, plot_variants
from fer_utils.plots.verification import figure_verification, plot_roc, plot_similarities

__all__ = [
    "LOSS_COLORS",
    "LOSS_MARKERS",
    "describe",
    "describe_architecture",
    "describe_claims",
    "describe_confusions",
    "describe_counts",
    "describe_curves",
    "describe_gain",
    "describe_published",
    "describe_ranking",
    "describe_rare",
    "describe_tradeoff",
    "figure_agreement",
    "figure_architecture",
    "figure_center_steps",
    "figure_claims",
    "figure_class_counts",
    "figure_class_curves",
    "figure_confusion",
    "figure_confusion_counts",
    "figure_confusions",
    "figure_counts_beside",
    "figure_diagnostics",
    "figure_distances",
    "figure_division",
    "figure_duplicates",
    "figure_face",
    "figure_features",
    "figure_gain",
    "figure_gallery",
    "figure_identities",
    "figure_learning_curves",
    "figure_mean_faces",
    "figure_overlays",
    "figure_picture",
    "figure_plane",
    "figure_playground",
    "figure_printed_sign",
    "figure_published_scatter",
    "figure_ranking",
    "figure_rare_recall",
    "figure_recognised",
    "figure_reliability",
    "figure_samples",
    "figure_sentence",
    "figure_tiles",
    "figure_tradeoff",
    "figure_training",
    "figure_variants",
    "figure_verification",
    "figure_weights",
    "new_figure",
    "plot_architecture",
    "plot_boxes",
    "plot_claims",
    "plot_class_counts",
    "plot_class_curves",
    "plot_confusion",
    "plot_distances",
    "plot_division",
    "plot_duplicates",
    "plot_embedding",
    "plot_features",
    "plot_gain",
    "plot_history",
    "plot_identities",
    "plot_learning_curves",
    "plot_overlay",
    "plot_plane",
    "plot_probabilities",
    "plot_published_scatter",
    "plot_ranking",
    "plot_rare_recall",
    "plot_recall",
    "plot_recalls",
    "plot_reliability",
    "plot_roc",
    "plot_samples",
    "plot_similarities",
    "plot_tradeoff",
    "plot_variants",
    "plot_votes",
    "plot_weights",
    "save_figure",
    "style",
]
