"""Imports point down, a package at a time, and below the torch line none loads torch; one law per folder."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cifar_lib import paths

PACKAGE = paths.ROOT / "cifar_lib"
# A package imports from the floors below its own. Modules that lie beside the packages are floors of their own.
FLOORS = (
    ("errors", "faces", "paths"),
    ("config", "system"),
    ("device", "exchange", "models", "notebook", "optim", "runs"),
    ("data", "sweep"),
    ("evidence",),
    ("figures", "inference"),
    ("edge", "site", "training"),
    ("bench",),
    ("tracked_figures", "tracked_tables"),
    ("__init__", "__main__"),
)
TORCH_FREE = {"errors", "faces", "paths", "config", "system", "exchange", "runs", "sweep", "evidence", "figures"}
TORCH_FREE |= {"notebook", "site", "__init__", "__main__"}
FLOOR = {package: number for number, floor in enumerate(FLOORS) for package in floor}
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def package_of(file: Path) -> str:
    return file.parts[0] if len(file.parts) > 1 else file.stem


def source_of(file: Path) -> str:
    return (PACKAGE / file).read_text(encoding="utf-8")


def imported(source: str) -> set[str]:
    """Every module that an import statement names, wherever it stands, from the package's root on."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "cifar_lib":
            names |= {f"cifar_lib.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


def own(source: str) -> set[str]:
    """Of those the library's, as PACKAGE or PACKAGE.MODULE."""
    return {name.removeprefix("cifar_lib.") for name in imported(source) if name.startswith("cifar_lib.")}


def upward(package: str, source: str) -> set[str]:
    """Imports that do not go down: of another package on the same floor or above."""
    needs = {name.split(".")[0] for name in own(source)} - {package}
    return {name for name in needs if FLOOR.get(name, len(FLOORS)) >= FLOOR[package]}


def over_the_line(source: str) -> set[str]:
    """Imports that load torch: torch itself, or a package above the line."""
    roots = {name.removeprefix("cifar_lib.").split(".")[0] for name in imported(source)}
    return roots & ({"torch", "torchvision"} | FLOOR.keys() - TORCH_FREE)


def test_every_file_has_a_floor():
    assert {package_of(file) for file in FILES} == FLOOR.keys() and len(FILES) > 70


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_go_down(file):
    assert not upward(package_of(file), source_of(file))


@pytest.mark.parametrize("file", [file for file in FILES if package_of(file) in TORCH_FREE], ids=str)
def test_below_the_torch_line_nothing_loads_torch(file):
    assert not over_the_line(source_of(file))


@pytest.mark.parametrize("package", sorted({file.parts[0] for file in FILES if len(file.parts) > 1}))
def test_every_name_that_a_package_shows_is_there(package):
    face = importlib.import_module(f"cifar_lib.{package}")
    assert all(getattr(face, name) is not None for name in face.__all__)
    shown = {file.stem for file in FILES if file.parts[0] == package} - {"__init__"}
    assert shown <= set(face.__all__), "a module that nobody is told of"


def test_no_import_goes_round():
    """Within a package too."""
    modules = {".".join(file.with_suffix("").parts).removesuffix(".__init__"): file for file in FILES}
    graph = {name: own(source_of(file)) & modules.keys() - {name} for name, file in modules.items()}
    while leaves := [module for module, needs in graph.items() if not needs & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert not graph


@pytest.mark.parametrize("file", FILES, ids=str)
def test_no_statement_that_vanishes_or_runs_code(file):
    nodes = list(ast.walk(ast.parse(source_of(file))))
    assert not any(isinstance(node, ast.Assert) for node in nodes), "python -O would drop it"
    assert not any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in nodes)
    assert "sys.path" not in source_of(file)


# torchvision's CIFAR10 unpickles the official files itself, each once its MD5 is the published one: the one exception.
UNSAFE = {"eval", "exec", "__import__", "pickle.load", "pickle.loads", "os.system", "os.popen", "marshal.loads"}
UNSAFE |= {"joblib.load", "pandas.read_pickle", "pd.read_pickle", "torch.jit.load", "torch.export.load"}


def unsafe(source: str) -> list[str]:
    """Calls in it that could run what a stranger's file says."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name, given = ast.unparse(call.func), {k.arg: ast.unparse(k.value) for k in call.keywords}
        if name in UNSAFE or "True" in (given.get("shell"), given.get("allow_pickle")):
            found.append(ast.unparse(call))
        if name == "torch.load" and given.get("weights_only") != "True":
            found.append(ast.unparse(call))
    return found


def test_nothing_runs_what_a_file_says():
    sources = {str(file): source_of(file) for file in FILES}
    for book in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        cells = json.loads(book.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        sources[book.name] = "\n".join(code)
    assert {name: calls for name, source in sources.items() if (calls := unsafe(source))} == {}
    assert len(re.findall(r"(?<!safetensors\.)torch\.load\(", "\n".join(sources.values()))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "pickle.load(f)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "eval(x)",
        "exec(x)",
        "run(x, shell=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(line):
    assert unsafe(line) == [line]


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("data", "from cifar_lib import training"),
        ("data", "from cifar_lib.training import train_loop"),
        ("figures", "from cifar_lib.site.pages import publish"),
        ("models", "def f():\n    from cifar_lib.optim import Lookahead"),
        ("runs", "import cifar_lib.inference.classifier"),
    ],
)
def test_an_import_that_goes_up_is_found(package, line):
    assert upward(package, line)


@pytest.mark.parametrize(
    "line", ["import torch", "from torch import nn", "import torchvision.ops", "from cifar_lib.data import load"]
)
def test_an_import_over_the_line_is_found(line):
    assert over_the_line(line)


def test_files_in_packages_are_looked_at():
    assert {Path("runs/run.py"), Path("training/train_loop.py"), Path("site/pages.py")} <= set(FILES)


@pytest.mark.parametrize("flags", [[], ["-O"]])
def test_import_and_a_refused_setting_load_no_torch(flags):
    code = "import sys, cifar_lib\ntry: cifar_lib.Config(epcohs=1)\nexcept cifar_lib.ConfigError as e: print(e)\n"
    code += "print(sorted({'torch', 'torchvision', 'pandas', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "epcohs: no such setting; did you mean max_epochs?\n[]\n"


PACKAGES = "|".join(sorted(path.parent.name for path in paths.ROOT.glob("cifar_lib/*/__init__.py")))
PATCHES = re.compile(rf"setattr\((cifar_lib\.)?({PACKAGES}), ")


def test_no_test_patches_what_a_package_shows():
    """Put back, the name would stay in the package, and hide later patches of the module that it comes from."""
    tests = {path.name: path.read_text(encoding="utf-8") for path in paths.ROOT.glob("tests/**/*.py")}
    found = {name: PATCHES.search(text) for name, text in tests.items()}
    packages = [name for name, hit in found.items() if hit and f" as {hit[2]}\n" not in tests[name]]  # else a module
    assert packages == []
    assert PATCHES.search("monkeypatch.setattr(" + 'data, "load", absent)')
