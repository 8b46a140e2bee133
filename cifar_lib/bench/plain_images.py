"""The plain loop's images: torchvision's transforms, one image after another, and what it has none for, written out."""

import numpy as np
import torch
from torchvision import transforms as T

from cifar_lib.config import IMAGE_SIZE, STATISTICS, Config
from cifar_lib.data import Images, Split

FEW = 500  # images whose patches the first layer is whitened by
VARIANCE = 5e-4  # added to each direction's (arXiv 2404.00498)


class Cutout:
    """DeVries, Taylor 2017 (arXiv 1708.04552): a square about a random pixel set to 0, as far as it lies within."""

    def __init__(self, size: int):
        self.size = size

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        top, left = (torch.randint(IMAGE_SIZE, (2,)) - self.size // 2).tolist()
        image[:, max(top, 0) : max(top + self.size, 0), max(left, 0) : max(left + self.size, 0)] = 0
        return image


def transformed(split: Split, config: Config) -> Images:
    """The split's (x, y), each image transformed when it is asked for."""
    facts, steps = STATISTICS[config.dataset], []
    if config.data_augmentation:
        mode = "reflect" if config.crop_padding == "reflect" else "constant"
        fill = tuple(round(255 * m) for m in facts.mean) if config.crop_padding == "mean" else 0
        steps = [T.RandomCrop(IMAGE_SIZE, 4, fill=fill, padding_mode=mode)]
        steps += [T.RandomHorizontalFlip()] * (facts.flip and not config.alternating_flip)
    steps += [T.ToTensor()] + [T.Normalize(facts.mean, facts.std)] * config.data_normalize
    steps += [Cutout(config.cutout)] * (config.cutout > 0)
    return Images(split.images, split.labels, T.Compose([T.ToPILImage(), *steps]))


def as_they_are(split: Split, config: Config) -> Images:
    """The split's (x, y) with nothing but the normalisation."""
    return transformed(split, Config(**dict(config) | {"data_augmentation": False, "cutout": 0}))


def mirrored(split: Split, which: np.ndarray) -> Split:
    """The split, with those images mirrored for which `which` (N,) is true."""
    return Split(np.where(which[:, None, None, None], split.images[:, :, ::-1], split.images), split.labels)


def whitening(split: Split, config: Config, kernel: int) -> torch.Tensor:
    """The matrix that decorrelates patches of `kernel` x `kernel` pixels (Jordan 2024, arXiv 2404.00498): each row an
    eigenvector of their covariance in the split's first images, over the square root of its eigenvalue."""
    few = torch.stack([x for x, _ in as_they_are(split[:FEW], config)])
    patches = few.unfold(2, kernel, 1).unfold(3, kernel, 1)  # N, C, rows, columns, kernel, kernel
    patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)
    eigenvalues, eigenvectors = torch.linalg.eigh(torch.cov(patches.T))
    return eigenvectors.T / torch.sqrt(eigenvalues + VARIANCE)[:, None]
