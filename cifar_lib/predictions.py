"""What a network said of the test set, as plain arrays. No torch."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Predictions:
    """What the published weights say of the test set: labels (N,), predicted (N,), logits (N, 10) float."""

    labels: np.ndarray
    predicted: np.ndarray
    logits: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """(N, 10) softmax of the logits, in float64."""
        shifted = np.exp(self.logits.astype(float) - self.logits.max(1, keepdims=True))
        return shifted / shifted.sum(1, keepdims=True)

    @property
    def accuracy(self) -> float:
        return float((self.labels == self.predicted).mean())


@dataclass(frozen=True)
class Mistakes:
    """The most confident wrong test images, first to last, so that no reader needs the data set.

    index (M,) into the test set, images (M, 32, 32, 3) uint8, labels (M,), predicted (M,), confidence (M,).
    """

    index: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
