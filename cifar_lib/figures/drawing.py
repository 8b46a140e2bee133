"""What a diagram is drawn with: boxes, slabs, arrows and words on axes whose unit is the inch."""

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon
from matplotlib.path import Path

from cifar_lib.figures.palette import GREY, INK, PAPER
from cifar_lib.figures.picture import Picture

LEAN = (0.24, 0.15)  # of a slab's depth, to the right and up, as shares of its height
CORNER = 0.08  # radius of a bent arrow


def sheet(figure: Picture, axes: Axes) -> tuple[float, float]:
    """Make of the axes a sheet without a frame between head and foot; width and height of it."""
    width, height = map(float, figure.get_size_inches())
    left, high = 0.1, height - figure.head - figure.foot
    figure.set_layout_engine("none")
    axes.set_position([left / width, figure.foot / height, 1 - 2 * left / width, high / height])
    axes.set(xlim=(0, width - 2 * left), ylim=(0, high))
    axes.set_axis_off()
    return width - 2 * left, high


def words(axes: Axes, x: float, y: float, text: str, **look) -> None:
    """Text centred on (x, y) unless `look` says otherwise."""
    axes.text(x, y, text, **{"ha": "center", "va": "center", "size": 8.5, "color": INK} | look)


def area(axes: Axes, corners, colour: str, tint: float, label: str = "") -> None:
    """A polygon in a tint of its edge's colour, which hides what is behind it."""
    axes.add_patch(Polygon(corners, fc=PAPER, ec="none"))
    axes.add_patch(Polygon(corners, fc=(colour, tint), ec=colour, lw=0.7, joinstyle="round", label=label))


def slab(axes: Axes, x: float, y: float, size: tuple[float, float], bands: list[tuple[str, float]]) -> None:
    """A cuboid seen from the right, (thickness, height), its front face from x on, all of it centred on the height y.

    `bands` are the colours of its front and top from left to right, and where each starts as a share of the thickness.
    """
    thick, high = size
    right, up = (share * high for share in LEAN)
    end, low, top = x + thick, y - (high + up) / 2, y + (high - up) / 2
    area(axes, [(end, low), (end + right, low + up), (end + right, top + up), (end, top)], bands[0][0], 0.45, "slab")
    for colour, start in bands:
        left = x + start * thick
        area(axes, [(left, top), (left + right, top + up), (end + right, top + up), (end, top)], colour, 0.12)
        area(axes, [(left, low), (end, low), (end, top), (left, top)], colour, 0.25)


def fan(axes: Axes, x: float, y: float, wide: float, cell: float, count: int, colour: str) -> None:
    """From a point at x to a column of `count` square cells, centred on the height y."""
    low, top, left = y - cell * count / 2, y + cell * count / 2, x + wide + cell
    area(axes, [(x, y - 0.06), (x, y + 0.06), (x + wide, top), (x + wide, low)], colour, 0.25)
    for at in (low + cell * k for k in range(count)):
        area(axes, [(left, at), (left + cell, at), (left + cell, at + cell), (left, at + cell)], GREY, 0.12)


def box(axes: Axes, x: float, y: float, size: tuple[float, float], colour: str, text: str) -> None:
    """A rounded box of (width, height), a disc if square, that starts at x, centred on the height y, with text."""
    look = {"boxstyle": "circle,pad=0" if size[0] == size[1] else "round,pad=0,rounding_size=0.06"}
    corner = (x, y - size[1] / 2)
    axes.add_patch(FancyBboxPatch(corner, *size, fc=PAPER, ec="none", **look))
    axes.add_patch(FancyBboxPatch(corner, *size, fc=(colour, 0.18), ec=colour, lw=1, **look))
    words(axes, x + size[0] / 2, y, text, linespacing=1.15)


def arrow(axes: Axes, points: list[tuple[float, float]], colour: str = GREY) -> None:
    """An arrow through `points`, along straight lines with rounded corners."""
    corners, codes = [points[0]], [Path.MOVETO]
    for before, at, after in zip(points, points[1:], points[2:], strict=False):
        corners += [_towards(at, before), at, _towards(at, after)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    path = Path([*corners, points[-1]], [*codes, Path.LINETO])
    look = {"arrowstyle": "-|>,head_length=4,head_width=2", "mutation_scale": 1, "joinstyle": "miter"}
    axes.add_patch(FancyArrowPatch(path=path, color=colour, lw=1.2, capstyle="butt", shrinkA=0, shrinkB=0, **look))


def _towards(at: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """The point CORNER before `at`, seen from `other`; one of them lies straight beside or above the other."""
    step = [CORNER * ((b > a) - (b < a)) for a, b in zip(at, other, strict=True)]
    return at[0] + step[0], at[1] + step[1]
