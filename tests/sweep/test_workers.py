"""A queue: every job once, one at a time on a device, a failure alone, a restart that goes on, an end that ends all."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cifar_lib import paths, runs
from cifar_lib.config import Config
from cifar_lib.sweep import jobs
from cifar_lib.sweep import workers as sweep
from cifar_lib.system import locks

TINY = (
    "-p dataset digits -p num_channels 4 -p num_blocks [1] -p conv_kernel_sizes [3] -p shortcut_kernel_sizes [1] "
    "-p avg_pool_kernel_size 32 -p epochs 1 -p drop 0 -p precision float32 -p device cpu"
)
# Leaves begin, end, device, threads in a file of the run's name; a run "bad…" fails, a run "deaf…" takes no interrupt.
CHILD = """
import os, signal, sys, time
folder, run = sys.argv[1:]
if run.startswith("deaf"):
    signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, signal.SIG_IGN)
begin = time.monotonic()
open(f"{folder}/{run}.begun", "w").write(str(os.getpid()))
time.sleep(float(os.environ.get("NAP", 0.1)))
if run.startswith("bad"):
    sys.exit("first\\nOSError: the last line\\n")
place = os.environ["CUDA_VISIBLE_DEVICES"] + "." + os.environ.get("OMP_NUM_THREADS", "")
open(f"{folder}/{run}", "a").write(f"{begin} {time.monotonic()} {place}\\n")
"""
# A sweep to interrupt, in a process of its own.
SWEEP = f"""
import sys
from cifar_lib.sweep import jobs, workers
workers.GRACE = 0.5
workers.command = lambda job: [sys.executable, "-ESc", {CHILD!r}, sys.argv[1], job.run]
workers.run([jobs.Job(run, ("-p", "run", run)) for run in ("polite", "deaf", "late")], ["cpu", "cpu"])
"""


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Children that only leave a stamp, in the folder that is returned."""
    monkeypatch.setattr(sweep, "command", lambda job: [sys.executable, "-ESc", CHILD, str(tmp_path), job.run])
    return tmp_path


def listed(*names: str) -> list[jobs.Job]:
    return [jobs.Job(name, ("-p", "run", name)) for name in names]


def stamps(folder, name: str) -> list[str]:
    """What a job's processes left, a line each."""
    return (folder / name).read_text().splitlines()


def test_a_queue_is_read_as_a_shell_would(tmp_path):
    path = tmp_path / "queue.txt"
    path.write_text("# two\n\n-p run a -p epochs 3 -p lr 0.2  # the first\n  -p run b -p num_blocks '[4, 4, 3]'\n")
    first, second = jobs.read(path)
    assert (first.run, first.config.max_epochs, first.config.lr) == ("a", 3, 0.2)
    assert second.arguments == ("-p", "run", "b", "-p", "num_blocks", "[4, 4, 3]") and second.config.max_epochs == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no job in it"),
        ("# nothing\n", "no job in it"),
        ("-p seed 1", "line 1: run: it has no name; expected a line"),
        ("-p run a\ntrain -p run b", "line 2: unrecognized arguments: train"),
        ("--ru a", "line 1: "),
        ("-p run a -p lr", "line 1: argument -p: expected 2 arguments"),
        ("-p run a -p epcohs 3", "line 1: epcohs: no such setting"),
        ("-p run a\n\n-p run b -p lr nan", "line 3: lr: got 'nan'"),
        ("-p run a -p epochs 0", "line 1: max_epochs: got '0'"),
        ("-p run 'a", "line 1: No closing quotation"),
        ("-p run a\n-p run b\n-p run a -p seed 1", "line 3: run: a is the name in a line above too"),
        (b"\xff\xfe\x00", "not text"),
    ],
)
def test_a_queue_that_cannot_be_is_refused_in_one_line(tmp_path, text, expected):
    path = tmp_path / "queue.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(jobs.SweepError) as refused:
        jobs.read(path)
    assert str(refused.value).startswith(str(path)) and expected in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_queue_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(jobs.SweepError, match=r"none\.txt: No such file .*expected a text file"):
        jobs.read(tmp_path / "none.txt")


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "a b", "x" * 101, ""])
def test_a_name_that_the_training_would_refuse_is_refused(tmp_path, name):
    (tmp_path / "queue.txt").write_text(f"-p run '{name}'")
    with pytest.raises(jobs.SweepError, match="line 1: run: got"):
        jobs.read(tmp_path / "queue.txt")
    if name:  # the training makes a name of its own where none is given
        with pytest.raises(runs.RunError):
            runs.start(name, Config())


@pytest.mark.parametrize(
    ("text", "there", "expected"),
    [("0,1,3", 4, ["0", "1", "3"]), ("2", 0, ["2"]), ("cpu, cpu", 0, ["cpu", "cpu"]), ("0,cpu", 1, ["0", "cpu"])],
)
def test_devices_named(monkeypatch, text, there, expected):
    monkeypatch.setattr(sweep, "_count_gpus", lambda: there)
    assert sweep.devices(text) == expected


