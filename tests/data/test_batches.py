"""Feeding a split: a batch at a time equals torchvision's image at a time, and every epoch comes from the seed."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_augment import theirs
from torch.nn.functional import cross_entropy
from torchvision.transforms import functional as T

from cifar_lib.config import STATISTICS, Config
from cifar_lib.data import Split
from cifar_lib.data.augment import OPERATIONS
from cifar_lib.data.batches import EVALUATION_BATCH, PADDING, WHOLE, Batches, WorkerBatches, cutout, mix, side_of
from cifar_lib.device.distributed import ALONE, World

CPU = torch.device("cpu")
MEAN = (125, 123, 114)  # CIFAR-10's, of 255
N = 22  # with batches of 8: 8, 8, 6


def noise(n: int = N) -> Split:
    """Images of random bytes, each labelled with its own place."""
    images = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    return Split(images, np.arange(n))


def batches(train: bool = True, n: int = N, **settings) -> Batches:
    return Batches(noise(n), Config(**{"batch_size": 8} | settings), CPU, train=train)


def workers(n: int = N, **settings) -> WorkerBatches:
    return WorkerBatches(noise(n), Config(**{"batch_size": 8, "num_workers": 0} | settings), CPU)


def whole(feed, number: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = list(feed.epoch(number))
    return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])


def plainly(image: np.ndarray, config: Config, top=PADDING, left=PADDING, mirrored=False) -> torch.Tensor:
    """One image by torchvision's functions on PIL: pad, crop, mirror, to tensor, normalise."""
    mode = "reflect" if config.crop_padding == "reflect" else "constant"
    fill = MEAN if config.crop_padding == "mean" else 0
    padded = T.pad(Image.fromarray(image), PADDING, fill=fill, padding_mode=mode)
    picture = T.crop(padded, int(top), int(left), 32, 32)
    x = T.to_tensor(T.hflip(picture) if mirrored else picture)
    facts = STATISTICS[config.dataset]
    return T.normalize(x, facts.mean, facts.std) if config.data_normalize else x


# ------------------------------------------------------------------------------------------------------------ Batches


@pytest.mark.parametrize("padding", ["black", "mean", "reflect"])
@pytest.mark.parametrize(("dataset", "normalised"), [("cifar10", True), ("cifar10", False), ("digits", True)])
@pytest.mark.parametrize("number", [0, 3])
def test_augmented_equals_the_plain_way_bit_for_bit(dataset, normalised, number, padding):
    if (dataset, padding) == ("digits", "mean"):
        pytest.skip("the mean written down here is CIFAR-10's")
    feed = batches(dataset=dataset, data_normalize=normalised, crop_padding=padding)
    index, top, left, mirrored = feed.plan(number)
    x, y = whole(feed, number)
    assert np.array_equal(y, index)
    images = noise().images
    for i in range(N):
        assert torch.equal(x[i], plainly(images[index[i]], feed.config, top[i], left[i], mirrored[i]))


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("train", [True, False])
def test_not_augmented_equals_the_plain_way_bit_for_bit(train, normalised):
    feed = batches(train, data_augmentation=False, data_normalize=normalised)
    x, y = whole(feed)
    for image, label in zip(x, y.tolist(), strict=True):
        assert torch.equal(image, plainly(noise().images[label], feed.config))


@pytest.mark.parametrize("augmented", [True, False])
def test_every_image_once_an_epoch_and_the_last_batch_short(augmented):
    feed = batches(data_augmentation=augmented)
    pairs = list(feed.epoch(0))
    assert [x.shape for x, _ in pairs] == [(8, 3, 32, 32), (8, 3, 32, 32), (6, 3, 32, 32)]
    assert [len(y) for _, y in pairs] == [8, 8, 6] and len(feed) == 3
    assert sorted(torch.cat([y for _, y in pairs]).tolist()) == list(range(N))
    assert all(x.dtype == torch.float32 and y.dtype == torch.int64 for x, y in pairs)


def test_same_seed_and_epoch_same_batches():
    feed = batches()
    first, again, anew = whole(feed, 2), whole(feed, 2), whole(batches(), 2)
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(first, again, anew, strict=True))


