"""CIFAR-10's archive under every kind of bad luck: one line, nothing half there, no second try; and the good ways.

The archive is a small stand-in of the same form, whose MD5s torchvision is told, from a server on this machine.
"""

import contextlib
import errno
import fcntl
import hashlib
import http.server
import io
import os
import pickle
import resource
import shutil
import signal
import socket
import sys
import tarfile
import threading
import time
import urllib.request
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10
from tqdm import tqdm

from cifar_lib import data, errors, paths
from cifar_lib.config import Config
from cifar_lib.data import DataError, download
from cifar_lib.system.files import OutputError

fault = pytest.mark.faults(13)
FOLDER, ARCHIVE = CIFAR10.base_folder, CIFAR10.filename
BATCHES = [name for name, _ in (*CIFAR10.train_list, *CIFAR10.test_list)]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def batch(seed: int) -> bytes:
    """20 images, two of each class, as the official files hold 10,000."""
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 3072), dtype=np.uint8)
    return pickle.dumps({"data": pixels, "labels": list(range(10)) * 2})


FILES = {name: batch(seed) for seed, name in enumerate(BATCHES)}
FILES["batches.meta"] = pickle.dumps({"label_names": list("0123456789")})


def member(name: str, **facts) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for fact, value in facts.items():
        setattr(info, fact, value)
    return info


def archive(files: dict[str, bytes], *first: tarfile.TarInfo) -> bytes:
    """The files in their folder, behind the members `first`, which hold nothing."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for info in first:
            tar.addfile(info)
        for name, content in files.items():
            tar.addfile(member(f"{FOLDER}/{name}", size=len(content)), io.BytesIO(content))
    return buffer.getvalue()


GOOD = archive(FILES)
PAGE = b"<!DOCTYPE html>\n<html><body>Please log in to the network</body></html>"


@pytest.fixture
def root(monkeypatch, tmp_path) -> Path:
    """An empty data/, into which torchvision would download the stand-in."""
    hashes = [[name, md5(FILES[name])] for name in BATCHES]
    monkeypatch.setattr(CIFAR10, "train_list", hashes[:-1])
    monkeypatch.setattr(CIFAR10, "test_list", hashes[-1:])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(FILES["batches.meta"])})
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(GOOD))
    monkeypatch.setattr(download, "PATIENCE", 20)
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("CIFAR10_ROOT", raising=False)
    paths.DATA.mkdir()
    return paths.DATA


class Server(http.server.ThreadingHTTPServer):
    """On this machine; `answer(handler)` says what it does with a request, `asked` is how many there were."""

    daemon_threads = True

    def __init__(self, answer):
        self.answer, self.asked, self.over = answer, 0, threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request, client_address):
        """Say nothing: those who ask hang up as they like."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked += 1
        self.server.answer(self)

    def log_message(self, *args):
        pass


@pytest.fixture
def serve(root, monkeypatch):
    """Start a server that answers so, at the address that torchvision asks."""
    with contextlib.ExitStack() as stack:

        def start(answer) -> Server:
            server = stack.enter_context(Server(answer))
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
            stack.callback(server.over.set)
            monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{ARCHIVE}")
            return server

        yield start


def gives(content: bytes, promised: int | None = None, status: int = 200, **headers: str):
    """An answer of `content`, which may be less than was promised."""

    def answer(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in (headers or {"Content-Length": str(promised or len(content))}).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)
        handler.wfile.flush()

    return answer


def stalls(content: bytes = b"", then=lambda: None):
    """An answer that ends in the middle, or before its beginning, and leaves the line open."""

    def answer(handler: Handler) -> None:
        if content:
            gives(content, promised=len(GOOD))(handler)
            then()
        handler.server.over.wait(20)

    return answer


def load() -> data.Dataset:
    return data.load(Config(valid_size=20))


def is_whole(root: Path) -> bool:
    """Whether the official folder is there with all its files, and nothing hidden."""
    same = all((root / FOLDER / name).read_bytes() == content for name, content in FILES.items())
    return same and not list(root.glob(".*")) and len(load().train) == 80


def refusal(kind: type = DataError) -> str:
    """What `load` says, which is one line with the ways out."""
    with pytest.raises(kind) as caught:
        load()
    message = str(caught.value)
    assert "\n" not in message and message.isprintable()
    assert "CIFAR10_ROOT" in message and "download" in message and "-p dataset digits" in message
    return message


