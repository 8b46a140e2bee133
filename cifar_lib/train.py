"""The training: prepare it, `fit` it epoch by epoch, read the test set once at the end.

What is evaluated and published are Lookahead's slow weights.
"""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from cifar_lib import (
    checkpoint,
    classifier,
    distributed,
    environment,
    gears,
    memory,
    metrics,
    model,
    placement,
    progress,
    runs,
)
from cifar_lib.batches import Batches, WorkerBatches, seed_of
from cifar_lib.capture import Captured
from cifar_lib.config import Config
from cifar_lib.data import Dataset, Images
from cifar_lib.errors import Refused
from cifar_lib.evaluation import evaluate, settle
from cifar_lib.lookahead import Lookahead
from cifar_lib.optimization import optimizer_of, rates
from cifar_lib.steps import Stepper

SETTLING_IMAGES = 10_000  # that batch norm's statistics are gathered from
SHOW_EVERY = 2.0  # seconds between two looks at a running epoch
TAGS = {
    "train_loss": "loss/train",
    "valid_loss": "loss/valid",
    "train_accuracy": "accuracy/train",
    "valid_accuracy": "accuracy/valid",
    "lr": "lr",
    "images_per_second": "speed/images_per_second",
    "memory_gb": "memory/process",
    "gpu_memory_gb": "memory/gpu",
}


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
    batches: Batches | WorkerBatches
    settling: Batches
    valid: Batches
    rates: torch.Tensor
    stepper: Stepper | Captured | None = None
    epoch: int = 0
    best_accuracy: float = -1.0

    @property
    def parts(self) -> dict:
        return {"model": self.network, "optimizer": self.optimizer}

    def published_weights(self) -> contextlib.AbstractContextManager:
        """Within it, the network holds the weights that are evaluated and published."""
        lookahead = isinstance(self.optimizer, Lookahead)
        return self.optimizer.slow_weights() if lookahead else contextlib.nullcontext()


def prepare(
    config: Config, dataset: Dataset, run: runs.Run, say: Callable[[str], None] = lambda text: None
) -> Training:
    """Network, optimizer, rates and batches; a run that was interrupted goes on from its last epoch.

    `say` is told how the steps will be taken where that is not plainly eager. Raises `TrainError`, `RunError` or
    `PlacementError`, one line, for what cannot be trained, continued, or done here.
    """
    device, share = placement.device(config), distributed.share()
    _demand_shares(config, len(dataset.train), share)
    if device.type == "cpu":
        memory.reuse()
    network = model.build(config).to(device, memory_format=placement.memory_format(config))
    if config.sync_bn:
        distributed.synchronise_norms(network)
    if config.loader == "workers":
        batches, plain = (
            WorkerBatches(dataset.train, config, device),
            Batches(dataset.train[:SETTLING_IMAGES], config, device),
        )
    else:
        batches = Batches(dataset.train, config, device, train=True, share=share)
        plain = batches.plain(SETTLING_IMAGES)
    steps = rates(config, config.max_epochs * len(batches)).view(config.max_epochs, len(batches))
    valid, optimizer = Batches(dataset.valid, config, device), optimizer_of(network, config)
    training = Training(config, run, dataset, device, network, optimizer, batches, plain, valid, steps)
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
    stepper = Stepper(network, training.optimizer, training.batches, config)
    training.stepper, gear = gears.choose(stepper, training.rates.numel(), say)
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


def fit(training: Training, show: Callable[[str], None] = lambda text: None) -> Iterator[dict]:
    """Train the epochs that are left; yields each one's row once it is safe on disk.

    An epoch leaves its row in history.csv, its scalars for TensorBoard, the best (or last) weights, and last.pt, from
    which the same call goes on as if it had never stopped. `show` is handed a line every few seconds.
    Raises `TrainError` where the loss is no number; the last good epoch stays on disk.
    """
    from torch.utils.tensorboard import SummaryWriter

    if training.epoch >= training.config.max_epochs:
        return
    leads = distributed.share().rank == 0
    with (
        SummaryWriter(training.run.folder, purge_step=training.epoch + 1)
        if leads
        else contextlib.nullcontext() as writer
    ):
        while training.epoch < training.config.max_epochs:
            row = _together(training, show)
            if leads:
                _keep(training, row)
                _to_tensorboard(writer, row)
            yield row


def _together(training: Training, show: Callable[[str], None]) -> dict:
    """One epoch; of several processes, one that fails ends all with one line."""
    try:
        return train_epoch(training, show)
    except RuntimeError as error:
        if distributed.share() == distributed.ALL:
            raise
        reason = str(error).strip().splitlines()[0][:200]
        raise TrainError(
            f"epoch {training.epoch + 1}: a process of this run failed or is gone ({reason}); "
            f"epoch {training.epoch} and what came before are kept, the same command continues"
        ) from None


