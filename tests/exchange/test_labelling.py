"""Where the labels go: where they are wanted, but never a stand-in's labels under a name that was asked for."""

from pathlib import Path

import pytest

from cifar_lib import paths
from cifar_lib.config import Config
from cifar_lib.exchange import csv_of, labelling, pickle_of
from cifar_lib.system import OutputError

OWN = Path("runs/mine/submission.csv")


def test_the_run_has_its_csv_unless_another_place_is_given(tmp_path):
    assert csv_of("", False, OWN) == csv_of("", True, OWN) == OWN
    assert csv_of(f"{tmp_path}/mine.csv", False, OWN) == tmp_path / "mine.csv"


def test_labels_of_a_stand_in_take_no_name_that_was_asked_for(tmp_path):
    with pytest.raises(
        labelling.NoPickle, match=r"^csv_path: got .*mine.csv, but no pickle to label; .* -p pickle_path$"
    ):
        csv_of(f"{tmp_path}/mine.csv", True, OWN)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"none/mine.csv: its folder is not there; make it, or .* -p csv_path$"):
        csv_of(f"{tmp_path}/none/mine.csv", False, OWN)


def test_the_pickle_that_is_given_comes_before_the_one_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    assert pickle_of(Config()) is None
    own = tmp_path / labelling.NAME
    own.touch()
    assert pickle_of(Config()) == own and pickle_of(Config(dataset="digits")) is None
    assert pickle_of(Config(), "x.pkl") == pickle_of(Config(dataset="digits"), "x.pkl") == Path("x.pkl")
