"""A screening: what each of many settings is worth, from runs in which they change all at once. No torch.

In a design of Plackett and Burman (Biometrika 33, 1946) every setting has each of its two values in half of the runs,
and every two settings each of their four pairs of values in a quarter: so each effect is of all the runs, and is an
average over the other settings. Interactions of two settings are spread over the effects of the others.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cifar_lib.config import Config
from cifar_lib.evidence.comparison import EvidenceError
from cifar_lib.runs import Run

BATCH = 128  # images; learning rates are compared at this batch, to which they grow in proportion


def effects(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each setting that has two values over the runs, the largest effect first: `default` and `other`, its
    values; `effect`, what the other one adds to validation accuracy after the last epoch, in points; `margin`, half its
    95% interval (Lenth, Technometrics 31, 1989); and the `verdict`: "higher", "lower" or "inconclusive", at 5% for all
    settings together.

    Raises `EvidenceError` for runs that are no such design: where two settings do not change independently.
    """
    columns = {name: column for name, column in _settings(runs).items() if len(set(column)) == 2}
    table = pd.DataFrame([_values(*item) for item in columns.items()], columns=["setting", "default", "other"])
    codes = np.array([[1 if v == o else -1 for v in columns[name]] for name, _, o in table.itertuples(index=False)])
    _check_design(list(columns), codes)
    table["effect"] = found = 2 * codes @ [100 * run.history.valid_accuracy.iloc[-1] for run in runs] / len(runs)
    table["margin"] = _margin(found)
    joint = _margin(found, 0.95 ** (1 / len(found)))  # Lenth's simultaneous one: of many effects some pass their own
    table["verdict"] = np.select([found > joint, found < -joint], ["higher", "lower"], "inconclusive")
    return table.set_index("setting").sort_values("effect", key=abs, ascending=False)


def lines(table: pd.DataFrame) -> list[str]:
    """Markdown rows of `effects`."""
    return [
        f"| `{row.Index}` | {row.default} | {row.other} | {row.effect:+.2f} "
        f"({row.effect - row.margin:+.2f} to {row.effect + row.margin:+.2f}) | {row.verdict} |"
        for row in table.itertuples()
    ]


def _settings(runs: Sequence[Run]) -> dict[str, list]:
    """Setting -> its value in each run; the learning rate as it is for 128 images."""
    dumps = [run.config.model_dump(exclude={"seed", "lr"}) for run in runs]
    learning_rates = [float(f"{run.config.lr * BATCH / run.config.batch_size:.6g}") for run in runs]
    return {f"lr per {BATCH} images": learning_rates} | {name: [dump[name] for dump in dumps] for name in dumps[0]}


def _values(name: str, column: list) -> tuple:
    """The name; its default, or the lesser value where that is not among the two; and the other one."""
    known = Config.model_fields[name].default if name in Config.model_fields else None
    default = known if known in column else min(column)
    return name, default, next(value for value in column if value != default)


def _check_design(names: list[str], codes: np.ndarray) -> None:
    """Raises `EvidenceError` unless every column is balanced and orthogonal to every other one."""
    products = codes @ codes.T - len(codes.T) * np.eye(len(codes))
    wrong = [name for name, row, own in zip(names, products, codes, strict=True) if row.any() or own.sum()]
    if len(codes) == 0 or wrong:
        which = ", ".join(wrong) or "no setting"
        raise EvidenceError(f"{which}: expected settings that have each value in half of the runs, independently")


def _margin(effects: np.ndarray, level: float = 0.95) -> float:
    """Lenth's margin of error: the spread of those effects that are too small to be active, times Student's t."""
    from scipy import stats

    size = np.abs(effects)
    rough = 1.5 * np.median(size)
    spread = 1.5 * np.median(size[size <= 2.5 * rough])
    return float(spread * stats.t.ppf((1 + level) / 2, len(effects) / 3))
