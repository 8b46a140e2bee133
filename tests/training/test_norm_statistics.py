"""Rules for batch norm's statistics: each gathers from what it says, and leaves the training as it was."""

import pytest
import torch
from digests import state_digest
from test_train_loop import TINY

from cifar_lib import runs
from cifar_lib.config import PRESETS, Config
from cifar_lib.training import checkpoint, norm_statistics, train_loop, train_state

SETTINGS = TINY | {"max_epochs": 1}
ALWAYS = ["as fed", "as fed, 10,000 images", "running", "plain images"]
OTHERWISE = ["as fed, float32 weights", "as fed, in bfloat16"]


@pytest.mark.parametrize(
    ("name", "settings", "own"),
    [
        ("plain", {"drop": 0}, []),
        ("dropped", {"drop": 0.2}, ["as fed, with dropout"]),
        ("mixed", PRESETS["strong"], ["crop and flip alone"]),
    ],
)
def test_one_row_per_rule_and_the_published_one_agrees_with_history(small, name, settings, own):
    config = Config(**SETTINGS | settings)
    state = train_loop.prepare(config, small, runs.start(f"rules-{name}", config))
    row = next(train_loop.fit(state))
    run = train_loop.finish(state)
    before = state_digest(checkpoint.read(run.folder / checkpoint.LAST))
    norm_statistics.measure(run, small)
    table = run.norm_statistics.set_index("rule")
    assert table.index.tolist() == [*ALWAYS, *own, *OTHERWISE]
    assert table.accuracy["as fed"] == row["valid_accuracy"]
    assert table.loss["as fed"] == pytest.approx(row["valid_loss"], rel=1e-6)
    assert table.loss["running"] != table.loss["as fed"] != table.loss["plain images"]
    assert not own or table.loss[own[0]] != table.loss["as fed"]
    assert state_digest(checkpoint.read(run.folder / checkpoint.LAST)) == before


def test_what_is_measured_is_the_last_state(small):
    config = Config(**SETTINGS)
    state = train_loop.prepare(config, small, runs.start("rules-last", config))
    list(train_loop.fit(state))
    again = train_state.last(state.run, small)
    for a, b in zip(state.network.state_dict().values(), again.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_run_without_validation_is_refused(small):
    run = runs.start("rules-whole", Config(**SETTINGS | {"valid_size": 0}))
    with pytest.raises(runs.RunError, match="^run rules-whole: it has no validation split to compare the rules on"):
        norm_statistics.measure(run, small)


def test_a_run_without_a_checkpoint_is_refused(small):
    run = runs.start("rules-none", Config(**SETTINGS))
    with pytest.raises(checkpoint.CheckpointError, match="last.pt: No such file"):
        norm_statistics.measure(run, small)
