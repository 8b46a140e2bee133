"""One image, or many: the same answer from an array and a file, at any batch size."""

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import LONG
from PIL import Image

import cifar_lib
from cifar_lib import data, paths, runs
from cifar_lib.config import Config
from cifar_lib.errors import UserError
from cifar_lib.evidence import networks
from cifar_lib.exchange.pictures import BadPicture
from cifar_lib.inference import classifier
from cifar_lib.models import resnet

CONFIG = Config(dataset="digits", num_channels=4, device="cpu")


@pytest.fixture(scope="module")
def tiny() -> classifier.Classifier:
    return classifier.Classifier(resnet.build(CONFIG), CONFIG)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (23, 32, 32, 3), dtype=np.uint8)


def test_array_and_file_agree(tiny, images, tmp_path):
    Image.fromarray(images[0]).save(tmp_path / "image.png")
    by_array, by_file = tiny.predict(images[0]), tiny.predict(tmp_path / "image.png")
    assert by_array.label == by_file.label and (by_array.probabilities == by_file.probabilities).all()
    assert by_array.name == CONFIG.classes[by_array.label]
    assert by_array.probability == by_array.probabilities.max() and by_array.probabilities.sum() == pytest.approx(1)


def test_any_size_of_picture(tiny, images):
    large = np.asarray(Image.fromarray(images[0]).resize((64, 64), Image.Resampling.NEAREST))
    assert tiny.predict(large).probabilities.shape == (10,)


@pytest.mark.parametrize("batch_size", [1, 7, 23, 500])
def test_labels_do_not_depend_on_the_batch_size(tiny, images, batch_size):
    served = data.Images(images, range(23))
    assert (tiny.labels(served, batch_size) == tiny.labels(served)).all()
    np.testing.assert_allclose(tiny.logits(served, batch_size), tiny.logits(served), atol=1e-5)


WRONG = [np.zeros((32, 32, 3)), np.zeros((32, 32), "u1"), np.zeros((3, 32, 32), "u1"), np.zeros((0, 0, 3), "u1")]


@pytest.mark.parametrize("wrong", [*WRONG, [[1, 2], [3]], None])
def test_wrong_array_is_refused(tiny, wrong):
    with pytest.raises(BadPicture, match="expected uint8") as refused:
        tiny.predict(wrong)
    assert "\n" not in str(refused.value)


def test_wrong_file_is_refused(tiny, tmp_path):
    (tmp_path / "page.png").write_text("<html>")
    with pytest.raises(BadPicture, match="not a picture"):
        tiny.predict(tmp_path / "page.png")
    with pytest.raises(BadPicture, match="not a picture"):
        tiny.predict(tmp_path / "missing.png")


def test_run_without_weights_is_refused():
    run = runs.start("no-weights", CONFIG)
    with pytest.raises(runs.RunError, match="model.safetensors is missing"):
        classifier.load(run)


@pytest.mark.parametrize("batch_size", ["abc", 0, -1, 2.5, None])
def test_wrong_batch_size_is_refused(tiny, images, batch_size):
    with pytest.raises(UserError, match="^batch_size: got .*, expected a whole number from 1$"):
        tiny.labels(data.Images(images, range(23)), batch_size)


@pytest.mark.parametrize("width", networks.runs())
def test_pretrained_weights_say_what_the_stored_predictions_say(cifar10, width):
    """README's numbers, from the tracked weights, in float32 on a CPU; another machine may turn a few images over."""
    run, first = networks.runs()[width], 10_000 if LONG else 1_000
    predictions, test = run.predictions, cifar10.test
    assert (predictions.labels == test.labels).all() and predictions.accuracy == run.summary["test_accuracy"]
    found = cifar_lib.load_pretrained(width).labels(data.Images(test.images[:first], test.labels[:first]))
    assert (found != predictions.predicted[:first]).sum() <= max(1, first // 2000)
    stored = safetensors.torch.load_file(run.folder / "model.safetensors")
    assert {value.dtype for value in stored.values() if value.ndim > 1} == {torch.float16}
    assert {p.dtype for p in cifar_lib.load_pretrained(width).network.parameters()} == {torch.float32}


def test_the_picture_classified_is_the_picture_seen(tmp_path):
    """A photograph is the same ship however a camera, a scanner or an editor stores it."""
    network, ship = cifar_lib.load_pretrained(), Image.open(paths.FIGURES / "example.png").convert("RGB")
    expected = network.predict(paths.FIGURES / "example.png")
    exif = Image.Exif()
    exif[0x112] = 3
    ship.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "turned.png", exif=exif)
    hidden = Image.new("RGBA", (64, 64), "red")
    hidden.putalpha(0)
    hidden.save(tmp_path / "hidden.png")
    Image.new("RGB", (64, 64), "white").save(tmp_path / "white.png")
    grey = np.asarray(ship.convert("L"))
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype("uint16") * 257).save(tmp_path / "16.png")

    def same(one, other) -> bool:
        return (one.probabilities == other.probabilities).all()

    assert expected.name == "ship" and same(network.predict(tmp_path / "turned.png"), expected)
    assert same(network.predict(tmp_path / "hidden.png"), network.predict(tmp_path / "white.png"))
    assert same(network.predict(tmp_path / "16.png"), network.predict(tmp_path / "8.png"))
