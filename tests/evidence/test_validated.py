"""Which run shows what validation is, where the run at hand had none."""

import numpy as np
from study_runs import made

from cifar_lib import paths
from cifar_lib.evidence import validated
from cifar_lib.runs import Run, history
from cifar_lib.runs.run import CONFUSIONS


def test_a_run_shows_its_own_and_one_without_the_example_of_its_data_set(tmp_path, monkeypatch):
    one, none, digits = tmp_path / "one-0", tmp_path / "none-0", tmp_path / "digits-0"
    for folder, settings in ((one, {}), (none, {"valid_size": 0}), (digits, {"dataset": "digits"})):
        made(folder, 0.5, seed=0, **settings)
    rows = history.confusion_rows([{"epoch": 1, "images": np.eye(10, dtype=int).tolist()}])
    Run(one).record_table(CONFUSIONS, rows)
    monkeypatch.setattr(validated, "EXAMPLE", tmp_path / "not-here")
    assert validated.like(Run(one)).folder == one and validated.like(Run(none)) is None
    monkeypatch.setattr(validated, "EXAMPLE", one)
    assert validated.like(Run(none)).folder == one and validated.like(Run(digits)) is None


def test_the_tracked_example_has_more_than_the_last_epoch():
    example = Run(paths.ROOT / "runs" / "evidence" / "ablation" / "fast-0")
    assert example.folder == validated.EXAMPLE
    epochs, counts = example.confusions
    assert len(epochs) == example.epochs >= 5 and (counts.sum((1, 2)) == example.config.valid_size).all()
