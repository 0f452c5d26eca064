"""The numbers in the figures' artists, deterministic and complete files, and no torch."""

import os
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from fer_utils import paper, plots
from fer_utils.errors import InputError
from fer_utils.expressions import COLORS, EXPRESSIONS

TEST_IMAGES = 80  # 10 a class


@pytest.fixture(scope="module")
def study():
    return make_study(range(1, 11), (0, 1, 2))


def make_study(models, seeds) -> dict[str, pd.DataFrame]:
    """A study whose softmax losses miss the rare classes, in the form of `results/<study>/`."""
    prior = np.log(np.array(paper.TRAINING_COUNTS) / sum(paper.TRAINING_COUNTS))
    labels = np.repeat(np.arange(8), TEST_IMAGES // 8)
    runs, history, predictions = [], [], []
    for number in models:
        model = paper.MODELS[number]
        for seed in seeds:
            random = np.random.default_rng(100 * number + seed)
            logits = 2 * np.eye(8)[labels] + random.normal(size=(len(labels), 8))
            logits += prior * ("weighted" not in model.loss)
            probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            name = f"model{number}-seed{seed}"
            scores = dict.fromkeys(paper.METRICS, (probabilities.argmax(axis=1) == labels).mean())
            run = {"run": name, "model": number, "base": model.base, "pretrained": model.pretrained, "loss": model.loss}
            run |= {"seed": seed, "architecture": "se_resnet14", "image_size": 48, "train_images": 400}
            runs.append(run | {"test_images": len(labels)} | scores)
            epochs = np.arange(1, 6)
            curve = {
                "train_loss": (1 + seed) / epochs,
                "validation_loss": 2 / epochs,
                "validation_accuracy": epochs / 10,
            }
            history.append(pd.DataFrame({"run": name, "epoch": epochs} | curve))
            table = pd.DataFrame(probabilities.astype(np.float32), columns=[f"p_{name}" for name in EXPRESSIONS])
            predictions.append(table.assign(run=name, image=range(len(labels)), label=labels))
    tables = {"history": pd.concat(history), "predictions": pd.concat(predictions)}
    return {"runs": pd.DataFrame(runs)} | {name: table.reset_index(drop=True) for name, table in tables.items()}


def axes():
    return plots.new_figure().subplots()


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


# ---- data


def test_class_counts_bars():
    ax = plots.plot_class_counts(paper.TRAINING_COUNTS, axes())
    assert tuple(bar.get_height() for bar in ax.patches) == paper.TRAINING_COUNTS
    assert [to_hex(bar.get_facecolor()).upper() for bar in ax.patches] == list(COLORS.values())
    assert [label.get_text() for label in ax.get_xticklabels()] == list(EXPRESSIONS)
    assert "133,915" in texts(ax) and texts(ax)[-1] == "283,651 images\nhappy : contempt = 41.2 : 1"


def test_class_counts_with_an_empty_class():
    ax = plots.plot_class_counts([4, 2, 0, 0, 0, 0, 0, 0], axes())
    assert texts(ax)[-1].endswith("neutral : happy = 2.0 : 1")
    with pytest.raises(InputError, match=r"8 class counts, found shape \(7,\)"):
        plots.plot_class_counts(range(7), axes())


def test_class_counts_of_a_study():
    counts = pd.DataFrame({"split": "train", "expression": EXPRESSIONS[::-1], "images": range(1, 9)})
    figure = plots.figure_class_counts(counts)
    assert [bar.get_height() for bar in figure.axes[0].patches] == list(range(8, 0, -1))
    with pytest.raises(InputError, match="expected counts of the test split, found train"):
        plots.figure_class_counts(counts, "test")


def test_samples_stand_in_their_class_column():
    images = np.random.default_rng(0).integers(0, 256, (20, 24, 24, 3), dtype=np.uint8)
    labels = np.array([7, 0, 0] + [1] * 17)
    mosaic = plots.plot_samples(images, labels, axes(), per_class=2).images[0].get_array()
    assert mosaic.shape == (24 + 1 + 24, 8 * 25 - 1, 3)
    assert (mosaic[:24, :24] == images[1]).all() and (mosaic[25:, :24] == images[2]).all()
    assert (mosaic[:24, 7 * 25 :] == images[0]).all() and (mosaic[25:, 7 * 25 :] == 255).all()
    assert (mosaic[:, 2 * 25 : 3 * 25 - 1] == 255).all()  # no sad face given
    with pytest.raises(InputError, match="found float64"):
        plots.plot_samples(images / 255, labels, axes())


def test_identities_stand_in_their_persons_row():
    images = np.random.default_rng(0).integers(0, 256, (6, 24, 24), dtype=np.uint8)
    ax = plots.plot_identities(images, ["Bo", "Ada", "Bo", "Bo", "Ada", "Bo"], axes(), per_person=3)
    sheet = ax.images[0].get_array()
    assert sheet.shape == (2 * 25 - 1, 3 * 25 - 1, 3) and [label.get_text() for label in ax.get_yticklabels()] == [
        "Bo",
        "Ada",
    ]
    for row, numbers in enumerate([(0, 2, 3), (1, 4)]):
        for column, number in enumerate(numbers):
            assert (sheet[25 * row :, 25 * column :][:24, :24, 0] == images[number]).all()
    assert (sheet[25:, 50:] == 255).all()  # Ada has two
    assert ax.get_yticks().tolist() == [11.5, 36.5]
    with pytest.raises(InputError, match="and 5 labels"):
        plots.plot_identities(images, range(5), axes())


# ---- verification


def pairs_of_scores():
    random = np.random.default_rng(0)
    same = np.arange(400) % 2 == 0
    return random.normal(np.where(same, 0.6, 0.1), 0.2), same, random.normal(np.where(same, 0.3, 0.2), 0.2)


def test_roc_curves_and_the_chosen_point():
    similarities, same, pixels = pairs_of_scores()
    ax = plots.plot_roc(similarities, same, axes(), baseline=pixels)
    chance, baseline, network, point = ax.lines
    assert chance.get_ydata() == pytest.approx(100 * chance.get_xdata())
    for line, values, name in ((baseline, pixels, "grey pixels"), (network, similarities, "network")):
        assert line.get_label() == f"{name}, area {roc_auc_score(same, values):.3f}"
        threshold = np.quantile(values, 0.7)
        far, tar = (np.mean(values[kind] > threshold) for kind in (~same, same))
        assert 100 * tar in line.get_ydata()[line.get_xdata() == far]
    (far,), (tar,) = point.get_data()
    assert ax.get_xlim() == (1 / 200, 1) and ax.get_xscale() == "log"
    assert tar / 100 - far == pytest.approx(max(network.get_ydata() / 100 - network.get_xdata()))  # balanced kinds
    assert point.get_label() == f"best threshold, {tar:.1f} % at {100 * far:.1f} %"
    assert len(plots.plot_roc(similarities, same, axes()).lines) == 3


def test_similarity_histograms_count_their_own_kind():
    similarities, same, _ = pairs_of_scores()
    ax = plots.plot_similarities(similarities, same, axes())
    filled = [patch.get_height() for patch in ax.patches if hasattr(patch, "get_height")]
    assert sum(filled) == pytest.approx(200) and len(filled) == 80  # 40 bars of each kind, 100 % each
    (threshold,) = set(ax.lines[0].get_xdata())
    right = np.mean((similarities >= threshold) == same)
    assert right == max(np.mean((similarities >= value) == same) for value in similarities)


@pytest.mark.parametrize("perfect", [False, True])
def test_verification_figure_fits_its_page(perfect):
    similarities, same, pixels = pairs_of_scores()
    figure = plots.figure_verification(same * 0.9 if perfect else similarities, same, pixels)
    figure.draw_without_rendering()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 >= -0.01 and drawn.y0 >= -0.01 and drawn.x1 <= width + 0.01 and drawn.y1 <= height + 0.01
    if perfect:
        assert figure.axes[0].lines[-1].get_label() == "best threshold, 100.0 % at 0.0 %"


# ---- learning curves


def test_learning_curves_mean_and_band(study):
    runs = study["runs"]
    ax = plots.plot_learning_curves(study["history"], runs[runs["model"] == 10], "train_loss", axes())
    (line,), (band,) = ax.lines, ax.collections
    assert line.get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert line.get_ydata() == pytest.approx(2 / np.arange(1, 6))  # mean of 1, 2 and 3 over the epoch
    at_first_epoch = band.get_paths()[0].vertices
    at_first_epoch = at_first_epoch[at_first_epoch[:, 0] == 1][:, 1]
    assert (at_first_epoch.min(), at_first_epoch.max()) == (1, 3)
    assert to_hex(line.get_color()) == plots.LOSS_COLORS["weighted_cluster"].lower()


def test_learning_curves_stop_where_a_seed_does(study):
    history = study["history"]
    history = history[~((history["run"] == "model10-seed2") & (history["epoch"] > 3))]
    runs = study["runs"][study["runs"]["model"] == 10]
    ax = plots.plot_learning_curves(history, runs, "validation_accuracy", axes())
    assert ax.lines[0].get_ydata() == pytest.approx([10, 20, 30])
    with pytest.raises(InputError, match="did you mean 'train_loss'"):
        plots.plot_learning_curves(history, runs, "trainloss", axes())


def test_learning_curves_figure(study):
    figure = plots.figure_learning_curves(study["history"], study["runs"], "se_resnet50")
    assert [len(ax.lines) for ax in figure.axes] == [10, 10, 10]
    solid = [line.get_label() for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    assert solid == [f"model {number}" for number in range(6, 11)]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(paper.LOSSES.values()) < set(names) and names[-2:] == ["pre-trained", "from scratch"]
    assert figure.get_suptitle() == "The paper's SE-ResNet-50 models, run as se_resnet14 at 48 px, 3 seeds."
    partial = study["runs"][study["runs"]["model"] != 7]
    assert figure.get_suptitle() + " No result: model 7." == (
        plots.figure_learning_curves(study["history"], partial, "se_resnet50").get_suptitle()
    )
    with pytest.raises(InputError, match="unknown base of this study 'resnet50'"):
        plots.figure_learning_curves(study["history"], study["runs"], "resnet50")


def test_losses_of_different_size_share_a_logarithmic_axis(study):
    history = study["history"].copy()
    runs = study["runs"][study["runs"]["seed"] == 0]
    assert plots.plot_learning_curves(history, runs, "train_loss", axes()).get_yscale() == "linear"
    history.loc[history["run"] == "model7-seed0", "train_loss"] *= 100
    assert plots.plot_learning_curves(history, runs, "train_loss", axes()).get_yscale() == "log"


# ---- confusion


def test_confusion_is_normalised_by_rows():
    confusion = np.diag([10, 4, 4, 4, 4, 4, 4, 0])
    confusion[0, 7] = 30
    ax = plots.plot_confusion(confusion, axes())
    shown = ax.images[0].get_array()
    assert shown[0, 0] == 25 and shown[0, 7] == 75 and np.isnan(shown[7].filled(np.nan)).all()
    cells = np.array(texts(ax)).reshape(8, 8)
    assert cells[0].tolist() == ["25", *"000000", "75"] and set(cells[7]) == {"–"}
    assert [label.get_text() for label in ax.get_yticklabels()][::7] == ["neutral (40)", "contempt (0)"]
    with pytest.raises(InputError, match=r"found shape \(7, 7\)"):
        plots.plot_confusion(np.eye(7), axes())


def test_confusion_figure_averages_seeds_and_shows_gaps(study):
    runs = study["runs"][study["runs"]["model"] != 6]
    figure = plots.figure_confusions(study["predictions"], runs)
    gap, model_10 = figure.axes
    assert gap.get_title("left") == "(a) model 6: softmax\nnot run" and set(texts(gap)) == {"–"}
    assert model_10.get_title("left").endswith("\nse_resnet14 pre-trained, 3 seeds")
    assert model_10.get_yticklabels()[7].get_text() == "contempt (10)"
    predictions = study["predictions"]
    own = predictions[predictions["run"].str.startswith("model10-") & (predictions["label"] == 7)]
    right = own.filter(regex="^p_").idxmax(axis=1) == "p_contempt"
    assert model_10.images[0].get_array()[7, 7] == pytest.approx(100 * right.mean())


# ---- comparison


def test_rare_recall_points_intervals_and_published_values(study):
    runs, predictions = study["runs"], study["predictions"]
    ax = plots.plot_rare_recall(predictions, runs[runs["model"] > 5], axes())
    contempt = ax.containers[-1]
    line, _, (bars,) = contempt.lines
    own = predictions[predictions["run"].str.startswith("model6-") & (predictions["label"] == 7)]
    share = (own.filter(regex="^p_").idxmax(axis=1) == "p_contempt").mean()
    assert line.get_ydata()[0] == pytest.approx(100 * share)
    assert bars.get_segments()[0][:, 1].min() < 100 * share < bars.get_segments()[0][:, 1].max()
    hollow = [y for line in ax.lines if line.get_markerfacecolor() == "white" for y in line.get_ydata()]
    assert sorted(hollow) == pytest.approx([6, 36, 54, 59])
    with pytest.raises(InputError, match="found 2 such groups"):
        plots.plot_rare_recall(predictions, runs, axes())


def test_rare_recall_interval_of_one_seed():
    study = make_study([6], (0,))
    ax = plots.plot_rare_recall(study["predictions"], study["runs"], axes())
    line, _, (bars,) = ax.containers[-1].lines
    share = line.get_ydata()[0] / 100
    expected = binomtest(round(10 * share), 10).proportion_ci(0.95, method="wilson")
    assert sorted(bars.get_segments()[0][:, 1]) == pytest.approx([100 * expected.low, 100 * expected.high])


def test_rare_recall_figure(study):
    figure = plots.figure_rare_recall(study["predictions"], study["runs"], "se_resnet50")
    assert [ax.get_title("left") for ax in figure.axes] == ["(a) from scratch", "(b) pre-trained"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[0] == "contempt (10 test images)" and names[-1] == "AffectNet, published"


def test_published_scatter(study):
    table = paper.beside_published(study["runs"][study["runs"]["model"] != 7])
    figure = plots.figure_published_scatter(table)
    ax = figure.axes[0]
    points = [container.lines[0].get_xydata()[0] for container in ax.containers]
    assert points[-1] == pytest.approx([60.70, 100 * table["accuracy"].iloc[-1]])
    assert len(points) == 9
    ranks = table.dropna()[["accuracy_published", "accuracy"]].corr(method="spearman").iloc[0, 1]
    assert ax.get_title("right") == f"Spearman ρ = {ranks:.2f}, 9 of 10 models".replace("-", "−")
    two = make_study([3, 16], (0,))["runs"].assign(accuracy=[0.3, 0.7])
    for ax in plots.figure_published_scatter(paper.beside_published(two)).axes:
        (x, y), (left, right), (bottom, top) = ax.containers[0].lines[0].get_xydata()[0], ax.get_xlim(), ax.get_ylim()
        assert left < x < right and bottom < y < top  # on shared axes
    with pytest.raises(InputError, match="found 0 of 1"):
        plots.plot_published_scatter(table[table["model"] == 7], axes())


# ---- architecture

STAGES = [
    ("stage 1", "convolution 7×7", 1, [64, 112, 112], 9_536, True),
    ("stage 2", "max-pool, SE bottleneck", 3, [256, 56, 56], 241_200, True),
    ("embedding", "global average pool, fully connected", 1, [512], 1_049_088, False),
    ("output", "fully connected, softmax", 1, [8], 4_104, False),
]
ARCHITECTURE = {
    "architecture": "se_resnet50",
    "image_size": 224,
    "stages": [
        dict(zip(("name", "modules", "repeat", "output", "parameters", "frozen"), s, strict=True)) for s in STAGES
    ],
}


def test_architecture_says_what_the_description_says():
    ax = plots.figure_architecture(ARCHITECTURE).axes[0]
    shown = texts(ax)
    for text in ("64×112×112\n9.54 k", "512\n1.05 M", "max-pool,\nSE\nbottleneck\n× 3", "3×224×224", "output"):
        assert text in shown
    assert "frozen: 251 k parameters" in shown and "trained: 1.05 M parameters" in shown
    assert "weighted cluster\nloss" in shown and "weighted softmax\nloss" in shown
    hatched = [patch for patch in ax.patches if patch.get_hatch()]
    assert len(hatched) == 2


def test_architecture_draws_blocks_that_are_alike_as_one():
    """A vision transformer: twelve encoder blocks, the first two of them frozen."""
    block = {"modules": "encoder block", "repeat": 1, "output": [50, 768], "parameters": 7_087_872}
    first = {"name": "stage 1", "modules": "convolution 32×32", "repeat": 1, "output": [50, 768], "parameters": 2399232}
    blocks = [block | {"name": f"stage {number}", "frozen": number <= 3} for number in range(2, 14)]
    stages = [first | {"frozen": True}, *blocks, *ARCHITECTURE["stages"][-2:]]
    texts = [text.get_text() for text in plots.figure_architecture(ARCHITECTURE | {"stages": stages}).axes[0].texts]
    assert {"stage 1", "stages 2–3", "stages 4–13", "embedding", "output"} <= set(texts)
    assert {"encoder\nblock\n× 2", "encoder\nblock\n× 10"} <= set(texts)
    assert "50×768\n70.9 M" in texts


def test_architecture_trained_from_scratch_with_plain_softmax():
    stages = [stage | {"frozen": False} for stage in ARCHITECTURE["stages"]]
    ax = plots.figure_architecture(ARCHITECTURE | {"stages": stages}, loss="softmax").axes[0]
    assert not [patch for patch in ax.patches if patch.get_hatch()]
    assert not [text for text in texts(ax) if "frozen" in text or "λ" in text] and "softmax\nloss" in texts(ax)
    with pytest.raises(InputError, match="found none"):
        plots.figure_architecture(ARCHITECTURE | {"stages": []})


def test_nothing_in_figure_1_leaves_the_page_or_overlaps():
    figure = plots.figure_architecture(ARCHITECTURE)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    page = figure.bbox
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


# ---- every figure


@pytest.mark.parametrize("models", [range(1, 11), [6, 10], [13, 16, 20], range(1, 21)])
def test_no_text_is_cut_off(models):
    study = make_study(models, (0,))
    runs, history, predictions = study["runs"], study["history"], study["predictions"]
    figures = [plots.figure_confusions(predictions, runs), plots.figure_published_scatter(paper.beside_published(runs))]
    for base in runs["base"].unique():
        figures.append(plots.figure_learning_curves(history, runs, base))
        figures.append(plots.figure_rare_recall(predictions, runs, base))
    for figure in figures:
        figure.draw_without_rendering()
        drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert drawn.x0 >= -0.01 and drawn.y0 >= -0.01 and drawn.x1 <= width + 0.01 and drawn.y1 <= height + 0.01


# ---- files

DRAW = """
import sys
from fer_utils import paper, plots
figure = plots.new_figure()
plots.plot_class_counts(paper.TRAINING_COUNTS, figure.subplots())
plots.save_figure(figure, sys.argv[1])
sys.exit("torch" in sys.modules or "sklearn" in sys.modules)
"""


def test_files_are_the_same_bytes_in_every_process_and_need_no_torch(tmp_path):
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    assert (
        subprocess.run([sys.executable, "-c", DRAW, str(tmp_path / "a")], env=environment, check=False).returncode == 0
    )
    figure = plots.new_figure()
    plots.plot_class_counts(paper.TRAINING_COUNTS, figure.subplots())
    plots.save_figure(figure, tmp_path / "b")
    for suffix in ("pdf", "png"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert (
        b"CreationDate" not in pdf and b"Matplotlib" not in pdf and b"/FontType 3" not in pdf and b"/Type3" not in pdf
    )
    assert b"Software" not in (tmp_path / "a.png").read_bytes()


def test_an_interrupted_save_leaves_the_old_figure(tmp_path, monkeypatch):
    figure = plots.new_figure()
    plots.save_figure(figure, tmp_path / "fig")
    before = (tmp_path / "fig.pdf").read_bytes()
    figure.text(0.5, 0.5, "new")

    def fail(path, **_):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.save_figure(figure, tmp_path / "fig")
    assert (tmp_path / "fig.pdf").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fig.pdf", "fig.png"]


def test_the_style_neither_mixes_nor_leaks():
    before = matplotlib.rcParams["font.size"]
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 20}):
        figure = plots.figure_class_counts(pd.DataFrame({"split": "train", "expression": EXPRESSIONS, "images": 1}))
        assert matplotlib.rcParams["font.size"] == 20
    assert figure.axes[0].get_facecolor() == (1, 1, 1, 1) and matplotlib.rcParams["font.size"] == before


def test_figures_are_unknown_to_pyplot(study):
    plots.figure_confusions(study["predictions"], study["runs"], [10])
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_diagnostics_without_centers_have_no_panel_of_their_movement():
    runs = pd.DataFrame({"run": ["r"], "setting": ["x"], "variant": ["a"]})
    history = pd.DataFrame({"run": ["r"], "epoch": [1], "embedding_norm": [2.0], "between_distance": [1.0]})
    figure = plots.figure_diagnostics(history.assign(center_movement=np.nan), runs, "x")
    assert [ax.get_ylabel() for ax in figure.axes] == ["mean embedding norm", "distance between class means"]
