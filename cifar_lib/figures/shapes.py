"""The shapes in which a figure is drawn: wide for notebooks and laptops, narrow for phones, a thumbnail for a card.

The function that draws a figure asks here which one it draws, and only where the three differ in more than size.
"""

from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps

import matplotlib as mpl
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator

from cifar_lib.figures.palette import STYLE

WIDE, NARROW, THUMBNAIL = "wide", "narrow", "thumbnail"
INCHES = {NARROW: 3.5, THUMBNAIL: 2.1}  # widths: of a phone's 336 CSS pixels, and of a card's 200
THUMBNAIL_HEIGHT = 1.45  # inches
FONTS = {WIDE: {}, NARROW: {"font.size": 8, "legend.fontsize": 8}, THUMBNAIL: {"font.size": 8}}
_now = ContextVar("shape", default=WIDE)


def styled(draw: Callable) -> Callable:
    """`draw`, which returns a `Picture`, in the style that all share; its picture can draw itself in other shapes."""

    @wraps(draw)
    def drawn(*args, **options):
        figure = _as(WIDE, draw, args, options)
        figure.again = partial(_as, draw=draw, args=args, options=options)
        return figure

    return drawn


def pick(wide, narrow):
    """The one that fits what is drawn now; a thumbnail counts as narrow."""
    return wide if _now.get() == WIDE else narrow


def is_thumbnail() -> bool:
    """Whether what is drawn now is to be seen at the size of a card: areas and lines, and hardly a word."""
    return _now.get() == THUMBNAIL


def size_of(width: float, height: float) -> tuple[float, float]:
    """Inches of the plot that would be `width` by `height` inches wide."""
    now = _now.get()
    return min(width, INCHES.get(now, width)), THUMBNAIL_HEIGHT if now == THUMBNAIL else height


def columns(wanted: int, side: float) -> tuple[int, float]:
    """How many squares of `side` inches stand in a row, `wanted` at most, and the side that they get."""
    now = _now.get()
    if now == WIDE:
        return wanted, side
    fit = min(wanted, 4 if now == THUMBNAIL else int(INCHES[now] / min(side, 1.15)))
    return fit, INCHES[now] / fit


def _as(shape: str, draw: Callable, args: tuple, options: dict):
    with _drawing(shape):
        figure = draw(*args, **options)
        if shape == THUMBNAIL:
            _strip(figure)
    return figure


@contextmanager
def _drawing(shape: str):
    token = _now.set(shape)
    try:
        with mpl.rc_context(STYLE | FONTS[shape]):
            yield
    finally:
        _now.reset(token)


def _strip(figure) -> None:
    """Take away what cannot be read at the size of a card: labels, legends, names of rows, words in the plot."""
    for legend in figure.legends[:]:
        legend.remove()
    for axes in figure.axes:
        axes.set(xlabel="", ylabel="", title="")
        for part in [*axes.texts, *filter(None, [axes.get_legend()])]:
            part.remove()
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_tick_params(length=0)
            if isinstance(axis.get_major_locator(), FixedLocator):
                axis.set_ticks([])
            elif isinstance(axis.get_major_locator(), MaxNLocator):
                axis.get_major_locator().set_params(nbins=3)
                if max(axis.get_view_interval()) >= 10_000:
                    axis.set_major_formatter(EngFormatter(sep=""))
