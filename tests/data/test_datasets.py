"""The data sets: splits that share nothing and come from the seed, facts that hold, and a clear line without data."""

import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from cifar_lib import paths
from cifar_lib.config import STATISTICS, Config
from cifar_lib.data import DataError, Images, Split, cifar10_root, load


def images_of(split: Split) -> list[bytes]:
    return [image.tobytes() for image in split.images]


def same(a: Split, b: Split) -> bool:
    return np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)


def facts_of(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std per channel of pixels in [0, 1], exactly, from how often each of the 256 values occurs."""
    counts = np.stack([np.bincount(images[..., channel].ravel(), minlength=256) for channel in range(3)])
    values, total = np.arange(256) / 255, counts.sum(axis=1)
    mean = counts @ values / total
    return mean, np.sqrt(counts @ values**2 / total - mean**2)


def counted(split: Split) -> list[int]:
    return np.bincount(split.labels, minlength=10).tolist()


# ---------------------------------------------------------------------------------------------------------- digits


def test_digits_sizes(digits):
    assert (len(digits.train), len(digits.valid), len(digits.test)) == (1437 - 180, 180, 360)


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_digits_are_32x32_rgb_bytes_with_labels(digits, name):
    split = getattr(digits, name)
    assert split.images.shape == (len(split), 32, 32, 3) and split.images.dtype == np.uint8
    assert split.labels.shape == (len(split),) and split.labels.dtype == np.int64
    assert (split.images == split.images[..., :1]).all()  # grey
    assert split.images.min() == 0 and split.images.max() == 255


def test_digits_share_no_image_and_lose_none(digits):
    every = [image for split in (digits.train, digits.valid, digits.test) for image in images_of(split)]
    assert len(every) == len(set(every)) == 1797
    assert np.array_equal(
        sum(np.array(counted(split)) for split in (digits.train, digits.valid, digits.test)),
        np.bincount(load_digits().target),
    )


def test_digits_keep_the_label_of_their_picture(digits):
    """Each 4x4 mean of an enlarged digit is near the 8x8 original, whose label it has."""
    source = load_digits()
    small = digits.test.images[..., 0].reshape(-1, 8, 4, 8, 4).mean((2, 4)) / 255
    nearest = ((small[:, None] - source.images[None] / 16) ** 2).sum((2, 3)).argmin(1)
    assert np.array_equal(source.target[nearest], digits.test.labels)
    assert len(set(nearest)) == len(digits.test)


@pytest.mark.parametrize("size", [10, 180, 700])
def test_digits_validation_is_stratified(size):
    data = load(Config(dataset="digits", valid_size=size))
    whole = np.array(counted(data.train)) + counted(data.valid)
    assert np.abs(counted(data.valid) - whole * size / 1437).max() <= 1
    assert len(data.valid) == size


def test_digits_split_comes_from_the_seed_and_the_test_set_does_not(digits):
    again, other = load(Config(dataset="digits")), load(Config(dataset="digits", seed=1))
    assert all(same(getattr(digits, name), getattr(again, name)) for name in ("train", "valid", "test"))
    assert same(digits.test, other.test)
    assert set(images_of(digits.valid)) != set(images_of(other.valid))


def test_valid_size_0_trains_on_everything(digits):
    data = load(Config(dataset="digits", valid_size=0))
    assert (len(data.train), len(data.valid), len(data.test)) == (1437, 0, 360)
    assert data.valid.images.shape == (0, 32, 32, 3)
    assert sorted(images_of(data.train)) == sorted(images_of(digits.train) + images_of(digits.valid))
    assert same(data.test, digits.test)


def test_digits_facts_are_those_of_the_training_images():
    images = load(Config(dataset="digits", valid_size=0)).train.images
    assert STATISTICS["digits"].mean == tuple((images.mean((0, 1, 2)) / 255).round(4))
    assert STATISTICS["digits"].std == tuple((images.std((0, 1, 2)) / 255).round(4))
    assert np.allclose(facts_of(images), (images.mean((0, 1, 2)) / 255, images.std((0, 1, 2)) / 255), atol=1e-12)
    assert not STATISTICS["digits"].flip


# --------------------------------------------------------------------------------------------------------- CIFAR-10


def test_cifar10_sizes(cifar10):
    assert (len(cifar10.train), len(cifar10.valid), len(cifar10.test)) == (45_000, 5000, 10_000)
    assert cifar10.name == "cifar10"
    for split in (cifar10.train, cifar10.valid, cifar10.test):
        assert split.images.shape == (len(split), 32, 32, 3) and split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64


def test_cifar10_is_500_a_class_to_validate(cifar10):
    assert counted(cifar10.valid) == [500] * 10
    assert counted(cifar10.train) == [4500] * 10
    assert counted(cifar10.test) == [1000] * 10


def test_cifar10_splits_are_disjoint(cifar10):
    every = [image for split in (cifar10.train, cifar10.valid, cifar10.test) for image in images_of(split)]
    assert len(every) == len(set(every)) == 60_000


def test_cifar10_facts_are_those_of_all_50_000(cifar10):
    images = np.concatenate([cifar10.train.images, cifar10.valid.images])
    assert len(images) == 50_000
    mean, std = facts_of(images)
    assert STATISTICS["cifar10"].mean == tuple(mean.round(4))
    assert STATISTICS["cifar10"].std == tuple(std.round(4))
    assert STATISTICS["cifar10"].flip


def test_cifar10_split_comes_from_the_seed(cifar10):
    again, other = load(Config()), load(Config(seed=1))
    assert all(same(getattr(cifar10, name), getattr(again, name)) for name in ("train", "valid", "test"))
    assert same(cifar10.test, other.test)
    assert not set(images_of(other.valid)) <= set(images_of(cifar10.valid))
    assert counted(other.valid) == [500] * 10


# ---------------------------------------------------------------------------------------------------------- no data


def refusal() -> str:
    with pytest.raises(DataError) as caught:
        load(Config())
    message = str(caught.value)
    assert "\n" not in message
    assert "CIFAR10_ROOT" in message and "download" in message and "-p dataset digits" in message  # the three ways out
    return message


OFFICIAL = "cifar-10-batches-py"


@pytest.mark.parametrize(
    ("lies", "named"), [(OFFICIAL, "."), (OFFICIAL, OFFICIAL), (f"{OFFICIAL}/{OFFICIAL}", "."), (f"{OFFICIAL}s", ".")]
)
def test_a_root_one_level_off_is_taken(tmp_path, monkeypatch, lies, named):
    """The folder itself was named, or an archive was unpacked into a folder of its own name."""
    (tmp_path / lies).mkdir(parents=True)
    (tmp_path / lies / "data_batch_1").touch()
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path / named))
    assert cifar10_root() == (tmp_path / lies).parent


def test_files_without_their_folder_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path))
    (tmp_path / "data_batch_1").touch()
    with pytest.raises(
        DataError, match=f"its files lie in {tmp_path} itself: move them into a folder cifar-10-batches"
    ):
        load(Config())


def test_an_empty_root_is_refused_fast(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", None)  # a root that was named is never filled by a download
    start = time.monotonic()
    assert str(tmp_path / "cifar-10-batches-py") in refusal()
    assert time.monotonic() - start < 5
    assert not list(tmp_path.iterdir())


def test_no_network_is_refused_fast(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("no route")

    monkeypatch.delenv("CIFAR10_ROOT", raising=False)
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    message = refusal()
    assert str(tmp_path / "data" / "cifar-10-batches-py") in message and "no route" in message


@pytest.mark.parametrize("content", [None, b"", b"<html>not found</html>"])
def test_other_files_are_refused(content, tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    if content is not None:
        for name in ("data_batch_1", "batches.meta", "test_batch"):
            (folder / name).write_bytes(content)
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path))
    assert refusal().startswith(f"{folder}: ")


# -------------------------------------------------------------------------------------------------------- small things


def test_split_hash_tells_images_labels_and_order_apart(digits):
    split = digits.valid
    turned = Split(split.images[::-1], split.labels[::-1])
    relabelled = Split(split.images, (split.labels + 1) % 10)
    assert len({s.sha256 for s in (split, turned, relabelled, split[:10])}) == 4
    assert split[np.arange(len(split))].sha256 == split.sha256


@pytest.mark.parametrize("targets", [list(range(12)), [f"id {i}" for i in range(12)], np.arange(12)])
def test_images_serves_each_with_its_target(digits, targets):
    images = Images(digits.test.images[:12], targets)
    assert len(images) == 12
    for i in range(12):
        image, target = images[i]
        assert image.dtype == torch.uint8 and image.shape == (32, 32, 3)
        assert np.array_equal(image.numpy(), digits.test.images[i]) and target == targets[i]


def test_images_applies_its_transform(digits):
    images = Images(digits.test.images[:2], [0, 1], transform=lambda image: image.sum())
    assert images[1] == (digits.test.images[1].sum(), 1)


@pytest.mark.parametrize("targets", [range(4), range(6), []])
def test_images_want_a_target_each(digits, targets):
    with pytest.raises(DataError) as caught:
        Images(digits.test.images[:5], targets)
    assert "5 images" in str(caught.value) and f"{len(targets)} targets" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("train_size", [30, 500])
def test_part_of_the_training_images(train_size):
    """The same for every seed, with as many of each class as in the whole, and none of them in validation."""
    sets = [load(Config(dataset="digits", train_size=train_size, seed=seed)) for seed in (0, 1)]
    everything = load(Config(dataset="digits"))
    assert sets[0].train.sha256 == sets[1].train.sha256 and sets[0].valid.sha256 != sets[1].valid.sha256
    for one in sets:
        assert (len(one.train), len(one.valid)) == (train_size, 180) and one.test.sha256 == everything.test.sha256
        seen = {image.tobytes() for image in one.train.images}
        assert len(seen) == train_size and not seen & {image.tobytes() for image in one.valid.images}
        counts = np.bincount(one.train.labels, minlength=10)
        assert counts.max() - counts.min() <= 1 + train_size // 100
