"""What moves the weights: SGD, in Lookahead, at a learning rate that a schedule of torch's own drives."""

import torch
from torch.optim import lr_scheduler

from cifar_lib.config import Config
from cifar_lib.lookahead import Lookahead


def optimizer_of(network: torch.nn.Module, config: Config) -> torch.optim.Optimizer:
    """SGD with momentum and weight decay, in Lookahead if `lookahead`."""
    settings = {"lr": config.lr, "momentum": config.momentum, "weight_decay": config.weight_decay}
    inner = torch.optim.SGD(network.parameters(), **settings, foreach=True)
    return Lookahead(inner, config.lookahead_k, config.lookahead_alpha) if config.lookahead else inner


def schedule_of(optimizer: torch.optim.Optimizer, config: Config, steps: int) -> lr_scheduler.LRScheduler:
    """torch's own schedule over the whole run, moved at every step. MultiStepLR: a tenth at 50% and at 75%."""
    if config.lr_sched == "CosineAnnealingLR":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    if config.lr_sched == "OneCycleLR":
        return lr_scheduler.OneCycleLR(optimizer, max_lr=config.lr, total_steps=steps)
    if config.lr_sched == "MultiStepLR":
        return lr_scheduler.MultiStepLR(optimizer, milestones=[steps // 2, steps * 3 // 4])
    return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)
