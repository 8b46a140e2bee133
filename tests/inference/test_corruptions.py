"""Corruptions: CIFAR-10-C's by definition, the same for every network, and the file that a measurement leaves."""

import colorsys
import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from test_train_loop import TINY

from cifar_lib import data, evidence, runs
from cifar_lib.config import Config
from cifar_lib.data import Images, Split
from cifar_lib.evidence import SHIFTS
from cifar_lib.inference import classifier, corruptions
from cifar_lib.inference.corruptions import CORRUPTIONS, corrupted
from cifar_lib.training import train_loop

COUNTER = itertools.count()
SEVERITIES = {  # as in make_cifar_c.py of hendrycks/robustness
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
    "jpeg_compression": (80, 65, 58, 50, 40),
}
each_severity = pytest.mark.parametrize("severity", range(1, 6))


def soft(n: int = 6) -> np.ndarray:
    """Soft blobs of colour, (n, 32, 32, 3) uint8."""
    noise = torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(noise, 32, mode="bicubic").clamp(0, 1)
    return (255 * images).to(torch.uint8).permute(0, 2, 3, 1).numpy()


@pytest.fixture(params=["soft", "random", "plain"])
def images(request) -> np.ndarray:
    """Soft blobs; every value at random; one grey each, black and white among them. (6, 32, 32, 3) uint8."""
    random = np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    plain = np.ones_like(random) * np.array([0, 1, 90, 127, 204, 255], np.uint8)[:, None, None, None]
    return {"soft": soft(), "random": random, "plain": plain}[request.param]


def hold(changed: np.ndarray, exact: np.ndarray) -> None:
    """That bytes are `exact`, of which 1 is white, clipped and cut off; within what floats lose."""
    levels = 255 * exact.clip(0, 1)
    assert changed.dtype == np.uint8 and changed.shape == exact.shape
    assert (np.floor(levels - 1e-9) <= changed).all() and (changed <= np.floor(levels + 1e-9)).all()


def test_names_and_severities_are_cifar_10_cs():
    assert tuple(CORRUPTIONS) == SHIFTS
    assert {name: settings for name, (_, settings) in CORRUPTIONS.items()} == SEVERITIES


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_severity_moves_the_image_further(name):
    """But for pixelate, whose pixels of 24 and 20 a side fall on these blobs no worse than those of 27."""
    images = soft()
    kept = images.copy()
    far = []
    for severity in range(1, 6):
        changed = corrupted(images, name, severity)
        assert changed.shape == images.shape and changed.dtype == np.uint8
        assert np.array_equal(changed, corrupted(images, name, severity))
        far.append(np.abs(changed.astype(int) - images).mean())
    assert 0 < far[0] == min(far) and (far == sorted(far) or name == "pixelate") and np.array_equal(images, kept)


@each_severity
def test_noise_is_normal_with_its_deviation(severity):
    """Of grey, where nothing is clipped: each level is (z, z + 1], so half a level is missing from the mean."""
    deviation = SEVERITIES["gaussian_noise"][severity - 1]
    levels = corrupted(np.full((50, 32, 32, 3), 128, np.uint8), "gaussian_noise", severity).astype(float)
    z = (levels + 0.5 - 128) / 255 / deviation
    assert z.std() == pytest.approx(1, abs=0.01) and abs(z.mean()) < 0.01
    assert abs(stats.skew(z.ravel())) < 0.03 and abs(stats.kurtosis(z.ravel())) < 0.06
    others = [z[1:], np.roll(z, 1, 2)[1:], np.roll(z, 1, 3)[1:]]  # the next image, pixel, channel
    assert max(abs(np.corrcoef(z[:-1].ravel(), other.ravel())[0, 1]) for other in others) < 0.02


def test_noise_is_clipped():
    black, white = (np.full((20, 32, 32, 3), level, np.uint8) for level in (0, 255))
    assert (corrupted(black, "gaussian_noise", 5) == 0).mean() == pytest.approx(0.5, abs=0.03)
    assert (corrupted(white, "gaussian_noise", 5) == 255).mean() == pytest.approx(0.5, abs=0.03)


