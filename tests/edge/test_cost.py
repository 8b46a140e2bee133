"""What a graph costs, against sums done by hand."""

import pytest
from edge_networks import ABSENT, WHY, exported, random_network

from cifar_lib import edge
from cifar_lib.edge import cost

pytestmark = pytest.mark.skipif(ABSENT, reason=WHY)


@pytest.fixture
def by_hand():
    """x (2, 4, 4): 32 values. a (4, 4, 4): 64 of a 3x3 convolution. b, of a: 64. c = b + x's mean..: see below."""
    from onnx import TensorProto, helper

    def weight(name, shape):
        return helper.make_tensor(
            name, TensorProto.FLOAT, shape, bytes(4 * shape[0] * shape[1] * shape[2] * shape[3]), raw=True
        )

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),  # x, a: 32 + 64
        helper.make_node("Relu", ["a"], ["b"]),  # a is read again: x, a, b: 160
        helper.make_node("GlobalAveragePool", ["x"], ["m"]),  # x for the last time, a, b, m: 162
        helper.make_node("Add", ["b", "a"], ["c"]),  # a, b, c, m: 194
        helper.make_node("Conv", ["c", "v"], ["d"]),  # c, d (2, 4, 4), m: 98
        helper.make_node("Mul", ["d", "m"], ["y"]),  # 66
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2, 4, 4]) for name in "xy"]
    held = [weight("w", (4, 2, 3, 3)), weight("v", (2, 4, 1, 1))]
    return helper.make_model(
        helper.make_graph(nodes, "by hand", ends[:1], ends[1:], held), opset_imports=[helper.make_opsetid("", 17)]
    )


def test_peak_memory(by_hand):
    assert edge.peak_memory(by_hand, 1) == 194 and edge.peak_memory(by_hand, 4) == 4 * 194


def test_multiply_adds(by_hand):
    assert edge.multiply_adds(by_hand) == 4 * 16 * (2 * 9) + 2 * 16 * 4


def test_parameter_bytes(by_hand):
    assert cost.parameter_bytes(by_hand) == 4 * (4 * 2 * 9 + 2 * 4)


def test_operators(by_hand):
    assert edge.operators(by_hand) == {"Add": 1, "Conv": 2, "GlobalAveragePool": 1, "Mul": 1, "Relu": 1}


def test_the_network_s_peak_is_in_the_first_stage():
    """Where a gate weighs a block's maps: the block's input, the maps, what is made of them, and the gate."""
    assert edge.peak_memory(exported(random_network(num_channels=64)), 1) == 3 * 64 * 32 * 32 + 64
