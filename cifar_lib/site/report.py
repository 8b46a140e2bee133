"""The notebooks of one run, executed in order without a screen. No torch."""

import time
from collections.abc import Callable
from pathlib import Path

from cifar_lib import exchange, paths, runs
from cifar_lib.config import Config, did_you_mean, from_settings
from cifar_lib.errors import UserError
from cifar_lib.system import locks, need_checkout, progress

NAMES = ("01_architecture", "02_parameters", "03_train", "04_curves", "05_confusion", "06_submission")
QUIET = "--IPKernelApp.log_level=CRITICAL"  # a kernel of this machine alone need not warn that it talks in plain text


class ReportError(UserError):
    """A report that cannot be made; the message is one line."""


class FailedNotebook(ReportError):
    """A notebook that did not come to its end; the message is one line, the executed copy shows the rest."""

    status = 1


def build(
    parameters: dict, names: tuple[str, ...] = NAMES, *, explain: Callable[[runs.Run], None] | None = None
) -> tuple[runs.Run, list[Path], dict[str, FailedNotebook]]:
    """Run the notebooks, 03 first, each with those of `parameters` that it takes; the run, the executed copies in
    runs/<run>/notebooks, and by name what stopped a notebook: the others still run. `explain` measures, before 05, what
    explains the trained run's mistakes.

    Before a kernel starts, raises `ReportError` for a name that no notebook takes, `ConfigError` for a bad value,
    `BadPickle` for a pickle that cannot be read, `NoPickle` or `OutputError` for a CSV without one or without a folder,
    `RunError` for another training's run; later `FailedNotebook` where the training failed, since the others have
    nothing to show.
    """
    import papermill

    need_checkout("the notebooks")
    takes = {name: papermill.inspect_notebook(str(paths.NOTEBOOKS / f"{name}.ipynb")) for name in names}
    config, values = check(parameters, takes)
    _check_exchange(config, values)
    run = runs.start(str(parameters.get("run", "")), config)
    locks.release(run.folder)  # the notebook trains it, in a process of its own
    (run.folder / "notebooks").mkdir(exist_ok=True)
    given = settings_of(config) | values | {"dataset": config.dataset, "run": run.name}
    failed = {}
    for name in sorted(names, key=lambda name: name != "03_train"):  # first, so that all others have a run to show
        if name == "05_confusion":
            _explain(run, explain)
        try:
            _execute(name, run, {key: value for key, value in given.items() if key in takes[name]})
        except FailedNotebook as error:
            failed[name] = error
            if not run.complete:
                raise
    return run, [_copy(run, name) for name in names], failed


def _explain(run: runs.Run, explain: Callable[[runs.Run], None] | None) -> None:
    """Explain a run that is not yet explained, or otherwise; where that is refused its pages are made all the same."""
    if explain is None or _is_explained(run):
        return
    progress.begin_line(f"{'explain':16}")
    start = time.perf_counter()
    try:
        explain(run)
    except UserError as refused:
        progress.end_line(f"left out: {refused}")
    else:
        progress.end_line(f"{time.perf_counter() - start:5.0f} s")


def _is_explained(run: runs.Run) -> bool:
    try:
        return bool(run.explained)
    except runs.RunError:  # missing, damaged, or of other answers
        return False


def _check_exchange(config: Config, values: dict) -> None:
    """Refuse now rather than after the training what notebook 06 would refuse."""
    if found := exchange.pickle_of(config, values.get("pickle_path", "")):
        exchange.read(found)
    exchange.csv_of(values.get("csv_path", ""), found is None, paths.RUNS)


def settings_of(config: Config) -> dict:
    """What notebook 03 is given to train by `config`: the settings that are not at their defaults, and the epochs."""
    changed = config.model_dump(mode="json", exclude_defaults=True, exclude={"max_epochs"})
    return changed | {"epochs": config.max_epochs}


def _copy(run: runs.Run, name: str) -> Path:
    return run.folder / "notebooks" / f"{name}.ipynb"


def check(parameters: dict, takes: dict[str, dict]) -> tuple[Config, dict]:
    """The settings among `parameters`, and the rest as values rather than text; `takes`: by notebook, what papermill
    finds it to take. Raises `ReportError` for a name that none takes, `ConfigError` for a bad value."""
    known = {key: about for notebook in takes.values() for key, about in notebook.items()}
    for name in parameters:
        if name not in known:
            raise ReportError(f"{name}: no notebook takes it{did_you_mean(name, known)}")
    settings = {*Config.model_fields, "epochs", "preset"} & takes.get("03_train", known).keys()
    config = from_settings({"epochs": 1} | {name: parameters[name] for name in settings & parameters.keys()})
    own = {name: _typed(name, value, known[name]) for name, value in parameters.items() if name not in settings}
    return config, own


def _typed(name: str, value, about: dict):
    """Text as the int or float that the notebook's parameter is annotated with; anything else as it is."""
    kind = {"int": int, "float": float}.get(about["inferred_type_name"])
    try:
        return kind(value) if kind and isinstance(value, str) and value != "None" else value
    except ValueError:
        raise ReportError(f"{name}: got {value!r}, expected {about['inferred_type_name']}") from None


def _execute(name: str, run: runs.Run, values: dict) -> None:
    progress.begin_line(f"{name:16}")
    start = time.perf_counter()
    try:
        execute(paths.NOTEBOOKS / f"{name}.ipynb", _copy(run, name), values)
    except FailedNotebook:
        progress.end_line("failed")
        raise
    progress.end_line(f"{time.perf_counter() - start:5.0f} s")


def execute(source: Path, target: Path, values: dict) -> None:
    """Run one notebook with `values` for its parameters, and write the executed copy. Raises `FailedNotebook`."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    try:
        papermill.execute_notebook(str(source), str(target), values, progress_bar=False, extra_arguments=[QUIET])
    except papermill.PapermillExecutionError as error:
        message = f"{error.ename}: {error.evalue}".strip().split("\n")[0]
        raise FailedNotebook(f"{source.stem}, cell [{error.exec_count}]: {message}") from None
    except DeadKernelError:
        raise FailedNotebook(f"{source.stem}: its kernel died; was there enough memory?") from None
