"""Runs and notebooks small enough to make a site of in a second."""

import nbformat
import numpy as np
import pandas as pd
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from cifar_lib import config, runs
from cifar_lib.figures import plots
from cifar_lib.runs.predictions import Mistakes, Predictions

NAMES = ("01_first", "02_second")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TABLE = pd.DataFrame({"images": [12_345, 7, 900], "kind": ["b", "a", "c"]}, index=["cat", "dog", "bird"])


def drawn(title: str = "Loss by epoch"):
    """A figure with all its words."""
    history = pd.DataFrame({"epoch": [1, 2], "train_loss": [2.0, 1.0], "valid_loss": [2.0, 1.5]})
    figure = plots.loss(history, "mine: digits")
    figure.title = title
    return figure.for_card()


def notebook(number: int, code: str = "1") -> nbformat.NotebookNode:
    """As a kernel leaves it: a figure, a table, prose with a formula, computed words."""
    outputs = [new_output("display_data", {"image/png": PIXEL, **drawn()._repr_mimebundle_()})]
    outputs.append(new_output("display_data", {"text/html": TABLE.rename_axis("class").to_html(), "text/plain": ""}))
    seen = [new_output("execute_result", {"text/markdown": f"- It is **{number}**.\n- Or so."}, execution_count=3)]
    cells = [
        new_markdown_cell(f"# {number} · Is it so?\n\nIt is.\n\n*Reads*: nothing, for `$5`."),
        new_code_cell('# whose\nrun: str = "x"', metadata={"tags": ["parameters"]}, execution_count=1),
        new_markdown_cell("## A part\n\nA figure of it, and $k^2 a b$.\n\n$$\\frac{a}{b}$$"),
        new_code_cell(code, execution_count=2, outputs=outputs),
        new_markdown_cell("## What we saw\n\nSee [the second](02_second.ipynb) and [elsewhere](09_none.ipynb)."),
        new_code_cell("2", execution_count=3, outputs=seen),
        new_markdown_cell("Next: [2](02_second.ipynb)"),
    ]
    for i, cell in enumerate(cells):
        cell.id = f"cell-{i}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def finished(name: str, wrong: int = 3, kept: int | None = None, **settings) -> runs.Run:
    """A run that has ended, 20 test images, the first `wrong` taken for the next class, `kept` stored."""
    run = runs.start(name, config.Config(**{"dataset": "digits", "max_epochs": 7} | settings))
    run.record_history([dict.fromkeys(runs.COLUMNS, 0.5) | {"epoch": i} for i in range(1, 8)])
    facts = {"parameters": 10, "train_images": 5, "device": "cpu", "packages": {"torch": "2"}, "python": "3"}
    run.record("environment.json", facts)
    labels = np.arange(20) % 10
    predicted = (labels + (np.arange(20) < wrong)) % 10
    logits = (4 + np.arange(20)[:, None] / 20) * np.eye(10)[predicted]
    run.finish(Predictions(labels, predicted, logits.astype(np.float32)), mistakes(wrong if kept is None else kept))
    (run.folder / "model.safetensors").write_bytes(b"")
    return run


def mistakes(wrong: int) -> Mistakes:
    labels, index = np.arange(wrong) % 10, np.arange(wrong)
    images = np.random.default_rng(0).integers(0, 256, (wrong, 32, 32, 3), np.uint8)
    return Mistakes(index, images, labels, (labels + 1) % 10, np.linspace(0.9997, 0.5, wrong))


def written(folder, names=NAMES) -> list:
    """The notebooks as files, executed."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names, 1):
        nbformat.write(notebook(number), folder / f"{name}.ipynb")
    return [folder / f"{name}.ipynb" for name in names]


def page(folder, name: str) -> BeautifulSoup:
    """A page of the site in `folder`."""
    return BeautifulSoup((folder / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
