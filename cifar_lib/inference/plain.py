"""A published network as plain arrays, for whoever computes without torch: a browser."""

import numpy as np
import torch
from torch import nn

from cifar_lib.data.datasets import STATISTICS
from cifar_lib.inference import pretrained, weights
from cifar_lib.models import resnet
from cifar_lib.runs import WEIGHTS, Run
from cifar_lib.runs.plain_network import Numbers, PlainNetwork

SMALL = 2_000_000  # bytes: as text in a page 2.7 MB


def narrowest(most_bytes: int = SMALL) -> PlainNetwork | None:
    """The narrowest of the networks that come with this project; None where its weights' file is larger than
    `most_bytes`, or none is here."""
    run = next(iter(pretrained.runs().values()), None)
    return plain(run) if run and (run.folder / WEIGHTS).stat().st_size <= most_bytes else None


def plain(run: Run) -> PlainNetwork:
    """The layers of `run` in the order of the forward pass. Raises `RunError` where its weights are not here.

    A convolution's weight is (outputs, kernel, kernel, inputs), as a patch of a channels-last image lies in memory,
    times `scale` and plus `bias` (outputs,), which are its batch norm; where it whitens, the matrix is multiplied in.
    """
    network = resnet.build(run.config).eval()
    weights.read(run, network)
    config, numbers = run.config, Numbers()
    facts = STATISTICS[config.dataset]
    mean, std = (facts.mean, facts.std) if config.data_normalize else ((0.0,) * 3, (1.0,) * 3)
    with torch.no_grad():
        layers = {"classes": config.classes, "mean": mean, "std": std} | _layers(network)
    return PlainNetwork(run, resnet.macs(config)["total"], numbers.pack(layers), bytes(numbers.data))


def _layers(network: resnet.ResNet) -> dict:
    stem, side = network.stem, network.pool.output_size
    return {
        "stem": {"conv": _conv(stem.conv, stem.bn), "gate": _gate(getattr(stem, "se", None))},
        "stages": [[_block(block) for block in stage] for stage in network.stages],
        "pool": side,
        "linear": _linear(network.linear, network.linear.weight.unflatten(1, (-1, side, side)).permute(0, 2, 3, 1)),
    }


def _block(block: resnet.ResidualBlock) -> dict:
    projects = isinstance(block.shortcut, nn.Sequential)
    return {
        "conv1": _conv(block.conv1, block.bn1),
        "conv2": _conv(block.conv2, block.bn2),
        "gate": _gate(block.se),
        "shortcut": _conv(*block.shortcut) if projects else None,
    }


def _conv(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> dict:
    kernel = conv.kernel if isinstance(conv, resnet.WhitenedConv2d) else conv.weight
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = norm.bias.double() - norm.running_mean.double() * scale
    arrays = {"weight": _array(kernel.permute(0, 2, 3, 1)), "scale": _array(scale), "bias": _array(bias)}
    return {"kernel": conv.kernel_size[0], "stride": conv.stride[0]} | arrays


def _gate(gate: nn.Module | None) -> dict | None:
    found = isinstance(gate, resnet.SqueezeExcitation)
    return {name: _linear(fc, fc.weight) for name, fc in (("fc1", gate.fc1), ("fc2", gate.fc2))} if found else None


def _linear(layer: nn.Linear | nn.Conv2d, weight: torch.Tensor) -> dict:
    """`weight`: the layer's, its inputs in the order in which they will come."""
    return {"weight": _array(weight.flatten(1)), "bias": _array(layer.bias)}


def _array(tensor: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.float().numpy())
