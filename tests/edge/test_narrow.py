"""In 16 bits and in 8 the network says nearly the same, and the file is what devices are quick at."""

import edge_networks
import numpy as np
import pytest
from edge_networks import ABSENT, IMAGES, WHY, exported, logits, random_network

import cifar_lib
from cifar_lib import data, edge

pytestmark = [pytest.mark.skipif(ABSENT, reason=WHY), pytest.mark.xdist_group("edge")]  # one process trains the run


@pytest.fixture(scope="module")
def learnt():
    """The float model of a trained network, the one in 8 bits, and images that it was not calibrated on."""
    run = edge_networks.trained()
    dataset = data.load(run.config)
    model = exported(cifar_lib.load(run))
    images = np.concatenate([dataset.test.images, dataset.valid.images])
    return model, edge.int8(model, dataset.train.images[:256]), images


def tensors(model) -> dict[str, np.ndarray]:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_int8_agrees(learnt):
    model, narrow, images = learnt
    before, found = logits(model, images), logits(narrow, images)
    assert len(images) == 540 and (found.argmax(1) == before.argmax(1)).mean() >= 0.98
    assert 0 < np.sqrt(np.square(found - before).mean()) < 0.05 * before.std()


def test_int8_alone_and_among_others(learnt):
    _, narrow, images = learnt
    assert (logits(narrow, images[:50], batch=1) == logits(narrow, images[:50])).all()


def test_activations_unsigned_and_weights_signed_per_channel(learnt):
    model, narrow, _ = learnt
    held, before, made = tensors(narrow), tensors(model), {node.output[0]: node for node in narrow.graph.node}
    rounded = [node for node in narrow.graph.node if node.op_type == "QuantizeLinear"]
    assert len(rounded) > 20 and {held[node.input[2]].dtype for node in rounded} == {np.dtype(np.uint8)}
    layers = [node for node in narrow.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(layers) == sum(node.op_type in ("Conv", "Gemm") for node in model.graph.node)
    for layer in layers:
        weight, scale, zero = (held[name] for name in made[layer.input[1]].input)
        assert weight.dtype == np.int8 and weight.shape[0] == len(scale) and not zero.any()
        assert held[made[layer.input[2]].input[0]].dtype == np.int32
        expected = before[layer.input[1].removesuffix("_DequantizeLinear_Output")]
        assert np.abs(weight * scale.reshape(-1, *[1] * (weight.ndim - 1)) - expected).max() <= scale.max() * 0.51


def test_int8_is_a_quarter_and_needs_no_foreign_operator(learnt):
    model, narrow, _ = learnt
    weights = [tensor for tensor in tensors(narrow).values() if tensor.dtype == np.int8 and tensor.ndim > 1]
    assert (
        sum(tensor.size for tensor in weights) == sum(t.size for t in tensors(model).values() if t.ndim in (2, 4)) - 6
    )
    assert [(one.domain, one.version) for one in narrow.opset_import] == [("", 17)]
    assert edge.operators(narrow)["Conv"] == edge.operators(model)["Conv"] and "Relu" not in edge.operators(narrow)


def test_pixels_are_rounded_once(learnt):
    """After the normalisation, which is as it was in float32."""
    for model in learnt[:2]:
        made = {node.output[0]: (node.op_type, list(node.input)) for node in model.graph.node}
        assert made["normalised"] == ("Add", ["scaled", "offset"]) and made["scaled"] == ("Mul", ["pixels", "scale"])


def test_half_is_half_and_agrees():
    model = exported(random_network(num_channels=16))
    narrow, held = edge.half(model), tensors(edge.half(model))
    before, found = logits(model, IMAGES), logits(narrow, IMAGES)
    assert 0 < np.abs(found - before).max() < 0.01 * np.abs(before).max()
    assert {tensor.dtype for name, tensor in held.items() if name.endswith(".weight.16")} == {np.dtype(np.float16)}
    assert len(narrow.SerializeToString()) < 0.6 * len(model.SerializeToString())
    assert (
        all(held[name] is not None for name in held) and edge.operators(narrow)["Cast"] > edge.operators(model)["Cast"]
    )


def test_a_weight_too_large_for_16_bits_stays_finite():
    classifier = random_network()
    classifier.network.linear.weight.data[0, 0] = 1e6
    assert np.isfinite(logits(edge.half(exported(classifier)), IMAGES[:5])).all()