class Process:
    """A fork of this one that does `act`."""

    def __init__(self, act):
        reader, writer = os.pipe()
        if not (pid := os.fork()):
            message = ""
            tqdm.set_lock(threading.RLock())  # all forks share that of torchvision's bar, and some die holding it
            try:
                act()
            except BaseException as error:
                message = f"{type(error).__name__}: {error}"
            finally:
                os.write(writer, message.encode())
                os._exit(0)
        os.close(writer)
        self.pid, self._pipe = pid, os.fdopen(reader, "rb")

    def end(self) -> str | int:
        """Wait for it: its error's line, "" for none, or the signal that it died of."""
        with self._pipe:
            message = self._pipe.read().decode()
        status = os.waitpid(self.pid, 0)[1]
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else message


# ------------------------------------------------------------------------------------------------------- no network


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@fault
@pytest.mark.parametrize(
    "address, reason",
    [
        ("http://127.0.0.1:{port}", "refused"),
        ("https://127.0.0.1:{port}", "refused"),
        ("http://nowhere.invalid", "urlopen error"),
        ("http://", "no host given"),
        ("gopher://127.0.0.1:{port}", "unknown url type"),
    ],
)
def test_nobody_there(root, monkeypatch, address, reason):
    monkeypatch.setattr(CIFAR10, "url", address.format(port=closed_port()) + "/" + ARCHIVE)
    message = refusal()
    assert message.startswith(f"CIFAR-10 not found: looked for {root / FOLDER}; the download of {CIFAR10.url} failed (")
    assert reason in message and f"expected an archive of MD5 {md5(GOOD)}" in message
    assert not list(root.iterdir())