@pytest.mark.parametrize("text", ["", "gpu", "0,,1", "-1", "0,0", "00", "0;1", "cuda:0", "2"])
def test_devices_that_cannot_be_are_refused_in_one_line(monkeypatch, text):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(sweep, "_count_gpus", lambda: 2)
    with pytest.raises(jobs.SweepError, match="^devices: got .*expected") as refused:
        sweep.devices(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["0", "1"]), ("", ["cpu"]), ("1,3", ["1", "3"]), ("GPU-8f", ["GPU-8f"]), ("-1", ["cpu"])],
)
def test_devices_found(monkeypatch, tmp_path, visible, expected):
    listing = tmp_path / "nvidia-smi"
    listing.write_text("#!/bin/sh\necho 'GPU 0: H (UUID: a)'\necho '  MIG 1g: (UUID: b)'\necho 'GPU 1: H (UUID: c)'\n")
    listing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert sweep.devices(None) == expected
    if expected != ["cpu"]:  # a number counts the visible ones, and what is not visible is another's
        numbers = [str(number) for number in range(len(expected))]
        assert sweep.devices(",".join(["cpu", *numbers])) == ["cpu", *expected]
        with pytest.raises(jobs.SweepError, match=f"below {len(expected)}, as many GPUs as are visible"):
            sweep.devices(str(len(expected)))


def test_no_gpu_found_is_one_cpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert sweep.devices(None) == ["cpu"]


def test_one_device_keeps_the_order_and_says_two_lines_a_job(fake):
    lines = []
    results = sweep.run(listed("z1", "y2", "x3"), ["0"], lines.append)
    assert [(result.run, result.status) for result in results] == [("z1", "done"), ("y2", "done"), ("x3", "done")]
    assert [line.split(",")[0] for line in lines] == [
        f"{name}: {what}" for name in ("z1", "y2", "x3") for what in ("started on GPU 0", "done")
    ]
    assert all(0.1 < result.seconds < 10 for result in results)


def test_every_job_once_and_one_at_a_time_on_each_device(fake, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    names = [f"job{number}" for number in range(9)]
    sweep.run(listed(*names), ["0", "3", "cpu", "cpu"], lambda line: None)
    left = [stamps(fake, name) for name in names]
    assert all(len(lines) == 1 for lines in left)
    spans = {}
    for begin, end, place in (lines[0].split() for lines in left):
        spans.setdefault(place, []).append((float(begin), float(end)))
    assert spans.keys() == {"0.5", "3.5", ".2"}  # CUDA_VISIBLE_DEVICES and OMP_NUM_THREADS, as the child saw them
    for place, times in spans.items():
        most = max(sum(begin <= now <= end for begin, end in times) for now, _ in times)
        assert most <= (2 if place == ".2" else 1)


def test_more_workers_than_threads_have_one_each(fake, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    sweep.run(listed("few"), ["cpu", "cpu"], lambda line: None)
    assert stamps(fake, "few")[0].endswith(" .1")


def test_a_failure_says_its_last_line_and_stops_no_other(fake):
    lines = []
    results = sweep.run(listed("good1", "bad", "good2"), ["cpu"], lines.append)
    assert [result.status for result in results] == ["done", "failed", "done"]
    assert "bad: FAILED, status 1: OSError: the last line; the same command tries it again" in lines
    assert "first\n" in listed("bad")[0].log.read_text()


def test_what_another_process_still_trains_is_not_trained_twice(fake):
    (job,), lines = listed("taken"), []
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        assert locks.lock_file(log.fileno())
        assert sweep.run([job], ["cpu"], lines.append)[0].status == "failed"
    assert "another process is training it" in lines[0] and not (fake / "taken").exists()
    assert sweep.run([job], ["cpu"], lines.append)[0].status == "done"


def test_real_trainings_then_a_restart_that_trains_none_again(tmp_path, monkeypatch):
    path, lines = tmp_path / "queue.txt", []
    path.write_text(f"-p run swept {TINY}\n-p run too-big {TINY} -p param_budget 10\n")
    queue = jobs.read(path)
    assert [result.status for result in sweep.run(queue, ["cpu", "cpu"], lines.append)] == ["done", "failed"], lines
    assert runs.open("swept").complete and "test_accuracy" in queue[0].log.read_text()
    assert any("too-big: FAILED, status 2: BudgetError: param_budget: this network has" in line for line in lines)

    monkeypatch.setattr(sweep, "command", lambda job: pytest.fail("a process was started"))
    assert sweep.run(queue[:1], ["cpu"], lines.append) == [sweep.Result("swept", "done before", 0.0)]
    assert lines[-1] == "swept: done before"
    path.write_text(f"-p run swept {TINY} -p seed 7\n")
    assert not jobs.read(path)[0].complete  # other settings: the training refuses, and says which


def wait_for(*files) -> None:
    until = time.monotonic() + 20
    while not all(file.exists() and file.read_text() for file in files):
        assert time.monotonic() < until, "the children did not begin"
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_every_child_and_starts_no_other(tmp_path, how):
    given = [sys.executable, "-c", SWEEP, str(tmp_path)]
    main = subprocess.Popen(given, cwd=paths.ROOT, env=os.environ | {"NAP": "60"}, text=True, stdout=subprocess.PIPE)
    begun = [tmp_path / "polite.begun", tmp_path / "deaf.begun"]
    try:
        wait_for(*begun)
        main.send_signal(how)
        lines, _ = main.communicate(timeout=20)
    finally:
        main.kill()
    assert main.returncode not in (0, -how.SIGTERM) and "polite: stopped" in lines and "deaf: stopped" in lines
    for file in begun:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)
    assert not (tmp_path / "late.begun").exists()
