"""The curve has every run once and every network that comes with the project; its figure shows what the table says."""

import numpy as np
import pandas as pd
import pytest
from study_runs import made

from cifar_lib.config import PRESETS, Config
from cifar_lib.evidence import networks, size_curve
from cifar_lib.evidence.published import PUBLISHED, Network
from cifar_lib.figures import curve_plot
from cifar_lib.inference import pretrained
from cifar_lib.models import macs


@pytest.fixture
def some(tmp_path) -> dict:
    for name, share in {"width-16-0": 0.5, "width-16-1": 0.7, "width-24-0": 0.8}.items():
        seed = int(name[-1])
        made(tmp_path / "curve" / name, share, seed=seed, num_channels=int(name[6:8]))
    made(tmp_path / "reference", 0.9, num_channels=64)
    return size_curve.runs(tmp_path / "curve", tmp_path / "reference")


def test_rows_are_the_means_over_the_runs_of_a_width(some):
    some[64][0].record("mirrored.json", {"accuracy": 0.95})
    table = size_curve.table(some, macs)
    assert table.index.tolist() == [16, 24, 64] and table["mean"].tolist() == pytest.approx([60, 80, 90])
    assert table["std"][16] == pytest.approx(np.std([50, 70], ddof=1)) and table.runs.tolist() == [2, 1, 1]
    assert table.mirrored[64] == pytest.approx(95) and np.isnan(table.mirrored[16])
    assert table.multiply_adds[64] == macs(some[64][0].config)["total"]


def test_figure_shows_ours_filled_and_the_reported_ones_hollow(some):
    figure = curve_plot.curve(size_curve.table(some, macs), source="a study")
    for axes, measure in zip(figure.axes, ("parameters", "multiply_adds"), strict=True):
        hollow = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
        points = sum(len(line.get_xdata()) for line in hollow)
        assert points == sum(getattr(one, measure) is not None for one in PUBLISHED)
        ours = [line for line in axes.lines if line.get_marker() == "o"]
        assert [line.get_ydata() for line in ours] == [pytest.approx([60, 80, 90])]
    assert "Ours: 60.00% with 16 channels" in figure.words


def test_only_widths_trained_alike_are_joined(tmp_path):
    made(tmp_path / "curve" / "width-16-0", 0.5, num_channels=16, **PRESETS["fast"])
    made(tmp_path / "curve" / "width-24-0", 0.6, num_channels=24, **PRESETS["fast"])
    made(tmp_path / "reference", 0.9, num_channels=64)
    table = size_curve.table(size_curve.runs(tmp_path / "curve", tmp_path / "reference"), macs)
    assert table.training.tolist() == ["preset fast", "preset fast", "recipe"]
    axes = curve_plot.curve(table).axes[0]
    assert [len(line.get_xdata()) for line in axes.lines if line.get_marker() == "o"] == [2, 1]


def test_a_training_is_named_by_its_preset_and_what_is_changed_of_it():
    assert size_curve.training(Config(**PRESETS["fast"], num_channels=16, valid_size=0)) == "preset fast"
    changed = Config(**PRESETS["fast"], cutout=8, label_smoothing=0.1)
    assert size_curve.training(changed) == "preset fast, cutout 8, label_smoothing 0.1"
    assert size_curve.training(Config(**PRESETS["fast"] | {"lr": 0.2}, cutout=8)) == "recipe"


def test_only_runs_of_one_length_are_averaged_and_joined(tmp_path):
    for name, epochs, share in (("width-16-0", 15, 0.5), ("width-24-0", 15, 0.6), ("width-24-1", 30, 0.9)):
        settings = {"seed": int(name[-1]), "num_channels": int(name[6:8])}
        made(tmp_path / "curve" / name, share, (0.5,) * epochs, **settings)
    table = size_curve.table(size_curve.runs(tmp_path / "curve", tmp_path / "reference"), macs)
    assert table.index.tolist() == [16, 24, 24] and table.epochs.tolist() == [15, 15, 30]
    assert table["mean"].tolist() == pytest.approx([50, 60, 90])
    axes = curve_plot.curve(table).axes[0]
    assert [len(line.get_xdata()) for line in axes.lines if line.get_marker() == "o"] == [2, 1]


def test_views_cost_their_multiply_adds():
    six = Network("a", "a", 1.0, 100, 10, 90.0, "https://example.org", views=6)
    sizes = {"parameters": [1e6], "multiply_adds": [1e8]}
    table = pd.DataFrame(sizes | {"training": ["recipe"], "epochs": [9], "mean": [80.0], "every": [[80.0]]})
    figure = curve_plot.curve(table, [six])
    x = [line.get_xdata().tolist() for axes in figure.axes for line in axes.lines if line.get_marker() == "s"]
    assert x == [[1.0], [600]]


def test_reported_networks_are_within_the_budget_and_have_a_source():
    assert all(one.parameters < 5 and one.source.startswith("https://") for one in PUBLISHED)
    assert len({one.name for one in PUBLISHED}) == len(PUBLISHED)


def test_another_width_is_refused_in_one_line():
    with pytest.raises(pretrained.NoSuchModel, match="^width: got 40, expected one of "):
        pretrained.load_pretrained(40)


def test_models_lists_every_network_that_comes_with_the_project():
    text, have = pretrained.text(), networks.runs()
    assert 64 in have and len(text.split("\n")) == 2 + len(have)
    for run in have.values():
        assert f"{100 * run.predictions.accuracy:.2f}" in text and f"{run.environment['parameters']:,}" in text
