"""The training: `prepare` it, `fit` it epoch by epoch, read the test set once at the end."""

import itertools
import signal
import time
from collections.abc import Callable, Iterator

import torch

from cifar_lib import runs
from cifar_lib.data import Images
from cifar_lib.data.batches import seed_of, side_of
from cifar_lib.device import distributed, memory
from cifar_lib.errors import short
from cifar_lib.inference import classifier, mistakes, weights
from cifar_lib.inference.evaluation import Score, evaluate
from cifar_lib.runs.events import Events
from cifar_lib.system import locks, progress, signals
from cifar_lib.training import checkpoint, execution_mode, numerics
from cifar_lib.training.numerics import NumericError
from cifar_lib.training.train_state import TrainError, Training, choose_mode, prepare, silent

__all__ = ["NumericError", "TrainError", "Training", "finish", "fit", "prepare", "train_epoch"]
SHOW_EVERY = 2.0  # seconds between two looks at a running epoch
STORED = 25  # mistakes that a run keeps the images of


def fit(training: Training, show: Callable[[str], None] = silent) -> Iterator[dict]:
    """Train the epochs that are left; yields each one's row once its checkpoint is on disk. `show` gets a line every
    few seconds.

    Whatever ends this, the same call in a new process goes on as if it had never stopped. Raises `NumericError` for a
    loss, a gradient or a weight that is not finite, `OutputError` where nothing can be written, `Stopped` where the
    user asks for it: the last good epoch stays on disk.
    """
    config, leads = training.config, distributed.world().rank == 0
    if training.run.complete:
        return
    if training.underway:
        raise TrainError(f"epoch {training.epoch + 1} was cut off, so this training cannot go on; prepare it anew")
    events = Events(training.run.folder, training.rows) if leads else None
    with signals.handle(signal.SIGINT):
        _set_stop_message(training)
        while training.epoch < config.max_epochs:
            if training.batches.side != side_of(config, training.epoch + 1):
                choose_mode(training, show)
            training.underway = True
            row = _guarded_epoch(training, show)
            if leads:
                with signals.defer():
                    _keep(training, row, events)
            training.underway = False
            yield row


def _set_stop_message(training: Training) -> None:
    done, all_ = training.epoch, training.config.max_epochs
    signals.set_message(f"stopped at epoch {done} of {all_}; the same command continues")


def _guarded_epoch(training: Training, show: Callable[[str], None]) -> dict:
    """One epoch; of several processes, one that fails ends all with one line."""
    done = training.epoch
    try:
        with memory.guard(f"epoch {done + 1}"):
            return train_epoch(training, show)
    except RuntimeError as error:
        if distributed.world() == distributed.ALONE:
            raise
        kept = f"epoch {done} is kept, the same command continues from it" if done else "no epoch is kept yet"
        lost = f"epoch {done + 1}: a process of this run failed or is gone ({short(error)})"
        raise distributed.GroupError(f"{lost}; {kept}") from None


def train_epoch(training: Training, show: Callable[[str], None] = silent) -> dict:
    """One pass over the training set, and validation. Returns the row of the history.

    Training's loss and accuracy are means over the pass, of the weights as they moved, under augmentation, mixing (the
    larger part counts), smoothing and dropout; memory is the most so far, in 10^9 bytes.
    """
    number, seen = training.epoch + 1, len(training.dataset.train)
    lr = training.lr_schedule[training.epoch, 0].item()
    torch.manual_seed(seed_of(training.config, number, distributed.world().rank))  # dropout's
    training.network.train()
    loss, right, seconds = _pass(training, number, show)
    valid = distributed.on_rank_zero(lambda: _validate(training, number))
    numerics.check_numbers(training, number, valid[0])
    training.epoch = number
    used = [peak and peak / 1e9 for peak in (memory.resident_peak(), memory.gpu_peak(training.device))]
    values = (number, loss / seen, right / seen, *valid, lr, seconds, seen / seconds, *used)
    return dict(zip(runs.COLUMNS, values, strict=True))


def _pass(training: Training, number: int, show: Callable[[str], None]) -> tuple[float, int, float]:
    """The sum of losses, the number right, and the seconds, of one epoch's steps; the host waits once, at the end."""
    images, size, stepper = len(training.dataset.train), training.config.batch_size, training.stepper
    began = shown = time.perf_counter()
    steps, lrs = training.lr_schedule.shape[1], training.lr_schedule[number - 1].float().to(training.device)
    keys, done = iter(training.batches.keys(number)), 0
    stepper.totals.zero_()
    count = getattr(training.optimizer, "count", 0)
    for together in execution_mode.windows(steps, images // size, count, stepper.steps_per_call):
        total = min(size, images - done * size)
        stepper.run(list(itertools.islice(keys, together)), lrs[done : done + together], total)
        done += together
        if time.perf_counter() - shown > SHOW_EVERY:
            (loss, _, good), shown = stepper.totals.tolist(), time.perf_counter()
            if distributed.world() == distributed.ALONE:  # of several processes none may leave the others waiting
                numerics.check_steps(training, number, done, good, loss)
            show(_line(training, number, done, loss, shown - began))
    loss, right, good = distributed.all_reduce_sum(stepper.totals).tolist()
    numerics.check_steps(training, number, done, good / distributed.world().size, loss)
    return loss, int(right), time.perf_counter() - began


def _line(training: Training, number: int, done: int, loss: float, seconds: float) -> str:
    steps, images = training.lr_schedule.shape[1], len(training.dataset.train)
    seen = min(done * training.config.batch_size, images)
    speed, left = seen / seconds, (training.config.max_epochs - number + 1) * images - seen
    own = seen / distributed.world().size
    return (
        f"epoch {number}/{training.config.max_epochs}  batch {done}/{steps}  loss {loss / own:.3f}  "
        f"{speed:,.0f} img/s  {progress.duration(left / speed)} left"
    )


def _validate(training: Training, number: int) -> tuple[float | None, float | None]:
    """Loss and accuracy of the published network; the best so far, else the last, is remembered as it is stored."""
    with training.published(number):
        loss, accuracy, confusion = _score(training)
        if accuracy is None or accuracy > training.best_accuracy:
            training.best_accuracy = training.best_accuracy if accuracy is None else accuracy
            training.best_epoch = number
            training.weights = weights.pack(training.network, epoch=number)
    if confusion is not None:
        training.confusions.append({"epoch": number, "images": confusion.tolist()})
    return loss, accuracy


def _score(training: Training) -> Score:
    return evaluate(training.network, training.valid)


def _keep(training: Training, row: dict, events: Events) -> None:
    """Write the checkpoint, and then what follows from it: what a death leaves out, a new start makes."""
    folder = training.run.folder
    training.rows.append(row)
    checkpoint.save(folder, training.state)
    _set_stop_message(training)
    weights.write(folder, training.weights)
    training.run.record_history(training.rows, training.confusions)
    events.add(row)


def finish(training: Training) -> runs.Run:
    """Read the test set once, with the published weights, and write the predictions; a finished run stays as it is.
    Raises `TrainError` before the last epoch."""
    run, test = training.run, training.dataset.test
    if not run.complete:
        if training.epoch < (wanted := training.config.max_epochs):
            raise TrainError(f"run {run.name}: {training.epoch} of {wanted} epochs are done; expected all: fit first")
        with memory.guard("reading the test set"):
            logits = classifier.load(run).logits(Images(test.images, test.labels))
        predictions = runs.Predictions(test.labels, logits.argmax(1), logits)
        run.finish(predictions, mistakes.most_confident(predictions, test.images, STORED))
    locks.release(run.folder)
    return run
