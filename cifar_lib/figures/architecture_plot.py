"""A network as one drawing: its way from the image to the logits, and its stem and a block of it unfolded.

What it shows is all from an outline (`layer_graph.trace_layers`); lengths are inches.
"""

import textwrap
from math import sqrt
from typing import NamedTuple

from cifar_lib.figures.architecture_words import (
    ROWS,
    facts,
    has,
    kernels,
    label,
    sentence,
    shortcuts,
    stages,
    total,
    unfolded,
)
from cifar_lib.figures.drawing import LEAN, arrow, box, fan, sheet, slab, words
from cifar_lib.figures.palette import BLUE, GREEN, GREY, GRID, KINDS, ORANGE
from cifar_lib.figures.picture import Picture, describe, frame, styled

COLOURS = KINDS | {"add": ORANGE}
NOTE = "Drawn from the model's own modules and forward pass. BN: batch norm"
SLABS, TABLE, STEM = 0.9, 1.75, 3.1  # from the top to the middle of the slabs, to the first row of numbers, to the stem
HEADS, LINE, LETTER = 0.9, 0.17, 0.073  # the column of row heads, a row of the table, a letter
TALLEST, THICKEST, THINNEST = 1.05, 0.17, 0.03  # slabs: of the largest maps; of the most channels, of the fewest
GAP, RUN = 0.06, 2.5  # between two slabs; for all slabs side by side, however many there are
FAN, CELL = 0.36, 0.1  # the linear layer, and a logit
BLOCK, LEAD = 0.3, 0.36  # from the bottom to the block's operations; the line that leads to the first of them
BOX, PLUS = 0.38, 0.24  # heights of an operation and of the addition


class Column(NamedTuple):
    """A part, and how thick, how high and how far apart its slabs are."""

    part: object
    thick: float
    high: float
    gap: float

    @property
    def extent(self) -> float:
        """From the left edge of the first slab to the right edge of the last."""
        count = max(1, len(self.part.blocks))
        return count * self.thick + (count - 1) * self.gap + LEAN[0] * self.high

    @property
    def need(self) -> float:
        """With its words, and a margin."""
        return max(self.extent, LETTER * max(map(len, (self.part.name, *facts(self.part))))) + 0.2


@styled
def architecture(outline: list, source: str = "") -> Picture:
    """The network of `layer_graph.trace_layers`. Raises `ValueError` where its blocks are not all of one kind."""
    columns = _columns([part for part in outline if part.name != "flatten"])
    width = max(7, 0.2 + HEADS + sum(column.need for column in columns))
    detour = textwrap.wrap(f"shortcut: {shortcuts(outline)}", int(12.2 * width))
    note = NOTE + "; SE: squeeze-and-excitation, green." if has(outline, "SE") else f"{NOTE}."
    figure, axes = frame("The network", source, note, (width, 5 + 0.15 * len(detour)))
    wide, high = sheet(figure, axes)
    _heads(axes, "\n".join(total(outline)), wide, high)
    _way(axes, columns, wide, high)
    _unfold(axes, outline, "\n".join(detour), wide, high - STEM)
    return describe(figure, sentence(outline))


def _columns(parts: list) -> list[Column]:
    side, most = max(part.shape[-1] for part in parts if part.shape[1:]), max(part.shape[0] for part in parts)
    thick = [max(THINNEST, THICKEST * sqrt(part.shape[0] / most)) for part in parts]
    scale = min(1, RUN / sum(len(part.blocks) * (own + GAP) for part, own in zip(parts, thick, strict=True)))
    return [_column(part, own, scale, side) for part, own in zip(parts, thick, strict=True)]


def _column(part, thick: float, scale: float, side: int) -> Column:
    if not part.shape[1:]:
        return Column(part, FAN + 4 * CELL, 0, 0)
    return Column(part, scale * thick, TALLEST * max(part.shape[-1] / side, 1 / 12), scale * GAP)


