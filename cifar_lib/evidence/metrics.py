"""What a classifier gets wrong, and whether it knows: arrays in, numbers and tables out. No torch.

Throughout, `labels` and `predicted` are (N,) class numbers from 0, shares and accuracies are 0 to 1.
"""

from statistics import NormalDist

import numpy as np
import pandas as pd

WIDE_GAP = 0.03  # of accuracy: training under augmentation above validation by more than this needs an explanation
SETTLED = 0.005  # of accuracy: a curve that moved less over the last tenth of its epochs counts as settled
ENDED = 0.05  # of the highest learning rate: a schedule whose last epoch begins below it has ended


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The share that is right. Raises `ValueError` where the two differ in length or are empty."""
    labels, predicted = _pair(labels, predicted)
    return float((labels == predicted).mean())


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int = 10) -> np.ndarray:
    """(classes, classes) counts: row the true class, column the predicted one.

    Raises `ValueError` for a class number outside 0 to classes - 1.
    """
    labels, predicted = _pair(labels, predicted)
    for name, values in (("labels", labels), ("predicted", predicted)):
        if values.min() < 0 or values.max() >= classes:
            raise ValueError(f"{name}: got {values.min()} to {values.max()}, expected class numbers 0 to {classes - 1}")
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def margins(probabilities: np.ndarray) -> np.ndarray:
    """(N,) by how much the largest of each row of (N, classes) lies above the next: near 0 where undecided."""
    return np.diff(np.sort(probabilities, axis=1)[:, -2:])[:, 0]


def normalised(matrix: np.ndarray) -> np.ndarray:
    """Each row, along the last axis, divided by its sum; that of a class without images stays 0."""
    return matrix / np.maximum(matrix.sum(-1, keepdims=True), 1)


def wilson(successes, n, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end of Wilson's interval (1927) for a share seen as `successes` of `n`, numbers or arrays; 0 and 1
    where `n` is 0."""
    k, n = np.asarray(successes, float), np.asarray(n, float)
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    with np.errstate(invalid="ignore"):
        root = np.sqrt(z2 * (k * (n - k) / n + z2 / 4))
    low, high = (k + z2 / 2 - root) / (n + z2), (k + z2 / 2 + root) / (n + z2)
    return np.where(k == 0, 0.0, low), np.where(k == n, 1.0, high)


def per_class(labels: np.ndarray, predicted: np.ndarray, names):
    """A DataFrame, one row per class: class, images, right, accuracy, low, high (Wilson, 95%)."""
    matrix = confusion(labels, predicted, len(names))
    images, right = matrix.sum(1), matrix.diagonal()
    low, high = wilson(right, images)
    columns = {"class": list(names), "images": images, "right": right}
    share = np.where(images > 0, right / np.maximum(images, 1), np.nan)
    return pd.DataFrame(columns | {"accuracy": share, "low": low, "high": high})


def worst_pairs(matrix: np.ndarray, names, n: int = 10):
    """A DataFrame of the n most frequent mistakes, ties in the order of the classes: true, predicted, count, share of
    the true class's images."""
    errors = matrix * (1 - np.eye(len(matrix), dtype=int))
    order = np.argsort(-errors.ravel(), kind="stable")[:n]
    true, guess = np.divmod(order[errors.ravel()[order] > 0], len(matrix))
    columns = {"true": [names[i] for i in true], "predicted": [names[i] for i in guess]}
    return pd.DataFrame(columns | {"count": errors[true, guess], "share": normalised(matrix)[true, guess]})


def report(labels: np.ndarray, predicted: np.ndarray, names):
    """scikit-learn's classification report as a DataFrame: precision, recall, f1-score and support."""
    from sklearn.metrics import classification_report

    labels, predicted = _pair(labels, predicted)
    settings = {"labels": range(len(names)), "target_names": list(map(str, names)), "zero_division": 0}
    table = pd.DataFrame(classification_report(labels, predicted, output_dict=True, **settings)).T
    table.loc["accuracy", "support"] = len(labels)
    return table.astype({"support": int})


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = 15):
    """Accuracy by confidence, in equal bins of it: a DataFrame of low, high, count, confidence, accuracy (or NaN).

    `confidence` (N,) is the probability of the predicted class, `right` (N,) whether it is the true one. A bin takes
    low < confidence <= high.
    """
    edges = np.linspace(0, 1, bins + 1)
    where = np.searchsorted(edges[1:-1], confidence, side="left")
    seen = {"confidence": confidence, "accuracy": right}
    means = pd.DataFrame(seen, dtype=float).groupby(where).mean().reindex(range(bins))
    count = np.bincount(where, minlength=bins)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "count": count}).join(means)


def ece(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error, 0 to 1: the bins' |accuracy - confidence|, weighted by their images (Guo et al. 2017,
    arXiv 1706.04599, eq. 3)."""
    table = calibration(confidence, right, bins)
    gaps = (table["accuracy"] - table["confidence"]).abs().fillna(0)
    return float((gaps * table["count"]).sum() / table["count"].sum())


def most_confident_mistakes(confidence: np.ndarray, right: np.ndarray, n: int) -> np.ndarray:
    """Up to n indices of wrong images, the surest first, ties by index."""
    wrong = np.flatnonzero(~right)
    return wrong[np.argsort(-confidence[wrong], kind="stable")][:n]


def convergence(history) -> dict:
    """Where a training (`history` as of a run) stood at its end: by validation, or without it by training (`split`).

    `change` is that of accuracy over the last tenth of the epochs (NaN below four), `gap` training less validation
    accuracy (NaN without validation), `verdict` a few words.
    """
    split = "valid" if history["valid_accuracy"].notna().any() else "train"
    accuracies, losses = history[f"{split}_accuracy"], history[f"{split}_loss"]
    epochs, best, last = len(history), accuracies.idxmax(), accuracies.iloc[-1]
    change = last - accuracies.iloc[-1 - max(1, epochs // 10)] if epochs >= 4 else np.nan
    return {
        "split": {"valid": "validation", "train": "training"}[split],
        "epochs": epochs,
        "best_epoch": int(history["epoch"][best]),
        "best_accuracy": float(accuracies[best]),
        "last_accuracy": float(last),
        "change": float(change),
        "lowest_loss": float(losses.min()),
        "last_loss": float(losses.iloc[-1]),
        "gap": float(history["train_accuracy"].iloc[-1] - history["valid_accuracy"].iloc[-1]),
        "verdict": _verdict(change),
    }


def _verdict(change: float) -> str:
    if np.isnan(change):
        return "too short to say"
    if abs(change) < SETTLED:
        return "settled"
    return "still rising" if change > 0 else "falling"


def _pair(labels, predicted) -> tuple[np.ndarray, np.ndarray]:
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.shape != predicted.shape or labels.ndim != 1 or len(labels) == 0:
        shapes = f"labels {labels.shape} and predicted {predicted.shape}"
        raise ValueError(f"{shapes}: expected two of equal length, not empty")
    return labels, predicted
