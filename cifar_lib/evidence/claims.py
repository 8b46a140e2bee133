"""What reports such as this one claim, and what a study says of each claim. No torch."""

import pandas as pd

from cifar_lib.evidence.numerals import with_spread

WORDS = {
    "base": "the baseline",
    "se-none": "without SE",
    "se-stem": "SE at the stem alone",
    "no-lookahead": "without Lookahead",
    "drop-0": "without dropout",
    "drop-branch": "with dropout 0.2 between a block's convolutions",
    "drop-output": "with dropout 0.2 at a block's end",
    "padding-black": "crops padded with black",
    "padding-mean": "crops padded with the mean colour",
    "float32": "in float32",
    "constant-rate": "constant learning rate",
    "no-augmentation": "without augmentation",
    "strong": "the strong recipe",
    "recipe": "the recipe",
    "fast": "the short preset",
    "fast-30": "the short preset, 30 epochs",
    "fast-100": "the short preset, 100 epochs",
    "half-decay": "with half the weight decay",
    "cutout-smoothing": "with Cutout 8 and label smoothing 0.1",
    "peer": "the peer's recipe",
    "resnet18": "ResNet-18",
    "mixup": "with mixup 0.2",
    "plain": "the plain loop",
    "plain-no-augmentation": "the plain loop, without augmentation",
    "plain-fast": "the plain loop, with the short preset",
}
# Variant of a study -> the claim it tests, and what must be found of it against the baseline for the claim to hold. Two
# name the one rate they are tested at: Lookahead halves the step too (alpha 0.5), and each method may have a best rate.
CLAIMS = {
    "se-none": ("Squeeze-and-excitation in every block raises accuracy", "lower"),
    "se-stem": ("Squeeze-and-excitation does more in every block than once at the stem", "lower"),
    "no-lookahead": ("Lookahead raises accuracy at lr 0.1", "lower"),
    "drop-0": ("Dropout 0.2 raises accuracy", "lower"),
    "drop-branch": ("Dropout 0.2 between a block's convolutions raises accuracy", "higher"),
    "drop-output": ("Dropout 0.2 at a block's end raises accuracy", "higher"),
    "constant-rate": ("Cosine annealing beats a constant rate of 0.1", "lower"),
    "no-augmentation": ("Crop and flip raise accuracy", "lower"),
    "padding-black": ("Crops padded by reflection beat crops padded with black", "lower"),
    "padding-mean": ("Crops padded by reflection beat crops padded with the mean colour", "lower"),
    "float32": ("bfloat16 costs accuracy", "higher"),
    "mixup": ("Mixup 0.2 raises accuracy", "higher"),
    "strong": ("The strong recipe raises accuracy", "higher"),
    "half-decay": ("A weight decay of 0.0005 beats the short preset's 0.001", "higher"),
    "cutout-smoothing": ("Cutout 8 and label smoothing 0.1 raise accuracy", "higher"),
    "fast": ("The short preset beats the recipe in a short training", "higher"),
    "fast-30": ("300 epochs of the recipe beat 30 of the short preset", "lower"),
    "fast-100": ("300 epochs of the recipe beat 100 of the short preset", "lower"),
    "peer": ("The recipe beats its peer's: SE at the stem, no dropout, clipped gradients", "lower"),
    "resnet18": ("A ResNet-18 of 11.2 million parameters is more accurate", "higher"),
}


def lines(results: pd.DataFrame, differences: pd.DataFrame) -> list[str]:
    """Markdown rows of a study's `results`, the best first: variant, runs (of how many planned, if not all) and seeds,
    epochs, images, parameters, accuracy with its deviation, the difference from the baseline and Holm's p where
    `differences` has the variant, weights."""
    return [_line(row, differences) for row in results.sort_values("mean", ascending=False).itertuples()]


def _line(row, differences: pd.DataFrame) -> str:
    runs = f"{row.runs} of {row.planned}" if row.planned not in (0, row.runs) else row.runs
    counts = f"{runs} ({row.seeds}) | {row.epochs} | {row.train_images:,} | {row.parameters:,}"
    found = differences.loc[row.Index] if row.Index in differences.index else None
    apart = "– | –" if found is None else f"{_points(found)} | {_p(found.p_holm)}"
    return (
        f"| {WORDS.get(row.Index, row.Index)} | {counts} | {with_spread(row.mean, row.std)} | {apart} | {row.weights} |"
    )


def _points(row: pd.Series) -> str:
    ends = f"{row.low:+.2f} to {row.high:+.2f}" if row.low == row.low else "no interval"
    return f"{row['mean']:+.2f} ({ends})"


def _p(value: float) -> str:
    return "–" if value != value else "<0.001" if value < 0.001 else f"{value:.3f}"


def judged(differences: pd.DataFrame) -> pd.DataFrame:
    """One row per claim that the variants of `Study.differences` test: claim, variant, baseline, as text the difference
    in points with its unadjusted 95% interval and Holm's p; verdict "holds", "contradicted" or "inconclusive"."""
    rows = []
    differences = differences.loc[[variant for variant in CLAIMS if variant in differences.index]]
    for variant, row in differences.iterrows():
        claim, expected = CLAIMS[variant]
        verdict = {expected: "holds", "inconclusive": row.verdict}.get(row.verdict, "contradicted")
        rows.append((claim, WORDS[variant], WORDS[row.baseline], _points(row), _p(row.p_holm), verdict))
    columns = ["claim", "tested by", "against", "difference, points", "Holm's p", "verdict"]
    return pd.DataFrame(rows, index=differences.index, columns=columns)
