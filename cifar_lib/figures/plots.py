"""One run as figures: arrays or DataFrames in, a `Picture` out; never a model.

`source` is the line under the title that says what the numbers were made from. What all share lives in `picture` and
is found here too.
"""

import numpy as np
from matplotlib.ticker import MaxNLocator

from cifar_lib.evidence import metrics
from cifar_lib.evidence.numerals import minus
from cifar_lib.figures import places, shapes
from cifar_lib.figures.palette import BLUE, DEEP_BLUE, DEEP_ORANGE, GREEN, GREY, INK, ORANGE, PAPER, ramps
from cifar_lib.figures.picture import Picture, describe, frame, gallery, save, source, styled

__all__ = [
    "Picture", "accuracy", "class_accuracy", "confusion", "gallery", "learning_rate", "loss", "reliability", "save",
    "source",
]  # fmt: skip
SHORT = 30  # epochs: up to here each one gets a marker, without which a run of one would draw nothing


def _by_epoch(axes, history, column: str, say: str, factor: float = 1, **line) -> None:
    epochs, values = history["epoch"], history[column] * factor
    places.note(axes, epochs, values, say)
    line = {"color": BLUE, "marker": "o"} | line | ({} if len(history) <= SHORT else {"marker": None})
    axes.plot(epochs, values, **line)
    first, last = epochs.iloc[[0, -1]]
    margin = max(0.5, 0.02 * (last - first))
    axes.set(xlabel="epoch", xlim=(first - margin, last + margin))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _both(history, name: str, factor: float, source: str, label: str, form: str) -> Picture:
    """Training and validation of `name` ("loss", "accuracy") by epoch; `form`: how a value is written."""
    validated = history[f"valid_{name}"].notna().any()
    note = "Training is measured while it learns: on images as they are fed, with any dropout, averaged over the epoch."
    note += "" if validated else " No validation split was cut (valid_size 0)."
    figure, axes = frame(f"{name.capitalize()} by epoch", source, note)
    lines = {"train": {"label": "training"}}
    lines |= {"valid": {"label": "validation", "color": ORANGE, "ls": "--", "marker": "s"}} if validated else {}
    for split, line in lines.items():
        _by_epoch(axes, history, f"{split}_{name}", f"{line['label']}, epoch {{x}}: {form}", factor, **line)
    axes.set_ylabel(label)
    axes.legend()
    ends = [f"{factor * history[f'{split}_{name}'].iloc[-1]:.3g} in {line['label']}" for split, line in lines.items()]
    return describe(figure, f"{label.capitalize()}: {', '.join(ends)} at the end.")


@styled
def loss(history, source: str = "") -> Picture:
    """Cross-entropy by epoch, training and validation; `history` as of a run."""
    return _both(history, "loss", 1, source, "cross-entropy (nats)", "{y:.3f}")


@styled
def accuracy(history, best_epoch: int, source: str = "") -> Picture:
    """Accuracy by epoch, training and validation, the gap shaded, with the epoch whose weights were kept."""
    figure = _both(history, "accuracy", 100, source, "accuracy (%)", "{y:.1f}%")
    (axes,) = figure.axes
    split = "valid" if history["valid_accuracy"].notna().any() else "train"
    if split == "valid":
        describe(figure, _shade_gap(axes, history))
    kept = history[f"{split}_accuracy"][history["epoch"] == best_epoch].iloc[0] * 100
    label = f"{'best' if split == 'valid' else 'kept: last'} epoch, {best_epoch}: {kept:.1f}%"
    axes.plot([best_epoch], [kept], "o", ms=11, mfc="none", mec=GREEN, mew=2, ls="none", label=label)
    axes.legend(loc="lower right")
    return describe(figure, f"{label.capitalize()}.")


def _shade_gap(axes, history) -> str:
    """Shade what lies between training and validation, where both were measured; the gap at the end as a sentence."""
    both = history.dropna(subset=["train_accuracy", "valid_accuracy"])
    training, validation = 100 * both["train_accuracy"], 100 * both["valid_accuracy"]
    end = minus(f"{training.iloc[-1] - validation.iloc[-1]:+.1f} points")
    axes.fill_between(both["epoch"], training, validation, color=GREY, alpha=0.2, lw=0, label=f"gap, {end} at the end")
    if len(both) == 1:  # an area needs two
        axes.vlines(both["epoch"], validation, training, color=GREY, ls=":")
    return f"The gap between them ends at {end}."


@styled
def learning_rate(history, source: str = "") -> Picture:
    """The learning rate by epoch, as it was when the epoch began."""
    note = "The rate when the epoch began; the schedule moves at every step."
    figure, axes = frame("Learning rate by epoch", source, note, size=(7, 3.2))
    _by_epoch(axes, history, "lr", "epoch {x}: {y:.3g}", color=INK)
    axes.set(ylabel="learning rate", ylim=(0, history["lr"].max() * 1.08))
    return describe(figure, f"From {history['lr'].iloc[0]:.3g} to {history['lr'].iloc[-1]:.3g}.")


@styled
def confusion(matrix: np.ndarray, names, source: str = "") -> Picture:
    """The confusion matrix (C, C) of counts, drawn as percent of each true class: the diagonal in blue on a scale to
    100, the mistakes in orange on one to the most frequent of them."""
    percent, right = 100 * metrics.normalised(matrix), np.eye(len(matrix), dtype=bool)
    worst = max(percent[~right].max(), 0.1)
    note = "Percent of each true class; a row sums to 100. Blue: right, full colour at 100. Orange: mistakes, full "
    note += f"colour at {worst:.1f}. Empty: none."
    figure, axes = frame("Confusion matrix", source, note, size=(7, shapes.pick(6.9, 4.9)))
    _cells(axes, np.where(right, percent / 100, -percent / worst), np.where(matrix, np.char.mod("%.1f", percent), ""))
    figure.matrix = axes
    axes.grid(False)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.tick_params(length=0)
    tilt = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 2 else {}
    axes.set_xticks(np.arange(len(names)) + 0.5, names, **tilt, size=shapes.pick(10, 7.5))
    axes.set_yticks(np.arange(len(names)) + 0.5, names, rotation=0, size=shapes.pick(10, 7.5))
    return _describe_matrix(figure, matrix, percent, names)


def _cells(axes, strengths: np.ndarray, text: np.ndarray) -> None:
    """A square of cells with `text` in them, in blue of a strength 0 to 1, in orange of 0 to -1."""
    import seaborn

    words = {"annot": text, "fmt": "", "annot_kws": {"size": shapes.pick(9.5, 7), "color": INK}}
    look = {"square": True, "cbar": False, "cmap": ramps(DEEP_ORANGE, DEEP_BLUE), "vmin": -1, "vmax": 1}
    seaborn.heatmap(strengths, ax=axes, xticklabels=False, yticklabels=False, **look, **words)


def _describe_matrix(figure: Picture, matrix: np.ndarray, percent: np.ndarray, names) -> Picture:
    seen = {names[i]: percent[i, i] for i in np.flatnonzero(matrix.sum(1))}
    lowest = min(seen, key=seen.get)
    describe(figure, f"The lowest diagonal cell is {lowest}, {seen[lowest]:.1f} percent.")
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
