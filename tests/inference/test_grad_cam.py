"""Grad-CAM is what its definition says, for the class that is asked for, and leaves the network as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from cifar_lib.config import Config
from cifar_lib.inference import activations, grad_cam
from cifar_lib.models import resnet

CONFIG = Config(num_channels=8, device="cpu")


class Tiny(nn.Module):
    """Two maps of an image (1, 1, H, W), itself and its negative; logits: the first class adds all of the first map and
    subtracts twice the second, the second class squares the mean of the first map."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(1, 2, 1, bias=False)])
        with torch.no_grad():
            self.stages[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))

    def forward(self, x):
        one, other = self.stages[0](x)[0]
        return torch.stack([one.sum() - 2 * other.sum(), one.mean() ** 2])[None]


@pytest.fixture(scope="module")
def network():
    """Fresh, but for batch norm's statistics, without which hardly anything depends on the image."""
    network = resnet.build(CONFIG)
    with torch.no_grad():
        network.train()(torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    return network.eval()


@pytest.fixture(scope="module")
def x():
    return activations.as_batch(activations.example("cifar10").image, CONFIG)


def test_it_is_what_a_hand_computes():
    x = torch.tensor([[[[1.0, -2.0], [3.0, 4.0]]]])  # of mean 1.5
    # Class 0: weights 1 and -2, so 1 x + (-2) (-x) = 3 x. Class 1: derivative 2 · 1.5 / 4 at each place, so 0.75 x.
    assert grad_cam.heat_map(Tiny(), x, 0).tolist() == [[3, 0], [9, 12]]
    assert grad_cam.heat_map(Tiny(), x, 1).tolist() == [[0.75, 0], [2.25, 3]]


@pytest.mark.parametrize("label", [0, 8])
def test_before_negative_values_are_dropped_it_adds_up_to_the_logit(network, x, label):
    """Behind a mean over all places and a linear layer."""
    seen = activations.trace(network, x)
    weight, bias = (p.detach().numpy() for p in (network.linear.weight[label], network.linear.bias[label]))
    parts = np.einsum("k,khw->hw", weight, seen["stage 3"]) / 64
    assert parts.sum() + bias == pytest.approx(seen["logits"][label], abs=1e-5)
    np.testing.assert_allclose(grad_cam.heat_map(network, x, label), np.maximum(parts, 0), atol=1e-6)


def test_it_has_the_last_maps_resolution_and_nothing_negative(network, x):
    for side in (32, 48):
        heat = grad_cam.heat_map(network, torch.ones(1, 3, side, side), 3)
        assert heat.shape == (side // 4, side // 4) and heat.dtype == np.float32
    every = np.stack([grad_cam.heat_map(network, x, label) for label in range(10)])
    assert every.min() == 0 and every.max() > 0 and np.isfinite(every).all()


def test_it_is_for_the_class_that_is_asked_for(network, x):
    swapped = resnet.build(CONFIG)
    swapped.load_state_dict(network.state_dict())
    with torch.no_grad():
        for values in (swapped.linear.weight, swapped.linear.bias):
            values[[2, 7]] = values[[7, 2]]
    first, second = (grad_cam.heat_map(network, x, label) for label in (2, 7))
    assert (grad_cam.heat_map(swapped, x, 7) == first).all() and (grad_cam.heat_map(swapped, x, 2) == second).all()
    assert not np.allclose(first, second)
    with pytest.raises(IndexError):
        grad_cam.heat_map(network, x, 10)


def test_it_leaves_no_hook_no_gradient_and_the_same_weights(network, x):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        inside = grad_cam.heat_map(network.train(), x, 1)
    assert (inside == grad_cam.heat_map(network, x, 1)).all() and not network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in network.parameters()) and x.grad is None
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in network.modules())
    with pytest.raises(RuntimeError):
        grad_cam.heat_map(network, torch.ones(1, 5, 32, 32), 1)
    assert not any(m._forward_hooks for m in network.modules()), "after a failure neither"
