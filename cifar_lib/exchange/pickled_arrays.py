"""What the names in a pickle of arrays stand for here: functions that only write down what they are given.

NumPy's own classes are never reached from a file, since on damaged input they crash the process; the array is made
afterwards, once type, shape and number of bytes are known to fit together.
"""

import math
import re
from dataclasses import dataclass

import numpy as np

from cifar_lib import errors

ARRAY_TYPES = r"b1|[iu][1248]|f[248]|[SU][1-9]\d{0,2}"
MAX_AXES, MAX_LENGTH = 32, 2**40  # so that the product of all is soon found


class BadPickle(errors.UserError):
    """A file that is not the pickle it should be; the message is one line."""

    status = errors.DATA


@dataclass
class Dtype:
    """What the file says of an array's type, as NumPy abbreviates it: `u1`, `i8`, `U5`; and its byte order."""

    code: str
    order: str = "|"

    def build(self, _version, order, subarray, names, fields, _size, _alignment, _flags, _metadata=None) -> None:
        if not (subarray is names is fields is None):
            raise BadPickle("it holds a structured array; expected arrays of plain numbers or text")
        self.order = text(order)

    def numpy(self) -> np.dtype:
        if self.code.startswith("O"):
            raise BadPickle("it holds an object array, which can be anything; expected plain numbers or text")
        if not re.fullmatch(ARRAY_TYPES, self.code) or self.order not in {"<", ">", "|", "="}:
            raise BadPickle(f"it holds an array of type {clip(self.code)}; expected plain numbers or text")
        return np.dtype(self.order + self.code)


@dataclass
class Array:
    """What the file says of an array, or of a scalar (shape ()); `numpy` checks it and makes the array."""

    shape: tuple = ()
    dtype: Dtype | None = None
    order: str = "C"
    raw: bytes | bytearray = b""
    axes: tuple | None = None

    def build(self, _version, shape, dtype, fortran, raw) -> None:
        if type(fortran) is not bool:
            raise TypeError
        self.shape, self.dtype, self.order, self.raw = shape, dtype, "F" if fortran else "C", raw

    def numpy(self) -> np.ndarray:
        """The array, a view of the file's bytes. Raises `BadPickle` unless shape, type and bytes fit together."""
        dtype = self.dtype.numpy() if isinstance(self.dtype, Dtype) else None
        if dtype is None or not _counts(self.shape, MAX_LENGTH) or type(self.raw) not in (bytes, bytearray):
            raise BadPickle("damaged: an array without its type, shape or bytes; get the file again")
        wanted = math.prod(self.shape) * dtype.itemsize
        if wanted != len(self.raw):
            raise BadPickle(f"damaged: {dtype} {clip(self.shape)} in {len(self.raw):,} bytes; get the file again")
        order, axes = text(self.order), self.axes
        if not (order in ("C", "F") if axes is None else _counts(axes, len(self.shape))):
            raise BadPickle("damaged: an array in an unknown order; get the file again")
        array = np.ndarray(self.shape, dtype, self.raw, order=order if axes is None else "C")
        return array if axes is None else array.transpose(axes)


def _counts(values, most: int) -> bool:
    """Whether these are a few whole numbers from 0 to `most`."""
    few = type(values) is tuple and len(values) <= MAX_AXES
    return few and all(type(n) is int and 0 <= n <= most for n in values)


NDARRAY = object()  # named by the file, and no more than a name


def _dtype(code, *_flags) -> Dtype:
    return Dtype(text(code))


def _reconstruct(kind, _shape, _code) -> Array:
    if kind is not NDARRAY:
        raise TypeError
    return Array()


def _frombuffer(raw, dtype, shape, order, axes=None) -> Array:
    return Array(shape, dtype, order, raw, axes)


def _scalar(dtype, raw) -> Array:
    return Array((), dtype, "C", raw)


def _encode(characters, encoding) -> bytes:
    """How Python 3 writes bytes for protocols 0 to 2."""
    if type(characters) is not str or encoding not in ("latin1", "latin-1"):
        raise BadPickle("it asks for another encoding than latin1; expected none")
    return characters.encode("latin1")


def _no_bytes() -> bytes:
    return b""


NAMES = {
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
}
for _core in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    NAMES[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    NAMES[f"{_core}.multiarray", "scalar"] = _scalar
    NAMES[f"{_core}.numeric", "_frombuffer"] = _frombuffer


def text(value) -> str:
    """A type or an order, which Python 2 wrote as bytes. Short: a copy of a long one for each use would fill memory."""
    if type(value) not in (str, bytes) or len(value) > 80:
        raise BadPickle("damaged: an array whose type or order is no short text; get the file again")
    return value.decode("ascii") if type(value) is bytes else str.__str__(value)


def clip(value) -> str:
    """A stranger's value, fit to be shown in a line."""
    shown = value[:81] if isinstance(value, str | bytes) else value
    shown = shown if isinstance(shown, str) else repr(shown)
    shown = "".join(c if c.isprintable() else "?" for c in shown[:81])
    return shown if len(shown) < 81 else shown[:80] + "…"
