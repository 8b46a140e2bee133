"""Folded batch norm: gone, and not missed."""

import copy

import pytest
import torch
from torch import nn

from cifar_lib.config import Config
from cifar_lib.models import folding, resnet

SMALL = {"num_channels": 16, "num_blocks": [2, 1], "conv_kernel_sizes": [3, 3], "shortcut_kernel_sizes": [1, 3]}
SMALL |= {"avg_pool_kernel_size": 4}


SHAPES = [{}, {"se_placement": "stem"}, {"squeeze_and_excitation": False}, {"drop": 0}, {"whitening": True}]


@pytest.mark.parametrize("settings", SHAPES)
def test_same_logits_without_any_batch_norm(settings):
    network = resnet.build(Config(**SMALL | settings))
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight.data, module.bias.data):
                tensor.normal_()
            module.running_var.uniform_(0.2, 3)
    if "whitening" in settings:
        network.stem.conv.whiten(torch.randn(20, 3, 32, 32))
    before = copy.deepcopy(network.state_dict())
    folded, x = folding.fold(network), torch.randn(5, 3, 32, 32)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) and not folded.training
    with torch.no_grad():
        torch.testing.assert_close(folded(x), network.eval()(x), rtol=1e-3, atol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == 8
