"""A step does what a plain loop does; counted: it waits for nothing, copies no data set, is never compiled twice."""

import gc
from unittest import mock

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from cifar_lib.config import PRESETS, Config
from cifar_lib.data import Split
from cifar_lib.data.batches import Batches
from cifar_lib.models import resnet
from cifar_lib.optim import schedules
from cifar_lib.training import train_step

TINY = {"num_channels": 16, "num_blocks": (1, 1), "conv_kernel_sizes": (3, 3), "shortcut_kernel_sizes": (1, 1)}
TINY |= {"avg_pool_kernel_size": 16, "batch_size": 8, "precision": "float32", "device": "cpu", "drop": 0.2}
STRONG = PRESETS["strong"] | {"mixup_off": 0.0}
IMAGES = 20  # two full batches and one of 4


def noise(n: int = IMAGES) -> Split:
    random = np.random.default_rng(0)
    return Split(random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), random.integers(0, 10, n))


def stepper_of(n: int = IMAGES, **settings) -> train_step.TrainStep:
    config = Config(**(TINY | settings))
    device = torch.device(config.device)
    torch.manual_seed(config.seed)
    with device:
        network = resnet.ResNet(config).train()
    optimizer = schedules.optimizer_of(network, config)
    average = schedules.average_of(network, config, steps=14)
    return train_step.TrainStep(network, optimizer, Batches(noise(n), config, device, train=True), config, average)


def epoch(stepper: train_step.TrainStep, number: int = 1, lr: float = 0.1) -> None:
    """All batches of an epoch, a call each."""
    size, left = stepper.config.batch_size, len(stepper.batches.labels)
    for key in stepper.batches.keys(number):
        stepper.run([key], torch.full((1,), lr), min(size, left))
        left -= size


class Calls(TorchDispatchMode):
    """Every operation that is called, by name, and the tensors it made."""

    def __init__(self):
        super().__init__()
        self.made: list[tuple[str, torch.Tensor]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            self.made.append((function._schema.name, tensor))
        return out


@pytest.mark.parametrize("settings", [{}, {"grad_clip": 0.1}, {"lookahead": False, "drop": 0}, {"momentum": 0}, STRONG])
def test_an_epoch_asks_the_device_nothing(settings):
    """No operation that hands a tensor's value to the host: none is called, and none could be, on fake tensors."""
    stepper = stepper_of(**settings)
    with Calls() as calls:
        epoch(stepper)
    asking = {"aten::_local_scalar_dense", "aten::item", "aten::nonzero", "aten::is_nonzero", "aten::masked_select"}
    assert not asking & {name for name, _ in calls.made}
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake = stepper_of(**settings)
        epoch(fake)
        with pytest.raises(DataDependentOutputException):  # what a question would have raised
            fake.totals[0].item()


@pytest.mark.parametrize("settings", [{}, STRONG])
@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_gather_forward_and_loss_stay_on_the_gpu(settings):
    """On fake CUDA tensors, where an operation between a CPU's and a GPU's tensor, or a question, is an error."""
    with mock.patch("torch.cuda._lazy_init"), FakeTensorMode(allow_non_fake_inputs=True):
        stepper = stepper_of(device="cuda", **settings)
        keys = list(stepper.batches.keys(1))
        assert {key[0].device.type for key in keys} == {"cuda"}
        loss, right = stepper.loss(*keys[0])
        assert loss.device.type == right.device.type == stepper.totals.device.type == stepper.lr.device.type == "cuda"


@pytest.mark.filterwarnings("ignore:`torch.distributed.reduce_op`")
def test_an_epoch_copies_no_data_set():
    """One copy of the images is alive, the padded one on the device, and no operation of an epoch makes another."""
    n = 400
    gc.collect()
    before = {id(t) for t in gc.get_objects() if isinstance(t, torch.Tensor)}
    stepper = stepper_of(n=n)
    alive = [t for t in gc.get_objects() if isinstance(t, torch.Tensor) and id(t) not in before]
    large = {t.untyped_storage().data_ptr() for t in alive if t.dtype == torch.uint8 and t.numel() >= n * 3072}
    assert len(large) == 1
    with Calls() as calls:
        epoch(stepper)
        assert sum(len(x) for x in stepper.batches.sample(1, n)) == n
    copies = [t for _, t in calls.made if isinstance(t, torch.Tensor) and t.numel() >= n * 3072 / 2]
    assert all(t.untyped_storage().data_ptr() in large for t in copies)


def test_nothing_keeps_another_address():
    """Weights, momentum, slow weights, learning rate, totals stay where they are: a CUDA graph has their addresses."""
    stepper = stepper_of(ema_half_life=0.5)
    state = lambda: [  # noqa: E731
        *stepper.network.parameters(),
        *stepper.network.buffers(),
        *stepper.optimizer.slow,
        *stepper.average.shadow,
        stepper.average.count,
        *(s["momentum_buffer"] for s in stepper.optimizer.state.values()),
        *(stepper.lr, stepper.totals, stepper.inner.param_groups[0]["lr"]),
    ]
    before = [t.data_ptr() for t in state()]
    for number in range(3):
        epoch(stepper, number)
    stepper.average.load_state_dict(stepper.average.state_dict())
    assert [t.data_ptr() for t in state()] == before and stepper.inner.param_groups[0]["lr"] is stepper.lr


def test_rate_reaches_the_optimizer():
    """At learning rate 0 no weight moves, whatever the setting says; at another it does."""
    stepper = stepper_of(weight_decay=0, lookahead=False)
    before = [p.detach().clone() for p in stepper.network.parameters()]
    epoch(stepper, lr=0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, stepper.network.parameters(), strict=True))
    epoch(stepper, lr=0.01)
    moved = dict(zip(dict(stepper.network.named_parameters()), before, strict=True))
    for name in ("stem.conv.weight", "stages.1.0.conv2.weight", "linear.bias"):
        assert not torch.equal(moved[name], stepper.network.get_parameter(name))


