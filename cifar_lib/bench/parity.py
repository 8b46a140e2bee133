"""The plain loop: what it reaches with the same settings and seeds, ours must reach.

torchvision's transforms in a DataLoader, float32, contiguous, running batch norm statistics, `torch.optim.SGD` in a
textbook Lookahead, torch's scheduler. It shares images, split and the network's layers with this library, nothing else.
"""

import copy
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler as schedulers
from torch.utils.data import DataLoader

from cifar_lib import runs
from cifar_lib.bench import plain_images
from cifar_lib.bench.loops import as_people_write, changed
from cifar_lib.config import STATISTICS, Config
from cifar_lib.data import Dataset, Split
from cifar_lib.device import memory
from cifar_lib.errors import UserError
from cifar_lib.evidence import variants
from cifar_lib.inference import mistakes
from cifar_lib.models import resnet
from cifar_lib.system import locks
from cifar_lib.training import environment, train_loop

PLAIN = {"precision": "float32", "norm_statistics": "running", "num_workers": 0, "device": "cpu"}
UNKNOWN = "trivial_augment mixup ema_half_life grad_clip progressive_resizing".split()
LINE = "{epoch}  train {train_accuracy:.1%}  valid {valid_accuracy:.1%}"
SCHEDULES = {
    "CosineAnnealingLR": lambda sgd, steps: schedulers.CosineAnnealingLR(sgd, steps),
    "LinearLR": lambda sgd, steps: schedulers.LinearLR(sgd, start_factor=1.0, end_factor=0.0, total_iters=steps),
}


class ParityError(UserError):
    """Settings that the plain loop does not have; the message is one line."""


class TextbookLookahead:
    """Zhang et al. 2019 (arXiv 1907.08610), algorithm 1, as one would write it down."""

    def __init__(self, network: nn.Module, k: int, alpha: float):
        self.fast, self.k, self.alpha, self.steps = list(network.parameters()), k, alpha, 0
        self.slow = [p.detach().clone() for p in self.fast]

    @torch.no_grad()
    def after_step(self) -> None:
        self.steps += 1
        if self.steps % self.k == 0:
            for slow, fast in zip(self.slow, self.fast, strict=True):
                slow += self.alpha * (fast - slow)
                fast.copy_(slow)


class PlainLoop:
    """The network, and the loop that trains it."""

    def __init__(self, config: Config, dataset: Dataset):
        torch.manual_seed(config.seed)
        self.config, self.dataset = config, dataset
        self.network = as_people_write(resnet.build(config))
        if config.whitening:
            first = self.network.stem.conv
            first.whitening.copy_(plain_images.whitening(dataset.train, config, first.kernel_size[0]))
        self.mirrored_in_even_epochs = torch.rand(len(dataset.train)).numpy() < 0.5
        self.loss = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
        momentum = {"momentum": config.momentum, "nesterov": config.nesterov}
        self.sgd = torch.optim.SGD(_decaying(self.network, config), config.lr, **momentum)
        self.lookahead = TextbookLookahead(self.network, config.lookahead_k, config.lookahead_alpha)
        self.scheduler = _scheduler(self.sgd, config, config.max_epochs * len(self._loader(1)))

    def _loader(self, number: int) -> DataLoader:
        """The training images of one epoch."""
        split = self.dataset.train
        if self.config.alternating_flip and STATISTICS[self.config.dataset].flip:
            split = plain_images.mirrored(split, self.mirrored_in_even_epochs ^ bool(number % 2))
        return DataLoader(plain_images.transformed(split, self.config), self.config.batch_size, shuffle=True)

    def epoch(self, number: int) -> dict:
        """One pass over the training images, and validation; its row of the history."""
        began, lr, loss_sum, right = time.perf_counter(), self.scheduler.get_last_lr()[0], 0.0, 0
        self.network.train()
        for x, y in self._loader(number):
            self.sgd.zero_grad()
            logits = self.network(x)
            loss = self.loss(logits, y)
            loss.backward()
            self.sgd.step()
            self.scheduler.step()
            if self.config.lookahead:
                self.lookahead.after_step()
            loss_sum += loss.item() * len(y)
            right += (logits.argmax(1) == y).sum().item()
        seconds, n = time.perf_counter() - began, len(self.dataset.train)
        valid, labels = self.logits(self.dataset.valid), torch.from_numpy(self.dataset.valid.labels)
        scores = cross_entropy(valid, labels).item(), (valid.argmax(1) == labels).double().mean().item()
        peak = memory.resident_peak()
        machine = seconds, n / seconds, peak and peak / 1e9, None
        return dict(zip(runs.COLUMNS, (number, loss_sum / n, right / n, *scores, lr, *machine), strict=True))

    @torch.no_grad()
    def logits(self, split: Split) -> torch.Tensor:
        """What Lookahead's slow weights, else the network's own, say of a split as it is: (N, 10) float32."""
        network = copy.deepcopy(self.network).eval()
        if self.config.lookahead:
            for parameter, slow in zip(network.parameters(), self.lookahead.slow, strict=True):
                parameter.copy_(slow)
        images = plain_images.as_they_are(split, self.config)
        return torch.cat([network(x) for x, _ in DataLoader(images, 500)])


