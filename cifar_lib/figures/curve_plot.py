"""Accuracy against size as a figure: `size_curve.table` in, a `Picture` out; never a model."""

from itertools import cycle

import numpy as np

from cifar_lib.evidence.published import PUBLISHED
from cifar_lib.figures import shapes
from cifar_lib.figures.palette import BLUE, GREEN, GREY, ORANGE, PURPLE
from cifar_lib.figures.picture import Picture, describe, frame, styled

SIZES = (
    ("parameters", "parameters (millions)", (0.3, 0.5, 1, 2, 5)),
    ("multiply_adds", "multiply-adds per image (millions)", (10, 30, 100, 300, 1000)),
)


@styled
def curve(table, published=PUBLISHED, source: str = "") -> Picture:
    """Test accuracy against parameters and multiply-adds; `table`: `size_curve.table`; `published` networks hollow."""
    note = (
        "Filled: the mean of ours, bars from the lowest run to the highest. Hollow: as others report them, with their "
        "epochs. airbench averages six versions of each image, and each costs its multiply-adds; the authors of this "
        "design chose the epoch on the test set."
    )
    panels = {"ncols": 2, "sharey": True} if shapes.pick(True, False) else {"nrows": 2}
    figure, axes = frame("Accuracy against size", source, note, (8, shapes.pick(5, 8.4)), **panels)
    for panel, (measure, label, ticks) in zip(axes, SIZES, strict=True):
        for family, marker in zip(dict.fromkeys(one.family for one in published), cycle("s^Dv<PX*"), strict=False):
            _reported(panel, [one for one in published if one.family == family], measure, marker)
        alike = (rows for _, rows in table.groupby(["training", "epochs"], sort=False))
        for rows, colour in zip(alike, cycle((BLUE, ORANGE, GREEN, PURPLE)), strict=False):
            _ours(panel, rows, measure, colour)
        panel.set(xscale="log", xlabel=label)
        panel.set_xticks(ticks, map(str, ticks))
        panel.set_xticks([], minor=True)
        panel.set_ylabel(shapes.pick("", "test accuracy (%)"))
    axes[0].set_ylabel("test accuracy (%)")
    size, columns = shapes.pick(8, 7), shapes.pick(3, 1)
    figure.legend_below(*axes[0].get_legend_handles_labels(), ncols=columns, fontsize=size)
    ours = [f"{row.mean:.2f}% with {row.Index} channels" for row in table.itertuples()]
    return describe(figure, f"Ours: {', '.join(ours)}.")


def _ours(panel, rows, measure: str, colour: str) -> None:
    """The widths of one training of one length, joined by a line."""
    ends = [[mean - min(every), max(every) - mean] for mean, every in zip(rows["mean"], rows.every, strict=True)]
    training = rows.training.iloc[0].removeprefix("preset ").replace("label_smoothing", "smoothing")
    label = f"ours, {training}, {rows.epochs.iloc[0]} epochs"
    bars = {"yerr": np.transpose(ends), "capsize": 3, "label": label}
    panel.errorbar(rows[measure] / 1e6, rows["mean"], fmt="o-", color=colour, ms=7, zorder=3, **bars)


def _reported(panel, networks: list, measure: str, marker: str) -> None:
    """The networks of one family for which that measure is known, hollow."""
    known = [one for one in networks if getattr(one, measure) is not None]
    x = [getattr(one, measure) * (one.views if measure == "multiply_adds" else 1) for one in known]
    epochs = " or ".join(dict.fromkeys(f"{one.epochs:g}" for one in networks))
    label = f"{networks[0].family}, {epochs} epochs"
    panel.plot(x, [one.accuracy for one in known], marker + ":", color=GREY, mfc="none", lw=0.8, label=label)
