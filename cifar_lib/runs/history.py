"""The history of a run: the columns of history.csv, one row per epoch, and of confusions.csv, ten; and their checks. No
torch."""

import io
from collections.abc import Iterator

import numpy as np

MEASURED = ("seconds", "images_per_second", "memory_gb", "gpu_memory_gb")  # of the machine: no two runs agree on them
COLUMNS = ("epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "lr", *MEASURED)
CONFUSION_COLUMNS = ("epoch", "true", *(f"predicted_{label}" for label in range(10)))


def parse(data: bytes):
    """A pandas DataFrame, one row per epoch. Raises ValueError unless it has each epoch from 1 on once, and numbers."""
    import pandas as pd

    table = pd.read_csv(io.BytesIO(data))
    if tuple(table) != COLUMNS or table.epoch.tolist() != list(range(1, len(table) + 1)):
        raise ValueError("expected each epoch once, from 1 on, in the columns " + ",".join(COLUMNS))
    if not all(kind.kind in "if" for kind in table.dtypes) or table[["train_loss", "lr"]].isna().any(axis=None):
        raise ValueError("expected numbers")
    return table


def confusion_rows(confusions: list[dict]) -> Iterator[list[int]]:
    """The rows of confusions.csv."""
    for one in confusions:
        for true, row in enumerate(one["images"]):
            yield [one["epoch"], true, *row]


def parse_confusions(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Epochs (E,) and (E, 10, 10) images by true and predicted class. Raises ValueError unless all are counts, and each
    epoch has its ten true classes in order."""
    import pandas as pd

    table = pd.read_csv(io.BytesIO(data))
    if tuple(table) != CONFUSION_COLUMNS or not len(table) or len(table) % 10:
        raise ValueError("expected ten rows per epoch in the columns " + ",".join(CONFUSION_COLUMNS))
    counts = table.to_numpy()
    if counts.dtype.kind != "i" or (counts < 0).any():
        raise ValueError("expected counts")
    blocks = counts.reshape(-1, 10, 12)
    epochs = blocks[:, 0, 0]
    if (
        (blocks[:, :, 0] != epochs[:, None]).any()
        or (blocks[:, :, 1] != range(10)).any()
        or (np.diff(epochs) < 1).any()
    ):
        raise ValueError("expected each epoch once, with the true classes 0 to 9")
    return epochs, blocks[:, :, 2:]
