"""Published weights put to use: one image, or many."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from cifar_lib import runs
from cifar_lib.config import IMAGE_SIZE, Config
from cifar_lib.data import Images
from cifar_lib.data.batches import EVALUATION_BATCH, normalise
from cifar_lib.device import placement
from cifar_lib.errors import UserError
from cifar_lib.exchange import pictures
from cifar_lib.exchange.pictures import BadPicture
from cifar_lib.inference import weights
from cifar_lib.inference.evaluation import predict
from cifar_lib.models import resnet


@dataclass(frozen=True)
class Prediction:
    """Of one image: label 0 to 9, its name and probability, and all ten probabilities (10,)."""

    label: int
    name: str
    probability: float
    probabilities: np.ndarray


class Classifier:
    """A network in evaluation mode, in float32, with the normalisation it was trained with."""

    def __init__(self, network: torch.nn.Module, config: Config):
        self.network, self.config = network.eval(), config
        self.device = next(network.parameters()).device

    def predict(self, image: np.ndarray | str | Path) -> Prediction:
        """Classify one image: an array (H, W, 3) uint8, or a picture file as a viewer shows it (`pictures.decode`);
        any size is resized to 32x32.

        Raises `BadPicture`, one line, for anything else.
        """
        logits = self.logits([(_small(image), 0)])[0].astype(float)
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        label = int(probabilities.argmax())
        return Prediction(label, self.config.classes[label], float(probabilities[label]), probabilities)

    def labels(self, images: Images | Sequence, batch_size: int = EVALUATION_BATCH) -> np.ndarray:
        """The label, 0 to 9, of each image of a data set of ((32, 32, 3) uint8, anything) pairs, in its order: (N,)."""
        return self.logits(images, batch_size).argmax(1)

    def logits(self, images: Images | Sequence, batch_size: int = EVALUATION_BATCH) -> np.ndarray:
        """The logits (N, 10) float32 of the same. Raises `UserError` for a batch size below 1."""
        if not isinstance(batch_size, int) or batch_size < 1:
            raise UserError(f"batch_size: got {batch_size!r}, expected a whole number from 1")
        loader, form = DataLoader(images, batch_size, collate_fn=_stack), placement.memory_format(self.config)
        batches = (normalise(x.to(self.device), self.config).contiguous(memory_format=form) for x in loader)
        return predict(self.network, batches).cpu().numpy()


def load(run: runs.Run | str) -> Classifier:
    """The classifier of a run, or of the run of that name. Raises `RunError`, one line, where there is none."""
    run = run if isinstance(run, runs.Run) else runs.open(run)
    config = placement.here(run.config)
    network = resnet.build(config)
    weights.read(run, network)
    return Classifier(network.to(placement.device(config)), config)


def _stack(items: list) -> torch.Tensor:
    """(B, 3, 32, 32) uint8 of the images of B items."""
    return torch.stack([torch.as_tensor(image) for image, _ in items]).permute(0, 3, 1, 2)


def _small(image: np.ndarray | str | Path) -> np.ndarray:
    """The image as (32, 32, 3) uint8."""
    from PIL import Image

    picture = Image.fromarray(pictures.decode(image) if isinstance(image, (str, Path)) else _checked(image))
    if picture.size != (IMAGE_SIZE, IMAGE_SIZE):
        picture = picture.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
    return np.array(picture)


def _checked(image) -> np.ndarray:
    expected = "expected uint8 (0 to 255) of shape (height, width, 3)"
    try:
        array = np.asarray(image)
    except ValueError:
        raise BadPicture(f"image: got lists of unequal lengths, {expected}") from None
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise BadPicture(f"image: got {array.dtype} of shape {array.shape}, {expected}")
    return np.ascontiguousarray(array)
