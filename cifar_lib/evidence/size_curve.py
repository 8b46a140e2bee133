"""The curve: test accuracy against size, of one training at several widths, and what others report."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from cifar_lib import paths
from cifar_lib.config import PRESETS, Config
from cifar_lib.evidence import variants
from cifar_lib.runs import Run

STUDY = paths.EVIDENCE / "curve"  # its runs are named width-WIDTH-SEED; the widest network is runs/reference


def runs(study: Path = STUDY, reference: Path = paths.REFERENCE) -> dict[int, list[Run]]:
    """Width -> its runs that have ended, by seed, the narrowest first; of the widest, the reference comes first."""
    found = [run for variant in variants.ended(study).values() for run in variant.values()] if study.exists() else []
    found = [Run(reference), *found] if (reference / "predictions.npz").exists() else found
    widths = sorted({run.config.num_channels for run in found})
    return {width: [run for run in found if run.config.num_channels == width] for width in widths}


def table(some: dict[int, list[Run]], macs: Callable[[Config], dict[str, int]]) -> pd.DataFrame:
    """One row per width: training ("preset fast", or "recipe"), parameters, multiply-adds as `macs` counts them
    (`models.macs`), epochs, runs, mean and standard deviation of test accuracy in percent, the mean with mirror images
    too (NaN where a run was not measured), the runs' accuracies, hours of one run."""
    return pd.DataFrame([_row(width, each, macs) for width, each in some.items()]).set_index("width")


def lines(table: pd.DataFrame) -> list[str]:
    """README's rows of `table`."""
    return [_line(row) for row in table.itertuples()]


def _row(width: int, some: list[Run], macs: Callable) -> dict:
    every = [100 * run.predictions.accuracy for run in some]
    mirrored = [100 * run.mirrored["accuracy"] if run.has("mirrored.json") else np.nan for run in some]
    return {
        "width": width,
        "training": _training(some[0].config),
        "parameters": some[0].environment["parameters"],
        "multiply_adds": macs(some[0].config)["total"],
        "epochs": some[0].config.max_epochs,
        "runs": len(some),
        "mean": np.mean(every),
        "std": np.std(every, ddof=1) if len(every) > 1 else np.nan,
        "mirrored": np.mean(mirrored),
        "every": every,
        "hours": np.mean([run.summary["seconds"] for run in some]) / 3600,
    }


def _training(config: Config) -> str:
    own = dict(config)
    return "preset fast" if all(own[name] == value for name, value in PRESETS["fast"].items()) else "recipe"


def _line(row) -> str:
    spread = f" ± {row.std:.2f}" if row.runs > 1 else ""
    counts = f"{row.parameters:,} | {row.multiply_adds:,} | {row.epochs} | {row.runs}"
    mirrored = "–" if np.isnan(row.mirrored) else f"{row.mirrored:.2f}"
    return f"| {row.Index} | {row.training} | {counts} | {row.mean:.2f}{spread} | {mirrored} | {row.hours:.1f} |"
