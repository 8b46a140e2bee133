"""Laws of a benchmark's figures: they say what the tables say, in words that do not cover each other."""

import itertools
import math

import pytest
from matplotlib.collections import PathCollection
from matplotlib.text import Text

from cifar_lib.evidence import speed_file
from cifar_lib.figures import picture, speed_plots

KINDS = {
    "convolution, backward": (3e9, 1e7, 1.75),
    "convolution, forward": (1.5e9, 5e6, 0.93),
    "batch norm, backward": (2.4e7, 1.2e7, 0.34),
    "batch norm, forward": (1.3e7, 8e6, 0.21),
    "ReLU and addition": (6e6, 1.4e7, 0.3),
    "optimizer": (2e5, 1e5, 0.001),
    "copies": (0, 0, 0.05),
}


def loop(name, img_s, reference=False, precision="float32"):
    facts = {"name": name, "lever": "", "reference": reference, "precision": precision, "images": 256}
    return facts | {"seconds": [256 / img_s, 250 / img_s, 260 / img_s], "memory": 3e9, "cold": 9.0}


def made_up(faster=1, bfloat16=4.6e11):
    """A benchmark of a machine that is `faster` than a small one."""
    ways = [(batch, how, name) for batch in (1, 128) for how in ("eager", "folded") for name in ("float32", "bfloat16")]
    facts = {
        "machine": {"device": "cpu: made up", "threads": 2, "packages": {"torch": "2.15.0"}, "date": "2026-11-23"},
        "config": {"batch_size": 128},
        "limits": {"peak_float32": 2.5e11 * faster, "peak_bfloat16": bfloat16, "bandwidth": 2.5e10 * faster},
        "work": {kind: {"flops": flops, "elements": elements} for kind, (flops, elements, _) in KINDS.items()},
        "sides": [
            loop("reference, 0 workers", 16 * faster, reference=True),
            loop("reference, 2 workers", 17 * faster, reference=True),
            loop("+ layout", 25 * faster),
            loop("ours, float32", 35 * faster),
            loop("ours, bfloat16", 60 * faster, precision="bfloat16"),
        ],
        "inference": [{"batch": b, "how": how, "precision": name, "seconds": [b / 99]} for b, how, name in ways[:-1]],
        "profiled": "ours, float32",
        "profile": [
            {"name": kind, "kind": kind, "calls": 1, "seconds": one[2] / faster} for kind, one in KINDS.items()
        ],
    }
    return speed_file.Speed(facts)


def figures(this):
    """Every figure of a benchmark, by name."""
    return {
        "ladder": speed_plots.ladder(this.ladder, this.source),
        "profile": speed_plots.profile(this.kinds, "float32", this.source),
        "roofline": speed_plots.roofline(this, this.source),
    }


def words(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("this", [made_up(), made_up(900, 4e14), made_up(bfloat16=None)], ids=["slow", "fast", "null"])
def test_every_figure_names_its_axes_and_its_source(this):
    for name, figure in figures(this).items():
        assert isinstance(figure, picture.Picture)
        assert all(axes.get_xlabel() for axes in figure.axes), name
        assert this.source in [text.get_text() for text in figure.texts], name
        assert this.source in figure.words and "nan" not in figure.words, name
        assert figure._repr_png_()[0].startswith(b"\x89PNG")


def test_the_ladder_writes_what_its_table_says():
    table = made_up().ladder
    figure = speed_plots.ladder(table, "mine")
    assert words(figure)[1] == "17.0 img/s, 1.00×"
    assert words(figure)[-1] == "60.0 img/s, 3.53×"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(table.loop)
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["reference", "float32", "bfloat16"]


def test_the_profile_leaves_out_trifles_and_shows_the_rest():
    figure = speed_plots.profile(made_up().kinds, "float32")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert "optimizer" not in names and names[0] == "convolution, backward"
    assert words(figure)[0].startswith("1,750 ms, ")


@pytest.mark.parametrize("this", [made_up(), made_up(900, 4e14)], ids=["slow", "fast"])
def test_no_words_of_the_roofline_cover_each_other(this):
    figure = speed_plots.roofline(this, this.source)
    figure._repr_png_()
    figure.draw_without_rendering()
    (axes,) = figure.axes
    flat = [text for text in axes.texts if not text.get_rotation()]
    boxes = [Text.get_window_extent(text).padded(-1) for text in flat]
    for (one, first), (other, second) in itertools.combinations(zip(flat, boxes, strict=True), 2):
        assert not first.overlaps(second), (one.get_text(), other.get_text())
    for text, box in zip(flat, boxes, strict=True):
        assert axes.bbox.count_contains(box.corners()) == 4, text.get_text()


def test_the_roofline_shows_kinds_and_whole_steps():
    this = made_up()
    figure = speed_plots.roofline(this)
    text = " ".join(words(figure))
    for name in (
        "convolution, backward, 49%",
        "step, ours, float32",
        "step, ours, bfloat16",
        "step, reference, 2 workers",
    ):
        assert name in text
    assert "optimizer" not in text and "copies" not in text and "0 workers" not in text
    drawn = [dots.get_offsets()[0, 1] for dots in figure.axes[0].collections if isinstance(dots, PathCollection)]
    assert max(drawn) == pytest.approx(this.ladder.gflops.max())
    assert math.isclose(min(drawn), 6e6 * 128 / 0.3 / 1e9)


def test_the_same_figure_is_the_same_bytes(tmp_path):
    again = figures(made_up())
    for name, figure in figures(made_up()).items():
        first, second, third = (tmp_path / f"{name}{i}.svg" for i in range(3))
        picture.save(figure, first)
        figure._repr_png_()
        picture.save(figure, second)
        picture.save(again[name], third)
        assert first.read_bytes() == second.read_bytes() == third.read_bytes(), name
