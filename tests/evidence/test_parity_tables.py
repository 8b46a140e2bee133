"""How accuracy is measured: tables of made-up runs with known numbers, and what the tracked ones must show."""

import numpy as np
import pytest
from scipy import stats
from study_runs import made

from cifar_lib import evidence
from cifar_lib.evidence import Study, parity_tables
from cifar_lib.evidence.comparison import EvidenceError


@pytest.fixture
def pairs(tmp_path) -> Study:
    """Plain and ours of three seeds, ours of a fourth."""
    for seed, (plain, ours) in enumerate([(0.70, 0.71), (0.72, 0.715), (0.74, 0.75)]):
        made(tmp_path / "study" / f"plain-{seed}", 0.1, (0.2, plain), seed=seed)
        made(tmp_path / "study" / f"base-{seed}", 0.9, (0.9, ours), seed=seed)
    made(tmp_path / "study" / "base-7", 0.9, (0.9, 0.99), seed=7)
    return Study(tmp_path / "study")


def test_parity_is_of_validation_after_the_last_epoch_pair_by_pair(pairs):
    table = parity_tables.parity(pairs)
    assert table.index.tolist() == [0, 1, 2]
    assert table.plain.tolist() == pytest.approx([70, 72, 74]) and table.ours.tolist() == pytest.approx([71, 71.5, 75])
    assert table.difference.tolist() == pytest.approx([1, -0.5, 1])
    assert list(table.columns) == ["plain", "ours", "difference", "plain_training", "ours_training"]


def test_a_study_without_the_plain_loop_says_so(tmp_path):
    made(tmp_path / "study" / "base-0", 0.9, seed=0)
    with pytest.raises(EvidenceError, match="^study study: no seed of base that the plain loop has too; train both: "):
        parity_tables.parity(Study(tmp_path / "study"))


def test_the_plain_loop_is_no_variant(pairs):
    assert "plain" not in pairs.pairs and pairs.differences.empty and not pairs.unpaired
    assert pairs.results.index.tolist() == ["base"]


def test_any_variant_can_be_held_to_the_plain_loop(pairs):
    made(pairs.folder / "plain-blank-2", 0.1, (0.2, 0.6), seed=2)
    made(pairs.folder / "blank-2", 0.1, (0.2, 0.65), seed=2)
    table = parity_tables.parity(Study(pairs.folder), "blank")
    assert table.index.tolist() == [2] and table.difference.tolist() == pytest.approx([5])
    assert parity_tables.parity(Study(pairs.folder)).index.tolist() == [0, 1, 2]


def rows(fed: float, running: float) -> list[tuple]:
    return [(parity_tables.RULE, 2.0, 1.0, fed), ("running", 0.0, 1.1, running)]


def test_rules_are_compared_with_the_same_weights(tmp_path):
    for seed, (fed, running) in enumerate([(0.70, 0.60), (0.72, 0.66), (0.74, 0.66)]):
        made(tmp_path / "study" / f"base-{seed}", 0.9, seed=seed).record_table(
            "norm_statistics.csv", rows(fed, running)
        )
    made(tmp_path / "study" / "base-3", 0.9, seed=3)  # not measured
    made(tmp_path / "study" / "lonely-0", 0.9, seed=0).record_table(
        "norm_statistics.csv", rows(0.5, 0.5)
    )  # one says nothing
    table = parity_tables.rules(Study(tmp_path / "study"))
    assert table.variant.unique().tolist() == ["base"] and table.runs.tolist() == [3, 3]
    fed, running = table.itertuples()
    assert (fed.rule, fed.accuracy, fed.mean) == (parity_tables.RULE, pytest.approx(72), 0) and np.isnan(fed.low)
    wanted = stats.ttest_1samp([-10, -6, -8], 0).confidence_interval()
    assert (running.mean, running.low, running.high) == pytest.approx((-8, wanted.low, wanted.high))
    head, _, line = parity_tables.lines(table)
    assert head == "| study | trained | seeds | as fed | running |"
    assert line.startswith("| study | base | 3 | 72.00 | -8.00 (")


@pytest.mark.parametrize(("variant", "pairs", "least"), [("base", 6, 74), ("fast", 5, 75)])
def test_ours_reaches_what_the_plain_loop_reaches(variant, pairs, least):
    """The tracked pairs on real CIFAR-10: the interval's lower end lies above -1.0 points."""
    table = parity_tables.parity(evidence.study("ablation"), variant)
    assert len(table) >= pairs
    assert stats.ttest_1samp(table.difference, 0).confidence_interval().low > -parity_tables.BOUND
    assert (table.ours > least).all()


def test_no_rule_is_clearly_better_than_the_published_one():
    """Of the trainings that were measured under each rule: no other one is ahead by half a point at its interval's low
    end, and what the published numbers round, weights and precision, moves none of them by half a point."""
    table = parity_tables.rules(*(evidence.study(name) for name in evidence.names()))
    trained = {
        "base",
        "no-augmentation",
        "padding-black",
        "drop-output",
        "no-lookahead",
        "drop-branch",
        "mixup",
        "strong",
    }
    assert trained <= set(table.variant) and (table.runs >= 3).all()
    others = table[table.rule != parity_tables.RULE]
    assert others[others.low >= 0.5].empty
    by = others.set_index(["variant", "rule"])
    assert by["mean"]["padding-black", "plain images"] < -2, "statistics of plain images, where crops are black"
    assert by.high["drop-output", "running"] < 0, "statistics that dropout widened"
    assert (table[table.rule.isin(["as fed, float32 weights", "as fed, in bfloat16"])]["mean"].abs() < 0.5).all()
