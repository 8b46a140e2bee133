"""Batch norm's statistics by one rule after another, with the same weights: what each is worth on validation."""

import time
from collections.abc import Callable

import torch

from cifar_lib import runs
from cifar_lib.config import Config
from cifar_lib.data import Dataset
from cifar_lib.data.batches import Batches, WorkerBatches
from cifar_lib.inference.evaluation import evaluate, re_estimate, round_weights
from cifar_lib.models.dropout import ReLUDropout
from cifar_lib.training import train_state
from cifar_lib.training.train_state import STATISTICS_IMAGES, Training

MANY = 10_000  # images, four times as many as the rule takes
UNMIXED = {"trivial_augment": False, "cutout": 0, "mixup": 0.0}


def measure(run: runs.Run, dataset: Dataset) -> None:
    """Write what the weights after the last epoch of `run` reach on validation as its norm_statistics.csv.

    One row per rule: seconds to gather, loss, accuracy (0 to 1); and two rows for another evaluation, with weights that
    are not rounded, and with bfloat16 autocast too. Raises a `UserError` for a run without a checkpoint or
    without a validation split.
    """
    if not run.config.valid_size:
        raise runs.RunError(f"run {run.name}: it has no validation split to compare the rules on; take one that has")
    state = train_state.last(run, dataset)
    rules = _rules(state)
    rows = [(name, *_scores(state, gather)) for name, gather in rules.items()]
    rows.append(("as fed, float32 weights", *_scores(state, rules["as fed"], rounded=False)))
    rows.append(("as fed, in bfloat16", *_scores(state, rules["as fed"], torch.bfloat16, rounded=False)))
    run.record_table("norm_statistics.csv", rows)


def _rules(state: Training) -> dict[str, Callable[[], None]]:
    """Rule -> what gathers its statistics; those that would be another over again are left out."""
    config, train = state.config, state.dataset.train
    rules = {
        "as fed": lambda: _gather(state, state.batches),
        "as fed, 10,000 images": lambda: _gather(state, state.batches, MANY),
        "running": lambda: None,  # as training left them
        "plain images": lambda: _gather(state, Batches(train[:STATISTICS_IMAGES], config, state.device)),
    }
    if config.drop:
        rules["as fed, with dropout"] = lambda: _gather_with_dropout(state)
    if any(getattr(config, name) for name in UNMIXED):
        unmixed = Config(**dict(config) | UNMIXED)
        rules["crop and flip alone"] = lambda: _gather(state, Batches(train, unmixed, state.device, train=True))
    return rules


def _scores(state: Training, gather: Callable[[], None], dtype=torch.float32, rounded: bool = True) -> tuple:
    """Seconds that `gather` took, and the loss and accuracy on validation after it."""
    with state.eval_weights(), torch.autocast(state.device.type, dtype, enabled=dtype != torch.float32):
        if rounded:
            round_weights(state.network)
        began = time.perf_counter()
        gather()
        return time.perf_counter() - began, *evaluate(state.network, state.valid)[:2]


def _gather(state: Training, batches: Batches | WorkerBatches, images: int = STATISTICS_IMAGES) -> None:
    re_estimate(state.network, batches.sample(state.epoch, images))


def _gather_with_dropout(state: Training) -> None:
    dropouts = torch.nn.ModuleList(module for module in state.network.modules() if isinstance(module, ReLUDropout))

    def drop(*_) -> None:
        dropouts.train()

    hook = state.network.register_forward_pre_hook(drop)
    _gather(state, state.batches)
    hook.remove()
