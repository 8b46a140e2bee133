"""Lookahead around any optimizer (Zhang, Lucas, Hinton, Ba 2019, arXiv 1907.08610, algorithm 1)."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.optim import Optimizer

from cifar_lib.optim.ema import restored


class Lookahead(Optimizer):
    """k steps forward, one step back.

    The slow weights start as the weights before the first step. `optimizer` moves the fast weights, the model's; after
    every `k` of its steps slow += alpha (fast - slow) and fast = slow. Inference uses the slow ones, `slow_weights`.
    `param_groups` and `state` are the inner optimizer's own, so that a scheduler drives the inner learning rate.

    Raises ValueError unless k >= 1 and 0 < alpha <= 1.
    """

    def __init__(self, optimizer: Optimizer, k: int = 5, alpha: float = 0.5):
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"k: got {k!r}, expected an integer of at least 1")
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha: got {alpha!r}, expected a number above 0 and up to 1")
        self.optimizer, self.k, self.alpha = optimizer, k, alpha
        self.count = 0  # inner steps so far
        self.slow: list[torch.Tensor] = []
        # Optimizer.__init__ empties state and param_groups, which are the inner ones here, and adds each group again.
        state = optimizer.state
        super().__init__(optimizer.param_groups, optimizer.defaults)
        optimizer.state = state

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.optimizer.param_groups = groups

    @property
    def state(self):
        return self.optimizer.state

    @state.setter
    def state(self, state) -> None:
        self.optimizer.state = state

    @property
    def fast(self) -> list[torch.Tensor]:
        """The model's parameters, in the order of the groups."""
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self.optimizer.add_param_group(param_group)
        self.slow += [p.detach().clone() for p in self.param_groups[-1]["params"]]

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of the inner optimizer, and every k-th time the slow weights' own. Returns the closure's loss."""
        loss = self.optimizer.step(closure)
        self.advance(1)
        return loss

    @torch.no_grad()
    def advance(self, steps: int) -> None:
        """Count steps of the inner optimizer that were taken elsewhere; every k-th time the slow weights move.

        Raises ValueError for more steps than are left to the next time.
        """
        if steps > (left := self.k - self.count % self.k):
            raise ValueError(f"steps: got {steps}, expected at most {left} to the next meeting")
        self.count += steps
        if self.count % self.k:
            return
        fast = self.fast
        torch._foreach_lerp_(self.slow, fast, self.alpha)  # lerp: exact at alpha = 1, where slow + (fast - slow) is not
        torch._foreach_copy_(fast, self.slow)

    def slow_weights(self) -> AbstractContextManager:
        """Within the block the model holds the slow weights; afterwards its own again, bit for bit."""
        return restored(self.fast, self.slow)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain numbers alone: the inner optimizer's state, the slow weights, the counter, k and alpha."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        state = {"optimizer": self.optimizer.state_dict(), "slow": [p.clone() for p in self.slow]}
        state |= {"count": self.count, "k": self.k, "alpha": self.alpha}
        for hook in self._optimizer_state_dict_post_hooks.values():
            state = hook(self, state) or state
        return state

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on as the saved one would have. Raises ValueError where the slow weights have other shapes."""
        state_dict = dict(state_dict)
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            state_dict = hook(self, state_dict) or state_dict
        if not {"optimizer", "slow", "count", "k", "alpha"} <= set(state_dict):
            raise ValueError(f"state: got {', '.join(state_dict) or 'nothing'}, expected the state_dict of a Lookahead")
        given, own = ([list(p.shape) for p in slow] for slow in (state_dict["slow"], self.slow))
        if given != own:
            raise ValueError(
                f"slow weights: got {len(given)} tensors, expected {len(own)} with the shapes of this model's"
            )
        self.optimizer.load_state_dict(state_dict["optimizer"])
        torch._foreach_copy_(self.slow, [p.to(own) for p, own in zip(state_dict["slow"], self.slow, strict=True)])
        self.count, self.k, self.alpha = (state_dict[name] for name in ("count", "k", "alpha"))
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("defaults", "optimizer", "k", "alpha", "count", "slow")}
