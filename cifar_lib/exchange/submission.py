"""Ids and labels to a CSV, and the check of such a CSV."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from cifar_lib import errors
from cifar_lib.system import files

HEADER = "ID,Labels"
LABELS = tuple("0123456789")


class SubmissionError(errors.UserError):
    """A CSV that is not, or would not be, a submission; the message is one line."""

    status = errors.DATA


class Summary(NamedTuple):
    """Rows without the header, and how many of them have each label 0 to 9."""

    rows: int
    counts: tuple[int, ...]


def write(path: str | Path, ids: Sequence[int | str], labels: Iterable[int]) -> Path:
    """Write one row per id, in the given order, with its label 0 to 9, whole or not at all; read it back and check it.
    Raises `SubmissionError` or `OutputError`; an earlier file is then still there."""
    path, labels = Path(path), list(labels)
    if len(ids) != len(labels):
        raise SubmissionError(f"{path}: {len(ids):,} ids but {len(labels):,} labels; expected one each")
    lines = [HEADER, *(f"{_quoted(str(one))},{label}" for one, label in zip(ids, labels, strict=True))]
    try:
        data = "".join(line + "\n" for line in lines).encode()
    except UnicodeEncodeError as error:
        raise SubmissionError(f"{path}: an id cannot be written as UTF-8 ({error.reason})") from None
    _check(path, data, ids)
    files.write_atomically(path, data)
    check(path, ids)
    return path


def check(path: str | Path, ids: Iterable[int | str] | None = None) -> Summary:
    """Check the header, that each id is there once and each label is 0 to 9, and the ids and their order if given.
    Raises `SubmissionError`, which names the first row that is wrong (row 1 follows the header)."""
    try:
        return _check(path, Path(path).read_bytes(), ids)
    except OSError as error:
        raise SubmissionError(f"{path}: cannot be read ({error.strerror or error})") from None


def _check(path: str | Path, data: bytes, ids: Iterable[int | str] | None) -> Summary:
    try:
        rows = _rows(data)
        _check_rows(rows)
        if ids is not None:
            _check_order([one for one, _ in rows], [str(one) for one in ids])
    except (SubmissionError, csv.Error, UnicodeDecodeError) as error:
        raise SubmissionError(f"{path}: {error}") from None
    counts = Counter(label for _, label in rows)
    return Summary(len(rows), tuple(counts[label] for label in LABELS))


def _rows(data: bytes) -> list[list[str]]:
    if not data:
        raise SubmissionError(f"empty; expected the header {HEADER} and a row an id")
    text = data.decode()
    header, end, body = text.partition("\n")
    if header != HEADER:
        raise SubmissionError(f"the header is {header[:40]!r}; expected {HEADER!r}")
    if not body:
        raise SubmissionError("no rows after the header; expected a row an id")
    if not body.endswith(end):
        raise SubmissionError("the last row has no line end: cut short? Write it again")
    return list(csv.reader(io.StringIO(body, newline=""), strict=True))


def _check_rows(rows: list[list[str]]) -> None:
    seen = {}
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise SubmissionError(f"row {number} has {len(row)} columns; expected an id and a label")
        one, label = row
        if not one:
            raise SubmissionError(f"row {number} has no id; expected one")
        if label not in LABELS:
            raise SubmissionError(f"row {number} ({one[:40]!r}) has label {label[:40]!r}; expected an integer 0 to 9")
        if seen.setdefault(one, number) != number:
            raise SubmissionError(f"id {one[:40]!r} is in row {seen[one]} and row {number}; expected each id once")


def _check_order(ids: list[str], expected: list[str]) -> None:
    missing, extra = set(expected) - set(ids), set(ids) - set(expected)
    if missing:
        first = next(one for one in expected if one in missing)
        raise SubmissionError(f"id {first[:40]!r} is missing ({len(missing):,} in all); expected {len(expected):,} ids")
    if extra:
        first = next(one for one in ids if one in extra)
        raise SubmissionError(f"id {first[:40]!r} was not asked for ({len(extra):,} in all); expect {len(expected):,}")
    for number, (one, wanted) in enumerate(zip(ids, expected, strict=True), 1):
        if one != wanted:
            raise SubmissionError(f"row {number} has id {one[:40]!r}; expected {wanted[:40]!r}: the order differs")


def _quoted(one: str) -> str:
    """The id as a CSV field; also a bare carriage return is quoted, which csv.writer leaves."""
    return '"' + one.replace('"', '""') + '"' if any(c in one for c in ',"\r\n') else one
