"""What a training needs to go on, saved and read safely; and the published weights."""

import io
from pathlib import Path

import safetensors.torch
import torch

from cifar_lib.files import write_atomically
from cifar_lib.runs import RunError

VERSION = 2
LAST = "last.pt"
WEIGHTS = "model.safetensors"


def save(path: Path, parts: dict, **numbers) -> None:
    """Write the `state_dict` of each part, and plain numbers, to `path`: whole or not at all."""
    state = {name: part.state_dict() for name, part in parts.items()}
    buffer = io.BytesIO()
    torch.save(state | {"numbers": numbers, "version": VERSION}, buffer)
    write_atomically(path, buffer.getvalue())


def read(path: Path) -> dict:
    """What `save` wrote, its `numbers` among it. Raises `RunError`, one line."""
    if not path.exists():
        raise RunError(f"{path}: missing, so this run cannot continue; delete its folder or give another run name")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise RunError(
            f"{path}: not a readable checkpoint ({reason}); delete the run's folder to train it anew"
        ) from None
    if state.get("version") != VERSION:
        raise RunError(
            f"{path}: version {state.get('version')}, expected {VERSION}; continue with the code that wrote it"
        )
    return state


def restore(state: dict, parts: dict) -> dict:
    """Put each part into the state `save` found it in; returns the numbers."""
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["numbers"]


def publish(path: Path, model: torch.nn.Module, **facts) -> None:
    """Write the weights and buffers the model holds now, as safetensors; `facts` go into the header as text.

    Matrices and kernels are rounded to float16, which halves the file; whoever reads them computes in float32.
    """
    tensors = {name: _rounded(tensor.detach()).cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(path, safetensors.torch.save(tensors, {name: str(value) for name, value in facts.items()}))


def _rounded(tensor: torch.Tensor) -> torch.Tensor:
    """Batch norm's vectors stay as they are: they are few, and a variance can be too small for float16."""
    return tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor


def read_published(path: Path, model: torch.nn.Module) -> None:
    """Put published weights into `model`. Raises `RunError`, one line."""
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).split("\n")[0]
        raise RunError(f"{path}: not the published weights of this network ({reason})") from None
