"""The map of test images: made of what the last layer gets, neighbours kept together, refused where damaged."""

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
    images = data.Images(images.images, images.labels)
    found = embedding.features(network, images)
    linear = network.network.linear
    expected = found @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    np.testing.assert_allclose(expected, network.logits(images), atol=1e-4)
    assert found.shape == (20, 8) and not linear._forward_pre_hooks


def test_what_is_alike_lies_together():
    centres = np.eye(3, 20).repeat(20, 0)
    xy = embedding.placed(centres + np.random.default_rng(0).normal(0, 0.01, centres.shape).astype(np.float32))
    far = np.square(xy[:, None] - xy[None]).sum(2) + np.diag(np.full(60, np.inf))
    assert (far.argmin(1) // 20 == np.arange(60) // 20).all()


def test_a_run_keeps_its_map(run, monkeypatch):
    monkeypatch.setattr(embedding, "MOST", 40)
    embedding.measure(run, data.load(run.config))
    assert run.embedding.shape == (40, 2) and np.isfinite(run.embedding).all()


@pytest.mark.parametrize("damaged", [{"x": [1.0]}, {"x": [1.0], "y": [1.0, 2.0]}, {"x": [float("nan")], "y": [1.0]}])
def test_a_damaged_map_is_refused_in_one_line(run, damaged):
    run.record("embedding.json", damaged)
    with pytest.raises(runs.DamagedRun, match="embedding.json is damaged") as refused:
        _ = run.embedding
    assert "\n" not in str(refused.value)


def test_a_run_without_a_map_says_how_to_get_one(run):
    with pytest.raises(runs.RunError, match="missing: measure it with: python -m cifar_lib embed run$"):
        _ = run.embedding
