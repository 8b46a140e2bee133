"""A network as figures: its maps, gates and parameters. Arrays in, a `Picture` out; never a model."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from cifar_lib.figures import rows, shapes
from cifar_lib.figures.palette import BLUE, INK, KINDS, ORANGE
from cifar_lib.figures.picture import Picture, describe, frame, grid, styled


@styled
def feature_maps(maps: np.ndarray, titles=None, columns: int = 8, title: str = "", source: str = "") -> Picture:
    """Activations (M, H, W) in rows, all on one scale of colour, each under its title (or number)."""
    titles = [str(i) for i in range(len(maps))] if titles is None else titles
    figure, axes = grid(len(maps), columns, title, source, "", side=0.85, words=0.2)
    scale = {"vmin": min(0, float(np.min(maps))), "vmax": float(np.max(maps))}
    for one, values, words in zip(axes, maps, titles, strict=False):  # a thumbnail has fewer
        shown = one.imshow(values, cmap="viridis", interpolation="none", **scale)
        one.set_title(words, size=8)
    if not shapes.is_thumbnail():
        figure.colorbar(shown, ax=figure.axes, label="activation", shrink=0.9, pad=0.02, ticks=MaxNLocator(4))
    height, width = np.shape(maps)[1:]
    return describe(figure, f"{len(maps)} maps of {height} by {width}.")


@styled
def gates(gates: dict, title: str = "Gates by block", source: str = "") -> Picture:
    """SE gates, block name to (channels,) values in 0 to 1: a stroke a channel, a dot for their mean."""
    note, half = "A stroke is one channel, the dot the mean of its block.", shapes.pick(0.3, 0.18)
    figure, axes = frame(title, source, note, size=(7, 1.7 + rows.height(len(gates), 0.32, 0.4)))
    means = [float(np.mean(values)) for values in gates.values()]
    for row, values in enumerate(gates.values()):
        strokes = np.repeat(np.ravel(values), 3), np.tile([row - half, row + half, np.nan], np.size(values))
        axes.plot(*strokes, color=BLUE, lw=0.8, alpha=0.7)  # as one line: a marker each would be a large file
    axes.plot(means, range(len(means)), "o", color=ORANGE, ms=6)
    rows.name(axes, [f"{name} ({np.size(v)} channels)" for name, v in gates.items()], half)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("gate (0: channel shut, 1: unchanged)")
    listed = "; ".join(f"{name} {mean:.2f}" for name, mean in zip(gates, means, strict=True))
    return describe(figure, f"Mean gates: {listed}.")


@styled
def shares(table, title: str = "Where the parameters sit", source: str = "") -> Picture:
    """Parameters by part and kind of layer, stacked; `table` as of `models.parameter_table`."""
    kinds = table.drop(index="total").drop(columns=["parameters", "share"], errors="ignore")
    total, left = kinds.to_numpy().sum(), np.zeros(len(kinds))
    figure, axes = frame(title, source, size=(7, 1.6 + 0.42 * len(kinds)))
    for kind in kinds:
        axes.barh(kinds.index, kinds[kind], left=left, label=kind, color=KINDS[kind], ec=INK, lw=0.5)
        left += kinds[kind].to_numpy()
    for row, count in enumerate(left):
        text = f"{int(count):,}, {count / total:.1%}"
        axes.annotate(text, (count, row), (5, 0), textcoords="offset points", va="center", size=shapes.pick(9, 8))
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="trainable parameters", xlim=(0, left.max() * shapes.pick(1.28, 1.75)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.locator_params(axis="x", nbins=shapes.pick(5, 3))
    figure.legend(loc="outside lower center", ncols=shapes.pick(4, 2))
    listed = "; ".join(f"{name} {count / total:.1%}" for name, count in zip(kinds.index, left, strict=True))
    return describe(figure, f"{int(total):,} in all: {listed}.")
