"""A training that is asked to stop: one line, the right exit status, a checkpoint that goes on to the same end."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from fault_runs import EPOCHS, left, start

from cifar_lib import paths
from cifar_lib.training import checkpoint

LINE = """-p dataset digits -p train_size 60 -p valid_size 20 -p batch_size 16 -p num_channels 4 -p num_blocks [1,1]
    -p conv_kernel_sizes [3,3] -p shortcut_kernel_sizes [1,1] -p avg_pool_kernel_size 16 -p precision float32"""
PLACES = ("step", "validation", "save")
REQUESTS = {"SIGTERM": 143, "SIGINT": 130, "SIGINT twice": 130, "SIGHUP": 129}


def typed(name: str, output: Path, place: str | None = None, request: str = "") -> None:
    """`python -m cifar_lib train`, which is asked to stop in that place of its third epoch."""
    import torch

    from cifar_lib import __main__

    torch.set_num_threads(1)
    sys.stderr = sys.stdout = output.open("w", buffering=1)
    sys.argv = ["cifar_lib", "train", "-p", "run", name, "-p", "epochs", str(EPOCHS), *LINE.split()]
    if place:
        ask_in(place, *request.split())
    __main__.main()


def ask_in(place: str, request: str, twice: str = "") -> None:
    """Let the process send itself the signal, if twice once more right after, in that place of the third epoch."""
    from cifar_lib.training import train_loop, train_step

    owner, attribute = {
        "step": (train_step.TrainStep, "run"),
        "validation": (train_loop, "evaluate"),
        "save": (os, "fsync"),
    }[place]
    function, number, epoch, left = getattr(owner, attribute), getattr(signal, request), [0], [1 + bool(twice)]
    train_epoch = train_loop.train_epoch

    def counted(training, *args):
        epoch[0] = training.epoch + 1
        return train_epoch(training, *args)

    def ask():
        if epoch[0] == 3 and left[0]:
            left[0] -= 1
            try:
                os.kill(os.getpid(), number)
            finally:  # the first one is on its way up, or waits for the end of the save
                ask()

    def asked(*args, **kwargs):
        result = function(*args, **kwargs)
        ask()
        return result

    train_loop.train_epoch = counted
    setattr(owner, attribute, asked)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict:
    process = start(typed, "never-asked", tmp_path_factory.mktemp("out") / "out.txt")
    process.join(120)
    assert process.exitcode == 0
    return left("never-asked")


@pytest.mark.faults(7)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("request_", REQUESTS)
def test_asked_to_stop(tmp_path, whole, place, request_):
    name, output = f"asked-{place}-{request_}".replace(" ", "-"), tmp_path / "out.txt"
    process = start(typed, name, output, place, request_)
    process.join(120)
    last = checkpoint.read(paths.RUNS / name / "last.pt")["epoch"]
    lines = output.read_text().splitlines()
    assert process.exitcode == REQUESTS[request_], lines
    assert lines[-1] == f"stopped at epoch {last} of {EPOCHS}; the same command continues"
    assert sum("stopped" in line or "Error" in line or "Traceback" in line for line in lines) == 1
    assert last == (3 if place == "save" else 2)
    assert not list((paths.RUNS / name).glob(".*.part"))
    again = start(typed, name, tmp_path / "again.txt")
    again.join(120)
    assert again.exitcode == 0 and left(name) == whole


@pytest.mark.faults(7)
def test_an_interrupt_in_the_notebook(tmp_path):
    """Run as JupyterLab runs it, interrupted by the stop button within the loop: one line, and it continues."""
    from jupyter_client.manager import start_new_kernel

    from cifar_lib import runs

    cells = code_cells("03_train")
    settings = [word.split() for word in LINE.replace("-p ", "\n").splitlines() if word.strip()]
    values = "\n".join(f"{n} = {v if v[0] in '[0123456789' else repr(v)}" for n, v in settings) + "\ndrop = 0.2"
    cells.insert(2, values + "\nepochs = 2000\nrun = 'notebook'")
    manager, client = start_new_kernel(
        kernel_name="python3", cwd=str(paths.NOTEBOOKS), env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    try:
        loop = next(i for i, cell in enumerate(cells) if "training.fit" in cell)
        assert all(said(client, cell) == [] for cell in cells[:loop])
        request = client.execute(cells[loop])
        run, until = runs.Run(paths.RUNS / "notebook"), time.monotonic() + 60
        while run.epochs < 2 and time.monotonic() < until:
            time.sleep(0.05)
        manager.interrupt_kernel()
        lines = said(client, None, request)
        last = checkpoint.read(run.folder / "last.pt")["epoch"]
        assert lines == [f"stopped at epoch {last} of 2000; the same command continues"]
        prepare = next(cell for cell in cells if "training.prepare" in cell)
        assert said(client, prepare) == [] and run.epochs == last
        assert said(client, "next(cifar_lib.training.fit(training))['epoch']") == [] and run.epochs == last + 1
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def code_cells(name: str) -> list[str]:
    import nbformat

    book = nbformat.read(paths.NOTEBOOKS / f"{name}.ipynb", 4)
    return [cell.source for cell in book.cells if cell.cell_type == "code"]


def said(client, code: str | None, request: str = "") -> list[str]:
    """The lines of the error that a cell ends in, as the notebook shows them; [] where it ends well."""
    request = client.execute(code) if code else request
    lines = []
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != request:
            continue
        if message["msg_type"] == "error":
            lines += message["content"]["traceback"]
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return lines
