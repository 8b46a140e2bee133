"""What explains a run's answers, measured once: a map of test images by what the network finds alike; and, for the
surest mistakes, the places that speak for a class, and the training images nearest by."""

import numpy as np
import torch

from cifar_lib import data, runs
from cifar_lib.data import Split
from cifar_lib.data.batches import normalise
from cifar_lib.evidence import metrics
from cifar_lib.inference import embedding, grad_cam
from cifar_lib.inference.classifier import Classifier, load
from cifar_lib.runs.explained import Explanations

MISTAKES = 300  # the surest ones, that are explained
NEIGHBOURS = 3


def measure(run: runs.Run) -> None:
    """Explain a run's answers by its weights, and write its explained.npz. Raises `RunError` where the training has not
    ended or the weights are not here, `DataError` where its images are not."""
    if not run.complete:
        raise runs.RunError(f"run {run.name}: its training has not ended; go on with it, then measure")
    classifier, said, dataset = load(run), run.predictions, data.load(run.config)
    index = metrics.most_confident_mistakes(said.confidence, said.right, MISTAKES)
    wrong, train = dataset.test[index], dataset.train
    places = embedding.placed(embedding.features(classifier, dataset.test[: embedding.MOST]))
    near = np.zeros((0, NEIGHBOURS), int)
    if len(index):
        near = nearest(embedding.features(classifier, wrong), embedding.features(classifier, train))
    heat = heats(classifier, wrong, said.predicted[index])
    run.record_explanations(Explanations(places, index, heat, near, train.labels[near]))


def nearest(some: np.ndarray, others: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """(M, k) indices of the `others` (N, features) with the largest cosine to each of `some` (M, features), the largest
    first."""
    some, others = (one / np.linalg.norm(one, axis=1, keepdims=True).clip(1e-12) for one in (some, others))
    return np.argsort(-(some @ others.T), axis=1, kind="stable")[:, :k]


def heats(classifier: Classifier, images: Split, predicted: np.ndarray) -> np.ndarray:
    """(M, 2, h, w) uint8, 0 to 9: what in each image speaks for the `predicted` (M,) and for the true class; 9 where
    most speaks for either of the two."""
    side = images.images.shape[1]
    found = [np.zeros((0, 2, side, side), np.uint8)]
    for image, *labels in zip(images.images, predicted, images.labels, strict=True):
        x = torch.from_numpy(image).to(classifier.device).permute(2, 0, 1)[None]
        x = normalise(x, classifier.config)
        both = np.stack([grad_cam.heat_map(classifier.network, x, int(label)) for label in labels])
        found.append(np.rint(9 * both / max(both.max(), 1e-12)).astype(np.uint8)[None])
    return np.concatenate(found[1:] or found)
