"""The contract that every notebook keeps, and a real headless run of each."""

import ast
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from fer_utils import runs, training

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TINY = {
    "train_images": 64, "validation_images": 16, "test_images": 16, "image_size": 32, "subjects": 12, "epochs": 1,
    "batch_size": 16, "threads": 1,
}  # fmt: skip

VARIANT_STUDIES = [
    path.parent.name
    for path in sorted((ROOT / "results").glob("*/study.json"))
    if json.loads(path.read_text()).get("variants")
]

all_notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def parameters(path):
    """Name → value of the parameters cell, which must hold literals only."""
    (cell,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    nodes = ast.parse(cell.source).body
    assert all(isinstance(node, ast.AnnAssign) for node in nodes), "annotated assignments only"
    lines = cell.source.splitlines()
    assert all("  # " in lines[node.lineno - 1] for node in nodes), "each with a comment: papermill shows it as help"
    return {node.target.id: ast.literal_eval(node.value) for node in nodes}


@all_notebooks
def test_stripped(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3" and "papermill" not in notebook.metadata
    for cell in notebook.cells:
        assert cell.id and set(cell.metadata) <= {"tags"}
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None


def test_nbstripout_finds_nothing_to_strip():
    command = [sys.executable, "-m", "nbstripout", "--verify", "--keep-id", *map(str, NOTEBOOKS)]
    assert subprocess.run(command, capture_output=True).returncode == 0


@all_notebooks
def test_shape(path):
    cells = nbformat.read(path, 4).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ") and "**Cost:**" in cells[0].source
    code = code_cells(path)
    assert (
        "import" in code[0].source and "parameters" in code[1].metadata.tags and "notebook_parameters" in code[2].source
    )
    headings = [cell.source.splitlines()[0] for cell in cells if cell.cell_type == "markdown"]
    assert "## What we learned" in headings and "## Record" in headings and "versions()" in code[0].source
    for cell in code:
        assert len(cell.source.splitlines()) <= 15 or "parameters" in cell.metadata.get("tags", [])
        assert "sys.path" not in cell.source


@pytest.mark.parametrize("name", ["02_pretrain_identity", "03_fine_tune"])
def test_run_parameters_are_those_of_the_package(name):
    """Nothing is written twice without a test that keeps the two alike."""
    known = {field.name: field for field in dataclasses.fields(runs.RunParameters)}
    listed = parameters(ROOT / "notebooks" / f"{name}.ipynb")
    assert set(listed) <= set(known)
    if name == "03_fine_tune":
        assert listed == {field.name: field.default for field in known.values()}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout of its own, with a space and an umlaut in its path, so that runs and figures land there."""
    root = tmp_path_factory.mktemp("a studÿ") / "check out"
    for name in ("notebooks", "experiments", "results"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def execute(checkout, name, **values):
    output = checkout / f"{name}.out.ipynb"
    papermill.execute_notebook(
        str(checkout / "notebooks" / f"{name}.ipynb"), str(output), values, progress_bar=False,
        cwd=str(checkout / "notebooks"),
    )  # fmt: skip
    cells = nbformat.read(output, 4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [item for item in outputs if item.output_type == "stream" and item.name == "stderr"]
    return outputs


def pictures(outputs):
    return [item for item in outputs if "image/png" in item.get("data", {})]


def test_01_shows_the_data(checkout):
    outputs = execute(checkout, "01_explore_data", train_images=64, per_class=1)
    assert len(pictures(outputs)) == 8  # counts, samples, twins, two pages, augmentation, division, mean faces


def test_02_makes_weights_that_03_starts_from_and_04_looks_into_the_run(checkout):
    tiny = {**TINY, "study": "smoke"}
    execute(checkout, "02_pretrain_identity", **{**tiny, "validation_images": 0, "test_images": 0})
    assert (checkout / "runs/smoke/identity/best.safetensors").is_file()
    outputs = execute(checkout, "03_fine_tune", **tiny, run="transfer", weights="runs/smoke/identity/best.safetensors")
    assert len(pictures(outputs)) == 3  # class counts, curves and confusion matrix; the live view is a widget
    metrics = json.loads((checkout / "runs/smoke/transfer/metrics.json").read_text())
    assert 0 <= metrics["accuracy"] <= 1 and metrics["test_images"] == 16
    assert len(pictures(execute(checkout, "04_evaluate_run", study="smoke", run="transfer"))) == 9


def test_05_draws_the_committed_demo_from_its_results_alone(checkout):
    path = checkout / "notebooks" / "05_paper_figures.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells.append(nbformat.v4.new_code_cell("import sys\nassert 'torch' not in sys.modules"))
    nbformat.write(notebook, path)
    assert len(pictures(execute(checkout, "05_paper_figures"))) >= 5
    drawn = {path.name for path in (checkout / "figures/demo").iterdir()}
    assert {"README.md", "table5.md", "table5.csv", "table5.tex", "fig02_samples.png", "fig06_confusions.pdf"} <= drawn
    assert drawn == {path.name for path in (ROOT / "figures/demo").iterdir()}
    for name in ("README.md", "table5.csv", "gains.csv", "paired_claims.csv"):
        assert (checkout / "figures/demo" / name).read_text() == (ROOT / "figures/demo" / name).read_text()


def test_06_plays_with_the_losses(checkout):
    assert len(pictures(execute(checkout, "06_loss_playground", steps=20))) >= 7


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_papermill_understands_every_parameter(path, caplog):
    (cell,) = [cell for cell in nbformat.read(path, 4).cells if "parameters" in cell.metadata.get("tags", [])]
    names = [node.target.id for node in ast.parse(cell.source).body]
    assert list(papermill.inspect_notebook(str(path))) == names and not caplog.text


def test_07_recognises_drawn_faces_and_names_what_it_cannot_use(checkout):
    training.fit(runs.parameters({**TINY, "study": "smoke", "run": "faces"}), root=checkout)
    (checkout / "text.jpg").write_text("no picture")
    outputs = execute(checkout, "07_recognise_faces", run="smoke/faces", out="runs/faces")
    assert len(pictures(outputs)) == 2 and not [item for item in outputs if item.output_type == "error"]
    written = {path.name for path in (checkout / "runs/faces").iterdir()}
    assert written == {"drawn", "faces.csv", "faces.pdf", "faces.png", "manifest.parquet"}
    outputs = execute(checkout, "07_recognise_faces", run="smoke/faces", out="runs/none", images="text.jpg")
    assert "text.jpg, found a file that is none" in str(outputs) and not pictures(outputs)


@pytest.mark.parametrize("study", VARIANT_STUDIES)
def test_08_draws_a_study_of_variants_from_its_results_alone(checkout, study):
    execute(checkout, "08_compare_losses", study=study)
    drawn = checkout / "figures" / study
    assert {path.name for path in drawn.iterdir()} == {path.name for path in (ROOT / "figures" / study).iterdir()}
    assert (drawn / "variants.csv").read_text() == (ROOT / "figures" / study / "variants.csv").read_text()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("01_explore_data", {"trainimages": 1}, "unknown parameter 'trainimages'; did you mean 'train_images'?"),
        ("03_fine_tune", {"learning_rat": 0.1}, "unknown parameter 'learning_rat'; did you mean 'learning_rate'?"),
        ("04_evaluate_run", {"study": "none", "run": "such"}, "none/such"),
        ("05_paper_figures", {"study": "dmeo"}, "results/dmeo/"),
        ("05_paper_figures", {"study": "transfer"}, "draw it with notebook 08_compare_losses"),
    ],
)
def test_a_mistake_stops_a_notebook_with_one_line(checkout, name, values, message):
    with pytest.raises(PapermillExecutionError) as error:
        execute(checkout, name, **values)
    assert error.value.ename == "InputError" and message in error.value.evalue
    assert len(error.value.traceback) == 1  # the message alone
