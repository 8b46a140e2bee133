"""What each figure of a run shows of this run, in one sentence that is computed from what was drawn. No torch.

`history` is as of a run, the tables are those of `metrics`.
"""

import numpy as np

from cifar_lib.evidence import metrics
from cifar_lib.evidence.numerals import minus, signed

UNVALIDATED = "No validation split was cut, so that only training is to be seen"


def loss(history) -> str:
    """Where both losses end, and which way validation's last step went."""
    training, validation = history["train_loss"], history["valid_loss"].dropna()
    ends = f"Training loss ends at {training.iloc[-1]:.4f}"
    if validation.empty:
        return f"{ends}. {UNVALIDATED}."
    if len(validation) == 1:
        return f"{ends}, validation loss at {validation.iloc[0]:.4f}, which was measured in this epoch alone."
    before, last, lowest = validation.iloc[-2], validation.iloc[-1], validation.min()
    way = "still falls" if last < before else "rises" if last > before else "stands still"
    above = f", {last / lowest - 1:.1%} above its lowest value" if last > lowest else ", its lowest value"
    return f"{ends}; validation loss {way} in the last epoch, {before:.4f} → {last:.4f}{above}."


def accuracy(history) -> str:
    """The gap between training and validation at the end, and how long ago validation was best."""
    end = metrics.convergence(history)
    kept = f"epoch {end['best_epoch']} of {end['epochs']}"
    if np.isnan(end["gap"]):
        return f"{UNVALIDATED}: {end['last_accuracy']:.2%} at the end, best in {kept}."
    gap = minus(f"{100 * end['gap']:.1f}")
    return f"Validation accuracy is best in {kept}, {end['best_accuracy']:.2%}; at the end the gap is {gap} points."


def class_accuracy_by_epoch(epochs: np.ndarray, counts: np.ndarray, names) -> str:
    """From which epoch on each class was right in half its images or more; `counts` (E, C, C) after `epochs` (E,)."""
    low = metrics.normalised(counts).diagonal(axis1=1, axis2=2) < 0.5
    since = {name: _since(epochs, column) for name, column in zip(names, low.T, strict=True)}
    never = [name for name, epoch in since.items() if epoch is None]
    known = {name: epoch for name, epoch in since.items() if epoch is not None}
    parts = [f"{_listed([n for n in known if known[n] == e])} from epoch {e}" for e in sorted({*known.values()})]
    end = [f"{_listed(never)} not yet"] if never else []
    return f"Right in at least half of its images, for good: {'; '.join(parts + end)}."


def _since(epochs: np.ndarray, low: np.ndarray) -> int | None:
    """The epoch after the last that was `low`; None where that was the last of all."""
    after = np.flatnonzero(low)[-1] + 1 if low.any() else 0
    return int(epochs[after]) if after < len(epochs) else None


def learning_rate(history) -> str:
    """How much of the schedule this run has seen."""
    last, peak = history["lr"].iloc[-1], history["lr"].max()
    highest = f"{last / peak:.1%} of {peak:.3g}, the highest rate that an epoch began at"
    return f"The last epoch begins at {last:.3g}, {highest}: {_ended(history)}."


def rest(history) -> str:
    """What may be said of convergence after one run: whether its schedule has ended, and what accuracy did then."""
    end = metrics.convergence(history)
    if np.isnan(end["change"]):
        unknown = f"how {end['split']} accuracy moved at the end was not measured"
        return f"{_ended(history)}; {unknown}: {end['verdict']}"
    change = f"{end['split']} accuracy changed by {signed(100 * end['change'], 1)} points over the last tenth"
    return f"{_ended(history)}; {change}: {end['verdict']}"


def overfitting(history) -> str:
    """By how much validation loss has turned up at the end, if that can be known."""
    losses = history["valid_loss"].dropna()
    if len(losses) < 2:
        why = "validation was measured after one epoch alone" if len(losses) else "no validation split was cut"
        return f"unknown, since {why}"
    return f"validation loss ends {losses.iloc[-1] / losses.min() - 1:.1%} above its lowest value"


