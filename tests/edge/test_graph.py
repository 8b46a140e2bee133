"""The ONNX graph says what the network says, whatever its settings, and takes pixels as they are."""

import edge_networks
import numpy as np
import pytest
from edge_networks import ABSENT, IMAGES, WHY, exported, logits, of_library, random_network

import cifar_lib
from cifar_lib import edge
from cifar_lib.runs import Run

pytestmark = pytest.mark.skipif(ABSENT, reason=WHY)

SHAPES = {
    "default": {},
    "digits": {"dataset": "digits"},
    "no SE": {"squeeze_and_excitation": False},
    "SE at the stem": {"se_placement": "stem"},
    "one squeezed channel": {"se_reduction": 16},
    "whitening": {"whitening": True},
    "whitening, SE at the stem": {"whitening": True, "se_placement": "stem"},
    "kernels": {"conv_kernel_sizes": [5, 3, 1], "shortcut_kernel_sizes": [3, 1, 5]},
    "one stage": {"num_blocks": [2], "conv_kernel_sizes": [3], "shortcut_kernel_sizes": [1]},
    "pooled in quarters": {"avg_pool_kernel_size": 4},
    "not pooled": {"avg_pool_kernel_size": 1},
    "dropout last": {"drop": 0.5, "drop_placement": "output"},
    "not normalised": {"data_normalize": False},
    "an odd width": {"num_channels": 5, "num_blocks": [1, 2, 3]},
}
FOUR = {"num_blocks": [2, 1, 1, 1], "conv_kernel_sizes": [3] * 4, "shortcut_kernel_sizes": [1] * 4}
SHAPES["four stages"] = FOUR | {"avg_pool_kernel_size": 2}
SHAPES["six stages"] = {name: [1] * 6 for name in FOUR} | {"avg_pool_kernel_size": 1, "num_channels": 2}


@pytest.mark.parametrize("settings", SHAPES.values(), ids=SHAPES)
def test_the_library_s_logits_and_its_multiply_adds(settings):
    classifier = random_network(**settings)
    model, expected = exported(classifier), of_library(classifier, IMAGES)
    found = logits(model, IMAGES)
    assert np.abs(found - expected).max() < 1e-4 * max(1, np.abs(expected).max())
    assert (found.argmax(1) == expected.argmax(1)).all()
    assert edge.multiply_adds(model) == cifar_lib.models.macs(classifier.config)["total"]


def test_an_image_is_the_same_alone_and_among_others():
    model = exported(random_network())
    assert (logits(model, IMAGES, batch=1) == logits(model, IMAGES, batch=200)).all()


def test_the_reference_on_real_images(cifar10):
    """20 of them beside the network itself, 200 beside the predictions that the run stored."""
    classifier, images = cifar_lib.load_pretrained(), cifar10.test.images[:200]
    model, stored = exported(classifier), Run(cifar_lib.paths.REFERENCE).predictions
    found = logits(model, images)
    assert np.abs(found[:20] - of_library(classifier, images[:20])).max() < 1e-4
    assert (found.argmax(1) == stored.predicted[:200]).all() and np.abs(found - stored.logits[:200]).max() < 0.02
    assert len(model.SerializeToString()) < 19_000_000


def test_one_operator_a_layer():
    """Of 11 blocks of two convolutions and a gate of two, two of them with a shortcut of its own, and a stem."""
    counts = {"Conv": 4 * 11 + 2 + 1, "Relu": 3 * 11 + 1, "Mul": 11 + 1, "Add": 11 + 1}
    counts |= {"GlobalAveragePool": 11, "Sigmoid": 11}
    counts |= dict.fromkeys(("Transpose", "Cast", "AveragePool", "Flatten", "Gemm"), 1)
    assert edge.operators(exported(random_network(num_blocks=[4, 4, 3]))) == counts


def test_contract():
    model = exported(random_network())
    [image], [logits_] = model.graph.input, model.graph.output

    def described(tensor) -> tuple:
        shape = [side.dim_param or side.dim_value for side in tensor.type.tensor_type.shape.dim]
        return tensor.name, tensor.type.tensor_type.elem_type, shape

    assert described(image) == ("image", 2, ["batch", 32, 32, 3])  # 2: uint8
    assert described(logits_) == ("logits", 1, ["batch", 10])  # 1: float32
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 17)] and model.ir_version == 8
    assert not any(tensor.data_location for tensor in model.graph.initializer), "weights in a file of their own"


def test_the_network_is_left_as_it_was():
    classifier = random_network()
    before = of_library(classifier, IMAGES[:5])
    exported(classifier)
    assert (of_library(classifier, IMAGES[:5]) == before).all()


def test_a_layer_nobody_knows_is_refused():
    classifier = random_network()
    classifier.network.stem.relu = edge_networks.nn.GELU()
    with pytest.raises(TypeError, match="^GELU: no ONNX operator is known"):
        exported(classifier)


def _not_normalised(model):
    """Weights that leave the pixels in 0 to 1."""
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in ("scale", "offset")]
    made = [
        edge.graph._tensor("scale", np.full((1, 3, 1, 1), 1 / 255)),
        edge.graph._tensor("offset", np.zeros((1, 3, 1, 1))),
    ]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept + made)


def _without_a_gate(model):
    """The first one's product gives way to what it weighs."""
    gated = [node for node in model.graph.node if node.op_type == "Mul" and "scale" not in node.input]
    for node in model.graph.node:
        node.input[:] = [gated[0].input[0] if name == gated[0].output[0] else name for name in node.input]


def _blue_first(model):
    """The stem reads the planes in reverse."""
    [stem] = [tensor for tensor in model.graph.initializer if tensor.name == "stem.conv.weight"]
    from onnx import numpy_helper

    stem.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(stem)[:, ::-1]), stem.name))


@pytest.mark.parametrize("spoil", [_not_normalised, _without_a_gate, _blue_first])
def test_a_wrong_graph_is_seen(spoil):
    classifier = random_network()
    model = exported(classifier)
    spoil(model)
    assert np.abs(logits(model, IMAGES[:50]) - of_library(classifier, IMAGES[:50])).max() > 0.01
