"""A network as one drawing: its way from the image to the logits, and its stem and a block of it unfolded.

What it shows is all from `layer_graph.trace_layers`; lengths are inches, heights are above the foot of the figure.
"""

from itertools import pairwise
from math import sqrt

from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon
from matplotlib.path import Path

from cifar_lib.figures.architecture_words import facts, label, sentence, title, unfolded
from cifar_lib.figures.palette import BLUE, GREY, GRID, INK, KINDS, ORANGE, PAPER
from cifar_lib.figures.picture import Picture, describe, frame, styled

COLOURS = KINDS | {"conv": BLUE, "BN": KINDS["batch norm"], "add": ORANGE}
NOTE = "Drawn from the model's own modules and forward pass. BN: batch norm"
HIGH, NAMES, SLABS, TABLE, STEM, BLOCK = 5.3, 4.58, 3.85, 3.12, 1.4, 0.6  # of the figure; what is drawn at what height
LEFT, HEADS, COLUMN, ROW, LETTER = 0.1, 0.9, 0.92, 0.17, 0.067  # the heads' column, and the least of the others
TALLEST, ROOM, RIGHT, UP = 1.0, 0.48, 0.24, 0.15  # slabs: the highest; all of a part; their lean, as shares of height
BOX, PLUS, GAP, CELL = 0.38, 0.24, 0.22, 0.1  # heights of an operation and of the add, between two; side of a logit


@styled
def architecture(parts: list, source: str = "") -> Picture:
    """The network of `layer_graph.trace_layers`. Raises `ValueError` where its blocks are not all of one kind."""
    rows = {"stem": [label(op) for op in parts[1].blocks[0].ops], "block": unfolded(parts)}
    longest = max(len(line) for part in parts for value in facts(part).values() for line in value.split("\n"))
    column = max(COLUMN, 0.08 + LETTER * longest)
    wide = max(7, HEADS + column * len(parts) + LEFT)
    note = NOTE + "; SE: squeeze-and-excitation." * ("SE" in rows["stem"] + rows["block"])
    figure, axes = frame(title(parts), source, note, (wide, HIGH))
    figure.set_layout_engine("none")
    axes.set(position=(0, 0, 1, 1), xlim=(0, wide), ylim=(0, HIGH))
    axes.set_axis_off()
    _heads(axes, parts, wide)
    _columns(axes, parts, column)
    for (name, ops), y in zip(rows.items(), (STEM, BLOCK), strict=True):
        _row(axes, name, ops, y)
    return describe(figure, sentence(parts, rows))


def _heads(axes, parts: list, wide: float) -> None:
    heads = list(facts(parts[0]))
    for row, head in enumerate(heads):
        _words(axes, LEFT, TABLE - ROW * row, head, ha="left", va="top", color=GREY)
    axes.hlines([TABLE + 0.07, TABLE - ROW * (len(heads) + 1) - 0.04], LEFT, wide - LEFT, color=GRID, lw=0.8)


def _columns(axes, parts: list, column: float) -> None:
    """Each part under its name and over its numbers, and arrows between them; all slabs of one scale."""
    thick = [sqrt(part.shape[0]) for part in parts]
    scale = ROOM / max(max(4, 1.4 * len(part.blocks)) * own for part, own in zip(parts, thick, strict=True))
    ends = []
    for k, (part, own) in enumerate(zip(parts, thick, strict=True)):
        x = HEADS + (k + 0.5) * column
        _words(axes, x, NAMES, part.name, weight="bold")
        for row, value in enumerate(facts(part).values()):
            _words(axes, x, TABLE - ROW * row, value, va="top")
        high = TALLEST * max(part.shape[-1] / parts[0].shape[-1], 1 / 12)
        ends.append(_slabs(axes, part, x, scale * own, high) if part.shape[1:] else _logits(axes, part, x))
    for (_, start), (end, _) in pairwise(ends):
        _arrow(axes, [(start + 0.05, SLABS), (end - 0.05, SLABS)])


