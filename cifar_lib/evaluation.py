"""What a network says of images: predictions, their score, and batch norm settled for it."""

import torch
from torch.nn.functional import cross_entropy

from cifar_lib.batches import Batches
from cifar_lib.config import Config
from cifar_lib.placement import autocast


@torch.no_grad()
def settle(network: torch.nn.Module, batches: Batches, config: Config) -> None:
    """Gather batch norm's statistics anew, as inference will meet them: with the weights the network holds now, plain
    images and no dropout.

    Training gathers them under the fast weights and with dropout, which widens every activation's spread (Li et al.
    2018, arXiv 1801.05134): with `drop` 0.2 in every block that alone can bring accuracy down to chance.
    """
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.train().reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    with autocast(config):
        for x, _ in batches.epoch():
            network(x)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@torch.no_grad()
def predict(network: torch.nn.Module, batches: Batches, config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N, 10) float32 and labels (N,) of a split, in its order, without dropout."""
    network.eval()
    with autocast(config):
        pairs = [(network(x).float(), y) for x, y in batches.epoch()]
    return torch.cat([logits for logits, _ in pairs]), torch.cat([y for _, y in pairs])


def evaluate(network: torch.nn.Module, batches: Batches, config: Config) -> tuple[float | None, float | None]:
    """Mean cross-entropy and accuracy of a split; None and None of an empty one."""
    if len(batches) == 0:
        return None, None
    logits, labels = predict(network, batches, config)
    return cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).double().mean().item()
