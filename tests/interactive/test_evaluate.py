"""Any source of predictions on any dataset: scores by hand, both ways, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_utils import __main__ as command_line
from fer_utils import datasets
from fer_utils.core import EXPRESSIONS, PROBABILITIES, InputError
from fer_utils.interactive import evaluate

# Four images by hand: two right, of three classes.
HAND = pd.DataFrame(
    {
        "image": ["a.png", "b.png", "c.png", "d.png"],
        "label": ["happy", "happy", "sad", "neutral"],
        "p_neutral": [0.1, 0.1, 0.5, 0.3],
        "p_happy": [0.8, 0.3, 0.3, 0.2],
        "p_sad": [0.1, 0.6, 0.2, 0.1],
        "p_fear": [0.0, 0.0, 0.0, 0.4],
    }
)


def read(table, path, **options):
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    return evaluate.evaluate(str(path), root=path.parent, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Class folders of drawn faces, two a class, without contempt."""
    root = tmp_path_factory.mktemp("faces")
    for name, faces in zip(EXPRESSIONS[:7], datasets.draw_examples(2, 96), strict=False):
        (root / name).mkdir()
        for number, face in enumerate(faces):
            Image.fromarray(face).save(root / name / f"{name}-{number}.png")
    return root


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_strangers_predictions_are_scored_as_by_hand(tmp_path, ending):
    found = read(HAND, tmp_path / f"p.{ending}")
    assert found.table["predicted"].tolist() == [1, 2, 0, 4] and found.rows is None
    scores = evaluate.score(found.table, resamples=20)["value"]
    everyone, among = (scores[way] for way in scores.index.levels[0])
    assert scores.index.levels[0].tolist() == ["all eight", "among the 3 that occur"]
    assert everyone["Accuracy"] == 0.25
    assert everyone["Macro recall"] == pytest.approx((0 + 1 / 2 + 0) / 3)
    # Where fear is no answer, the fourth is neutral, which is right.
    assert among["Accuracy"] == 0.5
    assert among["Macro recall"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    # Of the four confidences 0.8, 0.6, 0.5 and 0.4 the first is right.
    assert everyone["Calibration error"] == pytest.approx((0.2 + 0.6 + 0.5 + 0.4) / 4)


def test_columns_may_be_logs_plain_names_classes_or_a_table_of_faces(tmp_path):
    expected = read(HAND, tmp_path / "p.csv").table["predicted"].tolist()
    plain = HAND.rename(columns=lambda name: name.removeprefix("p_"))
    assert read(plain, tmp_path / "p.csv").table["predicted"].tolist() == expected
    logs = HAND.rename(columns=lambda name: name.replace("p_", "log_p_"))
    logs.iloc[:, 2:] = np.log(logs.iloc[:, 2:] + 1e-9)
    assert read(logs, tmp_path / "p.csv").table["predicted"].tolist() == expected
    faces = HAND.rename(columns={"image": "file"}).assign(face=1)
    faces.loc[3, "label"] = None  # nobody labelled it
    table = read(faces, tmp_path / "p.csv").table
    assert table["image"].tolist() == ["a.png#1", "b.png#1", "c.png#1"]
    classes = HAND[["image"]].assign(label=[1.0, 1.0, 2.0, 0.0], predicted=["Happiness", 2, 0, 4])
    table = read(classes, tmp_path / "p.csv").table
    assert table["predicted"].tolist() == expected
    assert "AUC" not in evaluate.score(table, resamples=20).index.levels[1]


def test_predictions_are_matched_with_a_dataset_by_path_or_by_name(folder, tmp_path):
    rows = datasets.read_dataset("folder", folder)
    table = pd.DataFrame({"image": rows["image"], "class": rows["label"]}).iloc[::-1]
    found = read(table, tmp_path / "p.csv", data=str(folder))
    assert found.table["image"].tolist() == rows["image"].tolist()
    assert (found.table["label"] == found.table["predicted"]).all() and found.rows is not None
    table["image"] = [name.rpartition("/")[2] for name in table["image"]]
    assert (read(table, tmp_path / "p.csv", data=str(folder)).table["confidence"] == 1).all()
    with pytest.raises(InputError, match=r"none of 3, first 'anger-0\.png'"):
        read(table.iloc[:-3], tmp_path / "p.csv", data=str(folder))


def test_a_name_that_stands_for_several_images_is_not_guessed_at(folder, tmp_path):
    rows = datasets.read_dataset("folder", folder)
    table = pd.DataFrame({"image": "other/" + rows["image"], "class": rows["label"]})
    assert len(read(table, tmp_path / "p.csv", data=str(folder)).table) == len(rows)
    table.loc[0, "image"] = "more/" + rows["image"][1]
    with pytest.raises(InputError, match=r"several, first '.*\.png'"):
        read(table, tmp_path / "p.csv", data=str(folder))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.assign(label="joyful"), "unknown class 'joyful'"),
        (lambda t: t[["image", "label"]].assign(predicted=9), "unknown class '9'"),
        (lambda t: pd.concat([t, t.iloc[:2]]), r"2 repeated, first 'a\.png'"),
        (lambda t: t[["image", "label"]], "columns of probabilities.*predicted"),
        (lambda t: t.drop(columns="image"), "column 'image'"),
        (lambda t: t.drop(columns="label"), "column 'label'"),
        (lambda t: t.assign(p_sad=0.6), "3 rows that do not, the first to 1.5.*softmax"),
        (lambda t: t.assign(p_sad="much"), "4 rows that do not, the first to nan"),
        (lambda t: t.assign(p_sad=[-0.1, 0.6, 0.2, 0.1], p_fear=[0.2, 0, 0, 0.4]), "1 rows"),
        (lambda t: t.iloc[:0], "expected rows"),
    ],
)
def test_a_bad_predictions_file_is_refused_in_one_sentence(tmp_path, change, said):
    with pytest.raises(InputError, match=said) as refused:
        read(change(HAND), tmp_path / "p.csv")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["text.parquet", "empty.csv", "absent.csv"])
