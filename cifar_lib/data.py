"""The data sets, their splits, and the two ways of feeding them: whole on the device, or by worker processes."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cifar_lib import paths
from cifar_lib.config import IMAGE_SIZE, Config

PADDING = 4  # pixels, black, on each side
EVALUATION_BATCH = 500


class DataError(ValueError):
    """Images that are not there, or are not what they should be; the message is one line."""


@dataclass(frozen=True)
class Facts:
    """mean and std per channel of the pixels in [0, 1] over all training images; whether a mirrored image stays true."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    flip: bool


# Over all pixels of the 50,000 (1,437) training images together: images.mean((0, 1, 2)) / 255, and .std alike.
FACTS = {
    "cifar10": Facts((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), flip=True),
    "digits": Facts((0.3057,) * 3, (0.3235,) * 3, flip=False),
}


@dataclass(frozen=True)
class Split:
    """images (N, 32, 32, 3) uint8 and labels (N,) int64."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: np.ndarray | slice) -> "Split":
        return Split(self.images[index], self.labels[index])

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.images.tobytes() + self.labels.tobytes()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """A data set split for one run; `train` and `valid` share no image, and `test` is read once, at the end."""

    name: str
    train: Split
    valid: Split
    test: Split


def load(config: Config) -> Dataset:
    """The data set of `config`: its own test set, and a stratified validation split cut from training by the seed.

    Raises `DataError`, one line, where CIFAR-10 is neither at hand nor to be downloaded.
    """
    train, test = {"cifar10": _cifar10, "digits": _digits}[config.dataset]()
    train, valid = _cut(train, config.valid_size, config.seed)
    return Dataset(config.dataset, train, valid, test)


def _cut(split: Split, size: int, seed: int) -> tuple[Split, Split]:
    from sklearn.model_selection import train_test_split

    if size == 0:
        return split, split[np.arange(0)]
    every = np.arange(len(split))
    rest, cut = train_test_split(every, test_size=size, stratify=split.labels, random_state=seed)
    return split[np.sort(rest)], split[np.sort(cut)]


def _digits() -> tuple[Split, Split]:
    """scikit-learn's 1,797 digits: 8x8 grey levels 0 to 16, enlarged to 32x32 RGB; 360 of them, always the same, test."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    large = [
        Image.fromarray(image).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR) for image in grey
    ]
    images = np.repeat(np.stack([np.asarray(image) for image in large])[..., None], 3, axis=3)
    return _cut(Split(images, digits.target.astype(np.int64)), 360, seed=0)


def _cifar10() -> tuple[Split, Split]:
    """The official files, each checked against its MD5 by torchvision."""
    from torchvision.datasets import CIFAR10

    root = Path(os.environ.get("CIFAR10_ROOT") or paths.DATA)
    if not (root / CIFAR10.base_folder).is_dir():
        _download(root)
    try:
        sets = [CIFAR10(root, train=train) for train in (True, False)]
    except RuntimeError:
        raise DataError(
            f"{root / CIFAR10.base_folder}: incomplete, or not the official files; {_ways_out()}"
        ) from None
    return tuple(Split(s.data, np.array(s.targets)) for s in sets)


def _download(root: Path) -> None:
    """torchvision's download into data/, after a look whether the host answers; none where CIFAR10_ROOT names a folder."""
    from urllib.request import Request, urlopen

    from torchvision.datasets import CIFAR10

    missing = f"CIFAR-10 not found: looked for {root / CIFAR10.base_folder}"
    if os.environ.get("CIFAR10_ROOT"):
        raise DataError(f"{missing}, as CIFAR10_ROOT says; {_ways_out()}")
    try:
        urlopen(Request(CIFAR10.url, method="HEAD"), timeout=10).close()
        CIFAR10(root, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{missing}, and the download failed ({error}); {_ways_out()}") from None


def _ways_out() -> str:
    return (
        "put the folder cifar-10-batches-py there or name the folder that holds it in CIFAR10_ROOT, "
        "or run once with a network and without CIFAR10_ROOT to download it (170 MB), "
        "or take the embedded set: -p dataset digits"
    )


def normalise(images: torch.Tensor, config: Config) -> torch.Tensor:
    """(N, 3, 32, 32) uint8 to float32: pixels in [0, 1], less the mean, over the std if `data_normalize`."""
    x = images.float().div_(255)
    if config.data_normalize:
        facts = FACTS[config.dataset]
        mean, std = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (facts.mean, facts.std))
        x.sub_(mean).div_(std)
    return x


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
        """What epoch `number` shows, in order: image, top and left of its crop in the padded image, whether mirrored."""
        n = len(self.labels)
        if not self.train:
            return np.arange(n), np.zeros(n, int), np.zeros(n, int), np.zeros(n, bool)
        random = np.random.default_rng((self.config.seed, number))
        order, (top, left) = random.permutation(n), random.integers(0, 2 * PADDING + 1, (2, n))
        mirrored = random.random(n) < 0.5
        keep = self.augment
        return order, top * keep, left * keep, mirrored & (keep and FACTS[self.config.dataset].flip)


class WorkerBatches:
    """The same by torchvision's transforms, image by image, in the processes of a DataLoader: the way everybody does it."""

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
        self.generator.manual_seed(
            int(np.random.SeedSequence((self.config.seed, number)).generate_state(1)[0])
        )
        for x, y in self.loader:
            yield x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)


class Images(torch.utils.data.Dataset):
    """Images with a label or an id each, as `unpickle.read` or a `Split` gives them: an item is (image, target).

    An image is (32, 32, 3) uint8, or what `transform` makes of it.
    """

    def __init__(self, images: np.ndarray, targets: Sequence, transform=None):
        if len(images) != len(targets):
            raise DataError(f"{len(images)} images but {len(targets)} targets: expected one each")
        self.images, self.targets, self.transform = images, targets, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        image = self.images[index]
        return (self.transform(image) if self.transform else torch.from_numpy(image)), self.targets[index]
