"""Where a run computes: device, precision and threads as chosen, versions, revision and the data's hashes as found."""

import os
import platform
import subprocess
from importlib import metadata

import torch

from cifar_lib import paths
from cifar_lib.config import Config
from cifar_lib.data import Dataset

PACKAGES = (
    "torch", "torchvision", "numpy", "pandas", "scikit-learn", "matplotlib", "seaborn", "pydantic",
    "safetensors", "tensorboard", "papermill", "nbconvert", "jupyterlab",
)  # fmt: skip


def device(config: Config) -> torch.device:
    """`device` as asked; "auto" is the first GPU where there is one, else the CPU."""
    if config.device != "auto":
        return torch.device(config.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision(config: Config) -> torch.dtype:
    """`precision` as asked; "auto" is bfloat16 on a GPU that has it, else float32."""
    fast = device(config).type == "cuda" and torch.cuda.is_bf16_supported()
    name = config.precision if config.precision != "auto" else ("bfloat16" if fast else "float32")
    return getattr(torch, name)


def describe(config: Config, dataset: Dataset, parameters: int) -> dict:
    """Everything of this machine and this code that a run's numbers depend on, as plain values."""
    chosen = device(config)
    return {
        "parameters": parameters,
        "device": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else f"{chosen.type}: {_processor()}",
        "precision": str(precision(config)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "revision": _revision(),
        "train_images": len(dataset.train),
        "sha256": {name: getattr(dataset, name).sha256 for name in ("train", "valid", "test")},
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
