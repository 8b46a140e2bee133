"""Pickles made to do harm: each is refused in a line, none runs, and none takes half a second or 300 MB.

Each is read in a process of its own (`fuzz_unpickle.judged`) and with the limits that everyone has. The seconds are the
processor's, which other work on the machine does not lengthen; to wait without working would be a hang.
"""

import base64
import gzip
import json
import marshal
import os
import pickle
import pickletools
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import fuzz_unpickle
import numpy as np
import pytest

from cifar_lib import paths
from cifar_lib.exchange import pickle_machine

pytestmark = pytest.mark.xdist_group("attacks")  # one process reads them all, once
SECONDS, MEGABYTES = 0.5, 300
PIXELS = bytes(3072)


class Part(bytes):
    """A part of a pickle that leaves one value."""


def part(value) -> bytes:
    """The part that leaves a value of Python's own."""
    return value if isinstance(value, Part) else pickle.dumps(value, 2)[2:-1]


def text(value: str | bytes) -> bytes:
    value = value if isinstance(value, bytes) else value.encode()
    return Part(b"X" + len(value).to_bytes(4, "little") + value)


def raw(value: bytes) -> bytes:
    return Part(b"B" + len(value).to_bytes(4, "little") + value)


def by_global(name: str) -> bytes:
    """`os system` by GLOBAL."""
    return b"c" + name.replace(" ", "\n", 1).encode() + b"\n"


def by_stack(name: str) -> bytes:
    """`os system` by STACK_GLOBAL, which takes dots in the name too."""
    return b"".join(map(text, name.split(" ", 1))) + b"\x93"


def call(name: str, *arguments, way=by_stack) -> bytes:
    """`os system` called by REDUCE; `name` may be a part that leaves a function."""
    function = name if isinstance(name, Part) else way(name)
    return Part(function + b"(" + b"".join(map(part, arguments)) + b"tR")


def dtype(code=b"U\x02u1", order=b"U\x01|") -> bytes:
    """A type as NumPy writes it: called with its code, then told its byte order."""
    state = b"(K\x03" + order + b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00t"
    return Part(by_global("numpy dtype") + b"(" + code + b"K\x00K\x01tR" + state + b"b")


NEW_ARRAY = by_global("numpy._core.multiarray _reconstruct") + b"(cnumpy\nndarray\nK\x00\x85C\x01btR"


def array(shape=b"(K\x01M\x00\x0ct", kind=None, data=None, fortran=b"\x89") -> bytes:
    state = b"(K\x01" + shape + (kind or dtype()) + fortran + (raw(PIXELS) if data is None else data) + b"t"
    return Part(NEW_ARRAY + state + b"b")


def buffer(data=None, kind=None, shape=b"(K\x01M\x00\x0ct", order=b"U\x01C", axes=b"") -> bytes:
    """An array as protocol 5 has it."""
    given = (raw(PIXELS) if data is None else data) + (kind or dtype()) + shape + order + axes
    return Part(by_global("numpy._core.numeric _frombuffer") + b"(" + given + b"tR")


def scalar(kind=None, data=b"C\x01a") -> bytes:
    return Part(by_global("numpy._core.multiarray scalar") + b"(" + (kind or dtype()) + data + b"tR")


def file(data=None, ids=b"]K\x07a", more=b"", before=b"") -> bytes:
    """A whole file, honest but for what is given."""
    entries = text("data") + (array() if data is None else data) + text("ids") + ids + more
    return b"\x80\x04" + before + b"}(" + entries + b"u."


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


