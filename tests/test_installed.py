"""Installed by `pip install .` into an environment without the repository: what it leaves lies in the current folder,
and what only the repository has is refused in one line."""

import os
import shutil
import subprocess
import sys

import pytest

from cifar_lib import paths

TRAIN = "train -p dataset digits -p run mine -p num_channels 4 -p num_blocks [1,1,1] -p train_size 200 -p drop 0"


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory):
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(paths.ROOT / name, source)
    shutil.copytree(paths.ROOT / "cifar_lib", source / "cifar_lib", ignore=shutil.ignore_patterns("__pycache__"))
    how = "--quiet --no-deps --no-build-isolation --no-index --disable-pip-version-check --target".split()
    subprocess.run([sys.executable, "-m", "pip", "install", *how, target, source], check=True, capture_output=True)
    return target


def typed(command: str, site_packages, cwd) -> tuple[int, str, str]:
    """The command by the installed package, from `cwd`: exit status, stdout, stderr."""
    environment = {name: held for name, held in os.environ.items() if name not in ("CIFAR_RUNS", "CIFAR10_ROOT")}
    environment |= {"PYTHONPATH": str(site_packages), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *command.split()], cwd=cwd, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_a_run_and_its_csv_lie_in_the_current_folder(site_packages, tmp_path):
    before = sorted(site_packages.rglob("*"))
    for command in (TRAIN, "pickle digits.pkl -p dataset digits", "submit mine digits.pkl labels.csv"):
        status, out, err = typed(f"-m cifar_lib {command}", site_packages, tmp_path)
        assert status == 0, err
    assert typed("-m cifar_lib runs", site_packages, tmp_path)[1] == "mine\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits.pkl", "labels.csv", "runs"]
    assert sorted(site_packages.rglob("*")) == before


@pytest.mark.parametrize("command", ["models", "report", "site", "notebooks", "figures"])
def test_what_only_the_repository_has_is_refused_in_one_line(site_packages, tmp_path, command):
    status, _, err = typed(f"-m cifar_lib {command}", site_packages, tmp_path)
    assert status == 2 and err.count("\n") == 1 and err.startswith("NoCheckout: the ") and "clone of it" in err
    assert not list(tmp_path.iterdir())


def test_so_are_weights_and_studies(site_packages, tmp_path):
    for call in ("load_pretrained()", "load_pretrained(width=32)", "evidence.study('ablation')"):
        (tmp_path / "one.py").write_text(f"import cifar_lib; cifar_lib.{call}", encoding="utf-8")
        status, _, err = typed("one.py", site_packages, tmp_path)
        assert status == 1 and "NoCheckout: the " in err.splitlines()[-1]


def test_every_file_of_the_package_that_it_reads_is_installed(site_packages):
    have = {path.relative_to(site_packages) for path in (site_packages / "cifar_lib").rglob("*") if path.is_file()}
    listed = (path for path in (paths.ROOT / "cifar_lib").rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert {path.relative_to(paths.ROOT) for path in listed} - have == {paths.Path("cifar_lib/README.md")}
