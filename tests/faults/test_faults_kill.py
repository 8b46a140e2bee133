"""A training that is killed, at random moments and at every write of a save, ends as if it had never been."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from conftest import LONG
from fault_runs import EPOCHS, answer, images_file, left, prepared, some_epochs, start, status, to_the_end
from test_train_loop import scalars

from cifar_lib import paths, runs
from cifar_lib.inference import weights
from cifar_lib.training import checkpoint

ACCURACIES = (0.3, 0.5, 0.4, 0.5, 0.1, 0.2)  # the best is the second epoch's, which the fourth reaches again
KILLED = -signal.SIGKILL
RUNS = 50 if LONG else 5  # in each of eight tests


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return images_file(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def whole(path) -> tuple[dict, float]:
    """What a run that nobody killed leaves, and the seconds it takes; the first one warms the file caches."""
    assert status(to_the_end, "warm", path) == 0
    began = time.monotonic()
    assert status(to_the_end, "whole", path) == 0
    return left("whole"), time.monotonic() - began


def test_the_same_run_twice_is_the_same(whole):
    assert left("warm") == whole[0]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_run_with_as_many_threads_is_the_same(path, threads):
    names = [f"threads-{threads}-{turn}" for turn in "ab"]
    for name in names:
        answer(threaded, name, path, threads)
    assert left(names[0]) == left(names[1])


def threaded(name: str, path: Path, threads: int) -> None:
    from cifar_lib.training import train_loop

    training = prepared(name, path, max_epochs=2)
    torch.set_num_threads(threads)
    list(train_loop.fit(training))


@pytest.mark.faults(1)
@pytest.mark.parametrize("group", range(8))
def test_killed_at_random_moments_until_done(path, whole, count, group):
    """Five runs, or fifty, each started again until it ends by itself: then every bit is that of the run left alone."""
    (wanted, seconds), chance, good, kills = whole, random.Random(group), 0, 0
    for number in range(RUNS):
        name = f"killed-{group}-{number}"
        while True:
            process = start(to_the_end, name, path)
            process.join(chance.uniform(0, (1.1 if kills else 0.5) * seconds))  # the first surely within the run
            process.kill()
            process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == KILLED
            kills += 1
        good += left(name) == wanted and len(scalars(runs.open(name))["lr"]) == EPOCHS
        shutil.rmtree(paths.RUNS / name)
    count(good, RUNS)
    assert good == RUNS and kills > 0


# ---------------------------------------------------------------------------------------------- every write of a save


class Countdown:
    """Kills this process at the n-th write, flush or rename from now on; of a write, before it and half-way through."""

    def __init__(self, n: int):
        self.n = n
        for name in ("write", "fsync", "link", "replace", "unlink", "ftruncate"):
            setattr(os, name, self.counted(getattr(os, name), halves=name == "write"))

    def counted(self, function, halves: bool):
        def call(*args, **kwargs):
            if halves:
                self.tick(lambda: function(args[0], args[1][: len(args[1]) // 2]))
            self.tick(lambda: None)
            return function(*args, **kwargs)

        return call

    def tick(self, last) -> None:
        self.n -= 1
        if self.n < 0:
            last()
            os.kill(os.getpid(), signal.SIGKILL)


def ever_better(training) -> tuple[float, float, torch.Tensor]:
    """The score of an epoch that is the best so far, so that its weights are written too."""
    return 1.0, training.epoch / 10, torch.eye(10, dtype=torch.long)


def dies_in_the_third_save(name: str, path: Path, n: int, naive: bool) -> int:
    """Trains the third epoch and dies at the n-th event of keeping it, or returns how many there are."""
    from cifar_lib.system import files
    from cifar_lib.training import train_loop

    training, keep = prepared(name, path, max_epochs=4), train_loop._keep
    train_loop._score = ever_better
    if naive:
        checkpoint.write_atomically = weights.write_atomically = files.write_atomically = in_place
    events = []

    def counting(*args):
        events.append(Countdown(n))
        keep(*args)

    train_loop._keep = counting
    next(train_loop.fit(training))
    return n - events[0].n


def in_place(file: Path, data: bytes, previous: Path | None = None) -> None:
    """How many a trainer saves."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(handle, data)
    os.close(handle)


def goes_on(name: str, path: Path) -> None:
    from cifar_lib.training import train_loop

    training = prepared(name, path, max_epochs=4)
    train_loop._score = ever_better
    list(train_loop.fit(training))


@pytest.fixture(scope="module")
def two_epochs(path) -> tuple[Path, dict]:
    """The folder of a run of four epochs that stands at two, and what it leaves at its end."""
    answer(half, "half", path)
    shutil.copytree(paths.RUNS / "half", paths.RUNS / "half-whole")
    answer(goes_on, "half-whole", path)
    return paths.RUNS / "half", left("half-whole")


def half(name: str, path: Path) -> None:
    from cifar_lib.training import train_loop

    train_loop._score = ever_better
    some_epochs(name, path, 2, max_epochs=4)


def died_at(name: str, two_epochs, path: Path, n: int, naive: bool = False) -> bool:
    """Whether a run that died at the n-th event of its third save goes on to the same end, its logs whole."""
    folder, wanted = two_epochs
    shutil.copytree(folder, paths.RUNS / name)
    if naive:
        (paths.RUNS / name / "previous.pt").unlink()
    assert status(dies_in_the_third_save, name, path, n, naive) == KILLED
    try:
        answer(goes_on, name, path)
        return left(name) == wanted and len(scalars(runs.open(name))["lr"]) == 4
    except (AssertionError, runs.DamagedRun):
        return False
    finally:
        no_parts = not list((paths.RUNS / name).glob(".*.part"))
        shutil.rmtree(paths.RUNS / name)
        assert no_parts or naive


