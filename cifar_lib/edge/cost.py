"""What a graph costs on a device, by its shapes alone: multiply-adds, operators, memory for activations."""

from collections import Counter
from math import prod


def operators(model) -> dict[str, int]:
    """How many nodes of each operator an `onnx.ModelProto` has, by name."""
    return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))


def multiply_adds(model) -> int:
    """Of one image, in convolutions and matrix products, as `models.macs` counts them. Of a float model."""
    sizes, kernels = _values(model), {tensor.name: tensor.dims for tensor in model.graph.initializer}
    counted = (node for node in model.graph.node if node.op_type in ("Conv", "Gemm"))
    return sum(sizes[node.output[0]] * prod(kernels[node.input[1]][1:]) for node in counted)


def parameter_bytes(model) -> int:
    """Bytes of all that a graph holds: weights, biases, and in int8 their scales and zero points."""
    from onnx import numpy_helper

    return sum(numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer)


def peak_memory(model, bytes_per_value: int) -> int:
    """Bytes that one image's activations take at the fullest step, the nodes run in their order: 1 byte a value in
    int8, 4 in float32. Of a float model.

    A tensor lives from the node that makes it to the last one that reads it; no node writes over its input. Weights,
    and what a runtime takes for itself, come on top.
    """
    sizes, nodes = _values(model), model.graph.node
    made = {node.output[0]: at for at, node in enumerate(nodes)}
    made |= {given.name: 0 for given in model.graph.input}
    read = {name: at for at, node in enumerate(nodes) for name in node.input}  # the last one that reads it
    last = read | {left.name: len(nodes) - 1 for left in model.graph.output}
    steps = (sum(sizes[name] for name in made if made[name] <= at <= last[name]) for at in range(len(nodes)))
    return bytes_per_value * max(steps)


def _values(model) -> dict[str, int]:
    """How many values each activation of one image has, by its name."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    known = [*graph.input, *graph.value_info, *graph.output]
    return {one.name: prod(side.dim_value or 1 for side in one.type.tensor_type.shape.dim) for one in known}
