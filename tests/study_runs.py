"""Runs that have ended, made up with known numbers, for tests of studies and of their figures."""

import numpy as np
import torch
from torch import nn

from cifar_lib import runs
from cifar_lib.config import Config
from cifar_lib.data.batches import normalise
from cifar_lib.inference import weights
from cifar_lib.models import resnet
from cifar_lib.runs import Run
from cifar_lib.runs.predictions import Mistakes, Predictions

CURVE = (0.4, 0.6, 0.55, 0.7)


def made(folder, accuracy: float, curve=CURVE, images: int = 1000, data: str = "", facts=None, **settings) -> Run:
    """A run that has ended, with that accuracy on the test set, that curve on validation, and those facts of it."""
    config = Config(max_epochs=len(curve), **settings)
    folder.mkdir(parents=True)
    run = Run(folder)
    (folder / "config.json").write_text(config.model_dump_json())
    known = {"parameters": 7, "train_images": 45000, "device": "cpu: made up", "threads": 2, "precision": "float32"}
    run.record("environment.json", known | {"sha256": [data, config.seed]} | (facts or {}))
    row = dict.fromkeys(runs.COLUMNS, 1.0)
    run.record_history([row | {"epoch": epoch, "valid_accuracy": valid} for epoch, valid in enumerate(curve, 1)])
    labels = np.zeros(images, int)
    predicted = (np.arange(images) >= round(accuracy * images)).astype(int)
    none = np.zeros(0, int)
    mistakes = Mistakes(none, np.zeros((0, 32, 32, 3), np.uint8), none, none, none)
    run.finish(Predictions(labels, predicted, np.eye(10)[predicted]), mistakes)
    return run


def with_weights(run: Run) -> Run:
    """The same run with weights: random ones and random statistics of batch norm, whose logits for images of a few
    patches have mean 0 and standard deviation 2, so that predictions differ by more than rounding."""
    network = resnet.build(run.config).eval()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.running_mean.normal_(0, 0.3)
            norm.running_var.uniform_(0.3, 1)
            norm.weight.uniform_(0.7, 1.5)
            norm.bias.normal_(0, 0.3)
        if run.config.whitening:
            network.stem.conv.whitening.copy_(torch.randn(27, 27) / 3)
        patches = torch.randint(0, 256, (50, 3, 4, 4), dtype=torch.uint8)
        logits = network(normalise(patches.repeat_interleave(8, 2).repeat_interleave(8, 3), run.config))
        factor, linear = 2 / logits.std(0), network.linear
        linear.weight.mul_(factor[:, None])
        linear.bias.copy_((linear.bias - logits.mean(0)) * factor)
    weights.write(run.folder, weights.pack(network))
    return run
