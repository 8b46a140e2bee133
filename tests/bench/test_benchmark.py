"""The benchmark: its loops are what their names say, each trains, and a loop in its own process answers."""

import itertools
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
import torch
from test_train_step import TINY
from torch import nn

from cifar_lib import paths
from cifar_lib.bench import benchmark as bench
from cifar_lib.bench import loops, parts
from cifar_lib.config import Config, from_settings
from cifar_lib.data import datasets
from cifar_lib.evidence import speed_file
from cifar_lib.models.dropout import ReLUDropout
from cifar_lib.training import cuda_graphs

TOY = Config(**TINY)
CPU_LOOPS = loops.ladder(gpu=False, bfloat16=True)
IN_ONE_PROCESS = [loop for loop in CPU_LOOPS if not (loop.workers or "torch.compile" in loop.levers)]


@pytest.fixture
def small(monkeypatch, cifar10):
    """Real CIFAR-10, loaded once."""
    monkeypatch.setattr(datasets, "load", lambda config: cifar10)
    monkeypatch.setattr(loops.memory, "reuse", lambda: True)  # for good, and for the other tests too


@pytest.mark.parametrize("gpu", [False, True])
def test_ladder_adds_one_lever_at_a_time(gpu):
    ladder = loops.ladder(gpu, bfloat16=True)
    assert [loop.workers for loop in ladder[:3]] == [0, 2, 8] and all(loop.workers is None for loop in ladder[3:])
    assert len({loop.name for loop in ladder}) == len(ladder) and ladder[3].levers == ("data on the device",)
    assert not any(loop.levers for loop in ladder[:3])
    for before, after in zip(ladder[3:], ladder[4:], strict=False):
        assert after.levers[:-1] == before.levers and after.name == f"+ {after.levers[-1]}"
    assert {*ladder[-1].levers} >= {"fused SGD, no waiting", "torch.compile"}
    assert {*ladder[-1].levers} <= {*loops.LEVERS} and ("CUDA graph" in ladder[-1].levers) == gpu
    assert {loop.precision for loop in ladder} == {"float32", "bfloat16"}
    assert {loop.precision for loop in loops.ladder(gpu, bfloat16=False)} == {"float32"}


def test_the_loops_are_those_of_the_stored_benchmark():
    """So that another machine's file can be read beside it."""
    stored = [(loop["name"], loop["lever"], loop["precision"]) for loop in speed_file.read("cpu").facts["sides"]]
    assert [(loop.name, "".join(loop.levers[-1:]), loop.precision) for loop in CPU_LOOPS] == stored


@pytest.mark.parametrize(("border", "least"), [("black", 0), ("reflect", 1), ("mean", 114 / 255)])
@pytest.mark.parametrize("workers", [None, 0, 2])
def test_every_feed_crops_as_the_settings_say_and_gives_full_batches(monkeypatch, border, least, workers):
    """White images, 20 of them in batches of 7: two full ones a pass."""
    white = datasets.Split(np.full((20, 32, 32, 3), 255, np.uint8), np.arange(20) % 10)
    monkeypatch.setattr(datasets, "load", lambda config: datasets.Dataset("cifar10", white, white, white))
    config = Config(**TINY | {"crop_padding": border, "data_normalize": False, "batch_size": 7, "num_workers": 1})
    batches = loops.feed(config, workers)
    taken = [batches.take(*key) for key in itertools.islice(loops.full(batches, config), 5)]
    assert [(len(x), len(y)) for x, y in taken] == [(7, 7)] * 5
    assert min(x.min() for x, _ in taken) == pytest.approx(least)
    assert workers is None or batches.loader.num_workers == workers  # whatever the cores and the settings


@pytest.mark.parametrize("loop", IN_ONE_PROCESS, ids=lambda loop: loop.name)
def test_every_loop_trains(small, monkeypatch, loop):
    """The same network, moved by every step; the reference has torch's own dropout and is contiguous."""
    networks = []
    build = loops.resnet.build
    monkeypatch.setattr(loops.resnet, "build", lambda config: networks.append(build(config)) or networks[-1])
    take_steps = loops.build(loop, TOY)
    before = [p.detach().clone() for p in networks[0].parameters()]
    take_steps(7)
    assert not any(torch.equal(a, b) for a, b in zip(before, networks[0].parameters(), strict=True))
    in_one = "ReLU and dropout in one" in loop.levers
    assert any(isinstance(module, ReLUDropout) for module in networks[0].modules()) == in_one
    assert any(type(module) is nn.Dropout for module in networks[0].modules()) != in_one
    form = torch.channels_last if "channels last" in loop.levers else torch.contiguous_format
    assert networks[0].stages[0][0].conv1.weight.is_contiguous(memory_format=form)


def test_a_turn_in_its_own_process(cifar10_root):
    assert CPU_LOOPS[7].levers[-1] == "fused SGD, no waiting"
    began = time.time()
    turn = bench._alone(bench._turn, CPU_LOOPS[7], TOY, 2, began)
    assert 0 < turn["seconds"] < turn["cold"] < time.time() - began and turn["memory"] > 10**8
    rows = bench._alone(bench.profile, TOY, CPU_LOOPS[7])
    assert rows[0]["seconds"] > 0 and "convolution, backward" in {row["kind"] for row in rows}
    with pytest.raises(BrokenProcessPool):
        bench._alone(os._exit, 1)
    assert not multiprocessing.active_children()