TOUCH, PYTHON = "touch SENTINEL", "open('SENTINEL', 'w')"
SHELL = pickle.dumps(Calls(os.system, TOUCH))
NPY = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
NPY += b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n" + SHELL
OS = call("builtins __import__", "os")
RUNS = {
    "os system": [TOUCH],
    "posix system": [TOUCH],
    "os popen": [TOUCH],
    "os mkdir": ["SENTINEL"],
    "os mkfifo": ["SENTINEL"],
    "os symlink": ["/", "SENTINEL"],
    "os open": ["SENTINEL", os.O_CREAT],
    "subprocess run": [["touch", "SENTINEL"]],
    "subprocess Popen": [["touch", "SENTINEL"]],
    "subprocess check_output": [["touch", "SENTINEL"]],
    "subprocess getoutput": [TOUCH],
    "builtins eval": [PYTHON],
    "builtins exec": [PYTHON],
    "builtins open": ["SENTINEL", "w"],
    "_io FileIO": ["SENTINEL", "w"],
    "logging FileHandler": ["SENTINEL"],
    "zipfile ZipFile": ["SENTINEL", "w"],
    "shutil copyfile": ["/dev/null", "SENTINEL"],
    "tempfile mkdtemp": ["", "", "."],
    "timeit timeit": ["pass", PYTHON],
    "cProfile run": [PYTHON],
    "profile run": [PYTHON],
    "runpy _run_code": [PYTHON, {}],
    "pydoc pipepager": ["", TOUCH],
    "imaplib IMAP4_stream": [TOUCH],
    "uuid _get_command_stdout": ["touch", "SENTINEL"],
    "_osx_support _read_output": [TOUCH],
    "numpy.testing._private.utils runstring": [PYTHON, {}],
    "numpy.f2py.crackfortran getlincoef": [PYTHON, {}],
    "numpy._core.numeric builtins.eval": [PYTHON],
    "bdb Bdb.run": [call("bdb Bdb"), PYTHON],
    "code InteractiveInterpreter.runsource": [call("code InteractiveInterpreter"), PYTHON],
    "pathlib Path.touch": [call("pathlib Path", "SENTINEL")],
    "builtins list": [call("builtins map", Part(by_stack("os system")), [TOUCH])],
    "pickle loads": [SHELL],
    "_pickle loads": [SHELL],
    "pickle _loads": [SHELL],
    "numpy load": [call("io BytesIO", NPY), None, True],
    "joblib load": [call("io BytesIO", SHELL)],
}
CHAINS = {
    "getattr of a module": call(call("builtins getattr", OS, "system"), TOUCH),
    "attrgetter": call(call("operator attrgetter", "system"), OS),
    "methodcaller": call(call("operator methodcaller", "system", TOUCH), OS),
    "partial": call(call("functools partial", Part(by_stack("os system")), TOUCH)),
    "resolve_name": call(call("pkgutil resolve_name", "os:system"), TOUCH),
    "the C library": call(call("builtins getattr", call("ctypes CDLL", None), "system"), TOUCH.encode()),
    "code made of bytes": call(
        call(
            "types FunctionType",
            call("marshal loads", marshal.dumps(compile(PYTHON, "", "eval"))),
            call("builtins dict"),
        )
    ),
}
CHAINS["attrgetter"] = call(CHAINS["attrgetter"], TOUCH)
SETSTATE = b"}Vx\nVy\ns" + b"b" + b"}V__setstate__\n" + by_global("os system") + b"sb" + text(TOUCH) + b"b"
NAMESPACE = by_global("types SimpleNamespace")
WAYS = {
    "GLOBAL": call("os system", TOUCH, way=by_global),
    "INST": b"(" + text(TOUCH) + b"ios\nsystem\n",
    "OBJ": b"(" + by_global("os system") + text(TOUCH) + b"o",
    "NEWOBJ and BUILD": NAMESPACE + b")\x81" + SETSTATE,
    "NEWOBJ_EX and BUILD": NAMESPACE + b")}\x92" + SETSTATE,
    "REDUCE and BUILD": NAMESPACE + b")R" + SETSTATE,
    "EXT1 of the registry": b"\x82\x01" + text(TOUCH) + b"\x85R",
    "EXT1 of the cache": b"\x82\x02" + text(TOUCH) + b"\x85R",
    "EXT2": b"\x83\x00\x02" + text(TOUCH) + b"\x85R",
    "EXT4": b"\x84\x00\x00\x10\x00" + text(TOUCH) + b"\x85R",
    "names from the memo": text("os") + b"q\x05" + text("system") + b"q\x06h\x05h\x06\x93" + text(TOUCH) + b"\x85R",
}
RUN = call("os system", TOUCH)
TOLD = np.dtype("u1", metadata={"a": Calls(os.system, TOUCH)})
PLACES = {
    "in data": file(data=RUN),
    "in another key's value": file(more=text("x") + RUN),
    "as a key": file(more=RUN + b"N"),
    "thrown away": file(before=RUN + b"0"),
    "thrown away to a mark": file(before=b"(" + RUN + b"1"),
    "as shape": file(array(shape=RUN)),
    "as pixels": file(array(data=RUN)),
    "as type": file(array(kind=RUN)),
    "as type's code": file(array(kind=dtype(RUN))),
    "as order": file(buffer(order=RUN)),
    "after what is asked for": file()[:-1] + RUN + b".",
    "in an object array": pickle.dumps({"data": np.array([Calls(os.system, TOUCH)], object), "ids": [1]}),
    "in a type's metadata": pickle.dumps({"data": np.zeros(1, TOLD)}),
    "alone": b"\x80\x04" + RUN + b".",
    "by Python 2's name": call("__builtin__ eval", PYTHON, way=by_global) + b".",
    "by Python 2's pickle": call("cPickle loads", Part(raw(SHELL)), way=by_global) + b".",
}
CODE = {name: file(ids=call(name, *arguments)) for name, arguments in RUNS.items()}
CODE |= {name: file(ids=one) for name, one in (CHAINS | WAYS).items()} | PLACES
CODE |= {f"pickled, protocol {n}": pickle.dumps(Calls(os.system, TOUCH), n) for n in range(6)}

