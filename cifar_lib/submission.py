"""Ids and labels to a CSV, and the check of such a CSV. No torch."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from cifar_lib.errors import Refused
from cifar_lib.runs import write_atomically

HEADER = ["ID", "Labels"]
CLASSES = 10


class SubmissionError(Refused):
    """A CSV that is not a submission; the message is one line."""


def write(path: str | Path, ids: Sequence, labels: Sequence) -> Path:
    """Write `ID,Labels`, a row for each id in the order given, whole or not at all; then read it back and check it.

    ids (N,) integers or texts, each once; labels (N,) integers 0 to 9. Raises `SubmissionError`, one line, and leaves
    an earlier file as it was.
    """
    if len(ids) != len(labels):
        raise SubmissionError(f"{len(ids):,} ids but {len(labels):,} labels, expected one each")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(zip(ids, labels, strict=True))
    content = text.getvalue()
    _check(f"{path}", content, ids)
    write_atomically(Path(path), content.encode())
    check(path, ids)
    return Path(path)


def check(path: str | Path, ids: Sequence | None = None) -> int:
    """The number of rows of a good submission, whose ids are `ids`, in their order, where given.

    Raises `SubmissionError`, one line, that names the first row that is wrong.
    """
    try:
        content = Path(path).read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SubmissionError(f"{path}: cannot be read as text ({error})") from None
    return _check(f"{path}", content, ids)


def _check(path: str, content: str, ids: Sequence | None) -> int:
    header, *rows = csv.reader(io.StringIO(content, newline="")) if content else [[]]
    if header != HEADER:
        raise SubmissionError(f"{path}: the header is {','.join(header)!r}, expected 'ID,Labels'")
    if not rows:
        raise SubmissionError(f"{path}: has no row below its header, expected one an image")
    seen = set()
    for number, row in enumerate(rows, 2):
        _check_row(f"{path}, line {number}", row, seen)
    if ids is not None and (given := [str(i) for i in ids]) != [row[0] for row in rows]:
        wrong = next((i for i, row in enumerate(rows) if i >= len(given) or row[0] != given[i]), len(rows))
        raise SubmissionError(f"{path}: its ids differ from those asked for, first at row {wrong + 1}")
    return len(rows)


def _check_row(place: str, row: list[str], seen: set[str]) -> None:
    if len(row) != 2:
        raise SubmissionError(f"{place}: has {len(row)} columns, expected ID and Labels")
    if row[0] in seen or not row[0]:
        what = "there twice" if row[0] else "empty"
        raise SubmissionError(f"{place}: the id {row[0]!r} is {what}, expected each once")
    if row[1] not in map(str, range(CLASSES)):
        raise SubmissionError(f"{place}: the label is {row[1]!r}, expected an integer from 0 to 9")
    seen.add(row[0])
