"""Where ONNX Runtime's milliseconds go, by part of the network and kind of operation, from its own profile."""

import json
import re
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from cifar_lib.edge.forms import session


def times(path: Path, images: np.ndarray) -> list[dict]:
    """Rows of part, operator and milliseconds per image, the longest first; the ONNX file is asked image by image."""
    with tempfile.TemporaryDirectory() as folder:
        asked = session(path, str(Path(folder) / "profile"))
        for i in range(len(images)):
            asked.run(None, {"image": images[i : i + 1]})
        events = json.loads(Path(asked.end_profiling()).read_text(encoding="utf-8"))
    return rows(events, len(images))


def rows(events: list[dict], images: int) -> list[dict]:
    """The same from the events of a profile: those of a node's own computation, in microseconds."""
    spent: dict[tuple[str, str], float] = defaultdict(float)
    for event in events:
        if event["name"].endswith("_kernel_time"):
            spent[part(event["name"]), event["args"]["op_name"]] += event["dur"] / 1000 / images
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return [{"part": of, "operator": operator, "ms": ms} for (of, operator), ms in ordered]


def part(node: str) -> str:
    """The part of the network that a node's name belongs to: "stem", "stage 1", or "other"."""
    if found := re.search(r"stages_(\d)", node):
        return f"stage {int(found[1]) + 1}"
    return "stem" if node.startswith("stem") else "other"
