"""The two ways of feeding a split to the network: whole on the device, or by worker processes."""

import copy
import os
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch.nn.functional import interpolate

from cifar_lib.config import IMAGE_SIZE, STATISTICS, Config
from cifar_lib.data import augment
from cifar_lib.data.datasets import Images, Split
from cifar_lib.device.distributed import ALONE, World
from cifar_lib.device.placement import memory_format

PADDING = 4  # pixels on each side
EVALUATION_BATCH = 500
WHOLE = 2**16  # of a share of a mixed image, as an integer


def normalise(images: torch.Tensor, config: Config) -> torch.Tensor:
    """(N, 3, 32, 32) uint8 to float32: pixels in [0, 1], less the mean, over the std if `data_normalize`."""
    x = images.float().div_(255)
    if config.data_normalize:
        facts = STATISTICS[config.dataset]
        for channel, (mean, std) in enumerate(zip(facts.mean, facts.std, strict=True)):
            x[:, channel].sub_(mean).div_(std)
    return x


def seed_of(config: Config, epoch: int, rank: int = 0) -> int:
    """The number that everything random of an epoch starts from, in the process of that rank."""
    entropy = (config.seed, epoch, rank) if rank else (config.seed, epoch)
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def padded(images: np.ndarray, pad: int, config: Config) -> np.ndarray:
    """(N, H, W, 3) uint8 to (N, H + 2 pad, W + 2 pad, 3), bordered as `crop_padding` says."""
    if config.crop_padding == "reflect":
        return np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
    n, height, width, _ = images.shape
    whole = np.full((n, height + 2 * pad, width + 2 * pad, 3), border_colour(config), np.uint8)
    whole[:, pad : pad + height, pad : pad + width] = images
    return whole


def border_colour(config: Config) -> tuple[int, int, int]:
    """0 to 255 per channel: the data set's mean pixel if `crop_padding` says so, else black."""
    mean = STATISTICS[config.dataset].mean if config.crop_padding == "mean" else (0, 0, 0)
    return tuple(round(255 * channel) for channel in mean)


def side_of(config: Config, epoch: int) -> int:
    """Height and width, in pixels, of the images trained on in that epoch, from 1 on."""
    small = epoch <= round(config.max_epochs * config.progressive_resizing)
    return config.progressive_size if small else IMAGE_SIZE


