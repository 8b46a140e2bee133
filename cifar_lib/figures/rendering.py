"""A figure as bytes: SVG that follows the reader's theme, PNG of few colours, and neither with a date."""

import io
import re

import matplotlib as mpl
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox

from cifar_lib.figures.palette import STYLE, themed

DPI = 150
FONTS = re.compile(r"font-family: ('DejaVu Sans'), [^;]*sans-serif")
PLACES = re.compile(r'(?<= )(?:d|x|y|points|transform|width|height)="[^"]*"')
DIGITS = re.compile(r"(\.\d\d)\d+")
NAMES = re.compile(r'(?<=["#])((image|[a-z])[0-9a-f]{10})(?=[")])')


def rendered(figure, kind: str, part: Bbox | None = None) -> bytes:
    """A `Picture` as "svg" or "png", all of it or the `part` in inches: the same bytes each time."""
    buffer = io.BytesIO()
    about = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}[kind] | {"Description": figure.words}
    with mpl.rc_context(STYLE):
        if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):  # a second pass would move all by a hair
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=about, bbox_inches=part)
    if kind == "svg":
        return _short(_numbered(themed(buffer.getvalue().decode()))).encode()
    photographs = any(image.get_array().ndim == 3 for axes in figure.axes for image in axes.images)
    return buffer.getvalue() if photographs else _fewer_colours(buffer)


def _numbered(svg: str) -> str:
    """Number an SVG's parts in their order: matplotlib's own names are hashes of numbers to their last digit, which a
    layout does not always find again."""
    names = dict.fromkeys(NAMES.findall(svg))
    short = {name: f"{kind}{i}" for i, (name, kind) in enumerate(names)}
    return NAMES.sub(lambda found: short[found[1]], svg)


def _short(svg: str) -> str:
    """Without matplotlib's long list of fonts, and places to a hundredth of a point: two thirds of the size."""
    svg = FONTS.sub(r"font-family: \1, sans-serif", svg)
    return PLACES.sub(lambda found: DIGITS.sub(r"\1", found[0]), svg)


def _fewer_colours(png: io.BytesIO) -> bytes:
    """The same picture with 256 colours at most, a third of the size: for lines and areas, not for photographs."""
    from PIL import Image, PngImagePlugin

    image, buffer, about = Image.open(png), io.BytesIO(), PngImagePlugin.PngInfo()
    for name, text in image.text.items():
        about.add_itxt(name, text)
    few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(buffer, "png", optimize=True, dpi=(DPI, DPI), pnginfo=about)
    return buffer.getvalue()
