"""Two variants of a study, run by run: pairs, differences, intervals, p-values, epochs to a mark. No torch."""

import numpy as np

from cifar_lib.errors import UserError
from cifar_lib.runs import Run

NOISE = 0.2  # points, set beforehand: a smaller mean difference is inconclusive
LEVEL = 0.05  # significance, of all comparisons of a study together


class EvidenceError(UserError):
    """A study that is not there, or whose runs cannot be compared; the message is one line."""


def epochs_to(run: Run, share: float) -> float:
    """The first epoch whose validation accuracy reached `share`; NaN if none did."""
    reached = run.history.epoch[run.history.valid_accuracy >= share]
    return float(reached.iloc[0]) if len(reached) else np.nan


def interval(values: list[float]) -> tuple[float, float]:
    """Low and high end of the mean's 95% interval: Student's t, unadjusted; NaN where all `values` are the same.

    Raises `EvidenceError` for fewer than two.
    """
    if len(values) < 2:
        raise EvidenceError(f"an interval needs two runs at least, there are {len(values)}")
    low, high = _t_test(values).confidence_interval()
    return float(low), float(high)


def p_value(values: list[float]) -> float:
    """Of the paired t-test, two-sided: `values` are the differences of the pairs. NaN where all are the same."""
    return float(_t_test(values).pvalue)


def _t_test(values: list[float]):
    """All is NaN where the values are the same but for rounding."""
    from scipy import stats

    return stats.ttest_1samp(values if np.ptp(values) >= 1e-9 else np.full(len(values), np.nan), 0)


def holm(p, planned: int = 0) -> np.ndarray:
    """p-values of one family, adjusted by Holm's step-down rule (1979), in their order; NaN stays and does not count.

    Where more comparisons were `planned`, the missing ones count as if they had the largest p.
    """
    p = np.asarray(p, float)
    order = np.argsort(p)  # NaN last
    factors = max(np.count_nonzero(p == p), planned) - np.arange(len(p))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1)
    return adjusted


def verdict(mean: float, p_holm: float) -> str:
    """Of a difference in points: "higher" or "lower" where it is significant (adjusted p below `LEVEL`) and above
    `NOISE`, else "inconclusive"."""
    if not (p_holm < LEVEL and abs(mean) > NOISE):
        return "inconclusive"
    return "higher" if mean > 0 else "lower"


def comparable_pairs(baseline: dict[int, Run], variant: dict[int, Run]) -> list[tuple[Run, Run]]:
    """Two runs for each seed they share, `baseline`'s and `variant`'s, where these are `comparable`."""
    pairs = [(baseline[seed], variant[seed]) for seed in sorted(baseline.keys() & variant.keys())]
    return [(a, b) for a, b in pairs if comparable(a, b)]


def comparable(a: Run, b: Run) -> bool:
    """Whether both had the very same images, the same device, and the same precision unless they were set to differ."""
    facts = ["sha256", "device"] + ["precision"] * (a.config.precision == b.config.precision)
    one, other = a.environment, b.environment
    return all(one[fact] == other[fact] for fact in facts)


def difference(pairs: list[tuple[Run, Run]]) -> tuple[float, float, float, int, float]:
    """Of test accuracy, the second's less the first's, in points: mean, low, high, pairs, p."""
    points = [100 * (b.predictions.accuracy - a.predictions.accuracy) for a, b in pairs]
    return np.mean(points), *interval(points), len(pairs), p_value(points)


def delay(pairs: list[tuple[Run, Run]], share: float) -> tuple[float, float, float, int, int]:
    """Of the epochs to `share` on validation, the second's less the first's: mean, low, high, pairs, censored runs.

    A run that never reached it is censored and counts as its last epoch + 1: the difference of restricted means. This
    understates the delay of a slow variant.
    """
    epochs = np.array([[epochs_to(run, share) for run in pair] for pair in pairs])
    ends = np.array([[run.config.max_epochs + 1 for run in pair] for pair in pairs])
    first, second = np.where(np.isnan(epochs), ends, epochs).T
    later = second - first
    return np.mean(later), *interval(later), len(pairs), np.count_nonzero(np.isnan(epochs))
