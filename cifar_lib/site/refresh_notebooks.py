"""The notebooks as they are committed: executed in place from the tracked files, without widgets, times, metadata."""

import tempfile
from pathlib import Path

import nbformat

from cifar_lib import paths
from cifar_lib.runs import Run
from cifar_lib.site import browser, report
from cifar_lib.system import files


def refresh(path: Path) -> None:
    """Execute one and write it back, whole or, where a cell fails (`FailedNotebook`), not at all.

    03 gets the settings of runs/reference, which it finds finished; all others run as they stand.
    """
    settings = report.settings_of(Run(paths.REFERENCE).config)
    values = settings | {"run": "reference"} if path.stem == "03_train" else {}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / path.name
        report.execute(path, target, values)
        notebook = nbformat.read(target, 4)
    files.write_atomically(path, (nbformat.writes(clean(notebook)) + "\n").encode())


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without injected cells, widgets and metadata but the tags; cells counted from 1."""
    notebook.cells = cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    for cell in cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
    for number, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), 1):
        cell.execution_count = number
        for output in cell.outputs:
            output.get("data", {}).pop(browser.VIEW, None)
            if output.output_type == "execute_result":
                output.execution_count = number
    return notebook
