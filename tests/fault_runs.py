"""Trainings in processes of their own, to be killed, filled up and interrupted.

They are forked from one that has torch loaded and never computes (autograd allows no fork after its first use), so that
each costs a tenth of a second rather than the seconds of an import.
"""

import multiprocessing
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from digests import state_digest

from cifar_lib import paths
from cifar_lib.config import Config

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    """torch._dynamo cifar_lib.training.train_loop cifar_lib.sweep.jobs cifar_lib.__main__
    sklearn.datasets sklearn.model_selection pandas
    tensorboard.compat.proto.event_pb2 tensorboard.summary.writer.record_writer""".split()
)
EPOCHS = 6
# The whole block with SE, batch norm and dropout, as wide as channels last wants it; crop, flip, Lookahead, cosine.
SETTINGS = {"valid_size": 20, "batch_size": 16, "num_channels": 16, "num_blocks": (1, 1), "device": "cpu"}
SETTINGS |= {"conv_kernel_sizes": (3, 3), "shortcut_kernel_sizes": (1, 1), "avg_pool_kernel_size": 16}
SETTINGS |= {"precision": "float32", "max_epochs": EPOCHS}
IMAGES = 50, 20, 30  # to train, to validate, to test: 4 steps per epoch, not a multiple of Lookahead's 5


def images_file(folder: Path) -> Path:
    """A file of that many images, a colour a class and noise on it: what `dataset` reads, under CIFAR-10's name.

    They are the same with CIFAR-10 at hand and without, and are mirrored, as digits would not be.
    """
    chance, labels = np.random.default_rng(0), np.arange(sum(IMAGES)) % 10
    colours = chance.integers(0, 128, (10, 1, 1, 3))
    images = colours[labels] + chance.integers(0, 128, (len(labels), 32, 32, 3))
    np.savez(path := folder / "cifar10.npz", images=images.astype(np.uint8), labels=labels)
    return path


def dataset(path: Path):
    """The data set of such a file."""
    from cifar_lib.data import Dataset, Split

    with np.load(path) as file:
        every = Split(file["images"], file["labels"])
    ends = np.cumsum((0, *IMAGES))
    return Dataset(path.stem, *(every[a:b] for a, b in zip(ends, ends[1:], strict=False)))


def config_of(path: Path, **settings) -> Config:
    return Config(**(SETTINGS | {"dataset": path.stem} | settings))


def prepared(name: str, path: Path, say: Callable[[str], None] = print, **settings):
    """The training of that run, made or continued, in this process."""
    import torch

    from cifar_lib import runs
    from cifar_lib.training import train_loop

    torch.set_num_threads(1)
    config = config_of(path, **settings)
    return train_loop.prepare(config, dataset(path), runs.start(name, config), say)


def to_the_end(name: str, path: Path, **settings) -> None:
    """The training path of `python -m cifar_lib train`, with images of our own."""
    from cifar_lib.training import train_loop

    training = prepared(name, path, **settings)
    for _ in train_loop.fit(training):
        pass
    train_loop.finish(training)


def some_epochs(name: str, path: Path, epochs: int, **settings) -> None:
    """Train until that many are kept, and stop being."""
    from cifar_lib.training import train_loop

    for row in train_loop.fit(prepared(name, path, **settings)):
        if row["epoch"] == epochs:
            return


def left(name: str) -> dict[str, Any]:
    """All that a training leaves and no clock decides: the fingerprint of its checkpoint, and its files."""
    from cifar_lib import runs
    from cifar_lib.runs import history
    from cifar_lib.training import checkpoint

    run = runs.Run(paths.RUNS / name)
    kept = ("model.safetensors", "confusions.csv", "mistakes.npz", "predictions.npz")
    files = {file: run.read(file) for file in kept if run.has(file)}
    rows = run.history.drop(columns=list(history.MEASURED)).to_csv()
    state = checkpoint.read(run.folder / checkpoint.LAST)
    return files | {"fingerprint": state_digest(state), "epoch": state["epoch"], "rows": rows}


def start(function: Callable, *args, **settings) -> multiprocessing.Process:
    """`function` in a process of its own."""
    process = CONTEXT.Process(target=function, args=args, kwargs=settings)
    process.start()
    return process


def status(function: Callable, *args, **settings) -> int:
    """Its exit status, of a process that ends by itself; less than 0: the signal that killed it."""
    process = start(function, *args, **settings)
    process.join(120)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"{function.__name__} hangs")
    return process.exitcode


def answer(function: Callable, *args, **settings) -> Any:
    """What it returns, from a process of its own; raises AssertionError, with its traceback, if it fails there."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = start(_answering, theirs, function, args, settings)
    theirs.close()
    try:
        good, value = ours.recv()
    except EOFError:
        good, value = False, "it died"
    process.join(120)
    if not good:
        raise AssertionError(f"{function.__name__}{args}: {value}, status {process.exitcode}")
    return value


def _answering(pipe, function: Callable, args: tuple, settings: dict) -> None:
    try:
        pipe.send((True, function(*args, **settings)))
    except BaseException:
        pipe.send((False, traceback.format_exc()))
