"""A pickle of arrays, lists, numbers and text, read as data: nothing in it is ever imported, called or run.

A pickle is a program for a small machine, and the standard machine may call anything. This one knows only the
instructions that such a file needs, and only the names in `pickled_arrays.NAMES`, none of which is the real thing.
"""

import io
import pickle
from types import FunctionType

from cifar_lib.exchange.pickled_arrays import NAMES, Array, BadPickle, Dtype, clip

FREE_INSTRUCTIONS, BYTES_EACH = 10_000, 50  # an image has 3,072 bytes, and its id at most some 50 instructions
INSTRUCTIONS = """
    PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS
    PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL INST STACK_GLOBAL REDUCE BUILD
""".split()


class _File(io.BytesIO):
    """Reads all that is asked for or raises EOFError: the machine itself takes a short answer for a whole one."""

    def read(self, size: int) -> bytes:
        data = super().read(size)
        if len(data) < size:
            raise EOFError
        return data

    def readline(self) -> bytes:
        line = super().readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line


class _Memo(dict):
    """What is to be used again, by number. Writers count from 0; numbers chosen otherwise can take for ever to find."""

    def __init__(self, most: int):
        self.most = most

    def __setitem__(self, number: int, value):
        if number > self.most:
            raise BadPickle(f"damaged: its memo has a number beyond {self.most:,}; get the file again")
        super().__setitem__(number, value)


class _Machine(pickle._Unpickler):
    """Python's own unpickler, in Python, with the dangerous instructions taken out or replaced. The number of
    instructions, and what one of them takes or makes, is bounded by the file's size."""

    def __init__(self, data: bytes):
        self.file = _File(data)
        super().__init__(self.file, encoding="bytes")
        self.most = self.left = FREE_INSTRUCTIONS + len(data) // BYTES_EACH
        self.memo, self.bytes_left = _Memo(self.most), len(data)

    @property
    def dispatch(self):
        """Where the standard machine looks up each instruction: here."""
        return self

    def __getitem__(self, code: int):
        """The handler of one instruction, if it is one of ours and there were not too many."""
        self.left -= 1
        if self.left < 0:
            raise BadPickle(f"more than {self.most:,} instructions; expected one array and one list of ids, no more")
        if code not in _HANDLERS:
            raise BadPickle(self._unknown(code))
        return _HANDLERS[code]

    def _unknown(self, code: int) -> str:
        name = next((n for n, v in vars(pickle).items() if n.isupper() and v == bytes([code])), None)
        if self.file.tell() == 1 or not name:
            start = "not a pickle" if self.file.tell() == 1 else "damaged"
            return f"{start}: byte {code:#04x} at {self.file.tell() - 1:,}; expected a pickle of a dict; get it again"
        return f"refused: it uses {name}, which can run or hide code; expected only arrays, lists, numbers and text"

    def find_class(self, module: str, name: str):
        if (module, name) not in NAMES:
            raise BadPickle(
                f"refused: it names {clip(f'{module}.{name}')}, which could be code to run; expected a dict of "
                "plain NumPy arrays, lists, numbers and text; never open it with pickle.load"
            )
        return NAMES[module, name]

    def load_proto(self):
        self.proto = self.read(1)[0]
        if self.proto > 5:
            raise BadPickle(f"pickle protocol {self.proto}; expected 0 to 5: write it with protocol=4")

    def load_frame(self):
        self.read(8)  # frames are a hint for buffering, and all is in memory

    def load_bytearray8(self):
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def load_inst(self):
        self.find_class(*(self.readline()[:-1].decode() for _ in range(2)))
        raise BadPickle(self._unknown(pickle.INST[0]))

    def load_reduce(self):
        arguments, function = self._few(), self._top(FunctionType)
        self.stack[-1] = result = function(*arguments)
        if type(result) is bytes:  # characters of the file made bytes: once each is honest, a million times is a bomb
            self.bytes_left -= len(result)
        if self.bytes_left < 0:
            raise BadPickle("it grows beyond its own size; expected one array and one list of ids")

    def load_build(self):
        state = self._few()
        self._top(Array, Dtype).build(*state)

    def load_append(self):
        value = self.stack.pop()
        self._top(list).append(value)

    def load_appends(self):
        items = self.pop_mark()
        self._top(list).extend(items)

    def load_dict(self):
        items = self.pop_mark()
        self.append({})
        self._set(items)

    def load_setitem(self):
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self):
        self._set(self.pop_mark())

    def _set(self, items: list) -> None:
        """Only text and bytes as keys: to hash a nest of tuples can take for ever."""
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, bytes):
                raise BadPickle(f"a dict has a key of type {type(key).__name__}; expected text")
            if key in target:
                raise BadPickle(f"the key {clip(key)} is there twice; expected once")
            target[key] = value

    def _few(self) -> tuple:
        """What a function or an array is given. A million values, or letters, given a thousand times take for ever."""
        values = self.stack.pop()
        if type(values) is not tuple or len(values) > 9:
            raise TypeError
        return values

    def _top(self, *types: type):
        if type(self.stack[-1]) not in types:
            raise TypeError
        return self.stack[-1]


# Instruction code to function, by the names that the standard machine's own table has.
_CODES = [getattr(pickle, name)[0] for name in INSTRUCTIONS]
_HANDLERS = {code: getattr(_Machine, pickle._Unpickler.dispatch[code].__name__) for code in _CODES}


def loads(data: bytes):
    """The value that a pickle holds, with `Array` for each array. Raises `BadPickle`, one line, for anything odd."""
    machine = _Machine(data)
    try:
        value = machine.load()
    except BadPickle:
        raise
    except EOFError:
        raise BadPickle("truncated: it ends before the pickle does; get the file again") from None
    except Exception as error:  # the machine trips over damage in a dozen ways
        place = machine.file.tell()
        what = "damaged" if data.startswith(pickle.PROTO) else "not a pickle, or damaged"
        raise BadPickle(f"{what}, at byte {place:,} ({type(error).__name__}); get the file again") from None
    trailing = len(data) - machine.file.tell()
    if trailing:
        raise BadPickle(f"{trailing:,} bytes after the pickle's end; expected one pickle and no more")
    return value
