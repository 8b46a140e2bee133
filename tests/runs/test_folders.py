"""A run's folder: names, refusals, rows, and writes that are whole or not at all."""

import numpy as np
import pytest

from cifar_lib import paths, runs
from cifar_lib.config import Config, ConfigError
from cifar_lib.runs.predictions import Mistakes, Predictions
from cifar_lib.training import environment


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "a b", "x" * 101, "-p", "evidence", "logs"])
@pytest.mark.parametrize("take", [lambda name: runs.start(name, Config()), runs.open], ids=["start", "open"])
def test_name_that_is_no_plain_folder_or_the_projects_own_is_refused(name, take):
    with pytest.raises(runs.RunError, match="^run: got") as refused:
        take(name)
    assert "\n" not in str(refused.value)


def test_a_name_that_papermill_made_a_number_of_is_text_again():
    """-p run 7 is the run 7; of 1e5, 0.10 and True nobody knows how they were typed."""
    assert runs.start(7, Config()).name == "7" and runs.open(7).name == "7"
    for value in (1e5, 0.1, True, ["a"]):
        with pytest.raises(ConfigError, match="^run: got .*, expected text; papermill keeps it .* -r run VALUE$"):
            runs.start(value, Config())


def test_the_projects_own_run_is_found_wherever_the_runs_are():
    assert paths.REFERENCE.parent != paths.RUNS and runs.open("reference").folder == paths.REFERENCE
    runs.start("reference", Config(max_epochs=7))
    assert runs.open("reference").folder == paths.RUNS / "reference"


def test_unknown_run_names_those_there_are():
    runs.start("is-there", Config())
    with pytest.raises(runs.RunError, match=r"'is-not-there' is not in .*is-there"):
        runs.open("is-not-there")


def test_default_name_tells_settings_apart():
    a, b = Config(lr=0.1), Config(lr=0.2)
    assert runs.default_name(a) == runs.default_name(Config()) != runs.default_name(b)
    assert runs.default_name(Config()).endswith("-44136f")  # of no setting changed: it stays when settings are added


def test_config_round_trip():
    config = Config(num_blocks=(1, 2), conv_kernel_sizes=(3, 5), shortcut_kernel_sizes=(1, 3), valid_size=0)
    assert runs.open(runs.start("round", config).name).config == config


def test_rows_round_trip():
    run = runs.start("rows", Config())
    rows = [dict.fromkeys(runs.COLUMNS, 0.1 + 0.2) | {"epoch": epoch, "valid_loss": None} for epoch in (1, 2, 3)]
    run.record_history(rows)
    assert run.history.train_loss.tolist() == [0.1 + 0.2] * 3 and run.history.valid_loss.isna().all()
    run.record_history(rows[:1])
    assert run.history.epoch.tolist() == [1] and run.epochs == 1


def begun(name: str, epochs: int) -> runs.Run:
    """A run of ten epochs of which that many are done."""
    run = runs.start(name, Config(max_epochs=10))
    run.record("environment.json", {"packages": {}, "threads": 1})
    if epochs:
        run.record_history([dict.fromkeys(runs.COLUMNS, 0.5) | {"epoch": e} for e in range(1, epochs + 1)])
    return run


def test_extending_notes_which_epochs_followed_another_schedule():
    begun("longer", epochs=3)
    runs.extend("longer", 20)
    run = runs.extend("longer", 30)
    steps = [{"epoch": 3, "from": 10, "to": 20}, {"epoch": 3, "from": 20, "to": 30}]
    assert run.config.max_epochs == 30 and run.environment == {"packages": {}, "threads": 1, "extended": steps}


def test_extending_a_run_with_no_epoch_done_notes_nothing():
    """All its epochs will follow the schedule of the longer run."""
    begun("not-begun", epochs=0)
    assert "extended" not in runs.extend("not-begun", 20).environment
    runs.start("bare", Config(max_epochs=10))
    assert not runs.extend("bare", 20).has("environment.json")


def test_what_was_extended_stays_noted_where_the_run_goes_on():
    begun("goes-on", epochs=3)
    run = runs.extend("goes-on", 20)
    before = run.environment
    environment.keep(run, before | {"threads": 2}, 3, lambda line: None)
    assert run.environment["extended"] == before["extended"] and run.environment["continued"][0]["threads"] == [1, 2]


def test_predictions_round_trip():
    run, random = runs.start("predicted", Config()), np.random.default_rng(0)
    logits = random.normal(size=(50, 10)).astype(np.float32)
    given = Predictions(random.integers(0, 10, 50), logits.argmax(1), logits)
    none = np.arange(0)
    run.finish(given, Mistakes(none, np.zeros((0, 32, 32, 3), np.uint8), none, none, none))
    read = run.predictions
    assert (read.labels == given.labels).all() and (read.predicted == given.predicted).all()
    np.testing.assert_allclose(read.logits, logits, atol=2e-3)
    np.testing.assert_allclose(read.probabilities.sum(1), 1)
    assert read.accuracy == given.accuracy == np.mean(given.labels == given.predicted)
