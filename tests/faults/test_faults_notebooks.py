"""A notebook pointed at a run that is missing, has not ended, or was changed since: one line, and nothing is drawn."""

import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest
from fault_runs import answer, images_file, some_epochs, to_the_end
from test_faults_stop import code_cells
from test_notebooks import papermill

from cifar_lib import paths, runs
from cifar_lib.errors import UserError
from cifar_lib.exchange import unpickle

pytestmark = pytest.mark.xdist_group("faults_notebooks")  # its runs are made once
READERS = ("01_architecture", "04_curves", "05_confusion", "06_submission")


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return images_file(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module", autouse=True)
def no_cifar10(tmp_path_factory):
    """The runs are named after CIFAR-10 and their images are not its own: no notebook may read those for them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CIFAR10_ROOT", str(tmp_path_factory.mktemp("none")))
        yield


@pytest.fixture(scope="module", autouse=True)
def made(path) -> None:
    """A run that has ended, another one, and one that has not."""
    answer(to_the_end, "mine", path, max_epochs=2)
    answer(to_the_end, "other", path, max_epochs=2, seed=1)
    other = runs.open("other")
    other.record("environment.json", other.environment | {"threads": 99})
    answer(some_epochs, "unended", path, 1, max_epochs=2)


@pytest.fixture(scope="module")
def unlabelled(path, tmp_path_factory) -> Path:
    with np.load(path) as file:
        images = file["images"][:5]
    return unpickle.write(tmp_path_factory.mktemp("pickle") / "nolabel.pkl", images, list(range(5)))


def read_in(name: str, run: str, unlabelled: Path) -> UserError | None:
    """Run all cells of a notebook on that run, as papermill would; what it refuses."""
    cells, values = code_cells(name), {"run": run, "pickle_path": str(unlabelled)}
    tagged = next(i for i, cell in enumerate(cells) if "run: str" in cell)
    cells.insert(tagged + 1, "\n".join(f"{key} = {value!r}" for key, value in values.items()))
    try:
        exec("\n".join(cells), {"In": cells})
    except UserError as refused:
        return refused
    return None


def drawn(run: str) -> dict[str, bytes]:
    """What notebooks leave in a run's folder."""
    folder = paths.RUNS / run
    kept = [*folder.glob("figures/*"), *folder.glob("submission*.csv")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in kept}


@pytest.mark.parametrize("name", READERS)
def test_a_good_run_is_read(name, unlabelled):
    """The control: what is refused below is so for its damage alone."""
    assert read_in(name, "mine", unlabelled) is None and (name == "01_architecture" or drawn("mine"))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def foreign(file: Path) -> None:
    file.write_bytes((paths.RUNS / "other" / file.name).read_bytes())


def garbage(file: Path) -> None:
    """Without the checksums: as after somebody wrote over both."""
    file.write_bytes(b"<html>")
    (file.parent / runs.SUMS).unlink()


def gone(file: Path) -> None:
    file.unlink()


READ = {  # the files that each notebook reads of a run
    "01_architecture": ("config.json", "model.safetensors", "predictions.npz"),
    "04_curves": ("config.json", "environment.json", "history.csv", "predictions.npz"),
    "05_confusion": ("config.json", "environment.json", "history.csv", "predictions.npz", "mistakes.npz"),
    "06_submission": ("config.json", "environment.json", "history.csv", "predictions.npz", "model.safetensors"),
}
CASES = [
    (name, file, how) for name, files in READ.items() for file in files for how in (cut, flip, foreign, garbage, gone)
]
CASES.remove(("01_architecture", "predictions.npz", gone))  # which it can do without: the run may not have ended


@pytest.mark.faults(15)
@pytest.mark.parametrize("name", READERS)
def test_a_run_whose_files_are_not_its_own(name, unlabelled, count):
    """Each file it reads cut, with a bit turned over, another run's, garbage, or gone: one line that names the file."""
    mine, good = [case for case in CASES if case[0] == name], []
    for _, file, how in mine:
        run = f"{name}-{how.__name__}-{Path(file).stem}"
        shutil.copytree(paths.RUNS / "mine", paths.RUNS / run)
        before = drawn(run)
        how(paths.RUNS / run / file)
        refused = read_in(name, run, unlabelled)
        line = str(refused)
        named = file in line or (file, how) == ("config.json", gone) and f"{run!r} is not in" in line
        good.append(refused is not None and run in line and named and "\n" not in line and drawn(run) == before)
        shutil.rmtree(paths.RUNS / run)
    count(sum(good), len(good))
    assert all(good), [case for case, well in zip(mine, good, strict=True) if not well]


@pytest.mark.faults(15)
@pytest.mark.parametrize("name", READERS[1:])
def test_a_run_that_has_not_ended(name, unlabelled):
    refused = read_in(name, "unended", unlabelled)
    assert str(refused).endswith("its training has not ended, 1 of 2 epochs are done; run 03_train with it first")
    assert drawn("unended") == {}


@pytest.mark.faults(15)
@pytest.mark.parametrize("name", READERS)
def test_no_run_of_that_name(name, unlabelled):
    assert "'none-such' is not in" in str(read_in(name, "none-such", unlabelled))


@pytest.mark.faults(15)
def test_in_a_kernel_it_is_one_line_too(tmp_path):
    """As papermill runs it, and as the executed notebook shows it: the line, and no output after it."""
    done = papermill(f"04_curves.ipynb {tmp_path}/out.ipynb -p run unended", paths.NOTEBOOKS)
    line = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0 and line.startswith(
        "RunError: run unended: predictions.npz is missing: its training has"
    )
    cells = [cell for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells if cell.cell_type == "code"]
    errors = [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert len(errors) == 1 and errors[0].traceback == [line]


def test_a_stopped_run_can_be_read_after_it_went_on(path, unlabelled):
    shutil.copytree(paths.RUNS / "unended", paths.RUNS / "went-on")
    answer(to_the_end, "went-on", path, max_epochs=2)
    assert read_in("04_curves", "went-on", unlabelled) is None and "figures/loss.svg" in drawn("went-on")
