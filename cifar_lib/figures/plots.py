"""One run as figures: arrays or DataFrames in, a `Picture` out; never a model.

`source` is the line under the title that says what the numbers were made from. What all share lives in `picture` and
is found here too.
"""

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from cifar_lib.evidence import metrics
from cifar_lib.figures.palette import BAND, BLUE, DEEP_BLUE, DEEP_ORANGE, GREEN, GREY, GRID, INK, ORANGE, PAPER, ramp
from cifar_lib.figures.picture import Picture, describe, frame, gallery, save, source, styled

__all__ = [
    "Picture", "accuracy", "class_accuracy", "confusion", "confusion_errors", "gallery",
    "gap", "learning_rate", "loss", "reliability", "save", "source",
]  # fmt: skip
SHORT = 30  # epochs: up to here each one gets a marker, without which a run of one would draw nothing


def _by_epoch(axes, history, column: str, factor: float = 1, **line) -> None:
    line = {"color": BLUE, "marker": "o"} | line | ({} if len(history) <= SHORT else {"marker": None})
    axes.plot(history["epoch"], history[column] * factor, **line)
    first, last = history["epoch"].iloc[[0, -1]]
    margin = max(0.5, 0.02 * (last - first))
    axes.set(xlabel="epoch", xlim=(first - margin, last + margin))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _both(history, name: str, factor: float, source: str, label: str) -> Picture:
    """Training and validation of `name` ("loss", "accuracy") by epoch."""
    validated = history[f"valid_{name}"].notna().any()
    note = "Training is measured while it learns: on augmented images, with any dropout, averaged over the epoch."
    note += "" if validated else " No validation split was cut (valid_size 0)."
    figure, axes = frame(f"{name.capitalize()} by epoch", source, note)
    lines = {"train": {"label": "training"}}
    lines |= {"valid": {"label": "validation", "color": ORANGE, "ls": "--", "marker": "s"}} if validated else {}
    for split, line in lines.items():
        _by_epoch(axes, history, f"{split}_{name}", factor, **line)
    axes.set_ylabel(label)
    axes.legend()
    ends = [f"{factor * history[f'{split}_{name}'].iloc[-1]:.3g} in {line['label']}" for split, line in lines.items()]
    return describe(figure, f"{label.capitalize()}: {', '.join(ends)} at the end.")


@styled
def loss(history, source: str = "") -> Picture:
    """Cross-entropy by epoch, training and validation; `history` as of a run."""
    return _both(history, "loss", 1, source, "cross-entropy (nats)")


@styled
def accuracy(history, best_epoch: int, source: str = "") -> Picture:
    """Accuracy by epoch, training and validation, with the epoch whose weights were kept."""
    figure = _both(history, "accuracy", 100, source, "accuracy (%)")
    split = "valid" if history["valid_accuracy"].notna().any() else "train"
    kept = history[f"{split}_accuracy"][history["epoch"] == best_epoch].iloc[0] * 100
    label = f"{'best' if split == 'valid' else 'kept: last'} epoch, {best_epoch}: {kept:.1f}%"
    figure.axes[0].plot([best_epoch], [kept], "o", ms=11, mfc="none", mec=GREEN, mew=2, ls="none", label=label)
    figure.axes[0].legend(loc="lower right")
    return describe(figure, f"{label.capitalize()}.")


@styled
def learning_rate(history, source: str = "") -> Picture:
    """The learning rate by epoch, as it was when the epoch began."""
    note = "The rate when the epoch began; the schedule moves at every step."
    figure, axes = frame("Learning rate by epoch", source, note, size=(7, 3.2))
    _by_epoch(axes, history, "lr", color=INK)
    axes.set(ylabel="learning rate", ylim=(0, history["lr"].max() * 1.08))
    return describe(figure, f"From {history['lr'].iloc[0]:.3g} to {history['lr'].iloc[-1]:.3g}.")


@styled
def gap(history, source: str = "") -> Picture:
    """The generalisation gap by epoch: training less validation accuracy, in percentage points."""
    note = (
        "Below 0, validation is ahead: training accuracy is measured on augmented images, with any dropout "
        "and weights that still move, validation accuracy without any of these."
    )
    table = history.assign(gap=100 * (history["train_accuracy"] - history["valid_accuracy"]))
    split = table["gap"].notna().any()
    note = note if split else "No validation split was cut (valid_size 0), so there is no gap to see."
    figure, axes = frame("Generalisation gap by epoch", source, note, size=(7, 3.6))
    _by_epoch(axes, table, "gap", color=INK)
    axes.axhline(0, color=GREY, lw=1)
    if not split:
        axes.text(0.5, 0.6, "no validation split", transform=axes.transAxes, ha="center")
        axes.set_yticks([0])
    axes.set_ylabel("training − validation\n(percentage points)")
    return describe(figure, f"It ends at {table['gap'].iloc[-1]:+.1f} points." if split else "")