def take_turns(monkeypatch, chosen, fails=()):
    """Three rounds with turns that are made up: the turns, in which order they were taken, and the messages."""
    order, messages = [], []

    def alone(act, loop, config, steps, began):
        order.append(loop.name)
        if (loop.name, order.count(loop.name)) in fails:
            raise RuntimeError("no luck\nat all")
        return {"seconds": len(order), "memory": 10 - len(order), "cold": len(order) ** 2}

    monkeypatch.setattr(bench, "_alone", alone)
    return bench._rounds(chosen, TOY, 3, 1, messages.append), order, messages


def test_rounds_go_forth_and_back_and_a_loop_that_fails_is_left_out(monkeypatch):
    """Whether it does so at once or later."""
    chosen = [CPU_LOOPS[0], CPU_LOOPS[1], CPU_LOOPS[3], CPU_LOOPS[7]]
    a, b, c, d = (loop.name for loop in chosen)
    turns, order, messages = take_turns(monkeypatch, chosen, fails=[(b, 1), (d, 2)])
    assert order == [a, b, c, d, d, c, a, a, c] and list(turns) == [chosen[0], chosen[2]]
    assert [line for line in messages if "img/s" not in line] == [f"{b}: no luck; left out", f"{d}: no luck; left out"]
    row = bench._row(chosen[2], turns[chosen[2]], 8)
    assert row["seconds"] == [3, 6, 9] and (row["memory"], row["cold"]) == (7, 36)
    assert (row["name"], row["lever"], row["reference"]) == ("+ data on the device", "data on the device", False)
    assert row.keys() == speed_file.read("cpu").facts["sides"][0].keys()


@pytest.mark.parametrize("left", [0, 3])
def test_a_benchmark_without_one_of_its_ends_is_refused(monkeypatch, left):
    chosen = [CPU_LOOPS[0], CPU_LOOPS[3]]
    fails = [(loop.name, 2) for loop in chosen if loop != CPU_LOOPS[left]]
    with pytest.raises(bench.BenchError, match="^bench: neither every reference nor"):
        take_turns(monkeypatch, chosen, fails)


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_what_is_profiled_is_eager_and_on_a_cpu_in_float32(gpu, bfloat16):
    loop = bench._profiled(loops.ladder(gpu, bfloat16), gpu)
    assert loop.levers[-1] == ("bfloat16" if gpu and bfloat16 else "fused SGD, no waiting")


@pytest.mark.parametrize("name", ["strong", "peer"])
def test_what_the_other_loops_do_not_have_is_refused(name, cifar10_root):
    with pytest.raises(bench.BenchError, match="^bench: the loops to compare with have no .*; leave them as they are$"):
        bench.run(from_settings({"preset": name}), 1, 1, papermill=False)


def test_a_captured_loop_trains_in_windows(small, monkeypatch):
    """Where a graph repeats its work by running it again; its two kinds of call are recorded before the first step."""
    recorded = []
    monkeypatch.setattr(cuda_graphs, "CudaGraphs", lambda: lambda work: recorded.append(work) or work)
    networks = []
    build = loops.resnet.build
    monkeypatch.setattr(loops.resnet, "build", lambda config: networks.append(build(config)) or networks[-1])
    loop = loops.Loop("captured", (*CPU_LOOPS[7].levers, "CUDA graph"))
    calls = []
    run = cuda_graphs.CudaGraphStep.run
    look = lambda self, keys, lrs, total: calls.append(len(keys)) or run(self, keys, lrs, total)  # noqa: E731
    monkeypatch.setattr(cuda_graphs.CudaGraphStep, "run", look)
    take_steps = loops.build(loop, TOY)
    before = [p.detach().clone() for p in networks[0].parameters()]
    take_steps(1), take_steps(12)
    assert len(recorded) == 2 and calls == [1, 1, 1, 1, 1, 5, 1, 1, 1]
    assert not any(torch.equal(a, b) for a, b in zip(before, networks[0].parameters(), strict=True))


def test_inference_is_timed_at_every_size(monkeypatch):
    monkeypatch.setattr(parts, "BATCHES", (1, 3))
    monkeypatch.setattr(torch, "compile", lambda network, dynamic: network)
    rows = parts.inference(TOY, rounds=2)
    assert [(row["batch"], row["how"]) for row in rows[:3]] == [(1, "eager"), (1, "folded"), (1, "folded, compiled")]
    assert len(rows) == 6 and all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in rows)


def test_start_up_loads_little():
    """`--help` and a bare import load neither torch nor pandas, on which the seconds of a start hang."""
    heavy = "{'torch', 'torchvision', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)"
    for act in ("import cifar_lib", "import cifar_lib.__main__ as m; m.parser().format_help()"):
        code = f"import sys; {act}; print({heavy})"
        done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"
