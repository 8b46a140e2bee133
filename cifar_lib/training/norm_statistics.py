"""Batch norm's statistics by one rule after another, with the same weights: what each is worth on validation."""

import time
from collections.abc import Callable

import torch

from cifar_lib import runs
from cifar_lib.config import Config
from cifar_lib.data import Dataset
from cifar_lib.data.batches import Batches
from cifar_lib.inference.evaluation import evaluate, re_estimate, round_weights
from cifar_lib.models.dropout import ReLUDropout
from cifar_lib.training import train_state
from cifar_lib.training.train_state import STATISTICS_IMAGES, Training

MANY = 10_000  # images, four times as many as the rule takes
UNMIXED = {"trivial_augment": False, "cutout": 0, "mixup": 0.0}


def measure(run: runs.Run, dataset: Dataset) -> None:
    """Write what the weights after the last epoch of `run` reach on validation as its norm_statistics.csv.

    A row a rule: seconds to gather, loss, accuracy (0 to 1); and two rows for what is evaluated otherwise, with weights
    that are not rounded and with bfloat16 autocast too. Raises a `UserError` for a run without a checkpoint.
    """
    state = train_state.last(run, dataset)
    rows = [(name, *_scores(state, gather)) for name, gather in _rules(state.config).items()]
    rows.append(("as fed, float32 weights", *_scores(state, _fed, rounded=False)))
    rows.append(("as fed, in bfloat16", *_scores(state, _fed, torch.bfloat16, rounded=False)))
    run.record_norm_statistics(rows)


def _rules(config: Config) -> dict[str, Callable[[Training], None]]:
    """Rule -> what gathers its statistics; those that would be another over again are left out."""
    rules = {
        "as fed": _fed,
        "as fed, 10,000 images": lambda t: _fed(t, MANY),
        "running": _running,
        "plain images": _plain,
    }
    rules |= {"as fed, with dropout": _with_dropout} if config.drop else {}
    mixed = any(getattr(config, name) for name in UNMIXED)
    return rules | ({"crop and flip alone": _unmixed} if mixed else {})


def _scores(
    state: Training, gather: Callable[[Training], None], dtype: torch.dtype = torch.float32, rounded: bool = True
) -> tuple[float, float | None, float | None]:
    precision = torch.autocast(state.device.type, dtype, enabled=dtype != torch.float32)
    with state.eval_weights(), precision:
        if rounded:
            round_weights(state.network)
        began = time.perf_counter()
        gather(state)
        return time.perf_counter() - began, *evaluate(state.network, state.valid)


def _fed(state: Training, images: int = STATISTICS_IMAGES) -> None:
    re_estimate(state.network, state.batches.sample(state.epoch, images))


def _running(state: Training) -> None:
    """As training left them."""


def _plain(state: Training) -> None:
    images = Batches(state.dataset.train[:STATISTICS_IMAGES], state.config, state.device)
    re_estimate(state.network, (x for x, _ in images.epoch()))


def _unmixed(state: Training) -> None:
    config = Config(**dict(state.config) | UNMIXED)
    images = Batches(state.dataset.train, config, state.device, train=True)
    re_estimate(state.network, images.sample(state.epoch, STATISTICS_IMAGES))


def _with_dropout(state: Training) -> None:
    dropouts = [module for module in state.network.modules() if isinstance(module, ReLUDropout)]

    def drop(*_) -> None:
        for dropout in dropouts:
            dropout.train()

    hook = state.network.register_forward_pre_hook(drop)
    _fed(state)
    hook.remove()
