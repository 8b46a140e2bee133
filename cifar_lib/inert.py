"""Reading a pickle as data and never as code: numbers, text, bytes, lists, tuples, dicts and NumPy arrays. No torch.

The bytes are scanned for forbidden opcodes first. Then a stripped unpickler runs, whose every callable is one of the
five below: they only note what they are given. Arrays are made by us, from their bytes, after their size is checked.
"""

import io
import math
import pickle
import pickletools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar_lib.errors import Refused

MAX_OPCODES = 3_000_000
ALLOWED = {
    *"MARK STOP PROTO FRAME NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT".split(),
    *"STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split(),
    *"UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 EMPTY_LIST APPEND APPENDS LIST EMPTY_TUPLE TUPLE".split(),
    *"TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS POP POP_MARK GET BINGET LONG_BINGET PUT BINPUT".split(),
    *"LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL REDUCE BUILD".split(),
}
BYTES = {op.name: op.code.encode("latin1") for op in pickletools.opcodes}


class BadPickle(Refused):
    """A pickle that is not what was expected; the message is one line."""


@dataclass
class _DType:
    """What a pickle says a dtype is: a code such as `u1`, and the byte order."""

    code: str
    order: str = "|"

    def __setstate__(self, state: tuple) -> None:
        self.order = _text(state[1])

    def real(self) -> np.dtype:
        if not re.fullmatch(r"[uif][1248]|b1|[SU]\d{1,3}", self.code) or self.order not in "<>|=":
            raise BadPickle(f"holds an array of dtype {self.code!r}, expected uint8 images and integer or text ids")
        return np.dtype(self.code).newbyteorder(self.order)


@dataclass
class _Array:
    """What a pickle says an array is; `real` makes it."""

    shape: tuple = (0,)
    dtype: _DType | None = None
    fortran: bool = False
    raw: bytes = b""

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, self.fortran, self.raw = state

    def real(self) -> np.ndarray:
        kind = self.dtype.real()
        if not isinstance(self.raw, (bytes, bytearray)) or not 1 <= len(self.shape) <= 4 or min(self.shape) < 0:
            raise BadPickle(f"holds an array of shape {self.shape} that its bytes do not fit; the file is damaged")
        if math.prod(self.shape) * kind.itemsize != len(self.raw):
            raise BadPickle(f"holds {len(self.raw):,} bytes for an array of shape {self.shape}; the file is damaged")
        return np.frombuffer(self.raw, kind).reshape(self.shape, order="F" if self.fortran else "C").copy()


def _reconstruct(kind: Any, shape: tuple, code: Any) -> _Array:
    return _Array()


def _from_buffer(buffer: bytes, dtype: _DType, shape: tuple, order: str) -> _Array:
    return _Array(shape, dtype, order == "F", buffer)


def _dtype(code: Any, align: bool = False, copy: bool = False) -> _DType:
    return _DType(_text(code))


def _scalar(dtype: _DType, raw: bytes) -> Any:
    return _Array((1,), dtype, False, raw).real()[0].item()


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise BadPickle(f"holds text in {encoding!r}, expected latin1")
    return text.encode("latin1")


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


# Every name that NumPy 1 and 2 write for plain arrays, under Python 2 and 3. ndarray is only ever named, never called.
KNOWN = {("numpy", "ndarray"): "ndarray", ("numpy", "dtype"): _dtype, ("_codecs", "encode"): _encode}
for _core in ("numpy.core", "numpy._core"):
    KNOWN[_core + ".multiarray", "_reconstruct"] = _reconstruct
    KNOWN[_core + ".multiarray", "scalar"] = _scalar
    KNOWN[_core + ".numeric", "_frombuffer"] = _from_buffer


class _Unpickler(pickle._Unpickler):
    """The standard library's unpickler in Python, with the allowed opcodes alone, and `KNOWN` for its only names."""

    dispatch = {BYTES[name][0]: pickle._Unpickler.dispatch[BYTES[name][0]] for name in ALLOWED}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise BadPickle(f"holds {module}.{name}, which is code or an unknown object; refused, nothing was run")
        return KNOWN[module, name]

    def _set(self, items: list) -> None:
        for key in items[::2]:
            if not isinstance(key, (str, bytes)) or len(items) > 200:  # also against made-up colliding keys
                raise BadPickle(f"holds a dict with the key {str(key)[:40]!r}, expected a few text keys such as 'data'")

    def load_setitem(self) -> None:
        self._set(self.stack[-2:])
        pickle._Unpickler.load_setitem(self)

    def load_setitems(self) -> None:
        self._set(self.stack)
        pickle._Unpickler.load_setitems(self)

    def load_dict(self) -> None:
        self._set(self.stack)
        pickle._Unpickler.load_dict(self)

    dispatch |= {BYTES["SETITEM"][0]: load_setitem, BYTES["SETITEMS"][0]: load_setitems, BYTES["DICT"][0]: load_dict}


def loads(data: bytes) -> Any:
    """What the pickle `data` holds, arrays as `np.ndarray` where they are values of the dict at the top.

    Python 2's text comes as bytes. Raises `BadPickle`, one line, for anything else than plain data.
    """
    try:
        _scan(data)
        value = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        if isinstance(value, dict):
            return _plain(value)
        return value.real() if isinstance(value, _Array) else value
    except BadPickle:
        raise
    except Exception as error:  # a damaged file can fail anywhere; what it says helps nobody
        raise BadPickle(f"is damaged or cut short ({type(error).__name__}); fetch or copy it again") from None


def _plain(value: dict) -> dict:
    plain = {}
    for key, item in value.items():
        name = _text(key)
        if name in plain:
            raise BadPickle(f"holds {name!r} twice, as text and as bytes; expected it once")
        plain[name] = item.real() if isinstance(item, _Array) else item
    return plain


def _scan(data: bytes) -> None:
    """Refuse an opcode that plain data never needs, too many of them, and whatever follows the end."""
    position = 0
    for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):  # noqa: B007
        if opcode.name == "PROTO" and argument > 5:
            raise BadPickle(f"is of pickle protocol {argument}, expected 0 to 5")
        if opcode.name not in ALLOWED:
            raise BadPickle(f"holds the instruction {opcode.name}, which plain data never needs; nothing was run")
        if opcode.name == "GLOBAL" and tuple(argument.split(" ", 1)) not in KNOWN:
            name = argument.replace(" ", ".")
            raise BadPickle(f"holds {name}, which is code or an unknown object; refused, nothing was run")
        if count > MAX_OPCODES:
            raise BadPickle(f"holds more than {MAX_OPCODES:,} items; expected images and ids alone")
    if position != len(data) - 1:
        raise BadPickle(f"goes on for {len(data) - 1 - position:,} bytes after its end; expected one pickle alone")
