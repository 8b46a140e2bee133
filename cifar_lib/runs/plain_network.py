"""A run's network without a framework: its layers as plain data, its numbers as bytes. No torch."""

from dataclasses import dataclass, field

import numpy as np

from cifar_lib.runs.run import Run


@dataclass(frozen=True)
class PlainNetwork:
    """The network that `run` published, and its multiply-adds per image.

    `layers` is what JSON can hold; each array in it stands as {"at": offset in `numbers`, "type": "float16" or
    "float32", "shape": [...]}, C-contiguous and little-endian.
    """

    run: Run
    multiply_adds: int
    layers: dict
    numbers: bytes


@dataclass
class Numbers:
    """Arrays, one after the other: in float16 where that loses nothing, else in float32."""

    data: bytearray = field(default_factory=bytearray)

    def pack(self, tree):
        """`tree` of dicts, lists and whatever else, each array in it appended to `data` and replaced by its place."""
        if isinstance(tree, dict):
            return {name: self.pack(value) for name, value in tree.items()}
        if isinstance(tree, (list, tuple)):
            return [self.pack(value) for value in tree]
        return self._append(tree) if isinstance(tree, np.ndarray) else tree

    def _append(self, array: np.ndarray) -> dict:
        exact = array.astype("<f4")
        with np.errstate(over="ignore"):
            half = exact.astype("<f2")
        kept, kind = (half, "float16") if np.array_equal(half.astype("<f4"), exact) else (exact, "float32")
        place = {"at": len(self.data), "type": kind, "shape": list(array.shape)}
        self.data += kept.tobytes()
        return place