class Batches:
    """A split that lives on the device as uint8, padded, once; crop, flip and geometry are one gather per batch.

    With `train`, an epoch is a permutation, and each image's crop, flip, distortion, cutout and mixup share are drawn
    from (seed, epoch): the same whenever and wherever that epoch is run. Without, the images come in order, as they
    are. Of several processes each takes every `size`-th image of every batch, from its own rank on, and mixes those.
    `side`, in pixels, is of the images that `take` makes; whoever trains sets it to `side_of` the epoch.
    """

    def __init__(self, split: Split, config: Config, device: torch.device, train: bool = False, world: World = ALONE):
        self.config, self.train, self.world = config, train, world
        self.size = config.batch_size if train else EVALUATION_BATCH
        self.augment = train and config.data_augmentation
        self.labels = torch.from_numpy(split.labels).to(device)
        self.padding, self.side = PADDING if self.augment else 0, IMAGE_SIZE
        images = padded(split.images, self.padding, config) if self.padding else split.images
        self.images = torch.from_numpy(images).to(device)  # (N, height, width, 3) uint8

    def __len__(self) -> int:
        return -(-len(self.labels) // self.size)

    def sample(self, number: int, images: int) -> Iterator[torch.Tensor]:
        """x of the first batches of epoch `number`, whole over all processes, in full size; `images` at least."""
        whole = copy.copy(self)
        whole.world, whole.side = ALONE, IMAGE_SIZE
        return (whole.take(*key)[0] for key in islice(whole.keys(number), -(-images // self.size)))

    def epoch(self, number: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of x (B, 3, 32, 32) float32 and y as of `take`; the last may be short."""
        return (self.take(*key) for key in self.keys(number))

    def keys(self, number: int = 0) -> Iterator[tuple[torch.Tensor]]:
        """What `take` makes each batch from: (B, 4 or 9) int64 on the device, moved there once per epoch."""
        plan = self.plan(number) + self.distortions(number)
        plan = torch.from_numpy(np.stack(plan, axis=1)).to(self.labels.device)
        starts = range(0, len(plan), self.size)
        return ((plan[i : i + self.size][self.world.rank :: self.world.size],) for i in starts)

    def take(self, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x (B, 3, side, side) float32, laid out as the network is, without waiting for it; and y: labels (B,) int64
        or, of mixed images, the classes' shares (B, 10) float32."""
        crop, distortion, config = key[:, :4], key[:, 4:].unbind(1), self.config
        if not distortion:
            return self._resized(self._normalised(self._gather(crop))), self.labels[crop[:, 0]]
        operation, level, top, left, share = distortion
        if config.trivial_augment:
            rows, columns, inside = augment.source(operation, level)
            x = augment.recolour(self._gather(crop, rows, columns) * inside[:, None], operation, level)
        else:
            x = self._gather(crop)
        x, y = self._normalised(x), self.labels[crop[:, 0]]
        x = self._resized(cutout(x, top, left, config.cutout) if config.cutout else x)
        return mix(x, y, share / WHOLE, len(config.classes)) if config.mixup else (x, y)

    def _gather(self, crop: torch.Tensor, rows=None, columns=None) -> torch.Tensor:
        """(B, 3, 32, 32) uint8: the crops, or of them the pixels at `rows` and `columns`, before they are mirrored."""
        index, top, left, mirrored = (part[:, None, None] for part in crop.unbind(1))
        side = torch.arange(IMAGE_SIZE, device=crop.device)
        rows, columns = (side[:, None], side) if rows is None else (rows, columns)
        columns = torch.where(mirrored > 0, IMAGE_SIZE - 1 - columns, columns)
        return self.images[index, top + rows, left + columns].permute(0, 3, 1, 2)

    def _normalised(self, x: torch.Tensor) -> torch.Tensor:
        return normalise(x, self.config).contiguous(memory_format=memory_format(self.config))

    def _resized(self, x: torch.Tensor) -> torch.Tensor:
        if self.side == IMAGE_SIZE:
            return x
        return interpolate(x, size=(self.side, self.side), mode="bilinear", antialias=True)

    def plan(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What epoch `number` shows, in order: image, top and left of its crop in the padded image, mirrored or not."""
        n, pad = len(self.labels), self.padding
        if not self.train:
            return np.arange(n), np.full(n, pad), np.full(n, pad), np.zeros(n, int)
        random = np.random.default_rng((self.config.seed, number))
        order, (top, left) = random.permutation(n), random.integers(0, 2 * PADDING + 1, (2, n))
        mirrored = random.random(n) < 0.5
        if self.config.alternating_flip:
            at_first = np.random.default_rng((self.config.seed, 0)).random(n) < 0.5
            mirrored = at_first[order] ^ bool(number % 2)
        keep = self.augment
        return order, top * keep, left * keep, mirrored * (keep and STATISTICS[self.config.dataset].flip)

    def distortions(self, number: int) -> tuple[np.ndarray, ...]:
        """Of the images of epoch `number`, in their order: operation and level of TrivialAugment, top and left of the
        cutout, own share of the mixed image, of `WHOLE`. None, or all five, of (N,)."""
        n, config = len(self.labels), self.config
        if not (self.train and (config.trivial_augment or config.cutout or config.mixup)):
            return ()
        random = np.random.default_rng((config.seed, number, 1))
        operation, level = augment.draw(random, n)
        top, left = random.integers(0, IMAGE_SIZE, (2, n)) - config.cutout // 2
        share = np.ones(n)
        if config.mixup and number <= round(config.max_epochs * (1 - config.mixup_off)):
            share = random.beta(config.mixup, config.mixup, n)
        return operation, level, top, left, np.rint(WHOLE * np.maximum(share, 1 - share)).astype(int)


def cutout(x: torch.Tensor, top: torch.Tensor, left: torch.Tensor, size: int) -> torch.Tensor:
    """`x` (B, C, H, W) with 0 in a square of side `size` pixels per image, as far as it lies within."""
    y, x_ = (torch.arange(side, device=x.device)[None] for side in x.shape[2:])
    rows, columns = ((at >= edge[:, None]) & (at < edge[:, None] + size) for at, edge in ((y, top), (x_, left)))
    return torch.where((rows[:, :, None] & columns[:, None, :])[:, None], 0, x)  # masked_fill forgets channels last


def mix(x: torch.Tensor, y: torch.Tensor, share: torch.Tensor, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Each image of a batch with the one before it in the batch, in shares `share` (B,) and 1 - share; and so the
    classes, (B, classes)."""
    one_hot = (y[:, None] == torch.arange(classes, device=y.device)).float()  # torch's own asks the CPU for the labels
    other = share.to(x.dtype)[:, None].expand_as(one_hot)
    return x.roll(1, 0).lerp(x, share[:, None, None, None]), one_hot.roll(1, 0).lerp(one_hot, other)


class WorkerBatches:
    """The same by torchvision's transforms, image by image, in a DataLoader's processes, new ones in each epoch.

    As many as the settings ask for and there are cores; or exactly `workers`, kept from epoch to epoch, whose draws are
    no epoch's own: for the benchmark, not for a training.
    """

    def __init__(self, split: Split, config: Config, device: torch.device, workers: int | None = None):
        from torchvision import transforms as T

        facts, steps, self.side = STATISTICS[config.dataset], [], IMAGE_SIZE
        if config.data_augmentation:
            mode = "reflect" if config.crop_padding == "reflect" else "constant"
            steps = [T.RandomCrop(IMAGE_SIZE, PADDING, fill=border_colour(config), padding_mode=mode)]
            steps += [T.RandomHorizontalFlip()] * facts.flip
        steps += [T.ToTensor()] + [T.Normalize(facts.mean, facts.std)] * config.data_normalize
        self.config, self.device, self.generator = config, device, torch.Generator()
        self.loader = torch.utils.data.DataLoader(
            Images(split.images, split.labels, T.Compose([T.ToPILImage(), *steps])),
            batch_size=config.batch_size,
            shuffle=True,
            generator=self.generator,
            num_workers=min(config.num_workers, os.cpu_count() or 1) if workers is None else workers,
            persistent_workers=bool(workers),
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
            x = x.to(self.device, memory_format=memory_format(self.config), non_blocking=True)
            yield x, y.to(self.device, non_blocking=True)

    keys = epoch

    def sample(self, number: int, images: int) -> Iterator[torch.Tensor]:
        """x of the first batches of epoch `number`, until they hold `images`."""
        return (x for x, _ in islice(self.epoch(number), -(-images // self.config.batch_size)))

    def take(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the loader made, as it is: it draws and gathers in one."""
        return x, y