def train_epoch(training: Training, show: Callable[[str], None] = lambda text: None) -> dict:
    """One pass over the training set, and validation. Returns the row; loss and accuracy of training are the means over
    the pass, under augmentation and dropout, of the weights as they moved; memory is the most so far, in 10^9 bytes."""
    number, seen = training.epoch + 1, len(training.dataset.train)
    rate = training.rates[training.epoch, 0].item()
    torch.manual_seed(seed_of(training.config, number, distributed.share().rank))  # dropout's
    training.network.train()
    loss, right, seconds = _pass(training, number, show)
    if not math.isfinite(loss):
        raise TrainError(
            f"epoch {number}: the loss is {loss}, with lr {rate:.3g}; lower lr or set grad_clip. "
            f"Epoch {training.epoch} and what came before are kept"
        )
    valid = distributed.once(lambda: _validate(training))
    training.epoch = number
    values = (number, loss / seen, right / seen, *valid, rate, seconds, seen / seconds, *_memory(training.device))
    return dict(zip(runs.COLUMNS, values, strict=True))


def _pass(training: Training, number: int, show: Callable[[str], None]) -> tuple[float, int, float]:
    """The sum of losses, the number right, and the seconds, of one epoch's steps; the host waits once, at the end."""
    images, size, stepper = len(training.dataset.train), training.config.batch_size, training.stepper
    began = shown = time.perf_counter()
    steps, rates = training.rates.shape[1], training.rates[number - 1].float().to(training.device)
    keys, done = iter(training.batches.keys(number)), 0
    stepper.totals.zero_()
    for reach in gears.windows(steps, images // size, getattr(training.optimizer, "count", 0), stepper.reach):
        total = min(size, images - done * size)
        stepper.take(list(itertools.islice(keys, reach)), rates[done : done + reach], total)
        done += reach
        if time.perf_counter() - shown > SHOW_EVERY:
            loss, shown = stepper.totals[0].item(), time.perf_counter()
            show(_line(training, number, done, loss, shown - began))
    loss, right = distributed.add_up(stepper.totals).tolist()
    return loss, int(right), time.perf_counter() - began


def _line(training: Training, number: int, done: int, loss: float, seconds: float) -> str:
    steps, images = training.rates.shape[1], len(training.dataset.train)
    seen = min(done * training.config.batch_size, images)
    speed, left = seen / seconds, (training.config.max_epochs - number + 1) * images - seen
    own = seen / distributed.share().size
    return (
        f"epoch {number}/{training.config.max_epochs}  batch {done}/{steps}  loss {loss / own:.3f}  "
        f"{speed:,.0f} img/s  {progress.duration(left / speed)} left"
    )


def _validate(training: Training) -> tuple[float | None, float | None]:
    """Loss and accuracy of the published weights, batch norm settled for them."""
    with training.published_weights():
        settle(training.network, training.settling, training.config)
        return evaluate(training.network, training.valid, training.config)


def _memory(device: torch.device) -> tuple[float, float | None]:
    gpu = memory.gpu_peak(device)
    return memory.resident_peak() / 1e9, None if gpu is None else gpu / 1e9


def _keep(training: Training, row: dict) -> None:
    """Weights first, then the row, then the checkpoint: whatever stops in between is done again from the checkpoint."""
    accuracy, folder = row["valid_accuracy"], training.run.folder
    if accuracy is None or accuracy > training.best_accuracy:
        training.best_accuracy = training.best_accuracy if accuracy is None else accuracy
        with training.published_weights():
            checkpoint.publish(folder / checkpoint.WEIGHTS, training.network, epoch=row["epoch"])
    training.run.append(row)
    numbers = {"epoch": training.epoch, "best_accuracy": training.best_accuracy}
    checkpoint.save(folder / checkpoint.LAST, training.parts, **numbers)


def _to_tensorboard(writer, row: dict) -> None:
    for column, tag in TAGS.items():
        if row[column] is not None:
            writer.add_scalar(tag, row[column], row["epoch"])
    writer.flush()


def finish(training: Training) -> runs.Run:
    """Read the test set once, with the published weights, and write what it showed; a finished run stays."""
    run, test = training.run, training.dataset.test
    if run.complete:
        return run
    logits = classifier.load(run).logits(Images(test.images, test.labels))
    predictions = runs.Predictions(test.labels, logits.argmax(1), logits)
    chosen = metrics.most_confident_mistakes(predictions.probabilities, predictions.labels, predictions.predicted)
    confidence = predictions.probabilities.max(1)[chosen]
    found = (test.images[chosen], predictions.labels[chosen], predictions.predicted[chosen], confidence)
    run.finish(predictions, runs.Mistakes(chosen, *found))
    return run
