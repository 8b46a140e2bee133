"""A network as figures: its maps, gates, parameters and answers. Arrays in, a `Picture` out; never a model."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from cifar_lib.figures.palette import BLUE, INK, KINDS, ORANGE
from cifar_lib.figures.picture import Picture, describe, frame, grid, styled


@styled
def feature_maps(maps: np.ndarray, titles=None, columns: int = 8, title: str = "", source: str = "") -> Picture:
    """Activations (M, H, W) in rows, all on one scale of colour, each under its title (or number)."""
    titles = [str(i) for i in range(len(maps))] if titles is None else titles
    figure, axes = grid(len(maps), columns, title, source, "", side=0.85, words=0.2)
    scale = {"vmin": min(0, float(np.min(maps))), "vmax": float(np.max(maps))}
    for one, values, words in zip(axes, maps, titles, strict=True):
        shown = one.imshow(values, cmap="viridis", interpolation="none", **scale)
        one.set_title(words, size=8)
    figure.colorbar(shown, ax=figure.axes, label="activation", shrink=0.9, pad=0.02, ticks=MaxNLocator(4))
    height, width = np.shape(maps)[1:]
    return describe(figure, f"{len(maps)} maps of {height} by {width}.")


@styled
def gates(gates: dict, title: str = "Gates by block", source: str = "") -> Picture:
    """SE gates, block name to (channels,) values in 0 to 1: a stroke a channel, a dot for their mean."""
    note = "A stroke is one channel, the dot the mean of its block."
    figure, axes = frame(title, source, note, size=(7, 1.7 + 0.32 * len(gates)))
    means = [float(np.mean(values)) for values in gates.values()]
    for row, values in enumerate(gates.values()):
        strokes = np.repeat(np.ravel(values), 3), np.tile([row - 0.3, row + 0.3, np.nan], np.size(values))
        axes.plot(*strokes, color=BLUE, lw=0.8, alpha=0.7)  # as one line: a marker each would be a large file
    axes.plot(means, range(len(means)), "o", color=ORANGE, ms=6)
    axes.set_yticks(range(len(gates)), [f"{name} ({np.size(v)} channels)" for name, v in gates.items()])
    axes.set(xlim=(-0.02, 1.02), ylim=(len(gates) - 0.5, -0.5))
    axes.set_xlabel("gate (0: the channel is shut, 1: it passes unchanged)")
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
        axes.annotate(text, (count, row), (5, 0), textcoords="offset points", va="center", size=9)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="trainable parameters", xlim=(0, left.max() * 1.28))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.locator_params(axis="x", nbins=5)
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.25), ncols=4)
    listed = "; ".join(f"{name} {count / total:.1%}" for name, count in zip(kinds.index, left, strict=True))
    return describe(figure, f"{int(total):,} in all: {listed}.")


@styled
def probabilities(values: np.ndarray, names, true: int, title: str = "", source: str = "") -> Picture:
    """Probabilities (C,) in 0 to 1 as bars, the true class in another colour."""
    figure, axes = frame(title, source, size=(7, 4.2))
    colours = [ORANGE if i == true else BLUE for i in range(len(names))]
    axes.barh(range(len(names)), 100 * np.asarray(values), color=colours)
    axes.set_yticks(range(len(names)), [f"{name} (true)" if i == true else name for i, name in enumerate(names)])
    axes.set(xlim=(0, 100), xlabel="probability (%)")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    listed = "; ".join(f"{name} {100 * value:.0f}" for name, value in zip(names, values, strict=True))
    return describe(figure, f"Percent by class: {listed}. The true class is {names[true]}.")