# Names by which pickle scanners were got round, and names beside the allowed ones. Nobody but this reader reads these.
NAMES = """
    _aix_support _read_cmd_output|aiohttp.client ClientSession|asyncio.unix_events _UnixSubprocessTransport._start
    builtins __import__|builtins apply|builtins breakpoint|builtins bytearray|builtins bytes|builtins compile
    builtins delattr|builtins getattr|builtins globals|builtins memoryview|builtins object|builtins range
    builtins setattr|builtins super|builtins type|cloudpickle.cloudpickle _builtin_type
    cloudpickle.cloudpickle _make_function|cloudpickle.cloudpickle subimport|code InteractiveInterpreter.runcode
    collections OrderedDict|collections.abc Callable|copyreg __newobj__|copyreg _reconstructor
    copyreg add_extension|ctypes.util find_library|dill loads|distutils.file_util write_file|doctest debug_script
    ensurepip _run_pip|functools reduce|gc get_objects|httplib HTTPSConnection
    idlelib.autocomplete AutoComplete.get_entity|idlelib.calltip get_entity
    idlelib.pyshell ModifiedInterpreter.runcode|importlib import_module|importlib._bootstrap _load_unlocked
    inspect getattr_static|io open_code|lib2to3.pgen2.grammar Grammar.loads
    lib2to3.pgen2.pgen ParserGenerator.make_label|linecache getline|marshal loads
    multiprocessing.util spawnv_passfds|nt system|os execvp|os fork|os kill|os putenv|os remove|pandas read_pickle
    pandas.io.pickle read_pickle|pdb run|pip main|pip._internal main|platform popen|profile Profile.runctx
    pty spawn|pydoc locate|requests.api get|shelve open|shutil rmtree|signal alarm|site main
    sklearn.utils._testing set_random_state|smtplib SMTP|socket create_connection|sqlite3 connect
    ssl get_server_certificate|sys exit|sys settrace|sys setrecursionlimit|tarfile TarFile.extractall
    test.support.script_helper assert_python_ok|threading Thread.start|time sleep|trace Trace.run|types CodeType
    types ModuleType|urllib.request urlopen|venv create|weakref finalize|webbrowser open|xmlrpc.client ServerProxy
    torch load|torch.hub load|torch.jit load|torch.serialization load|torch.storage _load_from_bytes
    torch._dynamo.guards GuardBuilder.get|torch._inductor.codecache compile_file|torch.utils.collect_env run
    torch.fx.experimental.symbolic_shapes ShapeEnv.evaluate_guards_expression
    torch.utils._config_module load_config|numpy array|numpy frombuffer|numpy fromfile|numpy memmap|numpy loadtxt
    numpy ndarray.tofile|numpy ndarray.__class__|numpy ndarray.__reduce_ex__|numpy dtype.__class__
    numpy dtype.__new__|numpy poly1d|numpy size|numpy record|numpy void|numpy _core.multiarray._reconstruct
    numpy.ctypeslib load_library|numpy.core.multiarray __builtins__|numpy.core.multiarray fromfile
    numpy.core.multiarray dragon4_positional|numpy.core.records fromarrays
    numpy.distutils.exec_command exec_command|numpy.f2py.diagnose run_command|numpy.lib.format read_array
    numpy.lib.npyio load|numpy.ma.core _mareconstruct|numpy.matrixlib.defmatrix matrix
    numpy.random.__RandomState_ctor __RandomState_ctor|numpy.testing measure
    numpy._core.multiarray _reconstruct.__globals__|numpy._core.multiarray scalar.__class__
    numpy._core.numeric os.system|numpy._core.numeric _frombuffer.__globals__|numpy._core._internal _ctypes
    numpy._core numeric._frombuffer|numpy.core numeric._frombuffer|numpy.core.numeric _frombuffer.__code__
    Numpy ndarray|numpy Dtype|numpy .dtype|numpy dtype.|.numpy dtype|numpy.  dtype|numpy dtype\0|num\u0440y dtype
    _codecs decode|_codecs encode.__call__|codecs encode|codecs decode|codecs open|__builtin__ bytes.fromhex
    __builtin__ bytearray|__builtin__ str|__main__ x
"""
NAMES = [name.strip(" ") for name in NAMES.replace("|", "\n").split("\n") if name.strip(" ")]


def named():
    """Calls by names that are not allowed, by turns in both ways; then names in ways that are not allowed."""
    for n, name in enumerate(NAMES):
        way = by_global if n % 2 else by_stack
        yield f"{name!a}, {way.__name__}", file(ids=call(name, way=way))
    for name in ["os system", "builtins eval", "numpy dtype", "numpy ndarray", "_codecs encode"]:
        yield f"{name}, INST", file(ids=b"(i" + by_global(name)[1:])
        yield f"{name}, OBJ", file(ids=b"(" + by_global(name) + b"o")
        yield f"{name}, NEWOBJ", file(ids=by_global(name) + b")\x81")
        yield f"{name}, NEWOBJ_EX", file(ids=by_global(name) + b")}\x92")
        yield f"{name}, BUILD", file(ids=by_global(name) + b"}Va\nVb\nsb")
        yield f"{name}, a persistent id", file(ids=b"P" + name.encode() + b"\n")


