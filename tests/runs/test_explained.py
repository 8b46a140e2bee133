"""What explains a run: read back as it was written, or refused."""

from dataclasses import asdict

import numpy as np
import pytest

from cifar_lib.runs.explained import Explanations

WHOLE = {"places": np.array([[1.5, 2], [3, 4]]), "index": np.array([7, 2]), "heat": np.full((2, 2, 8, 8), 9, np.uint8)}
WHOLE |= {"nearest": np.arange(6).reshape(2, 3), "nearest_labels": np.full((2, 3), 4)}
NONE = {"index": np.zeros(0, int), "heat": np.zeros((0, 2, 8, 8), int), "nearest": np.zeros((0, 3), int)}
NONE |= {"nearest_labels": np.zeros((0, 3), int)}


@pytest.mark.parametrize("arrays", [WHOLE, WHOLE | NONE])
def test_read_back_as_written(arrays):
    again = asdict(Explanations.from_bytes(Explanations(**arrays).to_bytes()))
    assert again.keys() == arrays.keys() and all(np.array_equal(again[name], arrays[name]) for name in arrays)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"places": np.zeros((2, 3))}, "expected places"),
        ({"index": np.zeros(3, int)}, "expected places"),
        ({"heat": np.zeros((2, 8, 8), np.uint8)}, "expected places"),
        ({"nearest": np.zeros((3, 3), int)}, "expected nearest"),
        ({"nearest_labels": np.zeros((2, 2), int)}, "expected nearest"),
        ({"places": np.full((2, 2), np.nan)}, "expected finite places"),
        ({"index": np.array([0.0, 1])}, "expected whole numbers"),
        ({"heat": np.full((2, 2, 8, 8), 10)}, "heat from 0 to 9"),
        ({"nearest_labels": np.full((2, 3), 10)}, "classes 0 to 9"),
        ({"nearest": np.full((2, 3), -1)}, "no negative index"),
        ({"index": np.array([-1, 0])}, "no negative index"),
    ],
)
def test_what_does_not_fit_together_is_refused(wrong, expected):
    with pytest.raises(ValueError, match=expected):
        Explanations(**WHOLE | wrong)
