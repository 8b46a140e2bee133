"""A network as one drawing: its way from the image to the logits, and its stem and a block of it unfolded.

What it shows is all from `layer_graph.trace_layers`; lengths are inches, heights are above the foot of the figure.
"""

from itertools import pairwise
from math import sqrt

from cifar_lib.figures import architecture_narrow, shapes
from cifar_lib.figures.architecture_parts import BOX, COLOURS, LETTER, PLUS, arrow, box, logits, slabs, words
from cifar_lib.figures.architecture_words import facts, label, sentence, title, unfolded
from cifar_lib.figures.palette import GREY, GRID, ORANGE
from cifar_lib.figures.picture import Picture, describe, frame, styled

NOTE = "Drawn from the model's own modules and forward pass. BN: batch norm"
HIGH, NAMES, SLABS, TABLE, STEM, BLOCK = 5.3, 4.58, 3.85, 3.12, 1.4, 0.6  # of the figure; what is drawn at what height
LEFT, HEADS, COLUMN, ROW = 0.1, 0.9, 0.92, 0.17  # the heads' column, and the least of the others
TALLEST, ROOM, GAP = 1.0, 0.48, 0.22  # slabs: the highest; all of a part; between two operations


@styled
def architecture(parts: list, source: str = "") -> Picture:
    """The network of `layer_graph.trace_layers`. Raises `ValueError` where its blocks are not all of one kind."""
    rows = {"stem": [label(op) for op in parts[1].blocks[0].ops], "block": unfolded(parts)}
    note = NOTE + "; SE: squeeze-and-excitation." * ("SE" in rows["stem"] + rows["block"])
    draw = shapes.pick(_wide, architecture_narrow.drawn)
    return describe(draw(parts, rows, title(parts), source, note), sentence(parts, rows))


def _wide(parts: list, rows: dict[str, list[str]], title: str, source: str, note: str) -> Picture:
    longest = max(len(line) for part in parts for value in facts(part).values() for line in value.split("\n"))
    column = max(COLUMN, 0.08 + LETTER * longest)
    wide = max(7, HEADS + column * len(parts) + LEFT)
    figure, axes = frame(title, source, note, (wide, HIGH))
    figure.set_layout_engine("none")
    axes.set(position=(0, 0, 1, 1), xlim=(0, wide), ylim=(0, HIGH))
    axes.set_axis_off()
    _heads(axes, parts, wide)
    _columns(axes, parts, column)
    for (name, ops), y in zip(rows.items(), (STEM, BLOCK), strict=True):
        _row(axes, name, ops, y)
    return figure


def _heads(axes, parts: list, wide: float) -> None:
    heads = list(facts(parts[0]))
    for row, head in enumerate(heads):
        words(axes, LEFT, TABLE - ROW * row, head, ha="left", va="top", color=GREY)
    axes.hlines([TABLE + 0.07, TABLE - ROW * (len(heads) + 1) - 0.04], LEFT, wide - LEFT, color=GRID, lw=0.8)


def _columns(axes, parts: list, column: float) -> None:
    """Each part under its name and over its numbers, and arrows between them; all slabs of one scale."""
    thick = [sqrt(part.shape[0]) for part in parts]
    scale = ROOM / max(max(4, 1.4 * len(part.blocks)) * own for part, own in zip(parts, thick, strict=True))
    ends = []
    for k, (part, own) in enumerate(zip(parts, thick, strict=True)):
        x = HEADS + (k + 0.5) * column
        words(axes, x, NAMES, part.name, weight="bold")
        for row, value in enumerate(facts(part).values()):
            words(axes, x, TABLE - ROW * row, value, va="top")
        high = TALLEST * max(part.shape[-1] / parts[0].shape[-1], 1 / 12)
        ends.append(slabs(axes, part, x, SLABS, scale * own, high) if part.shape[1:] else logits(axes, part, x, SLABS))
    for (_, start), (end, _) in pairwise(ends):
        arrow(axes, [(start + 0.05, SLABS), (end - 0.05, SLABS)])


def _row(axes, name: str, ops: list[str], y: float) -> None:
    """Operations from left to right with arrows between them, and the shortcut from before the first to the add."""
    words(axes, LEFT, y, name, ha="left", weight="bold")
    axes.hlines(y, HEADS - 0.12, HEADS + 0.02, color=GREY, lw=1.2)
    end = HEADS
    for op in ops:
        text = "+" if op == "add" else op.replace(" ", "\n")
        wide, high = (PLUS, PLUS) if op == "add" else (0.17 + LETTER * max(map(len, text.split("\n"))), BOX)
        arrow(axes, [(end + 0.02, y), (end + GAP - 0.02, y)])
        box(axes, end + GAP, y, (wide, high), COLOURS.get(op.split()[0], GREY), text)
        end += GAP + wide
        if op == "add":
            _shortcut(axes, end - wide / 2, y)
    arrow(axes, [(end + 0.02, y), (end + GAP, y)])


def _shortcut(axes, end: float, y: float) -> None:
    top = y + BOX / 2 + 0.17
    axes.plot(HEADS, y, "o", color=ORANGE, ms=4.5)
    arrow(axes, [(HEADS, y), (HEADS, top), (end, top), (end, y + PLUS / 2 + 0.02)], ORANGE)
    words(axes, HEADS + 0.1, top + 0.04, "shortcut", ha="left", va="bottom")
