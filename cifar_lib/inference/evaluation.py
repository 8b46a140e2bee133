"""The network as it is published, its predictions and their score, always in float32."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch.nn.functional import cross_entropy

from cifar_lib.data.batches import Batches
from cifar_lib.inference.weights import rounded
from cifar_lib.optim.ema import restored


class Score(NamedTuple):
    """Of a split: mean cross-entropy, accuracy from 0 to 1, and images by true (row) and predicted class, (10, 10)
    int64. None each of an empty one."""

    loss: float | None = None
    accuracy: float | None = None
    confusion: torch.Tensor | None = None


@contextmanager
def preserved(network: torch.nn.Module) -> Iterator[None]:
    """Within it weights and statistics may change; afterwards they, and each module's mode, are as before."""
    training = network.training
    with restored(list(network.state_dict().values())):
        try:
            yield
        finally:
            network.train(training)


@contextmanager
def full_float32() -> Iterator[None]:
    """Within it a GPU multiplies float32 as such, not rounded to TF32: the same accuracy on every machine."""
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    allowed = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    try:
        yield
    finally:
        for backend, value in zip(backends, allowed, strict=True):
            backend.allow_tf32 = value


@torch.no_grad()
def round_weights(network: torch.nn.Module) -> None:
    """Round the weights as they are rounded where they are stored."""
    for parameter in network.parameters():
        parameter.copy_(rounded(parameter))


@torch.no_grad()
def re_estimate(network: torch.nn.Module, images: Iterable[torch.Tensor]) -> None:
    """Gather batch norm's statistics anew, as the mean over batches `images` of x (B, 3, 32, 32), without dropout.

    The images must be training's, cropped and mixed as they were fed: plain images, where crops have black borders,
    cost 2 to 5 points. Training's running statistics are of the fast weights and of activations that dropout widens (Li
    et al. 2018, arXiv 1801.05134). Raises ValueError for no batch.
    """
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.train().reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    with full_float32():
        batches = sum(network(x) is not None for x in images)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    if not batches:
        raise ValueError("images: got none, expected at least one batch")


@torch.no_grad()
def predict(network: torch.nn.Module, batches: Iterable[torch.Tensor]) -> torch.Tensor:
    """Logits (N, 10) float32 of batches of x (B, 3, 32, 32), in their order, without dropout."""
    network.eval()
    with full_float32():
        return torch.cat([network(x).float() for x in batches])


def evaluate(network: torch.nn.Module, batches: Batches) -> Score:
    """The score of a split."""
    if len(batches) == 0:
        return Score()
    logits, labels = predict(network, (x for x, _ in batches.epoch())), batches.labels
    pairs = (labels * logits.shape[1] + logits.argmax(1)).cpu()
    confusion = torch.bincount(pairs, minlength=logits.shape[1] ** 2).view(-1, logits.shape[1])
    return Score(cross_entropy(logits, labels).item(), confusion.trace().item() / len(labels), confusion)
