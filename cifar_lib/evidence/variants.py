"""The variants of a study: their runs as the folder has them, what was planned, their rows of a table. No torch.

A run's folder is named VARIANT-SEED. The queue STUDY.queue beside the folder STUDY fixes beforehand what is trained.
"""

from pathlib import Path

import numpy as np

from cifar_lib.evidence.comparison import EvidenceError
from cifar_lib.runs import Run
from cifar_lib.sweep import jobs

PLAIN = "plain"  # the loop that most people write: what ours is held to, no variant of it


def variant_of(name: str) -> str:
    """VARIANT of the run's name VARIANT-SEED."""
    return name.rpartition("-")[0]


def plain(variant: str = "base") -> str:
    """What the plain loop's runs with the settings of `variant` are called: `plain` for `base`, `plain-VARIANT`."""
    return PLAIN if variant == "base" else f"{PLAIN}-{variant}"


def is_plain(variant: str) -> bool:
    """Whether the plain loop trained it."""
    return variant == PLAIN or variant.startswith(f"{PLAIN}-")


def ended(folder: Path) -> dict[str, dict[int, Run]]:
    """variant -> seed -> run, variants by name; runs that have not ended are left out.

    Raises `EvidenceError` where none has, where a name is not VARIANT-SEED, and for a run that was extended.
    """
    found: dict[str, dict[int, Run]] = {}
    for path in sorted(folder.glob("*/predictions.npz")):
        run = Run(path.parent)
        _check(run)
        found.setdefault(variant_of(run.name), {})[run.config.seed] = run
    if not found:
        raise EvidenceError(f"{folder}: no run in it that has ended; train its queue first")
    return found


def planned(folder: Path) -> dict[str, set[int]]:
    """variant -> the seeds that the study's queue has for it; empty where there is no queue.

    Raises `SweepError` for a queue that cannot be read.
    """
    queue, found = folder.parent / f"{folder.name}.queue", {}
    for job in jobs.read(queue) if queue.exists() else []:
        found.setdefault(variant_of(job.run), set()).add(job.config.seed)
    return found


def result(variant: str, runs: dict[int, Run], planned: int) -> dict:
    """One row of `Study.results`; `planned` runs were fixed beforehand."""
    percent, summary = [100 * run.predictions.accuracy for run in runs.values()], next(iter(runs.values())).summary
    row = {"variant": variant, "runs": len(runs), "planned": planned, "seeds": ", ".join(map(str, runs))}
    row |= {"mean": np.mean(percent), "std": np.std(percent, ddof=1) if len(percent) > 1 else np.nan}
    return row | {name: summary[name] for name in ("parameters", "epochs", "train_images", "weights")}


def settings(runs: dict[int, Run]) -> dict:
    """What a variant's runs share, the seed aside. Raises `EvidenceError` where they differ in more."""
    known = [run.config.model_dump(exclude={"seed"}) for run in runs.values()]
    if any(each != known[0] for each in known):
        raise EvidenceError(f"runs {', '.join(r.name for r in runs.values())}: they differ in more than the seed")
    return known[0]


def _check(run: Run) -> None:
    seed = run.name.rpartition("-")[2]
    if not seed.isdecimal() or run.config.seed != int(seed):
        raise EvidenceError(f"{run.folder}: expected VARIANT-SEED, with the seed {run.config.seed} it has")
    if steps := run.environment.get("extended"):  # its first epochs followed the schedule of a shorter run
        raise EvidenceError(
            f"run {run.name} was extended from {steps[0]['from']} to {steps[-1]['to']} epochs, expected one schedule "
            "from the first epoch to the last; train it straight, in a new folder"
        )
