"""The map of test images: a dot for each, a ring and words for each mistake, every class named."""

import numpy as np

from cifar_lib.figures import embedding_plot

NAMES = [f"class {i}" for i in range(10)]


def test_every_mistake_has_a_ring_and_words():
    labels = np.arange(40) % 10
    predicted = labels.copy()
    predicted[[3, 14]] = 0
    xy = np.random.default_rng(0).normal(size=(30, 2))
    figure = embedding_plot.embedding(xy, labels, predicted, NAMES)
    (axes,) = figure.axes
    dots, rings = axes.lines[:-1], axes.lines[-1]
    assert sum(len(line.get_xdata()) for line in dots) == 3 * 30
    np.testing.assert_array_equal(rings.get_xydata(), xy[[3, 14]])
    assert [said for *_, said in ((words, image) for *_, words, image in figure.points)] == [3, 14]
    assert [words for *_, words, _ in figure.points] == [
        "test image 3: class 3, taken for class 0",
        "test image 14: class 4, taken for class 0",
    ]
    assert {text.get_text() for text in axes.texts} == set(NAMES) and "30 test images, 93.3%" in figure.alt


def test_ten_classes_look_different():
    assert len(set(embedding_plot.LOOKS)) == 10
