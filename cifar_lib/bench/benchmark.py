"""The benchmark: all sides interleaved in one run, each in a process of its own, and what the machine could do at best.

Rounds go through the sides forth and back in turn; each turn is two steps to warm up and then `steps` timed ones.
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date

from cifar_lib import data
from cifar_lib.bench import op_costs, parts, profiling
from cifar_lib.bench.loops import Side, ladder, walk
from cifar_lib.bench.parts import timed
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
    """One side in a process of its own, which waits between its turns."""

    def __init__(self, side: Side, config: Config):
        self.side, self.batch = side, config.batch_size
        began = time.perf_counter()
        spawn = multiprocessing.get_context("spawn")
        self.pipe, other = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(other, side, config), daemon=False)
        self.process.start()
        other.close()
        self._answer()
        self.cold = time.perf_counter() - began

    def ask(self, *order):
        """What the process answers to `order`: ("turn", steps), ("memory",) or ("profile",). Raises `BenchError`."""
        with suppress(OSError):  # it is gone, as its answer will show
            self.pipe.send(order)
        return self._answer()

    def _answer(self):
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            raise BenchError(f"{self.side.name}: its process ended; what it said stands above") from None

    def end(self) -> None:
        """Let the process end once it has answered; without it this one would wait for it forever."""
        with suppress(OSError):
            self.pipe.send(("end",))
        self.process.join()


def _serve(pipe, side: Side, config: Config) -> None:
    """Take the first step, then answer; memory goes back before each answer, since all sides share one machine."""
    cache = tempfile.TemporaryDirectory()  # so that compiling starts cold
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache.name
    steps = walk(side, config)
    answers = {
        "turn": lambda count: timed(lambda: steps(count), before=lambda: steps(WARM_UP)),
        "memory": lambda: memory.gpu_peak(device(config)) or memory.resident_peak(),
        "profile": lambda: profiling.rows(lambda: steps(1)),
    }
    answer = steps(1)
    memory.trim()
    pipe.send(answer)
    while (order := pipe.recv())[0] != "end":
        answer = answers[order[0]](*order[1:])
        memory.trim()
        pipe.send(answer)
    cache.cleanup()


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
        seconds = _rounds(workers, rounds, steps, say)
        found |= {"steps": steps, "limits": parts.limits(device(config)), "work": op_costs.training(config)}
        found["sides"] = [_row(w, s, steps * config.batch_size) for w, s in zip(workers, seconds, strict=True)]
        profiled = _profiled(workers, gpu=device(config).type == "cuda")
        found |= {"profile": profiled.ask("profile"), "profiled": profiled.side.name, "left_out": left_out}
    say("input, inference, start-up")
    return found | parts.rest(config, rounds, papermill)


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
            try:
                workers.append(Worker(side, config))
                say(f"{side.name}: first step after {workers[-1].cold:.1f} s")
            except BenchError as error:
                left_out.append(side.name)
                say(f"{error}; left out")
        if not {True, False} <= {worker.side.workers is None for worker in workers}:
            raise BenchError("bench: neither every reference nor every other side may fail; see what was said above")
        yield workers, left_out
    finally:
        for worker in workers:
            worker.end()


def _rounds(workers: list[Worker], rounds: int, steps: int, say: Callable[[str], None]) -> list[list[float]]:
    """Seconds of each side's turn in each round; every other round goes backwards."""
    seconds = [[0.0] * rounds for _ in workers]
    for number in range(rounds):
        order = range(len(workers)) if number % 2 == 0 else reversed(range(len(workers)))
        for i in order:
            seconds[i][number] = workers[i].ask("turn", steps)
        speeds = " ".join(f"{steps * workers[0].batch / s[number]:,.1f}" for s in seconds)
        say(f"round {number + 1} of {rounds}: {speeds} img/s")
    return seconds


def _row(worker: Worker, seconds: list[float], images: int) -> dict:
    side = worker.side
    about = {"name": side.name, "lever": side.lever, "reference": side.workers is not None, "precision": side.precision}
    return about | {"images": images, "seconds": seconds, "memory": worker.ask("memory"), "cold": worker.cold}


def _profiled(workers: list[Worker], gpu: bool) -> Worker:
    """The last side; on a CPU the last in float32, whose limit is known best."""
    return [worker for worker in workers if gpu or worker.side.precision == "float32"][-1]


def profile(config: Config) -> list[dict]:
    """Where the time of an eager step of this library goes, in the precision that a run of `config` has; a row an
    operation, as of `profiling.rows`."""
    name = str(precision(config)).removeprefix("torch.")
    steps = walk(Side("ours", channels_last=True, memory=True, dropout=True, precision=name, ours=True), config)
    return profiling.rows(lambda: steps(1))
