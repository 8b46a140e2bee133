"""The training: `prepare` it, `fit` it epoch by epoch, read the test set once at the end.

What is evaluated and published is the average, if there is one, else Lookahead's slow weights.
"""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator

import torch

from cifar_lib import checkpoint, classifier, distributed, gears, memory, metrics, progress, runs
from cifar_lib.batches import seed_of
from cifar_lib.data import Images
from cifar_lib.evaluation import evaluate, settle
from cifar_lib.training import TrainError, Training, prepare, silent

__all__ = ["TrainError", "Training", "finish", "fit", "prepare", "train_epoch"]
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


def fit(training: Training, show: Callable[[str], None] = silent) -> Iterator[dict]:
    """Train the epochs that are left; yields each one's row once it is safe on disk.

    An epoch leaves its row in history.csv, its scalars for TensorBoard, the best (or last) weights, and last.pt, from
    which the same call goes on as if it had never stopped. `show` is handed a line every few seconds.
    Raises `TrainError` where the loss is no number; the last good epoch stays on disk.
    """
    from torch.utils.tensorboard import SummaryWriter

    if training.epoch >= training.config.max_epochs:
        return
    leads = distributed.share().rank == 0
    own = SummaryWriter(training.run.folder, purge_step=training.epoch + 1) if leads else contextlib.nullcontext()
    with own as writer:
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


def train_epoch(training: Training, show: Callable[[str], None] = silent) -> dict:
    """One pass over the training set, and validation. Returns the row.

    Loss and accuracy of training are the means over the pass, under augmentation, mixing, smoothing and dropout, of the
    weights as they moved, and of a mixed image its larger part counts; memory is the most so far, in 10^9 bytes.
    """
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
