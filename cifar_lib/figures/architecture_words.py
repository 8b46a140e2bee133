"""A network in words and numbers, from its outline (`layer_graph.trace_layers`): what its drawing says."""

from math import prod

SHORT = {"convolution": "conv", "batch norm": "BN", "add": "+"}
ROWS = ("blocks", "channels", "map", "kernel", "stride", "parameters")


def stages(outline: list) -> list:
    """The parts that are made of blocks."""
    return [part for part in outline if part.name.startswith("stage")]


def has(outline: list, kind: str) -> bool:
    """Whether an operation of that kind is on the way anywhere."""
    return any(op.kind == kind for part in outline for block in part.blocks for op in block.way)


def kernels(parts: list) -> list[int]:
    """The sides of all kernels on the way through those parts, each once."""
    return sorted({op.kernel for part in parts for block in part.blocks for op in block.way if op.kernel})


def facts(part) -> tuple[str, ...]:
    """A part's numbers by ROWS, empty where it has none; the stride is its first block's."""
    channels, *sides = part.shape
    windows = kernels([part])
    stride = prod(op.stride for op in part.blocks[0].way if op.kernel) if windows else ""
    count = f"{part.parameters:,}" if part.parameters else ""
    squares, size = ", ".join(f"{k}×{k}" for k in windows), "×".join(map(str, sides))
    return str(len(part.blocks)) if stages([part]) else "", str(channels), size, squares, str(stride), count


def total(outline: list) -> tuple[str, str, str]:
    """How many blocks, how many parameters, and that word, each for a line."""
    blocks = sum(len(part.blocks) for part in stages(outline))
    return f"{blocks} block{'s' * (blocks != 1)}", f"{sum(part.parameters for part in outline):,}", "parameters"


def unfolded(outline: list):
    """The block that stands for all: alike in all but sizes.

    Raises `ValueError` where one block has other operations than the others, or in another order.
    """
    blocks = [block for part in stages(outline) for block in part.blocks]
    kinds = {(tuple((op.kind, op.p) for op in block.way), _round(block)) for block in blocks}
    if len(kinds) != 1:
        raise ValueError(f"outline: got {len(kinds)} kinds of block, expected one, to be drawn for all")
    return blocks[-1]


def _round(block) -> tuple[int, int] | None:
    """Where the shortcut leaves and where it comes back."""
    return block.shortcut and (block.shortcut.start, block.shortcut.end)


def label(op, sizes: list[int]) -> str:
    """An operation in its box; `sizes` are those of the kernels that it stands for."""
    size = f"\n{op.kernel}×{op.kernel}" if len(sizes) == 1 else "\nk×k"
    return SHORT.get(op.kind, op.kind) + (size if op.kernel else "") + (f"\n{op.p:g}" if op.p else "")


def operation(op) -> str:
    """An operation in a sentence: `1×1 convolution of stride 2`."""
    kernel = f"{op.kernel}×{op.kernel} " if op.kernel else ""
    stride = f" of stride {op.stride}" if op.stride > 1 and op.kind == "convolution" else ""
    return f"{kernel}{op.kind}{stride}" + (f" {op.p:g}" if op.p else "")


def shortcuts(outline: list) -> str:
    """What goes round a block: `identity; in the first block of stages 2 and 3: 1×1 conv of stride 2, BN`."""
    places = {}
    for part in stages(outline):
        for number, block in enumerate(part.blocks, 1):
            if block.shortcut:
                made = ", ".join(map(operation, block.shortcut.ops))
                made = made.replace("convolution", "conv").replace("batch norm", "BN")
                places.setdefault(made, []).append((part.name.removeprefix("stage "), number))
    said = [f"in {_where(where)}: {made}" for made, where in places.items() if made]
    return "; ".join((["identity"] if "" in places else []) + said)


def _where(places: list[tuple[str, int]]) -> str:
    """`the first block of stages 2 and 3`."""
    if any(number != 1 for _, number in places):
        return _listed([f"block {number} of stage {stage}" for stage, number in places])
    return f"the first block of stage{'s' * (len(places) > 1)} {_listed([stage for stage, _ in places])}"


def sentence(outline: list) -> str:
    """The whole drawing for who cannot see it."""
    image, stem, *rest = outline
    block, first = unfolded(outline), _run(stem.blocks[0])
    blocks, count, what = total(outline)
    parts = "; ".join(_part(part) for part in rest if part.name != "flatten")
    around = f" Its shortcut: {shortcuts(outline)}." if block.shortcut else ""
    return (
        f"A row of slabs from an image of {'×'.join(map(str, image.shape))} values to {outline[-1].shape[0]} logits: "
        f"{_part(stem)}, made of {first}; {parts}. In all {blocks}, {count} {what}. A block is {_run(block)}.{around}"
    )


def _run(block) -> str:
    return ", ".join(operation(op) for op in block.way)


def _part(part) -> str:
    """`stage 1 with 4 blocks, 64 channels, 32×32 maps, 298,256 parameters`."""
    blocks, channels, sides, *_, count = facts(part)
    said = [f"{blocks} block{'s' * (blocks != '1')}" if blocks else "", f"{channels} channels" if sides else ""]
    said += [f"{sides} maps" if sides else f"{channels} values", f"{count} parameters" if count else ""]
    return f"{part.name} with {', '.join(filter(None, said))}"


def _listed(names: list[str]) -> str:
    """`2`, `2 and 3`, `2, 3 and 4`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
