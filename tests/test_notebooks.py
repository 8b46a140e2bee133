"""The notebooks keep to their form, run as a user types it, and refuse what cannot be in one line."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from cifar_lib import paths, runs
from cifar_lib.config import Config
from cifar_lib.notebook import MIME
from cifar_lib.site import report

BOOKS = sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb"))
STRICT = [book for book in BOOKS if book.stem[:2] in ("01", "02", "04", "05", "07", "08", "09")]
by_name = pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
ONE_PROCESS = pytest.mark.xdist_group("papermill")
TOY = "-p epochs 1 -p dataset digits -p num_channels 8 -p drop 0 -p run toy"


def read(book: Path):
    return nbformat.read(book, 4)


def code_cells(book: Path) -> list:
    return [cell for cell in read(book).cells if cell.cell_type == "code"]


def parameters(book: Path) -> dict:
    """name -> default, of the one cell tagged so; annotated literals alone."""
    (cell,) = [cell for cell in code_cells(book) if "parameters" in cell.metadata.get("tags", [])]
    statements = ast.parse(cell.source).body
    assert all(isinstance(statement, ast.AnnAssign) for statement in statements)
    return {statement.target.id: ast.literal_eval(statement.value) for statement in statements}


def test_there_are_six():
    assert [book.stem[:2] for book in BOOKS[:6]] == ["01", "02", "03", "04", "05", "06"]


@by_name
def test_form(book):
    cells = read(book).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith(f"# {int(book.stem[:2])} · ")
    assert all(word in cells[0].source for word in ("*Reads*", "*Leaves*", "*Takes*"))
    assert cells[-1].cell_type == "markdown" and ".ipynb)" in cells[-1].source
    link = cells[-1].source.split("](")[1].split(")")[0]
    assert (paths.NOTEBOOKS / link).exists()
    assert len({cell.id for cell in cells}) == len(cells)


@by_name
def test_parameters_are_literals(book):
    assert parameters(book)


@by_name
def test_cells_hold_one_idea(book):
    first, *rest = code_cells(book)
    for cell in rest:
        code = "\n".join(line for line in cell.source.split("\n") if not line.startswith(("%", "!")))
        assert code == cell.source, "no magic, no shell"
        forbidden = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Try, ast.Lambda)
        assert not any(isinstance(node, forbidden) for node in ast.walk(ast.parse(code)))
        assert "parameters" in cell.metadata.get("tags", []) or cell.source.count("\n") < 15
    assert all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.parse(first.source).body)


@by_name
def test_single_line_cell_is_no_magic(book):
    """IPython takes a cell of the one line `run: str = ...` for its own %run."""
    assert not any(cell.source.startswith("run: ") and "\n" not in cell.source for cell in code_cells(book))


@by_name
def test_file_is_clean(book):
    notebook = read(book)
    assert notebook.metadata.kernelspec.name == "python3"
    assert not {"widgets", "papermill"} & set(notebook.metadata)
    assert not any("papermill" in cell.metadata for cell in notebook.cells)
    assert not any("injected-parameters" in cell.metadata.get("tags", []) for cell in notebook.cells)
    assert book.stat().st_size < 1_000_000
    assert str(paths.ROOT) not in book.read_text(encoding="utf-8")


@pytest.mark.parametrize("book", [*STRICT, *BOOKS[2:3]], ids=lambda book: book.stem)
def test_committed_with_outputs(book):
    """Without stored outputs nbval would compare nothing."""
    cells = code_cells(book)
    assert all(cell.execution_count for cell in cells) and sum(bool(cell.outputs) for cell in cells) >= 4
    assert not any(output.output_type in ("error", "stream") for cell in cells for output in cell.outputs)


@by_name
def test_tables_are_made_by_one_helper(book):
    """No index that nobody named, no style of pandas's own, no hyphen for a minus sign."""
    outputs = [output.get("data", {}) for cell in code_cells(book) for output in cell.outputs]
    for html in (data["text/html"] for data in outputs if "text/html" in data):
        assert "dataframe" not in html and "<style" not in html and "<th></th>" not in html
        cells = re.findall(r"<t[dh][^>]*>([^<]*)<", html)
        assert cells and not any(re.match(r"-\.?\d", cell) or "nan" in cell.lower() for cell in cells)
    said = [data["text/markdown"] for data in outputs if "text/markdown" in data]
    assert not any(re.search(r"(?<![\w.)-])-\.?\d", text) for text in said)


