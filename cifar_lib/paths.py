"""The project's root and its folders, anchored on the package's own place; nobody else does path arithmetic."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"  # torchvision's `root`: holds cifar-10-batches-py once downloaded
RUNS = Path(os.environ.get("CIFAR_RUNS", ROOT / "runs")).resolve()
EVIDENCE = ROOT / "runs/evidence"  # tracked: the small files of the runs behind the tables
REFERENCE = ROOT / "runs/reference"  # tracked, with its weights
FIGURES = ROOT / "figures"
NOTEBOOKS = ROOT / "notebooks"
