"""Laws of the metrics: closed forms, and what scikit-learn says of the same arrays."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from cifar_lib.evidence import metrics

NAMES = list("abcdefghij")


def judged(probabilities, labels) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and rightness of a classifier that says the likeliest class."""
    return probabilities.max(1), probabilities.argmax(1) == np.asarray(labels)


@pytest.fixture(scope="module")
def answers():
    """600 images: labels, predicted, probabilities."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 600)
    logits = rng.normal(0, 1, (600, 10))
    logits[np.arange(600), labels] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return labels, probabilities.argmax(1), probabilities


def test_confusion_counts_and_equals_sklearn(answers):
    labels, predicted, _ = answers
    matrix = metrics.confusion(labels, predicted)
    assert matrix.dtype.kind == "i" and matrix.shape == (10, 10)
    assert (matrix.sum(1) == np.bincount(labels, minlength=10)).all()
    assert (matrix.sum(0) == np.bincount(predicted, minlength=10)).all()
    assert (matrix == confusion_matrix(labels, predicted)).all()
    assert metrics.accuracy(labels, predicted) == accuracy_score(labels, predicted) == matrix.trace() / 600
    shares = confusion_matrix(labels, predicted, normalize="true")
    np.testing.assert_allclose(metrics.normalised(matrix), shares)


def test_confusion_knows_rows_from_columns_and_empty_classes():
    matrix = metrics.confusion([0, 0, 1], [1, 1, 1], classes=3)
    assert matrix.tolist() == [[0, 2, 0], [0, 1, 0], [0, 0, 0]]
    assert metrics.normalised(matrix).tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([0, 1], [0], "equal length"),
        ([], [], "not empty"),
        ([0], [10], "predicted: got 10"),
        ([-1], [0], "labels: got"),
    ],
)
def test_wrong_input_is_refused_in_one_line(labels, predicted, message):
    with pytest.raises(ValueError, match=message) as refusal:
        metrics.confusion(labels, predicted)
    assert "\n" not in str(refusal.value)


def test_margins_are_between_the_two_largest():
    rows = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [1, 0, 0]])
    assert metrics.margins(rows) == pytest.approx([0.2, 0, 1])


def test_wilson_has_its_published_values_and_stays_within_0_and_1():
    low, high = metrics.wilson(81, 263)  # Newcombe 1998, table I
    assert (round(float(low), 4), round(float(high), 4)) == (0.2553, 0.3662)
    low, high = metrics.wilson(np.array([0, 20, 0]), np.array([20, 20, 0]))
    z2 = 1.959963984540054**2
    np.testing.assert_allclose(low, [0, 20 / (20 + z2), 0])
    np.testing.assert_allclose(high, [z2 / (20 + z2), 1, 1])
    assert low[0] == 0 and high[1] == 1


def test_wilson_solves_its_equation_and_holds_the_share():
    n = np.arange(1, 60)
    for right in (0 * n, n, n // 3):
        low, high = metrics.wilson(right, n)
        share = right / n
        assert (low <= share).all() and (share <= high).all()
        for end in (low, high):
            np.testing.assert_allclose((share - end) ** 2, 1.959963984540054**2 * end * (1 - end) / n, atol=1e-12)


def test_per_class_adds_up(answers):
    labels, predicted, _ = answers
    table = metrics.per_class(labels, predicted, NAMES)
    assert list(table.columns) == ["class", "images", "right", "accuracy", "low", "high"]
    assert table["images"].sum() == 600 and table["right"].sum() == (labels == predicted).sum()
    recall = precision_recall_fscore_support(labels, predicted)[1]
    np.testing.assert_allclose(table["accuracy"], recall)
    assert np.isnan(metrics.per_class([0], [0], NAMES)["accuracy"][1])


def test_worst_pairs_are_sorted_and_leave_out_what_is_right_or_never_happened():
    matrix = np.array([[50, 3, 0], [7, 10, 3], [0, 0, 5]])
    table = metrics.worst_pairs(matrix, ["x", "y", "z"])
    assert table.values.tolist() == [["y", "x", 7, 7 / 20], ["x", "y", 3, 3 / 53], ["y", "z", 3, 3 / 20]]
    assert len(metrics.worst_pairs(matrix, ["x", "y", "z"], n=1)) == 1
    assert len(metrics.worst_pairs(np.eye(3, dtype=int), ["x", "y", "z"])) == 0


def test_report_equals_sklearn(answers):
    labels, predicted, _ = answers
    table = metrics.report(labels, predicted, NAMES)
    for average, row in (("micro", "accuracy"), ("macro", "macro avg"), ("weighted", "weighted avg")):
        expected = precision_recall_fscore_support(labels, predicted, average=average)[:3]
        np.testing.assert_allclose(table.loc[row, ["precision", "recall", "f1-score"]].astype(float), expected)
    assert table["support"].tolist()[-3:] == [600] * 3 and table["support"][:10].sum() == 600
    assert list(metrics.report([0, 0], [0, 1], NAMES).index[:10]) == NAMES


def test_calibration_puts_an_edge_into_the_bin_below():
    probabilities = np.array([[0.75, 0.25], [0.5, 0.5], [0.8, 0.2], [1.0, 0.0]])
    table = metrics.calibration(*judged(probabilities, [0, 0, 1, 0]), bins=4)
    assert table["count"].tolist() == [0, 1, 1, 2]
    assert table["accuracy"].tolist()[1:] == [1, 1, 0.5] and np.isnan(table["accuracy"][0])
    np.testing.assert_allclose(table["confidence"][1:], [0.5, 0.75, 0.9])
    assert metrics.ece(*judged(probabilities, [0, 0, 1, 0]), bins=4) == pytest.approx((0.5 + 0.25 + 2 * 0.4) / 4)


def test_calibration_equals_sklearn(answers):
    labels, predicted, probabilities = answers
    table = metrics.calibration(*judged(probabilities, labels))
    used = table[table["count"] > 0]
    right, confidence = calibration_curve(labels == predicted, probabilities.max(1), n_bins=15)
    np.testing.assert_allclose(used["accuracy"], right)
    np.testing.assert_allclose(used["confidence"], confidence)
    assert table["count"].sum() == 600


def test_ece_in_closed_form():
    sure = np.tile([1.0, 0.0], (8, 1))
    assert metrics.ece(*judged(sure, np.zeros(8, int))) == 0
    assert metrics.ece(*judged(sure, np.ones(8, int))) == 1
    half = np.tile([0.7, 0.3], (10, 1))
    assert metrics.ece(*judged(half, np.array([0] * 7 + [1] * 3))) == pytest.approx(0)
    assert metrics.ece(*judged(half, np.array([0] * 5 + [1] * 5))) == pytest.approx(0.2)


def test_most_confident_mistakes_are_mistakes_surest_first_ties_by_index(answers):
    labels, predicted, probabilities = answers
    chosen = metrics.most_confident_mistakes(
        probabilities[np.arange(len(labels)), predicted], labels == predicted, n=12
    )
    assert len(chosen) == 12 and (labels[chosen] != predicted[chosen]).all()
    surest = np.sort(probabilities.max(1)[labels != predicted])[::-1][:12]
    np.testing.assert_array_equal(probabilities.max(1)[chosen], surest)
    tied = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.95, 0.05]])
    found = metrics.most_confident_mistakes(*judged(tied, [1, 1, 0, 0]), n=25)
    assert found.tolist() == [0, 1, 2]
    assert len(metrics.most_confident_mistakes(*judged(tied, tied.argmax(1)), n=25)) == 0


def history(accuracies, valid=True):
    n = len(accuracies)
    columns = {"epoch": range(1, n + 1), "train_loss": np.linspace(2, 1, n), "train_accuracy": accuracies}
    empty = [np.nan] * n
    columns |= {"valid_loss": np.linspace(2, 1.5, n) if valid else empty}
    return pd.DataFrame(columns | {"valid_accuracy": np.array(accuracies) - 0.1 if valid else empty})


def test_convergence_reads_validation_where_there_is_one():
    found = metrics.convergence(history([0.5, 0.7, 0.9, 0.8, 0.8]))
    assert (found["split"], found["best_epoch"], found["epochs"]) == ("validation", 3, 5)
    assert found["best_accuracy"] == pytest.approx(0.8) and found["gap"] == pytest.approx(0.1)
    assert found["lowest_loss"] == found["last_loss"] == 1.5 and found["verdict"] == "settled"
    found = metrics.convergence(history([0.5, 0.7, 0.8, 0.9], valid=False))
    assert (found["split"], found["best_epoch"], found["verdict"]) == ("training", 4, "still rising")
    assert np.isnan(found["gap"])
    assert metrics.convergence(history([0.5]))["verdict"] == "too short to say"
    assert metrics.convergence(history([0.5, 0.7, 0.8, 0.6]))["verdict"] == "falling"
