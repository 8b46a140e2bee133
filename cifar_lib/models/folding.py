"""Batch norm folded into the convolutions, for inference."""

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cifar_lib.models.resnet import ResidualBlock, ResNet


def fold(network: ResNet) -> ResNet:
    """A copy in evaluation mode, the same logits to rounding, in which each convolution has taken in its batch norm."""
    folded = copy.deepcopy(network).eval()
    _fold(folded.stem, "conv", "bn")
    for block in folded.modules():
        if isinstance(block, ResidualBlock):
            _fold(block, "conv1", "bn1")
            _fold(block, "conv2", "bn2")
            if isinstance(block.shortcut, nn.Sequential):
                _fold(block.shortcut, "0", "1")
    return folded


def _fold(parent: nn.Module, conv: str, norm: str) -> None:
    setattr(parent, conv, fuse_conv_bn_eval(getattr(parent, conv), getattr(parent, norm)))
    setattr(parent, norm, nn.Identity())
