"""What a notebook was given, compared with what it takes; how its figures are stored. No torch."""

import ast
from collections.abc import Sequence
from pathlib import Path

from cifar_lib import paths
from cifar_lib.config import did_you_mean
from cifar_lib.errors import UserError
from cifar_lib.system import need_checkout

MIME = "application/vnd.cifar-lib.figure+json"  # of a figure's shapes, among the outputs of its cell
INJECTED = "# Parameters"  # how papermill begins the cell that it puts after the notebook's own


def committed() -> list[Path]:
    """Every notebook of the project, in order. Raises `NoCheckout`."""
    need_checkout("the notebooks")
    return sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb"))


class UnknownParameter(UserError):
    """A parameter that the notebook does not take; the message is one line."""


def check_parameters(history: Sequence[str]) -> None:
    """Refuse a parameter that the notebook does not take, which would otherwise change nothing and go unnoticed.

    `history` is `In`, the cells that IPython has run. The last one with annotated assignments (`epochs: int = 1`) says
    what the notebook takes; an assignment there without annotation, or in papermill's cell, must be of one of these
    names. Raises `UnknownParameter`.
    """
    known, given = set(), []
    for cell in history:
        declared, assigned = _assigned(cell)
        if declared:
            known, given = declared, []
        if declared or cell.startswith(INJECTED):
            given += assigned
    for name in given:
        if name not in known:
            raise UnknownParameter(f"{name}: no such parameter{did_you_mean(name, known)}")


def _assigned(cell: str) -> tuple[set[str], list[str]]:
    """The names that a cell assigns at its top, with an annotation and without."""
    try:
        statements = ast.parse(cell).body
    except SyntaxError:
        return set(), []
    annotated = [one.target for one in statements if isinstance(one, ast.AnnAssign)]
    plain = [target for one in statements if isinstance(one, ast.Assign) for target in one.targets]
    names = [[one.id for one in targets if isinstance(one, ast.Name)] for targets in (annotated, plain)]
    return set(names[0]), names[1]
