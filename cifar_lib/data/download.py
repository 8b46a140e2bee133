"""CIFAR-10's official files, brought to where they are looked for: unpacked or downloaded, whole or not at all."""

import contextlib
import errno
import gzip
import os
import shutil
import socket
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import calculate_md5, download_url

from cifar_lib.errors import short
from cifar_lib.system import locks
from cifar_lib.system.files import FULL

PATIENCE = 30.0  # seconds without a word from the server, after which there is no download
HIDDEN = ".download-"  # how the folder begins in which a download is under way
DISK = {*FULL, errno.EIO, errno.EROFS}  # errors that are no network's


class DownloadError(Exception):
    """Why there are no official files, as half a line."""


def fetch(root: Path, online: bool) -> None:
    """Put the official folder into `root`, out of the archive that lies there or else, if `online`, of a download.

    The folder appears whole, each file checked, or not at all: all is done in a hidden folder, which goes whatever
    happens (one that a killed process left, at the next call). Of several processes one works and the others wait. An
    archive in `root` stays. Raises `DownloadError`, and `OSError` where `root` cannot be written.
    """
    own, folder = root / CIFAR10.filename, root / CIFAR10.base_folder
    if not own.is_file() and not online:
        raise DownloadError(f"{CIFAR10.filename} is not there either")
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root):
        if os.path.lexists(folder):
            return
        for left in root.glob(f"{HIDDEN}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=HIDDEN, dir=root) as hidden:
            if own.is_file() and (wrong := _differs(own, CIFAR10.tgz_md5)):
                raise DownloadError(f"{wrong}: remove or replace it")
            archive = own if own.is_file() else _download(Path(hidden))
            os.rename(_unpack(archive, Path(hidden)), folder)


def unofficial(folder: Path) -> str:
    """The first file in `folder` that is not the official one, and how; empty if all are."""
    meta = CIFAR10.meta["filename"], CIFAR10.meta["md5"]
    found = (_differs(folder / name, md5) for name, md5 in (*CIFAR10.train_list, *CIFAR10.test_list, meta))
    return next(filter(None, found), "")


def _differs(path: Path, md5: str) -> str:
    """How a file differs from the one of that MD5; empty if it does not."""
    if not path.is_file():
        return f"{path.name} is missing"
    try:
        if (has := calculate_md5(path)) == md5:
            return ""
        with path.open("rb") as file:
            page = ", a web page," if file.read(64).lstrip().startswith(b"<") else ""
    except OSError as error:
        return f"{path.name} cannot be read ({error.strerror})"
    return f"{path.name} has {path.stat().st_size:,} bytes{page} and MD5 {has}, expected MD5 {md5}"


def _download(folder: Path) -> Path:
    """The archive from its official address; one try."""
    try:
        with _patience():
            download_url(CIFAR10.url, folder, CIFAR10.filename)
    except Exception as error:  # of the network, of HTTP, of an address, of too many redirections: all end here
        if isinstance(error, OSError) and error.errno in DISK:
            raise
        failed = f"the download of {CIFAR10.url} failed ({short(error)})"
        raise DownloadError(f"{failed}, expected an archive of MD5 {CIFAR10.tgz_md5}") from None
    archive = folder / CIFAR10.filename
    if wrong := _differs(archive, CIFAR10.tgz_md5):
        raise DownloadError(f"what {CIFAR10.url} gave is not the archive: {wrong}")
    return archive


def _unpack(archive: Path, into: Path) -> Path:
    """The official folder out of the official archive, each of its files checked."""
    checked = f"{archive.name} has MD5 {CIFAR10.tgz_md5}, as expected, but"
    if not hasattr(tarfile, "data_filter"):
        reason = "this Python has no safe way to unpack it, 3.11.4 and later have"
        raise DownloadError(f"{archive.name}: {reason}; unpack it by hand")
    try:
        with tarfile.open(archive, "r:gz") as tar:  # torchvision unpacks too, but without a filter before 0.29
            tar.extractall(into, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DownloadError(f"{checked} cannot be unpacked ({short(error)})") from None
    if wrong := unofficial(into / CIFAR10.base_folder):
        raise DownloadError(f"{checked} in it {wrong}")
    return into / CIFAR10.base_folder


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Within it no other process fetches into `root`; the system lets go for one that dies."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders: there two may fetch at once, each for itself
        yield
        return
    handle = os.open(root, os.O_RDONLY)
    try:
        locks.lock_file(handle, blocking=True)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Within it a socket waits `PATIENCE` seconds, and not for ever: torchvision asks for no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
