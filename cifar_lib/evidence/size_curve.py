"""The curve: test accuracy against size, of one training at several widths, and what others report."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from cifar_lib import paths
from cifar_lib.config import PRESETS, Config
from cifar_lib.evidence import variants
from cifar_lib.evidence.numerals import with_spread
from cifar_lib.runs import Run

# What may differ between runs of one training: size, length, images, seed, and how it is computed.
FREE = {
    *("num_channels", "max_epochs", "valid_size", "train_size", "seed", "param_budget", "loader", "num_workers"),
    *("device", "precision", "compile", "cuda_graphs", "sync_bn", "deterministic"),
}
STUDY = paths.EVIDENCE / "curve"  # its runs are named width-WIDTH-SEED; the widest network is runs/reference


def runs(study: Path = STUDY, reference: Path = paths.REFERENCE) -> dict[int, list[Run]]:
    """Width -> its runs that have ended, by seed, the narrowest first; of the widest, the reference comes first."""
    found = [run for variant in variants.ended(study).values() for run in variant.values()] if study.exists() else []
    found = [Run(reference), *found] if (reference / "predictions.npz").exists() else found
    widths = sorted({run.config.num_channels for run in found})
    return {width: [run for run in found if run.config.num_channels == width] for width in widths}


def table(some: dict[int, list[Run]], macs: Callable[[Config], dict[str, int]]) -> pd.DataFrame:
    """One row per width, training and length: `training`, parameters, multiply-adds as `macs` counts them
    (`models.macs`), epochs, runs, mean and standard deviation of test accuracy in percent, the mean with mirror images
    too (NaN where a run was not measured), the runs' accuracies."""
    rows = [_row(width, alike, macs) for width, each in some.items() for alike in _alike(each)]
    return pd.DataFrame(rows).set_index("width")


def lines(table: pd.DataFrame) -> list[str]:
    """Markdown rows of `table`."""
    return [_line(row) for row in table.itertuples()]


def training(config: Config) -> str:
    """ "preset fast" and what is changed of it, as it is typed, size and length aside; "recipe" without that preset."""
    fast, own = dict(Config(**PRESETS["fast"])), dict(config)
    if any(own[name] != fast[name] for name in PRESETS["fast"]):
        return "recipe"
    changed = [f"{name} {own[name]}" for name in fast if name not in FREE and own[name] != fast[name]]
    return ", ".join(["preset fast", *changed])


def _alike(some: list[Run]) -> Iterable[list[Run]]:
    """The runs of each training and length together."""
    found: dict[tuple, list[Run]] = {}
    for run in some:
        found.setdefault((training(run.config), run.config.max_epochs), []).append(run)
    return found.values()


def _row(width: int, some: list[Run], macs: Callable) -> dict:
    every = [100 * run.predictions.accuracy for run in some]
    mirrored = [100 * run.mirrored["accuracy"] if run.has("mirrored.json") else np.nan for run in some]
    return {
        "width": width,
        "training": training(some[0].config),
        "parameters": some[0].environment["parameters"],
        "multiply_adds": macs(some[0].config)["total"],
        "epochs": some[0].config.max_epochs,
        "runs": len(some),
        "mean": np.mean(every),
        "std": np.std(every, ddof=1) if len(every) > 1 else np.nan,
        "mirrored": np.mean(mirrored),
        "every": every,
    }


def _line(row) -> str:
    counts = f"{row.parameters:,} | {row.multiply_adds:,} | {row.epochs} | {row.runs}"
    mirrored = "–" if np.isnan(row.mirrored) else f"{row.mirrored:.2f}"
    return f"| {row.Index} | {row.training} | {counts} | {with_spread(row.mean, row.std)} | {mirrored} |"