def test_global_generators_have_no_say():
    feed = batches()
    torch.manual_seed(1), np.random.seed(1)
    first, state = whole(feed, 0), torch.get_rng_state()
    torch.manual_seed(2), np.random.seed(2)
    assert torch.equal(first[0], whole(feed, 0)[0])
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_another_epoch_or_seed_is_another_order_and_other_crops():
    plans = [batches().plan(0), batches().plan(1), batches(seed=1).plan(0)]
    for part in range(4):
        assert len({plan[part].tobytes() for plan in plans}) == 3


def test_each_image_draws_its_own_crop_and_mirroring():
    _, top, left, mirrored = batches(n=4000).plan(0)
    for offset in (top, left):
        assert np.abs(np.bincount(offset, minlength=9) / 4000 - 1 / 9).max() < 0.02
    assert len(np.bincount(top * 9 + left).nonzero()[0]) == 81
    assert mirrored.mean() == pytest.approx(0.5, abs=0.03)
    assert abs(np.corrcoef(top, mirrored)[0, 1]) < 0.06 and abs(np.corrcoef(top, left)[0, 1]) < 0.06


def test_digits_are_never_mirrored():
    assert not batches(dataset="digits", n=500).plan(0)[3].any()
    assert batches(dataset="digits", n=500).plan(0)[1].any()  # but cropped


def test_without_augmentation_only_the_order_is_drawn():
    order, top, left, mirrored = batches(data_augmentation=False).plan(0)
    assert np.array_equal(order, batches().plan(0)[0])
    assert not (top.any() or left.any() or mirrored.any())


@pytest.mark.parametrize("number", [0, 1])
def test_evaluation_is_in_order_and_plain(number):
    feed = batches(train=False, n=EVALUATION_BATCH + 3)
    assert [len(y) for _, y in feed.epoch(number)] == [EVALUATION_BATCH, 3] and len(feed) == 2
    x, y = whole(feed, number)
    assert y.tolist() == list(range(EVALUATION_BATCH + 3))
    assert torch.equal(x[-1], plainly(noise(EVALUATION_BATCH + 3).images[-1], feed.config))


def test_normalised_digits_have_mean_0_and_std_1(digits):
    x, _ = whole(Batches(digits.train, Config(dataset="digits"), CPU))
    assert x.mean().item() == pytest.approx(0, abs=0.02) and x.std().item() == pytest.approx(1, abs=0.02)


def test_an_empty_split_has_no_batches():
    feed = batches(train=False, n=0)
    assert len(feed) == 0 and list(feed.epoch()) == []


def test_the_splits_bytes_stay():
    split = noise()
    before = split.sha256
    for x, _ in Batches(split, Config(data_augmentation=False), CPU).epoch():
        x.zero_()
    assert split.sha256 == before


def test_a_sample_is_of_the_epochs_own_batches_whole_over_all_processes():
    xs = [x for x, _ in batches(**STRONG).epoch(2)]
    for share in (ALONE, World(1, 2)):
        feed = Batches(noise(), Config(batch_size=8, **STRONG), CPU, train=True, world=share)
        sample = list(feed.sample(2, 9))  # nine images take two batches of eight
        assert len(sample) == 2 and all(torch.equal(a, b) for a, b in zip(sample, xs[:2], strict=True))
    assert len(list(batches().sample(1, 10_000))) == 3  # no more than there are


# ------------------------------------------------------------------------------------------------------ WorkerBatches


def test_a_workers_sample_is_of_the_epochs_own_batches():
    wanted = [x for x, _ in workers().epoch(2)][:2]
    assert all(torch.equal(a, b) for a, b in zip(workers().sample(2, 9), wanted, strict=True))


@pytest.mark.parametrize("processes", [0, 2])
def test_workers_same_epoch_twice_is_equal_and_another_is_not(processes):
    feed = workers(num_workers=processes)
    torch.manual_seed(1)
    first = whole(feed, 1)
    torch.manual_seed(2)
    second, other = whole(feed, 1), whole(feed, 2)
    assert torch.equal(first[1], second[1]) and torch.equal(first[0], second[0])
    assert not torch.equal(first[1], other[1])
    assert sorted(first[1].tolist()) == sorted(other[1].tolist()) == list(range(N))


