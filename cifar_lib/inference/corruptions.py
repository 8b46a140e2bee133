"""Where the images differ: accuracy on the test set as it is, mirrored too, and under six corruptions of CIFAR-10-C.

Definitions, severities and names are those of CIFAR-10-C (Hendrycks, Dietterich 2019, arXiv 1903.12261;
ImageNet-C/create_c/make_cifar_c.py of hendrycks/robustness), on the same test images, so that the accuracy under each
compares with published ones. The noise's draw is ours, the same for every network, and another JPEG library may round
otherwise. These are 6 of its 19, gaussian_blur one of its four extra ones: their mean is not CIFAR-10-C's.
"""

import io
from collections.abc import Callable

import numpy as np
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from PIL import Image
from scipy import stats
from scipy.ndimage import gaussian_filter

from cifar_lib import runs
from cifar_lib.config import IMAGE_SIZE
from cifar_lib.data import Dataset, Images, Split
from cifar_lib.evidence import metrics
from cifar_lib.inference.classifier import Classifier, load

CHUNK = 1000  # images corrupted at once
SEED = 0  # of the noise, with the severity


def measure(run: runs.Run, dataset: Dataset) -> None:
    """Write the accuracy of the published weights of `run` on all test images as its shifts.csv.

    Rows of severity 0: `none`, the images as they are, and `mirrored`, the mean of the logits of each image and its
    mirror image. Then one row per corruption and severity, 1 to 5. Of severity "mean": each corruption's mean over its
    severities; `corrupted`, the mean of these; and `lost`, what `none` is above it. low and high: a 95% interval over
    the images, for this one network, Wilson's of an accuracy; of a mean, where an image counts several times, normal
    with the standard error of the images' own means. Raises `RunError` for a run that has not ended.
    """
    _check_end(run)
    right = _right(load(run), dataset.test)
    rows = [(*which, len(values), *_share(values)) for which, values in right.items()]
    rows += [(name, "mean", len(values), *_mean(values)) for name, values in _means(right).items()]
    run.record_table("shifts.csv", rows)


def mirror(run: runs.Run, dataset: Dataset) -> None:
    """Write the accuracy of the published weights of `run` on all test images, the logits of each and of its mirror
    image averaged, as its mirrored.json. Raises `RunError` for a run that has not ended."""
    _check_end(run)
    right = _views(load(run), dataset.test)["mirrored", 0].argmax(1) == dataset.test.labels
    run.record("mirrored.json", {"accuracy": float(right.mean()), "images": len(right)})


def corrupted(images: np.ndarray, name: str, severity: int) -> np.ndarray:
    """Images (N, 32, 32, 3) uint8 to the same, under the corruption of that name and severity, 1 to 5."""
    act, settings = CORRUPTIONS[name]
    generator = np.random.default_rng([SEED, severity])
    chunks = (images[at : at + CHUNK] for at in range(0, len(images), CHUNK))
    return np.concatenate([act(chunk, settings[severity - 1], generator) for chunk in chunks])


def _right(classifier: Classifier, test: Split) -> dict[tuple[str, int], np.ndarray]:
    """(N,) bool, whether the network has each image right, by name and severity."""
    found = _views(classifier, test)
    for name, (_, settings) in CORRUPTIONS.items():
        for severity in range(1, len(settings) + 1):
            found[name, severity] = classifier.logits(Images(corrupted(test.images, name, severity), test.labels))
    return {which: logits.argmax(1) == test.labels for which, logits in found.items()}


def _views(classifier: Classifier, test: Split) -> dict[tuple[str, int], np.ndarray]:
    """Logits (N, 10) of the test images, and added to them those of their mirror images."""
    clean, other = (classifier.logits(Images(x, test.labels)) for x in (test.images, test.images[:, :, ::-1].copy()))
    return {("none", 0): clean, ("mirrored", 0): clean + other}


def _check_end(run: runs.Run) -> None:
    if not run.complete:
        raise runs.RunError(f"run {run.name}: its training has not ended; go on with it, then measure")


def _means(right: dict[tuple[str, int], np.ndarray]) -> dict[str, np.ndarray]:
    """(N,) of each image, by name: the share of severities at which it is right, and what becomes of these."""
    means = {name: np.mean([values for which, values in right.items() if which[0] == name], 0) for name in CORRUPTIONS}
    every = np.mean(list(means.values()), 0)
    return means | {"corrupted": every, "lost": right["none", 0] - every}


def _share(right: np.ndarray) -> tuple[float, float, float]:
    """The share of (N,) bool that is True, low and high end (Wilson)."""
    low, high = metrics.wilson(right.sum(), len(right))
    return float(right.mean()), float(low), float(high)


def _mean(values: np.ndarray) -> tuple[float, float, float]:
    """The mean of (N,), low and high end (normal)."""
    mean, half = float(values.mean()), float(stats.norm.ppf(0.975) * stats.sem(values))
    return mean, mean - half, mean + half


def _bytes(x: np.ndarray) -> np.ndarray:
    """Pixels, 1.0 white, as uint8: cut off and not rounded, as CIFAR-10-C's are."""
    return (x.clip(0, 1) * 255).astype(np.uint8)


def _noise(images: np.ndarray, deviation: float, generator: np.random.Generator) -> np.ndarray:
    return _bytes(images / 255 + generator.normal(scale=deviation, size=images.shape))


def _blur(images: np.ndarray, sigma: float, _: np.random.Generator) -> np.ndarray:
    return _bytes(gaussian_filter(images / 255, (0, sigma, sigma, 0), mode="nearest", truncate=4))


def _brightness(images: np.ndarray, more: float, _: np.random.Generator) -> np.ndarray:
    hsv = rgb_to_hsv(images / 255)
    hsv[..., 2] = (hsv[..., 2] + more).clip(0, 1)
    return _bytes(hsv_to_rgb(hsv))


def _contrast(images: np.ndarray, factor: float, _: np.random.Generator) -> np.ndarray:
    x = images / 255
    mean = x.mean((1, 2), keepdims=True)
    return _bytes((x - mean) * factor + mean)


def _pixelate(images: np.ndarray, share: float, _: np.random.Generator) -> np.ndarray:
    few, box = int(IMAGE_SIZE * share), Image.Resampling.BOX
    small = [Image.fromarray(image).resize((few, few), box) for image in images]
    return np.stack([image.resize((IMAGE_SIZE, IMAGE_SIZE), box) for image in small])


def _jpeg(images: np.ndarray, quality: int, _: np.random.Generator) -> np.ndarray:
    buffers = [io.BytesIO() for _ in images]
    for image, buffer in zip(images, buffers, strict=True):
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.stack([np.asarray(Image.open(buffer)) for buffer in buffers])


Corruption = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]  # (n, 32, 32, 3) uint8 to the same
CORRUPTIONS: dict[str, tuple[Corruption, tuple]] = {
    "gaussian_noise": (_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),  # standard deviation, white being 1
    "gaussian_blur": (_blur, (0.4, 0.6, 0.7, 0.8, 1)),  # standard deviation in pixels
    "brightness": (_brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),  # added to HSV's value
    "contrast": (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),  # of what was, about each channel's mean
    "pixelate": (_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),  # of the pixels per side
    "jpeg_compression": (_jpeg, (80, 65, 58, 50, 40)),  # quality
}