@by_name
def test_no_interval_has_no_width(book):
    """`+1.0 to +1.0`, of four integers that are the same."""
    text = " ".join(str(output.get("data", {})) for cell in code_cells(book) for output in cell.outputs)
    ends = re.findall(r"([+−-]?\d+\.\d+%?) to ([+−-]?\d+\.\d+%?)", text)
    assert not [pair for pair in ends if pair[0] == pair[1]] and "± 0.0 " not in text and "± 0.00 " not in text


def test_under_every_figure_of_a_run_stands_a_sentence_that_is_computed():
    """And how to read it is folded beside it, but in 01, which says so before it."""
    for book in (BOOKS[0], *BOOKS[3:5]):
        cells = read(book).cells
        places = [i for i, c in enumerate(cells) if any(MIME in o.get("data", {}) for o in c.get("outputs", []))]
        assert len(places) >= 3
        for i in places:
            assert "readings." in cells[i + 1].source and "text/markdown" in cells[i + 1].outputs[0].data
            assert book is BOOKS[0] or cells[i + 2].source.startswith("<details><summary>How to read it"), book


def test_every_setting_is_a_parameter_of_03():
    """A name that 03 did not take would be dropped with a warning, and the default would run."""
    own, config = parameters(BOOKS[2]), Config().model_dump()
    assert set(own) == (set(config) - {"max_epochs"}) | {"epochs", "run", "preset"}
    for name in set(own) - {"epochs", "run", "preset", "valid_size"}:
        assert own[name] == (list(config[name]) if isinstance(config[name], tuple) else config[name]), name
    assert own["valid_size"] is None and own["epochs"] == 1


def papermill(line: str, cwd: Path, **environment) -> subprocess.CompletedProcess:
    env = os.environ | {"JUPYTER_PREFER_ENV_PATH": "1", "OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", *line.split()]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> runs.Run:
    """The run that the first command, typed from notebooks/, leaves."""
    out = tmp_path_factory.mktemp("out")
    done = papermill(f"03_train.ipynb {out}/out.ipynb {TOY}", paths.NOTEBOOKS)
    assert done.returncode == 0, done.stderr[-2000:]
    return runs.open("toy")


@ONE_PROCESS
def test_training_leaves_its_files(toy):
    assert toy.complete and len(toy.history) == 1 and list(toy.folder.glob("events.*"))
    assert toy.config == Config(max_epochs=1, dataset="digits", num_channels=8, drop=0)


@ONE_PROCESS
def test_same_command_from_the_root_changes_nothing(toy, tmp_path):
    before = {path: path.read_bytes() for path in toy.folder.iterdir() if path.is_file()}
    done = papermill(f"notebooks/03_train.ipynb {tmp_path}/out.ipynb {TOY}", paths.ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path: path.read_bytes() for path in toy.folder.iterdir() if path.is_file()} == before


@ONE_PROCESS
@pytest.mark.parametrize("name", ["01_architecture", "04_curves", "05_confusion", "06_submission"])
def test_reading_the_run(toy, tmp_path, name):
    """Of a run that has hardly begun to learn, as it is typed."""
    extra = "-p dataset digits" if name.startswith("01") else ""
    done = papermill(f"{name}.ipynb {tmp_path}/out.ipynb -p run toy {extra}", paths.NOTEBOOKS)
    assert done.returncode == 0, done.stderr[-2000:]
    if name.startswith("06"):
        check_csv(toy)