def _heatmap(matrix, names, text, title: str, source: str, note: str, colour: str, most: float) -> Picture:
    """A square of cells with `text` in them, rows true and columns predicted."""
    import seaborn

    figure, axes = frame(title, source, note, size=(7, 6.7))
    look = {"square": True, "linewidths": 0.5, "linecolor": GRID, "cbar": False, "cmap": ramp(colour)}
    words = {"annot": text, "fmt": "", "annot_kws": {"size": 9, "color": INK}}
    seaborn.heatmap(matrix, ax=axes, vmin=0, vmax=most, xticklabels=names, yticklabels=names, **look, **words)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.tick_params(length=0)
    tilt = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 2 else {}
    axes.set_xticks(axes.get_xticks(), names, **tilt)
    axes.set_yticks(axes.get_yticks(), names, rotation=0)
    return figure


@styled
def confusion(matrix: np.ndarray, names, source: str = "") -> Picture:
    """The confusion matrix (C, C) of counts, drawn as percent of each true class."""
    percent = 100 * metrics.normalised(matrix)
    text = np.where(matrix > 0, np.char.mod("%.1f", percent), "")
    note = "Each row sums to 100: what the images of that class were taken for, in percent. Empty: none."
    figure = _heatmap(percent, names, text, "Confusion matrix", source, note, DEEP_BLUE, 100)
    seen = {names[i]: percent[i, i] for i in np.flatnonzero(matrix.sum(1))}
    worst = min(seen, key=seen.get)
    return describe(figure, f"The lowest diagonal cell is {worst}, {seen[worst]:.1f} percent.")


@styled
def confusion_errors(matrix: np.ndarray, names, source: str = "") -> Picture:
    """What is off the diagonal of the confusion matrix (C, C) alone, in images."""
    errors = matrix * (1 - np.eye(len(matrix), dtype=int))
    text = np.where(errors > 0, errors.astype(str), "")
    note = f"The {errors.sum():,} mistakes among {matrix.sum():,} images. Grey: the right answers, left out."
    figure = _heatmap(errors, names, text, "Mistakes alone", source, note, DEEP_ORANGE, max(1, errors.max()))
    for i in range(len(matrix)):
        figure.axes[0].add_patch(Rectangle((i, i), 1, 1, fc=BAND, lw=0))
    for true, guess, count in metrics.worst_pairs(matrix, names, 1)[["true", "predicted", "count"]].values:
        describe(figure, f"Most often {true} is taken for {guess}, {count} times.")
    return figure


@styled
def class_accuracy(table, source: str = "") -> Picture:
    """Accuracy a class with its 95% interval, best on top; `table` as of `metrics.per_class`."""
    table = table.sort_values(["accuracy", "class"], ascending=[True, False], kind="stable").dropna()
    values, low, high = (100 * table[name].to_numpy() for name in ("accuracy", "low", "high"))
    mean = 100 * table["right"].sum() / table["images"].sum()
    note = "Bars: Wilson intervals. Where two overlap widely, the order of the classes may be chance."
    figure, axes = frame("Accuracy by class", source, note, size=(7, 4.6))
    bars = {"xerr": [values - low, high - values], "capsize": 3, "label": "class, 95% interval"}
    axes.errorbar(values, np.arange(len(table)), fmt="o", color=BLUE, **bars)
    axes.axvline(mean, color=INK, ls="--", label=f"all images: {mean:.1f}%")
    labels = [f"{c}: {v:.1f}%" for c, v in zip(table["class"], values, strict=True)]
    axes.set_yticks(np.arange(len(table)), labels)
    axes.set_xlabel("accuracy (%)")
    axes.legend(loc="upper left")
    return describe(figure, "; ".join(labels[::-1]) + ".")


@styled
def reliability(table, ece: float, source: str = "") -> Picture:
    """Accuracy against confidence by bin, and the images in each; `table` as of `metrics.calibration`."""
    note = "Below the line: surer than right. Bars: 95% Wilson interval. A bin without images has no point."
    rows = {"nrows": 2, "sharex": True, "height_ratios": [3, 1]}
    figure, (top, bottom) = frame("Reliability: is it as sure as it is right?", source, note, (7, 6), **rows)
    used = table[table["count"] > 0]
    low, high = metrics.wilson((used["accuracy"] * used["count"]).round(), used["count"])
    errors = 100 * np.array([used["accuracy"] - low, high - used["accuracy"]]).clip(0)
    x, y = 100 * used["confidence"], 100 * used["accuracy"]
    top.plot([0, 100], [0, 100], color=INK, ls="--", lw=1, label="as sure as right")
    line = {"color": BLUE, "marker": "o", "lw": 1, "capsize": 2, "label": f"this run, ECE {100 * ece:.2f}%"}
    top.errorbar(x, y, yerr=errors, **line)
    top.set(ylabel="accuracy (%)", ylim=(-2, 102), xlim=(0, 100))
    top.legend(loc="lower right")
    width = 100 * (table["high"] - table["low"])
    bottom.bar(100 * table["low"], table["count"], width, align="edge", color=BLUE, ec=PAPER)
    bottom.set(ylabel="images\n(log scale)", xlabel="confidence (%)", yscale="log", ylim=(0.7, None))
    return describe(figure, f"The expected calibration error is {100 * ece:.2f} percent.")
