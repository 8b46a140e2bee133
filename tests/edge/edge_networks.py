"""Networks to export, and what their files say, for the tests of `cifar_lib.edge`."""

import functools

import numpy as np
import torch
from conftest import of_the_session
from torch import nn

from cifar_lib import data, edge, runs, training
from cifar_lib.config import Config
from cifar_lib.edge import extra
from cifar_lib.inference.classifier import Classifier
from cifar_lib.models import resnet

ABSENT = not all(map(extra.find_spec, extra.NEEDED))
WHY = "onnx and onnxruntime are not installed: pip install -r requirements-edge.txt"
TINY = {"num_channels": 8, "num_blocks": [1, 1, 1], "se_reduction": 4, "device": "cpu"}
LEARNS = TINY | {"dataset": "digits", "drop": 0, "max_epochs": 3, "batch_size": 32, "lookahead": False}
LEARNS |= {"lr_sched": "LinearLR", "warmup": 0.2, "nesterov": True, "precision": "float32", "compile": "off"}
IMAGES = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3), dtype=np.uint8)


def random_network(**settings) -> Classifier:
    """Of those settings, every tensor random: also what a new network has as zeros, ones and the identity."""
    config = Config(**TINY | settings)
    network = resnet.build(config)
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight.data, module.bias.data):
                tensor.normal_()
            module.running_var.uniform_(0.2, 3)
    if config.whitening:
        network.stem.conv.whiten(torch.randn(20, 3, 32, 32))
    return Classifier(network, config)


@functools.cache
def trained() -> runs.Run:
    """A run on digits that has learnt them in seconds."""
    config = Config(**LEARNS)
    started = training.prepare(config, data.load(config), runs.start("for-edge", config))
    list(training.fit(started))
    of_the_session.add(started.run.folder)
    return training.finish(started)


def logits(model, images: np.ndarray, batch: int = 50) -> np.ndarray:
    """What ONNX Runtime makes of images by an `onnx.ModelProto`, on one thread: (N, 10) float32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    batches = (images[at : at + batch] for at in range(0, len(images), batch))
    return np.concatenate([session.run(None, {"image": one})[0] for one in batches])


def of_library(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    return classifier.logits(data.Images(images, range(len(images))))


def exported(classifier: Classifier):
    return edge.as_onnx(classifier.network, classifier.config)