def forbidden():
    """Every instruction that such a file does not need."""
    for code in pickletools.opcodes:
        if code.name not in pickle_machine.INSTRUCTIONS:
            yield code.name, file(ids=b"(NNN" + code.code.encode("latin1") + bytes(9))


def nested(what: str, depth: int) -> bytes:
    """A value of so many levels, each of which holds the one below twice: two to that power in all."""
    down, start, up = {
        "tuples": (b"", b")", b"q\x00h\x00\x86"),
        "lists": (b"(", b"]", b"q\x00h\x00l"),
    }[what]
    return Part(down * depth + start + up * depth)


JUNK = {
    "tuples of tuples": nested("tuples", 100),
    "lists of lists": nested("lists", 100),
    "3,000 tuples deep": Part(b")" + b"\x85" * 3000),
    "5,000 values": Part(b"(" + b"N" * 5000 + b"t"),
    "a long text": Part(text("u" * 2**20)),
    "long bytes": Part(raw(b"u" * 2**20)),
    "a number of 255 bytes": Part(b"\x8a\xff" + b"\x7f" * 255),
    "a number of a million digits": Part(b"I0x" + b"f" * 10**6 + b"\n"),
    "a number below 0": Part(b"J\xff\xff\xff\xff"),
    "a fraction": Part(b"Fnan\n"),
    "an array": array(),
    "a function": Part(by_global("numpy dtype")),
    "a class": Part(by_global("numpy ndarray")),
    "an empty dict": Part(b"}"),
}
POSITIONS = {
    "data": lambda junk: file(data=junk),
    "ids": lambda junk: file(ids=junk),
    "an id": lambda junk: file(ids=b"](" + junk + b"e"),
    "a key": lambda junk: file(more=junk + b"N"),
    "the dict": lambda junk: b"\x80\x04" + junk + b"(VdataNu.",
    "a shape": lambda junk: file(array(shape=junk)),
    "a length": lambda junk: file(array(shape=b"(K\x01" + junk + b"t")),
    "a type": lambda junk: file(array(kind=junk)),
    "a type's code": lambda junk: file(array(kind=dtype(code=junk))),
    "a byte order": lambda junk: file(array(kind=dtype(order=junk))),
    "pixels": lambda junk: file(array(data=junk)),
    "an array's order": lambda junk: file(array(fortran=junk)),
    "an order": lambda junk: file(buffer(order=junk)),
    "axes": lambda junk: file(buffer(axes=junk)),
    "an axis": lambda junk: file(buffer(axes=b"(K\x00" + junk + b"t")),
    "a buffer": lambda junk: file(buffer(data=junk)),
    "a scalar": lambda junk: file(ids=b"](" + scalar(data=junk) + b"e"),
    "arguments": lambda junk: file(ids=by_global("numpy dtype") + junk + b"R"),
    "a function": lambda junk: file(ids=junk + b")R"),
    "a state": lambda junk: file(ids=dtype() + junk + b"b"),
    "what is built": lambda junk: file(ids=junk + b"(NNNNNtb"),
    "a module": lambda junk: file(ids=junk + text("x") + b"\x93"),
    "characters": lambda junk: file(ids=b"](" + by_global("_codecs encode") + b"(" + junk + text("latin1") + b"tRe"),
    "an encoding": lambda junk: file(ids=b"](" + by_global("_codecs encode") + b"(" + text("a") + junk + b"tRe"),
}
HONEST = {
    "an array as data",
    "a number below 0 as an id",
    "a long text as a key",
    "long bytes as a key",
}


def misplaced():
    """Every odd value in every place where another is expected."""
    for place, make in POSITIONS.items():
        for junk, content in JUNK.items():
            if f"{junk} as {place}" not in HONEST:
                yield f"{junk} as {place}", make(content)


MEGABYTE, START = 10**6, b"\x80\x04"
ALONE = [
    b"N", b"]", b"}", b"(", b")", b"(t", b"(l", b"(d", b"]a", b"((((]", START, b"\x95" + bytes(8), b"K\x00", b"I1\n",
    b"\x8a\x00", b"L1L\n", b"F1\n", b"V\n", b"S''\n", b"X" + bytes(4), b"\x96" + bytes(8), b"U\x00", b"J" + bytes(4),
    by_global("numpy dtype"), by_global("_codecs encode")
]  # fmt: skip
AFTER = [
    b"q\x00", b"\x94", b"p0\n", b"r" + bytes(4), b"\x85", b"\x94\x85", b"q\x00h\x00\x86", b"q\x00h\x00h\x00\x87",
    b"q\x00h\x00a", b"]\x94a", b"\x94(h\x00l"
]  # fmt: skip


