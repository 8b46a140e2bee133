"""The CSV: exact bytes, whole or not at all, and a check that finds what is wrong."""

import os

import pytest

from cifar_lib import submission
from cifar_lib.submission import SubmissionError


def test_exact_bytes(tmp_path):
    path = submission.write(tmp_path / "s.csv", [3, 0, 12], [9, 0, 5])
    assert path.read_bytes() == b"ID,Labels\n3,9\n0,0\n12,5\n"
    assert submission.check(path) == 3


def test_awkward_ids_round_trip(tmp_path):
    ids = ["a,b", 'say "x"', "two\nlines", " blank ", "ü"]
    assert submission.check(submission.write(tmp_path / "s.csv", ids, range(5)), ids) == 5


@pytest.mark.parametrize(
    ("ids", "labels", "expected"),
    [
        ([1, 2], [1], "2 ids but 1 labels"),
        ([1, 1], [0, 0], "line 3: the id '1' is there twice"),
        ([1], [10], "line 2: the label is '10'"),
        ([1], [-1], "the label is '-1'"),
        ([1], [1.0], "the label is '1.0'"),
        ([1], [None], "the label is ''"),
        ([""], [1], "the id '' is empty"),
        ([], [], "no row"),
    ],
)
def test_refused_before_anything_is_written(tmp_path, ids, labels, expected):
    path = tmp_path / "s.csv"
    submission.write(path, [1], [1])
    with pytest.raises(SubmissionError, match=expected) as refused:
        submission.write(path, ids, labels)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == b"ID,Labels\n1,1\n" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the header is ''"),
        (b"id,label\n1,1\n", "the header is 'id,label'"),
        (b"ID,Labels\n1,1,1\n", "line 2: has 3 columns"),
        (b"ID,Labels\n1,1\n2,cat\n", "line 3: the label is 'cat'"),
        (b"\xff\xfe", "cannot be read as text"),
        (b"ID,Labels\n2,1\n1,1\n", "first at row 1"),
        (b"ID,Labels\n1,1\n", "first at row 2"),
    ],
)
def test_check_names_what_is_wrong(tmp_path, content, expected):
    (tmp_path / "s.csv").write_bytes(content)
    with pytest.raises(SubmissionError, match=expected):
        submission.check(tmp_path / "s.csv", [1, 2])


def test_missing_file(tmp_path):
    with pytest.raises(SubmissionError, match="cannot be read"):
        submission.check(tmp_path / "none.csv")


def test_failed_write_leaves_the_old_csv(tmp_path, monkeypatch):
    path = submission.write(tmp_path / "s.csv", [1], [1])

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError):
        submission.write(path, [1], [2])
    assert path.read_bytes() == b"ID,Labels\n1,1\n" and list(tmp_path.iterdir()) == [path]