def test_totals_are_the_sums_over_the_epoch():
    stepper = stepper_of(drop=0, data_augmentation=False)
    loss = right = count = 0.0
    with train_step.preserved_state(stepper):
        for x, y in stepper.batches.epoch(1):
            logits = stepper.network(x)
            loss += torch.nn.functional.cross_entropy(logits, y, reduction="sum").item()
            right += (logits.argmax(1) == y).sum().item()
            count += 1
    epoch(stepper, lr=0.0)
    assert stepper.totals.tolist() == pytest.approx([loss, right, count], rel=1e-5)


@pytest.mark.parametrize("settings", [{}, {"lookahead": False, "momentum": 0}, {"grad_clip": 0.1}])
@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_from_the_first_bad_step_on_none_is_taken(where, value, settings):
    """A loss or one entry of one gradient that is no finite number: the weights and the momentum stay as they were."""
    stepper, plain, keys = stepper_of(**settings), stepper_of(**settings), list(stepper_of().batches.keys(1))
    loss, lr = stepper.loss, torch.full((1,), 0.1)

    def spoil(gradient):
        gradient = gradient.clone()
        gradient.view(-1)[-1] = value
        return gradient

    torch.manual_seed(0)
    stepper.run(keys[:1], lr, 8)
    if where == "loss":
        stepper.forward = stepper.loss = lambda *key: (loss(*key)[0] * value, loss(*key)[1])
        stepper.run(keys[1:2], lr, 8)
        stepper.forward = stepper.loss = loss
    else:
        hook = stepper.network.linear.weight.register_hook(spoil)
        stepper.run(keys[1:2], lr, 8)
        hook.remove()
    stepper.run(keys[1:2], lr, 8)
    torch.manual_seed(0)
    plain.run(keys[:1], lr, 8)
    assert stepper.bad.item() == 1 and stepper.totals[2].item() == 1
    for own, same in zip(stepper.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.equal(own, same)
    for own, same in zip(stepper.inner.state.values(), plain.inner.state.values(), strict=True):
        assert all(torch.equal(own[name], same[name]) for name in own)


def test_looking_for_bad_numbers_changes_no_gradient():
    stepper = stepper_of()
    (key,) = next(iter(stepper.batches.keys(1)))
    stepper.loss(key)[0].backward()
    before = [p.grad.clone() for p in stepper.network.parameters()]
    stepper._check_finite(torch.zeros(()))
    assert all(torch.equal(p.grad, b) for p, b in zip(stepper.network.parameters(), before, strict=True))
    assert stepper.bad.item() == 0


def state(stepper: train_step.TrainStep) -> list[torch.Tensor]:
    momentum = [value["momentum_buffer"] for value in stepper.optimizer.state.values()]
    slow = [*stepper.optimizer.slow, *stepper.average.shadow, stepper.average.count]
    return [*stepper.network.state_dict().values(), *slow, *momentum, stepper.totals, stepper.bad]


def test_untouched_leaves_every_bit():
    stepper = stepper_of(ema_half_life=0.5)
    epoch(stepper)
    before, count = [tensor.clone() for tensor in state(stepper)], stepper.optimizer.count
    with train_step.preserved_state(stepper):
        for _ in range(3):
            epoch(stepper)
        assert not torch.equal(before[0], state(stepper)[0])
    assert all(torch.equal(a, b) for a, b in zip(before, state(stepper), strict=True))
    assert stepper.optimizer.count == count


def test_a_step_that_fails_leaves_no_gradient():
    """What it had begun would be added to the next step's."""
    stepper = stepper_of()
    key = next(iter(stepper.batches.keys(1)))
    stepper.inner.step = mock.Mock(side_effect=RuntimeError("no"))
    with pytest.raises(RuntimeError, match="^no$"), train_step.preserved_state(stepper):
        stepper.run([key], torch.ones(1), 8)
    assert stepper.inner.step.called and all(p.grad is None for p in stepper.network.parameters())


@pytest.mark.parametrize("settings", [{}, STRONG])
def test_compiled_once_and_for_all_and_equal(settings):
    """A changing learning rate, the short batch, Lookahead, more epochs compile nothing again; the weights agree."""
    plain, compiled = (stepper_of(**{"drop": 0} | settings) for _ in range(2))
    compiled.network.load_state_dict(plain.network.state_dict())
    if plain.config.lookahead:
        torch._foreach_copy_(compiled.optimizer.slow, plain.optimizer.slow)
    compiled.compile()
    for stepper in (plain, compiled):
        epoch(stepper, 1)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for number in (2, 3):
            epoch(compiled, number, lr=0.1 / number)
            epoch(plain, number, lr=0.1 / number)
    assert compiled.totals.tolist() == pytest.approx(plain.totals.tolist(), rel=1e-3)
    for a, b in zip(plain.network.parameters(), compiled.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_loss_is_smoothed_as_torch_does_it():
    stepper = stepper_of(drop=0, label_smoothing=0.2)
    (key,) = next(iter(stepper.batches.keys(1)))
    x, y = stepper.batches.take(key)
    with train_step.preserved_state(stepper):
        loss, _ = stepper.loss(key)
        smoothed = torch.full((8, 10), 0.02).scatter_(1, y[:, None], 0.82)
        expected = -(smoothed * stepper.network(x).log_softmax(1)).sum()
    torch.testing.assert_close(loss, expected)


def test_average_takes_every_step_in():
    stepper = stepper_of(ema_half_life=0.5, lookahead=False)
    seen = []
    for key in stepper.batches.keys(1):
        stepper.run([key], torch.full((1,), 0.1), 4 if len(key[0]) < 8 else 8)
        seen.append(stepper.network.linear.weight.detach().clone())
    torch.testing.assert_close(stepper.average.shadow[-2], torch.stack(seen).mean(0))
