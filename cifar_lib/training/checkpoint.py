"""What a training needs to go on, saved and read safely."""

import hashlib
import io
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from cifar_lib.config import Config
from cifar_lib.errors import UserError
from cifar_lib.runs.run import LAST, PREVIOUS, DamagedRun, Run
from cifar_lib.system.files import write_atomically

VERSION = 4
MAGIC = "cifar_lib checkpoint"


class CheckpointError(DamagedRun):
    """A checkpoint that cannot be used; the message is one line."""


def save(folder: Path, state: dict) -> None:
    """Write `state` (dicts and lists of tensors, numbers, text) as the folder's newest checkpoint; keep the one before.

    The first line has a version and the SHA-256 of the rest, since torch notices no flipped bit (pytorch#126952).
    Raises `OutputError`; the checkpoint that was there is then still there.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    head = f"{MAGIC} {VERSION} sha256 {hashlib.sha256(payload).hexdigest()}\n"
    write_atomically(folder / LAST, head.encode() + payload, folder / PREVIOUS)


def find(folder: Path, config: Config, say: Callable[[str], None]) -> dict:
    """The state of the newest usable checkpoint of a training with these settings; {} where there never was any.

    Where that is not the last one, `say` gets a line and the last is set aside as damaged.pt, lest a save put it in the
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
