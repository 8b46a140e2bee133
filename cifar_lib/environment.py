"""What a run is made with: device, precision and threads, versions, revision and the data's hashes."""

import os
import platform
import subprocess
from importlib import metadata

import torch

from cifar_lib import distributed, paths
from cifar_lib.config import Config
from cifar_lib.data import Dataset
from cifar_lib.placement import device, memory_format, precision

PACKAGES = (
    "torch", "torchvision", "numpy", "pandas", "scikit-learn", "matplotlib", "seaborn", "pydantic",
    "safetensors", "tensorboard", "papermill", "nbconvert", "jupyterlab",
)  # fmt: skip


def describe(config: Config, dataset: Dataset, parameters: int, gear: str) -> dict:
    """Everything of this machine and this code that a run's numbers depend on, as plain values."""
    return machine(config) | {
        "parameters": parameters,
        "precision": str(precision(config)).removeprefix("torch."),
        "memory_format": str(memory_format(config)).removeprefix("torch."),
        "gear": gear,
        "processes": distributed.share().size,
        "train_images": len(dataset.train),
        "sha256": {name: getattr(dataset, name).sha256 for name in ("train", "valid", "test")},
    }


def machine(config: Config) -> dict:
    """The device, and what this code and its packages are."""
    chosen = device(config)
    return {
        "device": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else f"{chosen.type}: {_processor()}",
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


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _revision() -> str | None:
    """The git commit, with "+changes" where the tree has any to tracked files of the library."""
    try:
        git = ["git", "-C", str(paths.ROOT)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "cifar_lib"], capture_output=True).returncode
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + "+changes" * bool(changed)
