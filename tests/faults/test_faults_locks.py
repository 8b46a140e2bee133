"""Several processes that want to train one run: one of them does, and the others say which."""

import errno
import fcntl
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from fault_runs import CONTEXT, answer, images_file, left, prepared, start, to_the_end

from cifar_lib import paths, runs
from cifar_lib.config import Config
from cifar_lib.system import locks


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return images_file(tmp_path_factory.mktemp("images"))


def contend(name: str, path: Path, barrier, said, over) -> None:
    """Begin to train with all others at once; tell who won, or what was said."""
    barrier.wait()
    try:
        prepared(name, path)
        said.put((os.getpid(), "won", 0))
    except locks.Locked as refused:
        said.put((os.getpid(), str(refused), refused.status))
    over.wait()


def contest(name: str, path: Path, size: int) -> list[tuple[int, str, int]]:
    """What `size` processes have to tell."""
    barrier, said, over = CONTEXT.Barrier(size), CONTEXT.Queue(), CONTEXT.Event()
    processes = [start(contend, name, path, barrier, said, over) for _ in range(size)]
    told = [said.get(timeout=60) for _ in processes]
    over.set()
    for process in processes:
        process.join(60)
    return told


@pytest.mark.faults(5)
@pytest.mark.parametrize(("size", "rounds"), [(2, 6), (8, 3)])
def test_one_trains_and_the_others_name_it(path, count, size, rounds):
    good = 0
    for turn in range(rounds):
        told = contest(f"contest-{size}-{turn}", path, size)
        winners = [process for process, what, _ in told if what == "won"]
        lines = {(what, status) for _, what, status in told if what != "won"}
        wanted = f"run contest-{size}-{turn}: process {winners[0]} is training it; wait for it to end, or stop it"
        good += len(winners) == 1 and lines == {(wanted, 75)}
    count(good, rounds)
    assert good == rounds


def holds(name: str, path: Path, ready) -> None:
    prepared(name, path)
    ready.set()
    time.sleep(60)


@pytest.mark.faults(5)
def test_the_lock_dies_with_its_process(path):
    ready = CONTEXT.Event()
    process = start(holds, "dies", path, ready)
    assert ready.wait(60)
    with pytest.raises(AssertionError, match=f"Locked: run dies: process {process.pid} is training it"):
        answer(to_the_end, "dies", path)
    process.kill()
    process.join()
    answer(to_the_end, "dies", path)
    answer(to_the_end, "lives", path)
    assert left("dies") == left("lives")


@pytest.mark.faults(5)
def test_another_start_does_not_change_the_settings_of_a_run_that_begins(path):
    """Before its first epoch too: only the process that holds the run may write its settings."""
    ready = CONTEXT.Event()
    process = start(holds, "begins", path, ready)
    assert ready.wait(60)
    before = runs.open("begins").config
    with pytest.raises(locks.Locked, match=f"process {process.pid} is training it"):
        runs.start("begins", Config(**dict(before) | {"lr": 0.2}))
    assert runs.open("begins").config == before
    process.kill()
    process.join()
    assert runs.start("begins", Config(**dict(before) | {"lr": 0.2})).config.lr == 0.2


def test_who_is_refused_lets_go(path):
    """In a notebook the kernel lives on after a setting was refused."""
    answer(to_the_end, "refused", path, max_epochs=1)
    (paths.RUNS / "refused" / "predictions.npz").unlink()
    config = runs.open("refused").config
    with pytest.raises(runs.RunError, match="^lr: the run has"):
        runs.start("refused", Config(**dict(config) | {"lr": 0.2}))
    assert answer(tried, paths.RUNS / "refused") == "taken"


def test_reading_the_lock_file_does_not_give_it_up(tmp_path):
    """As a copy of the whole folder does, in the process that trains."""
    locks.take(tmp_path)
    (tmp_path / ".lock").read_bytes()
    assert f"process {os.getpid()} is training it" in answer(tried, tmp_path)
    locks.release(tmp_path)


def test_a_folder_that_was_removed_is_taken_anew(tmp_path):
    (folder := tmp_path / "run").mkdir()
    assert locks.take(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    assert locks.take(folder) and "is training it" in answer(tried, folder)
    locks.release(folder)


def test_a_process_holds_its_lock_once_and_lets_go(tmp_path):
    assert locks.take(tmp_path) and not locks.take(tmp_path)
    assert "is training it" in answer(tried, tmp_path)
    locks.release(tmp_path)
    assert answer(tried, tmp_path) == "taken"


def test_a_file_system_without_locks_is_trained_on(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert locks.take(tmp_path) and not locks.take(tmp_path)
    locks.release(tmp_path)


def test_a_holder_without_room_to_write_who_it_is(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        assert locks.take(tmp_path)
    assert "another process is training it" in answer(tried, tmp_path)
    locks.release(tmp_path)


def tried(folder: Path) -> str:
    try:
        return "taken" if locks.take(folder) else "held"
    except locks.Locked as refused:
        return str(refused)


def test_who_takes_a_run_clears_what_killed_writers_left(tmp_path):
    (tmp_path / ".last.pt.123.part").write_bytes(b"half")
    (tmp_path / "last.pt").write_bytes(b"whole")
    locks.take(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "last.pt"]
    locks.release(tmp_path)


def test_a_finished_run_is_free(path):
    answer(to_the_end, "free", path)
    before = sorted(p.name for p in (paths.RUNS / "free").iterdir())
    assert re.search("predictions.npz", " ".join(before)) and answer(tried, paths.RUNS / "free") == "taken"
