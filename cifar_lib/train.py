"""The training: prepare it, `fit` it epoch by epoch, read the test set once at the end.

What is evaluated and published are Lookahead's slow weights.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler

from cifar_lib import checkpoint, classifier, environment, metrics, model, progress, runs
from cifar_lib.batches import Batches, WorkerBatches, seed_of
from cifar_lib.config import Config
from cifar_lib.data import Dataset, Images
from cifar_lib.errors import Refused
from cifar_lib.evaluation import autocast, evaluate, settle
from cifar_lib.lookahead import Lookahead
from cifar_lib.optimization import optimizer_of, schedule_of

SETTLING_IMAGES = 10_000  # that batch norm's statistics are gathered from
SHOW_EVERY = 2.0  # seconds between two looks at a running epoch
TAGS = {
    "train_loss": "loss/train",
    "valid_loss": "loss/valid",
    "train_accuracy": "accuracy/train",
    "valid_accuracy": "accuracy/valid",
    "lr": "lr",
    "images_per_second": "speed/images_per_second",
}


class TrainError(Refused):
    """A training that went wrong, such as a loss that is no number; the message is one line."""


@dataclass
class Training:
    """Everything one training moves. `epoch` counts the finished ones; `best_accuracy` is of validation."""

    config: Config
    run: runs.Run
    dataset: Dataset
    device: torch.device
    network: model.ResNet
    optimizer: torch.optim.Optimizer
    scheduler: lr_scheduler.LRScheduler
    batches: Batches | WorkerBatches
    settling: Batches
    valid: Batches
    epoch: int = 0
    best_accuracy: float = -1.0

    @property
    def parts(self) -> dict:
        return {"model": self.network, "optimizer": self.optimizer, "scheduler": self.scheduler}

    def published_weights(self) -> contextlib.AbstractContextManager:
        """Within it, the network holds the weights that are evaluated and published."""
        lookahead = isinstance(self.optimizer, Lookahead)
        return self.optimizer.slow_weights() if lookahead else contextlib.nullcontext()


def prepare(config: Config, dataset: Dataset, run: runs.Run) -> Training:
    """Network, optimizer, schedule and batches; a run that was interrupted goes on from its last epoch."""
    device = environment.device(config)
    network = model.build(config).to(device)
    loader = {"device": lambda *a: Batches(*a, train=True), "workers": WorkerBatches}[config.loader]
    batches = loader(dataset.train, config, device)
    optimizer = optimizer_of(network, config)
    scheduler = schedule_of(optimizer, config, steps=config.max_epochs * len(batches))
    settling, valid = (Batches(s, config, device) for s in (dataset.train[:SETTLING_IMAGES], dataset.valid))
    training = Training(config, run, dataset, device, network, optimizer, scheduler, batches, settling, valid)
    _continue(training)
    return training


def _continue(training: Training) -> None:
    run = training.run
    if run.complete:
        training.epoch = training.config.max_epochs
    elif (run.folder / checkpoint.LAST).exists() or run.epochs > 1:
        numbers = checkpoint.load(run.folder / checkpoint.LAST, training.parts)
        training.epoch, training.best_accuracy = numbers["epoch"], numbers["best_accuracy"]
        run.forget_after(training.epoch)
    else:
        run.forget_after(0)
        facts = environment.describe(training.config, training.dataset, model.parameters(training.network))
        runs.record_environment(run, facts)


def fit(training: Training, show: Callable[[str], None] = lambda text: None) -> Iterator[dict]:
    """Train the epochs that are left; yields each one's row once it is safe on disk.

    An epoch leaves its row in history.csv, its scalars for TensorBoard, the best (or last) weights, and last.pt, from
    which the same call goes on as if it had never stopped. `show` is handed a line every few seconds.
    Raises `TrainError` where the loss is no number; the last good epoch stays on disk.
    """
    from torch.utils.tensorboard import SummaryWriter

    if training.epoch >= training.config.max_epochs:
        return
    with SummaryWriter(training.run.folder, purge_step=training.epoch + 1) as writer:
        while training.epoch < training.config.max_epochs:
            row = train_epoch(training, show)
            _keep(training, row)
            _to_tensorboard(writer, row)
            yield row


def train_epoch(training: Training, show: Callable[[str], None] = lambda text: None) -> dict:
    """One pass over the training set, and validation. Returns the row; loss and accuracy of training are the means over
    the pass, under augmentation and dropout, of the weights as they moved."""
    number, rate = training.epoch + 1, training.scheduler.get_last_lr()[0]
    torch.manual_seed(seed_of(training.config, number))  # dropout's
    training.network.train()
    loss, right, seen, began = _pass(training, number, show)
    seconds = time.perf_counter() - began
    if not math.isfinite(loss):
        raise TrainError(
            f"epoch {number}: the loss is {loss}, with lr {rate:.3g}; lower lr or set grad_clip. "
            f"Epoch {training.epoch} and what came before are kept"
        )
    with training.published_weights():
        settle(training.network, training.settling, training.config)
        valid_loss, valid_accuracy = evaluate(training.network, training.valid, training.config)
    training.epoch = number
    values = (number, loss / seen, right / seen, valid_loss, valid_accuracy, rate, seconds, seen / seconds)
    return dict(zip(runs.COLUMNS, values, strict=True))


def _pass(training: Training, number: int, show: Callable[[str], None]) -> tuple[float, int, int, float]:
    began = shown = time.perf_counter()
    totals, seen = torch.zeros(2, dtype=torch.float64, device=training.device), 0
    for batch, (x, y) in enumerate(training.batches.epoch(number), 1):
        totals += step(training, x, y)
        seen += len(y)
        if (now := time.perf_counter()) - shown > SHOW_EVERY:
            shown, speed = now, seen / (now - began)
            left = (training.config.max_epochs - number + 1) * len(training.dataset.train) - seen
            show(
                f"epoch {number}/{training.config.max_epochs}  batch {batch}/{len(training.batches)}  "
                f"loss {totals[0].item() / seen:.3f}  {speed:,.0f} img/s  {progress.duration(left / speed)} left"
            )
    loss, right = totals.tolist()  # the one wait for the device
    return loss, int(right), seen, began


def step(training: Training, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """One step of the optimizer and the schedule on x (B, 3, 32, 32), y (B,); returns [sum of losses, number right]."""
    with autocast(training.config):
        logits = training.network(x)
    loss = cross_entropy(logits.float(), y)
    loss.backward()
    if training.config.grad_clip is not None:
        torch.nn.utils.clip_grad_value_(training.network.parameters(), training.config.grad_clip)
    training.optimizer.step()
    training.optimizer.zero_grad()
    training.scheduler.step()
    return torch.stack([loss.detach() * len(y), (logits.argmax(1) == y).sum()]).double()


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
