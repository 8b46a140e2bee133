"""The style of all figures, how one is shown and saved, and grids of images: arrays in, a `Picture` out."""

import io
import textwrap

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cifar_lib import files
from cifar_lib.config import DATA_SETS

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#595959"  # Okabe and Ito: safe for colour-blind
STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10,
    "grid.color": "#e3e3e3",
    "legend.edgecolor": "white",
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "savefig.facecolor": "white",  # opaque: the figures are read on dark pages too
    "savefig.transparent": False,
    "svg.fonttype": "none",  # text stays text, which can be searched and read aloud
    "svg.hashsalt": "cifar_lib",  # the same figure is the same bytes
}
styled = mpl.rc_context(rc=STYLE)


class Picture(Figure):
    """A figure outside pyplot: the cell that ends in it shows it once, as PNG, with `alt` as words for it."""

    alt = ""

    def _repr_png_(self) -> tuple[bytes, dict]:
        width, height = (round(100 * inches) for inches in self.get_size_inches())
        return _bytes(self, "png"), {"alt": self.alt, "width": width, "height": height}


def save(figure: Figure, path) -> None:
    """Write .svg or .png, whole or not at all; the same figure gives the same bytes.

    Raises `ValueError` for any other suffix.
    """
    kind = str(path).rpartition(".")[2]
    if kind not in ("svg", "png"):
        raise ValueError(f"figure: got {path}, expected a name that ends in .svg or .png")
    files.write_atomically(path, _bytes(figure, kind))


def _bytes(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    silent = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}[kind]
    about = {"Description": getattr(figure, "alt", "")}
    with mpl.rc_context(STYLE):
        _settle(figure)
        figure.savefig(buffer, format=kind, dpi=150, metadata=silent | about)
    return buffer.getvalue()


def _settle(figure: Figure) -> None:
    """Lay the figure out once and for all: another pass would move it by a hair, and change its bytes."""
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def source(summary: dict) -> str:
    """The line under every title, from a run's `summary`: 'reference: CIFAR-10, 16 channels, 12 epochs'."""
    epochs = f"{summary['epochs']} epoch" + "s" * (summary["epochs"] != 1)
    return f"{summary['run']}: {DATA_SETS[summary['dataset']]}, {summary['num_channels']} channels, {epochs}"


def frame(title: str, source: str, note: str = "", size=(7, 4.2), **subplots) -> tuple[Picture, np.ndarray]:
    """An empty figure of `size` inches with its head (title, source) and foot (note), and its axes."""
    width, height = size
    lines = textwrap.wrap(note, int(15 * width))
    foot = 0.1 + 0.17 * len(lines)
    figure = Picture(figsize=size)
    FigureCanvasAgg(figure)
    figure.set_layout_engine(
        "constrained", rect=(0.05 / width, foot / height, 1 - 0.1 / width, 1 - (foot + 0.58) / height)
    )
    figure.text(0.1 / width, 1 - 0.1 / height, title, va="top", size=12, weight="bold")
    figure.text(0.1 / width, 1 - 0.34 / height, source, va="top", size=9, color=GREY)
    figure.text(0.1 / width, 0.06 / height, "\n".join(lines), va="bottom", size=8.5, color=GREY)
    figure.alt = " ".join(part if part[-1] in ".?" else f"{part}." for part in (title, source, note) if part)
    return figure, figure.subplots(**subplots)


def describe(figure: Picture, sentence: str) -> Picture:
    """Add to `alt` what the picture shows."""
    figure.alt += f" {sentence}"
    return figure


def grid(cells: int, columns: int, title: str, source: str, note: str, side: float, words: float):
    """Axes in rows of `columns` squares of `side` inches, each under `words` inches of text."""
    rows = max(1, -(-cells // columns))
    size = (max(columns * side, 5), rows * (side + words) + 0.9 + 0.2 * bool(note))
    figure, axes = frame(title, source, note, size, nrows=rows, ncols=columns, squeeze=False)
    for one in axes.flat:
        one.set(xticks=[], yticks=[])
        one.grid(False)
        one.spines[:].set_visible(False)
    for one in axes.flat[cells:]:
        one.set_visible(False)
    return figure, axes.flat[:cells]


@styled
def gallery(images: np.ndarray, titles, columns: int = 5, title: str = "", source: str = "", note: str = "") -> Picture:
    """Images (N, H, W, 3) uint8 in rows, pixel for pixel, each under its title."""
    figure, axes = grid(len(images), columns, title, source, note, side=1.45, words=0.42)
    for one, image, words in zip(axes, images, titles, strict=True):
        one.imshow(image, interpolation="nearest")
        one.set_title(words, size=8.5)
    if len(images) == 0:
        figure.text(0.5, 0.4, "no image to show", ha="center")
        return describe(figure, "There is no image to show.")
    listed = "; ".join(words.replace("\n", ", ") for words in titles)
    return describe(figure, f"{len(images)} images: {listed}.")
