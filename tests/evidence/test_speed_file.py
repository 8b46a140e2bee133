"""Laws of a stored benchmark: throughput, ratios within a round, and shares of the limits, by hand on round numbers."""

import copy
import json
import subprocess
import sys

import pytest

from cifar_lib import paths
from cifar_lib.evidence import speed_file


def loop(name, seconds, reference=False, precision="float32"):
    """A loop that trained 100 images a turn."""
    facts = {"name": name, "lever": name.removeprefix("+ "), "reference": reference, "precision": precision}
    return facts | {"images": 100, "seconds": seconds, "memory": 2_000_000_000, "cold": 5.0}


STATISTICS = {
    "format": speed_file.FORMAT,
    "machine": {"device": "cpu: made up", "threads": 2, "packages": {"torch": "2.15.0"}, "date": "2026-11-23"},
    "config": {"batch_size": 10},
    "clock": "Made up.",
    "limits": {"peak_float32": 1e10, "peak_bfloat16": 4e10, "bandwidth": 1e9},
    "work": {"convolution": {"flops": 1e8, "elements": 1e5}, "batch norm": {"flops": 1e6, "elements": 1e6}},
    "sides": [
        loop("reference, 0 workers", [10, 20, 10], reference=True),
        loop("reference, 2 workers", [20, 10, 20], reference=True),
        loop("+ layout", [5, 5, 2]),
        loop("+ bfloat16", [2.5, 2, 2], precision="bfloat16"),
    ],
    "input": [
        {"name": "one by one", "images": 100, "seconds": [1, 1, 1]},
        {"name": "at once", "images": 1000, "seconds": [1, 2, 4]},
    ],
    "inference": [
        {"batch": 1, "how": "eager", "precision": "float32", "seconds": [0.1, 0.2, 0.3]},
        {"batch": 1, "how": "compiled", "precision": "bfloat16", "seconds": [0.05]},
        {"batch": 8, "how": "eager", "precision": "float32", "seconds": [0.4]},
    ],
    "profile": [
        {"name": "aten::convolution", "kind": "convolution", "calls": 3, "seconds": 0.15},
        {"name": "aten::convolution_backward", "kind": "convolution", "calls": 3, "seconds": 0.25},
        {"name": "aten::native_batch_norm", "kind": "batch norm", "calls": 3, "seconds": 0.08},
        {"name": "aten::copy_", "kind": "other", "calls": 9, "seconds": 0.02},
    ],
    "profiled": "+ layout",
    "start_up": {"import torch": 2.0},
}


@pytest.fixture
def made_up():
    return speed_file.Speed(copy.deepcopy(STATISTICS))


def by(table, name, key="loop"):
    return table.set_index(key).loc[name]


def test_throughputs_are_medians_with_their_range(made_up):
    row = by(made_up.ladder, "+ layout")
    assert (row.img_s, row.low, row.high) == (20, 20, 50)
    assert row.epoch_s == 50_000 / 20
    assert (row.memory_gb, row.cold_s) == (2, 5)
    assert list(made_up.ladder.loop) == [one["name"] for one in STATISTICS["sides"]]


def test_ratios_pair_within_a_round_and_against_the_best_reference_there(made_up):
    """The references take turns in being best, at 10 images a second each time."""
    row = by(made_up.ladder, "+ layout")
    assert (row.ratio, row.ratio_low, row.ratio_high) == (2, 2, 5)
    assert made_up.ladder.ratio.tolist()[:2] == [1, 0.5]
    assert made_up.ladder.ratio_high[made_up.ladder.reference].max() == 1


def test_a_slow_round_cancels(made_up):
    before = made_up.ladder[["ratio", "ratio_low", "ratio_high"]]
    slowed = copy.deepcopy(STATISTICS)
    for one in slowed["sides"]:
        one["seconds"][1] *= 8
    after = speed_file.Speed(slowed).ladder
    assert after[before.columns].equals(before)
    assert after.low[2] == 2.5


def test_a_lever_is_held_against_the_loop_before_it(made_up):
    levers = made_up.levers
    assert levers.lever.tolist() == ["layout", "bfloat16"]
    assert levers.ratio.tolist() == [2, 2]  # of 2, 2, 5 and 2, 2.5, 1
    assert levers.ratio_low.tolist() == [2, 1]


