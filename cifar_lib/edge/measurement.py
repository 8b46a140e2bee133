"""One measurement of a run on its way to a device: accuracy, size, memory and time of each form, as a JSON file."""

import datetime
import json
import os
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from cifar_lib.data import Dataset, Split
from cifar_lib.data.batches import normalise
from cifar_lib.device import placement
from cifar_lib.edge import agreement, folder, forms, latency, layers
from cifar_lib.evidence.edge_file import EAGER, FORMAT, INT8
from cifar_lib.inference import corruptions, load
from cifar_lib.inference.evaluation import predict
from cifar_lib.runs import WEIGHTS, Run

TIMED, ROUNDS = 10, 20  # images in a round, rounds
SEVERITY = 3  # of the corruptions
CORRUPTED = 1_000  # test images under each


def measure(run: Run, dataset: Dataset, images: int | None = None) -> dict:
    """Everything that notebook 09 shows of a run, measured here; `images`: of the test set, None for all.

    Raises `BusyMachine` where something else runs, which would spoil the times.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        to = Path(place)
        folder.export(run, to, half=True, int8=True)
        files = {name: to / file for name, file in forms.files().items()}
        ask = {name: forms.asker(name, path) for name, path in files.items()}
        test = dataset.test[:images]
        times = latency.measure({EAGER: _eager(run)} | ask, test.images[:TIMED], ROUNDS, EAGER)
        taken = {name: forms.footprint(name, path) for name, path in ({EAGER: run.folder} | files).items()}
        spent = layers.times(files[INT8], test.images[:TIMED])
        found = {EAGER: _own(run)} | {name: _form(run, test, ask[name], path) for name, path in files.items()}
        about = json.loads((to / folder.CARD).read_text(encoding="utf-8"))
    return _machine() | {
        "run": run.name,
        "images": len(test.labels),
        "classes": list(run.config.classes),
        "parameters": run.environment["parameters"],
        "multiply_adds": about["multiply_adds"],
        "peak_activation_bytes": about["peak_activation_bytes"],
        "int8_parameter_bytes": about["int8_parameter_bytes"],
        "versions": about["versions"] | _optional_versions(),
        "forms": {name: facts | taken[name] | times[name] for name, facts in found.items()},
        "layers": spent,
    }


def _eager(run: Run) -> Callable[[np.ndarray], object]:
    """Images (N, 32, 32, 3) uint8 to logits (N, 10), by the network as the library has it, on the CPU."""
    network = load(run).network.cpu()
    form = placement.memory_format(run.config)

    def ask(images: np.ndarray):
        x = normalise(torch.from_numpy(images).permute(0, 3, 1, 2), run.config)
        return predict(network, [x.contiguous(memory_format=form)])

    return ask


def _own(run: Run) -> dict:
    return {"accuracy": run.predictions.accuracy, "bytes": (run.folder / WEIGHTS).stat().st_size}


def _form(run: Run, test: Split, ask: Callable, path: Path) -> dict:
    """Of an exported file: its size, and its answers compared with the run's stored predictions."""
    own = run.predictions.logits[: len(test.labels)].astype(np.float32)
    found = agreement.compare(test.labels, own, forms.logits(ask, test.images))
    few = test[:CORRUPTED]
    shifted = {name: corruptions.corrupted(few.images, name, SEVERITY) for name in corruptions.CORRUPTIONS}
    right = {name: forms.logits(ask, images).argmax(1) == few.labels for name, images in shifted.items()}
    corrupted = {name: float(values.mean()) for name, values in right.items()}
    return found | {"corrupted": corrupted, "bytes": path.stat().st_size}


def _optional_versions() -> dict[str, str]:
    return {"openvino": metadata.version("openvino")} if forms.files() != forms.FILES else {}


def _machine() -> dict:
    """Where and when, and whether the CPU multiplies int8 itself (VNNI)."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return {
        "format": FORMAT,
        "date": datetime.date.today().isoformat(),
        "device": f"cpu: {placement.processor()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "vnni": "vnni" in flags,
    }
