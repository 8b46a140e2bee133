"""Which devices a network fits, and one line for a measurement that is not there."""

import json

import pytest

from cifar_lib import paths
from cifar_lib.evidence import edge_file


def made(weights: int, working: int, multiply_adds: float) -> edge_file.Edge:
    facts = {
        "forms": {edge_file.INT8: {}},
        "int8_parameter_bytes": weights,
        "peak_activation_bytes": {"int8": working},
        "multiply_adds": multiply_adds,
    }
    return edge_file.Edge(facts)


def test_a_small_network_fits_a_microcontroller_and_the_whole_one_does_not():
    small = made(90 << 10, 48 << 10, 12.5e6).devices
    assert small[["weights fit", "activations fit", "answer"]].all(axis=None)
    large = made(5_038_334, 192 << 10, 798.7e6).devices
    fits = large[["weights fit", "activations fit", "answer"]].all(axis=1)
    assert fits.tolist() == [False, False, False, True, True]


def test_activations_alone_can_be_too_large():
    table = made(1000, 300 << 10, 1e6).devices
    assert table["activations fit"].tolist() == [False, True, True, True, True] and table["weights fit"].all()


def test_a_measurement_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(edge_file.paths, "EVIDENCE", tmp_path)
    with pytest.raises(edge_file.EdgeError, match="^measurement 'x' is not in .*; there are: none yet$"):
        edge_file.read("x")
    (tmp_path / "edge").mkdir()
    edge_file.path("old").write_bytes(json.dumps({"format": 0}).encode())
    with pytest.raises(edge_file.EdgeError, match="^measurement 'old': got format 0, expected 2; measure it again$"):
        edge_file.read("old")


def test_no_answer_need_change():
    edge = made(1_000, 1_000, 1e6)
    edge.facts["forms"][edge_file.INT8]["changed"] = []
    edge.facts["classes"] = ["a", "b"]
    assert edge.changed.empty and list(edge.changed.columns) == ["image", "label", "before", "after", "margin"]


def test_the_smallest_network_comes_first_and_says_what_it_fits():
    small, large = made(90 << 10, 48 << 10, 12.5e6), made(5_038_334, 192 << 10, 798.7e6)
    for edge, run, parameters in ((small, "tiny", 80_000), (large, "whole", 4_700_000)):
        edge.facts.update(run=run, parameters=parameters)
        edge.facts["forms"][edge_file.INT8].update(accuracy=0.9, ms=1.5)
        edge.facts["forms"][edge_file.EAGER] = {"accuracy": 0.91}
    table = edge_file.sizes([large, small])
    assert table.index.tolist() == ["tiny", "whole"] and table.int8_kib["tiny"] == 90
    assert table.fits.tolist() == [5, 2] and table.float32.tolist() == [91, 91]


def test_the_smallest_network_is_of_its_class():
    """MLPerf Tiny's image classification: 96 KB of parameters; its target is 85%, ours one point more."""
    tiny = edge_file.read(paths.TINY.name)
    assert tiny.facts["int8_parameter_bytes"] <= 96_000 and tiny.facts["images"] == 10_000
    assert tiny.facts["forms"][edge_file.INT8]["accuracy"] >= 0.86
    fits = tiny.devices[["weights fit", "activations fit", "answer"]].all(axis=1)
    assert fits.all(), "it is made for microcontrollers"
