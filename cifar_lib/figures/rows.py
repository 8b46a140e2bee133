"""Rows of bars or points, named and labelled so that the words fit the shape of the figure."""

from cifar_lib.figures import shapes
from cifar_lib.figures.palette import PAPER


def height(count: int, wide: float, narrow: float = 0.46) -> float:
    """Inches of `count` rows, each `wide` inches high, or `narrow` where its name stands above it."""
    return count * shapes.pick(wide, narrow)


def name(axes, names, half: float = 0.34) -> None:
    """Name rows from the top down: before the axes, or, in a narrow figure, above what reaches `half` a row up."""
    axes.set_yticks(range(len(names)), shapes.pick(list(names), []))
    axes.set_ylim(len(names) - 0.4, shapes.pick(-0.6, -1))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=shapes.pick(3.5, 0))
    for row, words in enumerate(shapes.pick([], list(names))):
        place = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "va": "bottom", "size": 8}
        axes.annotate(words, (0, row - half), (3, 1), **place).set_in_layout(False)  # it may be longer than the axes


def label(axes, ends, words, room: float) -> None:
    """Write `words` behind the ends of bars, which take 1 of `room` parts of the width."""
    for row, (end, text) in enumerate(zip(ends, words, strict=True)):
        look = {"va": "center", "size": shapes.pick(9, 8), "bbox": {"fc": PAPER, "lw": 0, "pad": 0.5}}
        axes.text(end + 0.02 * max(ends), row, text, **look)
    axes.set_xlim(0, room * max(ends))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.locator_params(axis="x", nbins=max(2, int(axes.bbox.width / 75)))
