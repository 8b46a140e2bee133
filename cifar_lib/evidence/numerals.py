"""Numbers as they are printed: a minus sign is a minus sign, and a mean comes with half its interval. No torch."""

import re

HYPHEN = re.compile(r"(?<![\w.)-])-(?=\.?\d)")
NONE = "–"  # where there is no number


def minus(text: str) -> str:
    """`text` with minus signs in place of the hyphens before its negative numbers; those within words, ranges and dates
    stay."""
    return HYPHEN.sub("−", text)


def signed(value: float, digits: int = 2) -> str:
    """`+0.10`, `−1.50`; a dash for NaN."""
    return NONE if value != value else minus(f"{value:+.{digits}f}")


def with_margin(mean: float, low: float, high: float, digits: int = 2) -> str:
    """`+0.10 ± 0.76`: a mean and half the width of its symmetric interval; the mean alone where there is no interval,
    or where it has no width, as where all values are the same."""
    half = (high - low) / 2
    return signed(mean, digits) + (f" ± {half:.{digits}f}" if half > 0 else "")


def with_spread(mean: float, std: float) -> str:
    """`90.02 ± 0.30`: a mean and the standard deviation of its runs; the mean alone for one run, or where all agree."""
    return f"{mean:.2f}" + (f" ± {std:.2f}" if std > 0 else "")
