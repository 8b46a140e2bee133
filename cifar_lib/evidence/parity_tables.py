"""How accuracy is measured, and what it is held to: rules for batch norm's statistics, and the plain loop. No torch."""

import numpy as np
import pandas as pd

from cifar_lib.evidence import variants
from cifar_lib.evidence.comparison import EvidenceError, interval
from cifar_lib.evidence.numerals import with_margin
from cifar_lib.evidence.studies import Study
from cifar_lib.runs import Run

RULE = "as fed"  # the rule that is published; every other one is compared with it
BOUND = 1.0  # points of validation accuracy that ours may lie below the plain loop, at the interval's lower end


def parity(study: Study, variant: str = "base") -> pd.DataFrame:
    """One row per seed that `variant` has of the plain loop and of ours: accuracy in the last epoch, percent: on
    validation (`plain`, `ours`, their `difference` in points) and in training (`plain_training`, `ours_training`).
    Raises `EvidenceError` where there is none."""
    plain, ours = study.runs.get(variants.plain(variant), {}), study.runs.get(variant, {})
    seeds = pd.Index(sorted(plain.keys() & ours.keys()), name="seed")
    if seeds.empty:
        how = "train both: python -m cifar_lib parity"
        raise EvidenceError(f"study {study.folder.name}: no seed of {variant} that the plain loop has too; {how}")
    valid, training = (_last(split, seeds, plain, ours) for split in ("valid", "train"))
    return valid.assign(difference=valid.ours - valid.plain).join(training.add_suffix("_training"))


def parity_lines(table: pd.DataFrame) -> list[str]:
    """Markdown rows of `parity`: one row per seed, and the mean difference with its 95% interval (Student's t)."""
    low, high = interval(table.difference.tolist())
    rows = [f"| {row.Index} | {row.plain:.2f} | {row.ours:.2f} | {row.difference:+.2f} |" for row in table.itertuples()]
    mean = f"**{table.difference.mean():+.2f}** ({low:+.2f} to {high:+.2f})"
    return [*rows, f"| mean | {table.plain.mean():.2f} | {table.ours.mean():.2f} | {mean} |"]


def rules(*studies: Study) -> pd.DataFrame:
    """What each rule for batch norm's statistics is worth to the same weights, on validation after the last epoch.

    One row per variant and rule that was measured: study, variant, rule, runs, accuracy (mean, percent), less `RULE`'s
    in points (mean; low and high, 95%, Student's t over the seeds), seconds to gather (median).
    """
    rows = [row for study in studies for variant, runs in study.runs.items() for row in _rows(study, variant, runs)]
    columns = ["study", "variant", "rule", "runs", "accuracy", "mean", "low", "high", "seconds"]
    return pd.DataFrame(rows, columns=columns)


def lines(table: pd.DataFrame) -> list[str]:
    """LOG's rows of `rules`: variant, accuracy by `RULE`, and each other rule's difference with its interval."""
    others = [rule for rule in dict.fromkeys(table.rule) if rule != RULE]
    head = f"| study | trained | seeds | {RULE} | " + " | ".join(others) + " |"
    found = [head, "|---" * (4 + len(others)) + "|"]
    for (study, variant), rows in table.groupby(["study", "variant"], sort=False):
        by = rows.set_index("rule")
        cells = [_points(by.loc[rule]) if rule in by.index else "" for rule in others]
        head = f"| {study} | {variant} | {by.runs.iloc[0]} | {by.accuracy[RULE]:.2f} | "
        found.append(head + " | ".join(cells) + " |")
    return found


def by_rule(table: pd.DataFrame, study: str) -> pd.DataFrame:
    """Of `rules`, one study as people read it: a row per rule, a column per variant; `RULE`'s accuracy in percent, and
    of every other rule the difference from it in points, ± half the 95% interval."""
    own = table[table.study == study]
    cells = own.assign(cell=[_cell(row) for _, row in own.iterrows()])
    wide = cells.pivot(index="rule", columns="variant", values="cell").fillna("")
    return wide.loc[own.rule.unique(), own.variant.unique()]


def _cell(row: pd.Series) -> str:
    if row["rule"] == RULE:
        return f"{row['accuracy']:.2f}%"
    return with_margin(row["mean"], row["low"], row["high"])


def _rows(study: Study, variant: str, runs: dict[int, Run]) -> list[tuple]:
    tables = [run.norm_statistics.set_index("rule") for run in runs.values() if run.has("norm_statistics.csv")]
    if len(tables) < 2:
        return []
    every = pd.concat(tables, keys=range(len(tables)))
    found = []
    for rule, own in every.groupby(level=1, sort=False):
        points = 100 * (own.accuracy.droplevel(1) - every.accuracy.xs(RULE, level=1))
        values = 100 * own.accuracy.mean(), points.mean(), *interval(points.tolist()), own.seconds.median()
        found.append((study.folder.name, variant, rule, len(own), *values))
    return found


def _last(split: str, seeds: pd.Index, plain: dict[int, Run], ours: dict[int, Run]) -> pd.DataFrame:
    """Accuracy of a split in the last epoch, percent; one row per seed, columns `plain` and `ours`."""
    percent = lambda runs: [100 * runs[seed].history[f"{split}_accuracy"].iloc[-1] for seed in seeds]  # noqa: E731
    return pd.DataFrame({"plain": percent(plain), "ours": percent(ours)}, seeds, dtype=float)


def _points(row: pd.Series) -> str:
    ends = "" if np.isnan(row.low) else f" ({row.low:+.2f} to {row.high:+.2f})"
    return f"{row['mean']:+.2f}{ends}"
