"""The folder that goes to a device: ONNX models of a run, what they are, and a script that runs them."""

import json
from pathlib import Path

from cifar_lib import data
from cifar_lib.edge import card, extra, graph, narrow
from cifar_lib.inference import load
from cifar_lib.runs import Run, RunError
from cifar_lib.system import OutputError, make_folder, write_atomically
from cifar_lib.system.files import PART

CALIBRATED_ON = 256  # training images
SCRIPT = Path(__file__).with_name("predict.py")
CARD = "card.json"
MODELS = ("model.onnx", "model-half.onnx", "model-int8.onnx")
NAMES = {*MODELS, SCRIPT.name, CARD}


def export(run: Run, to: Path, half: bool = False, int8: bool = False) -> dict[str, int]:
    """Write a run's network into the folder `to`: model.onnx, predict.py and card.json; with `half` model-half.onnx,
    with `int8` model-int8.onnx, whose ranges come from 256 of the run's training images. File name -> bytes.

    The same run gives the same bytes. The card is written last, so that its SHA-256s hold once it is there; models of
    an earlier export that this one does not make are removed. Raises `NoExtra`, `RunError` for a run that has not
    ended or has no weights, `DataError` where `int8` finds no images, and `OutputError` for a folder that holds
    anything else or cannot be written.
    """
    extra.need()
    if not run.complete:
        raise RunError(f"run {run.name}: its training has not ended; go on with it, then export it")
    _check(to)
    models, calibration = _models(run, half, int8)
    files = {name: model.SerializeToString(deterministic=True) for name, model in models.items()}
    files[SCRIPT.name] = SCRIPT.read_bytes()
    about = card.card(run, models, files, calibration)
    files[CARD] = (json.dumps(about, indent=1) + "\n").encode()
    _write(to, files)
    return {name: len(held) for name, held in files.items()}


def _models(run: Run, half: bool, int8: bool) -> tuple[dict, dict | None]:
    """The `onnx.ModelProto`s by file name, and what int8 was calibrated on."""
    network = load(run).network
    models, calibration = {"model.onnx": graph.as_onnx(network, run.config)}, None
    if half:
        models["model-half.onnx"] = narrow.half(models["model.onnx"])
    if int8:
        images = data.load(run.config).train.images[:CALIBRATED_ON]
        models["model-int8.onnx"], calibration = narrow.int8(models["model.onnx"], images), card.calibration(images)
    return models, calibration


def _check(to: Path) -> None:
    """Raise `OutputError` for a place where an export could write over a stranger's files."""
    if to.exists() and not to.is_dir():
        raise OutputError(f"{to}: is a file, expected a folder, new or of an earlier export")
    held = {path.name for path in to.glob("*") if not path.name.endswith(PART)} if to.is_dir() else set()
    if CARD not in held and held - NAMES:
        most = ", ".join(sorted(held - NAMES)[:3])
        raise OutputError(f"{to}: holds other files ({most}), expected a folder, new or of an earlier export")


def _write(to: Path, files: dict[str, bytes]) -> None:
    make_folder(to)
    for name, held in files.items():
        write_atomically(to / name, held)
    for name in set(MODELS) - files.keys():
        (to / name).unlink(missing_ok=True)
