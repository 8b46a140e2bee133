"""Where the images differ: accuracy on the test set as it is, mirrored too, and under six common corruptions.

The kinds and, but for pixelate, the strengths follow CIFAR-10-C (Hendrycks, Dietterich 2019, arXiv 1903.12261); the
code is ours and their files are not read, so the numbers compare runs with each other and not with CIFAR-10-C.
"""

import io
from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import interpolate

from cifar_lib import runs
from cifar_lib.classifier import Classifier, load
from cifar_lib.config import IMAGE_SIZE
from cifar_lib.data import DataError, Dataset

CHUNK = 1000  # images corrupted at once
SEED = 0  # of the noise, which is the same for every network


def measure(run: runs.Run, dataset: Dataset, images: int | None = None) -> None:
    """Write what the published weights of `run` reach as its shifts.csv: a row a corruption and strength.

    Two more rows, of strength 0: `none`, the test images as they are, and `mirrored`, the mean of the logits of each
    image and its mirror image. `images`: the first so many of the test set, whose classes come at random; None: all.
    Raises `RunError` for a run that has not ended, whose test images are not to be looked at yet, and `DataError` for
    no images.
    """
    if not run.complete:
        raise runs.RunError(f"run {run.name}: its training has not ended; go on with it, then measure")
    if images is not None and images < 1:
        raise DataError(f"images: got {images}, expected 1 or more")
    classifier, test = load(run), dataset.test[:images]
    clean = _logits(classifier, test.images)
    mirrored = clean + _logits(classifier, test.images[:, :, ::-1])
    found = [("none", 0, clean), ("mirrored", 0, mirrored)]
    for name, (_, strengths) in CORRUPTIONS.items():
        for level in range(1, len(strengths) + 1):
            found.append((name, level, _logits(classifier, corrupted(test.images, name, level, classifier.device))))
    rows = [(name, level, len(test), _accuracy(logits, test.labels)) for name, level, logits in found]
    run.record_shifts(rows)


def corrupted(images: np.ndarray, name: str, strength: int, device: torch.device | str = "cpu") -> np.ndarray:
    """Images (N, 32, 32, 3) uint8 to the same, under the corruption of that name and strength, 1 to 5."""
    act, strengths = CORRUPTIONS[name]
    made, generator = [], torch.Generator().manual_seed(SEED)  # the CPU's, so that a GPU adds the same noise
    for at in range(0, len(images), CHUNK):
        x = torch.from_numpy(np.ascontiguousarray(images[at : at + CHUNK])).to(device).permute(0, 3, 1, 2)
        y = act(x.float() / 255, strengths[strength - 1], generator)
        made.append((y.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(made)


def _logits(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    return classifier.logits([(image, 0) for image in np.ascontiguousarray(images)])


def _accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logits.argmax(1) == labels).mean())


def _noise(x: torch.Tensor, deviation: float, generator: torch.Generator) -> torch.Tensor:
    return x + deviation * torch.randn(x.shape, generator=generator).to(x.device)


def _blur(x: torch.Tensor, sigma: float, _: torch.Generator) -> torch.Tensor:
    from torchvision.transforms.functional import gaussian_blur

    return gaussian_blur(x, 7, sigma)


def _brightness(x: torch.Tensor, more: float, _: torch.Generator) -> torch.Tensor:
    """HSV's value raised, hue and saturation kept."""
    value = x.amax(1, keepdim=True)
    brighter = (value + more).clamp(max=1)
    return torch.where(value > 0, x * brighter / value.clamp(min=1e-6), brighter)


def _contrast(x: torch.Tensor, factor: float, _: torch.Generator) -> torch.Tensor:
    return x.mean((2, 3), keepdim=True).lerp(x, factor)


def _pixelate(x: torch.Tensor, side: int, _: torch.Generator) -> torch.Tensor:
    few = interpolate(x, side, mode="bilinear", antialias=True)
    return interpolate(few, IMAGE_SIZE, mode="nearest-exact")


def _jpeg(x: torch.Tensor, quality: int, _: torch.Generator) -> torch.Tensor:
    """There and back in Pillow, image by image on the CPU."""
    images = (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    back = np.stack([_there_and_back(image, quality) for image in images])
    return torch.from_numpy(back).to(x.device).permute(0, 3, 1, 2) / 255


def _there_and_back(image: np.ndarray, quality: int) -> np.ndarray:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


Corruption = Callable[[torch.Tensor, float, torch.Generator], torch.Tensor]  # of (N, 3, 32, 32) in [0, 1]
CORRUPTIONS: dict[str, tuple[Corruption, tuple]] = {
    "noise": (_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),  # standard deviation
    "blur": (_blur, (0.4, 0.6, 0.7, 0.8, 1.0)),  # pixels
    "brightness": (_brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "pixelate": (_pixelate, (28, 24, 20, 16, 12)),  # pixels a side left
    "jpeg": (_jpeg, (80, 65, 58, 50, 40)),  # quality
}
