"""A measurement on digits, small: what it says agrees with itself and with the run, and the report can read it."""

import json

import pytest
from edge_networks import ABSENT, WHY, trained

from cifar_lib import data
from cifar_lib.edge import extra, folder, forms, latency, measurement
from cifar_lib.evidence import edge_file
from cifar_lib.figures import edge_plots

pytestmark = [pytest.mark.xdist_group("edge"), pytest.mark.skipif(ABSENT, reason=WHY)]


@pytest.fixture(scope="module")
def facts() -> dict:
    run = trained()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "BUSY", 50)  # tests share the machine
        patch.setattr(measurement, "ROUNDS", 2)
        patch.setattr(measurement, "CORRUPTED", 20)
        patch.setattr(forms, "OPENVINO", {})
        found = measurement.measure(run, data.load(run.config))
    return json.loads(edge_file.as_bytes(found))


def test_float32_answers_as_the_run_did(facts):
    form, own = facts["forms"]["ONNX, float32"], facts["forms"][edge_file.EAGER]
    assert form["agreement"] >= 0.99 and form["rms"] < 0.01 and abs(form["accuracy"] - own["accuracy"]) < 0.01
    assert facts["images"] == len(data.load(trained().config).test.labels)


def test_smaller_forms_are_smaller(facts):
    whole, half, int8 = (facts["forms"][name]["bytes"] for name in forms.FILES)
    assert half < whole and int8 < whole
    assert facts["peak_activation_bytes"]["float32"] == 4 * facts["peak_activation_bytes"]["int8"]


def test_a_process_without_torch_takes_less(facts):
    eager, int8 = (facts["forms"][name] for name in (edge_file.EAGER, edge_file.INT8))
    assert int8["peak_mb"] < eager["peak_mb"] / 2 and int8["start_s"] > 0


def test_layers_are_about_the_time_of_an_image(facts):
    assert sum(row["ms"] for row in facts["layers"]) < 20 * facts["forms"][edge_file.INT8]["ms"]
    assert {"stage 1", "stage 2", "stage 3"} <= {row["part"] for row in facts["layers"]}


def test_the_report_can_read_it(facts):
    this = edge_file.Edge(facts)
    assert len(this.answers) == 3 and len(this.costs) == 4
    assert len(this.changed) == round((1 - this.answers.agreement[edge_file.INT8] / 100) * facts["images"])
    assert edge_plots.layers(this).words and edge_plots.margins(this).words
    assert 0.5 < 1024 * edge_file.sizes([this]).int8_kib[this.facts["run"]] / this.facts["parameters"] < 3
    assert [line.count("|") for line in edge_file.lines(this)] == [9] * 4
    assert edge_file.lines(this, (edge_file.INT8,)) == edge_file.lines(this)[-1:]


@pytest.mark.skipif(not extra.find_spec("openvino"), reason="openvino is not installed, which is optional")
def test_openvino_answers_as_onnx_runtime_does(tmp_path):
    folder.export(trained(), tmp_path, int8=True)
    images = data.load(trained().config).test.images[:50]
    for form, file in forms.OPENVINO.items():
        other = "ONNX, float32" if "float32" in form else edge_file.INT8
        own, theirs = (forms.asker(name, tmp_path / file)(images) for name in (form, other))
        assert (own.argmax(1) == theirs.argmax(1)).mean() >= 0.95, form
    assert forms.footprint(form, tmp_path / file)["peak_mb"] > 0
