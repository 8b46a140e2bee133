"""What a training needs to go on, saved and read safely; and the published weights."""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from cifar_lib.config import Config
from cifar_lib.errors import UserError
from cifar_lib.runs.history import MEASURED
from cifar_lib.runs.run import LAST, PREVIOUS, WEIGHTS, DamagedRun, Run
from cifar_lib.system.files import write_atomically

__all__ = ["LAST", "PREVIOUS", "WEIGHTS", "find", "fingerprint", "packed", "publish", "read", "read_published", "save"]
VERSION = 4
MAGIC = "cifar_lib checkpoint"
FLOAT16_MAX = torch.finfo(torch.float16).max


class CheckpointError(DamagedRun):
    """A checkpoint that cannot be used; the message is one line."""


def save(folder: Path, state: dict) -> None:
    """Write `state` (dicts and lists of tensors, numbers and text) as the folder's newest checkpoint.

    The one before is kept. The first line has a version and the SHA-256 of the rest, since torch itself notices no bit
    that flipped (pytorch#126952). Raises `OutputError`; the checkpoint that was there is then still there.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    head = f"{MAGIC} {VERSION} sha256 {hashlib.sha256(payload).hexdigest()}\n"
    write_atomically(folder / LAST, head.encode() + payload, folder / PREVIOUS)


def find(folder: Path, config: Config, say: Callable[[str], None]) -> dict:
    """The state of the newest checkpoint of a training with these settings; {} where there never was any.

    `say` is told where that is not the last one, which is then set aside as damaged.pt, so that no save puts it in the
    good one's place. Raises `CheckpointError` where none can be used: a training is never quietly begun anew.
    """
    wrong = []
    for name in (LAST, PREVIOUS):
        try:
            state = read(folder / name)
            _check_own(folder / name, state, config)
        except CheckpointError as error:
            wrong.append(str(error))
            continue
        if wrong:
            say(f"{wrong[0]}; going on from {name}, epoch {state['epoch']}")
            with suppress(FileNotFoundError):
                os.replace(folder / LAST, folder / "damaged.pt")
        return state
    if not Run(folder).begun:
        return {}
    raise CheckpointError(f"{'; '.join(wrong)}; put one of them back, or train the run anew under another name")


def _check_own(path: Path, state: dict, config: Config) -> None:
    """Only `max_epochs` may have grown since: `runs.extend`."""
    try:
        has = Config(**json.loads(state["config"]))
    except UserError as error:
        raise CheckpointError(f"{path}: of another version ({error})") from None
    for field in type(config).model_fields:
        old, new = getattr(has, field), getattr(config, field)
        if old > new if field == "max_epochs" else old != new:
            raise CheckpointError(f"{path}: of another run, which has {field} {old} where this one has {new}")


def read(path: Path) -> dict:
    """What `save` wrote. Raises `CheckpointError` for a file that is not there, has a wrong bit, or another version."""
    try:
        head, _, payload = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    words = head.decode("latin-1").split(" ")
    if len(words) != 5 or " ".join(words[:2]) != MAGIC:
        raise CheckpointError(f"{path}: not a checkpoint of this version, or damaged at its beginning")
    if words[2:4] != [str(VERSION), "sha256"]:
        raise CheckpointError(
            f"{path}: version {words[2][:20]}, expected {VERSION} (up to 3 batch norm's statistics were gathered from "
            "other images than those trained on); continue with the code that wrote it, or train it anew"
        )
    if hashlib.sha256(payload).hexdigest() != words[4]:
        raise CheckpointError(f"{path}: damaged, its SHA-256 is not the one in its first line")
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)


def fingerprint(state: dict) -> str:
    """SHA-256 over every tensor, number and text of a checkpoint but what a clock or the machine's memory gave.

    Two trainings with the same fingerprint have the same weights, statistics, momentum, slow weights, counter, rate,
    epoch, best epoch and its weights, and history, bit for bit.
    """
    digest = hashlib.sha256()
    for path, value in _leaves((), state):
        if path[-1] not in MEASURED:
            digest.update(repr(path).encode())
            digest.update(value if isinstance(value, bytes) else repr(value).encode())
    return digest.hexdigest()


def _leaves(path: tuple, value: Any) -> Iterator[tuple[tuple, Any]]:
    """Every value within, with the way to it; a tensor as its type, its shape and its bytes."""
    if isinstance(value, torch.Tensor):
        yield (
            (*path, str(value.dtype), tuple(value.shape)),
            value.contiguous().view(-1).view(torch.uint8).numpy().tobytes(),
        )
    elif isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves((*path, key), item)
    else:
        yield path, value


def packed(model: torch.nn.Module, **facts) -> torch.Tensor:
    """The weights and buffers the model holds now, as a safetensors file (bytes,) uint8 with `facts` in its header.

    Matrices and kernels are rounded to float16, which halves the file; whoever reads them computes in float32.
    """
    tensors = {name: rounded(tensor.detach()).cpu().contiguous() for name, tensor in model.state_dict().items()}
    data = safetensors.torch.save(tensors, {name: str(value) for name, value in facts.items()})
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy())


def publish(folder: Path, weights: torch.Tensor) -> None:
    """Write what `packed` gave, unless the file that is there is the same."""
    data, path = weights.numpy().tobytes(), folder / WEIGHTS
    if not (path.exists() and path.read_bytes() == data):
        write_atomically(path, data)


def rounded(tensor: torch.Tensor) -> torch.Tensor:
    """As it is stored: matrices and kernels in float16; batch norm's vectors stay, since they are few and a variance
    can be too small for float16."""
    return tensor.clamp(-FLOAT16_MAX, FLOAT16_MAX).half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor


def read_published(run: Run, model: torch.nn.Module) -> None:
    """Put the run's published weights into `model`. Raises `RunError`, one line."""
    data = run.read(WEIGHTS, "of a tracked run they may be left out; train it with 03_train")
    try:
        model.load_state_dict(safetensors.torch.load(data))
    except (RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).split("\n")[0]
        raise DamagedRun(f"{run.folder / WEIGHTS}: not the published weights of this network ({reason})") from None
