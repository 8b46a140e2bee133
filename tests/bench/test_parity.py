"""The plain loop: each of its parts is torch's or written out, and ours reaches what it reaches."""

import numpy as np
import pytest
import torch

from cifar_lib import paths
from cifar_lib.bench import parity, plain_images
from cifar_lib.config import FAST, Config
from cifar_lib.data import Batches, Dataset, Split
from cifar_lib.models import resnet
from cifar_lib.optim import lookahead, schedules
from cifar_lib.runs import Run
from cifar_lib.training import norm_statistics

TINY = {"dataset": "digits", "valid_size": 20, "batch_size": 32, "num_channels": 4, "num_blocks": (1, 1), "drop": 0.1}
TINY |= {"conv_kernel_sizes": (3, 3), "shortcut_kernel_sizes": (1, 1), "avg_pool_kernel_size": 16, "device": "cpu"}
TINY |= {"max_epochs": 2, "precision": "float32"}


def test_a_pair_leaves_two_runs_with_the_same_images_and_first_weights(small, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    parity.pair(Config(**TINY), small, show=lambda line: None)
    plain, ours = Run(tmp_path / "plain-0"), Run(tmp_path / "base-0")
    assert plain.complete and ours.complete and len(plain.history) == len(ours.history) == 2
    assert plain.environment["sha256"] == ours.environment["sha256"]
    assert (plain.config.precision, plain.config.norm_statistics) == ("float32", "running")
    assert plain.environment["gear"] == "plain loop"
    assert plain.history.lr.tolist() == pytest.approx(ours.history.lr.tolist())
    before = (tmp_path / "plain-0" / "history.csv").read_bytes()
    parity.pair(Config(**TINY), small, show=lambda line: None)
    assert (tmp_path / "plain-0" / "history.csv").read_bytes() == before, "what has ended stays"
    parity.pair(Config(**TINY), small, "blank", show=lambda line: None)
    assert Run(tmp_path / "plain-blank-0").complete and Run(tmp_path / "blank-0").complete


@pytest.mark.parametrize("variant", ["plain", "plain-blank"])
def test_our_runs_cannot_bear_the_plain_loops_name(small, variant):
    with pytest.raises(parity.ParityError, match=f"^variant: got {variant}, expected another name than plain, which"):
        parity.pair(Config(**TINY), small, variant)


@pytest.mark.parametrize("name", ["mixup", "progressive_resizing", "ema_half_life", "grad_clip"])
def test_settings_that_the_loop_lacks_are_refused(small, name):
    with pytest.raises(parity.ParityError, match=f"^parity: the plain loop has no {name}; leave"):
        parity.pair(Config(**TINY | {name: 0.1}), small)


def test_without_validation_there_is_nothing_to_compare(small):
    with pytest.raises(parity.ParityError, match="^valid_size: got 0, expected images to compare both on"):
        parity.pair(Config(**TINY | {"valid_size": 0}), small)


def test_the_preset_for_short_trainings_is_trained_by_both(small, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    config = Config(**FAST | TINY | {"cutout": 8, "label_smoothing": 0.1})
    parity.pair(config, small, "fast", show=lambda line: None)
    plain, ours = Run(tmp_path / "plain-fast-0"), Run(tmp_path / "fast-0")
    assert plain.complete and ours.complete and plain.config.alternating_flip and plain.config.loader == "device"
    assert plain.history.lr.tolist() == pytest.approx(ours.history.lr.tolist())


@pytest.mark.parametrize("dataset", ["cifar10", "digits"])
def test_each_image_is_mirrored_in_every_second_epoch_where_it_stays_true(small, dataset):
    loop = parity.PlainLoop(Config(**TINY | {"alternating_flip": True}), small)
    loop.config = Config(**dict(loop.config) | {"dataset": dataset, "data_augmentation": False, "valid_size": 20})
    images = [loop._loader(number).dataset.images for number in (1, 2, 3)]
    turned = [(epoch[:, :, ::-1] == small.train.images).all((1, 2, 3)) for epoch in images]
    same = [(epoch == small.train.images).all((1, 2, 3)) for epoch in images]
    assert np.array_equal(images[0], images[2]) and (turned[0] | same[0]).all()
    if dataset == "digits":
        assert np.array_equal(images[0], images[1]) and same[0].all()
    else:
        assert np.array_equal(images[0], images[1][:, :, ::-1]) and 0.3 < same[0].mean() < 0.7


def test_its_whitened_first_layer_is_ours(small):
    """But for the sign of an eigenvector, and for the 16 bits that ours is stored in."""
    config = Config(**TINY | {"whitening": True})
    own = resnet.build(config).stem.conv
    own.whiten(next(Batches(small.train, config, torch.device("cpu")).epoch())[0])
    plain = parity.PlainLoop(config, small).network.stem.conv
    for matrix in (own.whitening, plain.whitening):  # W^T W knows no sign
        assert matrix.shape == (27, 27)
    products = [matrix.double().T @ matrix.double() for matrix in (own.whitening, plain.whitening)]
    assert (products[0] - products[1]).abs().max() < 0.01 * products[0].abs().max()


def test_its_lookahead_is_ours_step_by_step():
    ways = []
    for _ in range(2):
        torch.manual_seed(0)
        ways.append(torch.nn.Linear(3, 2))
    sgds = [torch.optim.SGD(network.parameters(), 0.1, momentum=0.9) for network in ways]
    textbook, own = parity.TextbookLookahead(ways[0], 5, 0.5), lookahead.Lookahead(sgds[1], 5, 0.5)
    for step in range(12):
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        for network, sgd in zip(ways, sgds, strict=True):
            sgd.zero_grad()
            network(x).square().sum().backward()
        sgds[0].step(), textbook.after_step()
        own.step()
        for a, b in zip([*textbook.slow, *textbook.fast], [*own.slow, *own.fast], strict=True):
            torch.testing.assert_close(a, b)


def test_schedules_that_the_loop_lacks_are_refused(small):
    with pytest.raises(parity.ParityError, match="^lr_sched: got none, expected one that the plain loop has, Cos"):
        parity.pair(Config(**TINY | {"lr_sched": "none"}), small)


@pytest.mark.parametrize("settings", [{}, {"lr_sched": "LinearLR"}, {"lr_sched": "LinearLR", "warmup": 0.25}])
def test_its_schedule_is_ours(small, settings):
    loop = parity.PlainLoop(Config(**TINY | settings), small)
    learning_rates = []
    for _ in range(8):
        learning_rates.append(loop.scheduler.get_last_lr()[0])
        loop.sgd.step()
        loop.scheduler.step()
    assert learning_rates == pytest.approx(schedules.lr_schedule(loop.config, 8).tolist())


def test_its_sgd_is_ours_with_nesterov_and_without_decay_of_vectors(small):
    """From the same gradients the same steps, though ours is fused and begins with momentum of zeros."""
    config = Config(**TINY | {"nesterov": True, "norm_weight_decay": False, "weight_decay": 0.1, "lookahead": False})
    loop, network = parity.PlainLoop(config, small), resnet.build(config)
    own = schedules.optimizer_of(network, config)
    for step in range(3):
        for parameters, sgd in ((loop.network.parameters(), loop.sgd), (network.parameters(), own)):
            generator = torch.Generator().manual_seed(step)
            for p in parameters:
                p.grad = torch.randn(p.shape, generator=generator)
            sgd.step()
    for a, b in zip(loop.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_running_statistics_and_slow_weights_are_evaluated(small):
    loop = parity.PlainLoop(Config(**TINY), small)
    loop.epoch(1)
    with torch.no_grad():
        for own, slow in zip(loop.network.parameters(), loop.lookahead.slow, strict=True):
            own.copy_(slow)
    loop.network.eval()
    x = torch.stack([x for x, _ in plain_images.as_they_are(small.valid, loop.config)])
    with torch.no_grad():
        torch.testing.assert_close(loop.logits(small.valid), loop.network(x), rtol=1e-4, atol=1e-5)
    loop.network.train()


POINTS = 0.04  # of validation accuracy, by which one seed of the small pair below may lie under the plain loop


@pytest.mark.parametrize("seed", [0, 1])
def test_ours_reaches_the_plain_loop_and_statistics_of_plain_images_would_not(digits, monkeypatch, tmp_path, seed):
    """Pale digits on white, cropped with black borders: nothing that the network trains on looks like a whole image.

    The pairs on CIFAR-10 are evidence (`test_parity_tables.py`); this one is small enough to be trained here. The rule
    of before, statistics of plain images, falls ten points short and must fail the same bound.
    """
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    pale = lambda split: Split(255 - split.images // 4, split.labels)  # noqa: E731
    dataset = Dataset("digits", *(pale(split) for split in (digits.train, digits.valid, digits.test)))
    settings = {"dataset": "digits", "num_channels": 16, "num_blocks": (1, 1, 1), "batch_size": 16, "max_epochs": 6}
    config = Config(**settings, drop=0, crop_padding="black", device="cpu", precision="float32", seed=seed)
    parity.pair(config, dataset, show=lambda line: None)
    plain, ours = Run(tmp_path / f"plain-{seed}"), Run(tmp_path / f"base-{seed}")
    norm_statistics.measure(ours, dataset)
    by_rule = ours.norm_statistics.set_index("rule").accuracy
    reached = plain.history.valid_accuracy.iloc[-1]
    assert reached > 0.85 and by_rule["as fed"] == ours.history.valid_accuracy.iloc[-1]
    assert by_rule["as fed"] > reached - POINTS
    assert by_rule["running"] > reached - POINTS
    assert by_rule["plain images"] < reached - POINTS