def test_shares_of_the_limits_by_hand(made_up):
    """One image: 1.01e8 FLOPs; 10 ms of arithmetic and 4 ms of bytes, of which the second kind's count."""
    row = by(made_up.ladder, "+ layout")
    assert row.gflops == pytest.approx(2.02)
    assert row.share_of_peak == pytest.approx(0.202)
    assert row.share_of_roofline == pytest.approx(20 * (0.010 + 0.004))
    half = by(made_up.ladder, "+ bfloat16")  # 50 a second, half the bytes, four times the arithmetic's rate
    assert half.share_of_peak == pytest.approx(50 * 1.01e8 / 4e10)
    assert half.share_of_roofline == pytest.approx(50 * (0.0025 + 0.002))


def test_a_limit_that_was_not_measured_gives_no_share(made_up):
    made_up.facts["limits"]["peak_bfloat16"] = None
    row = by(made_up.ladder, "+ bfloat16")
    assert row[["share_of_peak", "share_of_roofline"]].isna().all()
    assert row.img_s == 50


def test_kinds_add_up_to_the_step(made_up):
    kinds = made_up.kinds
    assert kinds.kind.tolist() == ["convolution", "batch norm", "other"]
    assert kinds.share.sum() == pytest.approx(1)
    assert kinds.seconds.sum() == pytest.approx(sum(one["seconds"] for one in STATISTICS["profile"]))
    row = by(kinds, "convolution", "kind")
    assert (row.flops, row.bytes) == (1e9, 4e6)
    assert row.gflops == pytest.approx(1e9 / 0.4 / 1e9)
    assert kinds.bound.tolist() == pytest.approx([0.1, 0.04, 0])
    assert made_up.operations.name[0] == "aten::convolution_backward"


def test_the_profiled_loop_says_how_wide_an_element_is(made_up):
    assert made_up.profiled.loop == "+ layout"
    assert by(made_up.kinds, "batch norm", "kind").bytes == 4e7
    made_up.facts["profiled"] = "+ bfloat16"
    again = speed_file.Speed(made_up.facts)
    assert again.profiled.loop == "+ bfloat16"
    assert by(again.kinds, "batch norm", "kind").bytes == 2e7


def test_work_that_the_profiler_did_not_see_has_no_rate(made_up):
    made_up.facts["work"]["optimizer"] = {"flops": 1e3, "elements": 1e3}
    row = by(made_up.kinds, "optimizer", "kind")
    assert row.seconds == 0 and row.isna().gflops


def test_inference_is_held_against_eager_float32_at_the_same_batch_size(made_up):
    table = made_up.inference
    assert table.ms.tolist() == pytest.approx([200, 50, 400])
    assert table.img_s.tolist() == pytest.approx([5, 20, 20])
    assert table.ratio.tolist() == pytest.approx([1, 4, 1])


def test_input_and_papermill(made_up):
    assert made_up.input.img_s.tolist() == [100, 500]
    assert made_up.input.ratio.tolist() == [1, 5]
    assert made_up.papermill.empty
    made_up.facts["papermill"] = {"command_line": [10, 20], "papermill": [11, 20]}
    assert made_up.papermill.ratio_high.tolist() == pytest.approx([1, 1.1])


def test_reading_and_refusing_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "EVIDENCE", tmp_path)
    with pytest.raises(speed_file.SpeedError, match=r"^benchmark 'cpu' is not in .*; there are: none yet$"):
        speed_file.read("cpu")
    speed_file.path("cpu").parent.mkdir(parents=True)
    speed_file.path("cpu").write_text(json.dumps(STATISTICS))
    assert speed_file.read("cpu").facts == STATISTICS
    for name in ("gpu", "", "../speed/cpu"):
        with pytest.raises(speed_file.SpeedError, match="there are: cpu$"):
            speed_file.read(name)
    speed_file.path("old").write_text(json.dumps(STATISTICS | {"format": 0}))
    with pytest.raises(speed_file.SpeedError, match=f"got format 0, expected {speed_file.FORMAT}"):
        speed_file.read("old")


def test_source_says_what_it_was_measured_on(made_up):
    assert made_up.source == "cpu: made up, 2 threads; torch 2.15.0; 2026-11-23"
    assert made_up.training_source == f"{made_up.source}; batches of 10"


def test_no_torch():
    code = "import sys, cifar_lib.evidence.speed_file, cifar_lib.figures.speed_plots; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_titles_are_of_columns_there_are():
    """And no two that stand in one table get the same one."""
    this = speed_file.read("cpu")
    tables = [this.ladder, this.input, this.levers, this.inference, this.papermill]
    assert (
        set(speed_file.TITLES) <= {column for table in tables for column in table}
        and speed_file.title("loop") == "loop"
    )
    assert all(table.rename(columns=speed_file.title).columns.is_unique for table in tables)
