"""A network in words and numbers, from its parts (`layer_graph.trace_layers`): what its drawing says."""

from collections import Counter
from math import prod


def facts(part) -> dict[str, str]:
    """A part's numbers, empty where it has none; the stride is that of the whole part."""
    ops, (channels, *sides) = [op for block in part.blocks for op in block.ops], part.shape
    kernels = sorted({op.kernel for op in ops} - {0})
    ways = [", ".join(map(label, block.shortcut)) or "identity" for block in part.blocks if block.shortcut is not None]
    return {
        "blocks": str(len(blocks([part])) or ""),
        "channels": str(channels),
        "map": "×".join(map(str, sides)),
        "kernel": ", ".join(f"{k}×{k}" for k in kernels),
        "stride": str(prod(op.stride for op in ops)) if kernels else "",
        "parameters": f"{part.parameters:,}" if part.parameters else "",
        "shortcut": "\n".join(f"{way} (×{n})" if n > 1 else way for way, n in Counter(ways).items()),
    }


def label(*ops) -> str:
    """Operations that differ in nothing but their kernels: `conv 3×3`, `conv k×k`, `dropout 0.2`, `BN`."""
    kernels = {op.kernel for op in ops}
    k = max(kernels) if len(kernels) == 1 else "k"
    return ops[0].kind + (f" {k}×{k}" if k else "") + (f" {ops[0].p:g}" if ops[0].p else "")


def blocks(parts: list) -> list:
    """Those of all stages."""
    return [block for part in parts if part.name.startswith("stage") for block in part.blocks]


def unfolded(parts: list) -> list[str]:
    """The operations of a block: one stands for all, which are alike but for sizes.

    Raises `ValueError` where one has other operations than the others, or in another order.
    """
    kinds = {tuple((op.kind, op.p) for op in block.ops) for block in blocks(parts)}
    if len(kinds) != 1:
        raise ValueError(f"network: got {len(kinds)} kinds of block, expected one, to be drawn for all")
    return [label(*same) for same in zip(*(block.ops for block in blocks(parts)), strict=True)]


def title(parts: list) -> str:
    """`The network: 11 blocks, 4,733,610 parameters`."""
    count = len(blocks(parts))
    return f"The network: {count} block{'s' * (count != 1)}, {sum(part.parameters for part in parts):,} parameters"


def sentence(parts: list, rows: dict[str, list[str]]) -> str:
    """The whole drawing for who cannot see it: the numbers of every part, and the operations in `rows` by name."""
    text = {part.name: ", ".join(f"{fact} {value}" for fact, value in facts(part).items() if value) for part in parts}
    text |= {f"operations of the {name}": ", ".join(ops) for name, ops in rows.items()}
    listed = "; ".join(f"{name}: {words}" for name, words in text.items()).replace("\n", " and ")
    around = ", with a shortcut from its start to the add" if "add" in rows["block"] else ""
    return f"A row of slabs from the image to the logits, a slab a block. {listed}{around}."
