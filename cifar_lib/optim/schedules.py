"""What moves the weights: SGD, in Lookahead, at learning rates known beforehand; and their average."""

import torch
from torch.optim import SGD

from cifar_lib.config import Config
from cifar_lib.optim.ema import Average
from cifar_lib.optim.lookahead import Lookahead

WARMUP_START = 0.2  # of the rate that the warm-up rises to


def optimizer_of(network: torch.nn.Module, config: Config) -> torch.optim.Optimizer:
    """SGD with momentum and weight decay, in one kernel, in Lookahead if `lookahead`. Its momentum begins as zeros, so
    that a CUDA graph can hold the first step too."""
    momentum = {"momentum": config.momentum, "nesterov": config.nesterov}
    inner = SGD(_groups(network, config), config.lr, weight_decay=config.weight_decay, fused=True, **momentum)
    if config.momentum:
        for parameter in network.parameters():
            inner.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return Lookahead(inner, config.lookahead_k, config.lookahead_alpha) if config.lookahead else inner


def _groups(network: torch.nn.Module, config: Config) -> list[dict]:
    """All parameters alike; or, without `norm_weight_decay`, those of batch norm and biases, the vectors, apart."""
    parameters = list(network.parameters())
    if config.norm_weight_decay:
        return [{"params": parameters}]
    vectors = [p for p in parameters if p.ndim == 1]
    return [{"params": [p for p in parameters if p.ndim > 1]}, {"params": vectors, "weight_decay": 0.0}]


def average_of(network: torch.nn.Module, config: Config, steps: int) -> Average | None:
    """The moving average of its weights over a run of `steps` steps, if `ema_half_life`."""
    if not config.ema_half_life:
        return None
    return Average(list(network.parameters()), decay=0.5 ** (1 / (config.ema_half_life * steps)))


def lr_schedule(config: Config, steps: int) -> torch.Tensor:
    """The learning rate of each of the run's steps, (steps,) float64: in the `warmup` a linear rise from a fifth of
    `lr`, then what torch's scheduler of that name gives, in closed form.

    LinearLR: to 0. MultiStepLR: a tenth at 50% and at 75%. OneCycleLR: 30% up from a 25th, then down to a 250,000th;
    momentum stays.
    """
    rising = round(config.warmup * steps)
    rise = torch.linspace(WARMUP_START, 1, rising + 1, dtype=torch.float64)[:-1]
    return config.lr * torch.cat([rise, _shape(config, steps - rising)])


def _shape(config: Config, steps: int) -> torch.Tensor:
    """The schedule's factors of `lr`, (steps,) float64."""
    step = torch.arange(steps, dtype=torch.float64)
    if config.lr_sched == "CosineAnnealingLR":
        return _cosine(1.0, 0.0, step / steps)
    if config.lr_sched == "LinearLR":
        return 1 - step / steps
    if config.lr_sched == "OneCycleLR":
        top, end = 0.3 * steps - 1, steps - 1
        down = _cosine(1.0, 1 / 250_000, (step - top) / (end - top))
        return torch.where(step <= top, _cosine(1 / 25, 1.0, step / max(top, 1e-9)), down)
    if config.lr_sched == "MultiStepLR":
        return 0.1 ** ((step >= steps // 2).double() + (step >= steps * 3 // 4))
    return torch.ones_like(step)


def _cosine(start: float, end: float, progress: torch.Tensor) -> torch.Tensor:
    """Half a cosine wave from `start` to `end` as `progress` goes from 0 to 1 (Loshchilov, Hutter 2016)."""
    return end + (start - end) / 2 * (1 + torch.cos(torch.pi * progress))
