"""The two ways of feeding a split to the network: whole on the device, or by worker processes."""

import os
from collections.abc import Iterator

import numpy as np
import torch

from cifar_lib.config import IMAGE_SIZE, Config
from cifar_lib.data import FACTS, Images, Split

PADDING = 4  # pixels, black, on each side
EVALUATION_BATCH = 500


def normalise(images: torch.Tensor, config: Config) -> torch.Tensor:
    """(N, 3, 32, 32) uint8 to float32: pixels in [0, 1], less the mean, over the std if `data_normalize`."""
    x = images.float().div_(255)
    if config.data_normalize:
        facts = FACTS[config.dataset]
        mean, std = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (facts.mean, facts.std))
        x.sub_(mean).div_(std)
    return x


def seed_of(config: Config, epoch: int) -> int:
    """The number that everything random of an epoch starts from."""
    return int(np.random.SeedSequence((config.seed, epoch)).generate_state(1)[0])


class Batches:
    """A split that lives on the device as uint8; crop, flip and normalisation are one gather a batch.

    With `train`, an epoch is a permutation, and each image's crop and flip are its own, all drawn from (seed, epoch):
    the same numbers whenever and wherever that epoch is run. Without, the images come in order, as they are.
    """

    def __init__(self, split: Split, config: Config, device: torch.device, train: bool = False):
        self.config, self.train = config, train
        self.augment = train and config.data_augmentation
        self.size = config.batch_size if train else EVALUATION_BATCH
        self.labels = torch.from_numpy(split.labels).to(device)
        pad = PADDING if self.augment else 0
        padded = np.pad(split.images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        # A view of every crop of every image: (N, 2 pad + 1, 2 pad + 1, 3, 32, 32).
        self.crops = torch.from_numpy(padded).to(device).unfold(1, IMAGE_SIZE, 1).unfold(2, IMAGE_SIZE, 1)

    def __len__(self) -> int:
        return -(-len(self.labels) // self.size)

    def epoch(self, number: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of x (B, 3, 32, 32) float32 and y (B,) int64; the last may be short."""
        index, top, left, mirrored = (torch.from_numpy(a).to(self.labels.device) for a in self.plan(number))
        for i in range(0, len(index), self.size):
            chosen = slice(i, i + self.size)
            x = self.crops[index[chosen], top[chosen], left[chosen]]
            x = torch.where(mirrored[chosen, None, None, None], x.flip(3), x)
            yield normalise(x, self.config), self.labels[index[chosen]]

    def plan(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What epoch `number` shows, in order: image, top and left of its crop in the padded image, mirrored or not."""
        n = len(self.labels)
        if not self.train:
            return np.arange(n), np.zeros(n, int), np.zeros(n, int), np.zeros(n, bool)
        random = np.random.default_rng((self.config.seed, number))
        order, (top, left) = random.permutation(n), random.integers(0, 2 * PADDING + 1, (2, n))
        mirrored = random.random(n) < 0.5
        keep = self.augment
        return order, top * keep, left * keep, mirrored & (keep and FACTS[self.config.dataset].flip)


class WorkerBatches:
    """The same by torchvision's transforms, image by image, in a DataLoader's processes: the way everybody does it."""

    def __init__(self, split: Split, config: Config, device: torch.device):
        from torchvision import transforms as T

        facts, steps = FACTS[config.dataset], []
        if config.data_augmentation:
            steps = [T.RandomCrop(IMAGE_SIZE, PADDING)] + [T.RandomHorizontalFlip()] * facts.flip
        steps += [T.ToTensor()] + [T.Normalize(facts.mean, facts.std)] * config.data_normalize
        self.config, self.device, self.generator = config, device, torch.Generator()
        self.loader = torch.utils.data.DataLoader(
            Images(split.images, split.labels, T.Compose([T.ToPILImage(), *steps])),
            batch_size=config.batch_size,
            shuffle=True,
            generator=self.generator,
            num_workers=min(config.num_workers, os.cpu_count() or 1),
            pin_memory=device.type == "cuda",
        )

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of x (B, 3, 32, 32) float32 and y (B,) int64, drawn from (seed, epoch)."""
        seed = seed_of(self.config, number)
        self.generator.manual_seed(seed)  # the order, and the workers' own seeds
        if not self.loader.num_workers:
            torch.manual_seed(seed)
        for x, y in self.loader:
            yield x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)
