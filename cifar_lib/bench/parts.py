"""What the benchmark measures beside training: the machine's limits, the input, inference, start-up, papermill."""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from cifar_lib import data, paths
from cifar_lib.bench.loops import reference_loader
from cifar_lib.config import IMAGE_SIZE, Config
from cifar_lib.data.batches import Batches
from cifar_lib.device.placement import device, memory_format
from cifar_lib.models import folding, resnet

REPEATS = 5
BATCHES = (1, 128, 1024)  # of inference


def timed(act: Callable[[], None], before: Callable[[], None] = lambda: None) -> float:
    """Seconds that `act` takes on the host, `before` done first."""
    before()
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def best(act: Callable[[], None]) -> float:
    """The least of a few times of `act`, in seconds, after one to warm up."""
    act()
    return min(timed(act) for _ in range(REPEATS))


def wait(where: torch.device) -> None:
    """Return when the device has finished."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def limits(where: torch.device) -> dict:
    """The best matrix-product rate found, FLOP a second, by precision and by whom; bytes a second of a + s b -> c."""
    size, elements = (8192, 2**28) if where.type == "cuda" else (2048, 2**26)
    triad = _triad(elements, where)
    found = {"bandwidth": 12 * elements / best(lambda: (triad(), wait(where)))}
    for precision in ("float32", "bfloat16"):
        a = torch.randn(size, size, device=where, dtype=getattr(torch, precision))
        rates = {"torch": 2 * size**3 / best(lambda a=a: (a @ a, wait(where)))}
        if precision == "float32" and where.type == "cpu":
            b = a.numpy()
            rates["NumPy's OpenBLAS"] = 2 * size**3 / best(lambda b=b: b @ b)
        elif precision == "float32":  # cuDNN's convolutions take TF32 unless told otherwise, and no side tells it
            with _tf32():
                rates["torch, in TF32"] = 2 * size**3 / best(lambda a=a: (a @ a, wait(where)))
        by = max(rates, key=rates.get)
        found |= {f"matmul_{precision}": rates[by], f"matmul_{precision}_by": by}
    return found


@contextmanager
def _tf32() -> Iterator[None]:
    """Within it float32 matrix products of a GPU round their factors to TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _triad(elements: int, where: torch.device) -> Callable[[], None]:
    a, b, c = (torch.ones(elements, device=where) for _ in range(3))

    def act() -> None:
        torch.add(a, b, alpha=2.0, out=c)

    return act


def rest(config: Config, rounds: int, papermill: bool) -> dict:
    """The input alone, inference, start-up and, if wanted, papermill against the command line, as plain values."""
    found = {"input": input_alone(config, rounds), "inference": inference(config, rounds), "start_up": start_up()}
    return found | ({"papermill": notebook_overhead(rounds)} if papermill else {})


def input_alone(config: Config, rounds: int, batches: int = 20) -> list[dict]:
    """Batches made, crop, flip and normalisation in them, and no network; the ways take turns."""
    where = device(config)
    ours = Batches(data.load(config).train, config, where, train=True)
    ways = {f"image by image, {n} workers": (lambda n=n: iter(reference_loader(config, n))) for n in (0, 2, 8)}
    ways["a gather a batch"] = lambda: ours.epoch(1)
    seconds = {name: [] for name in ways}
    for _ in range(rounds):
        for name, begin in ways.items():
            feed = begin()
            next(feed)
            turn = timed(lambda feed=feed: ([x.to(where) for x, _ in itertools.islice(feed, batches)], wait(where)))
            seconds[name].append(turn)
            del feed
    return [{"name": name, "images": batches * config.batch_size, "seconds": s} for name, s in seconds.items()]


@torch.inference_mode()
def inference(config: Config, rounds: int) -> list[dict]:
    """Seconds a batch, from normalised images on the device to logits, in float32; the ways take turns."""
    where, form = device(config), memory_format(config)
    network = resnet.build(config).to(where, memory_format=form).eval()
    folded = folding.fold(network)
    ways = {"eager": network, "folded": folded, "folded, compiled": torch.compile(folded, dynamic=False)}
    found = []
    for size in BATCHES:
        x = torch.randn(size, 3, IMAGE_SIZE, IMAGE_SIZE, device=where).contiguous(memory_format=form)
        seconds = {how: [] for how in ways}
        for net in ways.values():
            net(x)
        for _, (how, net) in itertools.product(range(rounds), ways.items()):
            seconds[how].append(timed(lambda net=net, x=x: (net(x), wait(where)), before=lambda: wait(where)))
        found += [{"batch": size, "how": how, "precision": "float32", "seconds": s} for how, s in seconds.items()]
    return found


def start_up() -> dict[str, float]:
    """Seconds, the median of a few: imports as timed inside, `--help` as a user waits for it."""
    inside = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    found = {}
    for name in ("cifar_lib", "torch"):
        printed = [_python("-c", inside.format(name)).stdout for _ in range(REPEATS)]
        found[f"import {name}"] = statistics.median(map(float, printed))
    waited = [timed(lambda: _python("-m", "cifar_lib", "--help")) for _ in range(REPEATS)]
    return found | {"python -m cifar_lib --help": statistics.median(waited)}


def _python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    env = os.environ | environment
    return subprocess.run([sys.executable, *arguments], cwd=paths.ROOT, env=env, check=True, capture_output=True)


def notebook_overhead(rounds: int) -> dict[str, list[float]]:
    """Seconds in the training steps of the same short run, from the command line and through papermill.

    Both at once, on a core each, which they swap every round: what slows the machine slows both. The first epoch, in
    which the one may still start while the other trains, is not counted.
    """
    ways = ("command_line", "papermill")
    found = {way: [] for way in ways}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            started = [_start(way, f"{folder}/{way}", (i + number) % 2) for i, way in enumerate(ways)]
            for way, process in zip(ways, started, strict=True):
                if process.wait():
                    raise subprocess.CalledProcessError(process.returncode, process.args)
                found[way].append(_seconds(f"{folder}/{way}/bench/history.csv"))
    return found


def _start(way: str, folder: str, core: int) -> subprocess.Popen:
    os.mkdir(folder)
    book = [str(paths.NOTEBOOKS / "03_train.ipynb"), f"{folder}/out.ipynb"]
    command = ["cifar_lib", "train"] if way == "command_line" else ["papermill", "--no-progress-bar", *book]
    settings = (
        "-p run bench -p epochs 6 -p dataset digits -p drop 0 -p num_channels 16 -p device cpu -p precision float32"
    )
    line = ["taskset", "-c", str(core), sys.executable, "-m", *command, *settings.split()]
    env = os.environ | {"CIFAR_RUNS": folder, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, cwd=paths.ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _seconds(history: str) -> float:
    import pandas as pd

    return float(pd.read_csv(history).seconds[1:].sum())
