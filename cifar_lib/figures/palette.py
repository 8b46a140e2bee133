"""The colours of every figure, one for each thing, on white paper and on dark; and the style that all figures share.

BLUE, ORANGE, GREEN and YELLOW are those of Okabe and Ito (2008), chosen to be told apart by colour-blind readers;
PURPLE is darker than theirs. An SVG holds the light theme; `themed` lets it follow the reader's.
"""

from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap, to_rgba

PAPER, INK, GREY = "#ffffff", "#1d2229", "#59616b"
GRID, PANEL, BAND = "#e3e5e8", "#eceef1", "#dcdfe3"
BLUE, ORANGE, GREEN, YELLOW, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#b9558f"
DEEP_BLUE, DEEP_ORANGE = "#0071b1", "#d45d00"  # of areas with text on them: the same on white and on dark paper
DARK = {
    PAPER: "#15181c", INK: "#e3e6ea", GREY: "#a0a9b4",
    GRID: "#2c3238", PANEL: "#262b31", BAND: "#3a4149",
    BLUE: "#4ba6e3", ORANGE: "#ee8434", GREEN: "#2dbd95", YELLOW: "#f0b849", PURPLE: "#c463b0",
}  # fmt: skip
KINDS = {"convolution": BLUE, "batch norm": YELLOW, "SE": GREEN, "linear": PURPLE}  # YELLOW is pale: give it an edge
IN_INK = "axes.edgecolor axes.labelcolor text.color xtick.color ytick.color"
ON_PAPER = "axes.facecolor figure.facecolor hatch.color legend.edgecolor legend.facecolor savefig.facecolor"
STYLE = dict.fromkeys(IN_INK.split(), INK) | dict.fromkeys(ON_PAPER.split(), PAPER)
STYLE |= {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, PURPLE, GREY]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10,
    "grid.color": GRID,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "savefig.transparent": False,  # whatever page a figure is shown on, it can be read
    "svg.fonttype": "none",  # text stays text, which can be searched and read aloud
}


def ramps(low: str, high: str) -> LinearSegmentedColormap:
    """From `low` over nothing, in the middle, to `high`, by opacity: it lies as well on dark paper, and ink can be read
    on all of it."""
    ends = [(0, to_rgba(low, 0.75)), (0.5, to_rgba(low, 0)), (0.5, to_rgba(high, 0)), (1, to_rgba(high, 0.75))]
    return LinearSegmentedColormap.from_list("ramps", ends)


def themed(svg: str) -> str:
    """An SVG of matplotlib's with a style inside that takes the dark colours where the reader's screen is dark."""
    rule = '[style*="{0}: {1}"],[{0}="{1}"]{{{0}:{2}!important}}'
    rules = "".join(rule.format(part, *colours) for colours in DARK.items() for part in ("fill", "stroke"))
    style = f"<style>@media screen and (prefers-color-scheme:dark){{{rules}}}</style>"
    head, defs, rest = svg.partition(" <defs>\n")
    return f"{head}{defs}  {style}\n{rest}"
