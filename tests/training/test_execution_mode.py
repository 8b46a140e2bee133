"""The modes: which is wanted where, what a graph would replay, and the way back to eager."""

import itertools
import re

import pytest
import torch
from test_train_step import IMAGES, STRONG, TINY, noise, stepper_of

from cifar_lib import runs
from cifar_lib.config import Config
from cifar_lib.data import Dataset, Split
from cifar_lib.device.placement import PlacementError
from cifar_lib.training import cuda_graphs, execution_mode, train_loop
from cifar_lib.training.cuda_graphs import CudaGraphStep, call_shapes
from cifar_lib.training.train_step import TrainStep

COUNTER = itertools.count()


def prepared(**settings) -> train_loop.Training:
    config = Config(**(TINY | {"max_epochs": 2, "lookahead_k": 2} | settings))
    split = noise(45)
    dataset = Dataset("cifar10", split, noise(10), Split(split.images[:10], split.labels[:10]))
    return train_loop.prepare(config, dataset, runs.start(f"modes-{next(COUNTER)}", config))


def state(training: train_loop.Training) -> list[torch.Tensor]:
    momentum = [s["momentum_buffer"] for s in training.optimizer.state.values()]
    return [*training.network.state_dict().values(), *getattr(training.optimizer, "slow", []), *momentum]


# Without processes of their own, torchvision's transforms draw from dropout's generator, and a window draws ahead.
WORKERS = {"loader": "workers", "num_workers": 0, "drop": 0}


@pytest.mark.parametrize("settings", [{}, {"lookahead": False}, {"lookahead_k": 3}, WORKERS, STRONG])
def test_captured_steps_are_the_eager_ones_bit_for_bit(settings):
    """With a recorder that replays by running again, everything around the graph is held to the eager steps: inputs
    copied, windows, Lookahead's count, the short batch. Each kind of call is recorded once, before the first step."""
    eager, captured = prepared(**settings), prepared(**settings)
    before, recorded = [tensor.clone() for tensor in state(captured)], []
    record = lambda work: recorded.append(work()) or work  # noqa: E731
    steps_per_call = captured.optimizer.k if captured.config.lookahead else execution_mode.WINDOW
    captured.stepper = CudaGraphStep(captured.stepper, steps_per_call, 45, record)
    assert all(torch.equal(a, b) for a, b in zip(before, state(captured), strict=True))
    assert list(captured.stepper.recorded) == call_shapes(45, 8, steps_per_call) and len(recorded) == len(
        captured.stepper.recorded
    )
    list(train_loop.fit(captured)), list(train_loop.fit(eager))
    assert len(recorded) == len(call_shapes(45, 8, steps_per_call)) == 3
    assert all(torch.equal(a, b) for a, b in zip(state(eager), state(captured), strict=True))
    rows = [t.run.history.drop(columns=["seconds", "images_per_second", "memory_gb"]) for t in (eager, captured)]
    assert rows[0].equals(rows[1])


@pytest.mark.parametrize("count", range(5))
@pytest.mark.parametrize(("steps", "full"), [(391, 390), (352, 351), (6, 6), (4, 3), (1, 0)])
def test_windows_cover_every_step_and_begin_where_lookahead_does(steps, full, count):
    sizes = list(execution_mode.windows(steps, full, count, 5))
    starts = [0, *itertools.accumulate(sizes)][:-1]
    assert sum(sizes) == steps and set(sizes) <= {1, 5}
    for start, size in zip(starts, sizes, strict=True):
        assert size == 1 or ((start + count) % 5 == 0 and start + size <= full)
    assert sizes.count(5) >= full // 5 - 1


