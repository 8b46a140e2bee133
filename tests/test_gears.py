"""The gears: which is wanted where, what a graph would replay, and the way back to eager."""

import itertools

import pytest
import torch
from test_steps import TINY, noise, stepper_of

from cifar_lib import gears, runs, train
from cifar_lib.capture import Captured
from cifar_lib.config import Config
from cifar_lib.data import Dataset, Split
from cifar_lib.placement import PlacementError
from cifar_lib.steps import Stepper

COUNTER = itertools.count()


def prepared(**settings) -> train.Training:
    config = Config(**(TINY | {"max_epochs": 2, "lookahead_k": 2} | settings))
    split = noise(45)
    dataset = Dataset("cifar10", split, noise(10), Split(split.images[:10], split.labels[:10]))
    return train.prepare(config, dataset, runs.start(f"gears-{next(COUNTER)}", config))


def state(training: train.Training) -> list[torch.Tensor]:
    momentum = [s["momentum_buffer"] for s in training.optimizer.state.values()]
    return [*training.network.state_dict().values(), *getattr(training.optimizer, "slow", []), *momentum]


# Without processes of their own, torchvision's transforms draw from dropout's generator, and a window draws ahead.
WORKERS = {"loader": "workers", "num_workers": 0, "drop": 0}


@pytest.mark.parametrize("settings", [{}, {"lookahead": False}, {"lookahead_k": 3}, WORKERS])
def test_captured_steps_are_the_eager_ones_bit_for_bit(settings):
    """With a recorder that replays by running again, everything around the graph is held to the eager steps: inputs
    copied, windows, Lookahead's count, the short batch. Each kind of call is recorded once, in the first epoch."""
    eager, captured = prepared(**settings), prepared(**settings)
    recorded = []
    record = lambda work: recorded.append(work) or work  # noqa: E731
    reach = captured.optimizer.k if captured.config.lookahead else gears.WINDOW
    captured.stepper = Captured(captured.stepper, reach, record)
    first = iter(train.fit(captured)), iter(train.fit(eager))
    for steps in first:
        next(steps)
    kinds = len(recorded)
    for steps in first:
        next(steps)
    assert kinds == len(recorded) == len(captured.stepper.recorded) and kinds in (2, 3)
    assert all(torch.equal(a, b) for a, b in zip(state(eager), state(captured), strict=True))
    rows = [t.run.history.drop(columns=["seconds", "images_per_second", "memory_gb"]) for t in (eager, captured)]
    assert rows[0].equals(rows[1])


@pytest.mark.parametrize("count", range(5))
@pytest.mark.parametrize(("steps", "full"), [(391, 390), (352, 351), (6, 6), (4, 3), (1, 0)])
def test_windows_cover_every_step_and_begin_where_lookahead_does(steps, full, count):
    sizes = list(gears.windows(steps, full, count, 5))
    starts = [0, *itertools.accumulate(sizes)][:-1]
    assert sum(sizes) == steps and set(sizes) <= {1, 5}
    for start, size in zip(starts, sizes, strict=True):
        assert size == 1 or ((start + count) % 5 == 0 and start + size <= full)
    assert sizes.count(5) >= full // 5 - 1


def test_a_cpu_needs_neither_unless_asked():
    assert gears.wanted(Config(device="cpu", max_epochs=300), 10**6) == (False, False)
    assert gears.wanted(Config(device="cpu", compile="on"), 1) == (True, False)


def test_a_gpu_compiles_what_is_long_and_captures_always():
    long, short = gears.COMPILE_PAYS, gears.COMPILE_PAYS - 1
    assert gears.wanted(Config(device="cuda"), long) == (True, True)
    assert gears.wanted(Config(device="cuda"), short) == (False, True)
    assert gears.wanted(Config(device="cuda", compile="off", cuda_graphs="off"), long) == (False, False)


def test_graphs_on_a_cpu_are_refused_in_one_line():
    with pytest.raises(PlacementError, match=r"^cuda_graphs: on needs a GPU"):
        gears.wanted(Config(device="cpu", cuda_graphs="on"), 1)


def chosen(monkeypatch, compile) -> tuple[Stepper, str, list[str]]:
    said = []
    monkeypatch.setattr(Stepper, "compile", compile)
    stepper = stepper_of(compile="on", drop=0)
    before = [t.clone() for t in stepper.network.state_dict().values()]
    found, name = gears.choose(stepper, 1, said.append)
    assert all(torch.equal(a, b) for a, b in zip(before, stepper.network.state_dict().values(), strict=True))
    assert found is stepper and stepper.inner.param_groups[0]["lr"] is stepper.rate
    return found, name, said


def test_a_gear_that_agrees_is_taken(monkeypatch):
    found, name, said = chosen(monkeypatch, lambda self: self)
    assert name == "compiled" and said[0].startswith("compiled: agrees with eager on one batch")


def test_a_gear_that_fails_is_left_out(monkeypatch):
    def fails(self):
        raise RuntimeError("no compiler here\nand more lines")

    found, name, said = chosen(monkeypatch, fails)
    assert name == "eager" and said == ["compiled: not possible here (no compiler here); going on without"]


@pytest.mark.parametrize("factor", [1.05, 0.0, float("nan")])
def test_a_gear_that_disagrees_is_left_out(monkeypatch, factor):
    def wrong(self):
        loss = self.loss
        self.forward = lambda *key: (loss(*key)[0] * factor, loss(*key)[1])
        return self

    found, name, said = chosen(monkeypatch, wrong)
    assert name == "eager" and "not used" in said[0] and found.forward == found.loss


def test_the_gear_is_recorded(monkeypatch):
    assert prepared().run.environment["gear"] == "eager"
