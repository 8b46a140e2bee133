"""A queue of runs: each a process of its own, one at a time on each device. No torch.

The same command continues a queue: a complete run is skipped, one that was cut off goes on where its training left it.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import BinaryIO, Literal

from cifar_lib import paths
from cifar_lib.sweep.jobs import Job, SweepError
from cifar_lib.system import locks, signals
from cifar_lib.system.progress import duration

POLL = 0.2  # seconds
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
GRACE = 20  # seconds a training has to end after an interrupt, and again after a termination


@dataclass(frozen=True)
class Result:
    """How a job ended, and the seconds its process took."""

    run: str
    status: Literal["done", "done before", "failed"]
    seconds: float


def devices(text: str | None) -> list[str]:
    """One device per worker, as CUDA_VISIBLE_DEVICES names it: of `text` the GPU numbers, which count the visible ones,
    and "cpu" any number of times; None: every visible GPU, or one "cpu"."""
    visible = _visible_gpus()
    if text is None:
        return visible or ["cpu"]
    found = [name.strip() for name in text.split(",")]
    gpus = [name for name in found if name != "cpu"]
    if len(set(gpus)) < len(gpus) or not all(re.fullmatch("0|[1-9][0-9]*", name) for name in gpus):
        raise SweepError(f"devices: got {text!r}, expected GPU numbers, each once, as in 0,1, or cpu, as in cpu,cpu")
    if visible and any(int(name) >= len(visible) for name in gpus):  # its training would quietly take the CPU
        raise SweepError(f"devices: got {text!r}, expected numbers below {len(visible)}, as many GPUs as are visible")
    return [visible[int(name)] if visible and name != "cpu" else name for name in found]


def run(jobs: list[Job], devices: list[str], show: Callable[[str], None] = print) -> list[Result]:
    """Train every job, the next one on the next free device; a line to `show` where one starts and where it ends. A job
    that fails stops no other. An interrupt ends the runs, waits for them, and is raised again."""
    workers = _Workers(devices, show)
    with signals.handle(), ThreadPoolExecutor(len(devices)) as pool:
        try:
            results = [pool.submit(workers.do, job) for job in jobs]
            pending = set(results)
            while pending:  # a wait without end would not notice a signal that comes just before it
                done, pending = wait(pending, timeout=POLL, return_when=FIRST_COMPLETED)
                for result in done:
                    result.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            workers.stop()
            raise
    return [result.result() for result in results]


class _Workers:
    """The devices that are free, and the processes on the others."""

    def __init__(self, devices: list[str], show: Callable[[str], None]):
        self.free, self.show = SimpleQueue(), show
        for device in devices:
            self.free.put((device, _environment(device, devices)))
        self.children, self.stopped = [], False
        self.starting, self.speaking = threading.Lock(), threading.Lock()

    def do(self, job: Job) -> Result:
        """Train one job on the next free device."""
        place, began = self.free.get(), time.monotonic()
        try:
            if job.complete:
                self._say(f"{job.run}: done before")
                return Result(job.run, "done before", 0.0)
            wrong = self._train(job, *place)
            seconds = time.monotonic() - began
            self._say(f"{job.run}: {wrong or f'done, {duration(seconds)}'}")
            return Result(job.run, "failed" if wrong else "done", seconds)
        finally:
            self.free.put(place)

    def _train(self, job: Job, device: str, environment: dict[str, str]) -> str:
        """Run its process to the end; what went wrong, or an empty string."""
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            # Another sweep, or a training that outlived its own, may hold it; the training inherits it until its end.
            if not locks.lock_file(log.fileno()):
                return "FAILED, another process is training it; wait for that one, or stop it"
            begin = log.seek(0, os.SEEK_END)
            status = self._start(job, device, environment, log).wait()
        if status == 0 or self.stopped:
            return "stopped" if status else ""
        output = job.log.read_bytes()[begin:].decode(errors="replace").strip() or "it said nothing"
        return f"FAILED, status {status}: {output.splitlines()[-1].strip()}; the same command tries it again"

    def _start(self, job: Job, device: str, environment: dict[str, str], log: BinaryIO) -> subprocess.Popen:
        """A session of its own: Ctrl-C in a terminal reaches it once, through `stop`."""
        with self.starting:
            if self.stopped:
                raise SweepError("stopped")
            how = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT, "start_new_session": True}
            child = subprocess.Popen(command(job), cwd=paths.WORKSPACE, env=environment, **how)
            self.children.append(child)
        self._say(f"{job.run}: started on {'the CPU' if device == 'cpu' else f'GPU {device}'}, its output in {job.log}")
        return child

    def stop(self) -> None:
        """Start no process any more and end those there are: asked first, killed after twice `GRACE` seconds."""
        try:
            with self.starting:
                self.stopped = True
            for how in (signal.SIGINT, signal.SIGTERM):
                self._signal(how)
                until = time.monotonic() + GRACE
                while self._alive() and time.monotonic() < until:
                    time.sleep(0.05)
        finally:  # also where a second interrupt finds us waiting
            self._signal(KILL)

    def _alive(self) -> list[subprocess.Popen]:
        return [child for child in self.children if child.poll() is None]

    def _signal(self, how: signal.Signals) -> None:
        """To all of a child's session, so also to the processes that load its data."""
        for child in self._alive():
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(child.pid, how) if hasattr(os, "killpg") else child.terminate()  # Windows knows no groups

    def _say(self, text: str) -> None:
        with self.speaking:  # or two workers' lines could mix
            self.show(text)


def command(job: Job) -> list[str]:
    """What starts a job's process."""
    return [sys.executable, "-m", "cifar_lib", "train", *job.arguments]


def _environment(device: str, devices: list[str]) -> dict[str, str]:
    """What a process on `device` sees: its one GPU or none and, of several on the CPU, its share of the threads."""
    own = {"CUDA_VISIBLE_DEVICES": "" if device == "cpu" else device, "PYTHONUNBUFFERED": "1"}
    own["CIFAR_RUNS"] = str(paths.RUNS)  # a relative one would be another folder from where the process stands
    if root := paths.folder("CIFAR10_ROOT"):
        own["CIFAR10_ROOT"] = str(root)
    if device == "cpu" and devices.count("cpu") > 1:
        threads = os.environ.get("OMP_NUM_THREADS", "")
        have = int(threads) if threads.isdecimal() else os.cpu_count() or 1
        own["OMP_NUM_THREADS"] = str(max(1, have // devices.count("cpu")))
    return os.environ | own


def _visible_gpus() -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES names, in its words; all there are where it is not set."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(number) for number in range(_count_gpus())]
    return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]


def _count_gpus() -> int:
    """The GPUs that nvidia-smi lists; 0 where there is no nvidia-smi."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    except OSError:
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())
