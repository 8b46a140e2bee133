"""What notebook 01 shows is what the network computes."""

import numpy as np
import pytest
import torch

from cifar_lib import paths
from cifar_lib.config import STATISTICS, Config
from cifar_lib.data import download
from cifar_lib.evidence import metrics
from cifar_lib.inference import activations
from cifar_lib.models import resnet
from cifar_lib.runs import Run
from cifar_lib.runs.predictions import Predictions

CONFIG = Config(num_channels=8, device="cpu")


@pytest.fixture(scope="module")
def network():
    return resnet.build(CONFIG).eval()


def test_example_is_that_image_of_the_test_set(cifar10):
    example = activations.example("cifar10")
    assert (example.image == cifar10.test.images[activations.EXAMPLE]).all()
    assert example.label == cifar10.test.labels[activations.EXAMPLE] and example.name == "ship"


def test_digit_is_of_the_test_set(digits):
    example = activations.example("digits")
    assert (example.image == digits.test.images[activations.DIGIT]).all()
    assert example.name == str(digits.test.labels[activations.DIGIT])


@pytest.mark.parametrize("settings", [{}, {"data_normalize": False}])
def test_what_training_sees_has_its_own_colours_and_cutouts_of_the_mean_one(digits, settings):
    plain = Config(dataset="digits", data_augmentation=False, device="cpu", **settings)
    few = digits.train[:6]
    assert (activations.as_trained_on(few, plain, 6) == few.images).all()
    seen = activations.as_trained_on(few, Config(**dict(plain) | {"cutout": 16}), 6)
    mean = round(255 * STATISTICS["digits"].mean[0]) if plain.data_normalize else 0
    changed = seen[(seen != few.images).any(-1)]
    assert len(changed) > 6 * 60 and (changed == mean).all()


def predictions(images: int, undecided: int) -> Predictions:
    """All certain of class 3, but for one image."""
    logits = np.tile(9.0 * np.eye(10)[3], (images, 1))
    logits[undecided, 4] = 8.9
    return Predictions(np.full(images, 3), np.full(images, 3), logits)


@pytest.fixture
def nothing_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path))
    monkeypatch.setattr(download, "fetch", lambda *a, **k: pytest.fail("a download was tried"))


def test_the_doubtful_one_is_what_the_reference_is_least_decided_about(cifar10):
    said = Run(paths.REFERENCE).predictions
    assert metrics.margins(said.probabilities).argmin() == activations.DOUBTFUL
    found = activations.doubtful("cifar10", said)
    assert (found.image == cifar10.test.images[activations.DOUBTFUL]).all() and found.name == "bird"
    assert (found.index, found.label) == (activations.DOUBTFUL, cifar10.test.labels[activations.DOUBTFUL])


def test_another_run_has_its_own_where_the_images_are_at_hand(cifar10_root, cifar10, digits, monkeypatch):
    monkeypatch.setenv("CIFAR10_ROOT", str(cifar10_root))
    for name, test in (("cifar10", cifar10.test), ("digits", digits.test)):
        found = activations.doubtful(name, predictions(len(test), 7))
        assert found.index == 7 and (found.image == test.images[7]).all() and found.label == test.labels[7]


def test_elsewhere_it_is_the_tracked_one_and_nothing_is_downloaded(nothing_at_hand, digits):
    for said in (None, predictions(100, 7), Run(paths.REFERENCE).predictions):
        assert activations.doubtful("cifar10", said).index == activations.DOUBTFUL
    assert (activations.doubtful("digits", None).image == digits.test.images[activations.DIGIT + 1]).all()


def test_a_broken_data_set_does_not_stop_it(tmp_path, monkeypatch):
    (tmp_path / "cifar-10-batches-py").mkdir()
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path))
    assert activations.doubtful("cifar10", predictions(100, 7)).index == activations.DOUBTFUL


def test_the_most_active_maps_come_in_order_of_their_mean_absolute_value():
    maps = np.zeros((5, 2, 2))
    maps[1], maps[3], maps[4, 0, 0] = -2, 1, 7.9  # the largest mean, that of one peak, is below that of all -2
    assert activations.most_active(maps, 3).tolist() == [1, 4, 3]
    assert activations.most_active(maps).tolist() == [1, 4, 3, 0, 2]


def test_trace_ends_in_the_logits_and_leaves_no_hook(network):
    x = activations.as_batch(activations.example("cifar10").image, CONFIG)
    seen = activations.trace(network, x)
    assert list(seen) == ["stem", "stage 1", "stage 2", "stage 3", "pool", "logits"]
    with torch.no_grad():
        assert (seen["logits"] == network(x)[0].numpy()).all()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_gates_are_those_of_each_block(network):
    x = activations.as_batch(activations.example("cifar10").image, CONFIG)
    gates = activations.gates(network, x)
    assert len(gates) == 11 and list(gates)[0] == "stage 1, block 1" and list(gates)[-1] == "stage 3, block 3"
    assert all(((g > 0) & (g < 1)).all() for g in gates.values())
    with torch.no_grad():
        block, made = network.stages[0][0], network.stem(x)
        inner = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(made)))))
        expected = block.se.gate(inner)[0, :, 0, 0].numpy()
    np.testing.assert_allclose(gates["stage 1, block 1"], expected, rtol=1e-5)


def test_shapes_halve_and_double(network):
    table = activations.shapes(network, torch.zeros(1, 3, 32, 32))
    assert table.channels.tolist() == [3, 8, 8, 16, 32, 32, 10]
    assert table["map"].tolist() == ["32×32", "32×32", "32×32", "16×16", "8×8", "1×1", "1"]
    assert table["values"].tolist() == [3072, 8192, 8192, 4096, 2048, 32, 10]
