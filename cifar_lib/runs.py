"""A run is a folder of plain files: start one, append a row, finish it, open it, list them. No torch.

config.json  environment.json  history.csv  predictions.npz  mistakes.npz  model.safetensors  last.pt  events…
"""

import csv
import hashlib
import io
import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cifar_lib import paths
from cifar_lib.config import Config
from cifar_lib.errors import Refused
from cifar_lib.files import write_atomically
from cifar_lib.predictions import Mistakes, Predictions

COLUMNS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_accuracy",
    "lr",
    "seconds",
    "images_per_second",
    "memory_gb",
    "gpu_memory_gb",
)
FILES = (
    "config.json",
    "environment.json",
    "history.csv",
    "model.safetensors",
    "predictions.npz",
    "mistakes.npz",
)


class RunError(Refused):
    """A run that is not there, or not the one that was meant; the message is one line."""


@dataclass(frozen=True)
class Run:
    """One folder; reading is by property, each from its file."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def config(self) -> Config:
        return Config(**self._json("config.json"))

    @property
    def environment(self) -> dict:
        return self._json("environment.json")

    @property
    def history(self):
        """A pandas DataFrame, a row an epoch; the valid_ columns are NaN where no validation split was cut."""
        import pandas as pd

        return pd.read_csv(self.folder / "history.csv")

    @property
    def epochs(self) -> int:
        """Epochs in history.csv."""
        path = self.folder / "history.csv"
        return max(0, len(path.read_bytes().splitlines()) - 1) if path.exists() else 0

    @property
    def shifts(self):
        """A pandas DataFrame: corruption, strength, images, accuracy, as `shifts.measure` left it."""
        import pandas as pd

        self._demand("shifts.csv", f"measure it with: python -m cifar_lib shifts {self.name}")
        return pd.read_csv(self.folder / "shifts.csv")

    @property
    def predictions(self) -> Predictions:
        return Predictions(**self._arrays("predictions.npz"))

    @property
    def mistakes(self) -> Mistakes:
        return Mistakes(**self._arrays("mistakes.npz"))

    @property
    def figures(self) -> Path:
        """The run's own folder of figures, made on first use."""
        folder = self.folder / "figures"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def submission(self) -> Path:
        """Where notebook 06 leaves the CSV."""
        return self.folder / "submission.csv"

    @property
    def complete(self) -> bool:
        """Whether training ended and the test set was read: the predictions are written last."""
        return self.has("predictions.npz")

    def has(self, name: str) -> bool:
        """Whether that file is there; of a tracked run the weights and the images may not be."""
        return (self.folder / name).exists()

    @property
    def summary(self) -> dict:
        """The run in a dozen numbers, each read from its file; accuracies are 0 to 1, seconds those of training."""
        history, config = self.history, self.config
        kept = history.loc[history.valid_accuracy.idxmax()] if config.valid_size else history.iloc[-1]
        return {
            "run": self.name,
            "dataset": config.dataset,
            "num_channels": config.num_channels,
            "parameters": self.environment["parameters"],
            "epochs": len(history),
            "train_images": self.environment["train_images"],
            "test_accuracy": self.predictions.accuracy,
            "test_images": len(self.predictions.labels),
            "valid_accuracy": float(kept.valid_accuracy),
            "best_epoch": int(kept.epoch),
            "weights": f"{config.published}, {'best on validation' if config.valid_size else 'last epoch'}",
            "seconds": float(history.seconds.sum()),
        }

    def append(self, row: dict) -> None:
        """Add one epoch to history.csv."""
        path = self.folder / "history.csv"
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)

    def forget_after(self, epoch: int) -> None:
        """Drop the rows of epochs that the checkpoint does not have: they are about to be trained again."""
        path = self.folder / "history.csv"
        if path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            write_atomically(path, b"".join(lines[: epoch + 1]))

    def record_shifts(self, rows: list[tuple[str, int, int, float]]) -> None:
        """Write accuracies on changed test images: corruption, strength, images, accuracy (0 to 1) each."""
        lines = [",".join(map(str, row)) for row in [("corruption", "strength", "images", "accuracy"), *rows]]
        write_atomically(self.folder / "shifts.csv", ("\n".join(lines) + "\n").encode())

    def finish(self, predictions: Predictions, mistakes: Mistakes) -> None:
        """Write what the test set showed."""
        narrow = asdict(predictions) | {"logits": predictions.logits.astype(np.float16)}
        for name, arrays in (("mistakes.npz", asdict(mistakes)), ("predictions.npz", narrow)):
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays)
            write_atomically(self.folder / name, buffer.getvalue())

    def _json(self, name: str) -> dict:
        return json.loads((self.folder / name).read_text())

    def _demand(self, name: str, way_out: str) -> None:
        if not self.has(name):
            raise RunError(f"run {self.name}: {name} is missing: {way_out}")

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        self._demand(name, "its training has not ended; run 03_train with it first")
        with np.load(self.folder / name) as file:
            return dict(file)


def default_name(config: Config) -> str:
    """The name of a run nobody named: the same settings give the same name, and so continue the same run."""
    digest = hashlib.sha256(config.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:6]
    return f"{config.dataset}-{config.num_channels}ch-{config.max_epochs}ep-{digest}"


def checked_name(name: str) -> str:
    """The name. Raises `RunError` for one that is no plain folder name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise RunError(f"run: got {name!r}, expected up to 100 letters, digits, dots, dashes and underscores")
    return name


def start(name: str, config: Config) -> Run:
    """The run `name`, or the default name if empty: a new folder, or the same run going on.

    Raises `RunError` for a name that is no plain folder name, and for a run that has other settings.
    """
    run = Run(paths.RUNS / checked_name(name or default_name(config)))
    if run.epochs:  # a folder where nothing was trained yet, say for a network over the budget, is taken over
        _demand_same(run, config)
    else:
        run.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(run.folder / "config.json", _pretty(config.model_dump(mode="json")))
    return run


def record_environment(run: Run, environment: dict) -> None:
    """Write what the run is made with: device, precision, threads, versions, revision, hashes of the data."""
    write_atomically(run.folder / "environment.json", _pretty(environment))


def open(name: str) -> Run:
    """An existing run. Raises `RunError`, naming the runs there are."""
    run = Run(paths.RUNS / name)
    if not name or not (run.folder / "config.json").exists():
        have = ", ".join(names()) or "none yet: train one with 03_train"
        raise RunError(f"run {name!r} is not in {paths.RUNS}; there are: {have}")
    return run


def names() -> list[str]:
    """The runs there are, by name."""
    return sorted(path.parent.name for path in paths.RUNS.glob("*/config.json"))


def _demand_same(run: Run, config: Config) -> None:
    for field in type(config).model_fields:
        has, now = getattr(run.config, field), getattr(config, field)
        if has != now:
            raise RunError(
                f"{field}: the run {run.name} has {has}, now {now}; give another run name, or the same settings"
            )


def _pretty(value: dict) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
