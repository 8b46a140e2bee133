"""What the tests of training share."""

import dataclasses

import pytest

from cifar_lib.data import Dataset


@pytest.fixture(scope="session")
def small(digits) -> Dataset:
    """100 training, 20 validation, 60 test images: 4 batches of 32 per epoch, not divisible by lookahead_k."""
    return dataclasses.replace(digits, train=digits.train[:100], valid=digits.valid[:20], test=digits.test[:60])
