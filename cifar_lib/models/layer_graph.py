"""What a network is as built: its operations in the order and on the ways in which its forward pass runs them.

Read off its modules and a traced pass of an empty image, never off a `Config`; plain Python data, without a tensor.
"""

import copy
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from cifar_lib.config import IMAGE_SIZE
from cifar_lib.models import resnet
from cifar_lib.models.dropout import ReLUDropout

KINDS = {"Conv2d": "convolution", "BatchNorm2d": "batch norm", "SqueezeExcitation": "SE", "AdaptiveAvgPool2d": "pool"}
KINDS |= {"Linear": "linear", "relu": "ReLU", "iadd": "add"}  # classes and functions; others by their own names


@dataclass(frozen=True)
class Op:
    """One operation: what it makes (C, H, W) or (C,), and what it is made with; 0 where it has no such thing."""

    kind: str
    shape: tuple[int, ...]
    parameters: int = 0
    kernel: int = 0
    stride: int = 0
    p: float = 0.0


@dataclass(frozen=True)
class Shortcut:
    """The way round: its operations (none: identity) from before `way[start]` to the second input of `way[end]`."""

    ops: tuple[Op, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Block:
    """Operations in a row, and the shortcut round some of them if there is one."""

    way: tuple[Op, ...]
    shortcut: Shortcut | None = None


@dataclass(frozen=True)
class Part:
    """A part by the name the tables use: what it makes, its parameters, its blocks (of an image none)."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    blocks: tuple[Block, ...]


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        leaves = nn.Conv2d, resnet.SqueezeExcitation, ReLUDropout  # the first of them whitened, too
        return isinstance(module, leaves) or super().is_leaf_module(module, name)


@torch.no_grad()
def trace_layers(network: resnet.ResNet) -> list[Part]:
    """The image and every part after it, in the order in which `network` runs them; it is left as it is.

    Raises `ValueError` for a block with more than one way round.
    """
    shadow = copy.deepcopy(network).to_empty(device="cpu").eval()  # of any device: only the shapes are asked for
    graph = fx.GraphModule(shadow, _Tracer().trace(shadow))
    channels = next(m.in_channels for m in shadow.modules() if isinstance(m, nn.Conv2d))
    image = torch.zeros(1, channels, IMAGE_SIZE, IMAGE_SIZE)
    ShapeProp(graph).propagate(image)
    nodes = [node for node in graph.graph.nodes if node.op not in ("placeholder", "output")]
    parts = [_part(graph, name, list(own)) for name, own in groupby(nodes, lambda node: _place(node)[0])]
    return [Part("image", tuple(image.shape[1:]), 0, ()), *parts]


def _place(node: fx.Node) -> tuple[str, str]:
    """Part and block a node is of: `stages.1.0.bn2` is of stage 2 and its block `0`."""
    inside = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
    first, *rest = (inside[-1] if inside else node.name).split(".")
    return (f"stage {int(rest[0]) + 1}", "".join(rest[1:2])) if first == "stages" else (first, "")


def _part(graph: fx.GraphModule, name: str, nodes: list[fx.Node]) -> Part:
    blocks = tuple(_block(graph, list(own)) for _, own in groupby(nodes, _place))
    ops = [op for block in blocks for op in block.way + (block.shortcut.ops if block.shortcut else ())]
    return Part(name, _shape(nodes[-1]), sum(op.parameters for op in ops), blocks)


def _block(graph: fx.GraphModule, nodes: list[fx.Node]) -> Block:
    """The longest way through is the block's own, what is left is the shortcut."""
    longest = {}
    for node in nodes:
        longest[node] = max((longest.get(one, []) for one in node.all_input_nodes), key=len) + [node]
    way = longest[nodes[-1]]
    aside = [node for node in nodes if node not in way]
    joins = [(k, one) for k, node in enumerate(way) for one in _others(way, k, node)]
    shortcut, walked = _shortcut(graph, way, aside, *joins[0]) if joins else (None, [])
    if len(joins) > 1 or walked != aside:
        raise ValueError(f"{nodes[0].name}: expected one way through its block and at most one round it")
    return Block(_ops(graph, way), shortcut)


def _others(way: list[fx.Node], k: int, node: fx.Node) -> list[fx.Node]:
    """The inputs of `way[k]` but for the one that comes along the way."""
    along = way[k - 1] if k else node.all_input_nodes[0]
    return [one for one in node.all_input_nodes if one is not along]


def _shortcut(graph: fx.GraphModule, way: list, aside: list, end: int, last: fx.Node) -> tuple[Shortcut, list]:
    """The shortcut into `way[end]`, walked back from its `last` node, and the nodes on it."""
    walked = []
    while last in aside:
        walked.insert(0, last)
        last = last.all_input_nodes[0]
    start = way.index(last) + 1 if last in way else 0
    return Shortcut(_ops(graph, walked), len(_ops(graph, way[:start])), len(_ops(graph, way[:end]))), walked


def _ops(graph: fx.GraphModule, nodes: list[fx.Node]) -> tuple[Op, ...]:
    return tuple(op for node in nodes for op in _of(graph, node))


def _of(graph: fx.GraphModule, node: fx.Node) -> list[Op]:
    """What a node does: nothing for identity or a dropout of 0, two things for `ReLUDropout`."""
    shape = _shape(node)
    if node.op != "call_module":
        name = getattr(node.target, "__name__", str(node.target))
        return [Op(KINDS.get(name, name), shape)]
    module = graph.get_submodule(node.target)
    if isinstance(module, nn.Identity):
        return []
    if isinstance(module, nn.Dropout):
        cut = [Op("ReLU", shape)] if isinstance(module, ReLUDropout) else []
        return cut + ([Op("dropout", shape, p=module.p)] if module.p else [])
    names = [layer.__name__ for layer in type(module).__mro__]
    kind = next((KINDS[name] for name in names if name in KINDS), names[0])
    sizes = [getattr(module, name, 0) for name in ("kernel_size", "stride")]
    kernel, stride = (size[0] if isinstance(size, tuple) else size for size in sizes)
    if kind == "pool":  # adaptive: its windows follow from the sizes
        kernel = stride = _shape(node.all_input_nodes[0])[-1] // shape[-1]
    return [Op(kind, shape, resnet.parameters(module), kernel, stride)]


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(node.meta["tensor_meta"].shape[1:])
