"""The data sets, found or downloaded, and their splits."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cifar_lib import errors, paths
from cifar_lib.config import IMAGE_SIZE, Config
from cifar_lib.errors import UserError
from cifar_lib.system.files import OutputError

BASE = "cifar-10-batches-py"  # the official folder


class DataError(UserError):
    """Images that are not there, or are not what they should be; the message is one line."""

    status = errors.DATA


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

    With `train_size` training has a stratified subset, the same for every seed, and validation images of the rest.
    Raises `DataError` where CIFAR-10 is neither at hand nor to be downloaded, `OutputError` where it cannot be written.
    """
    train, test = {"cifar10": _cifar10, "digits": _digits}[config.dataset]()
    rest, few = _cut(train, config.train_size or 0, seed=0)
    rest, valid = _cut(rest, config.valid_size, config.seed)
    return Dataset(config.dataset, few if config.train_size else rest, valid, test)


def _cut(split: Split, size: int, seed: int) -> tuple[Split, Split]:
    from sklearn.model_selection import train_test_split

    if size == 0:
        return split, split[np.arange(0)]
    every = np.arange(len(split))
    rest, cut = train_test_split(every, test_size=size, stratify=split.labels, random_state=seed)
    return split[np.sort(rest)], split[np.sort(cut)]


def _digits() -> tuple[Split, Split]:
    """scikit-learn's 1,797 digits, 8x8 grey levels 0 to 16, enlarged to 32x32 RGB; the same 360 are always test."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    large = [Image.fromarray(image).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR) for image in grey]
    images = np.repeat(np.stack([np.asarray(image) for image in large])[..., None], 3, axis=3)
    return _cut(Split(images, digits.target.astype(np.int64)), 360, seed=0)


def cifar10_root() -> Path:
    """torchvision's `root` of CIFAR-10: the folder that holds, or will hold, cifar-10-batches-py; found also where that
    folder itself was named, or lies in another of its name."""
    root = paths.folder("CIFAR10_ROOT") or paths.DATA
    near = [root, root / BASE] + [root.parent] * (root.name == BASE)
    return next((place for place in near if (place / BASE / "data_batch_1").is_file()), root)


def _cifar10() -> tuple[Split, Split]:
    """The official files, each checked against its MD5 by torchvision."""
    from torchvision.datasets import CIFAR10

    root = cifar10_root()
    folder = root / BASE
    if not os.path.lexists(folder):
        _fetch(root, folder)
    try:
        sets = [CIFAR10(root, train=train) for train in (True, False)]
    except (OSError, RuntimeError):
        from cifar_lib.data.download import unofficial

        wrong = f"{folder}: incomplete, or not the official files: {unofficial(folder)}"
        raise DataError(f"{wrong}; remove or rename that folder, then {_ways_out()}") from None
    return tuple(Split(s.data, np.array(s.targets)) for s in sets)


def _fetch(root: Path, folder: Path) -> None:
    """Unpack or download the official files; no download where CIFAR10_ROOT names a folder."""
    from cifar_lib.data import download

    named = paths.folder("CIFAR10_ROOT") is not None
    missing = f"CIFAR-10 not found: looked for {folder}" + ", as CIFAR10_ROOT says" * named
    if (root / "data_batch_1").is_file():
        raise DataError(f"{missing}; its files lie in {root} itself: move them into a folder {BASE} there")
    try:
        download.fetch(root, online=not named)
    except download.DownloadError as failed:
        raise DataError(f"{missing}; {failed}; {_ways_out()}") from None
    except OSError as error:
        reason = f"it cannot be written there ({error.strerror or error}), where it takes 350 MB"
        raise OutputError(f"{missing}; {reason}; {_ways_out()}") from None


def _ways_out() -> str:
    return (
        "put the folder cifar-10-batches-py there, or its archive cifar-10-python.tar.gz, "
        "or name the folder that holds it in CIFAR10_ROOT, "
        "or run once with a network and without CIFAR10_ROOT to download it (170 MB), "
        "or take the embedded set: -p dataset digits"
    )


class Images(torch.utils.data.Dataset):
    """Images with a label or an id each: an item is (image, target), the image (32, 32, 3) uint8 or what `transform`
    makes of it."""

    def __init__(self, images: np.ndarray, targets: Sequence, transform=None):
        if len(images) != len(targets):
            raise DataError(f"{len(images)} images but {len(targets)} targets: expected one each")
        self.images, self.targets, self.transform = images, targets, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        image = self.images[index]
        return (self.transform(image) if self.transform else torch.from_numpy(image)), self.targets[index]
