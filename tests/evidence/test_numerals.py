"""Numbers as they are printed: minus signs, dashes, and no interval that has no width."""

import math

import pytest

from cifar_lib.evidence.comparison import interval
from cifar_lib.evidence.numerals import minus, signed, with_margin, with_spread


@pytest.mark.parametrize(
    ("given", "printed"),
    [
        ("-0.10 (-0.66 to +0.87)", "−0.10 (−0.66 to +0.87)"),
        ("-5, -.5; -1e-3", "−5, −.5; −1e-3"),
        ("2026-11-23, width-16-0, 3-4, a-b, f(x)-1", "2026-11-23, width-16-0, 3-4, a-b, f(x)-1"),
    ],
)
def test_minus_is_for_negative_numbers_alone(given, printed):
    assert minus(given) == printed


def test_signed():
    assert [signed(0.1), signed(-1.5, 1), signed(math.nan)] == ["+0.10", "−1.5", "–"]


def test_an_interval_without_width_is_not_printed():
    assert with_margin(0.1, -0.66, 0.86) == "+0.10 ± 0.76"
    assert with_margin(1.0, 1.0, 1.0, 1) == "+1.0" == with_margin(1.0, *interval([1.0] * 4), 1)


def test_one_run_has_no_spread():
    assert [with_spread(90.015, 0.304), with_spread(90.7, math.nan), with_spread(90.0, 0.0)] == [
        "90.02 ± 0.30",
        "90.70",
        "90.00",
    ]