def _slabs(axes, part, x: float, thick: float, high: float) -> tuple[float, float]:
    """A slab for each block, seen from the right, all of them centred on x; where they start and end."""
    count, right, up = max(1, len(part.blocks)), RIGHT * high, UP * high
    start, low = x - (thick * (1.4 * count - 0.4) + right) / 2, SLABS - (high + up) / 2
    colour = BLUE if any(op.kind == "conv" for block in part.blocks for op in block.ops) else GREY
    for a in (start + 1.4 * thick * k for k in range(count)):
        b, top = a + thick, low + high
        _area(axes, [(a, low), (b, low), (b, top), (a, top)], colour, 0.25, "slab")
        _area(axes, [(a, top), (b, top), (b + right, top + up), (a + right, top + up)], colour, 0.12)
        _area(axes, [(b, low), (b + right, low + up), (b + right, top + up), (b, top)], colour, 0.45)
    return start, b + right


def _logits(axes, part, x: float) -> tuple[float, float]:
    """A square cell for each value, in a column centred on x; where it starts and ends."""
    start, end, low = x - CELL / 2, x + CELL / 2, SLABS - CELL * part.shape[0] / 2
    for y in (low + CELL * k for k in range(part.shape[0])):
        _area(axes, [(start, y), (end, y), (end, y + CELL), (start, y + CELL)], COLOURS["linear"], 0.25, "logit")
    _words(axes, end + 0.12, SLABS, "logits", rotation=90)
    return start, end


def _row(axes, name: str, ops: list[str], y: float) -> None:
    """Operations from left to right with arrows between them, and the shortcut from before the first to the add."""
    _words(axes, LEFT, y, name, ha="left", weight="bold")
    axes.hlines(y, HEADS - 0.12, HEADS + 0.02, color=GREY, lw=1.2)
    end = HEADS
    for op in ops:
        text = "+" if op == "add" else op.replace(" ", "\n")
        wide, high = (PLUS, PLUS) if op == "add" else (0.17 + LETTER * max(map(len, text.split("\n"))), BOX)
        _arrow(axes, [(end + 0.02, y), (end + GAP - 0.02, y)])
        _box(axes, end + GAP, y, (wide, high), COLOURS.get(op.split()[0], GREY), text)
        end += GAP + wide
        if op == "add":
            _shortcut(axes, end - wide / 2, y)
    _arrow(axes, [(end + 0.02, y), (end + GAP, y)])


def _shortcut(axes, end: float, y: float) -> None:
    top = y + BOX / 2 + 0.17
    axes.plot(HEADS, y, "o", color=ORANGE, ms=4.5)
    _arrow(axes, [(HEADS, y), (HEADS, top), (end, top), (end, y + PLUS / 2 + 0.02)], ORANGE)
    _words(axes, HEADS + 0.1, top + 0.04, "shortcut", ha="left", va="bottom")


def _words(axes, x: float, y: float, text: str, **look) -> None:
    axes.text(x, y, text, **{"ha": "center", "va": "center", "size": 8.5, "color": INK} | look)


def _box(axes, x: float, y: float, size: tuple[float, float], colour: str, text: str) -> None:
    """Round if square; it starts at x."""
    look = "circle,pad=0" if size[0] == size[1] else "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch((x, y - size[1] / 2), *size, look, fc=(colour, 0.18), ec=colour))
    _words(axes, x + size[0] / 2, y, text)


def _area(axes, corners: list, colour: str, tint: float, label: str = "") -> None:
    """A polygon in a tint of its edge's colour, which hides what is behind it."""
    axes.add_patch(Polygon(corners, fc=PAPER, ec="none"))
    axes.add_patch(Polygon(corners, fc=(colour, tint), ec=colour, lw=0.7, joinstyle="round", label=label))


def _arrow(axes, points: list, colour: str = GREY) -> None:
    look = {"arrowstyle": "-|>,head_length=4,head_width=2", "mutation_scale": 1, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(path=Path(points), color=colour, lw=1.2, joinstyle="round", capstyle="butt", **look))
