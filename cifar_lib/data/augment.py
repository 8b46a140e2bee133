"""TrivialAugment (Müller, Hutter 2021, arXiv 2103.10158), its wide space, for a batch at once on the device.

One of 14 distortions at one of 31 levels per image: torchvision's `TrivialAugmentWide` with the same draw, but for
roundings. Shapes do not depend on the draw, so that a CUDA graph can hold it: those of geometry say where each pixel
comes from, and so join the gather; those of colour are all made, and one is kept.
"""

import math

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from cifar_lib.config import IMAGE_SIZE

GEOMETRY = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
COLOUR = ("Brightness", "Color", "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize")
OPERATIONS = ("Identity", *GEOMETRY, *COLOUR)
LEVELS = 31
GREY = (0.2989, 0.587, 0.114)


def draw(random: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Of n images each one's operation, 0 to 13, and signed level, -30 to 30: (n,) each."""
    level = random.integers(0, LEVELS, n) * random.choice((-1, 1), n)
    return random.integers(0, len(OPERATIONS), n), level


def source(operation: torch.Tensor, level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Row and column, (B, 32, 32) int64, that each pixel of B images comes from, and whether that is within the image.

    About the centre, but a shear about the upper left corner; the nearest pixel.
    """
    share = level / (LEVELS - 1)
    shear_x, shear_y, move_x, move_y, turn = (
        (share * (operation == OPERATIONS.index(name)))[:, None, None] for name in GEOMETRY
    )
    half = IMAGE_SIZE / 2
    places = torch.arange(IMAGE_SIZE, device=level.device) + 0.5 - half
    y, x = places[None, :, None], places[None, None, :]
    angle = turn * math.radians(135)
    cos, sin = torch.cos(angle), torch.sin(angle)
    from_x = cos * x - sin * y + 0.99 * shear_x * (y + half) - torch.trunc(move_x * 32)
    from_y = sin * x + cos * y + 0.99 * shear_y * (x + half) - torch.trunc(move_y * 32)
    row, column = ((place + half - 0.5).round().long() for place in (from_y, from_x))
    inside = (row >= 0) & (row < IMAGE_SIZE) & (column >= 0) & (column < IMAGE_SIZE)
    return row.clamp(0, IMAGE_SIZE - 1), column.clamp(0, IMAGE_SIZE - 1), inside


def recolour(images: torch.Tensor, operation: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """(B, 3, 32, 32) uint8 to the same, each image by its own operation; those of geometry leave it as it is."""
    images = images.contiguous()  # from a gather they come channels last, in which half of this takes twice as long
    share = (level / (LEVELS - 1))[:, None, None, None]
    x = images.float()
    grey = sum(weight * x[:, i : i + 1] for i, weight in enumerate(GREY)).floor()
    others = (torch.zeros_like(x), grey, grey.mean((1, 2, 3), keepdim=True), _smooth(x))
    made = [(other + (1 + 0.99 * share) * (x - other)).clamp(0, 255).floor() for other in others]
    made += [_posterize(x, share.abs()), torch.where(x >= 255 * (1 - share.abs()), 255 - x, x)]
    made += [_autocontrast(x), _equalize(images)]
    for name, changed in zip(COLOUR, made, strict=True):
        x = torch.where((operation == OPERATIONS.index(name))[:, None, None, None], changed, x)
    return x.to(torch.uint8)


def _smooth(x: torch.Tensor) -> torch.Tensor:
    """A 3x3 mean in which the centre counts five times; the border stays."""
    smooth = x.clone()
    smooth[..., 1:-1, 1:-1] = ((avg_pool2d(x, 3, 1, divisor_override=1) + 4 * x[..., 1:-1, 1:-1]) / 13).round()
    return smooth


def _posterize(x: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """8 bits per colour at level 0, down to 2."""
    step = torch.exp2((share * 6).round())
    return (x / step).floor() * step


def _autocontrast(x: torch.Tensor) -> torch.Tensor:
    """Each channel stretched to 0 to 255; one of a single value stays."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    stretched = ((x - low) * (255 / (high - low).clamp(min=1))).clamp(0, 255).floor()
    return torch.where(high > low, stretched, x)


def _equalize(images: torch.Tensor) -> torch.Tensor:
    """Each channel's values spread so that they are about equally frequent."""
    values = images.flatten(2).long()
    counts = torch.zeros(*values.shape[:2], 256, dtype=torch.long, device=values.device)
    counts.scatter_add_(2, values, torch.ones_like(values))
    most = counts.gather(2, values.amax(2, keepdim=True))
    step = (values.shape[2] - most) // 255
    table = ((counts.cumsum(2) - counts + step // 2) // step.clamp(min=1)).clamp(0, 255)
    return torch.where(step > 0, table.gather(2, values), values).view(images.shape).float()
