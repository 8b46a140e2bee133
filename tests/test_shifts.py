"""Corruptions: what each does to a pixel, the same for every network, and the file that a measurement leaves."""

import io
import itertools

import numpy as np
import pytest
import torch
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from PIL import Image
from test_train import TINY

from cifar_lib import classifier, data, runs, shifts, train
from cifar_lib.config import Config
from cifar_lib.data import Images, Split
from cifar_lib.evidence import SHIFTS
from cifar_lib.shifts import CORRUPTIONS, corrupted

COUNTER = itertools.count()


def soft(n: int = 6) -> np.ndarray:
    """Soft blobs of colour, (n, 32, 32, 3) uint8."""
    noise = torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(noise, 32, mode="bicubic").clamp(0, 1)
    return (255 * images).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def test_names_are_those_that_the_tables_have():
    assert tuple(CORRUPTIONS) == SHIFTS and {len(strengths) for _, strengths in CORRUPTIONS.values()} == {5}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_strength_moves_the_image_further(name):
    images = soft()
    kept = images.copy()
    far = []
    for strength in range(1, 6):
        changed = corrupted(images, name, strength)
        assert changed.shape == images.shape and changed.dtype == np.uint8
        assert np.array_equal(changed, corrupted(images, name, strength))
        far.append(np.abs(changed.astype(int) - images).mean())
    assert far[0] > 0 and far == sorted(far) and np.array_equal(images, kept)


def test_noise_has_its_deviation():
    grey = np.full((50, 32, 32, 3), 128, np.uint8)
    found = corrupted(grey, "noise", 5).astype(float) / 255 - 128 / 255
    assert found.std() == pytest.approx(0.10, rel=0.01) and abs(found.mean()) < 0.001


def test_brightness_raises_the_value_alone():
    images = soft()
    hsv = rgb_to_hsv(images / 255)
    hsv[..., 2] = np.minimum(hsv[..., 2] + 0.2, 1)
    assert np.abs(corrupted(images, "brightness", 4) - 255 * hsv_to_rgb(hsv)).max() <= 0.51
    assert (corrupted(np.zeros((1, 32, 32, 3), np.uint8), "brightness", 5) == round(0.3 * 255)).all()


def test_contrast_draws_every_channel_to_its_mean():
    images = soft()
    mean = images.mean((1, 2), keepdims=True)
    assert np.abs(corrupted(images, "contrast", 2) - (mean + 0.5 * (images - mean))).max() <= 0.51


def test_pixelated_has_fewer_pixels_of_the_same_mean():
    images = soft()
    changed = corrupted(images, "pixelate", 5)
    assert {len(np.unique(image.reshape(32, -1), axis=0)) for image in changed} == {12}
    assert np.abs(changed.mean((1, 2)) - images.mean((1, 2))).max() < 2


def test_jpeg_is_pillows():
    images = soft()
    for image, ours in zip(images, corrupted(images, "jpeg", 5), strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=40)
        assert np.array_equal(np.asarray(Image.open(buffer)), ours) and not np.array_equal(image, ours)


def test_blur_keeps_a_plain_image_and_softens_a_point():
    plain = np.full((1, 32, 32, 3), 90, np.uint8)
    assert np.array_equal(corrupted(plain, "blur", 5), plain)
    plain[0, 16, 16] = 255
    point = corrupted(plain, "blur", 5)[0, :, :, 0]
    peak = 1 / (2 * np.pi)  # of a normal density of deviation 1, in two dimensions
    assert point[16, 16] - 90 == pytest.approx(165 * peak, rel=0.03) and point[16, 20] == 90


@pytest.fixture(scope="module")
def measured() -> tuple[runs.Run, data.Dataset]:
    config = Config(**(TINY | {"max_epochs": 2, "dataset": "digits"}))
    every = data.load(config)
    first = lambda split, n: Split(split.images[:n], split.labels[:n])  # noqa: E731
    dataset = data.Dataset("digits", first(every.train, 200), first(every.valid, 20), first(every.test, 90))
    training = train.prepare(config, dataset, runs.start(f"shifts-{next(COUNTER)}", config))
    list(train.fit(training))
    run = train.finish(training)
    shifts.measure(run, dataset)
    return run, dataset


def test_rows_are_what_the_weights_say(measured):
    run, dataset = measured
    table = run.shifts.set_index(["corruption", "strength"])
    assert len(table) == 2 + 6 * 5 and (table.images == 90).all()
    assert table.accuracy["none", 0] == run.predictions.accuracy
    network, test = classifier.load(run), dataset.test
    by_hand = network.labels(Images(corrupted(test.images, "contrast", 5), test.labels))
    assert table.accuracy["contrast", 5] == (by_hand == test.labels).mean()


def test_mirrored_is_the_mean_of_both(measured):
    run, dataset = measured
    network, test = classifier.load(run), dataset.test
    pairs = [network.logits(Images(images, test.labels)) for images in (test.images, test.images[:, :, ::-1].copy())]
    expected = (sum(pairs).argmax(1) == test.labels).mean()
    assert run.shifts.set_index("corruption").accuracy["mirrored"] == expected


def test_fewer_images_if_asked(measured):
    run, dataset = measured
    shifts.measure(run, dataset, images=30)
    assert (run.shifts.images == 30).all()
    assert run.shifts.accuracy[0] == (run.predictions.predicted[:30] == dataset.test.labels[:30]).mean()
    shifts.measure(run, dataset)


@pytest.mark.parametrize("images", [0, -5])
def test_no_images_are_refused(measured, images):
    with pytest.raises(data.DataError, match=f"^images: got {images}, expected 1 or more$"):
        shifts.measure(*measured, images=images)


def test_test_images_of_an_unfinished_run_are_not_read(measured):
    run = runs.start(f"shifts-{next(COUNTER)}", measured[0].config)
    (run.folder / "model.safetensors").write_bytes((measured[0].folder / "model.safetensors").read_bytes())
    with pytest.raises(runs.RunError, match=f"^run {run.name}: its training has not ended; go on with it"):
        shifts.measure(run, measured[1])
    assert not run.has("shifts.csv")


def test_a_run_that_was_not_measured_says_how(tmp_path):
    with pytest.raises(runs.RunError, match="shifts.csv is missing: measure it with: python -m cifar_lib shifts "):
        _ = runs.Run(tmp_path).shifts


def test_more_images_than_are_changed_at_once(monkeypatch):
    """Noise goes on from chunk to chunk; whatever needs no noise does not know of them."""
    images = soft(10)
    whole = corrupted(images, "jpeg", 3)
    monkeypatch.setattr(shifts, "CHUNK", 4)
    assert np.array_equal(corrupted(images, "jpeg", 3), whole)
    plain = np.full((8, 32, 32, 3), 128, np.uint8)
    noisy = corrupted(plain, "noise", 1)
    assert not np.array_equal(noisy[:4], noisy[4:])
