"""The benchmark: all sides interleaved in one run, each in a process of its own, and what the machine could do at best.

Rounds go through the sides forth and back in turn; each turn is two steps to warm up and then `steps` timed ones.
"""

import atexit
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import date

import torch

from cifar_lib import data
from cifar_lib.bench import op_costs, parts
from cifar_lib.bench.loops import LEVERS, Side, ladder, walk
from cifar_lib.bench.parts import clock, timed
from cifar_lib.config import Config
from cifar_lib.device import memory
from cifar_lib.device.placement import device, has_bfloat16, precision
from cifar_lib.errors import UserError
from cifar_lib.evidence.speed_file import FORMAT
from cifar_lib.training import environment

ONLY_OURS = (
    *("trivial_augment", "cutout", "mixup", "label_smoothing", "nesterov", "norm_weight_decay", "ema_half_life"),
    *("grad_clip", "alternating_flip", "progressive_resizing"),
)
WARM_UP = 2  # steps before each turn's clock: memory that was given back is fetched again
CLOCK = (
    "Whole training steps at full batches, from the images in memory to the moved weights: loading, crop, flip, "
    "normalisation, forward, loss, backward, SGD, Lookahead, loss and accuracy; the device has finished when the clock "
    "stops. Not in it: start, compilation, two steps to warm up, evaluation, files. "
    "Start to first step: nothing is compiled yet."
)


class BenchError(UserError):
    """A side of the benchmark that failed; the message is one line."""


class Worker:
    """One side in a process of its own, which waits between its turns; `pool` is that process."""

    def __init__(self, side: Side):
        self.side, self.seconds = side, []
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def begin(self, config: Config) -> None:
        """Start the process and take the first step; `cold` is how long that took. Raises `BenchError`."""
        began = clock()
        self.ask("begin", self.side, config)
        self.cold = clock() - began

    def ask(self, *order):
        """What the process answers to `order`: ("turn", steps), ("memory",) or ("profile",). Raises `BenchError`."""
        try:
            return self.pool.submit(_answer, *order).result()
        except Exception as error:  # whatever a side may raise, and that its process is gone
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise BenchError(f"{self.side.name}: {reason}") from error

    def row(self, images: int) -> dict:
        """What is stored of the side, whose turns had so many images."""
        row = {"name": self.side.name, "lever": "".join(self.side.levers[-1:]), "reference": not self.side.levers}
        row |= {"precision": self.side.precision, "images": images, "seconds": self.seconds}
        return row | {"memory": self.ask("memory"), "cold": self.cold}


def _begin(side: Side, config: Config) -> None:
    """Take the first step of the side whose process this is."""
    multiprocessing.set_start_method("fork", force=True)  # of its loader's processes, as a script's are on Linux
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache = tempfile.mkdtemp()  # so that compiling starts cold
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    steps = walk(side, config)

    def turn(count: int) -> float:
        steps(WARM_UP)
        return timed(lambda: steps(count))

    ANSWERS["turn"], ANSWERS["profile"] = turn, lambda: op_costs.profile(lambda: steps(1))
    ANSWERS["memory"] = lambda: memory.gpu_peak(device(config)) or memory.resident_peak()
    steps(1)


ANSWERS: dict[str, Callable] = {"begin": _begin}  # of this process; the others once it is a side's


def _answer(name: str, *arguments):
    answer = ANSWERS[name](*arguments)
    memory.trim()  # all sides share one machine
    return answer


def run(config: Config, rounds: int, steps: int, papermill: bool, say: Callable[[str], None] = print) -> dict:
    """The whole benchmark as plain values, in the format that `speed_file.read` reads; `papermill` against the command
    line only where it is installed and wanted.

    Raises `DataError`, one line, where CIFAR-10 is not at hand, and `BenchError` where too few sides work or `config`
    has what the loops as people write them do not.
    """
    _check_known(config)
    data.load(config)
    about = environment.machine(config) | {"date": date.today().isoformat()}
    found = {"format": FORMAT, "machine": about, "config": config.model_dump(mode="json"), "clock": CLOCK}
    with _workers(config, say) as (workers, left_out):
        _rounds(workers, rounds, steps, steps * config.batch_size, say)
        found |= {"steps": steps, "limits": parts.limits(device(config)), "work": op_costs.training(config)}
        found["sides"] = [worker.row(steps * config.batch_size) for worker in workers]
        profiled = _profiled(workers, gpu=device(config).type == "cuda")
        found |= {"profile": profiled.ask("profile"), "profiled": profiled.side.name, "left_out": left_out}
    say("input, inference, start-up")
    found |= {"input": parts.input_alone(config, rounds), "inference": parts.inference(config, rounds)}
    found["start_up"] = parts.start_up()
    return found | ({"papermill": parts.notebook_overhead(rounds)} if papermill else {})


def _check_known(config: Config) -> None:
    default = Config()
    if ours := [name for name in ONLY_OURS if getattr(config, name) != getattr(default, name)]:
        raise BenchError(f"bench: the loops to compare with have no {', '.join(ours)}; leave them as they are")


@contextmanager
def _workers(config: Config, say: Callable[[str], None]) -> Iterator[tuple[list[Worker], list[str]]]:
    """A process for each side, and the names of those that failed at the first step and are left out."""
    workers, left_out = [], []
    try:
        for side in ladder(device(config).type == "cuda", has_bfloat16(device(config))):
            workers.append(Worker(side))
            try:
                workers[-1].begin(config)
                say(f"{side.name}: first step after {workers[-1].cold:.1f} s")
            except BenchError as error:
                workers.pop().pool.shutdown()
                left_out.append(side.name)
                say(f"{error}; left out")
        if not {True, False} <= {bool(worker.side.levers) for worker in workers}:
            raise BenchError("bench: neither every reference nor every other side may fail; see what was said above")
        yield workers, left_out
    finally:
        for worker in workers:
            worker.pool.shutdown()


def _rounds(workers: list[Worker], rounds: int, steps: int, images: int, say: Callable[[str], None]) -> None:
    """Give each side its turn in each round; every other round goes backwards."""
    for number in range(rounds):
        for worker in workers[:: (1, -1)[number % 2]]:
            worker.seconds.append(worker.ask("turn", steps))
        speeds = " ".join(f"{images / worker.seconds[-1]:,.1f}" for worker in workers)
        say(f"round {number + 1} of {rounds}: {speeds} img/s")


def _profiled(workers: list[Worker], gpu: bool) -> Worker:
    """The last side whose operations run one by one; on a CPU the last in float32, whose limit is known best."""
    eager = [worker for worker in workers if not {"CUDA graph", "torch.compile"} & {*worker.side.levers}]
    return [worker for worker in eager if gpu or worker.side.precision == "float32"][-1]


def profile(config: Config) -> list[dict]:
    """Where the time of an eager step of this library goes, in the precision that a run of `config` has; a row an
    operation, as of `op_costs.profile`."""
    bfloat16 = precision(config) == torch.bfloat16
    steps = walk(Side("ours", LEVERS[: LEVERS.index("bfloat16") + bfloat16]), config)
    return op_costs.profile(lambda: steps(1))
