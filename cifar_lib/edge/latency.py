"""How long one image takes, form beside form: on one thread, in turns, in one process."""

import time
from collections.abc import Callable

import numpy as np

from cifar_lib.errors import UserError

BUSY = 1.1  # wall time over CPU time: above, something else was running


class BusyMachine(UserError):
    """A machine that does something else while it is being timed; the message is one line."""


def measure(forms: dict[str, Callable[[np.ndarray], object]], images: np.ndarray, rounds: int, first: str) -> dict:
    """Form -> milliseconds per image, as wall time (median, 95th percentile) and CPU time (mean), and how many times as
    fast as `first` it is: the median of the rounds, the least and the most.

    A round asks every form for the same images, one at a time. Raises `BusyMachine` where wall and CPU time differ too
    much: then the machine was not quiet, and no ratio is to be trusted.
    """
    for ask in forms.values():
        ask(images[:1])  # the first answer prepares
    taken = {name: ([], []) for name in forms}
    for _ in range(rounds):
        for name, ask in forms.items():
            for kind, values in zip(taken[name], _turn(ask, images), strict=True):
                kind.append(values)
    wall, cpu = (sum(np.sum(kinds[i]) for kinds in taken.values()) for i in (0, 1))
    if wall > BUSY * cpu:
        raise BusyMachine(
            f"timing: wall time is {wall / cpu:.2f} times CPU time, expected at most {BUSY}; try again when quiet"
        )
    reference = np.sum(taken[first][0], axis=1)
    return {name: _row(np.array(walls), np.array(cpus), reference) for name, (walls, cpus) in taken.items()}


def _turn(ask: Callable, images: np.ndarray) -> tuple[list[float], list[float]]:
    """Milliseconds of wall and of CPU time for each image, asked one by one."""
    marks = [(time.perf_counter(), time.process_time())]
    for i in range(len(images)):
        ask(images[i : i + 1])
        marks.append((time.perf_counter(), time.process_time()))
    wall, cpu = 1000 * np.diff(np.array(marks), axis=0).T
    return wall.tolist(), cpu.tolist()


def _row(wall: np.ndarray, cpu: np.ndarray, reference: np.ndarray) -> dict:
    ratios = reference / wall.sum(1)
    times = {"ms": np.median(wall), "ms_95": np.quantile(wall, 0.95), "cpu_ms": cpu.mean()}
    found = times | {"ratio": np.median(ratios), "ratio_low": ratios.min(), "ratio_high": ratios.max()}
    return {name: float(value) for name, value in found.items()}
