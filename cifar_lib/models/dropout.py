"""ReLU and dropout in one: fewer random numbers and passes over memory, and a tensor less to keep, than torch's two."""

import torch
from torch import nn
from torch.autograd.function import once_differentiable

LEVELS = 2**16  # a CPU draws 16 random bits per value


class ReLUDropout(nn.Dropout):
    """relu(x), then dropout with probability `p` in training: the mathematics of nn.ReLU and nn.Dropout(p).

    What is dropped and what the ReLU cut are zeros of the output, which alone gives the gradient: no mask is kept. A
    CPU draws four values from each 64-bit number; `p` is rounded there to a multiple of 2**-16, and the scale
    with it.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _ReLUDropout.apply(x, self.p) if self.training and self.p else torch.relu(x)


class _ReLUDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: torch.Tensor, p: float) -> torch.Tensor:
        if x.is_cpu:
            levels = kept_levels(p)
            ctx.scale = LEVELS / levels
            out = torch.relu(x) * _kept(x, levels) * ctx.scale
        else:
            ctx.scale = 1 / (1 - p)
            out = torch.native_dropout(torch.relu(x), p, True)[0]
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (out,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, out, 0) * ctx.scale, None


def kept_levels(p: float) -> int:
    """How many of the 2**16 values of the random bits keep a value: the probability to stay, in steps of 2**-16."""
    return max(1, round((1 - p) * LEVELS))


def _kept(x: torch.Tensor, levels: int) -> torch.Tensor:
    """A mask of x's shape and layout, each value true with probability levels / 2**16."""
    count = x.numel()
    drawn = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    return drawn.as_strided(x.shape, torch.empty_like(x).stride()) <= levels - LEVELS // 2 - 1