@pytest.mark.faults(2)
@pytest.mark.parametrize("part", range(4))
def test_death_at_every_event_of_a_save(path, two_epochs, count, part):
    shutil.copytree(two_epochs[0], paths.RUNS / f"events-{part}")
    events = answer(dies_in_the_third_save, f"events-{part}", path, 10_000, False)
    assert events >= 15  # three files whole, and a row
    mine = range(part, events, 4)
    good = sum(died_at(f"event-{n}", two_epochs, path, n) for n in mine)
    count(good, len(mine))
    assert good == len(mine)


@pytest.mark.faults(2)
@pytest.mark.parametrize("n", [0, 3, 5, 6])
def test_death_in_the_save_after_a_damaged_checkpoint(path, two_epochs, n):
    """Gone on with from previous.pt: no event of the next save puts the damaged file in the good one's place."""
    name = f"after-damage-{n}"
    shutil.copytree(two_epochs[0], paths.RUNS / name)
    last = paths.RUNS / name / "last.pt"
    last.write_bytes(last.read_bytes()[:-1])
    assert status(dies_in_the_third_save, name, path, n, False) == KILLED
    answer(goes_on, name, path)
    assert left(name) == two_epochs[1]


@pytest.mark.faults(2)
@pytest.mark.parametrize("file", ["mistakes.npz", "SHA256SUMS", "predictions.npz"])
def test_death_in_the_end(path, file):
    """After each of the files that the test set leaves: it is read again, to the same bytes; and until then the run
    may still be extended."""
    name = f"end-{file}"
    assert status(dies_in_the_end, name, path, file) == KILLED
    if file == "SHA256SUMS":
        shutil.copytree(paths.RUNS / name, paths.RUNS / f"{name}-longer")
        runs.extend(f"{name}-longer", 3)
        answer(to_the_end, f"{name}-longer", path, max_epochs=3)
        assert runs.open(f"{name}-longer").summary["epochs"] == 3
    answer(to_the_end, name, path, max_epochs=2)
    answer(to_the_end, f"{name}-whole", path, max_epochs=2)
    assert left(name) == left(f"{name}-whole") and runs.open(name).summary["epochs"] == 2


def dies_in_the_end(name: str, path: Path, file: str) -> None:
    from cifar_lib.runs import run

    write = run.write_atomically

    def then_die(to: Path, data: bytes) -> None:
        write(to, data)
        if to.name == file:
            os.kill(os.getpid(), signal.SIGKILL)

    run.write_atomically = then_die
    to_the_end(name, path, max_epochs=2)


def test_a_save_in_place_does_not_survive_it(path, two_epochs):
    """The control: where the one checkpoint is written in place, before it is whole there is nothing to go on from."""
    lost = [n for n in range(2) if not died_at(f"naive-{n}", two_epochs, path, n, naive=True)]
    assert lost == [0, 1]


@pytest.mark.faults(11)
@pytest.mark.parametrize("after", ["checkpoint.save", "weights.write", "record_history", "Events.add"])
def test_death_between_the_files_of_an_epoch(path, two_epochs, after):
    """history.csv and TensorBoard have each epoch once, without a gap."""
    name = f"between-{after}"
    shutil.copytree(two_epochs[0], paths.RUNS / name)
    assert status(dies_after, name, path, after) == KILLED
    answer(goes_on, name, path)
    run = runs.open(name)
    assert run.history.epoch.tolist() == [1, 2, 3, 4] and left(name) == two_epochs[1]
    assert {tag: len(values) for tag, values in scalars(run).items()} == dict.fromkeys(scalars(run), 4)


def dies_after(name: str, path: Path, after: str) -> None:
    from cifar_lib.runs import events, run
    from cifar_lib.training import train_loop

    owner, attribute = {
        "checkpoint.save": (checkpoint, "save"),
        "weights.write": (weights, "write"),
        "record_history": (run.Run, "record_history"),
        "Events.add": (events.Events, "add"),
    }[after]
    training, function = prepared(name, path, max_epochs=4), getattr(owner, attribute)
    train_loop._score = ever_better

    def then_die(*args):
        function(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, attribute, then_die)
    list(train_loop.fit(training))


# -------------------------------------------------------------------------------------------------- the best checkpoint


def scripted(name: str, path: Path, die_after: int | None) -> None:
    """Trains with the accuracies above, and dies once that epoch is kept."""
    from cifar_lib.training import train_loop

    train_loop._score = lambda training: (1.0, ACCURACIES[training.epoch], None)
    for row in train_loop.fit(prepared(name, path)):
        if row["epoch"] == die_after:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.faults(10)
@pytest.mark.parametrize("epoch", range(1, EPOCHS))
def test_the_best_stays_the_best(path, epoch):
    """Killed after that epoch and continued: the weights are those of epoch 2, though later ones tie or are the first
    that the new process sees."""
    name = f"best-{epoch}"
    assert status(scripted, name, path, epoch) == KILLED
    answer(scripted, name, path, None)
    answer(scripted, f"{name}-whole", path, None)
    state = checkpoint.read(paths.RUNS / name / "last.pt")
    assert (state["best_epoch"], state["best_accuracy"]) == (2, 0.5)
    weights = [(paths.RUNS / n / "model.safetensors").read_bytes() for n in (name, f"{name}-whole")]
    assert weights[0] == weights[1] == state["weights"].numpy().tobytes() and b'"epoch":"2"' in weights[0]
