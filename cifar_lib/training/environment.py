"""What a run is made with: device, precision and threads, versions, revision, the data's hashes; and what changed."""

import os
import platform
import subprocess
from collections.abc import Callable
from importlib import metadata

import torch

from cifar_lib import paths
from cifar_lib.config import Config
from cifar_lib.data import Dataset
from cifar_lib.device import distributed
from cifar_lib.device.placement import device, memory_format, precision, processor, repeatable
from cifar_lib.runs.run import Run

PACKAGES = (
    "torch", "torchvision", "numpy", "pandas", "scikit-learn", "matplotlib", "seaborn", "pydantic",
    "safetensors", "tensorboard", "papermill", "nbconvert", "jupyterlab",
)  # fmt: skip
# What must be the same for the same bits; the revision aside, which may change a comment.
EXACT = ("device", "instructions", "threads", "precision", "memory_format", "gear", "processes", "torch")


def keep(run: Run, now: dict, epoch: int, say: Callable[[str], None]) -> None:
    """Write what the run begins with, or what differs where it goes on after `epoch`, with a line each to `say`."""
    if not repeatable(run.config):
        say("on a GPU, without deterministic: what is stopped and continued is not the same bit for bit")
    if not (epoch and run.has("environment.json")):
        run.record("environment.json", now)
        return
    before = run.environment
    changed = {name: [old, new] for name in EXACT if (old := _fact(before, name)) != (new := _fact(now, name))}
    for name, (old, new) in changed.items():
        say(f"{name}: the run began with {old}, now {new}: it goes on, but not bit for bit as if never stopped")
    if changed:
        continued = [*before.get("continued", []), {"epoch": epoch} | changed]
        run.record("environment.json", before | {"continued": continued})


def _fact(environment: dict, name: str):
    return environment["packages"].get(name) if name == "torch" else environment.get(name)


def describe(config: Config, dataset: Dataset, hashes: dict, parameters: int, mode: str) -> dict:
    """Everything of this machine and this code that a run's numbers depend on, as plain values."""
    return machine(config) | {
        "parameters": parameters,
        "precision": str(precision(config)).removeprefix("torch."),
        "memory_format": str(memory_format(config)).removeprefix("torch."),
        "gear": mode,
        "processes": distributed.world().size,
        "train_images": len(dataset.train),
        "sha256": hashes,
    }


def machine(config: Config) -> dict:
    """The device, and what this code and its packages are."""
    chosen = device(config)
    return {
        "device": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else f"{chosen.type}: {processor()}",
        "instructions": _instructions(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "revision": _revision(),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _instructions() -> str:
    """The widest instructions that torch and oneDNN, which may be held back by a variable each, take on this CPU."""
    kinds = {"bfloat16": torch.cpu._is_avx512_bf16_supported(), "AMX": torch.cpu._is_amx_tile_supported()}
    held = {name: os.environ[name] for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA") if name in os.environ}
    words = [torch.backends.cpu.get_cpu_capability(), *(k for k, has in kinds.items() if has)]
    return " ".join(words + [f"{name}={value}" for name, value in held.items()])


def _revision() -> str | None:
    """The git commit, with "+changes" where the tree has any to tracked files of the library."""
    if not paths.CHECKOUT:  # whatever repository it is installed in is another one
        return None
    try:
        git = ["git", "-C", str(paths.ROOT)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "cifar_lib"], capture_output=True).returncode
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + "+changes" * bool(changed)
