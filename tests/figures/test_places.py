"""Places that a page lays things over: each is where the picture has drawn that value."""

import re

import numpy as np
import pytest
from test_plots import figures, history

from cifar_lib.figures import plots
from cifar_lib.figures.palette import BLUE
from cifar_lib.notebook import MIME

SHAPES = ("svg", "narrow")


def drawn(figure) -> dict:
    return figure._repr_mimebundle_()[MIME]


def size(svg: str) -> np.ndarray:
    return np.array(re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups(), float)


@pytest.mark.parametrize("shape", SHAPES)
def test_points_lie_on_the_markers(shape):
    bundle = drawn(plots.loss(history(12, valid=False)))
    uses = re.findall(rf'<use xlink:href="#m\d+" x="([\d.]+)" y="([\d.]+)" style="fill: {BLUE}', bundle[shape])
    markers = np.array(uses[:12], float) / size(bundle[shape])  # one more is in the legend
    assert np.array(bundle["points"][shape]) == pytest.approx(markers, abs=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_cells_are_the_area_of_the_matrix(shape):
    bundle = drawn(figures()["confusion"])
    mesh = re.search(r'id="QuadMesh_1">(.*?)</g>', bundle[shape], re.DOTALL)[1]
    corners = np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", mesh), float) / size(bundle[shape])
    left, top, width, height = bundle["cells"][shape]
    assert (left, top) == pytest.approx(corners.min(0), abs=1e-3)
    assert (left + width, top + height) == pytest.approx(corners.max(0), abs=1e-3)


def test_a_point_says_its_value():
    table = history(3)
    table.loc[0, "valid_accuracy"] = np.nan  # of an epoch after which nothing was validated there is no point
    words = drawn(plots.accuracy(table, 3))["points"]["words"]
    assert words[0] == "training, epoch 1: 33.3%" and words[3:] == [
        "validation, epoch 2: 62.5%",
        "validation, epoch 3: 75.0%",
    ]
    assert drawn(plots.learning_rate(table))["points"]["words"][0] == "epoch 1: 0.2"


def test_a_figure_without_such_values_has_no_places():
    for name, figure in figures().items():
        assert ("points" in drawn(figure)) == (name in ("loss", "accuracy", "learning_rate")), name
        assert ("cells" in drawn(figure)) == (name == "confusion"), name
