"""The history of a run: the columns of `history.csv`, a row an epoch, and the check of them. No torch."""

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


def parse(data: bytes):
    """A pandas DataFrame, a row an epoch. Raises ValueError unless it is a history, with each epoch from 1 on once."""
    import pandas as pd

    table = pd.read_csv(io.BytesIO(data))
    if tuple(table) != COLUMNS or table.epoch.tolist() != list(range(1, len(table) + 1)):
        raise ValueError("expected each epoch once, from 1 on, in the columns " + ",".join(COLUMNS))
    if not all(kind.kind in "if" for kind in table.dtypes) or table[["train_loss", "lr"]].isna().any(axis=None):
        raise ValueError("expected numbers")
    return table
