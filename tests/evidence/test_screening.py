"""A screening finds what was put in, and says how surely."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cifar_lib import evidence
from cifar_lib.config import Config
from cifar_lib.evidence import screening
from cifar_lib.evidence.comparison import EvidenceError

ROW = "++-+++---+-"  # Plackett and Burman's of 12 runs
NAMES = {
    "nesterov": (False, True), "label_smoothing": (0.0, 0.1), "cutout": (0, 8), "whitening": (False, True),
    "lookahead": (True, False), "warmup": (0.0, 0.2), "batch_size": (128, 256),
}  # fmt: skip


class Fake:
    """As much of a run as is asked for."""

    def __init__(self, accuracy: float, settings: dict):
        self.config = Config(lr=0.1 * settings["batch_size"] / 128, **settings)
        self.history = pd.DataFrame({"valid_accuracy": [0.1, accuracy]})


def design() -> np.ndarray:
    rows = [[ROW[(c - r) % 11] == "+" for c in range(11)] for r in range(11)] + [[False] * 11]
    return np.array(rows)[:, : len(NAMES)]


def runs(worth: dict[str, float], noise: float = 0.0) -> list[Fake]:
    random, found = np.random.default_rng(0), []
    for row in design():
        settings = {name: values[int(up)] for up, (name, values) in zip(row, NAMES.items(), strict=True)}
        points = sum(worth.get(name, 0) * up for name, up in zip(NAMES, row, strict=True))
        found.append(Fake((80 + points + random.normal(0, noise)) / 100, settings))
    return found


def test_effects_are_what_was_put_in():
    table = screening.effects(runs({"nesterov": 2.0, "cutout": -3.0, "lookahead": 0.5}))
    assert list(table.index[:3]) == ["cutout", "nesterov", "lookahead"] and len(table) == len(NAMES)
    assert table.effect[:3].tolist() == pytest.approx([-3, 2, 0.5]) and (table.effect[3:].abs() < 1e-9).all()
    assert (table.default["lookahead"], table.other["lookahead"]) == (True, False)  # from the default on


def test_large_effects_are_significant_and_noise_is_not():
    table = screening.effects(runs({"nesterov": 3.0, "cutout": -3.0}, noise=0.3))
    assert table.verdict["nesterov"] == "higher" and table.verdict["cutout"] == "lower"
    assert (table.verdict.drop(["nesterov", "cutout"]) == "inconclusive").all()
    assert 0.2 < table.margin.iloc[0] < 1


def test_lenths_margin_is_the_published_one():
    """Of 1 to 6 and 40 the rough spread is 6, so 40 is left out, and the spread 5.25."""
    margin = screening._margin(np.array([1.0, -2, 3, -4, 5, -6, 40]))
    assert margin == pytest.approx(1.5 * 3.5 * stats.t.ppf(0.975, 7 / 3))


def test_runs_that_are_no_design_are_refused():
    with pytest.raises(EvidenceError, match="each value in half of the runs"):
        screening.effects(runs({})[:-1])
    with pytest.raises(EvidenceError, match="^no setting"):
        screening.effects(runs({})[:1])


def test_a_verdict_is_adjusted_for_all_settings():
    """The largest effect of the stored screening is beyond its own margin, and not beyond that of all 17 together."""
    table = screening.effects(evidence.study("screening").every)
    largest = table.iloc[0]
    assert len(table) == 17 and largest.name == "zero_init_residual"
    joint = largest.margin * stats.t.ppf((1 + 0.95 ** (1 / 17)) / 2, 17 / 3) / stats.t.ppf(0.975, 17 / 3)
    assert largest.margin < abs(largest.effect) < joint and largest.verdict == "inconclusive"
