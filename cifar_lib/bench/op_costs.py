"""What one training step has to do, counted by kind of operation on no machine: arithmetic and memory traffic."""

import re
from collections import defaultdict
from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from cifar_lib.config import IMAGE_SIZE, Config
from cifar_lib.models import resnet

# The first that is found in the name of an operation, or of a GPU's kernel, says what it is for. The name of a kernel
# that a compiler fused lists its parts, a convolution beside it too, which it does not compute.
FUSED = r"(triton_(poi|red|per)|cpp)_fused\w*"
KINDS = (
    ("optimizer", r"sgd|multi_tensor|foreach|fused_adam|lerp|optimizer"),
    ("input", r"memcpy htod|dataloader|aten::(index|index_select|arange|where)$|index_elementwise|fused\w*_index_"),
    ("batch norm", FUSED + r"batch_norm"),
    ("activation, dropout", FUSED + r"(relu|threshold|dropout)"),
    ("convolution, backward", r"conv\w*backward|dgrad|wgrad|bwd_data|bwd_filter"),
    ("convolution, forward", r"conv(?!ert)|fprop|implicit_gemm|xmma|nhwcto|nchwto|nhwcaddpadding"),
    ("batch norm", r"batch_?norm|bn_fw|bn_bw"),
    ("activation, dropout", r"relu|threshold|clamp|dropout|bernoulli|random|philox|aten::le$|as_strided"),
    ("squeeze-excitation, residual", r"(?<!mat)mul|add(?!mm)|sum|mean|pool|sigmoid|div"),
)
UNFILLED = {
    "aten::empty",
    "aten::empty_like",
    "aten::_unsafe_view",
}  # no view by its schema, and nothing read or written


def kind(name: str) -> str:
    """What an operation of torch or a kernel of that name, as a profiler shows it, is for."""
    return next((kind for kind, pattern in KINDS if re.search(pattern, name, re.IGNORECASE)), "other")


def training(config: Config) -> dict[str, dict[str, float]]:
    """FLOPs (a multiply-add is two) and tensor elements read or written, an image, of each kind of operation.

    Of one step: forward, loss and backward, every operation on its own as eager torch runs it; without the optimizer.
    """
    network = resnet.build_on_meta(config).train()
    x = torch.empty(config.batch_size, 3, IMAGE_SIZE, IMAGE_SIZE, device="meta")
    y = torch.empty(config.batch_size, dtype=torch.long, device="meta")
    counts = count(lambda: cross_entropy(network(x), y).backward())
    return {kind: {what: n / config.batch_size for what, n in each.items()} for kind, each in counts.items()}


def count(act: Callable[[], object]) -> dict[str, dict[str, int]]:
    """FLOPs, and elements read or written, of the operations that `act` calls, by kind; a view costs nothing."""
    with _Counter() as counter:
        act()
    return dict(counter.counts)


class _Counter(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.counts: dict = defaultdict(lambda: {"flops": 0, "elements": 0})

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        name = function._schema.name
        if not function.is_view and name not in UNFILLED:
            counts = self.counts[kind(name)]
            tensors = (t for t in tree_leaves((args, kwargs, made)) if isinstance(t, torch.Tensor))
            counts["elements"] += sum(t.numel() for t in tensors)
            if (flops := flop_registry.get(function._overloadpacket)) is not None:
                counts["flops"] += flops(*args, **(kwargs or {}), out_val=made)
        return made
