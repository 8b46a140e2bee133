"""A training before its first step: everything it moves, made new or brought back from where it was left."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch

from cifar_lib import errors, runs
from cifar_lib.config import Config
from cifar_lib.data import Dataset
from cifar_lib.data.batches import Batches, WorkerBatches, side_of
from cifar_lib.device import distributed, memory, placement
from cifar_lib.errors import UserError
from cifar_lib.inference import evaluation, weights
from cifar_lib.models import resnet
from cifar_lib.optim.ema import Average
from cifar_lib.optim.lookahead import Lookahead
from cifar_lib.optim.schedules import average_of, lr_schedule, optimizer_of
from cifar_lib.system import locks
from cifar_lib.training import checkpoint, environment, execution_mode
from cifar_lib.training.cuda_graphs import CudaGraphStep
from cifar_lib.training.train_step import TrainStep

STATISTICS_IMAGES = 2_560  # of training, that batch norm's statistics are re-estimated from
# What a training has beside its parts.
PLAIN = ("epoch", "rows", "confusions", "best_accuracy", "best_epoch", "weights")


def silent(text: str) -> None:
    """Show nothing."""


class TrainError(UserError):
    """A training that cannot be, or cannot go on; the message is one line."""


class OtherData(TrainError):
    """A run that was begun with other images; the message is one line."""

    status = errors.DATA


@dataclass
class Training:
    """Everything one training moves. `epoch` counts the finished ones, of which `rows` is the history; `confusions` are
    of validation, where there is any: epoch, and images (10, 10) by true and predicted class.

    `lr_schedule` (epochs, steps) are the learning rates; `stepper` takes all steps, in the fastest mode there is.
    `best_accuracy`, of validation, is of `best_epoch`, whose `weights` (as of `weights.pack`) are published.
    `underway`: an epoch was begun and is not kept yet, so that this is no state to go on from.
    """

    config: Config
    run: runs.Run
    dataset: Dataset
    device: torch.device
    network: resnet.ResNet
    optimizer: torch.optim.Optimizer
    average: Average | None
    batches: Batches | WorkerBatches
    valid: Batches
    lr_schedule: torch.Tensor
    stepper: TrainStep | CudaGraphStep | None = None
    epoch: int = 0
    rows: list[dict] = field(default_factory=list)
    confusions: list[dict] = field(default_factory=list)
    best_accuracy: float = -1.0
    best_epoch: int = 0
    weights: torch.Tensor | None = None
    underway: bool = False

    @property
    def parts(self) -> dict:
        parts = {"model": self.network, "optimizer": self.optimizer, "average": self.average}
        return {name: part for name, part in parts.items() if part}

    @property
    def state(self) -> dict:
        """All that a checkpoint holds: tensors, numbers and text. Everything random is drawn from seed and epoch."""
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        own = {name: getattr(self, name) for name in PLAIN}
        return own | {"config": self.config.model_dump_json(), "data": self.hashes} | parts

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each split."""
        return {name: getattr(self.dataset, name).sha256 for name in ("train", "valid", "test")}

    @cached_property
    def parallel(self) -> torch.nn.Module:
        """The network, whose gradients are averaged over the processes."""
        return distributed.parallel(self.network)

    def restore(self, state: dict) -> None:
        """Be the training whose `state` that was."""
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        for name in PLAIN:
            setattr(self, name, ({"confusions": []} | state)[name])  # not kept before 2026-11-29

    @contextlib.contextmanager
    def eval_weights(self) -> Iterator[None]:
        """Within it the network holds the average, else Lookahead's slow weights, else its own, and may be changed."""
        weights = contextlib.nullcontext()
        if self.average:
            weights = self.average.shadow_weights()
        elif isinstance(self.optimizer, Lookahead):
            weights = self.optimizer.slow_weights()
        with weights, evaluation.preserved(self.network):
            yield

    @contextlib.contextmanager
    def published(self, number: int) -> Iterator[None]:
        """Within it the network is the one that is published after epoch `number`: weights rounded as they are stored,
        statistics as `norm_statistics` says."""
        with self.eval_weights():
            evaluation.round_weights(self.network)
            if self.config.norm_statistics == "re-estimated":
                evaluation.re_estimate(self.network, self.batches.sample(number, STATISTICS_IMAGES))
            yield


