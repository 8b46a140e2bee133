"""A training that is no longer one of numbers: seen without asking the device at every step, and never saved."""

import math

import torch

from cifar_lib import errors
from cifar_lib.training.train_state import TrainError, Training


class NumericError(TrainError):
    """A loss, a gradient or a weight that is no finite number; the message is one line."""

    status = errors.NUMERIC


def check_steps(training: Training, number: int, done: int, good: float, loss: float) -> None:
    """Raise `NumericError` unless all `done` steps of the epoch so far were good, as `TrainStep` counts them."""
    if good < done:
        what = "a gradient" if math.isfinite(loss) else "the loss"
        _refuse(training, number, int(good) + 1, what, "; the step was not taken")


def check_numbers(training: Training, number: int, valid_loss: float | None) -> None:
    """Raise `NumericError` if anything that is about to be saved of this epoch is no finite number."""
    tensors = [*training.network.state_dict().values(), *getattr(training.optimizer, "slow", [])]
    tensors += [value for state in training.optimizer.state.values() for value in state.values()]
    tensors += training.average.shadow if training.average else []
    steps = training.lr_schedule.shape[1]
    if not math.isfinite(valid_loss or 0):
        _refuse(training, number, steps, "the validation loss", "")
    if not torch.stack([tensor.isfinite().all() for tensor in tensors]).all():
        _refuse(training, number, steps, "a weight, a statistic or a momentum", "")


def _refuse(training: Training, number: int, step: int, what: str, then: str) -> None:
    steps, lr, done = training.lr_schedule.shape[1], training.lr_schedule[number - 1, step - 1].item(), training.epoch
    good = f"the last good epoch is {done}, which is kept" if done else "there is no good epoch yet"
    raise NumericError(
        f"epoch {number}, step {step} of {steps}: {what} is no finite number, with lr {lr:.3g}{then}; {good}; "
        "take a lower lr, or set grad_clip, under another run name"
    )
