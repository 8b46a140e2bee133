"""Arrays become bytes and places in them, and lose nothing."""

import json

import numpy as np
import pytest

from cifar_lib.runs.plain_network import Numbers


def read(place: dict, data: bytes) -> np.ndarray:
    count = int(np.prod(place["shape"]))
    return np.frombuffer(data, place["type"], count, place["at"]).reshape(place["shape"]).astype(np.float32)


@pytest.mark.parametrize(
    ("value", "kind"), [(0.5, "float16"), (0.1, "float32"), (1e5, "float32"), (1e-30, "float32"), (2**-24, "float16")]
)
def test_half_as_long_where_nothing_is_lost(value, kind):
    numbers, array = Numbers(), np.full((2, 3), value, np.float32)
    place = numbers.pack(array)
    assert place["type"] == kind and len(numbers.data) == array.size * (2 if kind == "float16" else 4)
    assert (read(place, numbers.data) == array).all()


def test_what_is_no_array_stays_and_every_array_is_found():
    numbers, arrays = Numbers(), [np.arange(3, dtype=np.float32), np.full((2, 2), 0.1, np.float32)]
    packed = numbers.pack({"a": arrays[0], "b": [None, ({"c": arrays[1]}, 7)], "name": "x"})
    assert json.loads(json.dumps(packed)) == packed and packed["name"] == "x" and packed["b"][0] is None
    for place, array in zip((packed["a"], packed["b"][1][0]["c"]), arrays, strict=True):
        assert (read(place, numbers.data) == array).all()
