"""Writing a file so that it is never half there, and saying in one line why it could not be written. No torch."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from cifar_lib import errors, paths
from cifar_lib.errors import UserError

PART = ".part"  # ends the name of what is not whole yet
AS_IS = getattr(os, "O_BINARY", 0)  # or Windows changes line ends
FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "files may not be so large",
}


class NoCheckout(UserError):
    """Something that comes with the repository, not with the installed package; the message is one line."""


class OutputError(UserError):
    """A file or folder that cannot be written; the message is one line, what was there before is still there."""

    status = errors.OUTPUT


def write_atomically(path: Path, data: bytes, previous: Path | None = None) -> None:
    """Write `data` to `path` whole or not at all: a temporary file beside it, flushed to disk, then renamed. The file
    that was there stays as `previous`, if given; at no moment is there none. Raises `OutputError`."""
    path = Path(path)
    temporary = _part(path)
    try:
        _write(temporary, data)
        if previous and path.exists():
            _keep(path, previous)
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except BaseException as error:
        for part in (temporary, _part(previous or path)):
            with suppress(OSError):  # where nothing can be written nothing can be removed either
                part.unlink()
        if isinstance(error, OSError):
            raise OutputError(_reason(path, len(data), error)) from None
        raise


def append(path: Path, data: bytes) -> None:
    """Add `data` at the end of a file, all of it or nothing. Raises `OutputError`."""
    handle, before = None, 0
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | AS_IS)
        before = os.fstat(handle).st_size
        _write_all(handle, data)
    except OSError as error:
        if handle is not None:
            with suppress(OSError):
                os.ftruncate(handle, before)
        raise OutputError(_reason(path, len(data), error)) from None
    finally:
        if handle is not None:
            os.close(handle)


def make_folder(path: Path) -> None:
    """The folder and those above it, which may be there. Raises `OutputError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(_reason(path, 0, error)) from None


def need_checkout(what: str) -> None:
    """Raise `NoCheckout` where the package was installed without its repository, which has `what` (a plural)."""
    if not paths.CHECKOUT:
        raise NoCheckout(f"{what} come with the repository, not with the installed package; run this in a clone of it")


def remove_parts(folder: Path) -> None:
    """Remove what writers that were killed left behind; nobody else may be writing there."""
    for part in folder.glob(f".*{PART}"):
        part.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.parent / f".{path.name}.{os.getpid()}{PART}"


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | AS_IS, 0o666)  # less the umask
    try:
        _write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


def _keep(path: Path, previous: Path) -> None:
    """Let `previous` be another name of the file at `path`, or its copy where the file system has one name a file."""
    spare = _part(previous)
    spare.unlink(missing_ok=True)
    try:
        os.link(path, spare)
    except OSError:
        _write(spare, path.read_bytes())
    os.replace(spare, previous)


def _flush_folder(folder: Path) -> None:
    """Without it a rename may be forgotten when the power fails."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot flush folders
            raise
    finally:
        os.close(handle)


def _reason(path: Path, size: int, error: OSError) -> str:
    if error.errno in FULL:
        free = shutil.disk_usage(path.parent).free
        room = f"{size:,} bytes needed, {free:,} free"
        return f"{path}: not written, {FULL[error.errno]} ({room}); make room, then the same command continues"
    return f"{path}: cannot be written ({error.strerror or error}); take a place that can (CIFAR_RUNS is that of runs)"
