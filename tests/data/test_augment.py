"""TrivialAugment in one batch: what torchvision makes of each image with the same draw."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from cifar_lib.data import augment
from cifar_lib.data.augment import COLOUR, GEOMETRY, LEVELS, OPERATIONS

NEAREST = {"interpolation": InterpolationMode.NEAREST}


def pictures(n: int = 40) -> torch.Tensor:
    """Soft blobs, noise, a single colour, two colours: (n, 3, 32, 32) uint8."""
    random = torch.Generator().manual_seed(0)
    noise = torch.rand(n, 3, 32, 32, generator=random)
    soft = torch.nn.functional.interpolate(noise[..., :5, :5], 32, mode="bicubic").clamp(0, 1)
    images = (255 * torch.where(torch.arange(n)[:, None, None, None] % 2 > 0, soft, noise)).to(torch.uint8)
    images[-1] = 77
    images[-2] = (images[-2] > 99) * 255
    return images


def theirs(image: torch.Tensor, name: str, level: int) -> torch.Tensor:
    """By torchvision's own functions, at the magnitude that its table has for the level."""
    share, sign = abs(level) / (LEVELS - 1), 1 if level >= 0 else -1
    slant, factor = math.degrees(math.atan(0.99 * share * sign)), 1 + 0.99 * share * sign
    whole = {"angle": 0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]} | NEAREST
    far = int(32 * share) * sign
    return {
        "Identity": lambda: image,
        "ShearX": lambda: F.affine(image, **whole | {"shear": [slant, 0.0], "center": [0, 0]}),
        "ShearY": lambda: F.affine(image, **whole | {"shear": [0.0, slant], "center": [0, 0]}),
        "TranslateX": lambda: F.affine(image, **whole | {"translate": [far, 0]}),
        "TranslateY": lambda: F.affine(image, **whole | {"translate": [0, far]}),
        "Rotate": lambda: F.rotate(image, 135 * share * sign, **NEAREST),
        "Brightness": lambda: F.adjust_brightness(image, factor),
        "Color": lambda: F.adjust_saturation(image, factor),
        "Contrast": lambda: F.adjust_contrast(image, factor),
        "Sharpness": lambda: F.adjust_sharpness(image, factor),
        "Posterize": lambda: F.posterize(image, 8 - round(6 * share)),
        "Solarize": lambda: F.solarize(image, 255 * (1 - share)),
        "AutoContrast": lambda: F.autocontrast(image),
        "Equalize": lambda: F.equalize(image),
    }[name]()


def ours(images: torch.Tensor, name: str, level: int) -> torch.Tensor:
    n = len(images)
    operation, levels = torch.full((n,), OPERATIONS.index(name)), torch.full((n,), level)
    row, column, inside = augment.source(operation, levels)
    moved = images[torch.arange(n)[:, None, None], :, row, column].permute(0, 3, 1, 2) * inside[:, None]
    return augment.recolour(moved, operation, levels)


@pytest.mark.parametrize("level", [-30, -29, -17, -8, -1, 0, 1, 5, 13, 22, 30])
@pytest.mark.parametrize("name", ("Identity", *COLOUR))
def test_colour_is_torchvisions(name, level):
    """But for a blend that ends on a whole number, such as of two equal ones, of which torchvision's own arithmetic
    sometimes makes the next one below."""
    images = pictures()
    expected = torch.stack([theirs(image, name, level) for image in images])
    apart = (ours(images, name, level).int() - expected.int()).abs()
    blends = name in ("Brightness", "Color", "Contrast", "Sharpness")
    assert apart.max() <= blends and (apart > 0).float().mean() < 0.15


@pytest.mark.parametrize("level", [-30, -29, -17, -8, -1, 0, 1, 5, 13, 22, 30])
@pytest.mark.parametrize("name", GEOMETRY)
def test_geometry_is_torchvisions(name, level):
    """But for places halfway between two pixels, which float arithmetic puts now here, now there."""
    images = pictures()
    expected = torch.stack([theirs(image, name, level) for image in images])
    assert (ours(images, name, level) == expected).all(1).float().mean() > (0.99 if "Trans" not in name else 0.9999)


def test_every_image_has_its_own():
    """A batch of all operations and levels at once is each of them alone."""
    images = pictures(len(OPERATIONS) * 3)
    operation = torch.arange(len(OPERATIONS)).repeat(3)
    level = torch.tensor([-20, 4, 30]).repeat_interleave(len(OPERATIONS))
    row, column, inside = augment.source(operation, level)
    moved = images[torch.arange(len(images))[:, None, None], :, row, column].permute(0, 3, 1, 2) * inside[:, None]
    together = augment.recolour(moved, operation, level)
    for i, (o, k) in enumerate(zip(operation.tolist(), level.tolist(), strict=True)):
        assert torch.equal(together[i], ours(images[i : i + 1], OPERATIONS[o], k)[0])


def test_draws_are_uniform():
    operation, level = augment.draw(np.random.default_rng(0), 60_000)
    assert np.bincount(operation, minlength=14).min() > 60_000 / 14 * 0.95
    assert set(level) == set(range(-30, 31)) and abs(level.mean()) < 0.2
    sizes = np.bincount(abs(level), minlength=31)
    assert sizes.min() > 60_000 / 31 * 0.92 and len(sizes) == 31
