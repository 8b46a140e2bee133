"""Wherever and however it is started, a training gives the same run, and a run can be read and drawn."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from digests import state_digest

from cifar_lib import paths
from cifar_lib.runs.history import MEASURED
from cifar_lib.runs.run import WEIGHTS
from cifar_lib.training import checkpoint

SETTINGS = (
    "-p dataset digits -p num_channels 4 -p num_blocks [1,1] -p conv_kernel_sizes [3,3] -p shortcut_kernel_sizes [1,1] "
    "-p avg_pool_kernel_size 16 -p precision float32 -p epochs 2 -p batch_size 256 -p device cpu"
)
TRAIN = ["-m", "cifar_lib", "train", "-p", "run", "mine", *SETTINGS.split()]
# Opens the run, draws from it, and prints what a person would look at; the figure goes to the path given.
READ = """
import sys, cifar_lib
from cifar_lib import paths, runs
from cifar_lib.figures import plots
run = runs.open("mine")
figure = plots.loss(run.history, plots.source(run.summary))
plots.save(figure, sys.argv[1])
print(paths.RUNS, run.name, run.complete, cifar_lib.inference.__name__)
try:
    runs.open("not-there")
except runs.RunError as error:
    print(error)
"""
HOMES = "HOME MPLCONFIGDIR TORCH_HOME XDG_CACHE_HOME IPYTHONDIR JUPYTER_CONFIG_DIR JUPYTER_DATA_DIR".split()
HOMELESS = dict.fromkeys(HOMES, "/proc/nope/home")  # not /proc/nope: root is told that it may write in /proc
ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # where "ä" is no letter
ODD = "two words, ä, 中文, 🙂"


def python(*words: str, runs: Path | str, cwd: Path | str = paths.ROOT, umask: int = -1, **environment: str):
    """A process as a user starts one, with its runs in that folder."""
    own = {"CIFAR_RUNS": str(runs), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(paths.ROOT)}
    done = subprocess.run(
        [sys.executable, *words],
        env=os.environ | own | environment,
        cwd=cwd,
        umask=umask,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return done


def fingerprint(run: Path) -> dict:
    """All that the training made, but for what a clock or a meter said."""
    with np.load(run / "predictions.npz") as file:
        arrays = {name: array.tobytes() for name, array in file.items()}
    history = pd.read_csv(run / "history.csv").drop(columns=list(MEASURED)).to_csv()
    last = state_digest(checkpoint.read(run / checkpoint.LAST))
    return arrays | {"history": history, "weights": (run / WEIGHTS).read_bytes(), "last": last}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """The run that the command leaves when nothing is odd."""
    folder = tmp_path_factory.mktemp("plain")
    python(*TRAIN, runs=folder)
    return folder / "mine"


def same(run: Path, plain: Path) -> bool:
    return fingerprint(run) == fingerprint(plain)


@pytest.mark.faults(14)
def test_nothing_at_home_can_be_written_and_it_starts_elsewhere(plain, tmp_path):
    done = python(*TRAIN, runs=tmp_path, cwd="/", **HOMELESS)
    assert b"test_accuracy" in done.stdout
    assert same(tmp_path / "mine", plain)


@pytest.mark.faults(14)
def test_an_odd_path_another_time_zone_and_files_for_nobody_else(plain, tmp_path):
    """With the umask 077 neither a file nor a folder that the training makes can be read by others."""
    place = tmp_path / ODD
    python(*TRAIN, runs=place, umask=0o077, TZ="Pacific/Chatham")
    private = {path.name for path in [place, *place.rglob("*")] if path.stat().st_mode & 0o077}
    assert same(place / "mine", plain) and not private


@pytest.mark.faults(14)
def test_a_locale_without_the_letters_of_its_path_which_is_a_link(plain, tmp_path):
    """CIFAR_RUNS is relative to the folder one is in."""
    (tmp_path / "real").mkdir()
    (tmp_path / ODD).symlink_to("real")
    python(*TRAIN, runs=ODD, cwd=tmp_path, **ASCII)
    assert same(tmp_path / "real" / "mine", plain)


@pytest.mark.faults(14)
def test_reading_and_drawing_there(plain, tmp_path):
    """The same figure, byte for byte, and lines that are printed whole though the terminal has ASCII alone."""
    place = tmp_path / ODD
    place.mkdir()
    (place / "mine").symlink_to(plain)
    python("-c", READ, str(tmp_path / "plain.svg"), runs=plain.parent)
    done = python("-c", READ, str(place / "odd.svg"), runs=place, cwd="/", **HOMELESS, **ASCII)
    first, second = done.stdout.decode().splitlines()
    said = first == f"{place} mine True cifar_lib.inference" and second.startswith("run 'not-there' is not in ")
    drawn = (place / "odd.svg").read_bytes() == (tmp_path / "plain.svg").read_bytes()
    assert said and drawn


@pytest.mark.faults(14)
def test_a_notebook_there(plain, tmp_path):
    """04 through papermill, whose kernel wants places of its own at home."""
    place = tmp_path / ODD
    place.mkdir()
    (place / "mine").symlink_to(plain)
    book = [str(paths.NOTEBOOKS / "04_curves.ipynb"), str(place / "out.ipynb"), "-p", "run", "mine"]
    python("-m", "papermill", "--no-progress-bar", *book, runs=place, cwd="/", umask=0o077, **HOMELESS)
    made = sorted(path.name for path in (plain / "figures").iterdir())
    assert made and (place / "out.ipynb").stat().st_size > 10_000
