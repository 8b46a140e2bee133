"""What all tests share: a runs folder of their own, one thread, and the data sets."""

import atexit
import os
import tempfile
from pathlib import Path

_runs = tempfile.TemporaryDirectory(prefix="cifar-runs-")
atexit.register(_runs.cleanup)
os.environ["CIFAR_RUNS"] = _runs.name  # before cifar_lib.paths reads it; a process under pytest-xdist has its own

import pytest  # noqa: E402
import torch  # noqa: E402

from cifar_lib import paths  # noqa: E402
from cifar_lib.config import Config  # noqa: E402

torch.set_num_threads(1)

FAULTS = {  # the rows of README's scoreboard, by the number in `@pytest.mark.faults(number)`
    1: "SIGKILL at random moments, restarted until done",
    2: "death at every write, flush and rename of a save",
    3: "disk full, for each writer",
    4: "checkpoint cut, flipped, empty, foreign, of a future version",
    5: "several runs into one folder",
    6: "output folder read-only, a file, too long a path",
    7: "SIGTERM, SIGINT, SIGINT twice, SIGHUP; an interrupt in the notebook",
    8: "loss, gradient or weight no number; lr 1e6",
    9: "resumed with a changed setting, or other data",
    10: "the best checkpoint across kills, ties, resumes",
    11: "killed between log and checkpoint",
    12: "CUDA absent, out of memory, a GPU's checkpoint on a CPU",
    13: "no network, archive cut or corrupt, a web page as the download",
    14: "unwritable HOME and caches, odd paths, umask, locale",
    15: "a notebook pointed at an unfinished, foreign or damaged run",
}
ABSENT = (
    "CIFAR-10 is not at hand: name the folder that holds cifar-10-batches-py in CIFAR10_ROOT, "
    "or run `python -m cifar_lib data` once with a network"
)


@pytest.fixture(scope="session")
def cifar10_root() -> Path:
    """The folder that holds the official files; skips where they are not at hand, for a test downloads nothing."""
    root = Path(os.environ.get("CIFAR10_ROOT") or paths.DATA)
    if not (root / "cifar-10-batches-py").is_dir():
        pytest.skip(ABSENT)
    return root


@pytest.fixture(scope="session")
def cifar10(cifar10_root):
    """Real CIFAR-10, 45,000 / 5,000 / 10,000."""
    from cifar_lib import data

    return data.load(Config(valid_size=5000))


@pytest.fixture(scope="session")
def digits():
    """The embedded data set, 1,257 / 180 / 360."""
    from cifar_lib import data

    return data.load(Config(dataset="digits"))


@pytest.fixture
def count(record_property):
    """For a test of many faults: how many survived, of how many. A test that does not call it is one fault."""
    return lambda survived, injected: record_property("faults", (survived, injected))


def pytest_collection_modifyitems(items):
    for item in items:
        if mark := item.get_closest_marker("faults"):
            item.user_properties.append(("row", mark.args[0]))


def _mutants(terminalreporter, outcome: str) -> int:
    return sum("mutant" in report.keywords for report in terminalreporter.stats.get(outcome, []))


def pytest_terminal_summary(terminalreporter):
    """The scoreboard: a line a row of `FAULTS`, from what the tests counted, and the sum."""
    board = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            known = dict(getattr(report, "user_properties", []))
            if "row" in known and (report.when == "call" or outcome == "error"):
                survived, injected = known.get("faults", (outcome == "passed", 1))
                row = board.setdefault(known["row"], [0, 0])
                row[0], row[1] = row[0] + survived, row[1] + injected
    mutants = {how: _mutants(terminalreporter, how) for how in ("passed", "failed")}
    if any(mutants.values()):
        terminalreporter.write_line(f"mutants caught {mutants['passed']}/{sum(mutants.values())}")
    for row, (survived, injected) in sorted(board.items()):
        terminalreporter.write_line(f"{row:3} {FAULTS[row]}: {survived}/{injected}")
    if board:
        survived, injected = (sum(column) for column in zip(*board.values(), strict=True))
        terminalreporter.write_line(f"faults survived {survived}/{injected}")
