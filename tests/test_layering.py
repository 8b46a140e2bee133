"""Imports point one way, and importing costs no torch until it is used."""

import ast
import json
import subprocess
import sys

import pytest

from cifar_lib import paths

PACKAGE = paths.ROOT / "cifar_lib"
TORCH_FREE = set(
    """
    paths config errors files locks stopping events history run_folder runs predictions progress metrics plots
    pictures diagrams submission report jobs claims comparison sides sweep evidence evidence_plots speed
    speed_plots unpickle pickle_machine pickled_arrays palette browser cells committed grids markup sheet site
    __init__ __main__ screening published curve_plot architecture_plot architecture_words strokes
    """.split()
)
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))


def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))


def imported(module: str) -> set[str]:
    """Every module that an import statement names, wherever it stands, `cifar_lib.` left out."""
    names = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import) or isinstance(node, ast.ImportFrom) and node.module == "cifar_lib":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.removeprefix("cifar_lib.") for name in names}


@pytest.mark.parametrize("module", sorted(TORCH_FREE))
def test_below_the_torch_line_no_module_imports_torch_or_one_above_it(module):
    above = set(MODULES) - TORCH_FREE
    assert not {name for name in imported(module) if name.split(".")[0] in {"torch", "torchvision", *above}}


def test_no_import_goes_round():
    graph = {module: imported(module) & set(MODULES) - {module} for module in MODULES}
    while leaves := [module for module, needs in graph.items() if not needs & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert not graph


@pytest.mark.parametrize("module", MODULES)
def test_no_statement_that_vanishes_or_runs_code(module):
    nodes = list(ast.walk(tree(module)))
    assert not any(isinstance(node, ast.Assert) for node in nodes), "python -O would drop it"
    assert not any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in nodes)
    assert "sys.path" not in (PACKAGE / f"{module}.py").read_text(encoding="utf-8")


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
    sources = {path.name: path.read_text(encoding="utf-8") for path in PACKAGE.glob("*.py")}
    for book in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        cells = json.loads(book.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        sources[book.name] = "\n".join(code)
    assert {name: calls for name, source in sources.items() if (calls := unsafe(source))} == {}
    assert sum("torch.load(" in source for source in sources.values()) == 1


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


@pytest.mark.parametrize("flags", [[], ["-O"]])
def test_import_and_a_refused_setting_load_no_torch(flags):
    code = "import sys, cifar_lib\ntry: cifar_lib.Config(epcohs=1)\nexcept cifar_lib.ConfigError as e: print(e)\n"
    code += "print(sorted({'torch', 'torchvision', 'pandas', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "epcohs: no such setting; did you mean max_epochs?\n[]\n"
