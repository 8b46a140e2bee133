"""Where a network places test images, as a figure: arrays in, a `Picture` out; never a model."""

from itertools import product

import numpy as np

from cifar_lib.evidence import metrics
from cifar_lib.figures import places, shapes
from cifar_lib.figures.palette import BLUE, GREEN, INK, ORANGE, PAPER, PURPLE, YELLOW
from cifar_lib.figures.picture import Picture, describe, frame, styled

LOOKS = [*product(("round", "projecting"), (BLUE, ORANGE, GREEN, PURPLE, YELLOW))]  # of ten classes: cap and colour
DOT = 0.2  # length of the stroke that is a dot: as one line, a class is far smaller than as many markers


@styled
def embedding(xy: np.ndarray, labels: np.ndarray, predicted: np.ndarray, names, source: str = "") -> Picture:
    """xy (N, 2) of the first N images: a dot for each in the look of its true class, a ring around what was taken for
    another class; each class is named at its median."""
    labels, predicted = labels[: len(xy)], predicted[: len(xy)]
    note = "Near one another: what the network finds alike. Axes of t-SNE have no unit. Ring: a mistake."
    figure, axes = frame("Where it places the test images", source, note, size=(7, shapes.pick(6, 4.5)))
    for label, (cap, colour) in zip(range(len(names)), LOOKS, strict=False):
        x, y = xy[labels == label].T
        dots = np.column_stack([x, x + DOT, np.full(len(x), np.nan)]).ravel(), np.repeat(y, 3)
        axes.plot(*dots, color=colour, lw=shapes.pick(4, 3), solid_capstyle=cap, alpha=0.6)
    _rings(axes, xy, labels, predicted, names)
    for label in np.unique(labels):
        x, y = np.median(xy[labels == label], axis=0)
        box = {"boxstyle": "round,pad=0.2", "fc": PAPER, "ec": "none", "alpha": 0.85}
        axes.text(x, y, names[label], ha="center", va="center", weight="bold", size=shapes.pick(10, 8), bbox=box)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.grid(False)
    share = metrics.accuracy(labels, predicted)
    return describe(figure, f"{len(xy):,} test images, {share:.1%} of them right, as clouds of one class each.")


def _rings(axes, xy: np.ndarray, labels: np.ndarray, predicted: np.ndarray, names) -> None:
    wrong = np.flatnonzero(labels != predicted)
    axes.plot(*xy[wrong].T, "o", mfc="none", mec=INK, mew=0.8, ms=shapes.pick(7, 5))
    for i in wrong:
        said = f"test image {i}: {names[labels[i]]}, taken for {names[predicted[i]]}"
        places.note(axes, xy[i : i + 1, 0], xy[i : i + 1, 1], said, int(i))
