"""The history for TensorBoard: each epoch once, without a gap, whatever stopped the training before. No torch.

A row is in the file when the call returns; TensorBoard's own writer keeps up to two minutes of them back.
"""

import io
import time
from pathlib import Path

from cifar_lib.system import files

TAGS = {
    "train_loss": "loss/train",
    "valid_loss": "loss/valid",
    "train_accuracy": "accuracy/train",
    "valid_accuracy": "accuracy/valid",
    "lr": "lr",
    "images_per_second": "speed/images_per_second",
    "memory_gb": "memory/process",
    "gpu_memory_gb": "memory/gpu",
}


class Events:
    """A new event file in `folder` that begins with `rows`, one per epoch; those of earlier processes go. Raises
    `OutputError` where it cannot be written."""

    def __init__(self, folder: Path, rows: list[dict]):
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        now = time.time()
        self.path = folder / f"events.out.tfevents.{now:017.6f}"
        first = [Event(wall_time=now, file_version="brain.Event:2")]
        # Makes a TensorBoard that is looking forget what it read in the earlier files.
        first += [Event(wall_time=now, step=1, session_log=SessionLog(status=SessionLog.START))]
        since = [now - sum(row["seconds"] for row in rows[i + 1 :]) for i in range(len(rows))]
        events = first + [_event(row, when) for row, when in zip(rows, since, strict=True)]
        files.write_atomically(self.path, _records(events))
        for other in set(folder.glob("events.out.tfevents.*")) - {self.path}:
            other.unlink()

    def add(self, row: dict) -> None:
        """One epoch more."""
        files.append(self.path, _records([_event(row, time.time())]))


def _event(row: dict, when: float):
    """One event with the scalars of a row that it has a value for; the step is the epoch."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=tag, simple_value=row[c]) for c, tag in TAGS.items() if row[c] is not None]
    return Event(wall_time=when, step=row["epoch"], summary=Summary(value=values))


def _records(events: list) -> bytes:
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()
