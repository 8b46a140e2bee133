"""A training step by kind of operation: what it has to do, counted on no machine, and where its time goes."""

import os
import re
from collections import defaultdict
from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from cifar_lib.config import IMAGE_SIZE, Config
from cifar_lib.models import resnet

KINDS = {  # the first that is found in the name of an operation says what it is for
    "optimizer": r"sgd|foreach|lerp|optimizer",
    "input": r"dataloader|aten::(index|index_select|arange|where)$",
    "convolution, backward": r"conv\w*backward",
    "convolution, forward": r"conv",
    "batch norm": r"batch_?norm",
    "activation, dropout": r"relu|threshold|clamp|dropout|bernoulli|random|aten::le$|as_strided",
    "squeeze-excitation, residual": r"(?<!mat)mul|add(?!mm)|sum|mean|pool|sigmoid|div",
}
UNFILLED = {"aten::empty", "aten::empty_like", "aten::_unsafe_view"}  # no views by their schema, but nothing is moved


def kind(name: str) -> str:
    """What torch's operation of that name is for."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, name, re.IGNORECASE)), "other")


def training(config: Config) -> dict[str, dict[str, float]]:
    """FLOPs (a multiply-add is two) and tensor elements read or written, an image, by kind of operation: of forward,
    loss and backward as eager torch runs them, without the optimizer."""
    network = resnet.build_on_meta(config).train()
    x = torch.empty(config.batch_size, 3, IMAGE_SIZE, IMAGE_SIZE, device="meta")
    y = torch.empty(config.batch_size, dtype=torch.long, device="meta")
    with _Counter() as counter:
        cross_entropy(network(x), y).backward()
    return {kind: {what: n / config.batch_size for what, n in each.items()} for kind, each in counter.counts.items()}


class _Counter(TorchDispatchMode):
    """FLOPs and elements of the operations called within, by kind; a view costs nothing."""

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


def profile(step: Callable[[], None], steps: int = 3) -> list[dict]:
    """Run the eager `step` once to warm up and `steps` times under torch's profiler.

    One row per operation, longest first: name, kind, calls and seconds per step, of its own work, not of what it calls;
    where there is a GPU, of the kernels that it launched itself.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it reports its own beginning and end, and that no GPU is there
    gpu = torch.cuda.is_available()
    step()
    if gpu:
        torch.cuda.synchronize()  # or the warm-up's kernels would end within the profile
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * gpu
    with torch.profiler.profile(activities=activities, acc_events=True) as profiled:  # torch 2.11 warns without it
        for _ in range(steps):
            step()
    rows = []
    for event in profiled.key_averages():
        micros = event.self_device_time_total if gpu else event.self_cpu_time_total
        if micros > 0 and event.device_type == torch.autograd.DeviceType.CPU:
            about = {"name": event.key, "kind": kind(event.key), "calls": event.count / steps}
            rows.append(about | {"seconds": micros / 1e6 / steps})
    return sorted(rows, key=lambda row: -row["seconds"])
