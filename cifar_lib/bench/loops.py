"""The training loops that the benchmark sets side by side: one as people write it, ours, and the steps between."""

import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cifar_lib import data
from cifar_lib.config import Config
from cifar_lib.data import Batches, WorkerBatches
from cifar_lib.device import memory
from cifar_lib.device.placement import autocast, device, memory_format
from cifar_lib.models import resnet
from cifar_lib.optim.lookahead import Lookahead
from cifar_lib.optim.schedules import average_of, optimizer_of
from cifar_lib.training import execution_mode
from cifar_lib.training.cuda_graphs import CudaGraphStep
from cifar_lib.training.train_step import TrainStep

Walk = Callable[[int], None]  # takes that many steps, and returns when they are done
WORKERS = (0, 2, 8)  # of the references


@dataclass(frozen=True)
class Side:
    """One loop: its name, the lever it adds to the side before it, and all the levers it has."""

    name: str
    lever: str = ""
    workers: int | None = None  # processes of the loader; None: the data set is on the device
    channels_last: bool = False
    memory: bool = False  # glibc told to keep what it has
    dropout: bool = False  # ReLU and dropout in one
    precision: str = "float32"
    ours: bool = False  # the library's own steps
    captured: bool = False
    compiled: bool = False


LEVERS = {
    "data on the device": {"workers": None},
    "channels last": {"channels_last": True},
    "memory kept": {"memory": True},
    "ReLU and dropout in one": {"dropout": True},
    "fused SGD, no waiting": {"ours": True, "dropout": True},
    "bfloat16": {"precision": "bfloat16"},
    "CUDA graph": {"captured": True},
    "torch.compile": {"compiled": True},
}


def ladder(gpu: bool, bfloat16: bool) -> list[Side]:
    """From the loop as people write it to ours and on, a lever at a time, but for those the device does not have."""
    without = {"memory kept", "ReLU and dropout in one"} if gpu else {"CUDA graph"}
    without |= set() if bfloat16 else {"bfloat16"}
    sides = [Side(f"reference, {workers} workers", workers=workers) for workers in WORKERS]
    for lever, change in LEVERS.items():
        if lever not in without:
            sides.append(replace(sides[-1], name=f"+ {lever}", lever=lever, **change))
    return sides


def walk(side: Side, config: Config) -> Walk:
    """The loop of `side` with the network and recipe of `config`, ready to take steps."""
    config = Config(**config.model_dump() | {"precision": side.precision, "valid_size": 0})
    torch.backends.cudnn.benchmark = True  # for every side: published loops set it too
    if side.memory:
        memory.reuse()
    network = resnet.build(config).to(device(config)).train()
    if side.channels_last:
        network = network.to(memory_format=memory_format(config))
    if not side.dropout:
        as_people_write(network)
    return _ours(side, network, config) if side.ours else _plain(side, network, config)


def as_people_write(network: resnet.ResNet) -> resnet.ResNet:
    """The same network with torch's own ReLU and dropout."""
    for block in itertools.chain(*network.stages):
        block.relu1, block.relu2 = (nn.Sequential(nn.ReLU(), nn.Dropout(r.p)) for r in (block.relu1, block.relu2))
    return network


def _plain(side: Side, network: nn.Module, config: Config) -> Walk:
    """Forward, loss, backward, step, and two `.item()` for the progress bar, as most published loops have it."""
    sgd = torch.optim.SGD(network.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay)
    optimizer = Lookahead(sgd, config.lookahead_k, config.lookahead_alpha) if config.lookahead else sgd
    batches = feed(config, side.workers)

    def steps(count: int) -> None:
        loss_sum, right = 0.0, 0
        for key in itertools.islice(full(batches, config), count):
            x, y = batches.take(*key)
            x = x if side.channels_last else x.contiguous()
            optimizer.zero_grad()
            with autocast(config):
                logits = network(x)
                loss = cross_entropy(logits, y)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()
            right += (logits.argmax(1) == y).sum().item()

    return steps


def _ours(side: Side, network: nn.Module, config: Config) -> Walk:
    """The library's own steps, as training takes them."""
    batches, optimizer = feed(config), optimizer_of(network, config)
    average = average_of(network, config, execution_mode.COMPILE_PAYS)
    stepper = TrainStep(network, optimizer, batches, config, average)
    stepper = stepper.compile() if side.compiled else stepper
    steps_per_call = config.lookahead_k if config.lookahead else execution_mode.WINDOW
    stepper = CudaGraphStep(stepper, steps_per_call, steps_per_call * config.batch_size) if side.captured else stepper
    rates = torch.full((steps_per_call,), config.lr, device=device(config))
    keys = full(batches, config)

    def steps(count: int) -> None:
        taken = getattr(optimizer, "count", 0)
        for size in execution_mode.windows(count, count, taken, stepper.steps_per_call):
            stepper.run(list(itertools.islice(keys, size)), rates[:size], config.batch_size)
        stepper.totals.sum().item()

    return steps


def feed(config: Config, workers: int | None = None) -> Batches | WorkerBatches:
    """The training set on the device; or, as every tutorial has it, image by image out of so many loader processes."""
    split, where = data.load(config).train, device(config)
    if workers is None:
        return Batches(split, config, where, train=True)
    # 8 workers on 2 cores is what the comparison asks for; torch warns when the batches are asked for, too.
    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
    return WorkerBatches(split, config, where, workers)


def full(batches: Batches | WorkerBatches, config: Config) -> Iterator[tuple[torch.Tensor, ...]]:
    """What `take` makes full batches from, epoch after epoch without end."""
    for number in itertools.count():
        yield from (key for key in batches.keys(number) if len(key[0]) == config.batch_size)
