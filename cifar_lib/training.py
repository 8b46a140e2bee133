"""A training before its first step: everything it moves, made new or brought back from where it was left."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch

from cifar_lib import checkpoint, distributed, environment, gears, model, placement, runs
from cifar_lib.averaging import Average
from cifar_lib.batches import Batches, WorkerBatches
from cifar_lib.capture import Captured
from cifar_lib.config import Config
from cifar_lib.data import Dataset
from cifar_lib.errors import Refused
from cifar_lib.lookahead import Lookahead
from cifar_lib.optimization import average_of, optimizer_of, rates
from cifar_lib.steps import Stepper

SETTLING_IMAGES = 10_000  # that batch norm's statistics are gathered from


def silent(text: str) -> None:
    """Show nothing."""


class TrainError(Refused):
    """A training that went wrong, such as a loss that is no number; the message is one line."""


@dataclass
class Training:
    """Everything one training moves. `epoch` counts the finished ones; `best_accuracy` is of validation.

    `rates` (epochs, steps) are the learning rates of all its steps; `stepper` takes them, in the fastest gear there is.
    """

    config: Config
    run: runs.Run
    dataset: Dataset
    device: torch.device
    network: model.ResNet
    optimizer: torch.optim.Optimizer
    average: Average | None
    batches: Batches | WorkerBatches
    settling: Batches
    valid: Batches
    rates: torch.Tensor
    stepper: Stepper | Captured | None = None
    epoch: int = 0
    best_accuracy: float = -1.0

    @property
    def parts(self) -> dict:
        parts = {"model": self.network, "optimizer": self.optimizer, "average": self.average}
        return {name: part for name, part in parts.items() if part}

    def published_weights(self) -> contextlib.AbstractContextManager:
        """Within it, the network holds the weights that are evaluated and published."""
        slow = self.average or self.optimizer
        return slow.slow_weights() if isinstance(slow, (Average, Lookahead)) else contextlib.nullcontext()


def prepare(config: Config, dataset: Dataset, run: runs.Run, say: Callable[[str], None] = silent) -> Training:
    """Network, optimizer, rates and batches; a run that was interrupted goes on from its last epoch.

    `say` is told how the steps will be taken where that is not plainly eager. Raises `TrainError`, `RunError` or
    `PlacementError`, one line, for what cannot be trained, continued, or done here.
    """
    device, share = placement.device(config), distributed.share()
    _demand_shares(config, len(dataset.train), share)
    placement.settle_down(device)
    network = model.build(config).to(device, memory_format=placement.memory_format(config))
    if config.sync_bn:
        distributed.synchronise_norms(network)
    if config.loader == "workers":
        batches = WorkerBatches(dataset.train, config, device)
        plain = Batches(dataset.train[:SETTLING_IMAGES], config, device)
    else:
        batches = Batches(dataset.train, config, device, train=True, share=share)
        plain = batches.plain(SETTLING_IMAGES)
    steps = rates(config, config.max_epochs * len(batches)).view(config.max_epochs, len(batches))
    moving = optimizer_of(network, config), average_of(network, config)
    valid = Batches(dataset.valid, config, device)
    training = Training(config, run, dataset, device, network, *moving, batches, plain, valid, steps)
    _continue(training, say)
    return training


def _demand_shares(config: Config, images: int, share: distributed.Share) -> None:
    last = images % config.batch_size or config.batch_size
    if share.size > min(last, config.batch_size):
        raise TrainError(f"batch_size: the smallest batch has {last} images, too few for {share.size} processes")
    if share.size > 1 and config.loader == "workers":
        raise TrainError("loader: got workers under torchrun, expected device: each process holds the data set")


def _continue(training: Training, say: Callable[[str], None]) -> None:
    """Take up what the run's folder has; the leader reads it for all. The gear is chosen once the state is in place."""
    run, config = training.run, training.config
    state = distributed.once(lambda: _found(run))
    if state:
        numbers = checkpoint.restore(state, training.parts)
        training.epoch, training.best_accuracy = numbers["epoch"], numbers["best_accuracy"]
    if run.complete:
        training.epoch = config.max_epochs
        return
    network = distributed.parallel(training.network)
    stepper = Stepper(network, training.optimizer, training.batches, config, training.average)
    training.stepper, gear = gears.choose(stepper, training.rates.numel(), len(training.dataset.train), say)
    if not state:
        facts = environment.describe(config, training.dataset, model.parameters(training.network), gear)
        distributed.once(lambda: runs.record_environment(run, facts))


def _found(run: runs.Run) -> dict:
    """The state to go on from, empty at the beginning; rows of epochs that it does not have are dropped."""
    if run.complete:
        return {}
    path = run.folder / checkpoint.LAST
    state = checkpoint.read(path) if path.exists() or run.epochs > 1 else {}
    run.forget_after(state["numbers"]["epoch"] if state else 0)
    return state
