"""Which images a run is asked to label: the user's come first, and what stands in for them is named as such."""

from pathlib import Path

import numpy as np
import pytest

from cifar_lib import paths
from cifar_lib.config import Config
from cifar_lib.data import foreign_warning, unlabelled, unlabelled_pickle, write_test_pickle
from cifar_lib.exchange import unpickle

DIGITS = Config(dataset="digits")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The folder data, with nothing in it, and no CIFAR-10 to be read for a stand-in."""
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    write = unlabelled.write_test_pickle
    monkeypatch.setattr(unlabelled, "write_test_pickle", lambda path, config: write(path, DIGITS))
    paths.DATA.mkdir()
    return paths.DATA


def test_the_test_set_goes_out_shuffled_with_its_places_as_ids(digits, tmp_path):
    read = unpickle.read(write_test_pickle(tmp_path / "stand-in.pkl", DIGITS))
    assert sorted(read.ids) == list(range(360)) != list(read.ids)
    assert np.array_equal(read.images, digits.test.images[np.array(read.ids)])


def test_the_users_pickle_comes_first(folder):
    assert unlabelled_pickle(Config(), "elsewhere.pkl") == (Path("elsewhere.pkl"), False, "")
    assert unlabelled_pickle(Config()) == (folder / "cifar10_test_as_nolabel.pkl", True, "")
    (folder / "cifar_test_nolabel.pkl").touch()
    assert unlabelled_pickle(Config()) == (folder / "cifar_test_nolabel.pkl", False, "")


@pytest.mark.parametrize("name", ["cifar_test_nolabels.pkl", "CIFAR_test_NoLabel.pkl", "my_nolabel_set.pickle"])
def test_a_name_that_nearly_matches_is_told(folder, name):
    """`cifar_test_nolabels.pkl` is what one competition called its file."""
    (folder / name).touch()
    found = unlabelled_pickle(Config())
    assert found.stand_in and name in found.warning and "expected cifar_test_nolabel.pkl" in found.warning
    assert "-p pickle_path" in found.warning and "\n" not in found.warning


def test_a_run_on_digits_labels_no_photographs(folder):
    (folder / "cifar_test_nolabel.pkl").touch()
    found = unlabelled_pickle(DIGITS)
    assert found.path == folder / "digits_test_as_nolabel.pkl" and found.stand_in
    assert "cifar_test_nolabel.pkl" in found.warning and "trained on scikit-learn's digits" in found.warning
    given = unlabelled_pickle(DIGITS, "elsewhere.pkl")
    assert given.path == Path("elsewhere.pkl") and given.warning == foreign_warning(DIGITS) != ""
