"""The notebooks as they are committed: executed in place from the tracked files, with nothing else left in them.

What viewers of notebooks cannot use, or what would differ at each run, is taken out: widgets, times, a tool's metadata.
"""

import tempfile
from pathlib import Path

import nbformat

from cifar_lib import paths
from cifar_lib.runs import Run
from cifar_lib.site import report
from cifar_lib.system import files

WIDGET = "application/vnd.jupyter.widget-view+json"


def every() -> list[Path]:
    """Every notebook of the project, in order."""
    return sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb"))


def refresh(path: Path) -> None:
    """Execute one and write it back, whole or, where a cell fails (`FailedNotebook`), not at all.

    03 gets the settings of runs/reference, which it finds finished; all others run as they stand.
    """
    values = _reference() if path.stem == "03_train" else {}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / path.name
        report.execute(path, target, values)
        notebook = nbformat.read(target, 4)
    files.write_atomically(path, (nbformat.writes(clean(notebook)) + "\n").encode())


def _reference() -> dict:
    """What notebook 03 is given to show runs/reference: its settings where they are not the defaults."""
    config = Run(paths.REFERENCE).config
    default = type(config)().model_dump(mode="json")
    changed = {k: v for k, v in config.model_dump(mode="json").items() if v != default[k]}
    epochs = {"epochs": changed.pop("max_epochs")} if "max_epochs" in changed else {}
    return {"run": "reference"} | epochs | changed


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
            output.get("data", {}).pop(WIDGET, None)
            if output.output_type == "execute_result":
                output.execution_count = number
    return notebook
