"""The report's notebooks: refused before a kernel starts, named where one fails."""

import re
import sys

import nbformat
import numpy as np
import pytest
from sites import NAMES, finished, notebook, page

from cifar_lib import __main__, paths
from cifar_lib.errors import UserError
from cifar_lib.runs.explained import Explanations
from cifar_lib.site import report


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"epcohs": "3"}, "epcohs: no notebook takes it; did you mean epochs?"),
        ({"epochs": "0"}, "max_epochs: got '0', expected greater than 0"),
        ({"dataset": "mnist"}, "dataset: got 'mnist'"),
        ({"batch_size": "many"}, "batch_size: got 'many'"),
        ({"dataset": "digits", "pickle_path": "/nope.pkl"}, "/nope.pkl: not there"),
        ({"dataset": "digits", "csv_path": "mine.csv"}, "csv_path: got mine.csv, but no pickle to label"),
        ({"dataset": "digits", "run": "../x"}, "run: got '../x'"),
    ],
)
def test_refused_before_a_kernel_starts(tmp_path, monkeypatch, given, expected):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    monkeypatch.setattr("papermill.execute_notebook", lambda *a, **k: pytest.fail("a kernel was started"))
    with pytest.raises(ValueError, match=re.escape(expected)) as refused:
        report.build(given)
    assert "\n" not in str(refused.value) and not list(tmp_path.iterdir())


@pytest.mark.xdist_group("papermill")
def test_failing_notebook_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook(1, "1 / 0"), tmp_path / "notebooks" / "01_first.ipynb")
    with pytest.raises(report.ReportError, match=r"^01_first, cell \[\d+\]: ZeroDivisionError: division by zero$"):
        report.build({"run": "failing"}, NAMES[:1])
    assert not (tmp_path / "failing" / "report").exists()


@pytest.mark.xdist_group("papermill")
def test_of_a_notebook_that_fails_the_pages_show_what_ran_and_what_stopped_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(report.build, "__defaults__", (NAMES,))
    (tmp_path / "notebooks").mkdir()
    for number, code in enumerate(["1 / 0", "print('it ran')"], 1):
        nbformat.write(notebook(number, code), tmp_path / "notebooks" / f"{NAMES[number - 1]}.ipynb")
    finished("mine", dataset="cifar10", max_epochs=1)
    monkeypatch.setattr(sys, "argv", "cifar_lib report -p run mine".split())
    with pytest.raises(SystemExit, match="^1$"):
        __main__.main()
    said = capsys.readouterr()
    assert said.err == "FailedNotebook: 01_first, cell [3]: ZeroDivisionError: division by zero\n"
    assert said.out.endswith("index.html\n")
    failed, whole, index = (page(tmp_path / "mine" / "report", name) for name in (*NAMES, "index"))
    assert (
        "This notebook failed. 01_first, cell [3]: ZeroDivisionError" in failed.select_one("header .failure").get_text()
    )
    assert [head.get_text() for head in failed.select("h2")] == ["A part"]  # and nothing of what did not run
    assert "An Exception was encountered" not in failed.get_text()
    assert "it ran" in whole.get_text() and "failed" not in whole.get_text()
    assert "Failed: 01_first" in index.select_one(".cards .short").get_text()


@pytest.mark.parametrize("reason", ["", "out of memory"])
def test_a_run_is_explained_before_its_mistakes_are_shown(tmp_path, monkeypatch, capsys, reason):
    """Once, after its training, and where its file is damaged; where that is refused the notebook runs all the same."""
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    done = []
    monkeypatch.setattr(report, "_execute", lambda name, *given: done.append(name))

    def explain(run):
        done.append("explain")
        if reason:
            raise UserError(reason)
        none = np.zeros((0, 3), int)
        run.record_explanations(Explanations(np.zeros((1, 2)), none[:, 0], np.zeros((0, 2, 32, 32), int), none, none))

    run = finished("mine", dataset="digits", max_epochs=1)
    (run.folder / "explained.npz").write_bytes(b"damaged")
    for _ in range(2):
        report.build({"run": "mine", "dataset": "digits"}, ("03_train", "05_confusion"), explain=explain)
    once = ["03_train", "explain", "05_confusion"]
    assert done == (once + once if reason else [*once, "03_train", "05_confusion"])
    assert (f"left out: {reason}" in capsys.readouterr().out) == bool(reason)