def test_noise_is_drawn_anew_for_each_severity_and_the_same_for_fewer_images():
    grey = np.full((20, 32, 32, 3), 128, np.uint8)
    one, other = (corrupted(grey, "gaussian_noise", severity) for severity in (4, 5))
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02
    assert np.array_equal(corrupted(grey[:7], "gaussian_noise", 4), one[:7])


@each_severity
def test_blur_is_a_gaussian_of_four_deviations_with_the_edge_repeated(images, severity):
    sigma = SEVERITIES["gaussian_blur"][severity - 1]
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    x = np.pad(images / 255, [(0, 0), (reach, reach), (reach, reach), (0, 0)], mode="edge")
    for axis in (1, 2):
        x = np.apply_along_axis(np.convolve, axis, x, kernel / kernel.sum(), mode="valid")
    hold(corrupted(images, "gaussian_blur", severity), x)


def test_blur_of_a_point_is_the_normal_density():
    point = np.zeros((1, 32, 32, 3), np.uint8)
    point[0, 16, 16, 1] = 255
    found = corrupted(point, "gaussian_blur", 5)[0]
    assert found[16, 16].tolist() == [0, int(255 / (2 * np.pi)), 0] and found[16, 17, 1] == found[15, 16, 1] == 24


@each_severity
def test_brightness_raises_the_value_alone(images, severity):
    more = SEVERITIES["brightness"][severity - 1]

    def brighter(pixel: np.ndarray) -> tuple:
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        return colorsys.hsv_to_rgb(hue, saturation, min(value + more, 1))

    hold(corrupted(images, "brightness", severity), np.apply_along_axis(brighter, 3, images / 255))


@each_severity
def test_contrast_draws_every_channel_to_its_mean(images, severity):
    factor = SEVERITIES["contrast"][severity - 1]
    mean = images.mean((1, 2), keepdims=True) / 255
    hold(corrupted(images, "contrast", severity), factor * images / 255 + (1 - factor) * mean)


@pytest.mark.parametrize(("severity", "side"), list(enumerate((30, 28, 27, 24, 20), 1)))
def test_pixelate_is_pillows_box_there_and_back(images, severity, side):
    for image, ours in zip(images, corrupted(images, "pixelate", severity), strict=True):
        small = Image.fromarray(image).resize((side, side), Image.Resampling.BOX)
        assert np.array_equal(np.asarray(small.resize((32, 32), Image.Resampling.BOX)), ours)


def test_pixelate_leaves_twenty_pixels_a_side_at_most():
    for changed in corrupted(soft(), "pixelate", 5):
        assert {len(np.unique(changed.swapaxes(0, axis).reshape(32, -1), axis=0)) for axis in (0, 1)} == {20}


@each_severity
def test_jpeg_is_pillows(images, severity):
    for image, ours in zip(images, corrupted(images, "jpeg_compression", severity), strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=SEVERITIES["jpeg_compression"][severity - 1])
        assert np.array_equal(np.asarray(Image.open(buffer)), ours)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_chunks_cannot_be_told(monkeypatch, name):
    whole = corrupted(soft(10), name, 3)
    monkeypatch.setattr(corruptions, "CHUNK", 4)
    assert np.array_equal(corrupted(soft(10), name, 3), whole)


@pytest.fixture(scope="module")
def measured() -> tuple[runs.Run, data.Dataset]:
    config = Config(**(TINY | {"max_epochs": 2, "dataset": "digits"}))
    every = data.load(config)
    first = lambda split, n: Split(split.images[:n], split.labels[:n])  # noqa: E731
    dataset = data.Dataset("digits", first(every.train, 200), first(every.valid, 20), first(every.test, 90))
    training = train_loop.prepare(config, dataset, runs.start(f"shifts-{next(COUNTER)}", config))
    list(train_loop.fit(training))
    run = train_loop.finish(training)
    corruptions.measure(run, dataset)
    return run, dataset


