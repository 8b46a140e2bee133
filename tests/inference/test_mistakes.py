"""The wrong images of a run: all of them where the data set is at hand, else the stored ones; none is downloaded."""

import numpy as np
import pytest

from cifar_lib import paths
from cifar_lib.config import Config
from cifar_lib.data import download
from cifar_lib.inference import mistakes
from cifar_lib.runs import Run

REFERENCE = Run(paths.REFERENCE)


def test_every_mistake_with_its_own_pixels(cifar10_root, cifar10, monkeypatch):
    monkeypatch.setenv("CIFAR10_ROOT", str(cifar10_root))
    found, predictions = mistakes.wrong(REFERENCE), REFERENCE.predictions
    assert len(found.index) == (predictions.labels != predictions.predicted).sum() > 25
    assert (found.images == cifar10.test.images[found.index]).all()
    assert (found.labels == cifar10.test.labels[found.index]).all() and (found.labels != found.predicted).all()
    assert (np.diff(found.confidence) <= 0).all()


def test_the_stored_ones_are_the_surest_of_all(cifar10_root, monkeypatch):
    monkeypatch.setenv("CIFAR10_ROOT", str(cifar10_root))
    stored, every = REFERENCE.mistakes, mistakes.wrong(REFERENCE)
    assert set(stored.index[:20]) <= set(every.index[:30]) and len(stored.index) == 25


def test_elsewhere_the_stored_ones_and_no_download(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "fetch", lambda *a, **k: pytest.fail("a download was tried"))
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path))
    assert (mistakes.wrong(REFERENCE).index == REFERENCE.mistakes.index).all()


def test_a_broken_data_set_does_not_stop_readers(tmp_path, monkeypatch):
    (tmp_path / "cifar-10-batches-py").mkdir()
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path))
    assert (mistakes.wrong(REFERENCE).index == REFERENCE.mistakes.index).all()


def test_digits_are_always_at_hand():
    assert mistakes.at_hand(Config(dataset="digits"))