def check_csv(run: runs.Run) -> None:
    """Every test image has its row, and their labels score what the run scored."""
    rows = pd.read_csv(run.demo_submission)
    assert list(rows) == ["ID", "Labels"] and sorted(rows.ID) == list(range(360))
    assert (run.predictions.labels[rows.ID] == rows.Labels).mean() == run.predictions.accuracy


@ONE_PROCESS
def test_report_is_worth_reading(digits_report):
    """That of `make report`: at least 97% of the embedded test set, every page, the CSV."""
    run, index = digits_report
    assert run.config.dataset == "digits" and run.config.num_channels == 16
    assert run.summary["test_accuracy"] >= 0.97
    assert {path.stem for path in index.parent.glob("*.html")} == {"index", "mistakes", *report.NAMES}
    check_csv(run)
    assert (index.parent / "submission_demo.csv").read_bytes() == run.demo_submission.read_bytes()
    assert f"{run.summary['test_accuracy']:.2%}" in index.read_text(encoding="utf-8")
    network = (index.parent / "01_architecture.html").read_text(encoding="utf-8")
    assert f"{run.summary['parameters']:,}" in network, "the diagram is of the run's own network"


@ONE_PROCESS
def test_real_data_end_to_end(cifar10_root, tmp_path):
    """1,000 training images of real CIFAR-10, then the CSV, whose own cell compares its score with the run's."""
    settings = "-p epochs 1 -p num_channels 4 -p drop 0 -p valid_size 49000 -p run real"
    done = papermill(f"03_train.ipynb {tmp_path}/03.ipynb {settings}", paths.NOTEBOOKS)
    assert done.returncode == 0, done.stderr[-2000:]
    done = papermill(f"06_submission.ipynb {tmp_path}/06.ipynb -p run real -p batch_size 333", paths.NOTEBOOKS)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(pd.read_csv(runs.open("real").demo_submission)) == 10_000


@ONE_PROCESS
def test_all_images_can_be_trained_on(tmp_path):
    """Without a validation split there are no curves of it, and none of what is made from it is missed."""
    settings = "-p run whole -p dataset digits -p epochs 2 -p num_channels 4 -p valid_size 0"
    for book, own in (("03_train", settings), ("04_curves", "-p run whole")):
        done = papermill(f"{book}.ipynb {tmp_path}/{book}.ipynb {own}", paths.NOTEBOOKS)
        assert done.returncode == 0, done.stderr[-2000:]
    said = (tmp_path / "04_curves.ipynb").read_text(encoding="utf-8")
    assert "No validation split was cut" in said and "training less test accuracy" in said


@ONE_PROCESS
def test_without_data_one_line_says_the_ways_out(tmp_path):
    done = papermill(f"03_train.ipynb {tmp_path}/out.ipynb -p epochs 1", paths.NOTEBOOKS, CIFAR10_ROOT=str(tmp_path))
    last = done.stderr.strip().split("\n")[-1]
    assert done.returncode != 0 and last.startswith("DataError: CIFAR-10 not found: looked for")
    assert all(way in last for way in (str(tmp_path), "CIFAR10_ROOT", "download", "-p dataset digits"))
    assert "cifar10-64ch-1ep" not in " ".join(runs.names())


@ONE_PROCESS
def test_refused_setting_is_one_line(tmp_path):
    done = papermill(f"03_train.ipynb {tmp_path}/out.ipynb -p lr -1", paths.NOTEBOOKS)
    assert done.returncode != 0
    assert done.stderr.strip().split("\n")[-1] == "ConfigError: lr: got -1, expected greater than 0"


@ONE_PROCESS
@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("03_train.ipynb {}/out.ipynb -p epoch 5", "epoch: no such parameter; did you mean epochs?"),
        ("04_curves.ipynb {}/out.ipynb -p runs t1", "runs: no such parameter; did you mean run?"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(tmp_path, command, line):
    done = papermill(command.format(tmp_path), paths.NOTEBOOKS)
    assert done.returncode != 0 and done.stderr.strip().split("\n")[-1] == f"UnknownParameter: {line}"
