"""The CSV: what goes in comes out, in order; what is wrong is one line and leaves an earlier CSV as it was."""

import csv

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifar_lib import errors
from cifar_lib.exchange import submission
from cifar_lib.exchange.submission import SubmissionError, Summary
from cifar_lib.system import files

ODD = ["a,b", 'say "hi"', "two\nlines", "bare\rreturn", "ä €", " space ", "'", "0012", '"', ","]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "submission.csv"


def refusal(function, *arguments) -> str:
    with pytest.raises(SubmissionError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value) and caught.value.status == errors.DATA
    return str(caught.value)


def test_the_bytes_are_these(path):
    assert submission.write(path, [30, 10, 20], np.array([9, 0, 3])) == path
    assert path.read_bytes() == b"ID,Labels\n30,9\n10,0\n20,3\n"


def test_ten_thousand_rows_in_order(path):
    random = np.random.default_rng(0)
    ids, labels = random.permutation(10_000), random.integers(0, 10, 10_000)
    submission.write(path, ids, labels)
    table = pd.read_csv(path)
    assert table.ID.tolist() == ids.tolist() and table.Labels.tolist() == labels.tolist()
    assert submission.check(path, ids) == (10_000, tuple(np.bincount(labels, minlength=10)))


def test_ids_of_text_survive(path):
    submission.write(path, ODD, range(10))
    with path.open(newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)] == ["ID", *ODD]
    assert pd.read_csv(path, dtype=str, keep_default_na=False).ID.tolist() == ODD
    assert submission.check(path, ODD).counts == (1,) * 10


GIVEN_WRONG = {
    "label 10": ([1, 2], [0, 10], "row 2 ('2') has label '10'; expected an integer 0 to 9"),
    "label -1": ([1, 2], [-1, 0], "row 1 ('1') has label '-1'"),
    "label float": ([1, 2], [0.0, 1.0], "label '0.0'"),
    "label nan": ([1], [float("nan")], "label 'nan'"),
    "label bool": ([1], [True], "label 'True'"),
    "label none": ([1], [None], "label 'None'"),
    "fewer labels": ([1, 2], [0], "2 ids but 1 labels"),
    "more labels": ([1, 2], [0, 1, 2], "2 ids but 3 labels"),
    "nothing": ([], [], "no rows"),
    "id twice": ([5, 6, 5], [1, 2, 3], "id '5' is in row 1 and row 3"),
    "id twice, as text": ([5, "5"], [1, 2], "id '5' is in row 1 and row 2"),
    "no id": (["a", ""], [1, 2], "row 2 has no id"),
    "surrogate": (["\ud800"], [1], "UTF-8"),
    "huge": (["a" * 200_000], [1], "field"),
}


@pytest.mark.parametrize("name", GIVEN_WRONG)
def test_what_cannot_be_a_submission_is_not_written(path, name):
    ids, labels, words = GIVEN_WRONG[name]
    path.write_bytes(b"earlier")
    line = refusal(submission.write, path, ids, labels)
    assert words in line and line.startswith(str(path))
    assert path.read_bytes() == b"earlier" and len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_earlier_file_and_no_other(path, monkeypatch, step):
    def full(*_args):
        raise OSError(28, "No space left on device")

    submission.write(path, [1], [1])
    earlier = path.read_bytes()
    monkeypatch.setattr(files.os, step, full)
    with pytest.raises(files.OutputError, match="the disk is full"):
        submission.write(path, [1], [2])
    assert path.read_bytes() == earlier and len(list(path.parent.iterdir())) == 1


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(files.OutputError, match="cannot be written"):
        submission.write(tmp_path / "no" / "a.csv", [1], [1])
    assert "cannot be read" in refusal(submission.check, tmp_path / "none.csv")


