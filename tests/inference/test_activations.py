"""What notebook 01 shows is what the network computes."""

import numpy as np
import pytest
import torch

from cifar_lib.config import Config
from cifar_lib.inference import activations
from cifar_lib.models import resnet

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
