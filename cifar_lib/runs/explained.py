"""What explains a run's answers on the test set, as plain arrays and as the .npz that holds them. No torch."""

from dataclasses import dataclass

import numpy as np

from cifar_lib.runs.predictions import Arrays


@dataclass(frozen=True)
class Explanations(Arrays):
    """A map of test images, and the surest mistakes explained. Raises ValueError for arrays that do not fit together.

    places (N, 2): where the network places the first N test images. index (M,): mistakes, into the test set; heat
    (M, 2, h, w) uint8, 0 to 9: the places that speak for the predicted and for the true class, by Grad-CAM, 9 where
    most speaks for either; nearest (M, K): training images that the network finds most alike, the nearest first, and
    nearest_labels (M, K), their classes.
    """

    places: np.ndarray
    index: np.ndarray
    heat: np.ndarray
    nearest: np.ndarray
    nearest_labels: np.ndarray

    def __post_init__(self):
        m, (places, heat, nearest) = len(self.index), (one.shape for one in (self.places, self.heat, self.nearest))
        if places[1:] != (2,) or self.index.shape != (m,) or heat[:2] != (m, 2) or len(heat) != 4:
            raise ValueError("expected places (N, 2), index (M,) and heat (M, 2, h, w)")
        if len(nearest) != 2 or nearest[0] != m or self.nearest_labels.shape != nearest:
            raise ValueError("expected nearest (M, K), and as many nearest_labels")
        if self.places.dtype.kind != "f" or not np.isfinite(self.places).all():
            raise ValueError("expected finite places")
        if any(one.dtype.kind not in "iu" for one in (self.index, self.heat, self.nearest, self.nearest_labels)):
            raise ValueError("expected whole numbers")
        if not np.isin(self.heat, range(10)).all() or not np.isin(self.nearest_labels, range(10)).all():
            raise ValueError("expected heat from 0 to 9, and classes 0 to 9")
        if min([0, *self.index, *self.nearest.flat]) < 0:
            raise ValueError("expected no negative index")
