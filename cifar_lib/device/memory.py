"""The memory of this process: how glibc hands it out, how much was used at most, and too little of it."""

import ctypes
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None

from cifar_lib import errors
from cifar_lib.errors import UserError

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)
# In the messages of torch's CPU allocator, CUDA and cuBLAS.
SHORT = re.compile("can't allocate memory|out of memory|ALLOC_FAILED", re.IGNORECASE)


def reuse() -> bool:
    """Let glibc keep and reuse freed memory from now on, in the whole process; False where there is no glibc.

    By default it returns freed blocks of 32 MiB and more, such as each tensor of the first stage at batch 128, to the
    system and gets them back page by page: 600,000 page faults per step.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(set_option(_MMAP_MAX, 0) and set_option(_TRIM_THRESHOLD, 2**31 - 1))


def resident_peak() -> int | None:
    """Bytes of memory that this process held at most, libraries and data set included; None where no system tells."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def gpu_peak(device: torch.device) -> int | None:
    """Bytes that tensors and graphs took of the GPU at most, data set included; None without a GPU."""
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None


class MemoryShort(UserError):
    """More memory was needed than there is; the message is one line."""

    status = errors.MEMORY


@contextmanager
def guard(what: str) -> Iterator[None]:
    """Within it too little memory, the GPU's or the machine's, raises `MemoryShort` about `what`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        reason = str(error).split("\n")[0][:200]
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not SHORT.search(reason):
            raise
        raise MemoryShort(
            f"{what}: out of memory ({reason or 'none left'}); free some and give the same command again, "
            "or take a smaller batch_size, or num_channels, under another run name"
        ) from None
