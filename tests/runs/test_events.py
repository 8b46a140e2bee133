"""TensorBoard sees each epoch once, at the value it has, whatever was in the folder before."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cifar_lib import runs
from cifar_lib.runs import events

ROWS = [
    dict.fromkeys(runs.COLUMNS, 0.25) | {"epoch": epoch, "seconds": 10.0, "gpu_memory_gb": None} for epoch in (1, 2, 3)
]


def seen(folder) -> dict[str, list]:
    board = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: board.Scalars(tag) for tag in board.Tags()["scalars"]}


def test_what_was_written_is_what_tensorboard_reads(tmp_path):
    writer = events.Events(tmp_path, ROWS[:1])
    for row in ROWS[1:]:
        writer.add(row)
        assert [event.step for event in seen(tmp_path)["lr"]] == list(range(1, row["epoch"] + 1)), "at once"
    scalars = seen(tmp_path)
    assert set(scalars) == set(events.TAGS.values()) - {"memory/gpu"}
    for column, tag in events.TAGS.items():
        if tag in scalars:
            assert [event.value for event in scalars[tag]] == [row[column] for row in ROWS]


def test_a_new_process_begins_with_the_rows_it_has(tmp_path):
    """One epoch more or less than the process before, a torn record at its end: the rows decide."""
    for rows in (ROWS, ROWS[:2], [], ROWS):
        writer = events.Events(tmp_path, rows)
        assert list(tmp_path.iterdir()) == [writer.path]
        assert [event.step for event in seen(tmp_path).get("lr", [])] == [row["epoch"] for row in rows]
        with writer.path.open("ab") as file:
            file.write(b"\x18\x00\x00")


def test_a_board_that_is_looking_forgets_the_earlier_file(tmp_path):
    """As where the earlier file could not be removed: its steps are purged, not drawn twice."""
    first = events.Events(tmp_path, ROWS).path.read_bytes()
    events.Events(tmp_path, ROWS[:2])
    (tmp_path / "events.out.tfevents.0000000001.0").write_bytes(first)
    assert [event.step for event in seen(tmp_path)["lr"]] == [1, 2]


def test_times_are_those_of_the_training(tmp_path):
    """Of epochs that an earlier process trained, the seconds between them."""
    events.Events(tmp_path, ROWS)
    times = [event.wall_time for event in seen(tmp_path)["lr"]]
    assert [b - a for a, b in zip(times, times[1:], strict=False)] == pytest.approx([10, 10])
