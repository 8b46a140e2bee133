"""A stored benchmark: each loop's throughput, what each lever gave, how far from the machine's limits. No torch.

Loops took turns: a round is one turn of each, so they are compared within a round, where the machine was the same.
The file calls them `sides`.
"""

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from cifar_lib import paths
from cifar_lib.errors import UserError

FORMAT = 2
EPOCH = 50_000  # images
TITLES = {"img_s": "img/s", "low": "lowest", "high": "highest", "epoch_s": "seconds per epoch", "gflops": "GFLOP/s"}
TITLES |= {"seconds_low": "lowest", "seconds_high": "highest"}
TITLES |= {"ratio": "×", "ratio_low": "lowest ×", "ratio_high": "highest ×", "share_of_peak": "of the peak rate"}
TITLES |= {"share_of_roofline": "of the roofline", "memory_gb": "peak GB", "cold_s": "seconds to first step"}
WIDTH = {"float32": 4, "bfloat16": 2}  # bytes of an element


class SpeedError(UserError):
    """A benchmark that is not there, or of another format; the message is one line."""


def path(name: str) -> Path:
    """The file of the benchmark `name`."""
    return paths.EVIDENCE / "speed" / f"{name}.json"


def read(name: str) -> "Speed":
    """The benchmark `name`. Raises `SpeedError`, naming those there are."""
    have = sorted(file.stem for file in path("").parent.glob("*.json"))
    if name not in have:
        raise SpeedError(f"benchmark {name!r} is not in {path('').parent}; there are: {', '.join(have) or 'none yet'}")
    facts = json.loads(path(name).read_text(encoding="utf-8"))
    if facts["format"] != FORMAT:
        raise SpeedError(f"benchmark {name!r}: got format {facts['format']}, expected {FORMAT}; measure it again")
    return Speed(facts)


def title(column: str) -> str:
    """What stands over a column of that name where people read it."""
    return TITLES.get(column, column)


def as_bytes(facts: dict) -> bytes:
    """A benchmark as it is stored."""
    return (json.dumps(facts, indent=1) + "\n").encode()


@dataclass(frozen=True)
class Speed:
    """One benchmark: `facts` is its file, the tables are made of it."""

    facts: dict

    @property
    def source(self) -> str:
        """The line under every title: what it was measured on."""
        machine = self.facts["machine"]
        torch, threads = machine["packages"]["torch"], machine["threads"]
        return f"{machine['device']}, {threads} threads; torch {torch}; {machine['date']}"

    @property
    def training_source(self) -> str:
        """The same for what was measured in training, with its batch size."""
        return f"{self.source}; batches of {self.facts['config']['batch_size']}"

    @cached_property
    def ladder(self) -> pd.DataFrame:
        """One row per loop: images per second, ratio to the best reference of the round, shares of the limits."""
        return pd.DataFrame([self._rung(loop) for loop in self.facts["sides"]])

    @property
    def levers(self) -> pd.DataFrame:
        """What each lever gave: the ratio of a loop to the one before it, in the first row to the best reference."""
        before, rows = self._reference, []
        for loop in [loop for loop in self.facts["sides"] if not loop["reference"]]:
            now = _throughput(loop)
            rows.append({"loop": loop["name"], "lever": loop["lever"]} | _spread("ratio", now / before))
            before = now
        return pd.DataFrame(rows)

    @property
    def input(self) -> pd.DataFrame:
        """Batches made and no network: one row per way, with the ratio to the first."""
        table = pd.DataFrame([{"name": way["name"]} | _rate(_throughput(way)) for way in self.facts["input"]])
        return table.assign(ratio=table.img_s / table.img_s[0])

    @property
    def inference(self) -> pd.DataFrame:
        """One row per batch size and way: images per second, milliseconds, ratio to eager float32 at the same size."""
        table = pd.DataFrame(self.facts["inference"])
        table["ms"] = 1000 * table.pop("seconds").map(np.median)
        eager = table[(table.how == "eager") & (table.precision == "float32")].set_index("batch").ms
        return table.assign(img_s=1000 * table.batch / table.ms, ratio=table.batch.map(eager) / table.ms)

    @property
    def operations(self) -> pd.DataFrame:
        """The profiled step, one row per operation, the dearest first."""
        table = pd.DataFrame(self.facts["profile"]).sort_values("seconds", ascending=False, ignore_index=True)
        return table.assign(share=table.seconds / table.seconds.sum())

    @property
    def profiled(self) -> pd.Series:
        """The row of the loop whose step was profiled."""
        return self.ladder[self.ladder.loop == self.facts["profiled"]].iloc[0]

    @cached_property
    def kinds(self) -> pd.DataFrame:
        """The profiled step, one row per kind of operation: seconds, work, and the least time for it."""
        timed = self.operations.groupby("kind")[["seconds", "share"]].sum()
        work = self.bound(self.profiled.precision) * self.facts["config"]["batch_size"]
        table = timed.join(work, how="outer").fillna(0).rename_axis("kind").reset_index()
        table["gflops"] = table.flops / table.seconds.where(table.seconds > 0) / 1e9  # none of what was not seen
        return table.sort_values("seconds", ascending=False, ignore_index=True)

    @property
    def papermill(self) -> pd.DataFrame:
        """One training from the command line and under papermill, in seconds; no row where this was not measured."""
        turns = {how: np.array(seconds) for how, seconds in self.facts.get("papermill", {}).items()}
        ratio = {how: _spread("ratio", seconds / turns["command_line"]) for how, seconds in turns.items()}
        return pd.DataFrame([{"how": how} | _spread("seconds", turns[how]) | ratio[how] for how in turns])

    def limit(self, precision: str) -> float:
        """The measured peak rate of arithmetic, in FLOPs a second; NaN where the precision was not measured."""
        return self.facts["limits"].get(f"peak_{precision}") or math.nan

    def bound(self, precision: str) -> pd.DataFrame:
        """By kind, one image: FLOPs, bytes, and `bound`, the seconds that the slower of the two would take."""
        work = pd.DataFrame(self.facts["work"]).T
        work["bytes"] = work.pop("elements") * WIDTH.get(precision, math.nan)
        seconds = np.maximum(work.flops / self.limit(precision), work.bytes / self.facts["limits"]["bandwidth"])
        return work.assign(bound=seconds)

    @cached_property
    def _reference(self) -> np.ndarray:
        """Images per second of the best reference, round by round."""
        return np.max([_throughput(loop) for loop in self.facts["sides"] if loop["reference"]], axis=0)

    def _rung(self, loop: dict) -> dict:
        now, work = _throughput(loop), self.bound(loop["precision"])
        row = {"loop": loop["name"]} | {key: loop[key] for key in ("lever", "precision", "reference")}
        row |= _rate(now) | _spread("ratio", now / self._reference)
        img_s, flops = row["img_s"], row["img_s"] * work.flops.sum()
        row |= {"epoch_s": EPOCH / img_s, "memory_gb": loop["memory"] / 1e9, "cold_s": loop["cold"]}
        row |= {"gflops": flops / 1e9, "share_of_peak": flops / self.limit(loop["precision"])}
        return row | {"share_of_roofline": img_s * work.bound.sum(skipna=False)}


def _throughput(turns: dict) -> np.ndarray:
    """Images per second, one number per round."""
    return turns["images"] / np.array(turns["seconds"])


def _rate(values: np.ndarray) -> dict:
    return {"img_s": np.median(values), "low": values.min(), "high": values.max()}


def _spread(name: str, values: np.ndarray) -> dict:
    return {name: np.median(values), f"{name}_low": values.min(), f"{name}_high": values.max()}
