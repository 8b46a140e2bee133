"""Whether two trainings are the same, bit for bit."""

import hashlib
from collections.abc import Iterator
from typing import Any

import torch

from cifar_lib.runs.history import MEASURED


def state_digest(state: dict) -> str:
    """SHA-256 over every tensor, number and text of a checkpoint but what a clock or the machine's memory gave: equal
    for two trainings whose weights, statistics, optimizer, best epoch and history are the same, bit for bit."""
    digest = hashlib.sha256()
    for path, value in _leaves((), state):
        if path[-1] not in MEASURED:
            digest.update(repr(path).encode())
            digest.update(value if isinstance(value, bytes) else repr(value).encode())
    return digest.hexdigest()


def _leaves(path: tuple, value: Any) -> Iterator[tuple[tuple, Any]]:
    """Every value within, with the way to it; a tensor as its type, its shape and its bytes."""
    if isinstance(value, torch.Tensor):
        yield (
            (*path, str(value.dtype), tuple(value.shape)),
            value.contiguous().view(-1).view(torch.uint8).numpy().tobytes(),
        )
    elif isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves((*path, key), item)
    else:
        yield path, value
