"""Laws of the drawing of a network: it says what the outline holds, legibly, and is the same bytes every time."""

import re
from functools import cache
from itertools import combinations

import pytest
from test_layer_graph import CONFIGS

from cifar_lib.config import Config
from cifar_lib.figures import architecture_plot, palette, picture
from cifar_lib.models import layer_graph, resnet

MANY = CONFIGS | {
    "many blocks": {"num_blocks": [2, 9, 18], "conv_kernel_sizes": [3, 5, 3], "shortcut_kernel_sizes": [1, 3, 5]},
    "six stages": {"num_blocks": [2] * 6, "conv_kernel_sizes": [3] * 6, "shortcut_kernel_sizes": [1] * 6}
    | {"avg_pool_kernel_size": 1, "num_channels": 16},
}


@cache
def drawn(name: str):
    """The outline and the drawing of that network."""
    parts = layer_graph.trace_layers(resnet.build_on_meta(Config(**MANY[name])))
    return parts, architecture_plot.architecture(parts, "a fresh network")


def texts(figure) -> list:
    return [text for text in [*figure.texts, *figure.axes[0].texts] if text.get_text()]


def words(figure) -> str:
    return "\n".join(text.get_text() for text in texts(figure))


@pytest.mark.parametrize("name", MANY)
def test_no_text_lies_on_another_or_runs_out(name):
    figure = drawn(name)[1]
    renderer = figure.canvas.get_renderer()
    boxes = {text: text.get_window_extent(renderer) for text in texts(figure)}
    for text, box in boxes.items():
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0, text
        assert text.get_size() >= 8
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        assert not a.overlaps(b), (one, other)


@pytest.mark.parametrize("name", MANY)
def test_it_says_what_the_outline_holds(name):
    parts, figure = drawn(name)
    said = words(figure).split("\n")
    for part in parts:
        count = f"{part.parameters:,}"
        assert part.name == "flatten" or part.name in said
        assert not part.parameters or count in said and f"{count} parameters" in figure.alt
    total = f"{sum(part.parameters for part in parts):,}"
    assert total in said and f"{total} parameters" in figure.alt
    slabs = [patch for patch in figure.axes[0].patches if patch.get_label() == "slab"]
    assert len(slabs) == sum(len(part.blocks) or 1 for part in parts if part.name not in ("flatten", "linear"))


def test_what_is_absent_is_not_drawn():
    full, bare, stem = (drawn(name)[1] for name in ("default", "resnet18", "stem"))
    assert "SE" in words(full).split("\n") and "dropout\n0.2" in words(full) and "dropout 0.2" in full.alt
    assert "SE" not in words(bare) and "dropout" not in words(bare) + bare.alt
    assert words(stem).split("\n").count("SE") == 1 and "ReLU, SE; stage 1" in stem.alt


def test_the_shortcut_says_where_it_is_what():
    said = drawn("default")[1].alt
    assert "identity; in the first block of stages 2 and 3: 1×1 conv of stride 2, BN" in said
    assert "shortcut: identity" in words(drawn("one")[1]).split("\n")
    other = drawn("wide shortcuts")[1].alt
    assert "stage 2: 3×3 conv of stride 2, BN" in other and "stage 3: 5×5 conv of stride 2, BN" in other


def test_blocks_of_two_kinds_are_refused():
    network = resnet.ResNet(Config(num_channels=8))
    network.stages[1][0].relu1.p = 0
    with pytest.raises(ValueError, match="2 kinds of block"):
        architecture_plot.architecture(layer_graph.trace_layers(network))


def test_same_bytes_in_the_colours_of_both_themes(tmp_path):
    parts, figure = drawn("small")
    picture.save(figure, tmp_path / "a.svg")
    picture.save(architecture_plot.architecture(parts, "a fresh network"), tmp_path / "b.svg")
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert svg == (tmp_path / "b.svg").read_text(encoding="utf-8")
    drawing = svg.partition("</style>")[2]
    used = set(re.findall(r"(?:fill|stroke): (#\w+)", drawing))
    assert palette.ORANGE in used and used <= set(palette.DARK)
