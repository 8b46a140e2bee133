"""The report: refused before a kernel starts, stands alone, is swapped in whole."""

import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from cifar_lib import config, paths, report, runs
from cifar_lib.predictions import Mistakes, Predictions

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
NAMES = ("01_first", "02_second")


def notebook(number: int, code: str = "1") -> nbformat.NotebookNode:
    outputs = [new_output("display_data", {"image/png": PIXEL, "text/plain": "<Picture>"})]
    table = pd.DataFrame({"class": ["cat"], "images": [1_000]}).to_html()
    outputs.append(new_output("display_data", {"text/html": table, "text/plain": ""}))
    cells = [
        new_markdown_cell(f"# {number} · Is it so?\n\nIt is."),
        new_code_cell('# whose\nrun: str = "x"', metadata={"tags": ["parameters"]}),
        new_markdown_cell("## A part\n\nA figure of it. More."),
        new_code_cell(code, execution_count=1, outputs=outputs),
        new_markdown_cell("Next: [2](02_second.ipynb) and [elsewhere](09_none.ipynb)"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


@pytest.fixture
def finished(tmp_path, monkeypatch) -> runs.Run:
    """A finished run with two executed notebooks, in folders of its own."""
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    run, none = runs.start("done", config.Config(dataset="digits", max_epochs=1)), np.arange(0)
    run.record_history([dict.fromkeys(runs.COLUMNS, 0.5) | {"epoch": 1}])
    facts = {"parameters": 10, "train_images": 5, "device": "cpu", "packages": {}, "python": "3"}
    run.record("environment.json", facts)
    logits = np.eye(10, dtype=np.float32)
    mistakes = Mistakes(none, np.zeros((0, 32, 32, 3), np.uint8), none, none, none)
    run.finish(Predictions(np.arange(10), np.arange(10), logits), mistakes)
    (run.folder / "model.safetensors").write_bytes(b"")
    (run.folder / "notebooks").mkdir()
    for number, name in enumerate(NAMES, 1):
        nbformat.write(notebook(number), run.folder / "notebooks" / f"{name}.ipynb")
    return run


def test_pages_stand_alone(finished):
    index = report.publish(finished, NAMES)
    pages = {path.name: path.read_text(encoding="utf-8") for path in index.parent.glob("*.html")}
    assert set(pages) == {"index.html", "01_first.html", "02_second.html"}
    for html in pages.values():
        links = re.findall(r'(?:src|href)="([^"]*)"', html) + re.findall(r"url\(([^)]*)\)", html)
        assert all(link.startswith(("data:", "#")) or link.split("#")[0] in pages for link in links)
        assert "@import" not in html and "<script" not in html
        images = re.findall(r"<img[^>]*>", html)
        assert images and all(re.search(r'alt="[^"]{3,}"', image) for image in images)


def test_digits_are_never_mistaken_for_cifar10(finished):
    assert "digits (not CIFAR-10)" in report.publish(finished, NAMES).read_text(encoding="utf-8")


def test_numbers_go_to_the_right_and_code_is_folded(finished):
    html = (report.publish(finished, NAMES).parent / "01_first.html").read_text(encoding="utf-8")
    assert re.search(r'<td class="number">1000</td>', html) and "<details" in html


def test_earlier_report_survives_a_failure(finished):
    index = report.publish(finished, NAMES)
    before = {path: path.read_bytes() for path in index.parent.iterdir()}
    (finished.folder / "notebooks" / "02_second.ipynb").write_text("{")
    with pytest.raises(Exception, match=r"."):
        report.publish(finished, NAMES)
    assert {path: path.read_bytes() for path in index.parent.iterdir()} == before
    assert not list(finished.folder.glob(".report*"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"epcohs": "3"}, "epcohs: no notebook takes it; did you mean epochs?"),
        ({"epochs": "0"}, "max_epochs: got '0', expected greater than 0"),
        ({"dataset": "mnist"}, "dataset: got 'mnist'"),
        ({"batch_size": "many"}, "batch_size: got 'many'"),
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
