"""Studies: folders of runs that differ in one thing and in their seeds, read into tables. No torch.

A variant `fast-lr` is compared, seed by seed, with the variant `fast` where the study has one. Any other is compared
with the one of `BASELINES` that has the most runs comparable with its own: same images, device and precision.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from cifar_lib import paths
from cifar_lib.config import DATA_SETS
from cifar_lib.evidence import comparison, variants
from cifar_lib.evidence.comparison import EvidenceError, interval
from cifar_lib.evidence.variants import is_plain, variant_of
from cifar_lib.runs import Run
from cifar_lib.system import need_checkout

BASELINES = ("base", "recipe")  # the recipe with a validation split, and on all images
SHIFTS = ("gaussian_noise", "gaussian_blur", "brightness", "contrast", "pixelate", "jpeg_compression")


@dataclass(frozen=True)
class Study:
    """The complete runs of one folder, by variant and seed."""

    folder: Path

    @cached_property
    def runs(self) -> dict[str, dict[int, Run]]:
        """`variants.ended` of the folder."""
        return variants.ended(self.folder)

    @cached_property
    def planned(self) -> dict[str, set[int]]:
        """`variants.planned` of the folder."""
        return variants.planned(self.folder)

    @property
    def every(self) -> list[Run]:
        """All its runs."""
        return [run for variant in self.runs.values() for run in variant.values()]

    @property
    def source(self) -> str:
        """What the runs are, for the line under every title."""
        runs = [(run.config, f"{run.environment['train_images']:,}") for run in self.every]
        rows = [(DATA_SETS[config.dataset], images, config.num_channels, config.max_epochs) for config, images in runs]
        data, images, channels, epochs = map(_all, zip(*rows, strict=True))
        return f"{self.folder.name}: {data}, {images} images, {channels} channels, {epochs} epochs"

    @property
    def machines(self) -> str:
        """What computed it, and how precisely."""
        facts = [(run.environment, "s" * (run.environment["threads"] > 1)) for run in self.every]
        return _all(f"{one['device']}, {one['threads']} thread{s}, {one['precision']}" for one, s in facts)

    @property
    def results(self) -> pd.DataFrame:
        """One row per variant, the plain loop's aside: runs, runs planned (0: no queue), seeds, mean and standard
        deviation of test accuracy in percent, and what made it."""
        ours = {variant: runs for variant, runs in self.runs.items() if not is_plain(variant)}
        rows = [variants.result(variant, runs, len(self.planned.get(variant, ()))) for variant, runs in ours.items()]
        return pd.DataFrame(rows).set_index("variant")

    @cached_property
    def pairs(self) -> dict[str, list[tuple[Run, Run]]]:
        """variant -> pairs of runs with the same seed, `comparable`: its baseline's, its own.

        Baselines, the plain loop and variants with fewer than two pairs, too few for an interval, are left out.
        """
        found = {variant: self._pairs(variant) for variant in self.runs if not is_plain(variant)}
        return {variant: pairs for variant, pairs in found.items() if len(pairs) > 1}

    def _pairs(self, variant: str) -> list[tuple[Run, Run]]:
        longer = [name for name in self.runs if variant.startswith(f"{name}-")]
        earlier = BASELINES[: BASELINES.index(variant)] if variant in BASELINES else BASELINES
        found = [comparison.comparable_pairs(self.runs.get(name, {}), self.runs[variant]) for name in longer or earlier]
        return max(found, key=len, default=[])

    @property
    def unpaired(self) -> list[str]:
        """Runs in no pair though a baseline has their seed: with other images, another device or precision."""
        paired = {run.name for variant in self.runs for _, run in self._pairs(variant)}
        seeds = {seed for baseline in BASELINES for seed in self.runs.get(baseline, {})}
        rest = {v: runs for v, runs in self.runs.items() if v not in BASELINES and not is_plain(v)}
        found = [run for runs in rest.values() for seed, run in runs.items() if seed in seeds]
        return [run.name for run in found if run.name not in paired]

    @property
    def differences(self) -> pd.DataFrame:
        """One row per variant of `pairs`: its test accuracy less its baseline's, in points.

        mean, low and high (Student's t over the seeds, 95%, unadjusted; NaN where all pairs differ alike), pairs, pairs
        `planned` (0: no queue), `p` of the paired t-test, `p_holm`, adjusted for all variants here or planned, the
        `comparison.verdict`, and the `baseline`.
        """
        rows = [self._difference(variant, pairs) for variant, pairs in self.pairs.items()]
        columns = ["variant", "mean", "low", "high", "pairs", "p", "planned", "baseline"]
        found = pd.DataFrame(rows, columns=columns).set_index("variant")
        found["p_holm"] = comparison.holm(found.p, len(self.planned.keys() - {*BASELINES}))
        found["verdict"] = [comparison.verdict(*row) for row in zip(found["mean"], found.p_holm, strict=True)]
        return found[["mean", "low", "high", "pairs", "planned", "p", "p_holm", "verdict", "baseline"]]

    def _difference(self, variant: str, pairs: list[tuple[Run, Run]]) -> tuple:
        baseline = variant_of(pairs[0][0].name)
        planned = self.planned.get(variant, set()) & self.planned.get(baseline, set())
        return variant, *comparison.difference(pairs), len(planned), baseline

    @property
    def changes(self) -> dict[str, dict]:
        """variant -> its settings that differ from its baseline's. Raises `EvidenceError` where two runs of a variant
        differ in more than the seed."""
        known = {variant: variants.settings(runs) for variant, runs in self.runs.items()}
        baselines = {variant: known[variant_of(pairs[0][0].name)] for variant, pairs in self.pairs.items()}
        return {
            variant: {k: v for k, v in known[variant].items() if v != other[k]} for variant, other in baselines.items()
        }

    def epochs_to(self, share: float) -> pd.DataFrame:
        """One row per variant, one column per seed: `comparison.epochs_to`."""
        reached = lambda runs: {seed: comparison.epochs_to(run, share) for seed, run in runs.items()}  # noqa: E731
        return pd.DataFrame({variant: reached(runs) for variant, runs in self.runs.items()}).T.sort_index(axis=1)

    def delays(self, share: float) -> pd.DataFrame:
        """One row per variant of `pairs` with a validation split: its epochs to `share` less its baseline's.

        mean, low and high (95%, Student's t, unadjusted), pairs, `censored` runs, as of `comparison.delay`.
        """
        split = {variant: pairs for variant, pairs in self.pairs.items() if pairs[0][1].config.valid_size}
        rows = [(variant, *comparison.delay(pairs, share)) for variant, pairs in split.items()]
        return pd.DataFrame(rows, columns=["variant", "mean", "low", "high", "pairs", "censored"]).set_index("variant")

    @property
    def shifts(self) -> dict[str, pd.DataFrame]:
        """variant -> a table as `Run.shifts`, of variants whose every run was measured: mean accuracy over the runs and
        its 95% interval (Student's t over the seeds; NaN for one run)."""
        measured = {s: runs for s, runs in self.runs.items() if all(r.has("shifts.csv") for r in runs.values())}
        return {variant: _over_seeds([run.shifts for run in runs.values()]) for variant, runs in measured.items()}


def study(name: str) -> Study:
    """The study runs/evidence/NAME. Raises `EvidenceError`, naming those there are, or `NoCheckout`."""
    need_checkout("the studies")
    if name not in names():
        raise EvidenceError(f"study {name!r} is not in {paths.EVIDENCE}; there are: {', '.join(names()) or 'none yet'}")
    return Study(paths.EVIDENCE / name)


def names() -> list[str]:
    """The studies there are, by name: those with a run that has ended."""
    return sorted({path.parent.parent.name for path in paths.EVIDENCE.glob("*/*/predictions.npz")})


def shifted(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in percent, low and high (95%), of `none`, `mirrored`, each corruption (mean over its severities),
    `corrupted` (mean of these) and `lost` (`none` less `corrupted`); `table` as of `Run.shifts` or `Study.shifts`."""
    whole = table[table.severity.isin(["0", "mean"])].set_index("corruption")
    return 100 * whole[["accuracy", "low", "high"]]


def _over_seeds(tables: list[pd.DataFrame]) -> pd.DataFrame:
    end = lambda which: lambda values: interval(values)[which] if len(values) > 1 else np.nan  # noqa: E731
    by = pd.concat(tables).groupby(["corruption", "severity", "images"], sort=False)
    return by.accuracy.agg(accuracy="mean", low=end(0), high=end(1)).reset_index()


def _all(values) -> str:
    return " or ".join(dict.fromkeys(map(str, values)))
