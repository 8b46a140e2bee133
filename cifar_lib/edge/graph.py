"""A trained network as an ONNX graph: uint8 pixels in, logits out, nothing left to prepare.

The graph is written from what torch.fx traces of the folded network, an ONNX operator per layer, under the layer's
name: it follows `ResNet.forward`, and the same network gives the same bytes.
"""

import operator

import numpy as np
import torch
from torch import fx, nn

from cifar_lib.config import IMAGE_SIZE, STATISTICS, Config
from cifar_lib.models import ResNet, fold

OPSET, IR = 17, 8  # of 2022, and the file format of then: read by every runtime of today
IMAGE, LOGITS = "image", "logits"
NORMALISATION = ("scaled", "normalised")  # the nodes
FUNCTIONS = {
    torch.relu: "Relu",
    torch.sigmoid: "Sigmoid",
    operator.add: "Add",
    operator.mul: "Mul",
    nn.functional.adaptive_avg_pool2d: "GlobalAveragePool",  # of squeeze-and-excitation, to 1x1
    "flatten": "Flatten",
}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Conv2d) or super().is_leaf_module(module, name)  # a whitened one too


def as_onnx(network: ResNet, config: Config):
    """An `onnx.ModelProto` of the network in evaluation mode, batch norm folded into the convolutions.

    Takes `image` (batch, 32, 32, 3) uint8 RGB, any batch, and gives `logits` (batch, 10) float32.
    """
    from onnx import TensorProto, checker, helper

    folded = fold(network).cpu().float()
    nodes, weights = _normalisation(config)
    names = {}  # of the tensor that each traced step makes
    for step in _Tracer().trace(folded).nodes:
        names[step] = _write(step, names, folded, config, nodes, weights)
    nodes[-1].output[0] = LOGITS
    graph = helper.make_graph(
        nodes,
        "cifar_lib",
        [helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["batch", IMAGE_SIZE, IMAGE_SIZE, 3])],
        [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["batch", len(config.classes)])],
        weights,
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR, producer_name="cifar_lib")
    checker.check_model(model, full_check=True)
    return model


def _normalisation(config: Config) -> tuple[list, list]:
    """Nodes and weights of `data.batches.normalise`, as one product and one sum per channel. They stay: folded into
    the first convolution, the zeros of its padding would be other pixels."""
    from onnx import TensorProto, helper

    facts, shape = STATISTICS[config.dataset], (1, 3, 1, 1)
    mean, std = (np.float64(facts.mean), np.float64(facts.std)) if config.data_normalize else (np.zeros(3), np.ones(3))
    weights = [_tensor("scale", (1 / (255 * std)).reshape(shape)), _tensor("offset", (-mean / std).reshape(shape))]
    nodes = [
        helper.make_node("Transpose", [IMAGE], ["planes"], "planes", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["pixels"], "pixels", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels", "scale"], ["scaled"], "scaled"),
        helper.make_node("Add", ["scaled", "offset"], ["normalised"], "normalised"),
    ]
    return nodes, weights


def _write(step: fx.Node, names: dict, network: ResNet, config: Config, nodes: list, weights: list) -> str:
    """Add the ONNX node of one traced step, and its weights; the name of the tensor that it makes."""
    from onnx import helper

    if step.op == "placeholder":
        return "normalised"
    inputs = [names[one] for one in step.all_input_nodes]
    layer = network.get_submodule(step.target) if step.op == "call_module" else None
    if step.op == "output" or isinstance(layer, nn.Identity):
        return inputs[0]
    kind, held, options = _layer(layer, config) if layer else (FUNCTIONS[step.target], {}, {})
    for name, values in held.items():
        weights.append(_tensor(f"{step.target}.{name}", values))
        inputs.append(f"{step.target}.{name}")
    nodes.append(helper.make_node(kind, inputs, [step.name], step.name, **options))
    return step.name


def _layer(layer: nn.Module, config: Config) -> tuple[str, dict, dict]:
    """ONNX's operator of a layer, its weights by name, its attributes. Raises TypeError for one that no network here
    has."""
    if isinstance(layer, nn.Conv2d):
        weights = {"weight": getattr(layer, "kernel", layer.weight), "bias": layer.bias}  # `kernel`: whitened
        shape = {"kernel_shape": layer.kernel_size, "strides": layer.stride, "pads": 2 * layer.padding}
        return "Conv", weights, shape
    if isinstance(layer, nn.Linear):
        return "Gemm", {"weight": layer.weight, "bias": layer.bias}, {"transB": 1}
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        window = [config.avg_pool_kernel_size] * 2
        return "AveragePool", {}, {"kernel_shape": window, "strides": window}
    if isinstance(layer, nn.ReLU):
        return "Relu", {}, {}
    raise TypeError(f"{type(layer).__name__}: no ONNX operator is known for this layer")


def _tensor(name: str, values):
    from onnx import numpy_helper

    values = values.detach().numpy() if isinstance(values, torch.Tensor) else values
    return numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)
