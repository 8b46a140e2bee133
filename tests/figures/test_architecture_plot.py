"""Laws of the drawing of a network: read back, it is what was traced; legible, and the same bytes every time."""

import re
from functools import cache
from itertools import combinations, pairwise, permutations

import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch
from test_layer_graph import every, network

from cifar_lib.figures import architecture_plot, palette, picture
from cifar_lib.models import layer_graph, resnet


@cache
def drawn(name: str) -> tuple:
    """The parts of that network, and their drawing."""
    parts = layer_graph.trace_layers(network(name))
    return parts, architecture_plot.architecture(parts, "a fresh network")


def texts(figure, **look) -> dict[tuple[float, float], str]:
    """Those on the drawing that look so, from left to right, by their places."""
    found = [t for t in figure.axes[0].texts if all(getattr(t, f"get_{k}")() == v for k, v in look.items())]
    return {t.get_position(): t.get_text() for t in sorted(found, key=lambda t: t.get_position()) if t.get_text()}


def names(figure) -> dict[float, str]:
    return {x: name for (x, _), name in texts(figure, weight="bold", ha="center").items()}


def table(figure) -> dict[str, dict[str, str]]:
    """The numbers by part, from the top."""
    rows = {y: row for (_, y), row in texts(figure, color=palette.GREY).items()}
    cells = {(names(figure)[x], y): text for (x, y), text in texts(figure, va="top", ha="center").items()}
    return {p: {rows[y]: cells[p, y] for y in sorted(rows)[::-1] if (p, y) in cells} for p in names(figure).values()}


def boxes(figure, name: str) -> dict[tuple[float, float], str]:
    """The operations in the row of that name."""
    (height,) = [y for (_, y), head in texts(figure, weight="bold", ha="left").items() if head == name]
    return {place: text for place, text in texts(figure, ha="center").items() if place[1] == height}


def numbers(before, part) -> dict[str, str]:
    """What the table has to say of a part; the stride is the ratio of the maps, where it is not hidden by a 1×1 map."""
    stage, side = part.name.startswith("stage"), part.shape[-1] if part.shape[1:] else 0
    kernel = part.blocks[0].ops[0].kernel if part.blocks else 0
    stride = part.blocks[0].ops[0].stride if before.shape[-1] == 1 else before.shape[-1] // (side or 1)
    ways = ["conv {0}×{0}, BN".format(b.shortcut[0].kernel) if b.shortcut else "identity" for b in part.blocks if stage]
    counts = {way: ways.count(way) for way in sorted(ways)}
    described = {
        "blocks": f"{len(ways)}" if ways else "",
        "channels": f"{part.shape[0]}",
        "map": f"{side}×{side}" if side else "",
    }
    described |= {"kernel": f"{kernel}×{kernel}", "stride": f"{stride}"} if kernel else {}
    described |= {"parameters": f"{part.parameters:,}"} if part.parameters else {}
    described |= {"shortcut": "\n".join(f"{way} (×{n})" if n > 1 else way for way, n in counts.items())}
    return {row: value for row, value in described.items() if value}


@every
def test_the_numbers_are_the_networks_in_the_table_and_in_words(name):
    parts, figure = drawn(name)
    described = {part.name: numbers(before, part) for before, part in pairwise([parts[0], *parts])}
    assert table(figure) == described and list(described) == list(table(figure))
    for part, rows in described.items():
        listed = ", ".join(f"{row} {value}" for row, value in rows.items()).replace("\n", " and ")
        assert f" {part}: {listed};" in figure.alt
    blocks, count = (
        sum(part.name.startswith("stage") and len(part.blocks) for part in parts),
        resnet.parameters(network(name)),
    )
    assert figure.title == f"The network: {blocks} block{'' if blocks == 1 else 's'}, {count:,} parameters"


