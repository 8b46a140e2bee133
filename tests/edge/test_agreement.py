"""Two sets of answers are compared as one would by hand."""

import numpy as np
import pytest

from cifar_lib.edge.agreement import compare

LABELS = np.array([0, 1, 2, 0])
OWN = np.log([[0.9, 0.05, 0.05], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1]])  # right, wrong, right, right


def changed(**rows) -> np.ndarray:
    """OWN with other probabilities for some images, by `imageN`."""
    other = OWN.copy()
    for name, row in rows.items():
        other[int(name.removeprefix("image"))] = np.log(row)
    return other


def test_the_same_answers():
    found = compare(LABELS, OWN, OWN)
    assert (found["accuracy"], found["fixed"], found["broke"], found["agreement"]) == (0.75, 0, 0, 1)
    assert (found["p"], found["rms"], found["changed"]) == (1, 0, [])


def test_one_fixed_and_one_broken_cancel():
    found = compare(LABELS, OWN, changed(image1=[0.4, 0.5, 0.1], image3=[0.3, 0.6, 0.1]))
    assert (found["accuracy"], found["fixed"], found["broke"], found["p"]) == (0.75, 1, 1, 1)
    first, second = found["changed"]
    assert first == {"image": 1, "label": 1, "before": 0, "after": 1, "margin": pytest.approx(0.1)}
    assert (second["image"], second["margin"]) == (3, pytest.approx(0.3))


def test_p_is_mcnemars():
    """Five broken and none fixed: two tails of a fair coin thrown five times."""
    labels, own = np.zeros(5, int), np.tile([1.0, 0.0], (5, 1))
    found = compare(labels, own, own[:, ::-1])
    assert found["p"] == pytest.approx(2 / 32) and found["broke"] == 5


def test_a_wrong_answer_changed_into_another_wrong_one_is_neither_fixed_nor_broken():
    found = compare(LABELS, OWN, changed(image1=[0.2, 0.2, 0.6]))
    assert (found["fixed"], found["broke"], len(found["changed"])) == (0, 0, 1)
