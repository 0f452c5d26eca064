"""Notebooks 05 and 08 on made results: verdict first, a whole page of them."""

import re

import nbformat
import pytest

from fer_utils import core, report, studies
from tests.report import made

HERE = core.project_root()


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run a notebook on given results in `tmp_path`, without a kernel; its names."""
    monkeypatch.setattr(core, "project_root", lambda: tmp_path)
    monkeypatch.setattr(report.style, "save_pages", lambda figures, path: None)  # slow

    def execute(name, results, **parameters):
        for reader in ("read_results", "read_run_set"):
            monkeypatch.setattr(studies, reader, lambda study, root: results[study])
        names = {}
        cells = nbformat.read(HERE / f"notebooks/{name}.ipynb", 4).cells
        for cell in (cell for cell in cells if cell.cell_type == "code"):
            assert cell.source.count("\n") < 15
            exec(re.sub(r"^%.*", "", cell.source, flags=re.MULTILINE), names)
            names.update(parameters if "parameters" in cell.metadata.get("tags", []) else {})
        return names

    return execute


def test_05_draws_the_papers_tables_and_figures_and_a_page_of_them(execute, models, tmp_path):
    names = execute("05_paper_figures", {"made": models}, study="made")
    text = (tmp_path / "figures/made/README.md").read_text(encoding="utf-8")
    for title in ("Table 2.", "Table 3.", "Table 5.", "Table 6.", "Fig. 1.", "Fig. 5.", "Fig. 6."):
        assert title in text
    assert text.index("verdict.png") < text.index("Table 5.") < text.index("Fig. 1.")
    assert [part.folded for part in names["parts"][:3]] == [False, False, True]  # its two panels
    assert names["page"].learned and "no" in names["audit"]["Agree"].tolist()
    assert "audit" not in text.lower()  # the paper's own errors are not this study's


def test_08_takes_ones_own_runs_and_folds(execute, folds, tmp_path):
    variant, sets = folds.runs["variant"], {}
    for name, rows in (("a/softmax", variant == "softmax"), ("b/mine", variant == "power_half")):
        runs = folds.runs[rows]
        own = folds.predictions[folds.predictions["run"].isin(runs["run"])]
        sets[name] = made.change(folds, name=name, runs=runs, predictions=own)
    names = execute("08_compare_losses", sets, runs=list(sets))
    assert [case.loss for case in names["cases"]] == ["softmax", "weighted_softmax"]
    text = (tmp_path / "runs/compared/README.md").read_text(encoding="utf-8")
    assert text.startswith("# Runs beside each other: a/softmax, b/mine") and "3-fold" in text
