"""The benchmark: all loops interleaved in one run, each turn in a process of its own, and the limits of the machine.

Rounds go through the loops forth and back; a turn is a first step, two to warm up, and then `steps` timed ones.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date

import torch

from cifar_lib import data
from cifar_lib.bench import limits, op_costs, parts
from cifar_lib.bench.loops import LEVERS, Loop, build, changed, ladder
from cifar_lib.bench.parts import timed
from cifar_lib.config import Config
from cifar_lib.device import memory
from cifar_lib.device.placement import device, has_fast_bfloat16, precision
from cifar_lib.errors import UserError
from cifar_lib.evidence.speed_file import FORMAT
from cifar_lib.training import environment

ONLY_OURS = """trivial_augment cutout mixup label_smoothing nesterov norm_weight_decay ema_half_life grad_clip
    alternating_flip progressive_resizing""".split()
WARM_UP = 2  # steps before each turn's clock
CLOCK = (
    "Whole training steps at full batches, from the images in memory to the moved weights: loading, crop, flip, "
    "normalisation, forward, loss, backward, SGD, Lookahead, loss and accuracy; the device has finished when the clock "
    "stops. Not in it: start, compilation, two steps to warm up, evaluation, files. "
    "Start to first step: nothing is compiled yet."
)


class BenchError(UserError):
    """A benchmark that cannot be made; the message is one line."""


def run(config: Config, rounds: int, steps: int, papermill: bool, say: Callable[[str], None] = print) -> dict:
    """The whole benchmark as plain values, in the format that `speed_file.read` reads.

    Raises `DataError` where CIFAR-10 is not at hand, and `BenchError` where too few loops work or `config` has what the
    reference loops do not.
    """
    if ours := changed(config, ONLY_OURS):
        raise BenchError(f"bench: the loops to compare with have no {ours}; leave them as they are")
    data.load(config)
    about = environment.machine(config) | {"date": date.today().isoformat()}
    found = {"format": FORMAT, "machine": about, "config": config.model_dump(mode="json"), "clock": CLOCK}
    gpu, images = device(config).type == "cuda", steps * config.batch_size
    loops = ladder(gpu, has_fast_bfloat16(device(config)))
    turns = _rounds(loops, config, rounds, steps, say)
    found |= {"steps": steps, "limits": limits.measured(device(config)), "work": op_costs.training(config)}
    found["sides"] = [_row(loop, took, images) for loop, took in turns.items()]
    profiled = _profiled([*turns], gpu)
    found |= {"profile": _alone(profile, config, profiled), "profiled": profiled.name}
    found["left_out"] = [loop.name for loop in loops if loop not in turns]
    say("input, inference, start-up")
    found |= {"input": parts.input_alone(config, rounds), "inference": parts.inference(config, rounds)}
    found["start_up"] = parts.start_up()
    return found | ({"papermill": parts.notebook_overhead(rounds)} if papermill else {})


def _rounds(loops: list[Loop], config: Config, rounds: int, steps: int, say: Callable[[str], None]) -> dict:
    """The turns of each loop, as of `_turn`; every other round goes backwards. Loops that fail are left out."""
    turns = {loop: [] for loop in loops}
    for number in range(rounds):
        for loop in [*turns][:: (1, -1)[number % 2]]:
            try:
                turns[loop].append(_alone(_turn, loop, config, steps, time.time()))
                say(f"{loop.name}: {steps * config.batch_size / turns[loop][-1]['seconds']:,.1f} img/s")
            except Exception as error:  # whatever a loop may raise, and that its process is gone
                del turns[loop]
                say(f"{loop.name}: {(str(error).strip() or repr(error)).splitlines()[0]}; left out")
        if not {True, False} <= {bool(loop.levers) for loop in turns}:
            raise BenchError("bench: neither every reference nor every other loop may fail; see the lines above")
    return turns


def _alone(act: Callable, *arguments):
    """What `act` gives, or the exception that it raises, in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(act, *arguments).result()


def _turn(loop: Loop, config: Config, steps: int, began: float) -> dict[str, float]:
    """Seconds that `steps` take, bytes of memory at most, and seconds from `began` to the end of the first step."""
    multiprocessing.set_start_method("fork", force=True)  # of the loader's processes, as a script's are on Linux
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # so that compiling starts cold
        take = build(loop, config)
        take(1)
        cold = time.time() - began
        take(WARM_UP)
        seconds = timed(lambda: take(steps))
    peak = memory.gpu_peak(device(config)) or memory.resident_peak()
    return {"seconds": seconds, "memory": peak, "cold": cold}


def _row(loop: Loop, turns: list[dict], images: int) -> dict:
    """What is stored of a loop, whose turns had so many images."""
    row = {"name": loop.name, "lever": "".join(loop.levers[-1:]), "reference": not loop.levers}
    seconds, peaks, colds = ([turn[what] for turn in turns] for what in ("seconds", "memory", "cold"))
    row |= {"precision": loop.precision, "images": images, "seconds": seconds}
    return row | {"memory": max(peaks), "cold": statistics.median(colds)}


def _profiled(loops: list[Loop], gpu: bool) -> Loop:
    """The last loop whose operations run one by one; on a CPU the last in float32, whose limit is known best."""
    eager = [loop for loop in loops if not {"CUDA graph", "torch.compile"} & {*loop.levers}]
    return [loop for loop in eager if gpu or loop.precision == "float32"][-1]


def profile(config: Config, loop: Loop | None = None) -> list[dict]:
    """`op_costs.profile` of a step of `loop`; by default of this library's eager step, in the precision of `config`."""
    eager = LEVERS[: LEVERS.index("bfloat16") + (precision(config) == torch.bfloat16)]
    steps = build(loop or Loop("ours", eager), config)
    return op_costs.profile(lambda: steps(1))
