"""The folder that `export` leaves: whole, the same each time, of use without torch, never over a stranger's files."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import edge_networks
import numpy as np
import pytest
from edge_networks import ABSENT, WHY
from PIL import Image

import cifar_lib
from cifar_lib import __main__ as command_line
from cifar_lib import data, edge, runs
from cifar_lib.config import Config
from cifar_lib.edge import extra, narrow
from cifar_lib.system import OutputError, locks

pytestmark = pytest.mark.xdist_group("edge")  # one process trains the run
needs_extra = pytest.mark.skipif(ABSENT, reason=WHY)
ALL = ["card.json", "model-half.onnx", "model-int8.onnx", "model.onnx", "predict.py"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    if ABSENT:
        pytest.skip(WHY)
    to = tmp_path_factory.mktemp("edge") / "out" / "digits"
    edge.export(edge_networks.trained(), to, half=True, int8=True)
    return to


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def card(folder: Path) -> dict:
    return json.loads((folder / "card.json").read_text(encoding="utf-8"))


def call(monkeypatch, *words) -> None:
    monkeypatch.setattr(sys, "argv", ["cifar_lib", "export", *map(str, words)])
    command_line.main()


def test_twice_the_same_bytes_and_nothing_of_this_machine(folder, tmp_path, monkeypatch, capsys):
    call(monkeypatch, "for-edge", "--to", tmp_path / "again", "--half", "--int8")
    assert held(tmp_path / "again") == held(folder) and list(held(folder)) == ALL
    said = capsys.readouterr().out
    assert all(f"{len(content):,} bytes  {tmp_path / 'again' / name}" in said for name, content in held(folder).items())
    places = [str(place).encode() for place in (cifar_lib.paths.ROOT, Path.home(), folder.parent, "site-packages")]
    assert not any(place in content for content in held(folder).values() for place in places)


def test_card_says_what_the_files_are(folder):
    about, files, run = card(folder), held(folder), edge_networks.trained()
    for name, facts in about["files"].items():
        assert facts["sha256"] == hashlib.sha256(files[name]).hexdigest() and facts["bytes"] == len(files[name])
    assert sorted(about["files"]) == ALL[1:]
    assert about["classes"] == list("0123456789") and about["accuracy_of_run"] == run.predictions.accuracy > 0.9
    assert about["weights_sha256"] == hashlib.sha256(run.read("model.safetensors")).hexdigest()
    assert about["multiply_adds"] == cifar_lib.models.macs(run.config)["total"]
    assert 1 < about["int8_parameter_bytes"] / run.environment["parameters"] < 3, "small channels have many scales"
    peak = 3 * 8 * 32 * 32 + 8
    assert about["peak_activation_bytes"] == {"int8": peak, "float32": 4 * peak}
    assert about["input"]["dtype"] == "uint8" and about["input"]["shape"] == ["batch", 32, 32, 3]
    assert about["files"]["model.onnx"]["opset"] == {"ai.onnx": 17} and about["output"]["shape"] == ["batch", 10]


@needs_extra
def test_calibrated_on_training_images_alone(folder, tmp_path, monkeypatch):
    """What ONNX Runtime is fed, by content, and what the card says of it."""
    fed, reader, dataset = [], narrow._Reader, data.load(edge_networks.trained().config)
    monkeypatch.setattr(narrow, "_Reader", lambda images: fed.append(images) or reader(images))
    edge.export(edge_networks.trained(), tmp_path / "out", int8=True)
    [images] = fed
    about = card(folder)["calibration"]
    assert len(images) == 256 and (images == dataset.train.images[about["indices"]]).all()
    assert about["sha256"] == hashlib.sha256(images.tobytes()).hexdigest()
    others = {image.tobytes() for split in (dataset.valid, dataset.test) for image in split.images}
    assert not others & {image.tobytes() for image in images}


def test_every_calibration_image_is_used(folder):
    batches = narrow._Reader(np.zeros((70, 32, 32, 3), np.uint8))
    sizes = [len(batch["image"]) for batch in iter(batches.get_next, None)]
    assert sizes == [32, 32, 6]


@needs_extra
def test_an_earlier_export_gives_way(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "out")
    edge.export(edge_networks.trained(), tmp_path / "out")
    assert list(held(tmp_path / "out")) == ["card.json", "model.onnx", "predict.py"]
    assert card(tmp_path / "out")["calibration"] is None
    assert sorted(card(tmp_path / "out")["files"]) == ["model.onnx", "predict.py"]


@needs_extra
def test_an_export_that_was_cut_is_made_whole(folder, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"old")
    (tmp_path / ".model.onnx.1.part").write_bytes(b"half")
    edge.export(edge_networks.trained(), tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == (folder / "model.onnx").read_bytes()


WITHOUT = "import sys; sys.modules.update(dict.fromkeys(('torch', 'torchvision', 'cifar_lib', 'onnx', 'scipy')))\n"


def without_torch(tmp_path: Path, *words) -> subprocess.CompletedProcess:
    """A script in a Python that has no torch and no cifar_lib."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("model", [[], ["model-half.onnx"], ["model-int8.onnx"]])
