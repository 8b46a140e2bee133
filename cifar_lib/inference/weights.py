"""The weights that a run publishes: half as large as they are computed with, in a safetensors file."""

from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from cifar_lib.runs.run import WEIGHTS, DamagedRun, Run
from cifar_lib.system.files import write_atomically

FLOAT16_MAX = torch.finfo(torch.float16).max


def pack(model: torch.nn.Module, **facts) -> torch.Tensor:
    """The weights and buffers the model holds now, as a safetensors file (bytes,) uint8 with `facts` in its header,
    `rounded`."""
    tensors = {name: rounded(tensor.detach()).cpu().contiguous() for name, tensor in model.state_dict().items()}
    data = safetensors.torch.save(tensors, {name: str(value) for name, value in facts.items()})
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy())


def write(folder: Path, weights: torch.Tensor) -> None:
    """Write what `pack` gave, unless the file that is there is the same."""
    data, path = weights.numpy().tobytes(), folder / WEIGHTS
    if not (path.exists() and path.read_bytes() == data):
        write_atomically(path, data)


def rounded(tensor: torch.Tensor) -> torch.Tensor:
    """As it is stored: matrices and kernels in float16; batch norm's vectors stay, since they are few and a variance
    can be too small for float16."""
    return tensor.clamp(-FLOAT16_MAX, FLOAT16_MAX).half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor


def read(run: Run, model: torch.nn.Module) -> None:
    """Put the run's published weights into `model`. Raises `RunError`, one line."""
    data = run.read(WEIGHTS, "of a tracked run they may be left out; train it with 03_train")
    try:
        model.load_state_dict(safetensors.torch.load(data))
    except (RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).split("\n")[0]
        raise DamagedRun(f"{run.folder / WEIGHTS}: not the published weights of this network ({reason})") from None
