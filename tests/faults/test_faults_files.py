"""Disks that are full, checkpoints that are damaged, folders that cannot be written: one line, and nothing lost."""

import ctypes
import errno
import io
import json
import os
import random
import resource
import shutil
from pathlib import Path

import pytest
import torch
from digests import state_digest
from fault_runs import answer, config_of, images_file, left, prepared, some_epochs, status, to_the_end
from test_train_loop import scalars

from cifar_lib import paths, runs
from cifar_lib.exchange import submission
from cifar_lib.runs import events
from cifar_lib.runs.history import MEASURED
from cifar_lib.system import files
from cifar_lib.training import checkpoint

WRITERS = ("checkpoint", "history", "events", "CSV")
BIG = 2_000_000  # bytes that none of the small disks below has left
ROW = dict.fromkeys(runs.COLUMNS, 0.5)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return images_file(tmp_path_factory.mktemp("images"))


# ------------------------------------------------------------------------------------------------------------ disk full


def write(writer: str, folder: Path, size: int) -> None:
    """Let one of the writers write about that many bytes into the folder."""
    rows = [ROW | {"epoch": epoch + 1} for epoch in range(size // 40)]
    if writer == "checkpoint":
        checkpoint.save(folder, {"epoch": 9, "weights": torch.zeros(size, dtype=torch.uint8)})
    elif writer == "history":
        runs.Run(folder).record_history(rows)
    elif writer == "events":
        files.append(next(folder.glob("events.*")), events._records([events._event(row, 0.0) for row in rows]))
    else:
        ids = list(range(size // 8))
        submission.write(folder / "submission.csv", ids, [0] * len(ids))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file() and file.name != "ballast"}


def refused(writer: str, folder: Path, prepare) -> tuple[str, bool]:
    """What a writer says where there is no room, and whether all is as it was; in a process of its own."""
    prepare(folder)
    for each in WRITERS:
        if each == "events":
            events.Events(folder, [ROW | {"epoch": 1}])
        else:
            write(each, folder, 800)
    before = contents(folder)
    fill(folder)
    try:
        write(writer, folder, BIG)
    except files.OutputError as error:
        return str(error), contents(folder) == before and checkpoint.read(folder / "last.pt")["epoch"] == 9
    return "nothing", False


def fill(folder: Path) -> None:
    """What `prepare` put off until the good files are there."""


def limited(folder: Path) -> None:
    """No file may grow beyond 100,000 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))


def small(folder: Path) -> None:
    """A disk of 1 MB in a mount space of this process alone, and most of it taken."""
    libc = ctypes.CDLL(None, use_errno=True)
    steps = [lambda: libc.unshare(0x20000), lambda: libc.mount(b"none", b"/", None, 0x44000, None)]  # its own from here
    steps.append(lambda: libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, b"size=1m"))
    for step in steps:
        if step():
            raise OSError(ctypes.get_errno(), "no small disk to be had")


def full(folder: Path) -> None:
    """The system's own full device takes what is written to new files and to event files, once `fill` is called."""

    def filled(folder: Path) -> None:
        opens = os.open

        def opened(name, flags, *mode):
            return opens("/dev/full", os.O_WRONLY) if flags & os.O_WRONLY else opens(name, flags, *mode)

        os.open = opened
        os.ftruncate = lambda handle, size: None  # a device has no length

    globals()["fill"] = filled


@pytest.fixture(scope="module")
def may_mount(tmp_path_factory) -> bool:
    try:
        return answer(mounts, tmp_path_factory.mktemp("disk"))
    except AssertionError:
        return False


def mounts(folder: Path) -> bool:
    small(folder)
    return True


@pytest.mark.faults(3)
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("how", [limited, small, full])
def test_no_room(tmp_path, may_mount, how, writer):
    if how is small and not may_mount:
        pytest.skip("a small disk can be mounted by root alone")
    message, as_before = answer(refused, writer, tmp_path, how)
    assert as_before
    reason = "files may not be so large" if how is limited else "the disk is full"
    assert reason in message and "bytes needed" in message and "free)" in message and "\n" not in message


@pytest.mark.faults(3)
def test_a_training_whose_disk_fills_goes_on_when_there_is_room(path):
    """Stopped at the first save that does not fit, with the epoch before kept; with room again, to the same end."""
    answer(some_epochs, "full", path, 2, max_epochs=3)
    before = checkpoint.read(paths.RUNS / "full" / "last.pt")
    message = answer(fails_for_room, "full", path)
    assert (
        "last.pt: not written, files may not be so large" in message and "make room, then the same command" in message
    )
    after = checkpoint.read(paths.RUNS / "full" / "last.pt")
    assert state_digest(after) == state_digest(before) and after["epoch"] == 2
    for name in ("full", "never-full"):
        answer(to_the_end, name, path, max_epochs=3)
    assert left("full") == left("never-full") and len(scalars(runs.open("full"))["lr"]) == 3


def fails_for_room(name: str, path: Path) -> str:
    from cifar_lib.training import train_loop

    training = prepared(name, path, max_epochs=3)
    limited(training.run.folder)
    try:
        list(train_loop.fit(training))
    except files.OutputError as error:
        return str(error)
    return "nothing"


# -------------------------------------------------------------------------------------------------- damaged checkpoints


@pytest.fixture(scope="module")
def kept(path) -> Path:
    """The folder of a run at two of three epochs: last.pt has the second, previous.pt the first."""
    answer(some_epochs, "kept", path, 2, max_epochs=3)
    return paths.RUNS / "kept"


@pytest.fixture
def copy(kept, tmp_path) -> Path:
    """The same, with files of its own: a hard link would be damaged with its other name."""
    return Path(shutil.copytree(kept, tmp_path / "copy"))


def damages(data: bytes) -> dict[str, bytes]:
    """Every damage by name: cuts, single bits, and files that are something else."""
    chance, found = random.Random(0), {}
    for cut in {0, 1, len(data) - 1, *(chance.randrange(len(data)) for _ in range(97))}:
        found[f"cut at {cut}"] = data[:cut]
    head = data.index(b"\n") + 1
    for bit in [*range(0, 8 * head, 7), *(chance.randrange(8 * len(data)) for _ in range(300))]:
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        found[f"bit {bit}"] = bytes(flipped)
    found["HTML"] = b"<!DOCTYPE html><html><body>Sign in</body></html>"
    found["future version"] = data.replace(b"checkpoint 4 ", b"checkpoint 5 ", 1)
    found["version before"] = data.replace(b"checkpoint 4 ", b"checkpoint 3 ", 1)
    found["old version"] = data[head:]  # as torch alone writes it
    found["another's"] = None
    return found


def foreign(state: dict) -> bytes:
    """A whole checkpoint of a run with another width."""
    config = json.loads(state["config"]) | {"num_channels": 17}
    folder = paths.RUNS / "foreign"
    folder.mkdir(exist_ok=True)
    checkpoint.save(folder, state | {"config": json.dumps(config)})
    return (folder / "last.pt").read_bytes()


@pytest.mark.faults(4)
def test_every_damage_is_found_and_the_previous_checkpoint_used(copy, path, count):
    config, last = config_of(path, max_epochs=3), copy / "last.pt"
    data, previous = last.read_bytes(), checkpoint.read(copy / "previous.pt")
    every, good = damages(data) | {"another's": foreign(checkpoint.read(last))}, 0
    for damage in every.values():
        last.write_bytes(damage)
        message = []
        state = checkpoint.find(copy, config, message.append)
        known = (
            len(message) == 1
            and str(last) in message[0]
            and message[0].endswith("; going on from previous.pt, epoch 1")
        )
        good += known and "\n" not in message[0] and state["rows"] == previous["rows"]
        good -= last.exists() or (copy / "damaged.pt").read_bytes() != damage
    count(good, len(every))
    assert good == len(every) >= 400


@pytest.mark.faults(4)
def test_both_damaged_is_a_stop_and_no_new_beginning(copy, path, count):
    config, data = config_of(path, max_epochs=3), (copy / "last.pt").read_bytes()
    every, good = list(damages(data).values())[::10], 0
    for damage in every:
        (copy / "last.pt").write_bytes(damage or b"")
        (copy / "previous.pt").write_bytes(damage or b"")
        with pytest.raises(checkpoint.CheckpointError) as refused:
            checkpoint.find(copy, config, print)
        line = str(refused.value)
        good += "last.pt: " in line and "previous.pt: " in line and "train the run anew" in line and "\n" not in line
    count(good, len(every))
    assert good == len(every)


def test_torch_alone_would_not_notice(kept):
    """Why there is a checksum: of the bits of the payload most can turn over without a word from torch.load."""
    data = (kept / "last.pt").read_bytes().partition(b"\n")[2]
    chance, quiet = random.Random(1), 0
    for _ in range(50):
        flipped = bytearray(data)
        flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            torch.load(io.BytesIO(bytes(flipped)), weights_only=True)
            quiet += 1
        except Exception:
            continue
    assert quiet > 25


@pytest.mark.faults(4)
@pytest.mark.parametrize("name", ["last.pt", "previous.pt"])
def test_a_run_with_one_damaged_checkpoint_ends_the_same(kept, path, name):
    run = f"damaged-{name}"
    shutil.copytree(kept, paths.RUNS / run)
    file = paths.RUNS / run / name
    file.write_bytes(file.read_bytes()[:-1])
    answer(to_the_end, run, path, max_epochs=3)
    answer(to_the_end, f"{run}-whole", path, max_epochs=3)
    assert left(run) == left(f"{run}-whole")


def test_the_fingerprint_sees_every_leaf(kept):
    """Changing any tensor, number or text of a checkpoint changes it; changing what a clock gave does not."""
    state = checkpoint.read(kept / "last.pt")
    whole, seen = state_digest(state), 0
    for holder, key in leaves(state):
        value = holder[key]
        holder[key] = value + 1 if not isinstance(value, str | bool | None) else f"{value}!"
        assert (state_digest(state) == whole) == (key in MEASURED), key
        holder[key] = value
        seen += 1
    assert seen > 60 and state_digest(state) == whole


def leaves(value):
    """Holder and key of every value that holds no others."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if isinstance(item, dict | list):
            yield from leaves(item)
        elif not isinstance(item, tuple):
            yield value, key


# --------------------------------------------------------------------------------------- folders that cannot be written


def read_only(folder: Path) -> Path:
    small(folder)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", os.fsencode(folder), None, 0x21, None):  # again, read-only
        raise OSError(ctypes.get_errno(), "not to be made read-only")
    return folder


PLACES = {
    "read-only": read_only,
    "a file": lambda folder: (folder / "a-file").write_text("x") and folder / "a-file",
    "below a file": lambda folder: (folder / "a-file").write_text("x") and folder / "a-file" / "runs",
    "too long": lambda folder: folder / ("x" * 256),
    "far too long": lambda folder: folder.joinpath(*["x" * 200] * 25),
    "proc": lambda folder: Path("/proc/nope"),
}


def begins(place: str, folder: Path, path: Path) -> tuple[str, int, list[str]]:
    """What a training says whose runs shall be there, its status, and what it made."""
    paths.RUNS = PLACES[place](folder)
    try:
        prepared("never", path)
    except files.OutputError as error:
        return str(error), error.status, [p.name for p in folder.iterdir() if p.name != "a-file"]
    return "nothing", 0, []


@pytest.mark.faults(6)
@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_cannot_be_written_is_refused_before_the_first_epoch(tmp_path, path, place, may_mount):
    if place == "read-only" and not may_mount:
        pytest.skip("a read-only disk can be mounted by root alone")
    message, exit_status, made = answer(begins, place, tmp_path, path)
    assert "cannot be written (" in message and "CIFAR_RUNS" in message and "\n" not in message
    assert exit_status == 5 and made == []


@pytest.mark.faults(6)
@pytest.mark.parametrize("number", [errno.EROFS, errno.EDQUOT, errno.EIO, errno.EACCES])
def test_an_error_of_the_disk_is_one_line(tmp_path, monkeypatch, number):
    file = tmp_path / "file"
    files.write_atomically(file, b"old")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(files.OutputError, match=r"(cannot be written|not written, the quota is used up)") as refused:
        files.write_atomically(file, b"new")
    assert "\n" not in str(refused.value)
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


@pytest.mark.faults(6)
def test_a_disk_that_turns_read_only_is_one_line(tmp_path, may_mount):
    if not may_mount:
        pytest.skip("a read-only disk can be mounted by root alone")
    message, as_before = answer(turns_read_only, tmp_path)
    assert "Read-only file system" in message and "\n" not in message and as_before


def turns_read_only(folder: Path) -> tuple[str, bool]:
    small(folder)
    files.write_atomically(folder / "a", b"1", folder / "b")
    ctypes.CDLL(None).mount(b"none", os.fsencode(folder), None, 0x21, None)
    try:
        files.write_atomically(folder / "a", b"2", folder / "b")
    except files.OutputError as error:
        return str(error), (folder / "a").read_bytes() == b"1"
    return "nothing", False


@pytest.mark.faults(6)
@pytest.mark.parametrize("name", ["a-file/x", "x" * 250])
def test_a_file_that_cannot_be_there_is_one_line(tmp_path, name):
    (tmp_path / "a-file").write_bytes(b"")
    with pytest.raises(files.OutputError, match="cannot be written"):
        files.write_atomically(tmp_path / name, b"")
    assert [p.name for p in tmp_path.iterdir()] == ["a-file"]


def test_a_run_in_a_new_place_is_made_with_all_folders_above(path, tmp_path):
    assert status(elsewhere, tmp_path / "a" / "b", path) == 0
    assert (tmp_path / "a" / "b" / "new" / "config.json").exists()
    assert not list((tmp_path / "a").rglob("*.part"))


def elsewhere(runs_folder: Path, path: Path) -> None:
    paths.RUNS = runs_folder
    prepared("new", path)
