"""Each figure in its other shapes: legible on a phone, bare on a card, of the same data, and the style left alone."""

import re

import matplotlib as mpl
import pytest
from study_runs import made
from test_evidence_plots import TABLE, shifted
from test_layer_graph import network
from test_plots import figures, grids
from test_speed_plots import figures as speed_figures
from test_speed_plots import made_up

from cifar_lib.evidence import Study
from cifar_lib.figures import architecture_plot, evidence_plots, shapes
from cifar_lib.models import layer_graph
from cifar_lib.notebook import MIME

LEAST = 9  # CSS pixels: of a letter, at a phone's width of 375 less the page's margins
PHONE = 335


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> dict[str, dict]:
    """Every kind of figure as a page gets it, by name."""
    folder = tmp_path_factory.mktemp("study")
    made(folder / "base-0", 0.5, curve=(0.2, 0.4), seed=0)
    parts = layer_graph.trace_layers(network("default"))
    every = figures() | grids() | speed_figures(made_up())
    every |= {"differences": evidence_plots.differences(TABLE), "shifts": evidence_plots.shifts({"a": shifted(0.9)})}
    every |= {"curves": evidence_plots.curves(Study(folder).runs, ["base"])}
    every |= {"architecture": architecture_plot.architecture(parts)}
    return {name: figure.for_card()._repr_mimebundle_()[MIME] for name, figure in every.items()}


def letters(svg: str, shown: float) -> list[float]:
    """The sizes of its texts in pixels, where it is `shown` pixels wide."""
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
    sizes = re.findall(r"<text [^>]*font(?:-size)?: (?:[a-z0-9]+ )*([\d.]+)px", svg)
    return [float(size) * shown / width for size in sizes]


def test_words_can_be_read_on_a_phone(bundles):
    for name, drawn in bundles.items():
        assert min(letters(drawn["narrow"], PHONE), default=LEAST) >= LEAST, name
    small = [name for name, drawn in bundles.items() if min(letters(drawn["svg"], PHONE), default=LEAST) < LEAST]
    assert len(small) > len(bundles) / 2, "as they could not be if it were the wide one"


def test_a_thumbnail_has_few_words_and_they_can_be_read(bundles):
    for name, drawn in bundles.items():
        sizes = letters(drawn["thumbnail"], 185)
        assert len(sizes) <= 30 and min(sizes, default=LEAST) >= LEAST, name


def test_no_shape_runs_out_at_its_sides(bundles):
    for name, drawn in bundles.items():
        for shape, inches in shapes.INCHES.items():
            width = float(re.search(r'width="([\d.]+)pt"', drawn[shape])[1])
            assert width == pytest.approx(72 * inches), (name, shape)


def test_a_figure_has_a_thumbnail_where_it_is_asked_for():
    assert "thumbnail" not in grids()["gates"]._repr_mimebundle_()[MIME]


def test_a_shape_is_left_when_it_is_drawn():
    before = mpl.rcParams["font.size"]
    figure = grids()["gates"]
    figure.again(shapes.NARROW)
    assert shapes.pick("wide", "narrow") == "wide" and mpl.rcParams["font.size"] == before
    with pytest.raises(KeyError):
        figure.again("round")
    assert shapes.pick("wide", "narrow") == "wide", "after a failure too"


def test_a_row_has_as_many_images_as_fit():
    gallery, maps = grids()["gallery"].again(shapes.NARROW), grids()["feature_maps"].again(shapes.NARROW)
    assert len({axes.get_position().y0 for axes in gallery.axes if axes.images}) == 2, "two columns, as it was"
    assert len([axes for axes in maps.axes if axes.images]) == 3
