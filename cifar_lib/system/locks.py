"""One process at a time trains a run: a lock on its folder, which dies with its process. No torch."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cifar_lib import errors
from cifar_lib.errors import UserError
from cifar_lib.system.files import OutputError, remove_parts

NAME = ".lock"
PAUSE = 0.1  # seconds in which the process that has just got a lock writes its number into the file

_held: dict[Path, tuple[int, int]] = {}  # folder -> process, since a fork inherits this, and the open file


class Locked(UserError):
    """A run that another process is training; the message is one line and names it."""

    status = errors.LOCKED


def take(folder: Path) -> bool:
    """Hold the folder for this process until it ends or calls `release`; False if it holds it already. Removes what
    killed writers left there. Raises `Locked`, and `OutputError` where no file can be made."""
    if _holds(folder):
        return False
    try:
        handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); give another run, or CIFAR_RUNS") from None
    if not lock_file(handle):
        who = _holder(handle)
        os.close(handle)
        raise Locked(f"run {folder.name}: {who} is training it; wait for it to end, or stop it")
    with suppress(OSError):  # on a full disk it is held all the same
        os.write(handle, f"{os.getpid()}\n".encode())
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


def lock_file(handle: int, blocking: bool = False) -> bool:
    """Lock an open file for this process and those that inherit it, until the last one closes it. False if others hold
    it, unless `blocking` waits for them; True also where the file system has no locks."""
    from filelock import lock_descriptor

    try:
        return lock_descriptor(handle, blocking=blocking)
    except OSError:
        return True


def _holds(folder: Path) -> bool:
    """Whether this process holds the folder that is there now, not one of that name which was removed."""
    process, handle = _held.get(folder, (0, 0))
    if process != os.getpid():
        return False
    try:
        return os.path.samestat(os.fstat(handle), os.stat(folder / NAME))
    except OSError:
        return False


def _holder(handle: int) -> str:
    """Who holds the lock, as its file says."""
    time.sleep(PAUSE)
    number = ""
    with suppress(OSError):  # Windows keeps others from reading what is locked
        number = os.read(handle, 20).partition(b"\n")[0].decode(errors="replace")
    return f"process {number}" if number.isdecimal() else "another process"
