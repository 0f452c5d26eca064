"""Notebooks 05 and 08 on made results: verdict first, a whole page of them."""

import re

import nbformat
import pytest

from fer_utils import core, studies
from fer_utils.core import InputError, project_root
from tests.report import made

HERE = project_root()


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run a notebook in `tmp_path` on given results, without a kernel; its names."""
    monkeypatch.setattr(core, "project_root", lambda: tmp_path)

    def execute(name, results, **parameters):
        monkeypatch.setattr(studies, "read_results", lambda study, root: results[study])
        monkeypatch.setattr(studies, "read_run_set", lambda study, root: results[study])
        names = {}
        notebook = nbformat.read(HERE / f"notebooks/{name}.ipynb", 4)
        for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
            source = re.sub(r"^%.*", "", cell.source, flags=re.MULTILINE)
            exec(compile(source, f"{name} {cell.id}", "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names.update(parameters)
        return names

    return execute


def test_05_draws_the_papers_tables_and_figures_and_a_page_of_them(execute, models, tmp_path):
    names = execute("05_paper_figures", {"made": models}, study="made")
    folder = tmp_path / "figures" / "made"
    text = (folder / "README.md").read_text(encoding="utf-8")
    for title in ("Table 2.", "Table 3.", "Table 5.", "Table 6.", "Fig. 1.", "Fig. 5.", "Fig. 6."):
        assert title in text
    assert text.index("verdict.png") < text.index("Table 5.") < text.index("Fig. 1.")
    written = {path.name for path in folder.iterdir()}
    assert set(re.findall(r"\(([\w.]+\.(?:png|csv))\)", text)) <= written
    assert names["page"].learned and not names["audit"]["Agree"].eq("yes").all()
    assert "audit" not in text.lower()  # the paper's own errors are not this study's


def test_08_takes_folds_and_says_so(execute, folds, tmp_path):
    execute("08_compare_losses", {"ferplus_folds": folds}, study="ferplus_folds")
    text = (tmp_path / "runs" / "compared" / "README.md").read_text(encoding="utf-8")
    assert "folds" in text and "(embedding.png)" in text


def test_08_takes_ones_own_runs_and_writes_beside_them(execute, folds, tmp_path):
    softmax = folds.runs["variant"] == "softmax"
    sets = {}
    for name, rows in (("a/softmax", softmax), ("b/mine", folds.runs["variant"] == "power_half")):
        runs = folds.runs[rows]
        parts = {
            key: table[table["run"].isin(runs["run"])]
            for key, table in (("history", folds.history), ("predictions", folds.predictions))
        }
        sets[name] = made.change(folds, name=name, runs=runs, **parts)
    names = execute("08_compare_losses", sets, runs=list(sets))
    assert [case.loss for case in names["cases"]] == ["softmax", "weighted_softmax"]
    text = (tmp_path / "runs" / "compared" / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# Runs beside each other: a/softmax, b/mine")


def test_08_refuses_names_that_it_does_not_know(execute):
    with pytest.raises(InputError, match="studdy"):
        execute("08_compare_losses", {}, studdy="demo")


@pytest.mark.parametrize("name", ["05_paper_figures", "08_compare_losses"])
def test_cells_have_fifteen_lines_at_most_and_the_verdict_comes_first(name):
    cells = nbformat.read(HERE / f"notebooks/{name}.ipynb", 4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert max(source.count("\n") for source in code) < 15
    drawing = [source for source in code if re.search(r"report\.(add|figure|draw)", source)]
    assert "page.verdict" in drawing[0] and "page.learned" in code[-1]
    assert not any(cell.outputs for cell in cells if cell.cell_type == "code")
