"""Figures of studies: what is drawn is what the tables say, in words too, and the same bytes each time."""

import numpy as np
import pandas as pd
import pytest
from study_runs import made

from cifar_lib.evidence import SHIFTS, Study
from cifar_lib.figures import evidence_plots, plots

ROWS = [("se-none", -1.5, -2.0, -1.0, 3, "lower"), ("no-lookahead", 0.5, -0.5, 1.5, 3, "inconclusive")]
TABLE = pd.DataFrame(ROWS, columns=["variant", "mean", "low", "high", "pairs", "verdict"]).set_index("variant")


def shifted(clean: float) -> pd.DataFrame:
    rows = [("none", "0", clean), ("mirrored", "0", clean + 0.01)]
    rows += [(name, str(level), clean - 0.01 * level) for name in SHIFTS for level in range(1, 6)]
    rows += [(name, "mean", clean - 0.03) for name in (*SHIFTS, "corrupted")] + [("lost", "mean", 0.03)]
    table = pd.DataFrame(rows, columns=["corruption", "severity", "accuracy"])
    return table.assign(images=100, low=table.accuracy - 0.02, high=table.accuracy + 0.01)


def test_differences_are_drawn_where_they_are_the_highest_on_top():
    figure = evidence_plots.differences(TABLE, "a study")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["without Lookahead: +0.50", "without SE: −1.50"]
    ends = [segment[:, 0].tolist() for bars in axes.collections for segment in bars.get_segments()]
    assert ends == [pytest.approx([-0.5, 1.5]), pytest.approx([-2.0, -1.0])]
    assert "without SE: −1.50 points (lower)" in figure.words and "a study" in figure.words
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["±0.2 points", "inconclusive", "lower"]
    assert "±0.2 points, the threshold of this report" in figure.note


def test_difference_without_an_interval_is_a_point_alone():
    figure = evidence_plots.differences(TABLE.assign(low=np.nan, high=np.nan), "a study")
    points = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert points == [0.5, -1.5] and figure.axes[0].get_xlim()[0] < -1.5


def test_effects_are_drawn_with_their_margin():
    rows = {"other": [True, 8], "effect": [-0.5, 1.5], "margin": [0.7, 0.7], "verdict": ["inconclusive", "higher"]}
    figure = evidence_plots.effects(pd.DataFrame(rows, index=["nesterov", "cutout"]), "a screening")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cutout 8: +1.50", "nesterov True: −0.50"]
    ends = [segment[:, 0].tolist() for bars in axes.collections for segment in bars.get_segments()]
    assert ends == [pytest.approx([0.8, 2.2]), pytest.approx([-1.2, 0.2])]
    assert "cutout 8: +1.50 points (higher)" in figure.words


def test_curves_have_a_mean_and_each_run(tmp_path):
    for seed, curve in enumerate([(0.2, 0.4), (0.4, 0.8)]):
        made(tmp_path / f"base-{seed}", 0.5, curve=curve, seed=seed)
    figure = evidence_plots.curves(Study(tmp_path).runs, ["base"], "a study")
    *thin, thick = figure.axes[0].lines
    assert [line.get_ydata().tolist() for line in thin] == [[20, 40], [40, 80]]
    assert thick.get_ydata() == pytest.approx([30, 60]) and thick.get_label() == "the baseline"
    assert "30.0 after the first epoch, 60.0 at the end" in figure.words


def test_shifts_begin_at_the_clean_accuracy():
    figure = evidence_plots.shifts({"a": shifted(0.9), "b": shifted(0.8)}, "two runs")
    assert [axes.get_title().replace(" ", "_") for axes in figure.axes] == list(SHIFTS)
    for axes in figure.axes:
        assert [line.get_xdata().tolist() for line in axes.lines] == [[0, 1, 2, 3, 4, 5]] * 2
        assert axes.lines[0].get_ydata() == pytest.approx(90 - np.arange(6))
        box = axes.collections[0].get_datalim(axes.transData)  # from the lowest low end to the highest high end
        assert (box.x0, box.x1, box.y0, box.y1) == pytest.approx((0, 5, 83, 91))
    assert "a: lowest, 85.0%, under gaussian noise 5" in figure.words


def test_every_variant_is_drawn():
    names = "abcdef"
    figure = evidence_plots.shifts({name: shifted(0.9) for name in names}, "six runs")
    assert [len(axes.lines) for axes in figure.axes] == [6] * 6
    assert all(f"{name}: lowest" in figure.words for name in names)


def test_same_bytes_each_time(tmp_path):
    for name in ("a.svg", "b.svg"):
        plots.save(evidence_plots.differences(TABLE, "a study"), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
