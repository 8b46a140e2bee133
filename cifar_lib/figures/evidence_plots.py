"""Studies as figures: tables of `studies` in, a `Picture` out; never a model."""

from itertools import cycle

import numpy as np
from matplotlib.ticker import MaxNLocator

from cifar_lib.evidence import SHIFTS
from cifar_lib.evidence.claims import WORDS
from cifar_lib.evidence.comparison import LEVEL, NOISE
from cifar_lib.evidence.numerals import signed
from cifar_lib.figures import places, rows, shapes
from cifar_lib.figures.palette import BAND, BLUE, GREEN, GREY, INK, ORANGE
from cifar_lib.figures.picture import Picture, describe, frame, styled

HUES = {"higher": BLUE, "lower": ORANGE, "inconclusive": GREY}
BAND_NOTE = (
    f"Grey band: ±{NOISE} points, the threshold of this report, fixed beforehand (comparison.NOISE). That seeds alone "
    "differ on a test set is shown in arXiv 2304.01910."
)
LINES = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, "-.", "^"), (GREY, ":", "D"))


@styled
def differences(table, source: str = "") -> Picture:
    """Test accuracy of variants less their baseline's, with unadjusted 95% intervals; `table`: `Study.differences`."""
    table = table.sort_values("mean", ascending=False)
    note = (
        "Points: mean over pairs of runs with the same seed; bars: 95% interval (Student's t, unadjusted). "
        f"Inconclusive: Holm's p not below {LEVEL}, or the mean in the band. {BAND_NOTE}"
    )
    words = [f"{WORDS.get(name, name)}: {signed(mean)}" for name, mean in table["mean"].items()]
    head = "One thing changed at a time", source, note
    return _bars(table, words, head, "difference from the baseline (points)")


@styled
def effects(table, source: str = "") -> Picture:
    """What each setting of a screening is worth, with its 95% interval; `table`: `screening.effects`."""
    table = table.sort_values("effect", ascending=False)
    table = table.assign(mean=table.effect, low=table.effect - table.margin, high=table.effect + table.margin)
    note = (
        "Points: the runs with one value less those with the other, the other settings being balanced; bars: 95% "
        f"interval by Lenth's rule, of each alone; inconclusive once adjusted for all settings. {BAND_NOTE}"
    )
    values = zip(table.index, table.other, table.effect, strict=True)
    words = [f"{name} {other}: {signed(effect)}" for name, other, effect in values]
    return _bars(table, words, ("What each setting is worth", source, note), "added to validation accuracy (points)")


def _bars(table, words: list[str], head: tuple[str, str, str], label: str) -> Picture:
    """One row per point with its interval, from the first down: `mean`, `low`, `high`, `verdict`."""
    figure, axes = frame(*head, (7, 2.4 + rows.height(len(table), 0.38)))
    axes.axvspan(-NOISE, NOISE, color=BAND, lw=0, label=f"±{NOISE} points")
    axes.axvline(0, color=INK, lw=1)
    for row, one in enumerate(table.itertuples()):
        bar = {"xerr": [[one.mean - one.low], [one.high - one.mean]], "capsize": 3}
        first = one.verdict not in axes.get_legend_handles_labels()[1]
        axes.errorbar(one.mean, row, fmt="o", color=HUES[one.verdict], label=one.verdict if first else None, **bar)
    rows.name(axes, words, half=0.15)
    axes.set_xlabel(label)
    figure.legend_below(ncols=shapes.pick(4, 2))
    listed = (f"{word} points ({verdict})" for word, verdict in zip(words, table.verdict, strict=True))
    return describe(figure, "; ".join(listed) + ".")


@styled
def curves(runs, variants, source: str = "") -> Picture:
    """Validation accuracy by epoch of some variants: the mean of the seeds, and thin each one; `runs` as of `Study`."""
    note = "Thick: mean over the seeds; thin: one run each."
    figure, axes = frame("How fast it learns", source, note)
    for variant, (colour, dash, marker) in zip(variants, cycle(LINES), strict=False):
        histories = [run.history for run in runs[variant].values()]
        every = 100 * np.stack([history.valid_accuracy for history in histories])
        axes.plot(histories[0].epoch, every.T, color=colour, lw=0.6, alpha=0.5)
        mean, name = every.mean(0), WORDS.get(variant, variant)
        places.note(axes, histories[0].epoch, mean, f"{name}, epoch {{x}}: {{y:.1f}}%")
        axes.plot(histories[0].epoch, mean, color=colour, ls=dash, marker=marker, label=name)
        describe(figure, f"{name}: {mean[0]:.1f} after the first epoch, {mean[-1]:.1f} at the end.")
    axes.set(xlabel="epoch", ylabel="validation accuracy (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right")
    return figure


@styled
def shifts(tables: dict, source: str = "") -> Picture:
    """Accuracy by corruption and severity, one line per name; `tables`: `Study.shifts`, or a run's by name."""
    note = (
        "Severity 0: the test images as they are. Corruptions as CIFAR-10-C defines them (arXiv 1903.12261), the noise "
        "drawn anew. Shaded: 95% interval, of one run over the images, of several over the seeds."
    )
    layout = {"nrows": shapes.pick(2, 3), "ncols": shapes.pick(3, 2), "sharex": True, "sharey": True}
    figure, axes = frame("Where the images differ", source, note, (7.5, shapes.pick(5.2, 6.6)), **layout)
    for panel, corruption in zip(axes.flat, SHIFTS, strict=True):
        for (name, table), (colour, dash, marker) in zip(tables.items(), cycle(LINES), strict=False):
            rows = table[table.corruption.isin(["none", corruption]) & (table.severity != "mean")]
            severity = rows.severity.astype(int)
            line = {"color": colour, "ls": dash, "marker": marker, "label": WORDS.get(name, name)}
            panel.plot(severity, 100 * rows.accuracy, **line)
            panel.fill_between(severity, 100 * rows.low, 100 * rows.high, color=colour, alpha=0.2, lw=0)
        panel.set_title(corruption.replace("_", " "), size=10)
        panel.set_xticks(range(6))
    axes[-1, shapes.pick(1, 0)].set_xlabel("severity")
    for row in axes:
        row[0].set_ylabel("test accuracy (%)")
    axes[0, 0].legend(loc="lower left", fontsize=8)
    for name, table in tables.items():
        worst = table.loc[table.accuracy[table.severity != "mean"].idxmin()]
        under = f"{worst.corruption.replace('_', ' ')} {worst.severity}"
        describe(figure, f"{WORDS.get(name, name)}: lowest, {worst.accuracy:.1%}, under {under}.")
    return figure
