"""Tables and figures of the data, of a run, of a study and of the paper; pages and model cards.

A `plot_…` takes data and an Axes and returns the Axes, a `figure_…` lays out a whole figure.
"""

# ruff: noqa: F401, I001
from fer_utils.report.cases import Case, join_runs, panels, read_cases
from fer_utils.report.data_figures import figure_class_counts, figure_identities, figure_samples
from fer_utils.report.data_figures import plot_class_counts, plot_duplicates, plot_votes
from fer_utils.report.model_card import model_card, write_model_card
from fer_utils.report.page import StudyPage, to_markdown
from fer_utils.report.picture_figures import figure_cards, figure_gallery, figure_overlays
from fer_utils.report.picture_figures import overlay, plot_boxes, plot_expressions
from fer_utils.report.picture_figures import plot_picture, plot_probabilities
from fer_utils.report.playground_figures import figure_playground, plot_embedding
from fer_utils.report.run_figures import figure_class_curves, figure_confusions, figure_training
from fer_utils.report.run_figures import plot_confusion, plot_distances, plot_plane
from fer_utils.report.run_figures import plot_reliability, plot_roc
from fer_utils.report.study_figures import EMBEDDING, LEARNING, at_chance, figure_architecture
from fer_utils.report.study_figures import figure_curves
from fer_utils.report.study_figures import figure_tradeoff, plot_differences, plot_tradeoff
from fer_utils.report.style import draw, new_figure, save_figure
from fer_utils.report.tables import add_gains, add_verdict, class_gains, compare_counts
from fer_utils.report.tables import compare_networks, compare_with_published, confusions
from fer_utils.report.tables import format_differences, format_scores
from fer_utils.report.verdict import at_equal_accuracy, operating_curves, paired_claims
from fer_utils.report.verdict import say_calibration, say_protocol, say_verdict, score_table
