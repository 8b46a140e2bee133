"""One training in several processes, as `torchrun` starts them: who has which share, and what all must agree on.

DistributedDataParallel averages the gradients; the first process, the leader, alone evaluates and writes.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn

from cifar_lib.errors import UserError, short


class GroupError(UserError):
    """A group of processes that is no longer whole; the message is one line."""

    status = 1


@dataclass(frozen=True)
class World:
    """Where one process stands: its rank, from 0, of `size` processes."""

    rank: int = 0
    size: int = 1


ALONE = World()


@contextmanager
def group(device: torch.device) -> Iterator[World]:
    """The processes that torchrun started with this one; without torchrun, this one alone."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, rank, size = next(distributed.rendezvous("env://"))
    # A restart meets the addresses that the processes before it left in torchrun's store, and hangs (pytorch#135712).
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"] if os.environ["GROUP_WORLD_SIZE"] == "1" else "all"
    store = distributed.PrefixStore(f"attempt {attempt}", store)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
    yield world()
    distributed.destroy_process_group()  # not after a failure: the others may be gone, and it would wait for them


def world() -> World:
    """This process in the group it is in."""
    if distributed.is_initialized():
        return World(distributed.get_rank(), distributed.get_world_size())
    return ALONE


def on_rank_zero(function: Callable[[], Any]) -> Any:
    """What `function` returns, called by the leader alone and handed to all; what it raises stops all."""
    if world() == ALONE:
        return function()
    outcome = [None, None]  # what it returned, or the error
    if world().rank == 0:
        try:
            outcome[0] = function()
        except UserError as refused:
            outcome[1] = refused
        except BaseException as error:  # the others would wait for it until they time out
            outcome[1] = GroupError(f"the leading process failed ({short(error)})")
            distributed.broadcast_object_list(outcome, src=0)
            raise
    distributed.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        outcome[1].reported = world().rank > 0  # by the leader
        raise outcome[1]
    return outcome[0]


def all_reduce_sum(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of every process's `tensor`, in place; alone, the tensor itself."""
    if world() != ALONE:
        distributed.all_reduce(tensor)
    return tensor


def parallel(network: nn.Module) -> nn.Module:
    """`network`, its gradients from now on averaged over the processes; alone, the network itself. Batch norm's running
    statistics stay each process's own: the leader re-estimates those that are published."""
    if world() == ALONE:
        return network
    with warnings.catch_warnings():  # torch 2.15 renames the argument, 2.11 knows only this name
        warnings.simplefilter("ignore", FutureWarning)
        return nn.parallel.DistributedDataParallel(network, broadcast_buffers=False, gradient_as_bucket_view=True)


class SyncBatchNorm(nn.BatchNorm2d):
    """Batch norm whose mean and variance are of the whole batch, over all processes, in training; torch's own refuses
    CPUs. The mean first, then squared deviations, which loses no digits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if world() == ALONE or not (self.training and torch.is_grad_enabled()):
            return super().forward(x)
        wide = x.to(self.running_mean.dtype)
        count = all_reduce_sum(torch.full((), x.numel() / x.shape[1], device=x.device))
        mean = _AllReduceSum.apply(wide.sum((0, 2, 3))) / count
        centred = wide - mean[:, None, None]
        variance = _AllReduceSum.apply(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias[:, None, None], centred, scale[:, None, None]).to(x.dtype)


class _AllReduceSum(torch.autograd.Function):
    """The sum over the processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        return all_reduce_sum(x.clone())

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        return all_reduce_sum(gradient.clone())


def synchronise_norms(network: nn.Module) -> None:
    """Make every batch norm of `network` one over all processes; its parameters, buffers and their names stay."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm
