"""One process at a time trains a run: a lock on its folder, which dies with its process. No torch."""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifar_lib import errors
from cifar_lib.errors import UserError
from cifar_lib.system.files import OutputError, remove_parts

NAME = ".lock"
FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, process

_held: dict[Path, tuple[int, int]] = {}  # folder -> process, since a fork inherits this, and the open file


class Locked(UserError):
    """A run that another process is training; the message is one line and names it."""

    status = errors.LOCKED


def take(folder: Path) -> bool:
    """Hold the folder for this process until it ends or calls `release`; False if this process holds it already.

    What killed writers left there is removed. Raises `Locked`, and `OutputError` where no file can be made.
    """
    if _holds(folder):
        return False
    try:
        handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); give another run, or CIFAR_RUNS") from None
    try:
        # Two locks: the first tells others whose it is, but goes when the process closes any handle of the file; the
        # second stays, but is shared with forks.
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        holder = _holder(handle)
        os.close(handle)
        who = f"process {holder}" if holder else "another process"
        raise Locked(f"run {folder.name}: {who} is training it; wait for it to end, or stop it") from None
    except OSError:  # a file system without locks
        pass
    _held[folder] = os.getpid(), handle
    remove_parts(folder)
    return True


@contextmanager
def taking(folder: Path) -> Iterator[None]:
    """Take the folder, and keep it afterwards; unless something within refuses, then it is as free as before."""
    ours = take(folder)
    try:
        yield
    except BaseException:
        if ours:
            release(folder)
        raise


def release(folder: Path) -> None:
    """Let another process train the run."""
    process, handle = _held.pop(folder, (0, 0))
    if process == os.getpid():
        os.close(handle)


def _holds(folder: Path) -> bool:
    """Whether this process holds the folder that is there now, not one of that name which was removed."""
    process, handle = _held.get(folder, (0, 0))
    if process != os.getpid():
        return False
    try:
        return os.path.samestat(os.fstat(handle), os.stat(folder / NAME))
    except OSError:
        return False


def _holder(handle: int) -> int:
    """The process that holds the lock; 0 if it has just let go, or cannot be seen from here."""
    asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, *_, process = struct.unpack(FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, asked))
    return process if kind != fcntl.F_UNLCK else 0
