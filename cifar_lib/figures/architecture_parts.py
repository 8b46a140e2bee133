"""What a drawing of a network is made of: slabs, cells, boxes, words and arrows; lengths in inches."""

from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon
from matplotlib.path import Path

from cifar_lib.figures import shapes
from cifar_lib.figures.palette import BLUE, GREY, INK, KINDS, ORANGE, PAPER

COLOURS = KINDS | {"conv": BLUE, "BN": KINDS["batch norm"], "add": ORANGE}
RIGHT, UP = 0.24, 0.15  # the lean of slabs, as shares of their height
BOX, PLUS, CELL, LETTER = 0.38, 0.24, 0.1, 0.067  # heights of an operation and of the add; side of a logit; of a letter


def slabs(axes, part, x: float, y: float, thick: float, high: float) -> tuple[float, float]:
    """A slab for each block, seen from the right, all of them centred on x and y; where they start and end."""
    count, right, up = max(1, len(part.blocks)), RIGHT * high, UP * high
    start, low = x - (thick * (1.4 * count - 0.4) + right) / 2, y - (high + up) / 2
    colour = BLUE if any(op.kind == "conv" for block in part.blocks for op in block.ops) else GREY
    for a in (start + 1.4 * thick * k for k in range(count)):
        b, top = a + thick, low + high
        area(axes, [(a, low), (b, low), (b, top), (a, top)], colour, 0.25, "slab")
        area(axes, [(a, top), (b, top), (b + right, top + up), (a + right, top + up)], colour, 0.12)
        area(axes, [(b, low), (b + right, low + up), (b + right, top + up), (b, top)], colour, 0.45)
    return start, b + right


def logits(axes, part, x: float, y: float) -> tuple[float, float]:
    """A square cell for each value, in a column centred on x and y; where it starts and ends."""
    start, end, low = x - CELL / 2, x + CELL / 2, y - CELL * part.shape[0] / 2
    for at in (low + CELL * k for k in range(part.shape[0])):
        area(axes, [(start, at), (end, at), (end, at + CELL), (start, at + CELL)], COLOURS["linear"], 0.25, "logit")
    words(axes, end + 0.12, y, "logits", rotation=90)
    return start, end


def words(axes, x: float, y: float, text: str, **look) -> None:
    axes.text(x, y, text, **{"ha": "center", "va": "center", "size": shapes.pick(8.5, 8), "color": INK} | look)


def box(axes, x: float, y: float, size: tuple[float, float], colour: str, text: str) -> None:
    """Round if square; it starts at x."""
    look = "circle,pad=0" if size[0] == size[1] else "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch((x, y - size[1] / 2), *size, look, fc=(colour, 0.18), ec=colour))
    words(axes, x + size[0] / 2, y, text)


def area(axes, corners: list, colour: str, tint: float, label: str = "") -> None:
    """A polygon in a tint of its edge's colour, which hides what is behind it."""
    axes.add_patch(Polygon(corners, fc=PAPER, ec="none"))
    axes.add_patch(Polygon(corners, fc=(colour, tint), ec=colour, lw=0.7, joinstyle="round", label=label))


def arrow(axes, points: list, colour: str = GREY) -> None:
    look = {"arrowstyle": "-|>,head_length=4,head_width=2", "mutation_scale": 1, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(path=Path(points), color=colour, lw=1.2, joinstyle="round", capstyle="butt", **look))
