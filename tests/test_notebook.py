"""A parameter that a notebook does not take is refused, however it was given, before anything is loaded."""

import json

import pytest

from cifar_lib import paths
from cifar_lib.notebook import UnknownParameter, check_parameters

CELL = 'epochs: int = 1\nrun: str = ""'
NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("0*.ipynb"))


@pytest.mark.parametrize(
    "history",
    [
        ["", "import json", CELL],
        ["", CELL, "# Parameters\nepochs = 5\nrun = 'a'"],
        ["", CELL, "# Parameters\nepochs = 5", "config = 1"],
        ["", CELL, "config = 1", CELL],  # the notebook run once more
        ["", CELL, "# Parameters\nepoch = 5", CELL],  # the kernel kept, the name put right
        ["", "%matplotlib inline\nx = 1", CELL],
        ["", CELL + "\nepochs = 3"],
    ],
)
def test_what_it_takes_passes(history):
    check_parameters(history)


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        ([CELL, "# Parameters\nepoch = 5"], "epoch: no such parameter; did you mean epochs?"),
        ([CELL + "\nepoch = 5"], "epoch: no such parameter; did you mean epochs?"),
        ([CELL, "# Parameters\nepochs = 2\ncolour = None"], "colour: no such parameter"),
        (['run: str = ""', "# Parameters\nruns = 't1'"], "runs: no such parameter; did you mean run?"),
    ],
)
def test_what_it_does_not_take_is_refused(cells, line):
    with pytest.raises(UnknownParameter, match=f"^{line.replace('?', '[?]')}$"):
        check_parameters(["", *cells])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_checks_first_what_it_was_given(path):
    """In the first code cell after the parameters, in its first line: papermill's cell comes between the two."""
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    [at] = [n for n, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", [])]
    assert cells[at + 1]["source"][0] == "cifar_lib.notebook.check_parameters(In)\n"
    assert ": " in "".join(cells[at]["source"]) and len(NOTEBOOKS) == 9
