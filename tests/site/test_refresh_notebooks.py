"""What is committed of a notebook: its cells as they ran, and nothing else."""

import nbformat
import pytest
import sites

from cifar_lib import paths
from cifar_lib.config import Config
from cifar_lib.notebook import MIME, committed
from cifar_lib.runs import Run
from cifar_lib.site import browser, refresh_notebooks, report


def test_only_tags_and_outputs_are_left():
    notebook = sites.notebook(1)
    notebook.metadata["widgets"] = notebook.metadata["papermill"] = {"a": 1}
    notebook.cells[1].metadata["papermill"] = {"duration": 1}
    notebook.cells.insert(2, nbformat.v4.new_code_cell("run = 2", metadata={"tags": ["injected-parameters"]}))
    notebook.cells[4].outputs[0].data[browser.VIEW] = {"model_id": "random"}
    clean = refresh_notebooks.clean(notebook)
    assert set(clean.metadata) == {"kernelspec", "language_info"} and len(clean.cells) == 7
    assert all(set(cell.metadata) <= {"tags"} for cell in clean.cells) and clean.cells[1].metadata.tags == [
        "parameters"
    ]
    assert set(clean.cells[3].outputs[0].data) == {"image/png", MIME}
    assert [cell.execution_count for cell in clean.cells if cell.cell_type == "code"] == [1, 2, 3]
    nbformat.validate(clean)


def test_the_committed_ones_are_clean():
    for path in committed():
        text = path.read_text(encoding="utf-8")
        assert nbformat.writes(refresh_notebooks.clean(nbformat.reads(text, 4))) + "\n" == text, path.name


def test_notebook_03_shows_the_reference():
    given = report.settings_of(Run(paths.REFERENCE).config)
    assert Config(max_epochs=given.pop("epochs"), **given) == Run(paths.REFERENCE).config


@pytest.mark.xdist_group("papermill")
@pytest.mark.parametrize("code", ["7 * 6", "1 / 0"])
def test_executed_in_place_or_left_as_it_was(tmp_path, code):
    path = sites.written(tmp_path)[0]
    notebook = nbformat.read(path, 4)
    notebook.cells[3].source = code
    nbformat.write(notebook, path)
    before = path.read_bytes()
    if code == "1 / 0":
        with pytest.raises(report.FailedNotebook, match=r"^01_first, cell \[\d+\]: ZeroDivisionError: division"):
            refresh_notebooks.refresh(path)
        assert path.read_bytes() == before
    else:
        refresh_notebooks.refresh(path)
        assert nbformat.read(path, 4).cells[3].outputs[0].data["text/plain"] == "42"
    assert len(list(tmp_path.iterdir())) == 2
