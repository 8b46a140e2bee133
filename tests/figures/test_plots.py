"""Laws of the figures: each one comes from its data alone, has its axes named, and is the same bytes every time."""

import io
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from cifar_lib import notebook
from cifar_lib.evidence import metrics
from cifar_lib.figures import diagrams, palette, plots

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
GATES = {"stage 1, block 1": np.linspace(0.2, 0.8, 16)}
SUMMARY = {"run": "mine", "dataset": "cifar10", "num_channels": 16, "epochs": 12}


def history(epochs, valid=True):
    falling = np.linspace(2, 1, epochs)
    rows = {"epoch": np.arange(1, epochs + 1), "train_loss": falling, "train_accuracy": 1 - falling / 3}
    rows |= {"valid_loss": falling if valid else np.nan, "valid_accuracy": 1 - falling / 4 if valid else np.nan}
    return pd.DataFrame(rows | {"lr": falling / 10, "seconds": 9.0, "images_per_second": 700.0})


def answers(n=400, wrong=0.3):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), n // 10)
    logits = rng.normal(0, 1, (n, 10))
    logits[np.arange(n), labels] += 1.5 if wrong else 99
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    return labels, probabilities.argmax(1), probabilities


def figures(epochs=12, valid=True, wrong=0.3, names=NAMES):
    """Every figure of a run, by name."""
    table, (labels, predicted, probabilities) = history(epochs, valid), answers(wrong=wrong)
    matrix, source = metrics.confusion(labels, predicted), plots.source(SUMMARY)
    judged = probabilities.max(1), probabilities.argmax(1) == labels
    bins, ece = metrics.calibration(*judged), metrics.ece(*judged)
    return {
        "loss": plots.loss(table, source),
        "accuracy": plots.accuracy(table, epochs, source),
        "learning_rate": plots.learning_rate(table, source),
        "confusion": plots.confusion(matrix, names, source),
        "class_accuracy": plots.class_accuracy(metrics.per_class(labels, predicted, names), source),
        "reliability": plots.reliability(bins, ece, source),
    }


def grids():
    """Every figure of notebooks 01 and 02, by name."""
    counts = {"convolution": [1728, 297984], "SE": [0, 580], "linear": [0, 2570], "parameters": [1728, 301134]}
    table = pd.DataFrame(counts, index=["stem", "stage 1"])
    table.loc["total"] = table.sum()
    images = np.arange(3 * 32 * 32 * 3, dtype=np.uint32).reshape(3, 32, 32, 3).astype(np.uint8)
    return {
        "gallery": plots.gallery(images, ["cat → dog\n98.1%", "b", "c"], columns=2, title="Three", source="mine"),
        "feature_maps": diagrams.feature_maps(np.linspace(0, 1, 3 * 64).reshape(3, 8, 8), title="Maps", source="mine"),
        "gates": diagrams.gates(dict.fromkeys(["fresh", "trained"], GATES), source="mine"),
        "answers": diagrams.answers({"the cat": np.full(10, 0.1), "the dog": np.eye(10)[5]}, NAMES, source="mine"),
        "heat_maps": diagrams.heat_maps(
            images[:2], np.ones((2, 1, 8, 8)), [["a", "cat\n9%"], ["b", "c"]], source="mine"
        ),
        "shares": diagrams.shares(table, source="mine"),
    }


@pytest.mark.parametrize(("epochs", "valid"), [(1, True), (5, False), (300, True)])
def test_every_figure_names_its_axes_and_its_source(epochs, valid):
    for name, figure in figures(epochs, valid).items():
        assert isinstance(figure, plots.Picture)
        assert any(axes.get_xlabel() for axes in figure.axes), name
        assert any(axes.get_ylabel() for axes in figure.axes) or name == "class_accuracy", name
        assert "mine: CIFAR-10, 16 channels, 12 epochs" in [text.get_text() for text in figure.texts], name
        assert "mine: CIFAR-10" in figure.words and "nan" not in figure.words, name
        assert figure._repr_png_()[0].startswith(b"\x89PNG")


def test_a_short_run_has_markers_and_whole_epochs():
    axes = plots.loss(history(1)).axes[0]
    assert [line.get_marker() for line in axes.lines] == ["o", "s"]
    assert [tick for tick in axes.get_xticks() if 0.5 <= tick <= 1.5] == [1]
    assert {line.get_marker() for line in plots.loss(history(300)).axes[0].lines} == {"None"}


def test_no_validation_is_said():
    table = history(5, valid=False)
    for figure in (plots.loss(table), plots.accuracy(table, 5)):
        assert "No validation split was cut" in figure.words
    assert len(plots.loss(table).axes[0].lines) == 1


def test_accuracy_marks_the_best_epoch():
    line = plots.accuracy(history(12), 7).axes[0].lines[-1]
    assert line.get_xdata()[0] == 7
    assert line.get_ydata()[0] == pytest.approx(100 * history(12)["valid_accuracy"][6])
    assert line.get_label().startswith("best epoch, 7")


def test_matrices_write_what_they_show():
    labels, predicted, _ = answers()
    matrix = metrics.confusion(labels, predicted)
    written = [text.get_text() for text in plots.confusion(matrix, NAMES).axes[0].texts]
    percent = 100 * matrix / matrix.sum(1, keepdims=True)
    assert written == [f"{value:.1f}" if value else "" for value in percent.ravel()]
    axes = plots.confusion(matrix, NAMES).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == NAMES
    assert not any(line.get_visible() for line in axes.get_xgridlines() + axes.get_ygridlines()), "through no number"
    ((mesh,), wrong) = axes.collections, ~np.eye(10, dtype=bool)
    strengths = np.asarray(mesh.get_array()).reshape(10, 10)
    assert strengths.diagonal() == pytest.approx(percent.diagonal() / 100), "blue, to 100"
    assert strengths[wrong].min() == -1 and strengths[wrong] == pytest.approx(-percent[wrong] / percent[wrong].max())


def test_the_gap_is_shaded_where_both_were_measured():
    table = history(12)
    figure = plots.accuracy(table, 12)
    (area,) = figure.axes[0].collections
    box = area.get_datalim(figure.axes[0].transData)
    assert (box.x0, box.x1) == (1, 12) and "The gap between them ends at −8.3 points." in figure.alt
    table.loc[:10, "valid_accuracy"] = np.nan
    area, line = plots.accuracy(table, 12).axes[0].collections
    assert line.get_segments()[0][:, 0].tolist() == [12, 12], "a line where there is one epoch alone"
    assert not plots.accuracy(history(5, valid=False), 5).axes[0].collections


def test_a_perfect_run_can_be_drawn():
    for figure in figures(wrong=0).values():
        assert figure._repr_png_()[0]
    assert "no image to show" in str(plots.gallery(np.zeros((0, 32, 32, 3), np.uint8), []).texts)


def test_pictures_show_their_data_pixel_for_pixel():
    for figure in grids().values():
        assert figure._repr_png_()[0] and figure.alt
    gallery = grids()["gallery"]
    shown = [axes for axes in gallery.axes if axes.get_visible()]
    assert [axes.images[0].get_array().shape for axes in shown] == [(32, 32, 3)] * 3
    assert {axes.images[0].get_interpolation() for axes in shown} == {"none"}


def test_the_same_figure_is_the_same_bytes_and_opaque(tmp_path):
    again = figures() | grids()
    for name, figure in (figures() | grids()).items():
        kind = "png" if name in ("gallery", "feature_maps", "heat_maps") else "svg"
        first, second, third = (tmp_path / f"{i}.{kind}" for i in range(3))
        plots.save(figure, first)
        figure._repr_png_()
        plots.save(figure, second)
        plots.save(again[name], third)
        assert first.read_bytes() == second.read_bytes() == third.read_bytes(), name
        assert kind == "png" or "fill: #ffffff" in first.read_text(encoding="utf-8").partition("</g>")[0], name


def test_svg_has_no_date_and_text_that_can_be_read(tmp_path):
    plots.save(plots.loss(history(3), plots.source(SUMMARY)), tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "dc:date" not in text and "mine: CIFAR-10, 16 channels, 12 epochs" in text


def test_save_refuses_other_formats(tmp_path):
    with pytest.raises(ValueError, match=r"ends in .svg or .png"):
        plots.save(plots.loss(history(1)), tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())


def test_source_says_what_a_run_is():
    assert plots.source(SUMMARY) == "mine: CIFAR-10, 16 channels, 12 epochs"
    digits = plots.source(SUMMARY | {"dataset": "digits", "epochs": 1})
    assert digits == "mine: scikit-learn's digits (not CIFAR-10), 16 channels, 1 epoch"


def test_drawing_leaves_the_style_of_others_alone_and_loads_no_torch():
    code = """
import sys
import matplotlib as mpl
before = mpl.rcParams.copy()
import pandas
from cifar_lib.evidence import metrics
from cifar_lib.figures import plots
plots.learning_rate(pandas.DataFrame({"epoch": [1], "lr": [0.1]}))._repr_png_()
print("torch" in sys.modules, "matplotlib.pyplot" in sys.modules)
print(all(mpl.rcParams[name] == before[name] for name in before if name != "backend"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True"]


def test_a_page_gets_the_plot_without_its_words():
    """Which it writes itself, at the reader's size."""
    figure = plots.loss(history(12), plots.source(SUMMARY))
    drawn = figure._repr_mimebundle_()[notebook.MIME]
    assert drawn["title"] == "Loss by epoch" and drawn["source"] == plots.source(SUMMARY)
    assert drawn["note"].startswith("Training is measured") and drawn["alt"].startswith("Cross-entropy")
    assert not any(f">{drawn[words]}</text>" in drawn["svg"] for words in ("title", "source"))
    assert ">epoch</text>" in drawn["svg"]
    width, height = map(float, re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', drawn["svg"]).groups())
    inches = figure.get_size_inches()
    assert (width, height) == pytest.approx((72 * inches[0], 72 * (inches[1] - figure.head - figure.foot)), abs=0.01)


def test_words_come_back_after_it(tmp_path):
    figure, other = (plots.loss(history(12), plots.source(SUMMARY)) for _ in range(2))
    figure._repr_mimebundle_()
    plots.save(figure, tmp_path / "a.svg")
    plots.save(other, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "Loss by epoch" in (tmp_path / "a.svg").read_text(encoding="utf-8")


def test_an_svg_has_its_dark_colours_once(tmp_path):
    plots.save(plots.loss(history(3)), tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert text.count("prefers-color-scheme:dark") == 1 and f"{{fill:{palette.DARK[palette.INK]}!important}}" in text


def test_lines_have_few_colours_and_photographs_all_of_theirs():
    from PIL import Image

    shown = plots.loss(history(3)), grids()["gallery"]
    modes = [Image.open(io.BytesIO(figure._repr_png_()[0])).mode for figure in shown]
    assert modes == ["P", "RGBA"]


def test_a_title_in_another_script_is_no_row_of_boxes(recwarn):
    """An id of an unlabelled pickle can be in any script; the font has Latin, Greek, Cyrillic and a few more."""
    figure = plots.gallery(np.zeros((2, 32, 32, 3), np.uint8), ["id 猫", "id café"])
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [r"id \u732b", "id café"] and "猫" in figure.alt
    figure._repr_png_()
    assert not [one for one in recwarn if "missing from font" in str(one.message)]