def test_a_file_without_predictions_is_named(tmp_path, name):
    if name != "absent.csv":
        (tmp_path / name).write_text("" if name == "empty.csv" else "text")
    with pytest.raises(InputError, match=f"predictions at .*{name}, found none") as refused:
        evaluate.evaluate(name, root=tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("crops", ["given", "detected"])
def test_a_dataset_of_seven_classes_is_scored_both_ways(folder, shipped, crops, tmp_path):
    found = evaluate.evaluate("recogniser", data=str(folder), crops=crops, root=tmp_path)
    assert found.classifier.name == "recogniser" and len(found.table) == 14
    np.testing.assert_allclose(found.table[[*PROBABILITIES]].sum(axis=1), 1)
    ways = evaluate.score(found.table, resamples=20).index.levels[0].tolist()
    assert ways == ["all eight", "among the 7 that occur"]


def test_images_without_a_face_are_taken_whole_and_counted(shipped, tmp_path):
    for name in EXPRESSIONS:
        (tmp_path / name).mkdir()
        Image.new("RGB", (50, 40), "grey").save(tmp_path / name / "a.png")
    found = evaluate.evaluate("recogniser", data=str(tmp_path), crops="detected", root=tmp_path)
    assert found.notes == ["no face found in 8 of 8 images: taken whole"]


def test_boxes_of_a_dataset_are_cut_out(shipped, folder):
    rows = datasets.read_dataset("folder", folder)
    attrs = rows.attrs
    rows = rows.assign(box_x=8, box_y=8, box_width=60, box_height=60)
    rows.attrs = attrs
    table, _ = evaluate.predict(shipped, rows)
    face = datasets.load_images(datasets.with_margin(rows.iloc[:1], shipped.margin))[0]
    np.testing.assert_allclose(
        table.loc[0, [*PROBABILITIES]].astype(float), shipped.classify([face])[0]
    )


def test_a_runs_own_predictions_and_what_it_predicts_anew(run, folder):
    own = evaluate.evaluate("a/b", root=run.root)
    assert own.name == "a/b" and len(own.table) == 24 and len(own.rows) == 24 and not own.notes
    assert (own.table["label"].to_numpy() == own.rows["label"].to_numpy()).all()
    anew, _ = evaluate.predict(evaluate.load_classifier("a/b", run.root), own.rows)
    assert (anew["predicted"] == own.table["predicted"]).mean() > 0.9
    other = evaluate.evaluate("a/b", data=str(folder), root=run.root)
    assert len(other.table) == 14 and other.classifier.name == "a/b"


def test_where_nobody_names_a_dataset_faces_are_drawn(shipped, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "DRAWN", evaluate.DRAWN | {"test": 16})
    assert len(evaluate.evaluate("recogniser", root=tmp_path).table) == 16
    with pytest.raises(InputError, match="folder of 'ferplus'"):
        evaluate.evaluate("recogniser", "ferplus", root=tmp_path)
    with pytest.raises(InputError, match="crops 'found'"):
        evaluate.evaluate("recogniser", crops="found")


def test_two_sources_are_compared_on_what_both_have(tmp_path):
    labels = np.arange(80) % 8
    right = pd.DataFrame({"image": [f"{n}.png" for n in range(80)], "label": labels})
    good = read(right.assign(predicted=labels), tmp_path / "p.csv").table
    wrong = right.assign(predicted=np.roll(labels, 1)).iloc[:72]
    bad = read(wrong, tmp_path / "p.csv").table
    compared = evaluate.compare(bad, good, resamples=200)
    assert compared.attrs["images"] == 72 and compared.loc["Accuracy", "difference"] == 1
    assert compared.loc["Accuracy", "verdict"] == "higher"
    with pytest.raises(InputError, match="other labels"):
        evaluate.compare(bad, good.assign(label=0))
    with pytest.raises(InputError, match="found none"):
        evaluate.compare(bad, good.assign(image="x"))


def test_cells_of_the_confusion_matrix_are_chosen(tmp_path):
    table = read(HAND, tmp_path / "p.csv").table
    assert evaluate.choose(table).tolist() == [0, 1, 2, 3]  # the surest first
    assert evaluate.choose(table, "happy").tolist() == [0, 1]
    assert evaluate.choose(table, predicted="sad").tolist() == [1]
    assert evaluate.choose(table, confidence=(0.45, 0.7), wrong=True).tolist() == [1, 2]
    assert evaluate.captions(table)[:2] == ["happy\n80 %", "happy\n→ sad 60 %"]
    with pytest.raises(InputError, match="'sat'; did you mean 'sad'"):
        evaluate.choose(table, "sat")


def test_the_terminal_prints_scores(tmp_path, capsys, monkeypatch, run):
    HAND.to_csv(tmp_path / "p.csv", index=False)
    monkeypatch.chdir(run.root)
    assert command_line.main(["evaluate", str(tmp_path / "p.csv")]) == 0
    said = capsys.readouterr().out
    assert "4 images" in said and "among the 3 that occur" in said and "25.0" in said
