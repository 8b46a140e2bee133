"""The wrongly classified test images of a run, wherever their pixels are at hand; and a way to look through them."""

import numpy as np

from cifar_lib import data
from cifar_lib.config import Config
from cifar_lib.evidence import metrics
from cifar_lib.runs import Run
from cifar_lib.runs.predictions import Mistakes, Predictions
from cifar_lib.runs.run import EXPLAINED


def wrong(run: Run) -> Mistakes:
    """Every wrong test image of `run`, the most confident first; where the data set is not at hand, the few that the
    run stored. Nothing is downloaded."""
    if not at_hand(run.config):
        return run.mistakes
    try:
        predictions, images = run.predictions, data.load(run.config).test.images
    except data.DataError:  # there, but incomplete or another: training says so, reading goes on without
        return run.mistakes
    return most_confident(predictions, images, len(images))


def nearest(run: Run) -> np.ndarray | None:
    """(M, K, 32, 32, 3) uint8: the training images nearest to each explained mistake of `run`; None where they are not
    at hand, or no mistake was explained."""
    if not at_hand(run.config) or not run.has(EXPLAINED):
        return None
    try:
        return data.load(run.config).train.images[run.explained.nearest]
    except data.DataError:
        return None


def most_confident(predictions: Predictions, images: np.ndarray, n: int) -> Mistakes:
    """The `n` most confident errors on the test set's `images` (N, 32, 32, 3) uint8, the most confident first."""
    index = metrics.most_confident_mistakes(predictions.confidence, predictions.right, n)
    return Mistakes(
        index, images[index], predictions.labels[index], predictions.predicted[index], predictions.confidence[index]
    )


def at_hand(config: Config) -> bool:
    """Whether the images of the data set are embedded, or were downloaded before."""
    return config.dataset == "digits" or (data.cifar10_root() / "cifar-10-batches-py").is_dir()
