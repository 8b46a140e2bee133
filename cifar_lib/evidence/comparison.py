"""Two variants of a study, run by run: pairs, differences, intervals, p-values, epochs to a mark. No torch."""

import numpy as np

from cifar_lib.errors import UserError
from cifar_lib.runs import Run

NOISE = 0.2  # points: two seeds of CIFAR-10 differ by as much at full length, so no difference up to it is called one
LEVEL = 0.05  # of all comparisons of a study together: the chance of any wrong verdict where no variant differs


class EvidenceError(UserError):
    """A study that is not there, or whose runs cannot be compared; the message is one line."""


def accuracy(run: Run) -> float:
    """Of the test set, 0 to 1."""
    return run.predictions.accuracy


def epochs_to(run: Run, share: float) -> float:
    """The first epoch whose validation accuracy reached `share`; NaN if none did."""
    reached = run.history.epoch[run.history.valid_accuracy >= share]
    return float(reached.iloc[0]) if len(reached) else np.nan


def interval(values: list[float], confidence: float = 0.95) -> tuple[float, float]:
    """Low and high end for the mean of `values`: Student's t, unadjusted for other comparisons.

    NaN where all values are the same: they say nothing of the spread, and a width of zero would claim certainty.
    Raises `EvidenceError` for fewer than two.
    """
    from scipy import stats

    if len(values) < 2:
        raise EvidenceError(f"an interval needs two runs at least, there are {len(values)}")
    if _same(values):
        return np.nan, np.nan
    low, high = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    return float(low), float(high)


def p_value(values: list[float]) -> float:
    """Of the paired t-test, two-sided: `values` are the differences of the pairs. NaN where all are the same."""
    from scipy import stats

    return np.nan if _same(values) else float(stats.ttest_1samp(values, 0).pvalue)


def _same(values: list[float]) -> bool:
    """As floats: differences of equal counts of images are not equal to the last bit."""
    return bool(np.ptp(values) < 1e-9)


def holm(p, planned: int = 0) -> np.ndarray:
    """p-values of one family, adjusted by Holm's step-down rule (1979), in their order.

    Where more comparisons were `planned` than are here, the adjustment is for those, as if the missing ones had the
    largest p. NaN stays NaN and does not count: no test was made of it.
    """
    p = np.asarray(p, float)
    order = np.argsort(p)  # NaN last
    factors = max(np.count_nonzero(p == p), planned) - np.arange(len(p))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1)
    return adjusted


def verdict(mean: float, p_holm: float) -> str:
    """Of a difference in points: "higher" or "lower" where its adjusted p is below `LEVEL` and its size above `NOISE`,
    else "inconclusive"."""
    if not (p_holm < LEVEL and abs(mean) > NOISE):
        return "inconclusive"
    return "higher" if mean > 0 else "lower"


def comparable_pairs(baseline: dict[int, Run], variant: dict[int, Run]) -> list[tuple[Run, Run]]:
    """The runs of `variant`, each after that of `baseline` with the same seed, where the two are `comparable`."""
    pairs = [(baseline[seed], variant[seed]) for seed in sorted(baseline.keys() & variant.keys())]
    return [(a, b) for a, b in pairs if comparable(a, b)]


def comparable(a: Run, b: Run) -> bool:
    """Whether both had the very same images, the same device, and the same precision unless they were set to differ."""
    facts = ["sha256", "device"] + ["precision"] * (a.config.precision == b.config.precision)
    one, other = a.environment, b.environment
    return all(one[fact] == other[fact] for fact in facts)


def difference(pairs: list[tuple[Run, Run]]) -> tuple[float, float, float, int, float]:
    """Of test accuracy, the second's less the first's, in points: mean, low, high, pairs, p."""
    points = [100 * (accuracy(b) - accuracy(a)) for a, b in pairs]
    return np.mean(points), *interval(points), len(pairs), p_value(points)


def delay(pairs: list[tuple[Run, Run]], share: float) -> tuple[float, float, float, int, int]:
    """Of the epochs to `share` on validation, the second's less the first's: mean, low, high, pairs, censored runs.

    A run that never reached it is right-censored and counts as its last epoch + 1, the least it can have needed: the
    difference of restricted means, over all pairs. This understates the delay of a slow variant.
    """
    epochs = np.array([[epochs_to(run, share) for run in pair] for pair in pairs])
    ends = np.array([[run.config.max_epochs + 1 for run in pair] for pair in pairs])
    first, second = np.where(np.isnan(epochs), ends, epochs).T
    later = second - first
    return np.mean(later), *interval(later), len(pairs), np.count_nonzero(np.isnan(epochs))