def test_workers_without_augmentation_show_what_batches_show():
    feed = workers(data_augmentation=False)
    (x, y), (ours, labels) = whole(feed), whole(batches(data_augmentation=False))
    assert torch.equal(x[y.argsort()], ours[labels.argsort()])
    assert [len(y) for _, y in feed.epoch(0)] == [8, 8, 6] and len(feed) == 3


@pytest.mark.parametrize(
    ("dataset", "padding"), [("cifar10", "black"), ("cifar10", "mean"), ("cifar10", "reflect"), ("digits", "reflect")]
)
def test_workers_crops_are_among_those_batches_can_make(dataset, padding):
    feed = workers(n=4, dataset=dataset, crop_padding=padding)
    for x, label in zip(*whole(feed), strict=True):
        image = noise(4).images[label]
        turns = (False, True) if STATISTICS[dataset].flip else (False,)
        possible = [plainly(image, feed.config, t, left, m) for t in range(9) for left in range(9) for m in turns]
        assert any(torch.equal(x, one) for one in possible)


def test_workers_of_another_seed_have_another_order():
    assert not torch.equal(whole(workers())[1], whole(workers(seed=1))[1])


STRONG = {"trivial_augment": True, "cutout": 8, "mixup": 0.2, "mixup_off": 0.3, "max_epochs": 3}  # off in the third


def test_distortions_change_neither_order_nor_crop():
    plain, strong = batches(n=300), batches(n=300, **STRONG)
    for a, b in zip(plain.plan(2), strong.plan(2), strict=True):
        assert np.array_equal(a, b)
    assert plain.distortions(2) == () and len(strong.distortions(2)) == 5


def test_distortions_are_the_epochs_own():
    a, b = batches(n=300, **STRONG), batches(n=300, **STRONG)
    assert all(np.array_equal(x, y) for x, y in zip(a.distortions(1), b.distortions(1), strict=True))
    assert all(not np.array_equal(x, y) for x, y in zip(a.distortions(1), a.distortions(2), strict=True))
    assert batches(n=300, train=False, **STRONG).distortions(1) == ()


def test_an_image_is_mixed_with_no_more_than_its_half_and_not_at_the_end():
    feed = batches(n=3000, **STRONG)
    share = feed.distortions(2)[-1] / WHOLE
    assert 0.5 <= share.min() < 0.51 and share.max() == 1
    assert (feed.distortions(3)[-1] == WHOLE).all()


def test_undistorted_is_the_plain_batch():
    """Operation 0, no blot, own share 1: the longer key gives what the shorter does."""
    plain, strong = batches(n=10), batches(n=10, **STRONG)
    for (key,), (long,) in zip(plain.keys(1), strong.keys(1), strict=True):
        long[:, 4:] = torch.tensor([0, 0, 32, 32, WHOLE])
        (x, y), (x2, y2) = plain.take(key), strong.take(long)
        assert torch.equal(x, x2) and torch.equal(y, y2.argmax(1)) and (y2.amax(1) == 1).all()


def test_mixed_batch_is_the_pairs_mean_in_shares():
    x, y = torch.rand(4, 3, 2, 2), torch.tensor([1, 0, 2, 1])
    share = torch.tensor([1.0, 0.75, 0.5, 0.9])
    mixed, shares = mix(x, y, share, 3)
    for i, s in enumerate(share):
        torch.testing.assert_close(mixed[i], s * x[i] + (1 - s) * x[i - 1])
    expected = torch.tensor([[0, 1, 0], [0.75, 0.25, 0], [0.5, 0, 0.5], [0, 0.9, 0.1]])
    torch.testing.assert_close(shares, expected)


