"""The jobs of a sweep, as a text file lists them: per line what one would type after `python -m cifar_lib train`, with
`#` before a comment. No torch."""

import argparse
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cifar_lib import paths, runs
from cifar_lib.config import Config, from_settings
from cifar_lib.errors import UserError

EXAMPLE = "expected a line such as: -p run seed0 -p seed 0"


class SweepError(UserError):
    """A queue, or a list of devices, that cannot be; the message is one line."""


@dataclass(frozen=True)
class Job:
    """One line of a queue: the run's name, and all that follows `python -m cifar_lib train`: -p NAME VALUE, …"""

    run: str
    arguments: tuple[str, ...]

    @property
    def config(self) -> Config:
        """Its settings, by the rule of the command `train`. Raises `ConfigError`."""
        settings = dict(zip(self.arguments[1::3], self.arguments[2::3], strict=True))
        del settings["run"]
        return from_settings({"epochs": 1} | settings)

    @property
    def log(self) -> Path:
        """What its processes print, one after another; outside the run's folder, which the training makes."""
        return paths.RUNS / "logs" / f"{self.run}.log"

    @property
    def complete(self) -> bool:
        """Whether its run has ended with these very settings; with others, the training itself refuses."""
        run = runs.Run(paths.RUNS / self.run)
        with suppress(UserError):  # a config.json of another version
            return run.complete and run.config == self.config
        return False


def read(path: Path | str) -> list[Job]:
    """The jobs of a queue, in order. Raises `SweepError`, which names file and line, if any one of them cannot be."""
    jobs = {}
    for number, line in enumerate(_lines(path), 1):
        try:
            if words := shlex.split(line, comments=True):
                job = _job(words)
                if job.run in jobs:
                    raise SweepError(f"run: {job.run} is the name in a line above too; give each line its own")
                jobs[job.run] = job
        except ValueError as error:  # ours, and shlex's of an open quote
            raise SweepError(f"{path}, line {number}: {error}") from None
    if not jobs:
        raise SweepError(f"{path}: no job in it; {EXAMPLE}")
    return list(jobs.values())


def _lines(path: Path | str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise SweepError(f"{path}: {reason}; expected a text file with a training a line") from None


def _job(words: list[str]) -> Job:
    """The job of a line's words. Raises a `UserError` for a word, a name or a setting that cannot be."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("-p", nargs=2, action="append", default=[])
    settings = dict(parser.parse_args(words).p)
    if "run" not in settings:
        raise SweepError(f"run: it has no name; {EXAMPLE}")
    name = runs.checked_name(settings["run"])
    job = Job(name, tuple(word for pair in settings.items() for word in ("-p", *pair)))
    _ = job.config  # refuses now what the training would refuse hours from now
    return job


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise SweepError(f"{message}; {EXAMPLE}")
