"""Notebooks keep their contract: stripped, with parameters that papermill knows."""

import ast
import re
from pathlib import Path

import nbformat
import papermill
import pytest

from fer_utils.core import InputError, RunParameters
from fer_utils.studies import execute_notebook

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind="code"):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == kind]


def parameter_cell(path):
    found = [cell for cell in cells(path) if "parameters" in cell.metadata.get("tags", [])]
    assert len(found) == 1
    return found[0].source


@every
def test_it_is_committed_without_outputs(path):
    notebook = nbformat.read(path, 4)
    assert "papermill" not in notebook.metadata
    assert notebook.metadata.kernelspec.name == "python3"
    assert not any(cell.outputs or cell.execution_count for cell in cells(path))


@every
def test_it_opens_with_its_question_and_cost_and_ends_with_what_was_learned(path):
    texts = [cell.source for cell in cells(path, "markdown")]
    assert texts[0].startswith("# ") and "**Cost:**" in texts[0] and "**Writes**" in texts[0]
    assert any(text.startswith("## What we learned") for text in texts)


@every
def test_cells_are_short(path):
    long = [
        c.source for c in cells(path) if c.source.count("\n") > 25 and "study: str" not in c.source
    ]
    assert not long


@every
def test_parameters_are_literals_that_papermill_understands(path):
    names = [node.target.id for node in ast.parse(parameter_cell(path)).body]
    known = papermill.inspect_notebook(str(path))
    assert list(known) == names
    for node in ast.parse(parameter_cell(path)).body:
        ast.literal_eval(node.value)


def test_the_cell_of_03_states_the_defaults_of_core():
    source = parameter_cell(ROOT / "notebooks/03_fine_tune.ipynb")
    assert len(source.splitlines()) <= 45
    for node in ast.parse(source).body:
        default = RunParameters.model_fields[node.target.id].default
        assert ast.literal_eval(node.value) == default, node.target.id


def test_the_notebooks_are_thin():
    lines = [
        line for path in NOTEBOOKS for cell in cells(path) for line in cell.source.splitlines()
    ]
    assert len([line for line in lines if line.strip()]) <= 700


@every
def test_its_parameters_are_checked(path):
    assert any("core.notebook_parameters(globals())" in cell.source for cell in cells(path))


def test_a_misspelt_parameter_stops_it_in_one_line(tmp_path):
    notebook, wrong = ROOT / "notebooks/08_compare_losses.ipynb", {"studdy": "demo"}
    with pytest.raises(InputError, match="study") as refused:
        execute_notebook(notebook, tmp_path / "out.ipynb", wrong)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("01_explore_data", {"train_images": 200}),
        ("08_compare_losses", {"study": "ferplus_best"}),
        ("06_loss_playground", {"steps": 10}),
        ("07_recognise_faces", {}),
    ],
)
def test_it_runs(name, values, tmp_path):
    if name.startswith("07"):
        values = {"out": str(tmp_path)}
    out = tmp_path / "out.ipynb"
    execute_notebook(ROOT / f"notebooks/{name}.ipynb", out, values)
    outputs = [output for cell in cells(out) for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    said = "".join(o.get("text", "") for o in outputs if o.get("name") == "stderr")
    assert not re.search("Warning|Error", said), said
