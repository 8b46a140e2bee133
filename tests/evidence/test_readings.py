"""Sentences about a run: each says what its numbers are, whatever they are, and claims no convergence."""

import numpy as np
import pandas as pd
import pytest

from cifar_lib.evidence import metrics, readings


def history(losses, accuracies, lr=None, training=0.9):
    """Validation as given, one value an epoch."""
    n = len(losses)
    columns = {"epoch": range(1, n + 1), "train_loss": np.linspace(2, 1, n), "train_accuracy": [training] * n}
    rates = {"lr": np.linspace(0.1, 0.001, n) if lr is None else lr}
    return pd.DataFrame(columns | {"valid_loss": losses, "valid_accuracy": accuracies} | rates)


NONE = [np.nan] * 4


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([3, 2, 1.5, 1], "still falls in the last epoch, 1.5000 → 1.0000, its lowest value."),
        ([3, 2, 1, 1.5], "rises in the last epoch, 1.0000 → 1.5000, 50.0% above its lowest value."),
        ([3, 2, 1, 1], "stands still in the last epoch, 1.0000 → 1.0000, its lowest value."),
        ([np.nan, np.nan, np.nan, 1], "validation loss at 1.0000, which was measured in this epoch alone."),
        (NONE, "No validation split was cut, so that only training is to be seen."),
    ],
)
def test_loss(losses, said):
    sentence = readings.loss(history(losses, losses))
    assert sentence.startswith("Training loss ends at 1.0000") and sentence.endswith(said)


def test_accuracy_has_the_gap_with_its_sign():
    assert readings.accuracy(history([1] * 4, [0.5, 0.8, 0.85, 0.84])) == (
        "Validation accuracy is best in epoch 3 of 4, 85.00%; at the end the gap is 6.0 points."
    )
    assert "the gap is −5.0 points" in readings.accuracy(history([1] * 4, [0.5, 0.8, 0.85, 0.95]))
    assert "90.00% at the end" in readings.accuracy(history(NONE, NONE))


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        (0.1 * np.cos(np.linspace(0, np.pi / 2, 16))[:-1], "the schedule has ended"),
        (0.1 * np.linspace(1, 0, 16)[:-1], "the schedule has ended"),
        ([0.1] * 15, "the rate has not come down"),
        ([0.1] * 3, "too few epochs"),
    ],
    ids=["cosine", "linear", "constant", "short"],
)
def test_what_comes_to_rest_is_a_schedule(rates, said):
    table = history([1] * len(rates), [0.9] * len(rates), rates)
    assert said in readings.learning_rate(table) and said in readings.rest(table)
    assert "converge" not in readings.rest(table) and ("settled" in readings.rest(table)) == (len(rates) > 3)


def test_rest_says_what_was_not_measured():
    table = history([1] * 15, [np.nan] * 14 + [0.9])
    assert "how validation accuracy moved at the end was not measured: too short to say" in readings.rest(table)


def test_a_wide_gap_asks_for_the_plain_loop():
    wide, narrow = ([0.5, 0.8, 0.85, end] for end in (0.84, 0.89))
    assert readings.gap(history(NONE, wide), 0.1).startswith("training less validation accuracy is **+6.0 points**")
    assert "parity" in readings.gap(history(NONE, wide), 0.1) and "parity" not in readings.gap(
        history(NONE, narrow), 0.1
    )
    assert readings.gap(history(NONE, NONE), 0.95) == "training less test accuracy is **−5.0 points** at the end"


def test_overfitting_is_known_from_two_epochs_on():
    assert readings.overfitting(history([3, 2, 1, 1.5], NONE)) == "validation loss ends 50.0% above its lowest value"
    assert "after one epoch alone" in readings.overfitting(history([np.nan] * 3 + [1], NONE))
    assert "no validation split" in readings.overfitting(history(NONE, NONE))


def test_matrix_classes_mistakes_and_confidence():
    matrix = np.array([[9, 1, 0], [3, 5, 2], [0, 0, 10]])
    assert readings.confusion(matrix, ["cat", "dog", "ship"]) == (
        "Dog is found least often, 50.0% of 10 images, and most often taken for cat, 3 times; in all 6 of 30 are wrong."
    )
    labels, guesses = np.repeat([0, 1], 100), np.r_[np.zeros(150), np.ones(50)].astype(int)
    sentence = readings.class_accuracy(metrics.per_class(labels, guesses, ["cat", "dog"]))
    assert sentence == "Dog lies below the 75.0% of all images by more than the interval."
    sure, right = np.array([0.95, 0.95, 0.5, 0.9]), np.array([True, False, False, True])
    assert readings.mistakes(sure, right) == "1 of the 2 mistakes (50%) were made with at least 90% confidence."
    assert readings.reliability(sure, right).startswith("On the whole it is surer than right, by 32.5 points")
    assert "less sure" in readings.reliability(sure, np.ones(4, bool))


def test_since_when_each_class_is_right_more_often_than_not():
    """For good: what falls below one half again counts from when it came back."""
    rights = np.array([[9, 9, 1], [4, 9, 1], [5, 9, 4]])
    counts = np.stack([np.diag(row) + np.roll(np.diag(10 - row), 1, 1) for row in rights])
    sentence = readings.class_accuracy_by_epoch(np.array([1, 2, 5]), counts, ["cat", "dog", "ship"])
    assert (
        sentence == "Right in at least half of its images, for good: dog from epoch 1; cat from epoch 5; ship not yet."
    )
    both = readings.class_accuracy_by_epoch(np.array([3]), counts[:1, :2, :2], ["cat", "dog"])
    assert both == "Right in at least half of its images, for good: cat and dog from epoch 3."


def test_neighbours_on_a_map():
    xy = np.array([[0, 0], [0, 1], [9, 9], [9, 8], [5, 0]])
    labels, right = np.array([0, 0, 1, 1, 1, 7]), np.array([True, True, True, True, False, False])
    sentence = readings.embedding(xy, labels, right)
    assert sentence == (
        "The nearest neighbour on the map has the same true class for 100% of the 4 right ones and for 0% of the 1 "
        "mistakes."
    )
    assert readings.embedding(xy[:4], labels, right).endswith("for 100% of the 4 right ones.")


def test_a_perfect_run_has_its_sentences_too():
    perfect, right = np.diag([5, 5]), np.ones(10, bool)
    assert readings.confusion(perfect, ["a", "b"]).endswith("in all 0 of 10 are wrong.")
    assert readings.mistakes(np.ones(10), right) == "There is no mistake."
    table = metrics.per_class(np.repeat([0, 1], 5), np.repeat([0, 1], 5), ["a", "b"])
    assert readings.class_accuracy(table).startswith("No class lies below")