@pytest.mark.parametrize("steps_per_call", [1, 2, 5])
@pytest.mark.parametrize("images", [3, 8, 16, 39, 40, 45, 83])
def test_kinds_are_those_of_the_calls_that_epochs_make(images, steps_per_call):
    """Wherever in a window the epoch begins; single steps of full batches are recorded even if none needs them."""
    met, size = set(), 8
    for count in range(steps_per_call):
        done = 0
        for steps in execution_mode.windows(-(-images // size), images // size, count, steps_per_call):
            met.add((steps, min(size, images - done * size)))
            done += steps
    assert met <= set(call_shapes(images, size, steps_per_call)) <= met | {(1, size)}
    assert len(set(call_shapes(images, size, steps_per_call))) == len(call_shapes(images, size, steps_per_call))


def test_a_cpu_needs_neither_unless_asked():
    assert execution_mode.wanted(Config(device="cpu", max_epochs=300), 10**6) == (False, False)
    assert execution_mode.wanted(Config(device="cpu", compile="on"), 1) == (True, False)


def test_a_gpu_compiles_what_is_long_and_captures_always():
    long, short = execution_mode.COMPILE_PAYS, execution_mode.COMPILE_PAYS - 1
    assert execution_mode.wanted(Config(device="cuda"), long) == (True, True)
    assert execution_mode.wanted(Config(device="cuda"), short) == (False, True)
    assert execution_mode.wanted(Config(device="cuda", compile="off", cuda_graphs="off"), long) == (False, False)


def test_graphs_on_a_cpu_are_refused_in_one_line():
    with pytest.raises(PlacementError, match=r"^cuda_graphs: on needs a GPU"):
        execution_mode.wanted(Config(device="cpu", cuda_graphs="on"), 1)


def chosen(monkeypatch, compile) -> tuple[TrainStep, str, list[str]]:
    lines = []
    monkeypatch.setattr(TrainStep, "compile", compile)
    stepper = stepper_of(compile="on", drop=0)
    before = [t.clone() for t in stepper.network.state_dict().values()]
    found, name = execution_mode.choose(stepper, 1, IMAGES, lines.append)
    assert all(torch.equal(a, b) for a, b in zip(before, stepper.network.state_dict().values(), strict=True))
    assert found is stepper and stepper.inner.param_groups[0]["lr"] is stepper.lr
    return found, name, lines


def test_a_gear_that_agrees_is_taken(monkeypatch):
    found, name, lines = chosen(monkeypatch, lambda self: self)
    assert name == "compiled" and lines[0].startswith("compiled: agrees with plain steps")


def test_a_gear_that_fails_is_left_out(monkeypatch):
    def fails(self):
        raise RuntimeError("no compiler here\nand more lines")

    found, name, lines = chosen(monkeypatch, fails)
    assert name == "eager" and lines == ["compiled: not possible here (no compiler here); going on without"]


@pytest.mark.parametrize("factor", [1.05, 0.0, float("nan")])
def test_a_gear_that_disagrees_is_left_out(monkeypatch, factor):
    def wrong(self):
        loss = self.loss
        self.forward = lambda *key: (loss(*key)[0] * factor, loss(*key)[1])
        return self

    found, name, lines = chosen(monkeypatch, wrong)
    assert name == "eager" and "not used" in lines[0] and found.forward == found.loss


def test_an_error_without_words_is_left_out_too(monkeypatch):
    def fails(self):
        raise AssertionError

    assert chosen(monkeypatch, fails)[2] == ["compiled: not possible here (AssertionError()); going on without"]


def test_where_no_plain_step_works_any_more_it_ends_in_one_line(monkeypatch):
    def ruins(self):
        self.batches = None
        raise RuntimeError("the driver is gone")

    with pytest.raises(
        PlacementError, match=r"^compiled: not possible here \(the driver is gone\); and after it no"
    ) as it:
        chosen(monkeypatch, ruins)
    assert "\n" not in str(it.value) and str(it.value).endswith("; take compile off")


def captures(monkeypatch, take=CudaGraphStep.run) -> tuple[str, list[str]]:
    """The mode chosen as if on a GPU, where a graph repeats its work by running it again, and what was said."""
    monkeypatch.setattr(execution_mode, "wanted", lambda config, steps: (False, True))
    monkeypatch.setattr(cuda_graphs, "CudaGraphs", lambda: lambda work: work)
    monkeypatch.setattr(CudaGraphStep, "run", take)
    lines, stepper = [], stepper_of(7 * 8 + 3, drop=0.2)
    stepper.optimizer.count = 3  # a run that is continued within a window
    found, name = execution_mode.choose(stepper, 1, 7 * 8 + 3, lines.append)
    assert stepper.optimizer.count == 3 and isinstance(found, CudaGraphStep) == (name == "captured")
    return name, lines


def test_a_graph_is_recorded_with_the_rate_that_training_sets(monkeypatch):
    """A graph holds the address of the learning rate: another stepper's would be free for others soon."""
    seen, step = [], TrainStep.step
    look = lambda self, *given: seen.append(self.inner.param_groups[0]["lr"] is self.lr) or step(self, *given)  # noqa: E731
    monkeypatch.setattr(TrainStep, "step", look)
    assert captures(monkeypatch)[0] == "captured" and seen and all(seen)


TAKE = CudaGraphStep.run
NUMBER = r"[0-9.e-]+"
LINE = rf"captured: not used: in (5 steps|a step) of \d images the loss is {NUMBER} and the weights move by {NUMBER}, "
LINE += rf"plainly taken {NUMBER} and {NUMBER}; going on without"
FROZEN = {
    "lrs": lambda self, keys, lrs, total: TAKE(self, keys, lrs[:1].expand(len(lrs)), total),
    "images": lambda self, keys, lrs, total: TAKE(self, keys[:1] * len(keys), lrs, total),
    "dropout": lambda self, keys, lrs, total: (torch.manual_seed(9), TAKE(self, keys, lrs, total)),
    "the short batch": lambda self, keys, lrs, total: TAKE(self, keys, lrs * (0.5 if total == 3 else 1), total),
    "single steps": lambda self, keys, lrs, total: TAKE(self, keys, lrs * (2 if len(keys) == 1 else 1), total),
}


@pytest.mark.parametrize("what", FROZEN)
def test_a_graph_that_freezes_anything_is_left_out(monkeypatch, what):
    name, lines = captures(monkeypatch, FROZEN[what])
    assert name == "eager" and re.fullmatch(LINE, lines[0])


def test_the_gear_is_recorded(monkeypatch):
    assert prepared().run.environment["gear"] == "eager"
