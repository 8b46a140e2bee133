"""What moves the weights: SGD, in Lookahead, at learning rates known beforehand."""

import torch
from torch.optim import SGD

from cifar_lib.config import Config
from cifar_lib.lookahead import Lookahead


def optimizer_of(network: torch.nn.Module, config: Config) -> torch.optim.Optimizer:
    """SGD with momentum and weight decay, in one kernel, in Lookahead if `lookahead`.

    Its momentum begins as zeros, which is the same as to begin with the first gradient: so the first step is like any
    other, and a CUDA graph can hold it.
    """
    parameters = list(network.parameters())
    inner = SGD(parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True)
    if config.momentum:
        for parameter in parameters:
            inner.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return Lookahead(inner, config.lookahead_k, config.lookahead_alpha) if config.lookahead else inner


def rates(config: Config, steps: int) -> torch.Tensor:
    """The learning rate of each of the run's steps, (steps,) float64: what torch's scheduler of that name gives.

    In closed form, since torch's own take seconds to walk through a long run, and need a float where we have a tensor.
    MultiStepLR: a tenth at 50% and at 75%. OneCycleLR: 30% up from a 25th, then down to a 250,000th; momentum stays.
    """
    step = torch.arange(steps, dtype=torch.float64)
    if config.lr_sched == "CosineAnnealingLR":
        factor = _cosine(1.0, 0.0, step / steps)
    elif config.lr_sched == "OneCycleLR":
        top, end = 0.3 * steps - 1, steps - 1
        down = _cosine(1.0, 1 / 250_000, (step - top) / (end - top))
        factor = torch.where(step <= top, _cosine(1 / 25, 1.0, step / max(top, 1e-9)), down)
    elif config.lr_sched == "MultiStepLR":
        factor = 0.1 ** ((step >= steps // 2).double() + (step >= steps * 3 // 4))
    else:
        factor = torch.ones_like(step)
    return config.lr * factor


def _cosine(start: float, end: float, progress: torch.Tensor) -> torch.Tensor:
    """Half a cosine wave from `start` to `end` as `progress` goes from 0 to 1 (Loshchilov, Hutter 2016)."""
    return end + (start - end) / 2 * (1 + torch.cos(torch.pi * progress))
