"""A benchmark as figures: tables of `speed_file` in, a `Picture` out; never a model, and nothing is measured here."""

import numpy as np
from matplotlib.transforms import Bbox

from cifar_lib.figures import rows, shapes
from cifar_lib.figures.palette import BLUE, GREEN, GREY, INK, ORANGE, PAPER
from cifar_lib.figures.picture import Picture, describe, frame, styled

HUES = {"reference": GREY, "float32": BLUE, "bfloat16": ORANGE}
THICK = 0.68  # of a row: its bar
TRIFLE = 0.005  # of a step's time: what takes less is left out of a picture
TURN = np.radians([0, 345, 15, 315, 180, 195, 330, 225, 300, 240, 270, 30, 45, 60, 90, 120, 150])
AROUND = np.stack([np.cos(TURN), np.sin(TURN)], 1)  # of a point, for its label: where to look for room first
STRETCH = np.linspace(0, 1, 50)[:, None]  # along a line


def _number(value: float) -> str:
    """To three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _rows(axes, names, ends, words, label: str) -> str:
    """Label bars from the top: names at them, words behind their ends; the same as a line."""
    rows.label(axes, ends, words, room=shapes.pick(1.3, 1.75))
    rows.name(axes, names, half=shapes.pick(THICK / 2, 0.2))
    axes.set_xlabel(label)
    return "; ".join(map(": ".join, zip(names, words, strict=True))) + "."


@styled
def ladder(table, source: str = "") -> Picture:
    """Training throughput by loop, the references at the top; `table` as of `Speed.ladder`."""
    note = "Bars: median of the rounds; whiskers: lowest, highest. ×: to the best reference of the same round, median."
    figure, axes = frame("Training rate", source, note, (7, 1.75 + rows.height(len(table), 0.33)))
    kinds = table.precision.mask(table.reference, "reference")
    colours, labels = [HUES.get(kind, GREEN) for kind in kinds], kinds.mask(kinds.duplicated(), "_")
    whiskers, thin = [table.img_s - table.low, table.high - table.img_s], {"capsize": 3, "lw": 1, "ecolor": INK}
    bars = {"color": colours, "label": list(labels), "xerr": whiskers, "error_kw": thin}
    axes.barh(range(len(table)), table.img_s, shapes.pick(THICK, 0.4), **bars)
    words = [f"{row.img_s:,.1f} img/s, {row.ratio:.2f}×" for row in table.itertuples()]
    axes.legend(loc="upper right")
    return describe(figure, _rows(axes, table.loop, table.high, words, "training images per second"))


@styled
def profile(kinds, precision: str, source: str = "") -> Picture:
    """Where a step of `precision` spends its time, and the least that the limits allow; `kinds` as of `Speed`."""
    table = kinds[kinds.share >= TRIFLE]
    time, least = 1000 * table.seconds, 1000 * table.bound
    note = f"Least: the slower of its arithmetic and bytes at the measured limits. Left out: kinds below {TRIFLE:.1%}."
    figure, axes = frame("Where a step's time goes", source, note, (7, 1.9 + rows.height(len(table), 0.4)))
    axes.barh(table.kind, time, color=HUES[precision], height=shapes.pick(THICK, 0.4), label=f"measured, {precision}")
    axes.barh(table.kind, least, color=INK, height=shapes.pick(0.2, 0.12), label="least, by the machine's limits")
    words = [f"{_number(one)} ms, {share:.1%}" for one, share in zip(time, table.share, strict=True)]
    axes.legend(loc="lower right")
    return describe(figure, _rows(axes, table.kind, np.maximum(time, least), words, "milliseconds per step"))


@styled
def roofline(speed, source: str = "") -> Picture:
    """Kinds of operation, and whole steps, under the machine's measured limits; `speed` as read."""
    kinds = speed.kinds[(speed.kinds.share >= 4 * TRIFLE) & (speed.kinds.flops > 0)]
    note = "Ceilings: the fastest large product or convolution measured. Diamonds: whole steps; discs: kinds of "
    note += "operation, area by share of the profiled step. Left out: trifles and what has no arithmetic to count, "
    note += f"{1 - kinds.share.sum():.1%}."
    figure, axes = frame("How far from the machine's limits?", source, note, (7, 5.8))
    x, words = kinds.flops / kinds.bytes, kinds.kind + kinds.share.map(", {:.0%}".format)
    hue = HUES[speed.profiled.precision]
    points = [*zip(x, kinds.gflops, 1000 * kinds.share, [hue] * len(kinds), words, strict=True), *_steps(speed)]
    x, y = np.array([point[:2] for point in points]).T
    slope = speed.facts["limits"]["bandwidth"] / 1e9
    left = min(x.min() / 3, speed.limit("float32") / 1e9 / slope / 8)  # so that the slope of the memory shows
    axes.set(xlabel="FLOPs a byte", ylabel="GFLOP/s", xlim=(left, x.max() * 14))
    axes.set_ylim(bottom=min(y.min() / 3, slope * left))
    for i, (at, rate, area, colour, _) in enumerate(points):
        axes.scatter(at, rate, area, color=colour, ec=PAPER, marker="oD"[i >= len(kinds)], zorder=4)  # over leaders
    _label(figure, axes, points, _roofs(axes, speed))
    return describe(figure, "; ".join(f"{text}: {rate:.3g} GFLOP/s" for _, rate, _, _, text in points) + ".")


