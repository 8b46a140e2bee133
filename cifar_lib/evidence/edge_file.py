"""A stored measurement of a network for edge devices: its exported forms, and which devices they fit. No torch."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from cifar_lib import paths
from cifar_lib.errors import UserError

FORMAT = 2
INT8, EAGER = "ONNX, int8", "eager, float32"
# Program memory and RAM in bytes, from the makers' data sheets; None: as good as unlimited here.
DEVICES = {
    "microcontroller, Cortex-M4 (nRF52840)": (1 << 20, 256 << 10),
    "microcontroller, Cortex-M7 (STM32H743)": (2 << 20, 1 << 20),
    "microcontroller with external flash (ESP32-S3)": (8 << 20, 512 << 10),
    "single-board computer (Raspberry Pi Zero 2 W)": (None, 512 << 20),
    "phone, or a browser": (None, 4 << 30),
}
SLOW = 100e6  # multiply-adds: a Cortex-M7 does some hundred million int8 ones a second at best


class EdgeError(UserError):
    """A measurement that is not there, or of another format; the message is one line."""


def path(name: str) -> Path:
    """The file of the run's measurement."""
    return paths.EVIDENCE / "edge" / f"{name}.json"


def names() -> list[str]:
    """The measurements there are, by the name of the run."""
    return sorted(file.stem for file in path("").parent.glob("*.json"))


def read(name: str) -> "Edge":
    """The measurement of that run. Raises `EdgeError`, naming those there are."""
    if name not in names():
        have = ", ".join(names()) or "none yet"
        raise EdgeError(f"measurement {name!r} is not in {path('').parent}; there are: {have}")
    facts = json.loads(path(name).read_text(encoding="utf-8"))
    if facts["format"] != FORMAT:
        raise EdgeError(f"measurement {name!r}: got format {facts['format']}, expected {FORMAT}; measure it again")
    return Edge(facts)


def as_bytes(facts: dict) -> bytes:
    """A measurement as it is stored."""
    return (json.dumps(facts, indent=1) + "\n").encode()


@dataclass(frozen=True)
class Edge:
    """One measurement: `facts` is its file, the tables are made of it."""

    facts: dict

    @property
    def source(self) -> str:
        """What was measured where, for the line under every title."""
        machine = f"{self.facts['device']}, 1 thread, {'with' if self.facts['vnni'] else 'without'} VNNI"
        return f"run {self.facts['run']}, {self.facts['images']:,} test images; {machine}; {self.facts['date']}"

    @cached_property
    def answers(self) -> pd.DataFrame:
        """One row per exported form: accuracy in percent, images fixed and broken beside the run's own answers,
        McNemar's exact p, agreement in percent, calibration error in points, mean accuracy under corruption."""
        exported = {name: form for name, form in self.facts["forms"].items() if name != EAGER}
        return pd.DataFrame({name: _answers(form) for name, form in exported.items()}).T

    @cached_property
    def costs(self) -> pd.DataFrame:
        """One row per form: MB of its file, seconds to the first answer and MB of memory of a fresh process, median
        and 95th percentile of milliseconds per image, how many times as fast as eager, least and most of the rounds."""
        return pd.DataFrame({name: _costs(form) for name, form in self.facts["forms"].items()}).T

    @cached_property
    def changed(self) -> pd.DataFrame:
        """One row per image whose answer int8 changes: image, class, both answers by name, margin before (0 to 1)."""
        columns, classes = ["image", "label", "before", "after", "margin"], self.facts["classes"]
        found = pd.DataFrame(self.facts["forms"][INT8]["changed"], columns=columns)
        named = {name: found[name].map(lambda at: classes[at]) for name in ("label", "before", "after")}
        return found.assign(**named).sort_values("margin", ascending=False, ignore_index=True)

    @cached_property
    def layers(self) -> pd.Series:
        """Milliseconds per image of the int8 form, by part of the network and operator, the longest first."""
        return pd.DataFrame(self.facts["layers"]).set_index(["part", "operator"])["ms"]

    @cached_property
    def devices(self) -> pd.DataFrame:
        """One row per kind of device: its memory for program and data, whether the int8 form fits, and whether its
        multiply-adds are few enough for an answer within about a second on a microcontroller."""
        weights, working = self.facts["int8_parameter_bytes"], self.facts["peak_activation_bytes"]["int8"]
        rows = {name: _fits(weights, working, *memory) for name, memory in DEVICES.items()}
        table = pd.DataFrame(rows, index=["flash", "RAM", "weights fit", "activations fit"]).T
        few = self.facts["multiply_adds"] < SLOW
        return table.assign(answer=[few or "microcontroller" not in name for name in table.index])


def sizes(some: list[Edge]) -> pd.DataFrame:
    """One row per measured run, the smallest first: parameters, multiply-adds, KiB of parameters and of activations
    in int8, accuracy in percent in float32 and in int8, milliseconds per image in int8, how many devices it fits."""
    table = pd.DataFrame([_size(edge) for edge in some], index=[edge.facts["run"] for edge in some])
    return table.sort_values("parameters")


def _size(edge: Edge) -> dict:
    forms, fits = edge.facts["forms"], edge.devices[["weights fit", "activations fit", "answer"]].all(axis=1)
    return {
        "parameters": edge.facts["parameters"],
        "multiply_adds": edge.facts["multiply_adds"],
        "int8_kib": edge.facts["int8_parameter_bytes"] / 1024,
        "activation_kib": edge.facts["peak_activation_bytes"]["int8"] / 1024,
        "float32": 100 * forms[EAGER]["accuracy"],
        "int8": 100 * forms[INT8]["accuracy"],
        "ms": forms[INT8]["ms"],
        "fits": int(fits.sum()),
    }


def lines(edge: Edge, forms: tuple[str, ...] = ()) -> list[str]:
    """Markdown rows, one per form, or of `forms` alone: MB, accuracy, equal answers, milliseconds per image, times as
    fast as PyTorch with the least and the most of the rounds, MB of memory."""
    shown = {name: form for name, form in edge.facts["forms"].items() if not forms or name in forms}
    return [_line(edge.facts["run"], name, form) for name, form in shown.items()]


def _line(run: str, name: str, form: dict) -> str:
    same = f"{form['agreement']:.2%}" if "agreement" in form else "–"
    ratio = f"{form['ratio']:.2f} ({form['ratio_low']:.2f} to {form['ratio_high']:.2f})" if name != EAGER else "1"
    size = f"{form['bytes'] / 1e6:.2f} | {form['accuracy']:.2%} | {same}"
    return f"| {run} | {name} | {size} | {form['ms']:.1f} | {ratio} | {form['peak_mb']:.0f} |"


def _answers(form: dict) -> dict:
    percent = {"accuracy": 100 * form["accuracy"], "agreement": 100 * form["agreement"]}
    counts = {name: form[name] for name in ("fixed", "broke", "p", "rms")}
    corrupted = 100 * sum(form["corrupted"].values()) / len(form["corrupted"])
    return percent | counts | {"ece": 100 * form["ece"], "corrupted": corrupted}


def _costs(form: dict) -> dict:
    names = ("start_s", "peak_mb", "ms", "ms_95", "cpu_ms", "ratio", "ratio_low", "ratio_high")
    return {"mb": form["bytes"] / 1e6} | {name: form[name] for name in names}


def _fits(weights: int, working: int, flash: int | None, ram: int) -> list:
    return [flash, ram, flash is None or weights <= flash, working <= ram]