def prepare(config: Config, dataset: Dataset, run: runs.Run, say: Callable[[str], None] = silent) -> Training:
    """Network, optimizer, learning rates and batches; a run that was interrupted goes on from its last epoch.

    From here on this process alone trains the run. `say` gets a line for an execution mode that is not eager, and for
    all that has changed since the run began. Raises a `UserError` for what cannot be trained, continued, or done here.
    """
    with memory.guard("preparing the training"):
        training = _build(config, dataset, run)
        _resume(training, say)
    return training


def last(run: runs.Run, dataset: Dataset) -> Training:
    """The training of a run as its last checkpoint has it, to look at. Raises a `UserError` where there is none."""
    training = _build(run.config, dataset, run)
    state = checkpoint.read(run.folder / checkpoint.LAST)
    _check_same_data(training, state["data"])
    training.restore(state)
    return training


def _build(config: Config, dataset: Dataset, run: runs.Run) -> Training:
    """A training before its first step."""
    device, world = placement.device(config), distributed.world()
    _check_world(config, len(dataset.train), world)
    placement.prepare_backends(device, config.deterministic)
    network = resnet.build(config).to(device, memory_format=placement.memory_format(config))
    if config.whitening:
        few, _ = next(Batches(dataset.train, config, device).epoch())
        network.stem.conv.whiten(few)
    if config.sync_bn:
        distributed.synchronise_norms(network)
    if config.loader == "workers":
        batches = WorkerBatches(dataset.train, config, device)
    else:
        batches = Batches(dataset.train, config, device, train=True, world=world)
    steps = lr_schedule(config, config.max_epochs * len(batches)).view(config.max_epochs, len(batches))
    moving = optimizer_of(network, config), average_of(network, config, steps.numel())
    valid = Batches(dataset.valid, config, device)
    return Training(config, run, dataset, device, network, *moving, batches, valid, steps)


def _check_world(config: Config, images: int, world: distributed.World) -> None:
    last = images % config.batch_size or config.batch_size
    if world.size > min(last, config.batch_size):
        raise TrainError(f"batch_size: the smallest batch has {last} images, too few for {world.size} processes")
    if world.size > 1 and config.loader == "workers":
        raise TrainError("loader: got workers under torchrun, expected device: each process holds the data set")


def _resume(training: Training, say: Callable[[str], None]) -> None:
    """Resume from the run's folder, which the leader reads for all; then choose the execution mode."""
    run, config = training.run, training.config
    if run.complete:
        training.epoch = config.max_epochs
        return
    if state := distributed.on_rank_zero(lambda: _load_checkpoint(training, say)):
        training.restore(state)
    mode = choose_mode(training, say)
    count = resnet.parameters(training.network)
    facts = environment.describe(config, training.dataset, training.hashes, count, mode)
    distributed.on_rank_zero(lambda: environment.keep(run, facts, training.epoch, say))


def choose_mode(training: Training, say: Callable[[str], None]) -> str:
    """Set how the next epoch's steps are taken, with images of its size; returns the name of the mode."""
    config, batches = training.config, training.batches
    batches.side = side_of(config, training.epoch + 1)
    stepper = TrainStep(training.parallel, training.optimizer, batches, config, training.average)
    steps, images = training.lr_schedule.numel(), len(training.dataset.train)
    training.stepper, mode = execution_mode.choose(stepper, steps, images, say)
    return mode


def _load_checkpoint(training: Training, say: Callable[[str], None]) -> dict:
    """The state to go on from, {} at first. Locks the run, and sets the files right that follow from the state."""
    run = training.run
    with locks.taking(run.folder):
        runs.check_same(run, runs.Run(run.folder).config, training.config)
        state = checkpoint.find(run.folder, training.config, say)
        if state:
            _check_same_data(training, state["data"])
            weights.write(run.folder, state["weights"])
            run.record_history(state["rows"], state.get("confusions", []))
    return state


def _check_same_data(training: Training, has: dict) -> None:
    for name, now in training.hashes.items():
        if has[name] != now:
            raise OtherData(
                f"{name} images: the run {training.run.name} has those of SHA-256 {has[name][:12]}, now {now[:12]}; "
                "give it the images it was begun with, or give another run name"
            )
