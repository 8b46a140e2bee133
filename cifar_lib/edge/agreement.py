"""What an exported form answers beside the run's own predictions: counts, an exact test, calibration. Arrays alone."""

import numpy as np
from scipy import stats

from cifar_lib.evidence import metrics
from cifar_lib.runs.predictions import softmax


def compare(labels: np.ndarray, own: np.ndarray, other: np.ndarray) -> dict:
    """Of two sets of logits (N, 10) for the same images: accuracy of the second, 0 to 1; how many images it `fixed` and
    `broke`, and McNemar's exact p for that; the share of images with the same answer; root mean square of the logits'
    difference; its calibration error; and the images whose answer changed."""
    before, after = own.argmax(1), other.argmax(1)
    fixed = int(((before != labels) & (after == labels)).sum())
    broke = int(((before == labels) & (after != labels)).sum())
    return {
        "accuracy": float((after == labels).mean()),
        "fixed": fixed,
        "broke": broke,
        "p": float(stats.binomtest(fixed, fixed + broke).pvalue) if fixed + broke else 1.0,
        "agreement": float((before == after).mean()),
        "rms": float(np.sqrt(((own - other) ** 2).mean())),
        "ece": metrics.ece(softmax(other).max(1), after == labels),
        "changed": _changed(labels, own, before, after),
    }


def _changed(labels: np.ndarray, own: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[dict]:
    """Of each image whose answer changed: its index, true class, both answers, and by how much probability the first
    answer had been ahead of the next."""
    margins = metrics.margins(softmax(own))
    rows = np.flatnonzero(before != after)
    names = ("image", "label", "before", "after")
    whole = [dict(zip(names, map(int, (i, labels[i], before[i], after[i])), strict=True)) for i in rows]
    return [row | {"margin": float(margins[i])} for i, row in zip(rows, whole, strict=True)]
