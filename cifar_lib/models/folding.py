"""Batch norm folded into the convolutions, for inference."""

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cifar_lib.models.resnet import ResNet

PAIRS = (("conv", "bn"), ("conv1", "bn1"), ("conv2", "bn2"), ("0", "1"))  # of the stem, of a block, of its shortcut


def fold(network: ResNet) -> ResNet:
    """A copy in evaluation mode, the same logits to rounding, in which each convolution has taken in its batch norm."""
    folded = copy.deepcopy(network).eval()
    for parent in list(folded.modules()):
        for conv, norm in PAIRS:
            if isinstance(getattr(parent, norm, None), nn.BatchNorm2d):
                setattr(parent, conv, fuse_conv_bn_eval(getattr(parent, conv), getattr(parent, norm)))
                setattr(parent, norm, nn.Identity())
    return folded
