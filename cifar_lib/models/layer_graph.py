"""What a network is as built: its operations in the order in which its forward pass runs them.

Read off its modules and a traced pass of an empty image, never off a `Config`; plain Python data, without a tensor.
"""

import copy
import operator
from dataclasses import dataclass
from itertools import groupby, pairwise

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from cifar_lib.config import IMAGE_SIZE
from cifar_lib.models import resnet
from cifar_lib.models.dropout import ReLUDropout

KINDS = {"Conv2d": "conv", "BatchNorm2d": "BN", "SqueezeExcitation": "SE", "AdaptiveAvgPool2d": "pool"}
KINDS |= {"Linear": "linear", "relu": "ReLU", "iadd": "add"}  # others by their own names
ADDS = (operator.add, operator.iadd, torch.add)


@dataclass(frozen=True)
class Op:
    """One operation, with the side of its kernel and its probability if it has them."""

    kind: str
    kernel: int = 0
    stride: int = 1
    p: float = 0.0


@dataclass(frozen=True)
class Block:
    """Operations in a row, and those on the shortcut from before the first to the add: () is identity, None is none."""

    ops: tuple[Op, ...]
    shortcut: tuple[Op, ...] | None = None


@dataclass(frozen=True)
class Part:
    """A part by the name the tables use: the shape of its output, (C, H, W) or (C,), its parameters and its blocks."""

    name: str
    shape: tuple[int, ...]
    parameters: int = 0
    blocks: tuple[Block, ...] = ()


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, resnet.SqueezeExcitation) or not any(module.children())


@torch.no_grad()
def trace_layers(network: resnet.ResNet) -> list[Part]:
    """The image and every part after it, in the order in which `network` runs them. Raises `ValueError` for a block
    that is more than a row of operations and a shortcut added to it."""
    shadow = copy.deepcopy(network).to_empty(device="cpu").eval()  # of any device: only the shapes are asked for
    graph = fx.GraphModule(shadow, _Tracer().trace(shadow))
    image = torch.empty(1, shadow.stem.conv.in_channels, IMAGE_SIZE, IMAGE_SIZE)
    ShapeProp(graph).propagate(image)
    nodes = [node for node in graph.graph.nodes if node.op not in ("placeholder", "output") and node.name != "flatten"]
    parts = [_part(graph, name, list(own)) for name, own in groupby(nodes, lambda node: _place(node)[0])]
    return [Part("image", tuple(image.shape[1:])), *parts]


def _place(node: fx.Node) -> tuple[str, str]:
    """Part and block a node is of: `stages.1.0.bn2` is of stage 2 and its block `0`."""
    inside = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
    first, *rest = (inside[-1] if inside else node.name).split(".")
    return (f"stage {int(rest[0]) + 1}", "".join(rest[1:2])) if first == "stages" else (first, "")


def _part(graph: fx.GraphModule, name: str, nodes: list[fx.Node]) -> Part:
    modules = {graph.get_submodule(node.target) for node in nodes if node.op == "call_module"}
    blocks = tuple(_block(graph, list(own)) for _, own in groupby(nodes, _place))
    return Part(name, _shape(nodes[-1]), sum(map(resnet.parameters, modules)), blocks)


def _block(graph: fx.GraphModule, nodes: list[fx.Node]) -> Block:
    """The longest way through is the block's own, what is left its shortcut."""
    longest = {}
    for node in nodes:
        longest[node] = max((longest.get(one, []) for one in node.all_input_nodes), key=len, default=[]) + [node]
    row = longest[nodes[-1]]
    aside, adds = [node for node in nodes if node not in row], [node for node in row if node.target in ADDS]
    start = row[0].all_input_nodes[:1]
    edges = {*pairwise([*start, *row]), *pairwise([*start, *aside, *adds])}
    if edges != {(one, node) for node in nodes for one in node.all_input_nodes}:
        raise ValueError(f"{nodes[0].name}: expected a row of operations in its block, and one shortcut added to it")
    return Block(_ops(graph, row), _ops(graph, aside) if adds else None)


def _ops(graph: fx.GraphModule, nodes: list[fx.Node]) -> tuple[Op, ...]:
    return tuple(op for node in nodes for op in _of(graph, node))


def _of(graph: fx.GraphModule, node: fx.Node) -> list[Op]:
    """What a node does: nothing for identity or a dropout of 0, two things for `ReLUDropout`."""
    if node.op != "call_module":
        name = getattr(node.target, "__name__", str(node.target))
        return [Op(KINDS.get(name, name))]
    module = graph.get_submodule(node.target)
    if isinstance(module, nn.Dropout):
        return [Op("ReLU")] * isinstance(module, ReLUDropout) + [Op("dropout", p=module.p)] * bool(module.p)
    names = [layer.__name__ for layer in type(module).__mro__]
    kind = next((KINDS[name] for name in names if name in KINDS), names[0])
    if kind == "pool":  # adaptive: its windows follow from the sizes
        side = _shape(node.all_input_nodes[0])[-1] // _shape(node)[-1]
        return [Op(kind, side, side)]
    sizes = (module.kernel_size[0], module.stride[0]) if kind == "conv" else ()
    return [Op(kind, *sizes)] * (kind != "Identity")


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(node.meta["tensor_meta"].shape[1:])
