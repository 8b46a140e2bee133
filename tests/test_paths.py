"""Folders named by environment variables, and files that stay byte for byte in every checkout."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cifar_lib import paths

GIT = pytest.mark.skipif(not shutil.which("git") or not (paths.ROOT / ".git").exists(), reason="no git checkout here")


def runs_under(value: str | None, cwd: Path) -> str:
    """`paths.RUNS` of a process with CIFAR_RUNS set to `value`."""
    environment = {name: held for name, held in os.environ.items() if name != "CIFAR_RUNS"}
    environment |= {"HOME": str(cwd)} | ({} if value is None else {"CIFAR_RUNS": value})
    code = "from cifar_lib import paths; print(paths.RUNS)"
    command = [sys.executable, "-c", code]
    environment["PYTHONPATH"] = str(paths.ROOT)
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_an_empty_variable_is_unset_and_home_is_expanded(tmp_path):
    own = str(paths.ROOT / "runs")
    assert runs_under(None, tmp_path) == runs_under("", tmp_path) == runs_under(" ", tmp_path) == own
    assert runs_under("~/mine", tmp_path) == str(tmp_path / "mine") == runs_under("mine", tmp_path)


def test_all_variables_that_name_folders_are_read_alike(monkeypatch, tmp_path):
    monkeypatch.setenv("CIFAR10_ROOT", "~/data")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.folder("CIFAR10_ROOT") == tmp_path / "data"
    monkeypatch.setenv("CIFAR10_ROOT", "")
    assert paths.folder("CIFAR10_ROOT") is None


@GIT
def test_a_checkout_that_changes_line_ends_changes_no_byte(tmp_path):
    """Git for Windows and WSL set core.autocrlf; a run whose lines end otherwise would count as damaged."""
    clone = tmp_path / "clone"
    how = ["-c", "core.autocrlf=true", "clone", "--quiet", "--depth", "1", f"file://{paths.ROOT}", str(clone)]
    subprocess.run(["git", *how], check=True, capture_output=True)
    head = ["git", "-C", str(paths.ROOT), "ls-tree", "-r", "HEAD", "--format=%(objectname) %(path)", "--", "runs"]
    listed = subprocess.run(head, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(listed) > 100
    for digest, name in (line.split(" ", 1) for line in listed):
        data = (clone / name).read_bytes()
        assert hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == digest, name