def test_mixed_loss_is_the_losses_mean_in_shares():
    logits, y = torch.randn(5, 10), torch.tensor([3, 1, 4, 1, 5])
    share = torch.rand(5)
    _, shares = mix(torch.zeros(5, 1, 1, 1), y, share, 10)
    own, other = (cross_entropy(logits, labels, reduction="none") for labels in (y, y.roll(1)))
    torch.testing.assert_close(cross_entropy(logits, shares), (share * own + (1 - share) * other).mean())


def test_blot_is_a_square_as_far_as_it_lies_within():
    x = cutout(torch.ones(3, 2, 32, 32), torch.tensor([0, 28, -4]), torch.tensor([5, 30, -6]), 8)
    assert [(image == 0).sum().item() for image in x] == [2 * 64, 2 * 4 * 2, 2 * 4 * 2]
    assert (x[0, :, 0:8, 5:13] == 0).all() and (x[2, :, :4, :2] == 0).all()


def test_distorted_as_torchvision_would_after_crop_and_mirror():
    """Crop, mirror, distort, then normalise: each image by torchvision's functions in that order."""
    feed = batches(n=60, trivial_augment=True, data_normalize=False)
    (index, top, left, mirrored), (operation, level, *_) = feed.plan(1), feed.distortions(1)
    x, y = whole(feed, 1)
    images, near = noise(60).images, []
    for i in range(60):
        plain = plainly(images[index[i]], feed.config, top[i], left[i], mirrored[i])
        expected = theirs((plain * 255).round().to(torch.uint8), OPERATIONS[operation[i]], level[i])
        near.append(((x[i] * 255).round() - expected).abs() <= 1)
    assert np.array_equal(y, index) and torch.stack(near).float().mean() > 0.99
    assert set(map(OPERATIONS.__getitem__, operation)) > {"Rotate", "ShearX", "TranslateY"}


def test_blotted_is_the_mean_after_normalisation():
    feed = batches(n=40, cutout=8)
    x, _ = whole(feed, 1)
    _, _, top, left, _ = feed.distortions(1)
    for image, t, le in zip(x, top, left, strict=True):
        assert (image[:, max(t, 0) : t + 8, max(le, 0) : le + 8] == 0).all() and (image == 0).sum() <= 3 * 64


@pytest.mark.parametrize("settings", [{}, {"trivial_augment": True}, {"cutout": 8}, {"mixup": 0.2}, STRONG])
def test_batches_are_laid_out_as_the_network(settings):
    feed = batches(n=10, **settings)
    for x, _ in feed.epoch(1):
        assert x.is_contiguous(memory_format=torch.channels_last)


def mirrored(number: int, **settings) -> np.ndarray:
    """Whether each image, in the split's order, is mirrored in epoch `number`."""
    order, *_, mirrored = batches(n=1000, **settings).plan(number)
    return mirrored[np.argsort(order)].astype(bool)


def test_alternating_flip_shows_each_side_every_second_epoch_and_half_the_images_first():
    first, second, third = (mirrored(number, alternating_flip=True) for number in (1, 2, 3))
    assert (first == ~second).all() and (first == third).all() and 0.45 < first.mean() < 0.55
    assert (mirrored(1) != mirrored(3)).any()
    assert (mirrored(1, alternating_flip=True, seed=1) != first).any()
    assert not mirrored(1, alternating_flip=True, dataset="digits").any()


def test_alternating_flip_leaves_order_and_crops():
    for one, other in zip(batches().plan(2)[:3], batches(alternating_flip=True).plan(2)[:3], strict=True):
        np.testing.assert_array_equal(one, other)


def test_smaller_images_are_those_of_full_size_resized_and_come_first():
    config = Config(max_epochs=10, progressive_resizing=0.4, progressive_size=20)
    assert [side_of(config, epoch) for epoch in range(1, 11)] == [20] * 4 + [32] * 6
    assert side_of(Config(), 1) == 32
    feed = batches(cutout=8)
    full = whole(feed, 1)[0]
    feed.side = 20
    small = whole(feed, 1)[0]
    assert small.shape == (N, 3, 20, 20) and small.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(small, T.resize(full, [20, 20], antialias=True))
    assert next(feed.sample(1, 8)).shape[2:] == (32, 32)