def gap(history, tested: float) -> str:
    """Training less validation accuracy at the end; where there is none, less the test accuracy `tested` (0 to 1)."""
    other, apart = "validation", metrics.convergence(history)["gap"]
    if np.isnan(apart):
        other, apart = "test", history["train_accuracy"].iloc[-1] - tested
    said = f"training less {other} accuracy is **{signed(100 * apart, 1)} points** at the end"
    doubt = ", much for a short training: compare it with the plain loop (`python -m cifar_lib parity`)"
    return said + (doubt if apart > metrics.WIDE_GAP else "")


def confusion(matrix: np.ndarray, names) -> str:
    """The class found least often, and what it is taken for."""
    rights, images = matrix.diagonal(), matrix.sum(1)
    worst = min(np.flatnonzero(images), key=lambda i: rights[i] / images[i])
    found = f"{names[worst]} is found least often, {rights[worst] / images[worst]:.1%} of {images[worst]:,} images"
    errors = matrix[worst] * (np.arange(len(matrix)) != worst)
    taken = f", and most often taken for {names[errors.argmax()]}, {errors.max():,} times" if errors.any() else ""
    return f"{_begun(found)}{taken}; in all {images.sum() - rights.sum():,} of {images.sum():,} are wrong."


def class_accuracy(table) -> str:
    """Which classes' intervals lie wholly below the accuracy of all images."""
    mean = table["right"].sum() / table["images"].sum()
    below = list(table["class"][(table["high"] < mean) & (table["images"] > 0)])
    if not below:
        return f"No class lies below the {mean:.1%} of all images by more than its interval."
    verb = "lies" if len(below) == 1 else "lie"
    return f"{_begun(_listed(below))} {verb} below the {mean:.1%} of all images by more than the interval."


def mistakes(confidence: np.ndarray, right: np.ndarray) -> str:
    """How many wrong answers were given with at least 90% confidence."""
    wrong = int((~right).sum())
    sure = int((~right & (confidence >= 0.9)).sum())
    if not wrong:
        return "There is no mistake."
    return f"{sure:,} of the {wrong:,} mistakes ({sure / wrong:.0%}) were made with at least 90% confidence."


def reliability(confidence: np.ndarray, right: np.ndarray) -> str:
    """Whether it is surer than right on the whole, and by how much."""
    ahead = 100 * (confidence.mean() - right.mean())
    error = metrics.ece(confidence, right)
    said = "surer than right" if ahead > 0 else "less sure than right"
    means = f"{confidence.mean():.1%} sure on average, {right.mean():.1%} right"
    return f"On the whole it is {said}, by {abs(ahead):.1f} points ({means}); ECE {error:.2%}."


def _ended(history) -> str:
    rates = history["lr"]
    if len(rates) < 4:
        return "too few epochs to see the schedule end"
    low = max(metrics.ENDED, 2 / len(rates))  # a linear schedule begins its last epoch with about one part of these
    return "the schedule has ended" if rates.iloc[-1] < low * rates.max() else "the rate has not come down"


def _begun(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def embedding(xy: np.ndarray, labels: np.ndarray, right: np.ndarray) -> str:
    """How often an image's nearest neighbour in the map xy (N, 2) has its class, of right answers and of mistakes."""
    labels, right = labels[: len(xy)], right[: len(xy)]
    far = np.square(xy[:, None] - xy[None]).sum(2).astype(float)
    np.fill_diagonal(far, np.inf)
    same = labels[far.argmin(1)] == labels
    shares = [
        f"{same[of].mean():.0%} of the {of.sum():,} {what}"
        for of, what in ((right, "right ones"), (~right, "mistakes"))
        if of.any()
    ]
    return f"The nearest neighbour on the map has the same true class for {' and for '.join(shares)}."
