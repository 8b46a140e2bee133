"""One run as a folder of plain files: each read, and checked, on its own; and written whole. No torch."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cifar_lib import errors
from cifar_lib.config import Config
from cifar_lib.errors import UserError
from cifar_lib.runs import history
from cifar_lib.runs.explained import Explanations
from cifar_lib.runs.predictions import Mistakes, Predictions
from cifar_lib.system.files import make_folder, write_atomically

LAST, PREVIOUS, WEIGHTS, SUMS = "last.pt", "previous.pt", "model.safetensors", "SHA256SUMS"
CONFUSIONS = "confusions.csv"  # only where there is validation
EXPLAINED = "explained.npz"
SEALED = ("config.json", "environment.json", "history.csv", CONFUSIONS, WEIGHTS, "mistakes.npz")  # and predictions.npz
FILES = (*(name for name in SEALED if name != CONFUSIONS), "predictions.npz", SUMS)  # of every run that has ended
SHIFT_COLUMNS = ("corruption", "severity", "images", "accuracy", "low", "high")  # accuracy and its interval, 0 to 1
COLUMNS = {
    "history.csv": history.COLUMNS,
    CONFUSIONS: history.CONFUSION_COLUMNS,
    "shifts.csv": SHIFT_COLUMNS,
    "norm_statistics.csv": ("rule", "seconds", "loss", "accuracy"),
}
TRAIN = "train it with 03_train"


class RunError(UserError):
    """A run that is not there, or not the one that was meant; the message is one line."""


class DamagedRun(RunError):
    """A run whose files are not what its training left; the message is one line."""

    status = errors.CHECKPOINT


@dataclass(frozen=True)
class Run:
    """One folder; reading is by property, each from its file.

    Raises `RunError` for a file that is missing, `DamagedRun` for one that does not hold what it should or, in a run
    that has ended, is not the one whose SHA-256 its training left (`sha256sum -c SHA256SUMS` says the same).
    """

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def config(self) -> Config:
        return self._parsed("config.json", _config)

    @property
    def environment(self) -> dict:
        return self._parsed("environment.json", _object)

    @property
    def history(self):
        """A pandas DataFrame, one row per epoch; the valid_ columns are NaN where no validation split was cut."""
        return self._parsed("history.csv", history.parse)

    @property
    def confusions(self) -> tuple[np.ndarray, np.ndarray]:
        """Epochs (E,) and (E, 10, 10): validation images after each, by true and predicted class."""
        return self._parsed(CONFUSIONS, history.parse_confusions)

    @property
    def shifts(self):
        """A pandas DataFrame with the columns `SHIFT_COLUMNS`, severity as text, as `corruptions.measure` left it."""
        return self._measured("shifts.csv", "shifts")

    @property
    def mirrored(self) -> dict:
        """`accuracy`, 0 to 1, of the test images each with its mirror image, as `corruptions.mirror` left it."""
        return self._measured("mirrored.json", "mirror")

    @property
    def explained(self) -> Explanations:
        """What explains its answers, as `python -m cifar_lib explain` measured it; `DamagedRun` if of other answers."""
        found, right = self._measured(EXPLAINED, "explain", Explanations.from_bytes), self.predictions.right
        if len(found.places) > len(right) or not np.isin(found.index, np.flatnonzero(~right)).all():
            again = f"measure it again with: python -m cifar_lib explain {self.name}"
            raise DamagedRun(f"run {self.name}: {EXPLAINED} explains other answers than this run's; {again}")
        return found

    @property
    def norm_statistics(self):
        """A pandas DataFrame: rule, seconds, loss, accuracy on validation, as `norm_statistics.measure` left it."""
        return self._measured("norm_statistics.csv", "norms")

    @property
    def predictions(self) -> Predictions:
        return self._parsed("predictions.npz", Predictions.from_bytes, self._unended)

    @property
    def mistakes(self) -> Mistakes:
        return self._parsed("mistakes.npz", Mistakes.from_bytes, self._unended)

    @property
    def figures(self) -> Path:
        """The run's own folder of figures, made on first use."""
        make_folder(self.folder / "figures")
        return self.folder / "figures"

    @property
    def submission(self) -> Path:
        """Where notebook 06 leaves the CSV of unlabelled images."""
        return self.folder / "submission.csv"

    @property
    def demo_submission(self) -> Path:
        """Where it leaves that of the test set, fed as if unlabelled: under a name that nobody uploads by mistake."""
        return self.folder / "submission_demo.csv"

    @property
    def epochs(self) -> int:
        """Epochs in history.csv."""
        return len(self.history) if self.has("history.csv") else 0

    @property
    def begun(self) -> bool:
        """Whether any epoch of it was kept."""
        return any(self.has(name) for name in (LAST, PREVIOUS, "history.csv"))

    @property
    def complete(self) -> bool:
        """Whether training ended and the test set was read: the predictions are written last."""
        return self.has("predictions.npz")

    def has(self, name: str) -> bool:
        """Whether that file is there; of a tracked run the weights and the images may not be."""
        return os.path.exists(self.folder / name)

    @property
    def summary(self) -> dict:
        """The run in a dozen numbers, each read from its file; accuracies are 0 to 1, seconds those of training."""
        predictions, table, config = self.predictions, self.history, self.config
        kept = table.loc[table.valid_accuracy.idxmax()] if config.valid_size else table.iloc[-1]
        about = self._parsed("environment.json", _counts)
        return {
            "run": self.name,
            "dataset": config.dataset,
            "num_channels": config.num_channels,
            "parameters": about["parameters"],
            "epochs": len(table),
            "extended": bool(self.environment.get("extended")),  # the first ones followed a shorter run's schedule
            "train_images": about["train_images"],
            "test_accuracy": predictions.accuracy,
            "test_images": len(predictions.labels),
            "valid_accuracy": float(kept.valid_accuracy),
            "best_epoch": int(kept.epoch),
            "weights": f"{config.published}, {'best on validation' if config.valid_size else 'last epoch'}",
            "seconds": float(table.seconds.sum()),
        }

    def read(self, name: str, hint: str = TRAIN) -> bytes:
        """The bytes of one of its files, as its training left them."""
        try:
            data = (self.folder / name).read_bytes()
        except FileNotFoundError:
            raise RunError(f"run {self.name}: {name} is missing: {hint}") from None
        except OSError as error:
            raise DamagedRun(f"run {self.name}: {name} cannot be read ({error.strerror})") from None
        if self._sums.get(name, digest := _sha256(data)) != digest:
            hint = "put the right one back, or train the run anew under another name"
            if _sha256(data.replace(b"\r\n", b"\n")) == self._sums[name]:
                hint = "its line ends were changed, as git does where core.autocrlf is true: clone anew without that"
            about = f"{name} is not the file its training left (its SHA-256 is not that in {SUMS})"
            raise DamagedRun(f"run {self.name}: {about}; {hint}")
        return data

    @property
    def _sums(self) -> dict[str, str]:
        """File to SHA-256, of a run that has ended; empty where nothing was noted."""
        path = self.folder / SUMS
        noted = self.complete and path.exists()
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if noted else []
        return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}

    def _measured(self, name: str, command: str, parse: Callable[[bytes], Any] | None = None) -> Any:
        """What a command measured of the run: what `parse` makes of it, else a table or a JSON object."""
        hint = f"measure it with: python -m cifar_lib {command} {self.name}"
        kind = (lambda data: _table(data, COLUMNS[name], hint)) if name in COLUMNS else _object
        return self._parsed(name, parse or kind, hint)

    def _parsed(self, name: str, parse: Callable[[bytes], Any], hint: str = TRAIN) -> Any:
        data = self.read(name, hint)
        try:
            return parse(data)
        except RunError as refused:
            raise RunError(f"run {self.name}: {refused}") from None
        except Exception as error:  # a stranger's file can trip a parser in many ways
            reason = errors.short(error)
            raise DamagedRun(f"run {self.name}: {name} is damaged, or of another version ({reason})") from None

    @property
    def _unended(self) -> str:
        done = f"{self.epochs} of {self.config.max_epochs} epochs are done"
        return f"its training has not ended, {done}; run 03_train with it first"

    def record(self, name: str, value: dict) -> None:
        """Write config.json, environment.json or mirrored.json."""
        write_atomically(self.folder / name, (json.dumps(value, indent=1) + "\n").encode())

    def record_history(self, rows: list[dict], confusions: list[dict] = ()) -> None:
        """Write history.csv, one dict of `history.COLUMNS` per epoch, and confusions.csv if there are any: epoch, and
        images (10, 10) by true and predicted class."""
        if confusions:
            self.record_table(CONFUSIONS, history.confusion_rows(confusions))
        self.record_table("history.csv", [[row[c] for c in history.COLUMNS] for row in rows])

    def record_table(self, name: str, rows: Iterable[Sequence]) -> None:
        """Write one of the files in `COLUMNS`: rows of its columns."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS[name], *rows])
        write_atomically(self.folder / name, text.getvalue().encode())

    def record_explanations(self, explained: Explanations) -> None:
        """Write explained.npz."""
        write_atomically(self.folder / EXPLAINED, explained.to_bytes())

    def finish(self, predictions: Predictions, mistakes: Mistakes) -> None:
        """Write what the test set showed, and the SHA-256 of all that the training leaves; the predictions last."""
        write_atomically(self.folder / "mistakes.npz", mistakes.to_bytes())
        most = np.finfo(np.float16).max
        narrow = replace(predictions, logits=predictions.logits.clip(-most, most).astype(np.float16)).to_bytes()
        left = {name: (self.folder / name).read_bytes() for name in SEALED if self.has(name)}
        left["predictions.npz"] = narrow
        lines = [f"{_sha256(data)}  {name}\n" for name, data in left.items()]
        write_atomically(self.folder / SUMS, "".join(lines).encode())
        write_atomically(self.folder / "predictions.npz", narrow)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _config(data: bytes) -> Config:
    settings = _object(data)
    if "norm_statistics" not in settings:
        raise RunError(
            "trained when batch norm's statistics were gathered from other images than those trained on, which made "
            "every accuracy too low; train it anew, under another name"
        )
    return Config(**settings)


def _object(data: bytes) -> dict:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return value


def _counts(data: bytes) -> dict[str, int]:
    about = _object(data)
    return {name: int(about[name]) for name in ("parameters", "train_images")}


def _table(data: bytes, columns: tuple[str, ...], hint: str):
    import pandas as pd

    table = pd.read_csv(io.BytesIO(data), dtype={"severity": str})
    if tuple(table) != columns:
        raise ValueError(f"columns {', '.join(table)}, expected {', '.join(columns)}; {hint}")
    return table
