"""The training loops that the benchmark compares: one as people write it, ours, and the steps between."""

import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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

TakeSteps = Callable[[int], None]  # takes that many steps, and returns when they are done
WORKERS = (0, 2, 8)  # of the references
LEVERS = (
    *("data on the device", "channels last", "memory kept", "ReLU and dropout in one", "fused SGD, no waiting"),
    *("bfloat16", "CUDA graph", "torch.compile"),
)


@dataclass(frozen=True)
class Loop:
    """A training loop: its levers, the last of which the loop before it lacks, and a reference's loader processes."""

    name: str
    levers: tuple[str, ...] = ()
    workers: int | None = None  # None: the data set is on the device

    @property
    def precision(self) -> str:
        return "bfloat16" if "bfloat16" in self.levers else "float32"


def ladder(gpu: bool, bfloat16: bool) -> list[Loop]:
    """From the references on, one lever more each, without those that the device does not have."""
    without = {"memory kept", "ReLU and dropout in one"} if gpu else {"CUDA graph"}
    levers = [lever for lever in LEVERS if lever not in without and (bfloat16 or lever != "bfloat16")]
    references = [Loop(f"reference, {workers} workers", (), workers) for workers in WORKERS]
    return references + [Loop(f"+ {lever}", tuple(levers[: i + 1])) for i, lever in enumerate(levers)]


def build(loop: Loop, config: Config) -> TakeSteps:
    """`loop` with the network and recipe of `config`, ready to take steps."""
    config = Config(**config.model_dump() | {"precision": loop.precision, "valid_size": 0})
    torch.backends.cudnn.benchmark = True  # for every loop: published loops set it too
    if "memory kept" in loop.levers:
        memory.reuse()
    network = resnet.build(config).to(device(config)).train()
    if "channels last" in loop.levers:
        network = network.to(memory_format=memory_format(config))
    if not {"ReLU and dropout in one", "fused SGD, no waiting"} & {*loop.levers}:
        as_people_write(network)
    start = _ours if "fused SGD, no waiting" in loop.levers else _plain
    return start(loop, network, config)


def changed(config: Config, names: list[str]) -> str:
    """Those of the settings `names` that are not at their defaults, as text."""
    return ", ".join(name for name in names if getattr(config, name) != Config.model_fields[name].default)


def as_people_write(network: resnet.ResNet) -> resnet.ResNet:
    """The same network with torch's own ReLU and dropout."""
    for block in itertools.chain(*network.stages):
        block.relu1, block.relu2 = (nn.Sequential(nn.ReLU(), nn.Dropout(r.p)) for r in (block.relu1, block.relu2))
    return network


def _plain(loop: Loop, network: nn.Module, config: Config) -> TakeSteps:
    """Forward, loss, backward, step, and two `.item()` for the progress bar, as most published loops have it."""
    sgd = torch.optim.SGD(network.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay)
    optimizer = Lookahead(sgd, config.lookahead_k, config.lookahead_alpha) if config.lookahead else sgd
    batches = feed(config, loop.workers)

    def steps(count: int) -> None:
        loss_sum, right = 0.0, 0
        for key in itertools.islice(full(batches, config), count):
            x, y = batches.take(*key)
            x = x if "channels last" in loop.levers else x.contiguous()
            optimizer.zero_grad()
            with autocast(config):
                logits = network(x)
                loss = cross_entropy(logits, y)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()
            right += (logits.argmax(1) == y).sum().item()

    return steps


def _ours(loop: Loop, network: nn.Module, config: Config) -> TakeSteps:
    """The library's own steps, as training takes them."""
    batches, optimizer = feed(config), optimizer_of(network, config)
    average = average_of(network, config, execution_mode.COMPILE_PAYS)
    stepper = TrainStep(network, optimizer, batches, config, average)
    stepper = stepper.compile() if "torch.compile" in loop.levers else stepper
    steps_per_call = config.lookahead_k if config.lookahead else execution_mode.WINDOW
    if "CUDA graph" in loop.levers:
        stepper = CudaGraphStep(stepper, steps_per_call, steps_per_call * config.batch_size)
    learning_rates, keys = torch.full((steps_per_call,), config.lr, device=device(config)), full(batches, config)

    def steps(count: int) -> None:
        taken = getattr(optimizer, "count", 0)
        for size in execution_mode.windows(count, count, taken, stepper.steps_per_call):
            stepper.run(list(itertools.islice(keys, size)), learning_rates[:size], config.batch_size)
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
