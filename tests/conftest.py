"""What all tests share: a runs folder of their own, one thread, and the data sets."""

import atexit
import dataclasses
import json
import os
import platform
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

_runs = tempfile.TemporaryDirectory(prefix="cifar-runs-")
atexit.register(_runs.cleanup)
of_the_session: set[Path] = set()  # folders of runs that more than one module reads
os.environ["CIFAR_RUNS"] = _runs.name  # before cifar_lib.paths reads it; a process under pytest-xdist has its own

import pytest  # noqa: E402
import torch  # noqa: E402
from browsing import browser, visit  # noqa: E402, F401

from cifar_lib import paths  # noqa: E402
from cifar_lib.config import Config  # noqa: E402

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it puts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONG = bool(os.environ.get("CIFAR_LONG"))  # ten times as many kills

FAULTS = {  # the rows of README's scoreboard, by the number in `@pytest.mark.faults(number)`
    1: "SIGKILL at random moments, restarted until done",
    2: "death at every write, flush and rename of a save",
    3: "disk full, for each writer",
    4: "checkpoint cut, flipped, empty, foreign, of a future version",
    5: "several runs into one folder",
    6: "output folder read-only, a file, too long a path",
    7: "SIGTERM, SIGINT, SIGINT twice, SIGHUP; an interrupt in the notebook",
    8: "loss, gradient or weight NaN or infinite; lr 1e6",
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


@pytest.fixture(scope="module", autouse=True)
def runs_of_this_module():
    """A module leaves no run behind, or another that names its own the same would find it."""
    yield
    for folder in set(paths.RUNS.glob("*")) - of_the_session:
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()


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


@pytest.fixture(scope="session")
def small(digits):
    """Of them 100, 20 and 60: 4 batches of 32 images per epoch, not divisible by lookahead_k."""
    return dataclasses.replace(digits, train=digits.train[:100], valid=digits.valid[:20], test=digits.test[:60])


@pytest.fixture(scope="session")
def digits_report():
    """The run that `make report` trains on digits, and the index.html of its report."""
    from cifar_lib import site
    from cifar_lib.inference import mistakes
    from cifar_lib.site import report

    said = subprocess.run(["make", "-n", "report"], cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout
    words = said[said.index("cifar_lib report") :].replace("\\\n", " ").split()
    given = {words[i + 1]: words[i + 2] for i, word in enumerate(words) if word == "-p"}
    run, notebooks, failed = report.build(given)
    assert not failed
    of_the_session.add(run.folder)
    return run, site.publish(run, notebooks, mistakes.wrong(run))


@pytest.fixture
def count(record_property):
    """For a test of many faults: how many survived, of how many. A test that does not call it is one fault."""
    return lambda survived, injected: record_property("faults", (survived, injected))


def pytest_collection_modifyitems(items):
    for item in items:
        if mark := item.get_closest_marker("faults"):
            item.user_properties.append(("row", mark.args[0]))
        if item.get_closest_marker("mutant"):
            item.user_properties.append(("mutant", item.callspec.params["mutant"]))


def pytest_terminal_summary(terminalreporter):
    """The scoreboard: one line per row of `FAULTS`, from what the tests counted, and their sum, and the mutants caught.

    Where CIFAR_SCOREBOARD names a file it is written there too, as JSON.
    """
    board, mutants = _scoreboard(terminalreporter), _mutants(terminalreporter)
    for row, (survived, injected) in sorted(board.items()):
        terminalreporter.write_line(f"{row:3} {FAULTS[row]}: {survived}/{injected}")
    if mutants:
        terminalreporter.write_line(f"mutants caught {sum(mutants.values())}/{len(mutants)}")
    if board:
        survived, injected = (sum(column) for column in zip(*board.values(), strict=True))
        terminalreporter.write_line(f"faults survived {survived}/{injected}")
    if path := os.environ.get("CIFAR_SCOREBOARD"):
        made_with = {"python": platform.python_version(), "torch": torch.__version__, "long": LONG}
        rows = {str(row): list(counts) for row, counts in sorted(board.items())}
        Path(path).write_text(json.dumps(made_with | {"rows": rows, "mutants": mutants}, indent=1) + "\n")


def _scoreboard(terminalreporter) -> dict[int, list[int]]:
    """Row to faults survived and injected."""
    board = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            known = dict(getattr(report, "user_properties", ()))  # a report of collection has none
            if "row" in known and (report.when == "call" or outcome == "error"):
                survived, injected = known.get("faults", (outcome == "passed", 1))
                row = board.setdefault(known["row"], [0, 0])
                row[0], row[1] = row[0] + survived, row[1] + injected
    return board


def _mutants(terminalreporter) -> dict[str, bool]:
    """Mutant to whether it was caught."""
    reports = [(how, report) for how in ("passed", "failed") for report in terminalreporter.stats.get(how, [])]
    known = [(how, dict(report.user_properties)) for how, report in reports if report.when == "call"]
    return {properties["mutant"]: how == "passed" for how, properties in known if "mutant" in properties}
