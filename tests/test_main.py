"""The command line: the same functions, one line where it refuses, the right exit status."""

import os
import signal
import subprocess
import sys

import pytest

from cifar_lib import __main__ as command_line
from cifar_lib import errors, runs
from cifar_lib.config import Config
from cifar_lib.exchange import submission
from cifar_lib.system import locks, signals

TINY = (
    "-p dataset digits -p num_channels 4 -p num_blocks [1,1] -p conv_kernel_sizes [3,3] -p shortcut_kernel_sizes [1,1]"
)
TINY += " -p avg_pool_kernel_size 16 -p drop 0 -p epochs 1"


def call(monkeypatch, line: str) -> None:
    monkeypatch.setattr(sys, "argv", ["cifar_lib", *line.split()])
    command_line.main()


@pytest.mark.parametrize(("settings", "count"), [("-p se_placement stem", "4697742"), ("", "4733610")])
def test_params_counts(monkeypatch, capsys, settings, count):
    call(monkeypatch, f"params {settings}")
    assert count in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "expected", "status"),
    [
        ("params -p num_channels 128", "BudgetError: param_budget: this network has 18,908,490 trainable", 2),
        ("params -p lr nan", "ConfigError: lr: got 'nan', expected a finite number", 2),
        ("train -p epcohs 3", "ConfigError: epcohs: no such setting", 2),
        ("report -p epcohs 3", "epcohs: no notebook takes it; did you mean epochs?", 2),
        ("submit none none.pkl out.csv", "BadPickle: none.pkl: not there", 3),
        ("extend none 3", "RunError: run 'none' is not in", 2),
    ],
)
def test_refusal_is_one_line_and_a_status(monkeypatch, capsys, line, expected, status):
    with pytest.raises(SystemExit) as stopped:
        call(monkeypatch, line)
    err = capsys.readouterr().err
    assert expected in err and err.count("\n") == 1 and stopped.value.code == status


def test_train_then_submit(monkeypatch, capsys, tmp_path):
    call(monkeypatch, f"train -p run by-hand {TINY}")
    assert runs.open("by-hand").complete and "test_accuracy" in capsys.readouterr().out
    call(monkeypatch, f"pickle {tmp_path}/as-if.pkl -p dataset digits")
    call(monkeypatch, f"submit by-hand {tmp_path}/as-if.pkl {tmp_path}/out.csv")
    assert submission.check(tmp_path / "out.csv").rows == 360
    assert "trained on scikit-learn's digits" in capsys.readouterr().err
    call(monkeypatch, "runs")
    assert "by-hand" in capsys.readouterr().out


def test_an_unfinished_run_submits_nothing(monkeypatch, capsys, tmp_path):
    run = runs.start("begun-only", Config(dataset="digits", device="cpu"))
    locks.release(run.folder)
    call(monkeypatch, f"pickle {tmp_path}/as-if.pkl -p dataset digits")
    with pytest.raises(SystemExit):
        call(monkeypatch, f"submit begun-only {tmp_path}/as-if.pkl {tmp_path}/out.csv")
    assert "its training has not ended, 0 of 300 epochs are done" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_profile_prints_operations_and_nothing_else():
    """In a process of its own: what a library prints below Python would be seen."""
    line = [sys.executable, "-m", "cifar_lib", "profile", *TINY.split()[:-3]]  # less the epochs
    done = subprocess.run(line, capture_output=True, text=True)
    seconds = [float(row.split()[0]) for row in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "") and len(seconds) > 20
    assert seconds == sorted(seconds, reverse=True) and "aten::convolution_backward" in done.stdout


def test_budget_fails_the_shell_too():
    done = subprocess.run(
        [sys.executable, "-m", "cifar_lib", "params", "-p", "num_channels", "128"], capture_output=True
    )
    assert done.returncode == 2 and done.stderr.decode().count("\n") == 1


def test_what_nobody_foresaw_is_one_line_too_and_debug_shows_where(monkeypatch, capsys):
    monkeypatch.setattr(runs.folders, "names", lambda: [][1])
    with pytest.raises(SystemExit) as stopped:
        call(monkeypatch, "runs")
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("IndexError: list index out of range; unexpected: --debug shows where")
    with pytest.raises(SystemExit):
        call(monkeypatch, "runs --debug")
    assert "Traceback" in (err := capsys.readouterr().err) and "list index out of range" in err


def test_every_status_is_documented(capsys):
    """Those of the classes, and of the signals, stand in `--help`; no two kinds share one."""
    kinds = [errors.USAGE, errors.DATA, errors.CHECKPOINT, errors.OUTPUT, errors.NUMERIC, errors.MEMORY, errors.LOCKED]
    assert len(set(kinds)) == len(kinds)
    text = " ".join(command_line.parser().format_help().split())
    assert all(f" {status} " in text for status in [0, *kinds, 1, *(128 + s for s in signals.REQUESTS)])


ABORTED_IN_TEARDOWN = "import atexit, os, sys; atexit.register(os.abort); sys.argv = ['cifar_lib', *{line!r}.split()]; "
ABORTED_IN_TEARDOWN += "from cifar_lib.__main__ import main; main()"


@pytest.mark.parametrize(("line", "status"), [("params", 0), ("params -p lr nan", 2)])
def test_one_of_torchruns_processes_ends_before_pythons_teardown_can_abort_it(line, status):
    """With everything err, and its own exit status; without torchrun, the same abort is seen."""
    ends = []
    for variables in ({"RANK": "0"}, {}):
        code = ABORTED_IN_TEARDOWN.format(line=line)
        ends.append(subprocess.run([sys.executable, "-c", code], env=os.environ | variables, capture_output=True))
    in_group, alone = ends
    assert in_group.returncode == status and alone.returncode == -signal.SIGABRT
    assert (in_group.stdout, in_group.stderr.count(b"\n")) == (alone.stdout, bool(status))
    assert in_group.stderr in alone.stderr
