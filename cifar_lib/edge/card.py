"""What an exported folder says of itself, for a person and for a program."""

import hashlib

import numpy as np
import torch

import cifar_lib
from cifar_lib.config import IMAGE_SIZE
from cifar_lib.edge import cost, graph
from cifar_lib.runs import WEIGHTS, Run

INPUT = {
    "name": graph.IMAGE,
    "dtype": "uint8",
    "shape": ["batch", IMAGE_SIZE, IMAGE_SIZE, 3],
    "layout": "NHWC, RGB, 0 to 255; the normalisation is in the model",
    "from_other_sizes": "bilinear with antialiasing, as Pillow resizes",
}


def card(run: Run, models: dict, files: dict[str, bytes], calibration: dict | None) -> dict:
    """Of the run, its ONNX models by file name, and the bytes of all files: a dict to be written as JSON.

    Accuracy, 0 to 1, is the run's own on its test set, in float32, as stored; the exported files are not measured here.
    """
    predictions, model = run.predictions, models["model.onnx"]
    return {
        "run": run.name,
        "weights_sha256": hashlib.sha256(run.read(WEIGHTS)).hexdigest(),
        "dataset": run.config.dataset,
        "classes": list(run.config.classes),
        "accuracy_of_run": predictions.accuracy,
        "test_images": len(predictions.labels),
        "input": INPUT,
        "output": {"name": graph.LOGITS, "dtype": "float32", "shape": ["batch", len(run.config.classes)]},
        "multiply_adds": cost.multiply_adds(model),
        "peak_activation_bytes": {"int8": cost.peak_memory(model, 1), "float32": cost.peak_memory(model, 4)},
        "int8_parameter_bytes": cost.parameter_bytes(models["model-int8.onnx"]) if calibration else None,
        "files": {name: _file(data, models.get(name)) for name, data in sorted(files.items())},
        "calibration": calibration,
        "versions": versions(),
    }


def calibration(images: np.ndarray) -> dict:
    """Of the images (N, 32, 32, 3) that gave int8 its ranges: which ones, and the SHA-256 of their pixels."""
    return {
        "split": "the run's training images, in the order of data.load(run.config).train",
        "indices": list(range(len(images))),
        "sha256": hashlib.sha256(images.tobytes()).hexdigest(),
    }


def versions() -> dict[str, str]:
    """Of what made the files."""
    import onnx
    import onnxruntime

    made_with = {"cifar_lib": cifar_lib.__version__, "torch": torch.__version__, "numpy": np.__version__}
    return made_with | {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}


def _file(data: bytes, model) -> dict:
    about = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if model is None:
        return about
    opsets = {one.domain or "ai.onnx": one.version for one in model.opset_import}
    return about | {"opset": opsets, "operators": cost.operators(model)}
