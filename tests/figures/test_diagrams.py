"""Laws of a network's figures: scales that mean the same everywhere, and every number that they were given."""

import numpy as np
import pytest

from cifar_lib.figures import diagrams

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def shown(figure) -> list:
    return [axes for axes in figure.axes if axes.images and axes.get_label() != "<colorbar>"]


def test_where_maps_can_be_negative_zero_has_the_colour_of_the_paper():
    figure = diagrams.feature_maps(np.linspace(-1, 3, 2 * 64).reshape(2, 8, 8), ["a", "b"], unit="value")
    images = [axes.images[0] for axes in shown(figure)]
    assert [image.get_clim() for image in images] == [(-3, 3)] * 2, "as far below as above, and the same in all"
    assert images[0].to_rgba(np.array([[0.0]]))[0, 0, 3] < 0.01, "transparent, so that it follows the theme"
    below, above = images[0].to_rgba(np.array([[-3.0, 3.0]]))[0]
    assert below[2] > below[0] and above[0] > above[2], "blue and orange"
    assert all(axes.spines["left"].get_visible() for axes in shown(figure)), "where the map ends can be seen"
    assert "value" in [axes.get_ylabel() for axes in figure.axes]


def test_where_they_cannot_the_scale_begins_at_zero():
    figure = diagrams.feature_maps(np.linspace(1, 3, 2 * 64).reshape(2, 8, 8))
    assert {axes.images[0].get_clim() for axes in shown(figure)} == {(0, 3)}
    assert shown(figure)[0].images[0].get_cmap().name == "viridis"
    assert not any(axes.spines["left"].get_visible() for axes in shown(figure))


def test_heat_lies_over_the_image_in_grey_on_one_scale_per_image():
    images = np.full((2, 32, 32, 3), (200, 100, 0), np.uint8)
    heats = np.zeros((2, 2, 8, 8))
    heats[0, 0, 2, 5], heats[0, 1, 0, 0], heats[1, 0, 5, 2] = 4, 2, 1e-3
    cells = [axes.images[0].get_array() for axes in shown(diagrams.heat_maps(images, heats, [["a", "b", "c"]] * 2))]
    assert [cell.shape for cell in cells] == [(32, 32, 3)] * 6 and (cells[0] == images[0]).all()
    light = [np.asarray(cell).astype(int).sum(2) for cell in cells]
    hot = np.unravel_index(light[1].argmax(), (32, 32))
    assert (hot[0] // 4, hot[1] // 4) == (2, 5), "the place of the heat"
    assert light[1].max() > light[2].max(), "half of the heat, as on one scale"
    assert light[4].max() == light[1].max(), "the other image has a scale of its own"
    assert light[5].max() == light[5].min(), "and nothing speaks for its second class"


def test_gates_stand_side_by_side_on_one_scale():
    blocks = {"stage 1, block 1": np.linspace(0.2, 0.8, 16), "stage 1, block 2": np.array([0.5, 0.5])}
    figure = diagrams.gates({"fresh": blocks, "trained": blocks})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["fresh", "trained"]
    assert len({axes.get_xlim() for axes in figure.axes}) == 1 and len({axes.get_ylim() for axes in figure.axes}) == 1
    for axes in figure.axes:
        strokes = axes.lines[0].get_xdata()[::3]
        np.testing.assert_allclose(strokes, blocks["stage 1, block 1"], atol=diagrams.FINE / 2)
        assert len(axes.lines[1].get_xdata()) == 3, "those that coincide are one"
        assert axes.lines[2].get_xdata() == pytest.approx([0.5, 0.5]), "the means"
    assert "trained: stage 1, block 1 0.50" in figure.alt
    assert len(diagrams.gates({"fresh": blocks}).axes) == 1


def test_answers_write_all_ten_of_both():
    said = {"the ship": np.linspace(0, 0.18, 10)[::-1], "the deer": np.linspace(0, 0.18, 10)}
    axes = diagrams.answers(said, NAMES).axes[0]
    assert [text.get_text() for text in axes.texts] == [f"{100 * v:.2f}" for row in said.values() for v in row]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == NAMES
    widths = [[bar.get_width() for bar in bars] for bars in axes.containers]
    np.testing.assert_allclose(widths, [100 * row for row in said.values()])
