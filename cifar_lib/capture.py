"""The launches of whole steps, recorded once as CUDA graphs: then one call of the host starts several."""

from collections.abc import Callable

import torch

from cifar_lib.steps import Key, Stepper, untouched

WARM_UP = 3  # runs before the recording, in which libraries choose kernels and take their working memory


def cuda_graph(work: Callable[[], None]) -> Callable[[], None]:
    """Record what `work` launches; returns what launches it again. `work` is run a few times before."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=_pool()):
        work()
    return graph.replay


def _pool() -> tuple[int, int]:
    """One pool of memory for all graphs, which never run at once and hand nothing to each other in it."""
    if not hasattr(_pool, "handle"):
        _pool.handle = torch.cuda.graph_pool_handle()
    return _pool.handle


class Captured:
    """Takes the steps of `stepper`, whole windows of `reach` or single ones, each recorded when it is first met.

    Into the graph go: gather, forward, loss, backward, clip, SGD, the totals. Outside stay, and so are never frozen:
    which images and which rates (copied into the graph's own inputs before each replay), Lookahead's counter and
    its meeting of the weights (between windows), dropout's seed (the generator's state is an input that every replay
    moves on). The short last batch has a graph of its own.
    """

    def __init__(self, stepper: Stepper, reach: int, record: Callable = cuda_graph):
        self.stepper, self.reach, self.record = stepper, reach, record
        self.totals = stepper.totals
        self.recorded: dict[tuple[int, int], tuple[list[torch.Tensor], Callable[[], None]]] = {}

    def take(self, keys: list[Key], rates: torch.Tensor, total: int) -> None:
        """As `Stepper.take`."""
        kind = (len(keys), total)
        if kind not in self.recorded:
            self.recorded[kind] = self._record(keys, rates, total)
        inputs, replay = self.recorded[kind]
        torch._foreach_copy_(inputs, _flat(keys, rates))
        replay()
        self.stepper.advance(len(keys))

    def _record(self, keys: list[Key], rates: torch.Tensor, total: int):
        own_rates, own_keys = rates.clone(), [tuple(part.clone() for part in key) for key in keys]

        def work() -> None:
            for key, rate in zip(own_keys, own_rates, strict=True):
                self.stepper.step(key, rate, total)

        with untouched(self.stepper):
            replay = self.record(work)
        return _flat(own_keys, own_rates), replay


def _flat(keys: list[Key], rates: torch.Tensor) -> list[torch.Tensor]:
    return [rates, *(part for key in keys for part in key)]
