"""A network as figures: its maps, gates, answers and parameters. Arrays in, a `Picture` out; never a model."""

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import zoom

from cifar_lib.figures import rows, shapes
from cifar_lib.figures.palette import BLUE, DEEP_BLUE, DEEP_ORANGE, GREY, INK, KINDS, ORANGE, ramps
from cifar_lib.figures.picture import Picture, describe, frame, grid, styled

FINE = 0.004  # of a gate: about a pixel
HEAT, TINY = 0.6, 1e-9  # how much heat hides the image; and what no scale falls below


@styled
def feature_maps(
    maps: np.ndarray, titles=None, columns: int = 8, title: str = "", source: str = "", unit: str = "activation"
) -> Picture:
    """Activations (M, H, W) in rows, all on one scale of colour in that unit, each under its title (or number).

    Where some are negative, zero is the paper's colour, orange lies above it and blue as far below.
    """
    titles = [str(i) for i in range(len(maps))] if titles is None else titles
    figure, axes = grid(len(maps), columns, title, source, "", side=0.85, words=0.2)
    negative, top = np.min(maps) < 0, float(np.abs(maps).max())
    look = {"cmap": ramps(DEEP_BLUE, DEEP_ORANGE) if negative else "viridis", "vmin": -top * negative, "vmax": top}
    for one, values, words in zip(axes, maps, titles, strict=False):  # a thumbnail has fewer
        shown = one.imshow(values, interpolation="none", **look)
        one.spines[:].set(visible=bool(negative), color=GREY, lw=0.6)  # where the paper's colour would end nowhere
        one.set_title(words, size=8)
    if not shapes.is_thumbnail():
        figure.colorbar(shown, ax=figure.axes, label=unit, shrink=0.9, pad=0.02, ticks=MaxNLocator(4))
    height, width = np.shape(maps)[1:]
    return describe(figure, f"{len(maps)} maps of {height} by {width}.")


@styled
def heat_maps(images: np.ndarray, heats: np.ndarray, titles, title: str = "", source: str = "") -> Picture:
    """A row for each of images (N, H, W, 3) uint8: itself, then in grey under each of its heats (N, K, h, w) from 0,
    all on one scale per image; `titles` (N, K + 1)."""
    note = "Bright: raises the logit of the class above it; dark: does not. One scale for both classes of an image."
    shown = [
        [image, *(_heated(image, heat / max(np.max(own), TINY)) for heat in own)]
        for image, own in zip(images, heats, strict=True)
    ]
    cells = [cell for row in shown for cell in row]
    figure, axes = grid(len(cells), len(shown[0]), title, source, note, side=1.6, words=0.42)
    for one, cell, words in zip(axes, cells, np.ravel(titles), strict=False):  # a thumbnail has fewer
        one.imshow(cell, interpolation="none")
        one.set_title(words, size=shapes.pick(9, 8))
    return describe(figure, "; ".join(np.ravel(titles)).replace("\n", ", ") + ".")


def _heated(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) uint8 in grey under its heat (h, w), 0 to 1, enlarged to the same size."""
    grey = image @ np.array([0.299, 0.587, 0.114])
    large = zoom(heat, np.divide(grey.shape, heat.shape), order=1, mode="nearest", grid_mode=True)
    return (255 * HEAT * colormaps["inferno"](large)[..., :3] + (1 - HEAT) * grey[..., None]).round().astype(np.uint8)


@styled
def gates(networks: dict, title: str = "Gates by block", source: str = "") -> Picture:
    """SE gates of networks of one form, side by side: name to block to (channels,) values in 0 to 1; a stroke for each
    channel, a dot for their mean."""
    note = "A gate of 0 shuts its channel, one of 1 leaves it unchanged. Stroke: a channel; dot: the mean of its block."
    half = shapes.pick(0.3, 0.18)
    blocks, room = next(iter(networks.values())), {"ncols": len(networks), "sharey": True, "squeeze": False}
    figure, axes = frame(title, source, note, size=(7, 1.9 + rows.height(len(blocks), 0.32, 0.4)), **room)
    for one, (name, values) in zip(axes.flat, networks.items(), strict=True):
        _strokes(one, list(values.values()), half)
        one.set(xlim=(-0.02, 1.02), xticks=[0, 0.5, 1], xlabel="gate")
        one.grid(axis="y", visible=False)
        one.tick_params(axis="y", length=0)
        one.set_title(name, size=shapes.pick(10, 8), loc="left")
    rows.name(axes.flat[0], [shapes.pick(f"{k} ({np.size(v)} channels)", k) for k, v in blocks.items()], half)
    for name, values in networks.items():
        means = "; ".join(f"{block} {np.mean(v):.2f}" for block, v in values.items())
        describe(figure, f"Mean gates, {name}: {means}.")
    return figure


def _strokes(axes, values: list, half: float) -> None:
    for row, gates in enumerate(values):
        places = FINE * np.unique(np.round(np.divide(gates, FINE)))  # those that coincide are drawn once
        strokes = np.repeat(places, 3), np.tile([row - half, row + half, np.nan], len(places))
        axes.plot(*strokes, color=BLUE, lw=0.8, alpha=0.7)  # as one line: a marker each would be a large file
    axes.plot([np.mean(gates) for gates in values], range(len(values)), "o", color=ORANGE, ms=6)


@styled
def answers(probabilities: dict, names, title: str = "Ten probabilities", source: str = "") -> Picture:
    """Probabilities (C,) of the classes `names` for one image or two, by its name, as bars side by side in percent."""
    thick = 0.8 / len(probabilities)
    figure, axes = frame(title, source, size=(7, 1.5 + 0.4 * len(names)))
    for k, (image, values) in enumerate(probabilities.items()):
        places = np.arange(len(names)) + (k + 0.5) * thick - 0.4
        axes.barh(places, 100 * values, thick, color=(BLUE, ORANGE)[k], label=image)
        for place, value in zip(places, 100 * values, strict=True):
            axes.annotate(f"{value:.2f}", (value, place), (4, 0), textcoords="offset points", va="center", size=8)
    axes.set_yticks(range(len(names)), names)
    axes.set(
        xlabel="probability (%)",
        xlim=(0, shapes.pick(112, 125)),
        ylim=(len(names) - 0.5, -0.5),
        xticks=range(0, 101, 25),
    )
    axes.grid(axis="y", visible=False)
    figure.legend_below(ncols=shapes.pick(2, 1))
    listed = [f"{image}: {names[v.argmax()]} {v.max():.2%}" for image, v in probabilities.items()]
    return describe(figure, "; ".join(listed) + ".")


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
    figure.legend_below(ncols=shapes.pick(4, 2))
    listed = "; ".join(f"{name} {count / total:.1%}" for name, count in zip(kinds.index, left, strict=True))
    return describe(figure, f"{int(total):,} in all: {listed}.")
