"""Tables and figures of the data, of a run, of a study and of the paper; pages and model cards.

A `plot_…` takes data and an Axes and returns the Axes, a `figure_…` lays out a whole figure.
"""

# ruff: noqa: F401, I001
from fer_utils.report.charts import figure_class_counts, figure_confusions, figure_training
from fer_utils.report.charts import plot_class_counts, plot_confusion, plot_duplicates
from fer_utils.report.charts import plot_reliability, plot_roc, plot_votes
from fer_utils.report.page import StudyPage, read_verdict, say_protocol, to_markdown
from fer_utils.report.page import write_model_card
from fer_utils.report.pictures import figure_cards, figure_gallery, figure_identities
from fer_utils.report.pictures import figure_overlays, figure_samples, overlay, plot_boxes
from fer_utils.report.pictures import figure_playground, plot_embedding, plot_expressions
from fer_utils.report.pictures import plot_picture, plot_probabilities
from fer_utils.report.study_figures import EMBEDDING, LEARNING, at_chance, figure_architecture
from fer_utils.report.study_figures import figure_curves
from fer_utils.report.study_figures import figure_tradeoff, plot_differences, plot_tradeoff
from fer_utils.report.style import draw, new_figure, save_figure
from fer_utils.report.tables import add_gains, add_verdict, class_gains, compare_counts
from fer_utils.report.tables import compare_networks, compare_with_published, confusions
from fer_utils.report.tables import format_comparison, format_differences, format_scores
from fer_utils.report.verdict import at_equal_accuracy, compare, join_runs, operating_curves
from fer_utils.report.verdict import paired_claims, panels, read_cases, say_calibration
from fer_utils.report.verdict import say_verdict, score_table
