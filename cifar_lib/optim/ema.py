"""A moving average of the weights, beside any optimizer."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch


class Average:
    """The exponential moving average of `parameters`, after each of their steps (Polyak, Juditsky 1992).

    It begins as their plain mean, average += (weights - average) / steps, until 1 / steps falls to 1 - `decay`, so that
    the weights before the first step leave no trace. Of Lookahead it takes the fast weights. A CUDA graph can hold it.
    """

    def __init__(self, parameters: list[torch.Tensor], decay: float):
        self.params, self.decay = parameters, decay
        self.shadow = [parameter.detach().clone() for parameter in parameters]
        self.count = torch.zeros((), device=parameters[0].device)  # of steps

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights in as they are now."""
        self.count += 1
        move = torch._foreach_sub(self.params, self.shadow)
        torch._foreach_mul_(move, (1 / self.count).clamp(min=1 - self.decay))
        torch._foreach_add_(self.shadow, move)

    def shadow_weights(self) -> AbstractContextManager:
        """Within the block the model holds the average; afterwards its own weights again, bit for bit."""
        return restored(self.params, self.shadow)

    def state_dict(self) -> dict[str, Any]:
        """`slow`, the shadow, and `count`, by the names that checkpoints have."""
        return {"slow": [value.clone() for value in self.shadow], "count": self.count.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        _copy([*state["slow"], state["count"]], [*self.shadow, self.count])


@contextmanager
def restored(tensors: list[torch.Tensor], values: list[torch.Tensor] | None = None) -> Iterator[None]:
    """Within the block the tensors may change, and begin as `values` if given; afterwards they are as before."""
    kept = [tensor.detach().clone() for tensor in tensors]
    try:
        _copy(values or kept, tensors)
        yield
    finally:
        _copy(kept, tensors)


@torch.no_grad()
def _copy(values: list[torch.Tensor], tensors: list[torch.Tensor]) -> None:
    for value, tensor in zip(values, tensors, strict=True):
        tensor.copy_(value)
