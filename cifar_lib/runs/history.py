"""The history of a run: the columns of `history.csv`, one row per epoch, and their check. No torch."""

import io

MEASURED = ("seconds", "images_per_second", "memory_gb", "gpu_memory_gb")  # of the machine: no two runs agree on them
COLUMNS = ("epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "lr", *MEASURED)


def parse(data: bytes):
    """A pandas DataFrame, one row per epoch. Raises ValueError unless it has each epoch from 1 on once, and numbers."""
    import pandas as pd

    table = pd.read_csv(io.BytesIO(data))
    if tuple(table) != COLUMNS or table.epoch.tolist() != list(range(1, len(table) + 1)):
        raise ValueError("expected each epoch once, from 1 on, in the columns " + ",".join(COLUMNS))
    if not all(kind.kind in "if" for kind in table.dtypes) or table[["train_loss", "lr"]].isna().any(axis=None):
        raise ValueError("expected numbers")
    return table