@fault
def test_a_proxy_that_is_gone(root, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the proxies it was made with
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setattr(CIFAR10, "url", f"http://example.invalid/{ARCHIVE}")
    assert "refused" in refusal() and not list(root.iterdir())


# ---------------------------------------------------------------------------------------------------- a bad server


FLIPPED = bytes(byte ^ (place == len(GOOD) // 2) for place, byte in enumerate(GOOD))
OTHER = archive(FILES | {"data_batch_3": batch(99)})


def hangs_up(handler: Handler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")


@fault
@pytest.mark.parametrize(
    "answer, asked, reason",
    [
        pytest.param(gives(PAGE, status=404), 1, "HTTP Error 404", id="404"),
        pytest.param(gives(PAGE, status=503, Retry_After="0"), 1, "HTTP Error 503", id="503"),
        pytest.param(gives(b"", status=302, Location=f"/{ARCHIVE}"), 5, "HTTP Error 302", id="redirected to itself"),
        pytest.param(gives(b"", status=302, Location="file:///etc/passwd"), 1, "HTTP Error 302", id="to a local file"),
        pytest.param(hangs_up, 1, "SSH-2.0", id="no HTTP"),
        pytest.param(lambda handler: None, 1, "closed connection", id="no answer"),
        pytest.param(gives(PAGE), 2, f"has {len(PAGE)} bytes, a web page, and MD5 {md5(PAGE)}", id="a web page"),
        pytest.param(gives(b""), 2, f"has 0 bytes and MD5 {md5(b'')}", id="empty"),
        pytest.param(gives(GOOD[:999], len(GOOD)), 2, f"has 999 bytes and MD5 {md5(GOOD[:999])}", id="cut short"),
        pytest.param(gives(b"fff\r\nabc", Transfer_Encoding="chunked"), 2, "IncompleteRead", id="chunks cut short"),
        pytest.param(gives(FLIPPED), 2, f"MD5 {md5(FLIPPED)}", id="bit flipped"),
        pytest.param(gives(GOOD + b"\0"), 2, f"has {len(GOOD) + 1:,} bytes", id="a byte too many"),
        pytest.param(gives(OTHER), 2, f"MD5 {md5(OTHER)}", id="another archive"),
        pytest.param(stalls(), 1, "timed out", id="no word"),
        pytest.param(stalls(GOOD[:999]), 2, "timed out", id="stalls half-way"),
    ],
)
def test_a_bad_server(root, serve, monkeypatch, answer, asked, reason):
    """torchvision asks twice of itself, for the address and for the file; nobody asks again."""
    server = serve(answer)
    if reason == "timed out":
        monkeypatch.setattr(download, "PATIENCE", 1)
    message = refusal()
    assert message.startswith(f"CIFAR-10 not found: looked for {root / FOLDER}; ")
    assert reason in message and CIFAR10.url in message and f"MD5 {md5(GOOD)}; put the folder" in message
    assert server.asked == asked and not list(root.iterdir())
    assert socket.getdefaulttimeout() is None


@fault
def test_no_tls_where_it_was_expected(root, serve, monkeypatch):
    serve(gives(GOOD))
    monkeypatch.setattr(CIFAR10, "url", CIFAR10.url.replace("http:", "https:"))
    assert "SSL" in refusal() and not list(root.iterdir())


@fault
def test_after_a_bad_server_a_good_one(root, serve):
    serve(gives(PAGE))
    refusal()
    serve(gives(GOOD))
    assert len(load().test) == 20 and is_whole(root)


# ------------------------------------------------------------------------------- an archive that is not what it seems


@fault
@pytest.mark.parametrize("name", [*BATCHES, "batches.meta"])
def test_a_wrong_file_in_the_right_archive(root, serve, monkeypatch, name):
    wrong = archive(FILES | {name: b"wrong"})
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(wrong))
    serve(gives(wrong))
    message = refusal()
    assert f"in it {name} has 5 bytes and MD5 {md5(b'wrong')}, expected MD5 {md5(FILES[name])}" in message
    assert not list(root.iterdir())


OUT = "../../outside"
TRAPS = {
    "up": [member(f"{OUT}/evil")],
    "up from within": [member(f"{FOLDER}/../{OUT}/evil")],
    "a link out": [member("door", type=tarfile.SYMTYPE, linkname=OUT), member("door/evil")],
    "an absolute link": [member("door", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
    "a hard link": [member("door", type=tarfile.LNKTYPE, linkname=f"{OUT}/here")],
    "a batch that is a link": [member(f"{FOLDER}/data_batch_1", type=tarfile.SYMTYPE, linkname=f"../{OUT}/here")],
    "a device": [member(f"{FOLDER}/data_batch_1", type=tarfile.CHRTYPE, devmajor=1, devminor=5)],
}


@fault
@pytest.mark.parametrize("trap", TRAPS)
def test_an_archive_that_reaches_outside(root, serve, monkeypatch, trap):
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "here").write_bytes(b"as it was")
    evil = archive(FILES, *TRAPS[trap])
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(evil))
    serve(gives(evil))
    assert "cannot be unpacked (" in refusal()
    assert not list(root.iterdir()) and sorted(root.parent.iterdir()) == [root, outside]
    assert [(path.name, path.read_bytes(), path.stat().st_nlink) for path in outside.iterdir()] == [
        ("here", b"as it was", 1)
    ]


@fault
@pytest.mark.parametrize("content", [PAGE, GOOD[:99999], b"", b"\x1f\x8b" + PAGE], ids="page cut empty magic".split())
def test_an_archive_that_is_none(root, serve, monkeypatch, content):
    """Were its MD5 the expected one, it would still end in one line."""
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(content))
    serve(gives(content))
    assert "as expected, but" in refusal() and not list(root.iterdir())


# ----------------------------------------------------------------------------------------------- the user's own files


@pytest.mark.parametrize("named", [False, True], ids=["in data/", "in CIFAR10_ROOT"])
def test_the_users_archive_is_used_and_stays(root, serve, monkeypatch, named):
    server = serve(gives(PAGE))
    if named:
        monkeypatch.setenv("CIFAR10_ROOT", str(root))
    (root / ARCHIVE).write_bytes(GOOD)
    assert len(load().test) == 20 and is_whole(root)
    assert (root / ARCHIVE).read_bytes() == GOOD and server.asked == 0


@fault
@pytest.mark.parametrize(
    "content", [PAGE, GOOD[:-1], bytes(FLIPPED), b"", OTHER], ids="page cut flipped empty other".split()
)
@pytest.mark.parametrize("named", [False, True], ids=["in data/", "in CIFAR10_ROOT"])
def test_the_users_bad_archive_is_named_and_stays(root, serve, monkeypatch, named, content):
    server = serve(gives(GOOD))
    if named:
        monkeypatch.setenv("CIFAR10_ROOT", str(root))
    (root / ARCHIVE).write_bytes(content)
    message = refusal()
    assert f"{ARCHIVE} has {len(content):,} bytes" in message
    assert f"MD5 {md5(content)}, expected MD5 {md5(GOOD)}: remove or replace it" in message
    assert [path.name for path in root.iterdir()] == [ARCHIVE] and (root / ARCHIVE).read_bytes() == content
    assert server.asked == 0


@fault
def test_a_folder_that_was_named_is_not_made(root, serve, monkeypatch):
    server = serve(gives(GOOD))
    monkeypatch.setenv("CIFAR10_ROOT", str(root / "not there"))
    assert f"{root / 'not there' / FOLDER}, as CIFAR10_ROOT says; {ARCHIVE} is not there either" in refusal()
    assert server.asked == 0 and not list(root.iterdir())


@fault
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside the archive"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty folder", "a file", "a link to nowhere", "unreadable"])
def test_a_half_folder_is_named_and_stays(root, serve, damage, beside):
    """Once it is gone, the archive or the network gives a whole one."""
    server, folder, third = serve(gives(GOOD)), root / FOLDER, root / FOLDER / "data_batch_3"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    if damage == "missing":
        third.unlink()
    elif damage == "cut":
        third.write_bytes(FILES[third.name][:999])
    elif damage == "unreadable":
        third.unlink()
        third.symlink_to("/proc/self/mem")
    else:
        shutil.rmtree(folder)
        {"empty folder": folder.mkdir, "a file": folder.touch}.get(damage, lambda: folder.symlink_to("nowhere"))()
    if beside:
        (root / ARCHIVE).write_bytes(GOOD)
    before = sorted(root.rglob("*"))
    message = refusal()
    name = "data_batch_3" if third.parent.is_dir() and damage != "empty folder" else "data_batch_1"
    assert message.startswith(f"{folder}: incomplete, or not the official files: {name} ")
    assert "; remove or rename that folder, then put" in message
    assert sorted(root.rglob("*")) == before and server.asked == 0
    os.rename(folder, root / "renamed")
    assert len(load().test) == 20 and is_whole(root) and server.asked == (0 if beside else 2)