def test_rows_are_what_the_weights_say(measured):
    run, dataset = measured
    table = run.shifts.set_index(["corruption", "severity"])
    assert len(table) == 2 + 6 * 5 + 6 + 2 and (table.images == 90).all()
    assert table.accuracy["none", "0"] == run.predictions.accuracy
    assert table.accuracy["contrast", "5"] == right(measured, "contrast", 5).mean()


def right(measured, name: str, severity: int) -> np.ndarray:
    run, dataset = measured
    images = Images(corrupted(dataset.test.images, name, severity), dataset.test.labels)
    return classifier.load(run).labels(images) == dataset.test.labels


def test_a_share_has_wilsons_interval(measured):
    """(p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n), Wilson 1927."""
    z, n = stats.norm.ppf(0.975), 90
    shares = measured[0].shifts.query("severity != 'mean'")
    p = shares.accuracy
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert np.allclose(shares.low, (p + z**2 / (2 * n) - half) / (1 + z**2 / n))
    assert np.allclose(shares.high, (p + z**2 / (2 * n) + half) / (1 + z**2 / n))


def test_a_mean_has_its_images_own_interval(measured):
    """An image is one draw, however often it is looked at: five severities do not make five images of it."""
    run, dataset = measured
    means = {name: np.mean([right(measured, name, level) for level in range(1, 6)], 0) for name in SHIFTS}
    means["corrupted"] = np.mean(list(means.values()), 0)
    means["lost"] = (run.predictions.predicted[:90] == dataset.test.labels) - means["corrupted"]
    found = run.shifts.query("severity == 'mean'").set_index("corruption")
    assert list(found.index) == list(means)
    for name, values in means.items():
        half = stats.norm.ppf(0.975) * np.std(values, ddof=1) / np.sqrt(90)
        expected = (values.mean(), values.mean() - half, values.mean() + half)
        assert found.loc[name, ["accuracy", "low", "high"]].tolist() == pytest.approx(expected), name


def test_what_is_shown_of_a_run(measured):
    found, table = evidence.shifted(measured[0].shifts), measured[0].shifts
    assert list(found.index) == ["none", "mirrored", *SHIFTS, "corrupted", "lost"]
    assert found.accuracy["pixelate"] == pytest.approx(100 * table[table.corruption == "pixelate"].accuracy[:-1].mean())
    assert found.accuracy["lost"] == pytest.approx(found.accuracy["none"] - found.accuracy["corrupted"])


def test_mirrored_is_the_mean_of_both(measured):
    run, dataset = measured
    network, test = classifier.load(run), dataset.test
    pairs = [network.logits(Images(images, test.labels)) for images in (test.images, test.images[:, :, ::-1].copy())]
    expected = (sum(pairs).argmax(1) == test.labels).mean()
    assert run.shifts.set_index("corruption").accuracy["mirrored"] == expected
    corruptions.mirror(run, dataset)
    assert run.mirrored == {"accuracy": expected, "images": len(test)}


def test_test_images_of_an_unfinished_run_are_not_read(measured):
    run = runs.start(f"shifts-{next(COUNTER)}", measured[0].config)
    (run.folder / "model.safetensors").write_bytes((measured[0].folder / "model.safetensors").read_bytes())
    with pytest.raises(runs.RunError, match=f"^run {run.name}: its training has not ended; go on with it"):
        corruptions.measure(run, measured[1])
    assert not run.has("shifts.csv")


def test_a_run_that_was_not_measured_says_how(tmp_path):
    with pytest.raises(runs.RunError, match="shifts.csv is missing: measure it with: python -m cifar_lib shifts "):
        _ = runs.Run(tmp_path).shifts


def test_a_file_of_other_columns_is_refused(measured):
    run = runs.Run(measured[0].folder.parent / "older")
    run.folder.mkdir()
    (run.folder / "shifts.csv").write_text("corruption,strength,images,accuracy\nnone,0,2000,0.9\n")
    message = (
        r"columns corruption, strength, images, accuracy, expected .*measure it with: python -m cifar_lib shifts older"
    )
    with pytest.raises(runs.DamagedRun, match=message):
        _ = run.shifts
