"""Claims: each variant has its words, and a verdict follows from the difference alone."""

import pandas as pd
import pytest

from cifar_lib import evidence, paths
from cifar_lib.evidence import claims
from cifar_lib.sweep import jobs


def found(variant: str, verdict: str) -> pd.DataFrame:
    row = {
        "variant": variant,
        "mean": -1.5,
        "low": -2.0,
        "high": -1.0,
        "p_holm": 0.0124,
        "verdict": verdict,
        "baseline": "base",
    }
    return pd.DataFrame([row]).set_index("variant")


@pytest.mark.parametrize(
    ("variant", "verdict", "judgement"),
    [
        ("se-none", "lower", "holds"),
        ("se-none", "higher", "contradicted"),
        ("se-none", "inconclusive", "inconclusive"),
        ("drop-branch", "higher", "holds"),
        ("drop-branch", "lower", "contradicted"),
        ("strong", "inconclusive", "inconclusive"),
    ],
)
def test_judgement(variant, verdict, judgement):
    row = claims.judged(found(variant, verdict)).loc[variant]
    assert (row.verdict, row["difference, points"]) == (judgement, "-1.50 (-2.00 to -1.00)")
    assert row["Holm's p"] == "0.012"
    assert (row.claim, row.against) == (claims.CLAIMS[variant][0], "the baseline")


def test_lines_have_what_the_readme_needs():
    variants = {"base": (60.0, 1.0), "se-none": (58.5, float("nan"))}
    rows = [
        {
            "variant": variant,
            "runs": 1 + (variant == "base"),
            "planned": 2,
            "seeds": "0",
            "mean": mean,
            "std": std,
            "parameters": 4733610,
        }
        | {"epochs": 8, "train_images": 45000, "weights": "slow, last epoch"}
        for variant, (mean, std) in reversed(variants.items())
    ]
    counts = "| 8 | 45,000 | 4,733,610 |"
    assert claims.lines(pd.DataFrame(rows).set_index("variant"), found("se-none", "lower")) == [
        f"| the baseline | 2 (0) {counts} 60.00 ± 1.00 | – | – | slow, last epoch |",
        f"| without SE | 1 of 2 (0) {counts} 58.50 | -1.50 (-2.00 to -1.00) | 0.012 | slow, last epoch |",
    ]


@pytest.mark.parametrize(
    ("p", "text"), [(0.0124, "0.012"), (1.0, "1.000"), (0.00099, "<0.001"), (0.001, "0.001"), (float("nan"), "–")]
)
def test_p_as_text(p, text):
    assert claims.judged(found("strong", "higher").assign(p_holm=p)).loc["strong", "Holm's p"] == text


def test_difference_without_an_interval_says_so():
    table = found("strong", "inconclusive").assign(low=float("nan"), high=float("nan"))
    assert claims.judged(table).loc["strong", "difference, points"] == "-1.50 (no interval)"


@pytest.mark.parametrize("queue", ["full", "ablation", "statistics", "wide"])
def test_every_variant_of_a_queue_has_words(queue):
    variants = {job.run.rpartition("-")[0] for job in jobs.read(paths.EVIDENCE / f"{queue}.queue")}
    assert variants <= claims.WORDS.keys() and claims.CLAIMS.keys() < claims.WORDS.keys()
    assert variants - claims.CLAIMS.keys() <= set(evidence.BASELINES)
