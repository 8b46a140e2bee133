"""The report's notebooks: refused before a kernel starts, named where one fails."""

import re

import nbformat
import pytest
from sites import NAMES, notebook

from cifar_lib import paths
from cifar_lib.site import report


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"epcohs": "3"}, "epcohs: no notebook takes it; did you mean epochs?"),
        ({"epochs": "0"}, "max_epochs: got '0', expected greater than 0"),
        ({"dataset": "mnist"}, "dataset: got 'mnist'"),
        ({"batch_size": "many"}, "batch_size: got 'many'"),
        ({"dataset": "digits", "pickle_path": "/nope.pkl"}, "/nope.pkl: not there"),
        ({"dataset": "digits", "run": "../x"}, "run: got '../x'"),
    ],
)
def test_refused_before_a_kernel_starts(tmp_path, monkeypatch, given, expected):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    monkeypatch.setattr(report.papermill, "execute_notebook", lambda *a, **k: pytest.fail("a kernel was started"))
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