READ_WRONG = {
    "empty": (b"", "empty"),
    "header alone": (b"ID,Labels\n", "no rows"),
    "other header": (b"id,label\n1,2\n", "the header is 'id,label'; expected 'ID,Labels'"),
    "no header": (b"1,2\n", "the header is '1,2'"),
    "byte order mark": (b"\xef\xbb\xbfID,Labels\n1,2\n", "the header is"),
    "Windows line ends": (b"ID,Labels\r\n1,2\r\n", r"the header is 'ID,Labels\r'"),
    "an index column": (b"ID,Labels\n0,1,2\n", "row 1 has 3 columns"),
    "one column": (b"ID,Labels\n1\n", "row 1 has 1 columns"),
    "blank row": (b"ID,Labels\n1,2\n\n", "row 2 has 0 columns"),
    "label outside": (b"ID,Labels\n1,2\n2,10\n", "row 2 ('2') has label '10'"),
    "label negative": (b"ID,Labels\n1,-1\n", "label '-1'"),
    "label float": (b"ID,Labels\n1,2.0\n", "label '2.0'"),
    "label a name": (b"ID,Labels\n1,cat\n", "label 'cat'; expected an integer 0 to 9"),
    "label missing": (b"ID,Labels\n1,\n", "label ''"),
    "label with space": (b"ID,Labels\n1, 2\n", "label ' 2'"),
    "id missing": (b"ID,Labels\n,2\n", "row 1 has no id"),
    "id twice": (b"ID,Labels\n1,2\n1,3\n", "id '1' is in row 1 and row 2"),
    "cut short": (b"ID,Labels\n1,2\n2,3", "no line end"),
    "open quote": (b'ID,Labels\n"1,2\n', "unexpected end"),
    "not UTF-8": (b"ID,Labels\n\xff,2\n", "utf-8"),
    "a row less": (b"ID,Labels\n7,2\n8,3\n", "id '9' is missing (1 in all); expected 3 ids"),
    "another id": (b"ID,Labels\n7,2\n8,3\n9,1\n5,1\n", "id '5' was not asked for"),
    "another order": (b"ID,Labels\n7,2\n9,3\n8,1\n", "row 2 has id '9'; expected '8': the order differs"),
}


@pytest.mark.parametrize("name", READ_WRONG)
def test_each_wrong_csv_gets_its_line(path, name):
    content, words = READ_WRONG[name]
    path.write_bytes(content)
    line = refusal(submission.check, path, [7, 8, 9])
    assert words in line and line.startswith(str(path))


def test_without_ids_the_order_is_free(path):
    path.write_bytes(b"ID,Labels\n9,2\n7,2\n")
    assert submission.check(path) == (2, (0, 0, 2, 0, 0, 0, 0, 0, 0, 0))


def steady(examples: int):
    """So many cases, the same ones every time. The fixture is one file, which each case writes over."""
    shared = [HealthCheck.function_scoped_fixture]
    return settings(max_examples=examples, derandomize=True, deadline=None, suppress_health_check=shared)


ANY_ID = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
MARKS = [",", '"', '""', "\n", "\r", "\r\n", "=1+1", "'", "ä", "\0", "\ufeff", "\x1a", "\u2028", "ID,Labels", " ", "0"]
MARKED = st.lists(st.sampled_from(MARKS), min_size=1).map("".join)
IDS = st.lists(ANY_ID | st.integers() | MARKED, min_size=1, unique_by=str)
TEXT = st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)


@steady(150)
@given(ids=IDS, seed=st.integers(0, 2**32 - 1))
def test_any_ids_and_labels_are_read_as_they_were_written(path, ids, seed):
    labels = np.random.default_rng(seed).integers(0, 10, len(ids)).tolist()
    submission.write(path, ids, labels)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [["ID", "Labels"], *([str(one), str(label)] for one, label in zip(ids, labels, strict=True))]
    counts = tuple(labels.count(label) for label in range(10))
    assert submission.check(path, ids) == submission.check(path) == (len(ids), counts)


@steady(150)
@given(ids=IDS.filter(lambda ids: len(ids) > 1), pick=st.randoms(use_true_random=False))
def test_another_order_or_an_id_less_is_seen(path, ids, pick):
    submission.write(path, ids, [pick.randrange(10) for _ in ids])
    swapped, a, b = list(ids), *pick.sample(range(len(ids)), 2)
    swapped[a], swapped[b] = ids[b], ids[a]
    assert "the order differs" in refusal(submission.check, path, swapped)
    assert "was not asked for (1 in all)" in refusal(submission.check, path, ids[:a] + ids[a + 1 :])


def answer(path, content: bytes) -> Summary | None:
    """What `check` says of these bytes: a summary, or None for a line."""
    path.write_bytes(content)
    try:
        found = submission.check(path)
    except SubmissionError as error:
        message = str(error).removeprefix(str(path))
        assert message.startswith(": ") and len(message.splitlines()) == 1 and len(message) < 300
        return None
    assert type(found) is Summary and found.rows == sum(found.counts) > 0
    return found


@steady(600)
@given(content=st.binary() | (st.binary() | TEXT).map(b"ID,Labels\n".__add__))
def test_any_bytes_get_a_summary_or_a_line(path, content):
    answer(path, content)


@steady(600)
@given(data=st.data(), ids=IDS)
def test_a_csv_changed_anywhere_gets_a_summary_or_a_line(path, data, ids):
    lines = ["ID,Labels", *(f"{submission._quoted(str(one))},{n % 10}" for n, one in enumerate(ids))]
    content = "".join(line + "\n" for line in lines).encode()
    assert answer(path, content).rows == len(ids)
    at, to = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    patch = data.draw(st.binary(max_size=4) | st.sampled_from([mark.encode() for mark in MARKS]))
    answer(path, content[:at] + patch + content[to:])
    answer(path, content[:at] + patch + content[at:])
