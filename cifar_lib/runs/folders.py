"""The folders of runs: start one, extend it, open it, list them. No torch."""

import hashlib
import re

from cifar_lib import paths
from cifar_lib.config import Config, as_text
from cifar_lib.runs.run import Run, RunError
from cifar_lib.system import locks
from cifar_lib.system.files import make_folder

OWN = ("evidence", "logs")  # folders beside the runs that are not runs


def default_name(config: Config) -> str:
    """The name of a run nobody named: the same settings give the same name, and so continue the same run."""
    digest = hashlib.sha256(config.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:6]
    return f"{config.dataset}-{config.num_channels}ch-{config.max_epochs}ep-{digest}"


def checked_name(name: str | int) -> str:
    """The name; a whole number as text. Raises `RunError` for what is no plain folder name or belongs to the project,
    `ConfigError` for what is no text."""
    name = as_text("run", name)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise RunError(f"run: got {name!r}, expected up to 100 letters, digits, dots, dashes and underscores")
    if name in OWN:
        raise RunError(f"run: got {name!r}, a folder of the project's own in {paths.RUNS}; take another name")
    return name


def start(name: str | int, config: Config) -> Run:
    """The run `name`, or the default name if empty: a new folder, or the same run going on.

    Until it ends, or `locks.release`, this process alone may train it. Raises `RunError` for a name that is no plain
    folder name or a run that has other settings, `OutputError` where no file can be made, `Locked` where another
    process is training it.
    """
    run = Run(paths.RUNS / checked_name(name or default_name(config)))
    if run.complete:
        check_same(run, run.config, config)
        return run
    make_folder(run.folder)
    with locks.taking(run.folder):
        if run.begun:
            check_same(run, run.config, config)
        else:  # a folder where nothing was trained yet, say for a network over the budget, is taken over
            run.record("config.json", config.model_dump(mode="json"))
    return run


def extend(name: str, max_epochs: int) -> Run:
    """Let a run that has not ended go on to more epochs, the one setting that may change.

    The epochs to come follow the schedule of the longer run; that those done did not is noted in environment.json.
    Raises `RunError` for a run that has ended, since its test set was read, or for fewer epochs than it has.
    """
    run = open(name)
    config = Config(**dict(run.config) | {"max_epochs": max_epochs})
    if run.complete:
        raise RunError(f"run {name} has ended, and its test set was read; train the longer one under another name")
    if config.max_epochs <= run.config.max_epochs:
        raise RunError(f"max_epochs: the run has {run.config.max_epochs}, now {max_epochs}; expected more")
    ours = locks.take(run.folder)
    try:
        if run.begun:  # first, so that a death between the two leaves no run that looks straight
            known, step = run.environment, {"epoch": run.epochs, "from": run.config.max_epochs, "to": max_epochs}
            run.record("environment.json", known | {"extended": [*known.get("extended", []), step]})
        run.record("config.json", config.model_dump(mode="json"))
    finally:
        if ours:
            locks.release(run.folder)
    return Run(run.folder)


def open(name: str | int) -> Run:
    """An existing run; "reference" is the project's own where the runs are elsewhere and none there is called so.

    Raises `RunError`, naming the runs there are, and for what is no run's name.
    """
    run = Run(paths.RUNS / checked_name(name)) if name else None
    if name == paths.REFERENCE.name and not run.has("config.json"):
        run = Run(paths.REFERENCE)
    if not run or not run.has("config.json"):
        have = ", ".join(names()) or "none yet: train one with 03_train"
        raise RunError(f"run {name!r} is not in {paths.RUNS}; there are: {have}")
    return run


def names() -> list[str]:
    """The runs there are, by name."""
    return sorted(path.parent.name for path in paths.RUNS.glob("*/config.json"))


def check_same(run: Run, has: Config, now: Config) -> None:
    """Raise `RunError`, naming the first setting in which they differ."""
    for field in type(now).model_fields:
        old, new = getattr(has, field), getattr(now, field)
        if old != new:
            longer = field == "max_epochs" and new > old and not run.complete
            hint = f"python -m cifar_lib extend {run.name} {new}, or " * longer
            hint += "give another run name, or the same settings"
            raise RunError(f"{field}: the run has {old}, now {new} ({run.folder}); {hint}")