def test_predict_without_torch_says_what_the_library_says(folder, tmp_path, model):
    image = data.load(edge_networks.trained().config).test.images[3]
    Image.fromarray(image).resize((50, 40)).save(tmp_path / "digit.png")
    expected = cifar_lib.load(edge_networks.trained()).predict(tmp_path / "digit.png")
    done = without_torch(tmp_path, folder / "predict.py", "digit.png", *model)
    name, probability = done.stdout.splitlines()[0].split()
    assert name == expected.name and done.stdout.count("\n") == 3
    assert float(probability) == pytest.approx(expected.probability, abs=2e-2 if model else 2e-6)


def test_torch_was_really_out_of_reach(tmp_path):
    assert without_torch(tmp_path, "-c", "import torch").returncode == 1
    assert without_torch(tmp_path, "-c", "import cifar_lib").returncode == 1


def test_predict_without_a_picture_says_how(folder, tmp_path):
    done = without_torch(tmp_path, folder / "predict.py")
    assert done.returncode == 1 and "python predict.py PICTURE" in done.stderr and "Traceback" not in done.stderr


def test_no_extra_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(extra, "NEEDED", ("json", "not_there"))
    with pytest.raises(SystemExit) as stopped:
        call(monkeypatch, edge_networks.trained().name, "--to", tmp_path / "out")
    err = capsys.readouterr().err
    assert err.startswith("NoExtra: an export needs not_there, not installed here; pip install -r requirements-edge")
    assert stopped.value.code == 2 and err.count("\n") == 1 and not (tmp_path / "out").exists()


@needs_extra
@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda place: place.write_text("mine"), "is a file, expected a folder, new or of an earlier export"),
        (lambda place: (place.mkdir(), (place / "a.txt").write_text("mine")), "holds other files (a.txt), expected"),
    ],
)
def test_a_stranger_s_files_stay(monkeypatch, capsys, tmp_path, made, expected):
    made(tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        call(monkeypatch, edge_networks.trained().name, "--to", tmp_path / "out")
    err = capsys.readouterr().err
    assert f"OutputError: {tmp_path / 'out'}: {expected}" in err and err.count("\n") == 1
    assert stopped.value.code == 5 and sorted(tmp_path.rglob("*")) == before


@needs_extra
def test_a_run_that_cannot_be_exported_is_refused(tmp_path):
    begun = runs.start("begun-for-edge", Config(dataset="digits", device="cpu"))
    locks.release(begun.folder)
    with pytest.raises(runs.RunError, match="its training has not ended"):
        edge.export(begun, tmp_path / "out")
    shutil.copytree(edge_networks.trained().folder, tmp_path / "bare")
    (tmp_path / "bare" / "model.safetensors").unlink()
    with pytest.raises(runs.RunError, match="model.safetensors is missing"):
        edge.export(runs.Run(tmp_path / "bare"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@needs_extra
def test_int8_without_the_data_set_is_refused(monkeypatch, tmp_path):
    def absent(config):
        raise data.DataError("not here")

    monkeypatch.setattr(data.datasets, "load", absent)
    with pytest.raises(data.DataError):
        edge.export(edge_networks.trained(), tmp_path / "out", int8=True)
    assert not (tmp_path / "out").exists()
    edge.export(edge_networks.trained(), tmp_path / "out")


@needs_extra
def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        edge.export(edge_networks.trained(), tmp_path / "file" / "out")


def test_the_pinned_versions_are_in_range():
    """requirements-edge.txt pins what the extra asks for, and nothing else."""
    import tomllib

    ranges = tomllib.loads((cifar_lib.paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [line.split(">=")[0] for line in ranges["project"]["optional-dependencies"]["edge"]]
    lines = (cifar_lib.paths.ROOT / "requirements-edge.txt").read_text(encoding="utf-8").splitlines()
    assert asked == [line.split("==")[0] for line in lines if "==" in line] == list(extra.NEEDED)
