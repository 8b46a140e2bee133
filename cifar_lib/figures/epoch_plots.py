"""What a network learns when: confusion matrices on validation by epoch in, a `Picture` out; never a model."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from cifar_lib.evidence import metrics
from cifar_lib.figures import shapes
from cifar_lib.figures.palette import DEEP_BLUE, DEEP_ORANGE, ramps
from cifar_lib.figures.picture import Picture, describe, frame, styled

WRITTEN = 15  # epochs: up to here each cell has its number


@styled
def class_accuracy(epochs: np.ndarray, counts: np.ndarray, names, source: str = "") -> Picture:
    """Accuracy of each class after each of `epochs` (E,), from `counts` (E, C, C) by true and predicted class; the page
    lets its reader go through the matrices."""
    percent = 100 * metrics.normalised(counts).diagonal(axis1=1, axis2=2).T
    note = "Percent of each class's validation images that are right after the epoch. Full colour: 100."
    figure, axes = frame("Which class it learns when", source, note, size=(7, 4))
    edges = np.arange(len(epochs) + 1) + 0.5
    axes.pcolormesh(edges, np.arange(len(names) + 1), percent, cmap=ramps(DEEP_ORANGE, DEEP_BLUE), vmin=-100, vmax=100)
    axes.set(xlabel="epoch", ylabel="class")
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.invert_yaxis()
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(lambda x, _: f"{epochs[int(x) - 1]}" if 1 <= x <= len(epochs) else "")
    if len(epochs) <= shapes.pick(WRITTEN, 0):
        for row, column in np.ndindex(percent.shape):
            axes.text(column + 1, row + 0.5, f"{percent[row, column]:.0f}", ha="center", va="center", size=8.5)
    figure.by_epoch = True
    ends = ", ".join(f"{name} {share:.0f}" for name, share in zip(names, percent[:, -1], strict=True))
    return describe(figure, f"After epoch {epochs[-1]}, in percent: {ends}.")