def long_runs():
    for code in ALONE:
        yield f"a megabyte of {code!a}", START + code * (MEGABYTE // len(code)) + b"."
    for code in AFTER:
        yield f"a list and a megabyte of {code!a}", START + b"]" + code * (MEGABYTE // len(code)) + b"."
    for code in (b"N", b"(", b"]", b"\0", b"\xff", b"I", b"\n"):
        yield f"5 MB of {code!a}", START * (code in b"N(]") + code * (5 * MEGABYTE) + b"."


def large(ids: bytes, before=b"") -> bytes:
    """A file of 10,000 images, honest but for what is given; `h\xff` is the array of their pixels."""
    return file(array(b"(M\x10\x27M\x00\x0ct", data=raw(bytes(3072 * 10_000))) + b"q\xff", ids, before=before)


def deep():
    """Values within values: to count, hash, compare, show or free them can take for ever or overflow the stack."""
    scalar_of = by_global("numpy._core.multiarray scalar") + b"q\x00" + dtype() + b"q\x01"
    pairs = {"lists": (b"]", b"a"), "tuples": (b"", b"\x85"), "dicts": (b"}Va\n", b"s"), "marks": (b"(", b"l")}
    for what, (down, up) in pairs.items():
        yield f"2,000 {what} deep", file(ids=down * 2_000 + b"N" + up * 2_000)
    for what, down, up in [("lists", b"]", b"a"), ("arrays", b"h\x00(h\x01", b"tR")]:
        yield f"20,000 {what} deep", large(down * 20_000 + b"N" + up * 20_000, scalar_of)
    for what, bomb in [("tuples", nested("tuples", 100)), ("lists", nested("lists", 100))]:
        yield f"{what} as a key, by SETITEM", START + b"}" + bomb + b"Ns."
        yield f"{what} as a key, by SETITEMS", START + b"}(" + bomb + b"Nu."
        yield f"{what} as a key, by DICT", START + b"(" + bomb + b"Nd."
        yield f"{what} in a set", START + b"\x8f(" + bomb + b"\x90."
        yield f"{what} in a frozen set", START + b"(" + bomb + b"\x91."
        yield f"{what} alone", START + bomb + b"."


PRIME = 2**61 - 1  # an integer's hash is what is left of it after division by that


def colliding():
    """Integers of one hash: each is compared with all before it, where a dict holds them."""
    yield "10,000 ids of one hash", large(b"](" + b"".join(part(n * PRIME) for n in [*range(1, 10_000), 9_999]) + b"e")
    yield "4,000 memo numbers of one hash", START + b"N" + b"".join(b"p%d\n" % (n * PRIME) for n in range(4_000)) + b"."
    puts = b"".join(b"p%d\n" % (n * PRIME) for n in range(100_000))
    yield "100,000 memo numbers of one hash", large(b"]", b"N" + puts)


LITERALS = {
    "10,000 digits": b"9" * 10_000,
    "a million digits": b"-" + b"9" * MEGABYTE,
    "a million hexadecimal digits": b"0x" + b"f" * MEGABYTE,
    "a million binary digits": b"0b" + b"1" * MEGABYTE,
    "a million underscores": b"1" + b"_1" * MEGABYTE,
    "a million zeros": b"0" * MEGABYTE + b"x",
}


def digits():
    for what, literal in LITERALS.items():
        for code in (b"I", b"L"):
            yield f"{what} as an id, by {code!a}", file(ids=b"]" + code + literal + b"\na")
            yield f"{what} as a length, by {code!a}", file(array(b"(" + code + literal + b"\nt"))
    yield "ids of 4,000 digits", large(b"](I" + b"9" * 4000 + b"\nq\x05" + b"h\x05" * 9_999 + b"e")
    yield "500 numbers of 4,300 digits", file(ids=b"](" + (b"I" + b"9" * 4300 + b"\n") * 500 + b"e")
    yield "a fraction of a million digits", file(ids=b"]F" + b"9" * MEGABYTE + b"." + b"9" * MEGABYTE + b"\na")
    yield "a memo number of a million digits", file(ids=b"g" + b"9" * MEGABYTE + b"\n")
    yield "LONG4", file(ids=b"]\x8b" + MEGABYTE.to_bytes(4, "little") + b"\x7f" * MEGABYTE + b"a")


def lengths():
    """Far more bytes announced than there are."""
    widths = {b"B": 4, b"X": 4, b"T": 4, b"\x8b": 4, b"\x8e": 8, b"\x96": 8, b"\x8d": 8}
    for code, width in widths.items():
        for length in (2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1):
            if length < 256**width:
                yield f"{code!a} of {length:,}", file(ids=code + length.to_bytes(width, "little") + b"a")
    for code in (b"C", b"U", b"\x8c", b"\x8a"):
        yield f"{code!a} of 255", START + code + b"\xff" + b"a"


def memos():
    for number in (2**31, 2**32 - 1):
        yield f"LONG_BINPUT {number:,}", file(ids=b"]r" + number.to_bytes(4, "little"))
    for line in (b"99999999", b"9223372036854775807", b"9" * 30, b"-1", b"x", b"", b"9" * 5000, b"0x7"):
        yield f"PUT {line[:30]!a} of {len(line)}", file(ids=b"]p" + line + b"\n")
        yield f"GET {line[:30]!a} of {len(line)}", file(ids=b"g" + line + b"\n")
    for code in (b"h\x63", b"j\xff\xff\xff\xff", b"0", b"\x94", b"q\x00", b"2"):
        yield f"{code!a} on nothing", START + code + b"."


def shapes():
    huge = b"\x8a\xff" + b"\x7f" * 255 + b"q\x05" + b"h\x05" * 8_000
    given = {
        "8,000 lengths of 2,040 bits": b"(" + huge + b"t",
        "8,000 lengths of 2,040 bits and a 0": b"(K\x00" + huge + b"t",
        "9,000 lengths of 1": b"(" + b"K\x01" * 9_000 + b"t",
        "65 lengths of 1": b"(" + b"K\x01" * 65 + b"t",
        "no length": b")",
        "a list of lengths": b"](K\x01M\x00\x0ce",
        "30 lengths of a million hexadecimal digits": b"(I0x" + b"f" * MEGABYTE + b"\nq\x05" + b"h\x05" * 29 + b"t",
        "0 and 2**62": b"(K\x00" + part(2**62) + b"t",
        "2**62 and 0": b"(" + part(2**62) + b"K\x00t",
    }
    for n in (2, 2**31, 2**40, 2**53, 2**62, 2**63 - 1, 2**64 + 1, 2**2000):
        given[f"{n:.3g} images" if n < 2**99 else "2**2000 images"] = b"(" + part(n) + b"K\x20K\x20K\x03t"
    for what, shape in given.items():
        yield f"an array of {what}", file(array(shape))
        yield f"a buffer of {what}", file(buffer(shape=shape))
    few = [b"K\x00K\x00", b"K\x01K\x02", b"K\x00", b"K\x00" * 9_000, b"J\xff\xff\xff\xffK\x00"]
    for axes in [b"(" + numbers + b"t" for numbers in few]:
        yield f"axes {axes[:9]!a}", file(buffer(axes=axes))


CODES = [
    "V999999999", "S999999999", "U999999999", "S2147483647", "S99999999999", "U1000", "V0", "S0", "U0", "O", "O8",
    "a9", "f16", "c16", "c32", "g", "i16", "u1,u1", "u1," * 10**5, "(99999,99999)u1",
    "3u1", "(" * 10**4, "u1\0", " u1", "<u1", "|u1", "uint8", "object", "void", "b8", "?", "p", "P", "n", "u" * 10**4
]  # fmt: skip
NONE = b"(K\x03U\x01|"
STATES = [
    b"(t", b"N", b"]", b"}", b"(K\x03t", NONE + b"t", NONE + b"Nt", NONE + b"NNt", NONE + b"NNNt",
    NONE + b"NNNNNNNNt", NONE + b"NU\x01a}NNNt", NONE + b"N(U\x01at}U\x01a(" + dtype() + b"K\x00tsK\x01K\x01K\x1bt",
    NONE + b"(" + dtype() + b"(K\x09K\x09tt" + b"NNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t",
    b"(" + b"N" * 9_000 + b"t"
]  # fmt: skip
FLAGS = [NONE + b"NNN" + part(2**62) * 2 + b"K\x3ft", b"(" + part(2**62) + b"U\x01|NNNK\x01K\x01K\x00t"]


def of_type(code: str):
    kind = dtype(text(code))
    yield f"pixels of type {code[:20]!a}", file(array(kind=kind))
    yield f"ids of type {code[:20]!a}", file(ids=array(b"(K\x01t", kind, raw(b"abcd")))
    yield f"an id of type {code[:20]!a}", file(ids=b"](" + scalar(kind, raw(b"abcd")) + b"e")


def told(code: str, state: bytes):
    kind = Part(call("numpy dtype", code, 0, 1) + state + b"b")
    yield f"type {code} told {state[:12]!a} of {len(state)}", file(array(kind=kind))


def types():
    """Types that NumPy would make: of giant items, of anything, of a text that it parses, or of no class of its own."""
    for code in CODES:
        yield from of_type(code)
    for what, kind in {"None": b"N", "a text": text("numpy.ndarray"), "a type": by_global("numpy dtype")}.items():
        yield f"an array of class {what}", file(Part(array().replace(b"cnumpy\nndarray\n", kind)))
    yield "a character beyond Unicode", file(ids=array(b"(K\x01t", dtype(text("U1"), text("<")), raw(b"\xff" * 4)))
    for state in STATES + FLAGS:
        for code in ("V8", "O8", "u1")[: 2 if state in FLAGS else 3]:
            yield from told(code, state)
        yield f"an array told {state[:12]!a} of {len(state)}", file(Part(NEW_ARRAY + state + b"b"))


def dates():
    """Types of dates and times, of which some states crash NumPy."""
    for code in ("M8", "m8", "M8[1000000000Y]"):
        yield from of_type(code)
    for state in STATES + FLAGS:
        yield from told("M8", state)


def again_and_again():
    """Something large, used a thousand times in two bytes each."""
    makers = {"numpy dtype": "a code", "numpy._core.multiarray scalar": "a scalar", "_codecs encode": "characters"}
    values = {"long text": JUNK["a long text"], "long bytes": JUNK["long bytes"], "5,000 values": JUNK["5,000 values"]}
    for function, what in makers.items():
        for value, content in values.items():
            start = by_global(function) + b"q\x00" + content + b"q\x01"
            yield f"{value} as {what}", START + b"](" + start + b"h\x00h\x01\x85R" * 2_000 + b"e."
            yield f"{value} and latin1, as {what}", START + b"](" + start + b"h\x00h\x01Vlatin1\n\x86R" * 2_000 + b"e."
            yield f"{value} as all arguments of {what}", START + b"](" + start + b"h\x00h\x01R" * 2_000 + b"e."
    for value, content in values.items():
        start = b"](" + content + b"q\x01" + dtype() + b"q\x00"
        yield f"{value} as a type's state", START + start + b"h\x01b" * 2_000 + b"e."
        yield f"{value} as an array's state", START + b"](" + content + b"q\x01" + NEW_ARRAY + b"h\x01b" * 2_000 + b"e."
        state = b"(K\x03h\x01NNNK\x00K\x00K\x00tb"
        yield f"{value} as a byte order", START + start + state * 900 + b"e."
    start = by_global("numpy dtype") + b"q\x00(U\x02u1" + b"N" * 200_000 + b"tq\x01"
    yield "200,000 values as a type's arguments", large(b"](" + start + b"h\x00h\x01R" * 100_000 + b"e")
    yield "all pixels as each id", large(b"](" + b"h\xff" * 10_000 + b"e")
    yield "all pixels as a key", START + b"}(" + raw(b"\xff" * 10 * MEGABYTE) + b"q\x00Nh\x00Nu."
    yield "50 MB as a key, none else", START + b"}" + raw(b"\xff" * 50 * MEGABYTE) + b"Ns."


def shapeless():
    """What is no pickle, or not one, or less than one."""
    good = file()
    few = [b".", START, START + b".", b"(.", b"N", b"a.", b"(N", b"NNNN.", b"]q\x00h\x00", b"\x80", b"c\n\n.", b"cos"]
    for content in few:
        yield f"{content!a}", content
    for code in (b"a", b"e", b"s", b"u", b"b", b"R", b"t", b"l", b"d", b"\x85", b"\x86", b"\x87", b"\x93"):
        few = [b"", b"N", b"(NNN", b"}N", b"}(Va\nNN", b"](N", array() + b"(N"]
        for before in few:
            yield f"{code!a} after {before[:9]!a} of {len(before)}", START + before + code + b"."
    for protocol in (6, 7, 127, 255):
        yield f"protocol {protocol}", b"\x80" + bytes([protocol]) + good[2:]
    yield "two pickles", good + good
    yield "a pickle and zeros", good + bytes(MEGABYTE)
    yield "a pickle and a line end", good + b"\n"
    yield "a byte order mark and a pickle", b"\xef\xbb\xbf" + good
    yield "a gzip bomb", gzip.compress(bytes(30 * MEGABYTE))
    yield "a zip archive's start and a pickle", b"PK\x03\x04" + good
    yield "UTF-16", good.decode("latin1").encode("utf-16")
    yield "base64", base64.b64encode(good)
    for end in range(1, len(good) - 3072, 9):
        yield f"truncated at {end}", good[:end]


def honest():
    """What looks odd and is a good file: no attack, so it is read."""
    for name in HONEST:
        junk, place = name.split(" as ")
        yield name, POSITIONS[place](JUNK[junk])
    yield "10,000 images", large(part(list(range(10_000))))
    yield "10,000 images, ids of one hash", large(part([n * PRIME for n in range(10_000)]))
    yield "10,000 images, ids of 256 digits", large(part([10**255 + n for n in range(10_000)]))


def python_s_own():
    """What Python's own tests of pickle read, good and bad: none of it images and ids."""
    from test import pickletester

    found = set()

    class Noted(pickletester.AbstractUnpickleTests, unittest.TestCase):
        unpickler, bad_stack_errors, truncated_errors = pickle._Unpickler, (Exception,), (Exception,)

        def loads(self, data, **_options):
            found.add(bytes(data))
            raise pickle.UnpicklingError

    unittest.defaultTestLoader.loadTestsFromTestCase(Noted).run(unittest.TestResult())
    yield from ((f"{content[:40]!a}", content) for content in sorted(found))


GROUPS = {"code": CODE.items} | {
    group.__name__: group
    for group in (named, forbidden, misplaced, long_runs, deep, colliding, digits, lengths, memos, shapes, types, dates)
    + (again_and_again, shapeless)
}


def main(reader: str, patience: str, *groups: str) -> None:
    """Read each attack of these groups, and print a line of JSON on each: in a small process, which the tests start."""
    with tempfile.TemporaryDirectory(dir=fuzz_unpickle.SCRATCH) as folder:
        path = Path(folder) / "nolabel.pkl"
        for group in groups:
            for attack, content in (GROUPS | {"honest": honest, "python_s_own": python_s_own})[group]():
                path.write_bytes(content)
                del content
                found = fuzz_unpickle.judged(path, reader, float(patience))
                print(json.dumps(found | {"path": str(path), "group": group, "attack": attack}))


def judged(reader: str, patience: float, *groups: str) -> list[dict]:
    return lines([__file__, reader, str(patience), *groups])


def lines(command: list[str]) -> list[dict]:
    """What a script prints, each line of it JSON."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [paths.ROOT, paths.ROOT / "tests"]))}
    command = [sys.executable, *command]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    return [json.loads(line) for line in done.stdout.splitlines()]


def but_for(verdicts: list[dict], survived) -> dict:
    """The attacks that were not survived, by name."""
    return {one.get("attack", one["name"]): one for one in verdicts if not survived(one)}


def in_bounds(one: dict) -> bool:
    return one["seconds"] < SECONDS and one["peak_mb"] < MEGABYTES


@pytest.fixture(scope="module")
def verdicts():
    return judged("unpickle", fuzz_unpickle.PATIENCE, *GROUPS)


@pytest.mark.parametrize("group", GROUPS)
def test_each_is_refused_in_one_line_and_runs_nothing(verdicts, group):
    def survived(one):
        line = one["line"].removeprefix(one["path"])
        return one["outcome"] == "refused" and not one["ran"] and "\n" not in line and 10 < len(line) < 500

    ours = [one for one in verdicts if one["group"] == group]
    assert len({one["attack"] for one in ours}) == len(ours) > 2
    assert not but_for(ours, survived)


def test_none_takes_half_a_second_or_300_mb(verdicts):
    assert len(verdicts) > 1000
    assert not but_for(verdicts, in_bounds)


def test_code_is_named_by_what_it_is_or_uses(verdicts):
    lines = {one["attack"]: one["line"] for one in verdicts}
    for name in RUNS:
        assert f"refused: it names {name.replace(' ', '.')}, which could be code" in lines[name]
    assert "it uses EXT4, which can run or hide code" in lines["EXT4"]


def test_an_honest_file_is_read_within_the_same_bounds():
    assert not but_for(judged("unpickle", 10, "honest"), lambda one: one["outcome"] == "read" and in_bounds(one))


def test_the_code_does_run_where_python_reads_it():
    """So the refusals above mean something. A name that this Python or NumPy does not have is let pass."""
    found = judged("pickle", 10, "code")
    absent = ("ModuleNotFoundError", "AttributeError: Can't get attribute", "AttributeError: module")
    assert not but_for(found, lambda one: one["ran"] or one["line"].startswith(absent))
    assert sum(one["ran"] for one in found) > 70


def test_python_and_numpy_hang_and_crash_where_this_reader_does_not():
    ends = [one["outcome"] for one in judged("pickle", 0.5, "deep", "dates")]
    assert ends.count("hang") > 2
    assert ends.count("signal 11") > 2, "NumPy 2.4.6 crashes on a dozen; a later one may not: then drop this line"


def test_what_python_tests_its_own_pickle_with_is_refused():
    pytest.importorskip("test.pickletester", reason="this Python came without its tests")
    found = judged("unpickle", 10, "python_s_own")
    assert len(found) > 100
    assert not but_for(found, lambda one: one["outcome"] == "refused" and not one["ran"] and in_bounds(one))


def test_the_corpus_of_a_pickle_scanner_is_refused():
    """PICKLE_CORPUS names its folder. The last package that makes one is picklescan 0.0.32, and 79 of 79 were refused.

    To make it, in a scratch environment that has torch: `pip install picklescan==0.0.32 aiohttp requests py7zr pytest`,
    `pip download --no-deps --no-binary :all: picklescan==0.0.32`; unpack that, make the folder `tests/data2` in it, and
    import `tests/test_scanner.py`, which writes `tests/data` and `tests/data2` (it runs none of them).
    """
    folder = os.environ.get("PICKLE_CORPUS")
    if not folder:
        pytest.skip("no corpus at hand: no current package of a pickle scanner has one; PICKLE_CORPUS names its folder")
    found = lines([fuzz_unpickle.__file__, "--files", folder])
    assert found
    assert not but_for(found, lambda one: one["outcome"] == "refused" and not one["ran"] and in_bounds(one))


if __name__ == "__main__":
    main(*sys.argv[1:])
