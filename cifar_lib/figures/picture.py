"""What all figures share: their frame, how one is shown and saved, and grids of images."""

import textwrap

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from cifar_lib.config import DATA_SETS
from cifar_lib.figures import places, shapes
from cifar_lib.figures.palette import GREY
from cifar_lib.figures.rendering import rendered
from cifar_lib.figures.shapes import NARROW, THUMBNAIL, styled
from cifar_lib.notebook import MIME
from cifar_lib.system import files

WORDS, THUMBNAIL_CELLS = 3, 8  # the first texts of a frame: title, source, note
GAP = 0.1  # inches over a legend


class Picture(Figure):
    """A figure outside pyplot, with its words, `alt` among them: what it shows, for who cannot see it.

    Notebooks hold it as PNG, which every viewer shows, and under `MIME`, for the pages, as SVG of each shape (`shapes`)
    with its words and `places`.
    """

    title = source = note = alt = ""
    head = foot = 0.0  # inches that title and source take above the plot, and the note below
    card = False  # whether it stands for its notebook on a card, and so has a thumbnail too
    again = None  # draws it in another shape: `shapes.styled` says how
    matrix = None  # the axes that hold one, whose cells lead to the images that they count
    by_epoch = False  # whether a page shows the confusion matrices of the run's epochs below it
    points = ()  # the values that a page says on demand: `places.note` adds them

    def _repr_png_(self) -> tuple[bytes, dict]:
        width, height = (round(100 * inches) for inches in self.get_size_inches())
        return rendered(self, "png"), {"alt": self.words, "width": width, "height": height}

    def _repr_mimebundle_(self, **_) -> dict:
        words = {name: getattr(self, name) for name in ("title", "source", "note", "alt")}
        shown = {"svg": self} | ({NARROW: self.again(NARROW)} if self.again else {})
        small = {THUMBNAIL: self.again(THUMBNAIL)} if self.again and self.card else {}
        drawn = {name: one._plot().decode() for name, one in (shown | small).items()}
        return {MIME: words | drawn | places.found(shown) | ({"by_epoch": True} if self.by_epoch else {})}

    def legend_below(self, *handles_and_labels, **options) -> None:
        """A legend between the plot and the note; of itself a figure's legend would stand on the note."""
        height = self.get_size_inches()[1]
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, self.foot / height)}
        legend = self.legend(*handles_and_labels, **place, **options)
        own = (legend.get_window_extent(self.canvas.get_renderer()).height / self.dpi + GAP) / height
        engine = self.get_layout_engine()
        left, bottom, across, up = engine.get()["rect"]
        engine.set(rect=(left, bottom + own, across, up - own))

    def for_card(self) -> "Picture":
        """Itself, to stand for its notebook on a card."""
        self.card = True
        return self

    def _plot(self) -> bytes:
        """The SVG without head and foot, whose words a page writes itself."""
        width, height = self.get_size_inches()
        for text in self.texts[:WORDS]:
            text.set_visible(False)
        plot = rendered(self, "svg", Bbox([[0, self.foot], [width, height - self.head]]))
        for text in self.texts[:WORDS]:
            text.set_visible(True)
        return plot

    @property
    def words(self) -> str:
        """Title, source, note and alt as one line."""
        parts = (self.title, self.source, self.note, self.alt)
        return " ".join(part if part[-1] in ".?" else f"{part}." for part in parts if part)


def save(figure: Picture, path) -> None:
    """Write .svg or .png, whole or not at all, the same bytes each time. Raises `ValueError` for any other suffix."""
    kind = str(path).rpartition(".")[2]
    if kind not in ("svg", "png"):
        raise ValueError(f"figure: got {path}, expected a name that ends in .svg or .png")
    files.write_atomically(path, rendered(figure, kind))


def source(summary: dict) -> str:
    """The line under every title, from a run's `summary`: 'reference: CIFAR-10, 16 channels, 12 epochs'."""
    epochs = f"{summary['epochs']} epoch" + "s" * (summary["epochs"] != 1)
    return f"{summary['run']}: {DATA_SETS[summary['dataset']]}, {summary['num_channels']} channels, {epochs}"


def frame(title: str, source: str, note: str = "", size=(7, 4.2), **subplots) -> tuple[Picture, np.ndarray]:
    """An empty figure of `size` inches with its head (title, source) and foot (note), and its axes.

    In another shape than wide it has neither head nor foot, and the width of that shape.
    """
    lines = textwrap.wrap(note, int(15 * size[0]))
    head, foot = 0.58, 0.1 + 0.17 * len(lines)
    if shapes.pick(False, True):
        size, head, foot = shapes.size_of(size[0], size[1] - head - foot), 0, 0
    width, height = size
    figure = Picture(figsize=size)
    FigureCanvasAgg(figure)
    figure.title, figure.source, figure.note = title, source, note
    figure.head, figure.foot = head, foot
    inside = (0.05 / width, foot / height, 1 - 0.1 / width, 1 - (foot + head) / height)
    figure.set_layout_engine("constrained", rect=inside)
    figure.text(0.1 / width, 1 - 0.1 / height, title, va="top", size=12, weight="bold", parse_math=False)
    figure.text(0.1 / width, 1 - 0.34 / height, source, va="top", size=9, color=GREY, parse_math=False)
    figure.text(0.1 / width, 0.06 / height, "\n".join(lines), va="bottom", size=8.5, color=GREY)
    return figure, figure.subplots(**subplots)


def describe(figure: Picture, sentence: str) -> Picture:
    """Add to `alt` what the picture shows."""
    figure.alt = f"{figure.alt} {sentence}".strip()
    return figure


def grid(cells: int, columns: int, title: str, source: str, note: str, side: float, words: float):
    """Axes in rows of `columns` squares of `side` inches, each under `words` inches of text.

    A narrow figure has as many columns as its width allows; a thumbnail shows the first eight cells, without words.
    """
    columns, side = shapes.columns(columns, side)
    cells = min(cells, THUMBNAIL_CELLS) if shapes.is_thumbnail() else cells
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


def _drawable(text: str) -> str:
    """`text` with the code of each character that the font lacks, which would be drawn as an empty box."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans"))
    return "".join(c if c == "\n" or font.get_char_index(ord(c)) else f"\\u{ord(c):04x}" for c in text)


@styled
def gallery(images: np.ndarray, titles, columns: int = 5, title: str = "", source: str = "", note: str = "") -> Picture:
    """Images (N, H, W, 3) uint8 in rows, pixel for pixel, each under its title."""
    figure, axes = grid(len(images), columns, title, source, note, side=1.45, words=0.42)
    for one, image, words in zip(axes, images, titles, strict=False):  # a thumbnail has fewer
        one.imshow(image, interpolation="none")
        one.set_title(_drawable(words), size=shapes.pick(8.5, 7), parse_math=False)
    if len(images) == 0:
        figure.text(0.5, 0.4, "no image to show", ha="center")
        return describe(figure, "There is no image to show.")
    listed = "; ".join(words.replace("\n", ", ") for words in titles)
    return describe(figure, f"{len(images)} images: {listed}.")
