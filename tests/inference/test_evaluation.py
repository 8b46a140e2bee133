"""Evaluation: batch norm's statistics in closed form, predictions in order, a score that batching does not change."""

import copy

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cifar_lib.config import Config
from cifar_lib.data import Split
from cifar_lib.data.batches import Batches
from cifar_lib.evidence import metrics
from cifar_lib.inference import weights
from cifar_lib.inference.evaluation import evaluate, full_float32, predict, preserved, re_estimate, round_weights
from cifar_lib.models.resnet import build

CONFIG = Config(device="cpu", precision="float32", num_channels=4, num_blocks=(1, 1, 1))
N = 13


def batches(size: int = 5, n: int = N, **settings) -> Batches:
    """Random images in evaluation batches of `size`: 5, 5, 3."""
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), random.integers(0, 10, n))
    feed = Batches(split, CONFIG, torch.device("cpu"), **settings)
    feed.size = size
    return feed


def images(feed: Batches) -> list[torch.Tensor]:
    return [x for x, _ in feed.epoch()]


def toy(momentum: float | None = 0.1) -> nn.Sequential:
    """Dropout, then the one batch norm: its statistics are those of the images themselves, if dropout is off."""
    return nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3, momentum=momentum), nn.AvgPool2d(32), nn.Flatten())


@pytest.mark.parametrize("size", [1, 5, 13])
def test_statistics_are_the_mean_over_the_batches(size):
    network, feed = toy().train(), batches(size)
    network(torch.randn(8, 3, 32, 32))  # something to forget
    xs = images(feed)
    re_estimate(network, xs)
    mean = torch.stack([x.mean((0, 2, 3)) for x in xs]).mean(0)
    var = torch.stack([x.var((0, 2, 3), correction=1) for x in xs]).mean(0)
    torch.testing.assert_close(network[1].running_mean, mean)
    torch.testing.assert_close(network[1].running_var, var, rtol=1e-4, atol=0)
    assert network[1].num_batches_tracked == len(xs)


@pytest.mark.parametrize("momentum", [0.1, 0.01, None])
def test_re_estimating_leaves_weights_and_momentum(momentum):
    network = toy(momentum)
    before = copy.deepcopy(list(network.parameters()))
    re_estimate(network, images(batches()))
    assert network[1].momentum == momentum
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), before, strict=True))
    assert all(p.grad is None for p in network.parameters())


def test_re_estimating_changes_statistics_alone_and_twice_is_once():
    network = build(CONFIG).train()
    before = copy.deepcopy(network.state_dict())
    re_estimate(network, images(batches()))
    once = copy.deepcopy(network.state_dict())
    re_estimate(network, images(batches()))
    changed = {name for name in before if not torch.equal(before[name], once[name])}
    assert changed == {name for name, _ in network.named_buffers()}
    assert all(torch.equal(once[name], tensor) for name, tensor in network.state_dict().items())
    assert {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}


def test_a_network_sees_the_images_of_its_statistics_normalised():
    """Re-estimated on one batch, every layer's statistics are that batch's: evaluating is training, less dropout."""
    network, feed = build(CONFIG), batches(N)
    re_estimate(network, images(feed))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            n = N * (32 * 4 // module.num_features) ** 2  # images by pixels: 4 channels at 32x32, halved where doubled
            module.running_var *= (n - 1) / n  # training divides by the biased variance
    logits = predict(network, images(feed))
    network.train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    with torch.no_grad():
        wanted = network(next(feed.epoch())[0])
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1, 5, 500])
def test_predictions_are_in_the_splits_order(size):
    network, feed = build(CONFIG).train(), batches(size)
    logits = predict(network, images(feed))
    assert logits.shape == (N, 10) and logits.dtype == torch.float32 and not logits.requires_grad
    alone = torch.cat([network.eval()(x) for x, _ in batches(1).epoch()])
    torch.testing.assert_close(logits, alone)


def test_predict_has_no_dropout_and_moves_no_statistics():
    network = build(CONFIG.model_copy(update={"drop": 0.9})).train()
    before = copy.deepcopy(network.state_dict())
    first, second = predict(network, images(batches())), predict(network.train(), images(batches()))
    assert torch.equal(first, second)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("size", [1, 5, 500])
def test_the_score_is_that_of_the_whole_split(size):
    network, feed = build(CONFIG), batches(size)
    loss, accuracy, confusion = evaluate(network, feed)
    logits, labels = predict(network, images(batches(500))), feed.labels
    assert loss == pytest.approx(cross_entropy(logits, labels).item(), rel=1e-5)
    assert accuracy == (logits.argmax(1) == labels).sum().item() / N
    expected = metrics.confusion(labels.numpy(), logits.argmax(1).numpy())
    assert (confusion.numpy() == expected).all()
    assert isinstance(loss, float) and isinstance(accuracy, float)


class Oracle(nn.Module):
    """Says the same of every image: the logits it was given."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, x):
        return self.logits.expand(len(x), -1)


def test_the_score_in_closed_form():
    feed = batches()
    feed.labels = torch.tensor([3] * 4 + [0] * 9)
    loss, accuracy, confusion = evaluate(Oracle([0.0] * 3 + [1.0] + [0.0] * 6), feed)
    assert accuracy == 4 / 13
    assert confusion[3, 3] == 4 and confusion[0, 3] == 9 and confusion.sum() == 13
    assert loss == pytest.approx(np.log(np.e + 9) - 4 / 13, rel=1e-6)


def test_an_empty_split_has_no_score():
    assert evaluate(build(CONFIG), batches(n=0)) == (None, None, None)


def test_statistics_of_no_image_are_refused():
    with pytest.raises(ValueError, match="^images: got none"):
        re_estimate(toy(), [])


def test_what_is_preserved_is_as_it_was():
    network = build(CONFIG).train()
    before = copy.deepcopy(network.state_dict())
    with preserved(network):
        round_weights(network)
        re_estimate(network, images(batches()))
        assert not network.training
        changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
        assert "stem.conv.weight" in changed and "stem.bn.running_mean" in changed and "stem.bn.weight" not in changed
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_weights_are_rounded_as_they_are_stored():
    network = build(CONFIG)
    wanted = safetensors.torch.load(weights.pack(network).numpy().tobytes())
    round_weights(network)
    assert all(torch.equal(wanted[name].float(), tensor.float()) for name, tensor in network.state_dict().items())


def test_float32_is_not_rounded_to_tf32_and_the_setting_comes_back(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with full_float32():
        assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
