"""The learning rates are torch's own schedulers', and the optimizer is plain SGD in another form."""

import pytest
import torch
from torch.optim import SGD, lr_scheduler

from cifar_lib.config import PRESETS, Config
from cifar_lib.models.resnet import build
from cifar_lib.optim import schedules
from cifar_lib.optim.lookahead import Lookahead

TORCH = {
    "CosineAnnealingLR": lambda sgd, steps: lr_scheduler.CosineAnnealingLR(sgd, T_max=steps),
    "OneCycleLR": lambda sgd, steps: lr_scheduler.OneCycleLR(sgd, max_lr=0.1, total_steps=steps),
    "MultiStepLR": lambda sgd, steps: lr_scheduler.MultiStepLR(sgd, [steps // 2, steps * 3 // 4]),
    "LinearLR": lambda sgd, steps: lr_scheduler.LinearLR(sgd, start_factor=1.0, end_factor=0.0, total_iters=steps),
    "none": lambda sgd, steps: lr_scheduler.ConstantLR(sgd, factor=1.0, total_iters=0),
}


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 100, 391, 1001])
@pytest.mark.parametrize("name", TORCH)
def test_rates_are_those_of_torchs_scheduler(name, steps):
    sgd = SGD([torch.zeros(1)], lr=0.1)
    scheduler, walked = TORCH[name](sgd, steps), []
    for i in range(steps):
        walked.append(scheduler.get_last_lr()[0])
        sgd.step()
        if i + 1 < steps:
            scheduler.step()
    lrs = schedules.lr_schedule(Config(lr_sched=name), steps)
    assert lrs.dtype == torch.float64 and lrs.tolist() == pytest.approx(walked, rel=1e-9, abs=1e-12)


def test_warm_up_rises_by_equal_steps_from_a_fifth_and_the_schedule_has_the_rest():
    lrs = schedules.lr_schedule(Config(lr=0.5, warmup=0.2, lr_sched="LinearLR"), 100)
    assert lrs[:21].tolist() == pytest.approx([0.1 + 0.02 * i for i in range(21)])
    assert lrs[20:].tolist() == pytest.approx([0.5 * (1 - i / 80) for i in range(80)])


def walked(optimizer, parameters: list[torch.Tensor], steps: int = 7) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return parameters


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_optimizer_walks_as_sgd_with_a_float_rate_and_lazy_momentum(momentum):
    """Momentum that begins as zeros is momentum that begins with the first gradient."""
    config = Config(lookahead=False, momentum=momentum)
    torch.manual_seed(0)
    network = torch.nn.Linear(5, 3)
    plain = [p.detach().clone().requires_grad_() for p in network.parameters()]
    ours = walked(schedules.optimizer_of(network, config), list(network.parameters()))
    theirs = walked(SGD(plain, lr=0.1, momentum=momentum, weight_decay=5e-4, foreach=False), plain)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_lookahead_goes_around_momentum_that_is_there():
    network = torch.nn.Linear(2, 2)
    optimizer = schedules.optimizer_of(network, Config(lookahead_k=3, lookahead_alpha=0.25))
    assert isinstance(optimizer, Lookahead) and (optimizer.k, optimizer.alpha) == (3, 0.25)
    assert optimizer.param_groups[0]["fused"]
    assert [state["momentum_buffer"].sum() for state in optimizer.state.values()] == [0, 0]


def test_nesterov_is_torchs():
    torch.manual_seed(0)
    network = torch.nn.Linear(5, 3)
    plain = [p.detach().clone().requires_grad_() for p in network.parameters()]
    config = Config(lookahead=False, nesterov=True)
    ours = walked(schedules.optimizer_of(network, config), list(network.parameters()))
    theirs = walked(SGD(plain, lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True, foreach=False), plain)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("everywhere", [True, False])
def test_weight_decay_of_vectors_alone_is_left_out(everywhere):
    """With gradients of 0 a step multiplies by 1 - lr * weight_decay what decays, and leaves the rest."""
    config = Config(num_channels=16, lookahead=False, lr=0.5, weight_decay=0.1, norm_weight_decay=everywhere)
    network = build(config)
    for p in network.parameters():
        p.data.fill_(1.0)
        p.grad = torch.zeros_like(p)
    schedules.optimizer_of(network, config).step()
    values = {name: p.unique().tolist() for name, p in network.named_parameters()}
    kept = {name for name, p in network.named_parameters() if p.ndim == 1 and not everywhere}
    assert values == {name: [1.0] if name in kept else pytest.approx([0.95]) for name in values}
    assert everywhere or {"stem.bn.weight", "linear.bias", "stages.0.0.se.fc1.bias"} < kept


def test_average_only_if_asked_for():
    network = torch.nn.Linear(2, 2)
    assert schedules.average_of(network, Config(), 100) is None
    average = schedules.average_of(network, Config(ema_half_life=0.05), 100)
    assert average.decay**5 == pytest.approx(0.5)  # half is forgotten after a twentieth of the run


def test_the_strong_average_is_the_customary_one_at_300_epochs():
    average = schedules.average_of(torch.nn.Linear(2, 2), Config(**PRESETS["strong"]), 300 * 391)
    assert average.decay == pytest.approx(0.999, abs=5e-5)