def _steps(speed) -> list[tuple]:
    """The whole step of the best reference and of our best loop in each precision: x, y, area, colour, words."""
    best = speed.ladder.loc[lambda table: table.groupby([~table.reference, "precision"]).img_s.idxmax()]
    x = [work.flops.sum() / work.bytes.sum() for work in map(speed.bound, best.precision)]
    words = "step, " + best.loop.where(best.reference, "ours, " + best.precision)
    colours = best.precision.mask(best.reference, "reference").map(HUES)
    return [*zip(x, best.gflops, [60] * len(best), colours, words, strict=True)]


def _roofs(axes, speed) -> np.ndarray:
    """Draw the measured limits, a slope for the memory and a ceiling for each precision; points (N, 2) on them."""
    (left, right), slope = axes.get_xlim(), speed.facts["limits"]["bandwidth"] / 1e9
    x, peaks = np.geomspace(left, right, 400), {name: speed.limit(name) / 1e9 for name in HUES if speed.limit(name) > 0}
    axes.loglog(x, np.minimum(slope * x, max(peaks.values())), color=INK, zorder=1)
    axes.set_ylim(top=2.5 * max(peaks.values()))
    for name, peak in peaks.items():
        axes.hlines(peak, peak / slope, right, color=HUES[name], zorder=1)
        axes.hlines(peak, left, peak / slope, color=HUES[name], lw=1, ls=":")
        words = f"{name}: {_number(peak)} GFLOP/s"
        axes.annotate(words, (left, peak), (4, 3), textcoords="offset points", size=shapes.pick(9, 7.5))
    along = {"rotation": np.degrees(np.arctan(slope)), "transform_rotates_text": True, "rotation_mode": "anchor"}
    middle = (left * min(peaks.values()) / slope) ** 0.5
    along |= {"size": shapes.pick(9, 7.5), "ha": "center"}
    axes.text(middle, 1.2 * slope * middle, f"memory: {_number(slope)} GB/s", **along)
    roofs = [np.minimum(slope * x, peak) for peak in peaks.values()] + [1.5 * slope * x[:180]]
    return np.concatenate([np.stack([x[: len(roof)], roof], 1) for roof in roofs])


def _label(figure, axes, points, lines) -> None:
    """Write each point's words as near to it as there is room, the largest one's first."""
    figure.draw_without_rendering()
    pixel, gaps = figure.dpi / 72, np.arange(4, 200, 5)
    centres, lines = axes.transData.transform([point[:2] for point in points]), axes.transData.transform(lines)
    radii = [pixel * (point[2] / np.pi) ** 0.5 for point in points]
    discs = [Bbox([centre - r, centre + r]) for centre, r in zip(centres, radii, strict=True)]
    taken = [text.get_window_extent() for text in axes.texts if not text.get_rotation()]
    thin = {"arrowstyle": "-", "color": GREY, "lw": 0.6, "shrinkA": 0, "shrinkB": 0}
    look = {"ha": "center", "va": "center", "textcoords": "offset points", "arrowprops": thin}
    look |= {"size": shapes.pick(8.5, 7.5)}
    for i in np.argsort(radii)[::-1]:
        label = axes.annotate(points[i][4], points[i][:2], (0, 0), **look)
        half = label.get_window_extent().size / 2
        tries = [way * (radii[i] + gap) + half * (1.5 * way).clip(-1, 1) for gap in gaps for way in AROUND]
        offset = min(tries, key=lambda one: _badness(centres[i], one, half, axes.bbox, lines, taken, taken + discs))
        taken.append(Bbox(centres[i] + offset + [-half, half]))
        lines = np.concatenate([lines, centres[i] + STRETCH * offset])
        label.xyann = offset / pixel


def _badness(centre, offset, half, inside, lines, labels, taken) -> float:
    """Of a label's place: how far it is, and far worse, what it and the line to it would cover."""
    box, leader = Bbox(centre + offset + [-half, half]), centre + STRETCH * offset
    outside = (box.min < inside.min).any() + (box.max > inside.max).any()
    hits = box.count_contains(lines) + 9 * box.count_overlaps(taken) + sum(one.count_contains(leader) for one in labels)
    return np.hypot(*(abs(offset) - half).clip(0)) + 100 * hits + 10_000 * outside