def pair(config: Config, dataset: Dataset, variant: str = "base", show: Callable[[str], None] = print) -> None:
    """Train two runs, unless they have ended, with the same settings and seed: VARIANT-SEED by our loop, and that of
    `variants.plain` by the plain one. Raises `ParityError` for settings that the plain loop does not have, and for a
    variant that is named as its runs are."""
    if ours := changed(config, UNKNOWN):
        raise ParityError(f"parity: the plain loop has no {ours}; leave them as they are")
    if not config.valid_size:
        raise ParityError("valid_size: got 0, expected images to compare both on; leave it as it is")
    if config.lr_sched not in SCHEDULES:
        have = ", ".join(SCHEDULES)
        raise ParityError(f"lr_sched: got {config.lr_sched}, expected one that the plain loop has, {have}")
    if variants.is_plain(variant):
        raise ParityError(
            f"variant: got {variant}, expected another name than {variants.PLAIN}, which is the plain loop's"
        )
    plain = runs.start(f"{variants.plain(variant)}-{config.seed}", plain_settings(config))
    if not plain.complete:
        train_plain(plain, dataset, show)
    ours = train_loop.prepare(config, dataset, runs.start(f"{variant}-{config.seed}", config))
    for row in train_loop.fit(ours):
        show("ours   " + LINE.format(**row))
    train_loop.finish(ours)


def plain_settings(config: Config) -> Config:
    """Those of the plain loop's run. `Config` allows neither alternating flips nor Cutout beside loader "workers", so
    with these its run says "device", though a DataLoader feeds it."""
    loader = "device" if changed(config, ["alternating_flip", "cutout"]) else "workers"
    return Config(**dict(config) | PLAIN | {"loader": loader})


def train_plain(run: runs.Run, dataset: Dataset, show: Callable[[str], None]) -> None:
    """Train a run by the plain loop, and leave the files that every run leaves, weights aside."""
    memory.reuse()  # of speed alone
    hashes = {name: getattr(dataset, name).sha256 for name in ("train", "valid", "test")}
    loop, rows = PlainLoop(run.config, dataset), []
    for number in range(1, run.config.max_epochs + 1):
        rows.append(loop.epoch(number))
        show("plain  " + LINE.format(**rows[-1]))
    count = resnet.parameters(loop.network)
    run.record("environment.json", environment.describe(run.config, dataset, hashes, count, "plain loop"))
    run.record_history(rows)
    logits = loop.logits(dataset.test).numpy()
    predictions = runs.Predictions(dataset.test.labels, logits.argmax(1), logits)
    run.finish(predictions, mistakes.most_confident(predictions, dataset.test.images, train_loop.STORED))
    locks.release(run.folder)


def _decaying(network: nn.Module, config: Config) -> list[dict]:
    """The parameters in two groups: those whose weight decay `norm_weight_decay` rules, and the rest."""
    vectors = [p for p in network.parameters() if p.ndim == 1]
    rest = [p for p in network.parameters() if p.ndim > 1]
    decay = config.weight_decay * config.norm_weight_decay
    return [{"params": rest, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": decay}]


def _scheduler(sgd: torch.optim.Optimizer, config: Config, steps: int) -> schedulers.LRScheduler:
    """The schedule, after a linear rise where there is a warm-up."""
    rising = round(config.warmup * steps)
    after = SCHEDULES[config.lr_sched](sgd, steps - rising)
    if not rising:
        return after
    rise = schedulers.LinearLR(sgd, start_factor=0.2, end_factor=1.0, total_iters=rising)
    return schedulers.SequentialLR(sgd, [rise, after], [rising])
