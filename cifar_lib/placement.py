"""Where and how a run computes: device, precision and memory format, as chosen or as the machine suggests."""

import contextlib

import torch

from cifar_lib import memory
from cifar_lib.config import Config
from cifar_lib.errors import Refused


class PlacementError(Refused):
    """A way to compute that this machine does not have; the message is one line."""


def device(config: Config) -> torch.device:
    """`device` as asked; "auto" is the first GPU where there is one, else the CPU."""
    if config.device != "auto":
        return torch.device(config.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision(config: Config) -> torch.dtype:
    """`precision` as asked; "auto" is bfloat16 on a GPU or a CPU that computes with it, else float32."""
    if config.precision != "auto":
        return getattr(torch, config.precision)
    return torch.bfloat16 if has_bfloat16(device(config)) else torch.float32


def has_bfloat16(where: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself: a GPU from 2020 on, a CPU with AVX-512's or AMX's instructions.

    Elsewhere it is emulated, and slower than float32.
    """
    if where.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return where.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def settle_down(where: torch.device) -> None:
    """Prepare this process, once and for all, for long computing there: memory kept, or convolutions tried out.

    On a GPU cuDNN then takes the fastest of its convolutions, which may be another one in another process: resuming is
    bit for bit on a CPU alone.
    """
    if where.type == "cpu":
        memory.reuse()
    torch.backends.cudnn.benchmark = where.type == "cuda"


def autocast(config: Config) -> contextlib.AbstractContextManager:
    """The precision of the run, for the forward pass. No casts are remembered: a CUDA graph would replay old ones."""
    dtype = precision(config)
    return torch.autocast(device(config).type, dtype, enabled=dtype != torch.float32, cache_enabled=False)


def memory_format(config: Config) -> torch.memory_format:
    """Channels last, which every fast convolution wants.

    But for the narrowest networks on a CPU: there the gradient of oneDNN's 1x1 convolution of stride 2 hangs or writes
    where it must not, with fewer channels than a vector has floats, 8 or 16 (uxlfoundation/oneDNN#6035).
    """
    narrow = config.num_channels < 16 and device(config).type == "cpu"
    return torch.contiguous_format if narrow else torch.channels_last