# -------------------------------------------------------------------------------------------------- no room, no rights


def with_room_for(size: int):
    """Load where no file can be larger, which is what a full disk looks like, but for its number."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    load()


@fault
@pytest.mark.parametrize("own", [False, True], ids=["while downloading", "while unpacking"])
@pytest.mark.parametrize("size", [0, 5000])
def test_disk_full(root, serve, own, size):
    serve(gives(GOOD))
    if own:
        (root / ARCHIVE).write_bytes(GOOD)
    message = Process(partial(with_room_for, size)).end()
    assert message.startswith(
        f"OutputError: CIFAR-10 not found: looked for {root / FOLDER}; it cannot be written there ("
    )
    assert "File too large" in message and "350 MB" in message and "\n" not in message
    assert [path.name for path in root.iterdir()] == [ARCHIVE] * own
    assert len(load().test) == 20 and is_whole(root)


@fault
@pytest.mark.parametrize("number", sorted(download.DISK), ids=lambda number: errno.errorcode[number])
def test_a_disk_that_fails_half_way(root, serve, monkeypatch, number):
    """The disk is full, the quota used up, … while one file of the archive is unpacked."""
    left, make = iter(range(99)), tarfile.TarFile.makefile

    def broken(tar, info, path):
        if next(left) == 3:
            raise OSError(number, os.strerror(number), path)
        make(tar, info, path)

    server = serve(gives(GOOD))
    monkeypatch.setattr(tarfile.TarFile, "makefile", broken)
    assert f"it cannot be written there ({os.strerror(number)})" in refusal(OutputError)
    assert not list(root.iterdir()) and server.asked == 2
    assert len(load().test) == 20 and is_whole(root)


@fault
@pytest.mark.parametrize("place", ["/proc/nope", "/dev/null", "/dev/null/data"])
def test_a_place_that_cannot_be_written(root, serve, monkeypatch, place):
    server = serve(gives(GOOD))
    monkeypatch.setattr(paths, "DATA", Path(place))
    assert refusal(OutputError).startswith(
        f"CIFAR-10 not found: looked for {place}/{FOLDER}; it cannot be written there"
    )
    assert server.asked == 0


# ---------------------------------------------------------------------------------------------- interrupted and killed


@fault
def test_interrupted_while_downloading(root, serve):
    asked, main = iter(["for the address", "for the file"]), threading.main_thread().ident

    def interrupt():
        if next(asked) == "for the file":
            signal.pthread_kill(main, signal.SIGINT)

    serve(stalls(GOOD[:999], then=interrupt))
    with pytest.raises(KeyboardInterrupt):
        load()
    assert not list(root.iterdir()) and socket.getdefaulttimeout() is None


@fault
def test_interrupted_while_unpacking(root, monkeypatch):
    (root / ARCHIVE).write_bytes(GOOD)

    def interrupted(tar, info, path):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(tarfile.TarFile, "makefile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load()
    assert [path.name for path in root.iterdir()] == [ARCHIVE]


@fault
def test_killed_while_downloading(root, serve):
    serve(stalls(GOOD[:99999]))
    process, until = Process(load), time.monotonic() + 20
    while not any(path.stat().st_size for path in root.glob(f"{download.HIDDEN}*/{ARCHIVE}")):
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.end() == signal.SIGKILL
    assert [path.name.startswith(download.HIDDEN) for path in root.iterdir()] == [True]
    serve(gives(GOOD))
    assert len(load().test) == 20 and is_whole(root)


ACTS = {"open", "os.mkdir", "os.rename", "os.chmod", "os.utime", "os.remove", "os.rmdir"}


def load_and_die_at(number: int, root: Path) -> None:
    """Load, but for the kill at what is, counted from 0, the `number`-th thing done to a file below `root`."""
    left = iter(range(number))

    def watch(event: str, given: tuple) -> None:
        below = event in ACTS and (str(given[0]).startswith(f"{root}/.") or event in ("os.remove", "os.rmdir"))
        if below and next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    load()


@fault
def test_killed_at_every_step(root, count):
    """Wherever it dies, the folder is whole or not there, and the next call makes it whole and leaves nothing."""
    (root / ARCHIVE).write_bytes(GOOD)
    survived = 0
    for step in range(999):
        ended = Process(partial(load_and_die_at, step, root)).end()
        there = (root / FOLDER).exists()
        survived += not download.unofficial(root / FOLDER) if there else ended == signal.SIGKILL
        if ended != signal.SIGKILL:
            break
        shutil.rmtree(root / FOLDER, ignore_errors=True)  # it was complete, and so nothing would be cleared away
        load()
        survived -= not is_whole(root)
        shutil.rmtree(root / FOLDER)
    assert ended == ""
    count(survived, step + 1)
    assert survived == step + 1 > 30


# ------------------------------------------------------------------------------------------------------- all goes well


@pytest.mark.parametrize("exists", [True, False])
def test_the_download_is_used_and_only_the_folder_stays(root, serve, exists):
    server = serve(gives(GOOD))
    if not exists:
        root.rmdir()
    dataset = load()
    assert (len(dataset.train), len(dataset.valid), len(dataset.test)) == (80, 20, 20)
    assert [path.name for path in root.iterdir()] == [FOLDER] and is_whole(root) and server.asked == 2
    assert np.array_equal(
        dataset.test.images[0].transpose(2, 0, 1).ravel(), pickle.loads(FILES["test_batch"])["data"][0]
    )


@fault
def test_several_at_once_download_once(root, serve):
    server = serve(gives(GOOD))
    processes = [Process(load) for _ in range(4)]
    assert [process.end() for process in processes] == [""] * 4
    assert server.asked == 2 and is_whole(root)


@fault
def test_a_file_system_without_locks(root, serve, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    serve(gives(GOOD))
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert len(load().test) == 20 and is_whole(root)


def test_the_exit_statuses():
    assert (DataError.status, OutputError.status) == (errors.DATA, errors.OUTPUT) == (3, 5)


def test_the_real_files_through_a_real_archive(cifar10_root, tmp_path, monkeypatch):
    """The official files in an archive of our own, served, downloaded, unpacked and read."""
    packed = tmp_path / "packed.tar.gz"
    with tarfile.open(packed, "w:gz", compresslevel=0) as tar:
        tar.add(cifar10_root / FOLDER, FOLDER)
    monkeypatch.setattr(CIFAR10, "tgz_md5", download.calculate_md5(packed))
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("CIFAR10_ROOT", raising=False)

    def answer(handler: Handler) -> None:
        gives(b"", packed.stat().st_size)(handler)
        with packed.open("rb") as file:
            shutil.copyfileobj(file, handler.wfile)

    with Server(answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{ARCHIVE}")
        dataset = data.load(Config())
        server.shutdown()
    assert (len(dataset.train), len(dataset.valid), len(dataset.test)) == (45_000, 5000, 10_000)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [FOLDER]
