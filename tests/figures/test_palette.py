"""Colours: readable on both papers, told apart by colour-blind readers, and none in a figure but these."""

import itertools
import re

import nbformat
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from cifar_lib import paths
from cifar_lib.figures import palette
from cifar_lib.figures.palette import (
    BLUE,
    DARK,
    DEEP_BLUE,
    DEEP_ORANGE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    PURPLE,
    YELLOW,
)
from cifar_lib.notebook import MIME, committed

THEMES = {"light": lambda colour: colour, "dark": lambda colour: DARK.get(colour, colour)}
DATA = [BLUE, ORANGE, GREEN, YELLOW, PURPLE, GREY]
PALE = {YELLOW}  # on white: only as areas with an edge (the law below)
# Machado, Oliveira and Fernandes 2009, severity 1: what a colour looks like, in linear RGB.
SIGHT = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
by_theme = pytest.mark.parametrize("theme", THEMES)


def linear(colour) -> np.ndarray:
    values = np.array(to_rgb(colour))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one, other) -> float:
    """WCAG 2: relative luminances of the lighter and the darker, plus 0.05 each."""
    bright, dim = sorted((linear(colour) @ [0.2126, 0.7152, 0.0722] for colour in (one, other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def over(colour, alpha: float, paper) -> tuple:
    return tuple(alpha * np.array(to_rgb(colour)) + (1 - alpha) * np.array(to_rgb(paper)))


def lab(rgb: np.ndarray) -> np.ndarray:
    """Linear RGB to CIELAB."""
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(matrix) @ rgb.clip(0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_contrast_is_wcags():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@by_theme
@pytest.mark.parametrize("words", [INK, GREY])
def test_words_can_be_read(theme, words):
    assert contrast(THEMES[theme](words), THEMES[theme](PAPER)) >= 4.5


@by_theme
@pytest.mark.parametrize("colour", DATA)
def test_lines_can_be_seen(theme, colour):
    assert contrast(THEMES[theme](colour), THEMES[theme](PAPER)) >= 3 or (theme == "light" and colour in PALE)


@by_theme
def test_numbers_in_matrices_can_be_read_at_every_strength(theme):
    ramps, ink, paper = palette.ramps(DEEP_ORANGE, DEEP_BLUE), THEMES[theme](INK), THEMES[theme](PAPER)
    for strength in np.linspace(0, 1, 41):
        *colour, alpha = ramps(strength)
        assert contrast(ink, over(colour, alpha, paper)) >= 4.5
    assert ramps(0.5)[3] < 0.01, "nothing in the middle"


@by_theme
@pytest.mark.parametrize("sight", SIGHT)
def test_lines_are_told_apart_by_all(theme, sight):
    for one, other in itertools.combinations(DATA, 2):
        seen = [lab(np.array(SIGHT[sight]) @ linear(THEMES[theme](colour))) for colour in (one, other)]
        assert np.linalg.norm(seen[0] - seen[1]) > 10, (one, other)


def test_every_colour_of_a_figure_has_a_dark_one():
    named = {v for k, v in vars(palette).items() if k.isupper() and isinstance(v, str) and v.startswith("#")}
    assert named - {DEEP_BLUE, DEEP_ORANGE} == set(DARK) and {YELLOW, PURPLE} <= named
    assert len(set(DARK.values())) == len(DARK)


def drawn() -> dict[str, str]:
    """Every SVG that is tracked, in files and in notebooks, less the rules of the themes: name to text."""
    found = {path.name: path.read_text(encoding="utf-8") for path in sorted(paths.FIGURES.glob("*.svg"))}
    for path in committed():
        outputs = [o for cell in nbformat.read(path, 4).cells for o in cell.get("outputs", [])]
        figures = [o.data[MIME] for o in outputs if MIME in o.get("data", {})]
        svgs = [figure[shape] for figure in figures for shape in ("svg", "narrow", "thumbnail") if shape in figure]
        found |= {f"{path.stem}-{i}": svg for i, svg in enumerate(svgs, 1)}
    return {name: re.sub("<style>.*?</style>", "", svg, flags=re.DOTALL) for name, svg in found.items()}


def test_figures_hold_no_other_colour():
    """But for maps of activations, which have a scale of their own."""
    plain = {name: svg for name, svg in drawn().items() if "<image" not in svg}
    assert len(plain) > 30
    for name, svg in plain.items():
        assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {*DARK, DEEP_BLUE, DEEP_ORANGE}, name


def test_words_in_figures_can_be_read():
    for name, svg in drawn().items():
        fills = set(re.findall(r"<text [^>]*fill: (#[0-9a-f]{6})", svg))
        assert fills <= {INK, GREY}, name


def test_pale_areas_have_an_edge():
    for name, svg in drawn().items():
        for style in re.findall(rf'style="([^"]*fill: (?:{"|".join(PALE)})[^"]*)"', svg):
            assert "stroke: #" in style or "opacity" in style, (name, style)


def test_page_and_figures_are_one_paper():
    css = (paths.ROOT / "cifar_lib/site/templates/style.css").read_text(encoding="utf-8")
    light, dark = (part.split("}")[0] for part in css.split(":root {")[1:3])
    for name, colour in (("page", PAPER), ("ink", INK), ("soft", GREY)):
        assert f"--{name}: {colour};" in light and f"--{name}: {DARK[colour]};" in dark
