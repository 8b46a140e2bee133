"""What the benchmark measures beside training and limits: the input, inference, start-up, papermill."""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from cifar_lib import paths
from cifar_lib.bench.loops import WORKERS, feed
from cifar_lib.config import IMAGE_SIZE, Config
from cifar_lib.device.placement import device, memory_format
from cifar_lib.models import folding, resnet

REPEATS = 5
BATCHES = (1, 128, 1024)  # of inference
SHORT = "-p run bench -p epochs 6 -p dataset digits -p drop 0 -p num_channels 16 -p device cpu -p precision float32"


def timed(act: Callable[[], object]) -> float:
    """Seconds until `act` is done, on a GPU too."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    began = time.perf_counter()
    act()
    wait()
    return time.perf_counter() - began


def measure(act: Callable[[], object], seconds: float = 0.2) -> list[float]:
    """Seconds of each `act` by torch's timer: one to warm up, then for so many `seconds`, on the threads there are."""
    from torch.utils.benchmark import Timer  # here, since it warns where there is a CUDA and no GPU

    timer = Timer("act()", globals={"act": act}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=seconds).times


def input_alone(config: Config, rounds: int, batches: int = 20) -> list[dict]:
    """Seconds for batches with crop, flip and normalisation, and no network; the ways take turns."""
    where, ours = device(config), feed(config)
    ways = {f"image by image, {n} workers": (lambda n=n: iter(feed(config, n).loader)) for n in WORKERS}
    ways["one gather per batch"] = lambda: ours.epoch(1)
    seconds = {name: [] for name in ways}
    for _, name in itertools.product(range(rounds), ways):
        pairs = ways[name]()
        next(pairs)
        seconds[name].append(timed(lambda pairs=pairs: [x.to(where) for x, _ in itertools.islice(pairs, batches)]))
        del pairs  # and its processes, which would work on ahead
    return [{"name": name, "images": batches * config.batch_size, "seconds": s} for name, s in seconds.items()]


@torch.inference_mode()
def inference(config: Config, rounds: int) -> list[dict]:
    """Seconds per batch, from normalised images on the device to logits on the host, in float32: each turn's median."""
    where, form = device(config), memory_format(config)
    network = resnet.build(config).to(where, memory_format=form).eval()
    folded = folding.fold(network)
    ways = {"eager": network, "folded": folded, "folded, compiled": torch.compile(folded, dynamic=False)}
    found = []
    for size in BATCHES:
        x = torch.randn(size, 3, IMAGE_SIZE, IMAGE_SIZE, device=where).contiguous(memory_format=form)
        seconds = {how: [] for how in ways}
        for _, how in itertools.product(range(rounds), ways):
            seconds[how].append(statistics.median(measure(lambda net=ways[how], x=x: net(x).cpu())))
        found += [{"batch": size, "how": how, "precision": "float32", "seconds": s} for how, s in seconds.items()]
    return found


def start_up() -> dict[str, float]:
    """Seconds, the median of a few: imports as timed inside, `--help` as a user waits for it."""
    inside = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    found = {}
    for name in ("cifar_lib", "torch"):
        found[f"import {name}"] = [float(_python("-c", inside.format(name))) for _ in range(REPEATS)]
    found["python -m cifar_lib --help"] = [timed(lambda: _python("-m", "cifar_lib", "--help")) for _ in range(REPEATS)]
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def _python(*arguments: str) -> bytes:
    return subprocess.run([sys.executable, *arguments], cwd=paths.WORKSPACE, check=True, capture_output=True).stdout


def notebook_overhead(rounds: int) -> dict[str, list[float]]:
    """Seconds in the training steps of the same short run, from the command line and through papermill.

    Both at once, on a core each, which they swap every round. The first epoch, in which the one may still start while
    the other trains, is not counted.
    """
    found = {"command_line": [], "papermill": []}
    for number in range(rounds):
        with ThreadPoolExecutor() as both:
            for way, seconds in zip(found, both.map(_short_run, found, (number % 2, 1 - number % 2)), strict=True):
                found[way].append(seconds)
    return found


def _short_run(way: str, core: int) -> float:
    import pandas as pd

    with tempfile.TemporaryDirectory() as folder:
        book = ["papermill", "--no-progress-bar", str(paths.NOTEBOOKS / "03_train.ipynb"), f"{folder}/out.ipynb"]
        command = book if way == "papermill" else ["cifar_lib", "train"]
        line = ["taskset", "-c", str(core), sys.executable, "-m", *command, *SHORT.split()]
        env = os.environ | {"CIFAR_RUNS": folder, "OMP_NUM_THREADS": "1"}
        subprocess.run(line, cwd=paths.WORKSPACE, env=env, check=True, capture_output=True)
        return float(pd.read_csv(f"{folder}/bench/history.csv").seconds[1:].sum())
