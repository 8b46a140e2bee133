"""The training loops that the benchmark sets side by side: one as people write it, ours, and the steps between."""

import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cifar_lib import data
from cifar_lib.config import IMAGE_SIZE, Config
from cifar_lib.data import STATISTICS
from cifar_lib.data.batches import Batches
from cifar_lib.device import memory
from cifar_lib.device.placement import autocast, device, memory_format
from cifar_lib.models import resnet
from cifar_lib.optim.lookahead import Lookahead
from cifar_lib.optim.schedules import average_of, optimizer_of
from cifar_lib.training import execution_mode
from cifar_lib.training.cuda_graphs import CudaGraphStep
from cifar_lib.training.train_step import TrainStep

Walk = Callable[[int], None]  # takes that many steps, and returns when they are done


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
    "data": ("data on the device", {"workers": None}),
    "layout": ("channels last", {"channels_last": True}),
    "memory": ("memory kept", {"memory": True}),
    "dropout": ("ReLU and dropout in one", {"dropout": True}),
    "steps": ("fused SGD, no waiting", {"ours": True, "dropout": True}),
    "bfloat16": ("bfloat16", {"precision": "bfloat16"}),
    "graph": ("CUDA graph", {"captured": True}),
    "compile": ("torch.compile", {"compiled": True}),
}


def ladder(gpu: bool, bfloat16: bool) -> list[Side]:
    """From the loop as people write it to ours and on, a lever at a time, but for those the device does not have."""
    sides = [Side(f"reference, {workers} workers", workers=workers) for workers in (0, 2, 8)]
    order = "data layout bfloat16 steps graph compile" if gpu else "data layout memory dropout steps bfloat16 compile"
    for key in order.split():
        if key != "bfloat16" or bfloat16:
            name, change = LEVERS[key]
            sides.append(replace(sides[-1], name=f"+ {name}", lever=name, **change))
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
    for stage in network.stages:
        for block in stage:
            block.relu1, block.relu2 = (nn.Sequential(nn.ReLU(), nn.Dropout(r.p)) for r in (block.relu1, block.relu2))
    return network


def _plain(side: Side, network: nn.Module, config: Config) -> Walk:
    """Forward, loss, backward, step, and two `.item()` for the progress bar, as most published loops have it."""
    sgd = torch.optim.SGD(network.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay)
    optimizer = Lookahead(sgd, config.lookahead_k, config.lookahead_alpha) if config.lookahead else sgd
    feed = Feed(side, config)

    def steps(count: int) -> None:
        loss_sum, right = 0.0, 0
        for x, y in itertools.islice(feed.batches(), count):
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
    feed, optimizer = Feed(side, config), optimizer_of(network, config)
    stepper = TrainStep(
        network, optimizer, feed.device_batches, config, average_of(network, config, execution_mode.COMPILE_PAYS)
    )
    stepper = stepper.compile() if side.compiled else stepper
    steps_per_call = config.lookahead_k if config.lookahead else execution_mode.WINDOW
    stepper = CudaGraphStep(stepper, steps_per_call, steps_per_call * config.batch_size) if side.captured else stepper
    rates = torch.full((steps_per_call,), config.lr, device=device(config))
    keys = feed.keys()

    def steps(count: int) -> None:
        taken = getattr(optimizer, "count", 0)
        for size in execution_mode.windows(count, count, taken, stepper.steps_per_call):
            stepper.run(list(itertools.islice(keys, size)), rates[:size], config.batch_size)
        stepper.totals.sum().item()

    return steps


class Feed:
    """Batches without end: of torchvision's CIFAR10 through a DataLoader, or of the data set on the device."""

    def __init__(self, side: Side, config: Config):
        self.device, self.config, self.side = device(config), config, side
        if side.workers is None:
            self.device_batches = Batches(data.load(config).train, config, self.device, train=True)
        else:
            self.loader = reference_loader(config, side.workers)

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """x (B, 3, 32, 32) and y (B,) on the device, full batches alone."""
        if self.side.workers is None:
            pairs = (self.device_batches.take(*key) for key in self.keys())
            yield from pairs if self.side.channels_last else ((x.contiguous(), y) for x, y in pairs)
        while True:
            for x, y in self.loader:
                yield x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)

    def keys(self) -> Iterator[tuple[torch.Tensor]]:
        """What the data set on the device makes full batches from."""
        for number in itertools.count():
            for key in self.device_batches.keys(number):
                if len(key[0]) == self.config.batch_size:
                    yield key


def reference_loader(config: Config, workers: int) -> torch.utils.data.DataLoader:
    """torchvision's CIFAR10, its transforms image by image, in a shuffling DataLoader: as every tutorial has it."""
    from torchvision import transforms
    from torchvision.datasets import CIFAR10

    facts = STATISTICS["cifar10"]
    steps = [transforms.RandomCrop(IMAGE_SIZE, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    whole = transforms.Compose([*steps, transforms.Normalize(facts.mean, facts.std)])
    settings = {"shuffle": True, "drop_last": True, "num_workers": workers}
    if workers:  # forked, as a script's are on Linux; a side runs in a spawned process, whose own would be spawned
        settings |= {"persistent_workers": True, "multiprocessing_context": "fork"}
    settings["pin_memory"] = device(config).type == "cuda"
    # 8 workers on 2 cores is what the comparison asks for; torch warns when the batches are asked for, too.
    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
    images = CIFAR10(data.cifar10_root(), transform=whole)
    return torch.utils.data.DataLoader(images, config.batch_size, **settings)
