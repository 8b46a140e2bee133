"""Where the values of a figure stand in it, so that a page can lay links and numbers over the picture.

A place is two fractions of the plot, from its left and from its top; a figure that was drawn in several shapes has
places in each.
"""

from collections.abc import Iterable, Mapping

import numpy as np


def note(axes, x: Iterable[float], y: Iterable[float], say: str, image: int | None = None) -> None:
    """Note of the figure of `axes` that values stand at `x` and `y`, in the units of its data; `say`: what a page says
    of each, as "epoch {x}: {y:.1f}%"; `image`: the test image that they are of. NaN is left out."""
    known = [(one, other) for one, other in zip(x, y, strict=True) if np.isfinite(other)]
    axes.figure.points += tuple((axes, one, other, say.format(x=one, y=other), image) for one, other in known)


def found(pictures: Mapping) -> dict:
    """Of the `Picture`s of one figure, by shape: `cells`, where its matrix lies (left, top, width, height), and
    `points`, by shape the places (N, 2) of its values, and their `words` and `images`; each only where the figure has
    it."""
    (some, *_), places = pictures.values(), {}
    if some.matrix:
        places["cells"] = {shape: _area(one) for shape, one in pictures.items()}
    if some.points:
        places["points"] = {shape: _points(one) for shape, one in pictures.items()}
        for i, name in enumerate(("words", "images"), 3):
            places["points"][name] = [point[i] for point in some.points]
    return places


def _area(figure) -> list[float]:
    (left, top), (right, bottom) = _fractions(figure, figure.matrix.transAxes.transform([(0, 1), (1, 0)]))
    return _rounded([left, top, right - left, bottom - top])


def _points(figure) -> list[list[float]]:
    pixels = [axes.transData.transform((x, y)) for axes, x, y, *_ in figure.points]
    return [_rounded(one) for one in _fractions(figure, np.array(pixels))]


def _fractions(figure, pixels: np.ndarray) -> np.ndarray:
    """Pixels (N, 2) of a figure that was drawn, as places in what a page shows of it: no head, no foot."""
    width, height = figure.get_size_inches()
    x, y = pixels.T / figure.dpi
    return np.transpose([x / width, (height - figure.head - y) / (height - figure.head - figure.foot)])


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 4) for value in values]
