"""A network's predictions on the test set, as plain arrays and as the .npz files that hold them. No torch."""

import io
from dataclasses import asdict, dataclass

import numpy as np


class Arrays:
    """A dataclass of arrays as a compressed .npz."""

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **asdict(self))
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes):
        """Raises ValueError, or whatever zipfile and NumPy raise, for a file of another kind."""
        with np.load(io.BytesIO(data)) as file:
            return cls(**dict(file))


def softmax(logits: np.ndarray) -> np.ndarray:
    """(N, 10) probabilities, in float64."""
    shifted = np.exp(logits.astype(float) - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


@dataclass(frozen=True)
class Predictions(Arrays):
    """Of the published weights on the test set: labels (N,), predicted (N,), logits (N, 10) float. Raises ValueError
    for arrays that do not fit together."""

    labels: np.ndarray
    predicted: np.ndarray
    logits: np.ndarray

    def __post_init__(self):
        n = len(self.labels)
        if (self.labels.shape, self.predicted.shape, self.logits.shape) != ((n,), (n,), (n, 10)):
            raise ValueError("expected labels (N,), predicted (N,) and logits (N, 10)")
        classes = np.concatenate([self.labels, self.predicted])
        if classes.dtype.kind not in "iu" or not np.isin(classes, range(10)).all() or not n:
            raise ValueError("expected classes 0 to 9 of at least one image")
        if self.logits.dtype.kind != "f" or not np.isfinite(self.logits).all():
            raise ValueError("expected finite logits")
        wide = self.logits.astype(float)
        short = wide.max(1) - wide[np.arange(n), self.predicted]
        if (short > 2**-10 * np.abs(wide).max(1)).any():  # to float16's rounding, which can make a tie
            raise ValueError("expected the predicted class to have the largest logit")

    @property
    def probabilities(self) -> np.ndarray:
        """(N, 10) softmax of the logits, in float64."""
        return softmax(self.logits)

    @property
    def confidence(self) -> np.ndarray:
        """(N,) probability of the predicted class."""
        return self.probabilities[np.arange(len(self.predicted)), self.predicted]

    @property
    def right(self) -> np.ndarray:
        """(N,) bool: whether the predicted class is the true one."""
        return self.labels == self.predicted

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


@dataclass(frozen=True)
class Mistakes(Arrays):
    """The most confident wrong test images, first to last, so that no reader needs the data set.

    index (M,) into the test set, images (M, 32, 32, 3) uint8, labels (M,), predicted (M,), confidence (M,). Raises
    ValueError for arrays that do not fit together.
    """

    index: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray

    def __post_init__(self):
        m = len(self.index)
        flat = [part.shape for part in (self.index, self.labels, self.predicted, self.confidence)]
        if flat != [(m,)] * 4 or self.images.shape != (m, 32, 32, 3) or self.images.dtype != np.uint8:
            raise ValueError("expected M images (M, 32, 32, 3) uint8, and an index, two classes, a confidence each")
        if any(part.dtype.kind not in "iuf" for part in (self.index, self.labels, self.predicted, self.confidence)):
            raise ValueError("expected numbers")

    @property
    def percent(self) -> np.ndarray:
        """(M,) confidences in percent, rounded down to a tenth: 99.97 is not 100."""
        return np.floor(1000 * self.confidence.astype(float) + 1e-6) / 10
