"""Which class is learned when: a cell for each class and epoch, whose strength is its share."""

import numpy as np
import pytest

from cifar_lib.figures import epoch_plots
from cifar_lib.notebook import MIME

NAMES = [f"class {i}" for i in range(10)]


def counts(epochs: int) -> np.ndarray:
    """Of 100 images of each class `i`, 10 i are right after every epoch but the last, and then all."""
    right = np.diag(np.arange(10) * 10)
    early = right + np.roll(np.diag(100 - right.diagonal()), 1, 1)
    return np.stack([early] * (epochs - 1) + [np.eye(10, dtype=int) * 100])


@pytest.mark.parametrize("epochs", [1, 2, 15, 16, 300])
def test_each_cell_is_the_share_of_its_class(epochs):
    numbers = np.arange(5, 5 + epochs)
    figure = epoch_plots.class_accuracy(numbers, counts(epochs), NAMES)
    (axes,) = figure.axes
    shown = axes.collections[0].get_array().reshape(10, epochs)
    assert (shown[:, -1] == 100).all() and (shown[:, :-1] == 10 * np.arange(10)[:, None]).all()
    written = [text.get_text() for text in axes.texts]
    assert len(written) == (10 * epochs if epochs <= 15 else 0) and (not written or written[-1] == "100")
    label = axes.xaxis.get_major_formatter()
    assert label(1, 0) == "5" and label(epochs, 0) == str(4 + epochs) and label(0, 0) == label(epochs + 1, 0) == ""
    assert figure._repr_mimebundle_()[MIME]["by_epoch"] and f"After epoch {4 + epochs}" in figure.alt
