"""One live line: what comes after it stands on a line of its own."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from cifar_lib import paths
from cifar_lib.system import progress

TRAIN = "train -p dataset digits -p num_channels 4 -p num_blocks [1,1,1] -p epochs 1000 -p drop 0".split()


def test_a_line_begun_is_ended_once(capsys):
    progress.begin_line("03_train")
    progress.end_line(" failed")
    progress.end_line(" again")
    print("next")
    assert capsys.readouterr().out == "03_train failed\nnext\n"


def test_a_line_in_a_notebook_keeps_what_stands_under_it_until_told(monkeypatch):
    shown = []
    handle = SimpleNamespace(update=lambda bundle, raw: shown.append(bundle))
    monkeypatch.setattr("IPython.display.display", lambda bundle, **_: shown.append(bundle) or handle)
    show = progress.notebook_line("begins")
    show("<1>", "<table></table>")
    show("2")
    show("done", "")
    assert shown[0] == {"text/plain": "begins"} and shown[3] == {"text/plain": "done"}
    assert shown[1] == {"text/plain": "<1>", "text/html": "<pre>&lt;1&gt;</pre>\n<table></table>"}
    assert shown[2]["text/html"] == "<pre>2</pre>\n<table></table>"


def test_a_remark_leaves_no_line_open(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    progress.terminal_line("epoch 1/3")
    progress.terminal_remark("done")
    progress.end_line()
    assert capsys.readouterr().out == "\r\033[Kepoch 1/3\r\033[Kdone\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of Unix")
def test_what_a_stop_says_stands_on_its_own_line_of_a_terminal(tmp_path):
    master, slave = os.openpty()
    environment = os.environ | {"CIFAR_RUNS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cifar_lib", *TRAIN]
    with subprocess.Popen(command, cwd=paths.ROOT, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        said = b""
        while b"epoch 2/1000" not in said:
            said += os.read(master, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
    said += os.read(master, 4096)
    os.close(master)
    last, stop = said.decode().split("\r\n")[-3:-1]
    assert "epoch" in last and stop.startswith("stopped at epoch ")
