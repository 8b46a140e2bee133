"""A profile is summed by part and operator."""

import pytest

from cifar_lib.edge import layers


@pytest.mark.parametrize(
    "node, expected",
    [
        ("stages_0_0_conv1_quant_kernel_time", "stage 1"),
        ("stages_2_1_se_fc1_quant_kernel_time", "stage 3"),
        ("stem_conv_quant_kernel_time", "stem"),
        ("linear_kernel_time", "other"),
    ],
)
def test_part_of_a_node(node, expected):
    assert layers.part(node) == expected


def test_sums_are_per_image_and_the_longest_comes_first():
    event = lambda name, operator, us: {"name": name, "args": {"op_name": operator}, "dur": us}  # noqa: E731
    events = [
        event("stem_conv_kernel_time", "Conv", 1000),
        event("stages_0_0_conv1_kernel_time", "Conv", 3000),
        event("stages_0_1_conv1_kernel_time", "Conv", 3000),
        {"name": "model_run", "dur": 9999},
    ]
    assert layers.rows(events, 2) == [
        {"part": "stage 1", "operator": "Conv", "ms": 3.0},
        {"part": "stem", "operator": "Conv", "ms": 0.5},
    ]