@every
def test_the_operations_are_the_networks_in_boxes_and_in_words(name):
    parts, figure = drawn(name)
    blocks = [block for part in parts if part.name.startswith("stage") for block in part.blocks]
    for row, own in (("stem", parts[1].blocks), ("block", blocks)):
        kernels = {op.kernel for block in own for op in block.ops if op.kernel}
        size = "{0}×{0}".format(*kernels) if len(kernels) == 1 else "k×k"
        ops = [" ".join([op.kind, *[size] * (op.kernel > 0), *[f"{op.p:g}"] * (op.p > 0)]) for op in own[0].ops]
        assert [text.replace("\n", " ").replace("+", "add") for text in boxes(figure, row).values()] == ops
        assert f"operations of the {row}: {', '.join(ops)}" in figure.alt
    for kind in ("SE", "dropout"):
        assert (kind in figure.words) == (kind in str(parts))


@every
def test_the_shortcut_leads_from_before_the_first_operation_to_the_add(name):
    figure = drawn(name)[1]
    arrows = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    (around,) = [arrow for arrow in arrows if to_hex(arrow.get_edgecolor()) == palette.ORANGE]
    start, *_, tip, _, _ = around.get_path().vertices
    (left, height), *_ = ops = boxes(figure, "block")
    (add,) = [place for place in ops if ops[place] == "+"]
    assert start[0] < left - 0.2 and start[1] == pytest.approx(height)
    assert tip[0] == pytest.approx(add[0]) and height < tip[1] < height + 0.2


@every
def test_there_is_a_slab_for_each_block_that_grows_with_channels_and_maps(name):
    parts, figure = drawn(name)
    slabs = {part.name: set() for part in parts}
    for patch in figure.axes[0].patches:
        if patch.get_label() in ("slab", "logit"):
            left, low, right, top = patch.get_path().get_extents().extents
            nearest = min(names(figure), key=lambda x: abs(x - (left + right) / 2))
            slabs[names(figure)[nearest]].add((left, low, round(right - left, 6), round(top - low, 6)))
    wanted = {part.name: len(part.blocks) or 1 for part in parts} | {"linear": 10}
    assert {name: len(found) for name, found in slabs.items()} == wanted
    sizes = {part.shape: {slab[2:] for slab in slabs[part.name]} for part in parts[:-1]}
    for (one, ((wide, high),)), (other, ((wider, higher),)) in permutations(sizes.items(), 2):
        assert (one[0] < other[0]) == (wide < wider) and (one[-1] >= other[-1] or high <= higher)


@every
def test_no_text_lies_on_another_or_runs_out(name):
    figure = drawn(name)[1]
    renderer = figure.canvas.get_renderer()
    areas = {t: t.get_window_extent(renderer) for t in [*figure.texts, *figure.axes[0].texts] if t.get_text()}
    for text, area in areas.items():
        assert figure.bbox.x0 <= area.x0 and area.x1 <= figure.bbox.x1 and figure.bbox.y0 <= area.y0, text
        assert text.get_size() >= 8
    for (one, a), (other, b) in combinations(areas.items(), 2):
        assert not a.overlaps(b), (one, other)


def test_blocks_of_two_kinds_are_refused():
    net = network("bare")
    net.stages[1][0].relu1.p = 0
    with pytest.raises(ValueError, match="2 kinds of block"):
        architecture_plot.architecture(layer_graph.trace_layers(net))


def test_a_block_without_a_shortcut_is_drawn_without(monkeypatch):
    monkeypatch.setattr(resnet.ResidualBlock, "forward", lambda self, x: self.relu1(self.bn1(self.conv1(x))))
    figure = architecture_plot.architecture(layer_graph.trace_layers(network("bare")))
    assert list(boxes(figure, "block").values()) == ["conv\n3×3", "BN", "ReLU", "dropout\n0.2"]
    assert "shortcut" not in figure.alt and "shortcut" not in texts(figure, color=palette.INK).values()


def test_same_bytes_in_the_colours_of_both_themes(tmp_path):
    for name in ("a.svg", "b.svg"):
        drawn.cache_clear()
        picture.save(drawn("stem")[1], tmp_path / name)
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert svg == (tmp_path / "b.svg").read_text(encoding="utf-8")
    used = set(re.findall(r"(?:fill|stroke): (#\w+)", svg.partition("</style>")[2]))
    assert palette.ORANGE in used and used <= set(palette.DARK)
