"""The map of test images: made of what the last layer gets, neighbours kept together."""

import numpy as np
import pytest
from study_runs import made, with_weights

from cifar_lib import data, runs
from cifar_lib.inference import classifier, embedding

SMALL = {"dataset": "digits", "num_channels": 4, "num_blocks": [1, 1], "conv_kernel_sizes": [3, 3], "drop": 0}
SMALL |= {"shortcut_kernel_sizes": [1, 1], "avg_pool_kernel_size": 16, "device": "cpu"}


@pytest.fixture
def run(tmp_path) -> runs.Run:
    return with_weights(made(tmp_path / "run", 0.5, **SMALL))


def test_features_are_what_the_last_layer_gets(run):
    network = classifier.load(run)
    images = data.load(run.config).test[:20]
    found = embedding.features(network, images)
    linear = network.network.linear
    expected = found @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    np.testing.assert_allclose(expected, network.logits(data.Images(images.images, images.labels)), atol=1e-4)
    assert found.shape == (20, 8) and not linear._forward_pre_hooks


def test_what_is_alike_lies_together():
    centres = np.eye(3, 20).repeat(20, 0)
    xy = embedding.placed(centres + np.random.default_rng(0).normal(0, 0.01, centres.shape).astype(np.float32))
    far = np.square(xy[:, None] - xy[None]).sum(2) + np.diag(np.full(60, np.inf))
    assert (far.argmin(1) // 20 == np.arange(60) // 20).all()
