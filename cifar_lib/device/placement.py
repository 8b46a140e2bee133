"""Where and how a run computes: device, precision and memory format, as chosen or as the machine suggests."""

import contextlib
import os
import platform

import torch

from cifar_lib.config import Config
from cifar_lib.device import memory
from cifar_lib.errors import UserError


class PlacementError(UserError):
    """A way to compute that this machine does not have; the message is one line."""


def device(config: Config) -> torch.device:
    """`device` as asked; "auto" is the first GPU where there is one, else the CPU."""
    if config.device != "auto":
        return torch.device(config.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def available(where: torch.device) -> bool:
    """Whether this machine has such a device."""
    backends = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    return backends.get(where.type, lambda: True)()


def here(config: Config) -> Config:
    """The settings for using a network here: on "auto" where it was trained on a device that is not available."""
    return config if available(device(config)) else Config(**dict(config) | {"device": "auto"})


def precision(config: Config) -> torch.dtype:
    """`precision` as asked; "auto" is bfloat16 on a GPU or a CPU that computes faster with it, else float32."""
    if config.precision != "auto":
        return getattr(torch, config.precision)
    return torch.bfloat16 if has_fast_bfloat16(device(config)) else torch.float32


def has_fast_bfloat16(where: torch.device) -> bool:
    """Whether bfloat16 is faster there than float32: on GPUs that multiply it, from 2020 on, and on CPUs with AMX or
    AVX-512 BF16, but for Intel's without AMX. On the one such Xeon tried, 64 channels trained at 38 images per second
    in float32, at 29 in bfloat16. Intel reports the opposite of Cooper Lake: ask for bfloat16 there."""
    if where.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if where.type != "cpu" or not torch.cpu._is_avx512_bf16_supported():
        return False
    return torch.cpu._is_amx_tile_supported() or "Intel" not in processor()


def processor() -> str:
    """The name of the CPU, as the system knows it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def prepare_backends(where: torch.device, deterministic: bool) -> None:
    """Prepare this process for long computing there: on a CPU keep memory, on a GPU let cuDNN try out convolutions.

    The fastest may be another one in another process, so that resuming is bit for bit on a CPU alone; or with
    `deterministic`, where nothing is tried out and torch refuses an operation that has no repeatable form. Raises
    `PlacementError` for a device that is not available.
    """
    if not available(where):
        raise PlacementError(f"device: got {where.type}, which is not available here; take auto, or cpu")
    if where.type == "cpu":
        memory.reuse()
    gpu = where.type == "cuda"
    torch.backends.cudnn.benchmark = gpu and not deterministic
    torch.backends.cudnn.deterministic = deterministic
    torch.use_deterministic_algorithms(deterministic)
    tf32 = torch.backends.cuda.matmul
    tf32.allow_tf32 = tf32.allow_tf32  # once set, torch calls it another state, at which what was compiled is anew
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads what it has not written
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by torch 2.11 before CUDA starts


def repeatable(config: Config) -> bool:
    """Whether the same training comes out the same, bit for bit, on the same machine: on a CPU it does."""
    return config.deterministic or device(config).type == "cpu"


def autocast(config: Config) -> contextlib.AbstractContextManager:
    """The precision of the run, for the forward pass. No casts are remembered: a CUDA graph would replay old ones."""
    dtype = precision(config)
    return torch.autocast(device(config).type, dtype, enabled=dtype != torch.float32, cache_enabled=False)


def memory_format(config: Config) -> torch.memory_format:
    """Channels last, which every fast convolution wants; but not of the narrowest networks on a CPU, where the gradient
    of oneDNN's 1x1 convolution of stride 2 hangs or writes where it must not, with fewer channels than a vector has
    floats, 8 or 16 (uxlfoundation/oneDNN#6035)."""
    narrow = config.num_channels < 16 and device(config).type == "cpu"
    return torch.contiguous_format if narrow else torch.channels_last