def _way(axes, columns: list[Column], wide: float, high: float) -> None:
    """The upper half: each part in its column, under its name and over its numbers, and arrows between them."""
    spare = (wide - HEADS - sum(column.need for column in columns)) / len(columns)
    left, end = HEADS, None
    for column in columns:
        x = left + (column.need + spare) / 2
        start = x - column.extent / 2
        words(axes, x, high - 0.12, column.part.name, weight="bold")
        for row, fact in enumerate(facts(column.part)):
            words(axes, x, high - TABLE - LINE * row, fact)
        if end:
            arrow(axes, [(end + 0.05, high - SLABS), (start - 0.05, high - SLABS)])
        (_slabs if column.high else _logits)(axes, column, start, high - SLABS)
        left, end = left + column.need + spare, start + column.extent


def _slabs(axes, column: Column, x: float, y: float) -> None:
    """A slab for each block, green at its end if it has squeeze-and-excitation."""
    for k, block in enumerate(column.part.blocks or [None]):
        kinds = [op.kind for op in block.way] if block else [""]
        bands = [(BLUE if "convolution" in kinds else GREY, 0)] + [(GREEN, 0.72)] * ("SE" in kinds)
        slab(axes, x + k * (column.thick + column.gap), y, (column.thick, column.high), bands)


def _logits(axes, column: Column, x: float, y: float) -> None:
    fan(axes, x, y, FAN, CELL, column.part.shape[0], COLOURS.get(column.part.blocks[0].way[0].kind, GREY))
    words(axes, x + FAN + 3.1 * CELL, y, "logits", rotation=90)


def _heads(axes, summary: str, wide: float, high: float) -> None:
    """The first column: the sums of all parts beside the slabs, and the heads of the rows of numbers."""
    words(axes, 0, high - SLABS, summary, ha="left", linespacing=1.5)
    for row, head in enumerate(ROWS):
        words(axes, 0, high - TABLE - LINE * row, head, ha="left", color=GREY)
    axes.hlines([high - TABLE + 0.14, high - TABLE - LINE * len(ROWS) + 0.03], 0, wide, color=GRID, lw=0.8)


def _unfold(axes, outline: list, detour: str, wide: float, y: float) -> None:
    """The lower half: what the stem does, and what a block does and what goes round it."""
    block, sizes = unfolded(outline), kernels(stages(outline))
    boxes = [_box(op, sizes) for op in block.way]
    gap = min(0.32, (wide - HEADS - LEAD - sum(width for width, *_ in boxes)) / len(boxes))
    _row(axes, "stem", [_box(op, [op.kernel]) for op in outline[1].blocks[0].way], gap, y)
    at = _row(axes, "block", boxes, gap, BLOCK)
    if block.shortcut:
        start, end = at[block.shortcut.start][0], sum(at[block.shortcut.end]) / 2
        _detour(axes, start - (gap if block.shortcut.start else LEAD) / 2, end, detour)


def _detour(axes, fork: float, end: float, text: str) -> None:
    """The arrow from the fork round the operations into the one at `end`, under its text."""
    top = BLOCK + BOX / 2 + 0.2
    arrow(axes, [(fork, BLOCK), (fork, top), (end, top), (end, BLOCK + PLUS / 2)], ORANGE)
    axes.plot(fork, BLOCK, "o", color=ORANGE, ms=4.5)
    words(axes, fork + 0.1, top + 0.05, text, ha="left", va="bottom", linespacing=1.2)


def _box(op, sizes: list[int]) -> tuple:
    """Width, height, text and colour of an operation's box."""
    text = label(op, sizes)
    size = (PLUS, PLUS) if text == "+" else (0.16 + LETTER * max(map(len, text.split("\n"))), BOX)
    return *size, text, COLOURS.get(op.kind, GREY)


def _row(axes, name: str, boxes: list[tuple], gap: float, y: float) -> list[tuple[float, float]]:
    """Operations from left to right with arrows between them; where each box starts and ends."""
    words(axes, 0, y, name, ha="left", weight="bold")
    at, end = [], HEADS
    for wide, high, text, colour in boxes:
        start = end + (gap if at else LEAD)
        arrow(axes, [(end + 0.02 * bool(at), y), (start - 0.02, y)])
        box(axes, start, y, (wide, high), colour, text)
        end = start + wide
        at.append((start, end))
    arrow(axes, [(end + 0.02, y), (end + gap, y)])
    return at
