"""The project's root and its folders, anchored on the package's own place; nobody else does path arithmetic.

Installed without its repository (`pip install .`), the package keeps runs and data in the current folder.
"""

import os
from pathlib import Path


def folder(variable: str) -> Path | None:
    """The folder that an environment variable names, `~` expanded; None where it is unset or empty."""
    value = os.environ.get(variable, "").strip()
    return Path(os.path.expanduser(value)).resolve() if value else None


ROOT = Path(__file__).resolve().parent.parent
CHECKOUT = (ROOT / "pyproject.toml").is_file()
WORKSPACE = ROOT if CHECKOUT else Path.cwd()
DATA = WORKSPACE / "data"  # torchvision's `root`: holds cifar-10-batches-py once downloaded
RUNS = folder("CIFAR_RUNS") or WORKSPACE / "runs"
EVIDENCE = ROOT / "runs/evidence"  # tracked: the small files of the runs behind the tables
REFERENCE = ROOT / "runs/reference"  # tracked, with its weights
TINY = ROOT / "runs/tiny"  # tracked too: the smallest network
FIGURES = ROOT / "figures"
NOTEBOOKS = ROOT / "notebooks"
DOCS = ROOT / "docs"  # tracked: the pages, as `make site` makes them
