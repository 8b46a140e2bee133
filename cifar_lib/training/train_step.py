"""One step after another, on the device: gather, forward, loss, backward, clip, SGD; nothing waits for the host.

In one of three modes: eager; compiled (torch.compile of gather, forward and loss); captured (`cuda_graphs`: the
launches of the whole step, recorded once as a CUDA graph).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.functional import cross_entropy

from cifar_lib.config import Config
from cifar_lib.device import distributed
from cifar_lib.device.placement import autocast
from cifar_lib.optim.ema import Average, restored
from cifar_lib.optim.lookahead import Lookahead

BatchIndices = tuple[torch.Tensor, ...]  # what `run` makes one batch from


class TrainStep:
    """Takes the steps of a training, eager or compiled; a short last batch, another shape to compile, runs eagerly.

    What changes from step to step is on the device and keeps its address: the learning rate in `lr`; the sum of
    losses, the number right and the number of steps since they were last zeroed in `totals` (3,) float64.

    From the first step on whose loss or gradient is not finite the inner optimizer takes none, and none is counted:
    `bad` (1,) is then 1. Lookahead and the average go on, for nothing: such an epoch is never kept.
    """

    steps_per_call = 1  # steps one call may take

    def __init__(self, network, optimizer, batches, config: Config, average: Average | None = None):
        self.network, self.optimizer, self.batches, self.config = network, optimizer, batches, config
        self.average = average
        self.inner = optimizer.optimizer if isinstance(optimizer, Lookahead) else optimizer
        self.forward = self.loss
        device = next(network.parameters()).device
        self.lr = torch.zeros((), device=device)
        self.totals = torch.zeros(3, dtype=torch.float64, device=device)
        self.bad, self.one = torch.zeros(1, device=device), torch.ones(1, device=device)
        self.inner.found_inf = self.bad  # which fused SGD asks on the device, so that the host need not
        for group in self.inner.param_groups:
            group["lr"] = self.lr

    def compile(self) -> "TrainStep":
        """From now on full batches run compiled."""
        self.forward = torch.compile(self.loss, dynamic=False)
        return self

    def loss(self, *key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The sum of the batch's losses and how many it has right, of a mixed image its larger part, as tensors."""
        x, y = self.batches.take(*key)
        logits, labels = self.network(x).float(), y if y.ndim == 1 else y.argmax(1)
        loss = cross_entropy(logits, y, reduction="sum", label_smoothing=self.config.label_smoothing)
        return loss, (logits.detach().argmax(1) == labels).sum()

    def run(self, keys: list[BatchIndices], lrs: torch.Tensor, total: int) -> None:
        """One step for each of `keys`, at most `steps_per_call`; `total` images per batch over all processes."""
        for key, lr in zip(keys, lrs, strict=True):
            self.step(key, lr, total)
        self.advance(len(keys))

    def step(self, key: BatchIndices, lr: torch.Tensor, total: int) -> None:
        """One step of the inner optimizer; every process's gradient weighs as its images do."""
        self.lr.copy_(lr)
        with autocast(self.config):
            loss, right = (self.forward if total == self.config.batch_size else self.loss)(*key)
        (loss * (distributed.world().size / total)).backward()
        self._check_finite(loss.detach())
        if self.config.grad_clip is not None:
            torch.nn.utils.clip_grad_value_(self.network.parameters(), self.config.grad_clip)
        self.inner.step()
        self.inner.zero_grad()
        if self.average:
            self.average.update()
        self.totals += torch.cat([torch.stack([loss.detach(), right]), self.one - self.bad])

    def _check_finite(self, loss: torch.Tensor) -> None:
        """Set `bad` where the loss or a gradient is infinite or NaN; gradient scaling's own test, here with scale 1."""
        found = [p.grad for p in self.network.parameters() if p.grad is not None]
        torch._amp_foreach_non_finite_check_and_unscale_([loss.clone(), *found], self.bad, self.one)

    def advance(self, steps: int) -> None:
        """What Lookahead does after the inner optimizer's steps: it counts, and may move the slow weights."""
        if isinstance(self.optimizer, Lookahead):
            self.optimizer.advance(steps)


@contextmanager
def preserved_state(stepper: TrainStep) -> Iterator[None]:
    """Within it steps can be tried: afterwards weights, statistics, momentum, counter and totals are as before, without
    a gradient."""
    tensors = [*stepper.network.parameters(), *stepper.network.buffers(), stepper.totals, stepper.bad]
    tensors += [*stepper.average.shadow, stepper.average.count] if stepper.average else []
    tensors += [value for state in stepper.inner.state.values() for value in state.values()]
    lookahead = stepper.optimizer if isinstance(stepper.optimizer, Lookahead) else None
    count, slow = (lookahead.count, lookahead.slow) if lookahead else (0, [])
    with restored([*tensors, *slow]):
        try:
            yield
        finally:
            stepper.inner.zero_grad()
            if lookahead:
                lookahead.count = count
