"""The drawing of a network for a phone, from the top down: its parts one under the other, then stem and block unfolded;
and the row of its slabs alone, for a thumbnail. Lengths are inches."""

from itertools import pairwise
from math import sqrt

from cifar_lib.figures import shapes
from cifar_lib.figures.architecture_parts import CELL, COLOURS, PLUS, area, arrow, box, slabs, words
from cifar_lib.figures.architecture_words import facts
from cifar_lib.figures.palette import GREY, ORANGE
from cifar_lib.figures.picture import Picture, frame

PART, SLAB, TEXT, LINE = 0.8, 0.5, 1.25, 0.15  # heights of a part and of the largest slab; where words start; of a line
ROOM, MIDDLE = 0.55, 0.55  # all slabs of a part at most, side by side; x of their middle
COLUMNS, TOP, STEP = (0.85, 2.4), 0.35, 0.4  # x of stem and block; what is left above them; from one box to the next
WIDE, HIGH = 1.05, 0.25  # of a box


def drawn(parts: list, rows: dict[str, list[str]], title: str, source: str, note: str) -> Picture:
    """The network's `parts` and the operations of `rows`, stem and block, by name."""
    below = PART * len(parts) + TOP + STEP * (1.3 + max(map(len, rows.values())))
    figure, axes = frame(title, source, note, (7, below + 0.85))
    figure.set_layout_engine("none")
    width, top = figure.get_size_inches()
    axes.set(position=(0, 0, 1, 1), xlim=(0, width), ylim=(0, top))
    axes.set_axis_off()
    if shapes.is_thumbnail():
        _row(axes, parts, width, top / 2)
        return figure
    places = [_part(axes, part, _scale(parts, ROOM), top - PART * (k + 0.5)) for k, part in enumerate(parts)]
    for (_, low), (high, _) in pairwise(places):
        arrow(axes, [(MIDDLE, low - 0.03), (MIDDLE, high + 0.03)])
    for x, (name, ops) in zip(COLUMNS, rows.items(), strict=True):
        _column(axes, x, top - PART * len(parts) - TOP, name, ops)
    return figure


def _scale(parts: list, room: float) -> float:
    """Inches of thickness for the square root of a channel, so that the widest part has `room`."""
    return room / max(max(4, 1.4 * len(part.blocks)) * sqrt(part.shape[0]) for part in parts)


def _part(axes, part, scale: float, y: float) -> tuple[float, float]:
    """A part's slabs and its words; where the slabs begin and end, from above."""
    high = SLAB * max(part.shape[-1] / 32, 1 / 8) if part.shape[1:] else CELL
    if part.shape[1:]:
        slabs(axes, part, MIDDLE, y, scale * sqrt(part.shape[0]), high)
    else:
        _cells(axes, part.shape[0], MIDDLE, y)
    lines = [line for line in _lines(part) if line]
    top = y + LINE * len(lines) / 2
    for row, line in enumerate([part.name, *lines]):
        look = {"weight": "bold"} if row == 0 else {"color": GREY}
        words(axes, TEXT, top - LINE * row, line, ha="left", **look)
    return y + 0.6 * high, y - 0.6 * high


def _lines(part) -> list[str]:
    own = facts(part)
    size = f"{own['channels']} × {own['map']}" if own["map"] else f"{own['channels']} logits"
    kernel = f"{own['kernel']}, stride {own['stride']}" if own["kernel"] else ""
    blocks = f"{own['blocks']} blocks" if own["blocks"] else ""
    shortcut = own["shortcut"].replace("\n", "; ")
    return [
        " · ".join(filter(None, [blocks, size, kernel])),
        f"{own['parameters']} parameters" if own["parameters"] else "",
        f"shortcut: {shortcut}" if shortcut else "",
    ]


def _cells(axes, count: int, x: float, y: float) -> None:
    """A row of `count` cells, a logit each, centred on x and y."""
    for start in (x - CELL * count / 2 + CELL * k for k in range(count)):
        corners = [(start, y - CELL / 2), (start + CELL, y - CELL / 2), (start + CELL, y + CELL / 2)]
        area(axes, [*corners, (start, y + CELL / 2)], COLOURS["linear"], 0.25, "logit")


def _column(axes, x: float, y: float, name: str, ops: list[str]) -> None:
    """Operations from y down, centred on x, with arrows between them, and the shortcut at their right."""
    words(axes, x, y + 0.2, name, weight="bold")
    start = y
    for k, op in enumerate(ops):
        high, wide = (PLUS, PLUS) if op == "add" else (HIGH, WIDE)
        at = start - STEP * (k + 0.75)
        arrow(axes, [(x, at + STEP - HIGH / 2 if k else start), (x, at + high / 2 + 0.02)])
        colour = COLOURS.get(op.split()[0], GREY)
        box(axes, x - wide / 2, at, (wide, high), colour, "+" if op == "add" else op)
        if op == "add":
            _shortcut(axes, x, start - 0.05, at)
    arrow(axes, [(x, at - HIGH / 2), (x, at - HIGH / 2 - 0.2)])


def _shortcut(axes, x: float, start: float, end: float) -> None:
    right = x + WIDE / 2 + 0.15
    axes.plot(x, start, "o", color=ORANGE, ms=4)
    arrow(axes, [(x, start), (right, start), (right, end), (x + PLUS / 2 + 0.02, end)], ORANGE)
    words(axes, right + 0.1, (start + end) / 2, "shortcut", rotation=90)


def _row(axes, parts: list, width: float, y: float) -> None:
    """The slabs alone, from left to right."""
    for k, part in enumerate(parts[:-1]):
        high = 0.7 * max(part.shape[-1] / 32, 1 / 8)
        slabs(axes, part, width * (k + 0.5) / len(parts), y, _scale(parts, 0.22) * sqrt(part.shape[0]), high)
    for k in range(parts[-1].shape[0]):
        low = y + CELL * (k - parts[-1].shape[0] / 2)
        x = width * (1 - 0.5 / len(parts))
        area(axes, [(x, low), (x + CELL, low), (x + CELL, low + CELL), (x, low + CELL)], COLOURS["linear"], 0.25)
