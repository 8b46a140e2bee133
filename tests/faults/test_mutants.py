"""Each piece of a training's state matters: with it dropped on purpose, the check of the fault suite goes red.

The check: a run that is stopped after two of six epochs and goes on in a new `Training` ends with the fingerprint of
the run that never stopped. A mutant is the same program with one piece of state lost, or one seed drawn elsewhere.
"""

import itertools
from pathlib import Path

import pytest
import torch
from digests import state_digest
from fault_runs import images_file, prepared

from cifar_lib import runs
from cifar_lib.data import batches
from cifar_lib.errors import UserError
from cifar_lib.training import checkpoint, train_loop, train_state

ACCURACIES = (0.3, 0.5, 0.4, 0.5, 0.1, 0.2)
COUNTER = itertools.count()
RESTORE = train_state.Training.restore


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return images_file(tmp_path_factory.mktemp("images"))


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    """The best epoch is the second, before the stop; a later one ties."""
    monkeypatch.setattr(train_loop, "_score", lambda training: (1.0, ACCURACIES[training.epoch], None))


def ends(path: Path, stop_after: int | None) -> str:
    """The fingerprint at the end of a run that was stopped after that many epochs, if any, and continued."""
    name = f"mutant-{next(COUNTER)}"
    if stop_after:
        list(itertools.islice(train_loop.fit(prepared(name, path, ema_half_life=0.2)), stop_after))
    list(train_loop.fit(prepared(name, path, ema_half_life=0.2)))
    return state_digest(checkpoint.read(runs.open(name).folder / "last.pt"))


def forgetting(change):
    """A mutant whose restored training has `change` done to it."""

    def mutate(monkeypatch):
        def restore(self, state):
            RESTORE(self, state)
            with torch.no_grad():
                change(self)

        monkeypatch.setattr(train_state.Training, "restore", restore)

    return mutate


def momentum_lost(self):
    for state in self.optimizer.state.values():
        state["momentum_buffer"].zero_()


def weights_lost(self):
    fresh = train_state.resnet.build(self.config)
    self.network.load_state_dict(fresh.state_dict() | buffers(self.network))


def buffers(network) -> dict:
    return dict(network.named_buffers())


def buffers_lost(self):
    for module in self.network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()


def slow_lost(self):
    for slow, fast in zip(self.optimizer.slow, self.optimizer.fast, strict=True):
        slow.copy_(fast)


def drawn_globally(owner, name):
    """A seed from torch's global generator, as it happens to stand, in place of (run seed, epoch, purpose)."""

    def mutate(monkeypatch):
        torch.manual_seed(0)
        state = {"generator": torch.Generator().manual_seed(0)}
        draw = lambda *_: int(torch.randint(2**31, (), generator=state["generator"]))  # noqa: E731
        if name == "seed_of":
            monkeypatch.setattr(owner, name, draw)
        else:
            plan = batches.Batches.plan
            monkeypatch.setattr(
                batches.Batches, "plan", lambda self, number: plan(self, draw()) if self.train else plan(self, number)
            )
        made = train_state._build

        def new_process(*args):
            state["generator"].manual_seed(0)  # what a new process begins with
            return made(*args)

        monkeypatch.setattr(train_state, "_build", new_process)

    return mutate


MUTANTS = {
    "weights": forgetting(weights_lost),
    "batch norm's statistics": forgetting(buffers_lost),
    "optimizer: momentum": forgetting(momentum_lost),
    "Lookahead: counter": forgetting(lambda self: setattr(self.optimizer, "count", 0)),
    "Lookahead: slow weights": forgetting(slow_lost),
    "average: weights": forgetting(
        lambda self: [s.copy_(f) for s, f in zip(self.average.shadow, self.average.params, strict=True)]
    ),
    "average: counter": forgetting(lambda self: self.average.count.zero_()),
    "scheduler: begins anew": forgetting(
        lambda self: setattr(self, "lr_schedule", self.lr_schedule.roll(self.epoch, 0))
    ),
    "scheduler: an epoch late": forgetting(lambda self: setattr(self, "lr_schedule", self.lr_schedule.roll(1, 0))),
    "epoch: one too many": forgetting(lambda self: setattr(self, "epoch", self.epoch + 1)),
    "epoch: one too few": forgetting(lambda self: setattr(self, "epoch", self.epoch - 1)),
    "epoch: from 0": forgetting(lambda self: setattr(self, "epoch", 0)),
    "best: value": forgetting(lambda self: setattr(self, "best_accuracy", -1.0)),
    "best: epoch": forgetting(lambda self: setattr(self, "best_epoch", self.epoch - 1)),
    "best: weights": forgetting(lambda self: setattr(self, "weights", self.weights + 1)),
    "history": forgetting(lambda self: self.rows.clear()),
    "seed of dropout drawn globally": drawn_globally(train_loop, "seed_of"),
    "seed of order and crops drawn globally": drawn_globally(batches, "plan"),
}


@pytest.fixture(scope="module")
def whole(path) -> str:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(train_loop, "_score", lambda training: (1.0, ACCURACIES[training.epoch], None))
        return ends(path, None)


def test_the_program_as_it_is_passes(path, whole):
    assert ends(path, 2) == whole


@pytest.mark.mutant
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(path, whole, monkeypatch, mutant):
    MUTANTS[mutant](monkeypatch)
    if "globally" in mutant:
        whole = ends(path, None)  # of the mutant itself: stopped or not, it should end the same, and does not
    try:
        end = ends(path, 2)
    except UserError:
        raise
    except (ValueError, IndexError):
        return  # it does not even get to its end
    assert end != whole, f"{mutant} can be lost unnoticed"
