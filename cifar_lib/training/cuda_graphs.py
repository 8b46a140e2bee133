"""The launches of whole steps, recorded once as CUDA graphs: then one call of the host starts several."""

from collections.abc import Callable
from contextlib import suppress

import torch

from cifar_lib.training.train_step import BatchIndices, TrainStep, preserved_state

WARM_UP = 3  # runs before the recording, in which libraries choose kernels and take their working memory
CallShape = tuple[int, int]  # of a call: how many steps, and images per batch


def call_shapes(images: int, size: int, steps_per_call: int) -> list[CallShape]:
    """Of the calls of an epoch of `images` images: `steps_per_call` steps, single ones, the short last batch."""
    full, short = divmod(images, size)
    found = [(steps_per_call, size)] * (full >= steps_per_call) + [(1, size)] * (full > 0) + [(1, short)] * (short > 0)
    return list(dict.fromkeys(found))


class CudaGraphs:
    """Records CUDA graphs, all in one pool of memory: they never run at once and hand nothing on in it."""

    def __init__(self):
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Callable[[], None]) -> Callable[[], None]:
        """Record what `function` launches, after a few runs of it; returns what launches the same again."""
        before, beside = torch.cuda.current_stream(), torch.cuda.Stream()
        beside.wait_stream(before)
        with torch.cuda.stream(beside):
            for _ in range(WARM_UP):
                function()
        before.wait_stream(beside)
        graph, cause = torch.cuda.CUDAGraph(), None
        try:
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                try:
                    function()
                except Exception as error:
                    cause = error
                    raise
        except Exception as error:  # the end of a broken recording only tells of "a previous error"
            self._recover(before)
            raise cause or error from None
        return graph.replay

    def _recover(self, stream: torch.cuda.Stream) -> None:
        """Leave a broken recording, as torch 2.11 does not: its stream, its hold on dropout's generator, its pool."""
        torch.cuda.set_stream(stream)
        with suppress(RuntimeError):
            generator = torch.cuda.default_generators[stream.device_index]
            generator.graphsafe_set_state(generator.clone_state())  # a clone is not recording
            torch._C._cuda_endAllocateToPool(stream.device_index, self.pool)


class CudaGraphStep:
    """Takes the steps of `stepper`, in epochs of `images` images: every shape of call is recorded here and now.

    Into the graph go: gather, forward, loss, backward, the check for bad numbers, clip, SGD, average, the totals.
    Outside stay, and so are never frozen: which images and which learning rates (copied into the graph's inputs before
    each replay), Lookahead's counter and slow weights (between windows), dropout's seed (the generator's state is an
    input that every replay moves on). `record` makes of a function what repeats it; None: `CudaGraphs`.
    """

    def __init__(self, stepper: TrainStep, steps_per_call: int, images: int, record: Callable | None = None):
        self.stepper, self.steps_per_call, self.totals = stepper, steps_per_call, stepper.totals
        record, size = record or CudaGraphs(), stepper.config.batch_size
        key = next(iter(stepper.batches.keys(1)))
        self.recorded = {shape: self._record(key, shape, record) for shape in call_shapes(images, size, steps_per_call)}

    def run(self, keys: list[BatchIndices], lrs: torch.Tensor, total: int) -> None:
        """As `TrainStep.run`."""
        inputs, replay = self.recorded[len(keys), total]
        torch._foreach_copy_(inputs, _flat(keys, lrs))
        replay()
        self.stepper.advance(len(keys))

    def _record(
        self, key: BatchIndices, shape: CallShape, record: Callable
    ) -> tuple[list[torch.Tensor], Callable[[], None]]:
        """The inputs of a graph for calls of that shape, and what replays it."""
        count, total = shape
        lrs = torch.zeros(count, device=self.totals.device)
        keys = [tuple(part[:total].clone() for part in key) for _ in range(count)]

        def steps() -> None:
            for key, lr in zip(keys, lrs, strict=True):
                self.stepper.step(key, lr, total)

        with preserved_state(self.stepper):
            replay = record(steps)
        return _flat(keys, lrs), replay


def _flat(keys: list[BatchIndices], lrs: torch.Tensor) -> list[torch.Tensor]:
    return [lrs, *(part for key in keys for part in key)]
