"""The trained networks that come with this project, as runs. No torch."""

from cifar_lib import paths
from cifar_lib.evidence import size_curve
from cifar_lib.runs import WEIGHTS, Run, plain_network
from cifar_lib.runs.plain_network import PlainNetwork
from cifar_lib.system import need_checkout

TINY = "tiny"
SMALL = 2_000_000  # bytes: as text in a page 2.7 MB


def runs() -> dict[int | str, Run]:
    """Width, or "tiny" -> the run whose weights are here, the first of its width. Raises `NoCheckout`."""
    need_checkout("the trained networks")
    first = {width: some[0] for width, some in size_curve.runs().items()} | {TINY: Run(paths.TINY)}
    return {width: run for width, run in first.items() if run.has(WEIGHTS)}


def narrowest(most_bytes: int = SMALL) -> PlainNetwork | None:
    """The narrowest network of the size curve; None where its weights' file is larger than `most_bytes`, or none is
    here."""
    run = next((run for width, run in runs().items() if width != TINY), None)
    return plain_network.read(run) if run and (run.folder / WEIGHTS).stat().st_size <= most_bytes else None
