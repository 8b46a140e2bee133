"""The history of a run: rows as `history.csv` has them, an epoch each. No torch."""

import csv
import io

COLUMNS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_accuracy",
    "lr",
    "seconds",
    "images_per_second",
    "memory_gb",
    "gpu_memory_gb",
)
MEASURED = ("seconds", "images_per_second", "memory_gb", "gpu_memory_gb")  # of the machine: no two runs agree on them


def as_bytes(rows: list[dict]) -> bytes:
    """The CSV of these rows; None is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def parse(data: bytes):
    """A pandas DataFrame, a row an epoch. Raises ValueError unless it is a history, with each epoch from 1 on once."""
    import pandas as pd

    table = pd.read_csv(io.BytesIO(data))
    if tuple(table) != COLUMNS or table.epoch.tolist() != list(range(1, len(table) + 1)):
        raise ValueError("expected each epoch once, from 1 on, in the columns " + ",".join(COLUMNS))
    if not all(kind.kind in "if" for kind in table.dtypes) or table[["train_loss", "lr"]].isna().any(axis=None):
        raise ValueError("expected numbers")
    return table
