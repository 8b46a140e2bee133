"""A network as plain arrays is the same network: whoever follows its layers gets the library's logits; arrays become
bytes and places in them, and lose nothing."""

import json

import numpy as np
import pytest
import safetensors.numpy
import torch
from study_runs import made, with_weights
from torch.nn import functional

from cifar_lib.data import Images
from cifar_lib.inference import classifier
from cifar_lib.models import macs
from cifar_lib.runs import DamagedRun, RunError, plain_network
from cifar_lib.runs.plain_network import Numbers, PlainNetwork

SMALL = {"num_channels": 6, "num_blocks": [2, 1], "conv_kernel_sizes": [3, 5], "shortcut_kernel_sizes": [1, 3]}
SMALL |= {"avg_pool_kernel_size": 8, "drop": 0, "se_reduction": 2, "device": "cpu"}
KINDS = [
    {},
    {"se_placement": "stem"},
    {"squeeze_and_excitation": False},
    {"whitening": True},
    {"data_normalize": False},
    {"dataset": "digits"},
]
PATCHES = np.random.default_rng(0).integers(0, 256, (200, 4, 4, 3), np.uint8)
IMAGES = PATCHES.repeat(8, 1).repeat(8, 2)  # pixel by pixel at random, all images would look alike to a network


def arrays(tree, numbers: bytes):
    """The layers with their arrays, as float64 tensors; the factors of batch norm in the weights."""
    if isinstance(tree, list):
        return [arrays(one, numbers) for one in tree]
    if not isinstance(tree, dict):
        return tree
    if "at" in tree:
        return torch.from_numpy(stored(tree, numbers)).double()
    layer = {name: arrays(one, numbers) for name, one in tree.items()}
    if "scale" in layer:
        layer["weight"] = (layer["weight"] * layer.pop("scale")[:, None, None, None]).float().double()
    return layer


def rounded(tree):
    """The layers with int8 weights."""
    if isinstance(tree, list):
        return [rounded(one) for one in tree]
    if not isinstance(tree, dict):
        return tree
    layer = {name: rounded(one) for name, one in tree.items()}
    if "weight" in layer:
        flat = layer["weight"].flatten(1)
        step = flat.abs().amax(1, keepdim=True) / 127
        layer["weight"] = (torch.floor(flat / step + 0.5) * step).view_as(layer["weight"])
    return layer


def forward(layers: dict, images: np.ndarray) -> np.ndarray:
    """Logits (N, 10) by the plain layers alone."""
    x = (torch.from_numpy(images).double() / 255 - torch.tensor(layers["mean"])) / torch.tensor(layers["std"])
    x = torch.relu(conv(x.permute(0, 3, 1, 2), layers["stem"]["conv"]))
    x = gated(x, layers["stem"]["gate"])
    for block in (block for stage in layers["stages"] for block in stage):
        y = gated(conv(torch.relu(conv(x, block["conv1"])), block["conv2"]), block["gate"])
        x = torch.relu(y + (conv(x, block["shortcut"]) if block["shortcut"] else x))
    pooled = functional.adaptive_avg_pool2d(x, layers["pool"]).permute(0, 2, 3, 1).flatten(1)
    return functional.linear(pooled, layers["linear"]["weight"], layers["linear"]["bias"]).numpy()


def conv(x, layer: dict):
    weight = layer["weight"].permute(0, 3, 1, 2)
    return functional.conv2d(x, weight, layer["bias"], layer["stride"], layer["kernel"] // 2)


def gated(x, gate: dict | None):
    if gate is None:
        return x
    squeezed = torch.relu(functional.linear(x.mean((2, 3)), gate["fc1"]["weight"], gate["fc1"]["bias"]))
    return x * torch.sigmoid(functional.linear(squeezed, gate["fc2"]["weight"], gate["fc2"]["bias"]))[:, :, None, None]


def logits_of(network: PlainNetwork, images: np.ndarray) -> np.ndarray:
    """The library's own."""
    return classifier.load(network.run).logits(Images(images, range(len(images))))


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_same_logits_as_the_library(tmp_path, settings):
    network = plain_network.read(with_weights(made(tmp_path / "run", 0.5, **SMALL | settings)))
    found, expected = forward(arrays(network.layers, network.numbers), IMAGES[:20]), logits_of(network, IMAGES[:20])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert len(set(expected.argmax(1))) > 2, "images that all look alike to it would prove nothing"
    assert network.multiply_adds == macs(network.run.config)["total"]
    assert network.layers["classes"] == list(network.run.config.classes)


def test_weights_stay_in_sixteen_bits(tmp_path):
    network = plain_network.read(with_weights(made(tmp_path / "run", 0.5, **SMALL)))
    size = (network.run.folder / "model.safetensors").stat().st_size
    assert len(network.numbers) < size


def test_a_run_without_weights_is_refused_in_one_line(tmp_path):
    with pytest.raises(RunError, match=r"^run run: model.safetensors is missing: "):
        plain_network.read(made(tmp_path / "run", 0.5, **SMALL))


def test_weights_of_another_network_are_refused_in_one_line(tmp_path):
    run, other = (with_weights(made(tmp_path / name, 0.5, **SMALL)) for name in ("run", "other"))
    (run.folder / "model.safetensors").write_bytes(safetensors.numpy.save({"linear.weight": np.zeros((10, 6))}))
    with pytest.raises(DamagedRun, match="not the published weights of this network") as refused:
        plain_network.read(run)
    assert "\n" not in str(refused.value) and plain_network.read(other).layers


def stored(place: dict, data: bytes) -> np.ndarray:
    count = int(np.prod(place["shape"]))
    return np.frombuffer(data, place["type"], count, place["at"]).reshape(place["shape"]).astype(np.float32)


@pytest.mark.parametrize(
    ("value", "kind"), [(0.5, "float16"), (0.1, "float32"), (1e5, "float32"), (1e-30, "float32"), (2**-24, "float16")]
)
def test_half_as_long_where_nothing_is_lost(value, kind):
    numbers, array = Numbers(), np.full((2, 3), value, np.float32)
    place = numbers.pack(array)
    assert place["type"] == kind and len(numbers.data) == array.size * (2 if kind == "float16" else 4)
    assert (stored(place, numbers.data) == array).all()


def test_what_is_no_array_stays_and_every_array_is_found():
    numbers, arrays = Numbers(), [np.arange(3, dtype=np.float32), np.full((2, 2), 0.1, np.float32)]
    packed = numbers.pack({"a": arrays[0], "b": [None, ({"c": arrays[1]}, 7)], "name": "x"})
    assert json.loads(json.dumps(packed)) == packed and packed["name"] == "x" and packed["b"][0] is None
    for place, array in zip((packed["a"], packed["b"][1][0]["c"]), arrays, strict=True):
        assert (stored(place, numbers.data) == array).all()
