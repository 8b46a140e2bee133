"""Pickles changed at random, each read in a process that may die: `python tests/fuzz_unpickle.py --cases 1000000`.

Case N of a seed is always the same file, so that a failure is named by its number; `--case N` reads that one alone.
`--files FOLDER` reads the files of a folder instead, each in a process of its own, and prints a line of JSON on each.
"""

import argparse
import contextlib
import copyreg
import io
import json
import mmap
import os
import pickle
import pickletools
import platform
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

import numpy as np

from cifar_lib.exchange import pickle_machine, unpickle
from cifar_lib.exchange.unpickle import BadPickle

SCRATCH = "/dev/shm"  # a million small files are slow to write on a disk
SCRATCH = SCRATCH if os.path.isdir(SCRATCH) and shutil.disk_usage(SCRATCH).free > 2**28 else None
MEMORY, PATIENCE = 2 * 2**30, 10  # of a process, in bytes of address space, and of a case, in seconds
CASE, READ, REFUSED, SLOWEST, SLOWEST_CASE = range(5)  # what a child counts where its parent can see it


class Writer(pickle._Pickler):
    """Python's pickler, writing NumPy's names as NumPy 1 did, and text and bytes as Python 2 did."""

    def __init__(self, file, protocol, python2=False):
        super().__init__(file, protocol)
        self.python2 = python2

    def save_global(self, obj, name=None):
        name = name or obj.__name__
        module = pickle.whichmodule(obj, name).replace("numpy._core", "numpy.core")
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(b"c" + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    def save_text(self, obj):
        if not self.python2:
            return pickle._Pickler.dispatch[type(obj)](self, obj)
        raw = obj.encode() if isinstance(obj, str) else obj
        if self.proto == 0:
            self.write(b"S" + repr(raw).removeprefix("b").encode() + b"\n")
        elif len(raw) < 256:
            self.write(b"U" + bytes([len(raw)]) + raw)
        else:
            self.write(b"T" + len(raw).to_bytes(4, "little") + raw)
        self.memoize(obj)

    dispatch = pickle._Pickler.dispatch | {str: save_text, bytes: save_text, FunctionType: save_global}


def written(value, protocol, writer="Python 3, NumPy 2"):
    if writer == "Python 3, NumPy 2":
        return pickle.dumps(value, protocol)
    buffer = io.BytesIO()
    Writer(buffer, protocol, python2="Python 2" in writer).dump(value)
    return buffer.getvalue()


WRITERS = [(w, p) for w in ("Python 3, NumPy 2", "Python 3, NumPy 1") for p in range(6)]
WRITERS += [("Python 2, NumPy 1", p) for p in range(3)]


class _Traced(pickle_machine._Machine):
    """The reader's own machine, noting where each instruction begins."""

    def __getitem__(self, code):
        self.__dict__.setdefault("starts", []).append(self.file.tell() - 1)
        return super().__getitem__(code)


def pieces(whole: bytes) -> list[bytes]:
    """An honest pickle, instruction by instruction."""
    machine = _Traced(whole)
    machine.load()
    return [whole[a:b] for a, b in zip(machine.starts, machine.starts[1:] + [len(whole)], strict=True)]


def _seeds() -> list[list[bytes]]:
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    layouts = [images, np.asfortranarray(images.reshape(1, 3072)), images.transpose(0, 3, 1, 2)]
    ids = [[9], ("ä",), [b"a"], [2**70], [np.int64(9)], [np.str_("b")]]
    ids += [np.array([3]), np.array(["ä"]), np.array([b"a"])]
    files = [{"data": layouts[n % 3], "ids": one, "x": [None, True, 1.5, {}]} for n, one in enumerate(ids)]
    return [pieces(written(file, protocol, writer)) for writer, protocol in WRITERS for file in files]


SEEDS = _seeds()
LENGTHS = [0, 1, 127, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
LINES = [b"-1", b"0", b"00", b"2147483648", b"9" * 5000, b"0x" + b"f" * 5000, b"nan", b"1e999", b"numpy", b"dtype",
         b"2305843009213693951", b"'a'", b"\\ud800", b"\xff", b"os", b"system", b"_codecs", b"encode", b""]  # fmt: skip
TEXTS = [b"O8", b"V8", b"V999999999", b"S999999999", b"U9", b"M8", b"f16", b"c16", b"u1", b"i8", b"u1,u1", b"b1", b"S0",
         b"<", b">", b"=", b"F", b"data", b"ids", b"labels", b"latin1", b"rot13", b"\xed\xa0\x80"]  # fmt: skip
EXTREMES = [b"\0" * 8, b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\xff" * 7 + b"\x7f", b"\x01" + b"\0" * 7]


def _instruction(chance: random.Random) -> bytes:
    """Any instruction that pickles have, allowed or not, with an argument that fits or is extreme."""
    code = chance.choice(pickletools.opcodes)
    width = code.arg.n if code.arg else 0
    if width >= 0:
        return code.code.encode("latin1") + chance.choice([*EXTREMES, chance.randbytes(8)])[:width]
    if width == pickletools.UP_TO_NEWLINE:
        lines = 2 if code.name in ("GLOBAL", "INST") else 1
        return code.code.encode("latin1") + b"".join(chance.choice(LINES) + b"\n" for _ in range(lines))
    size = {pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT8U: 8}.get(width, 4)
    text = chance.choice(TEXTS)
    return code.code.encode("latin1") + len(text).to_bytes(size, "little") + text


def _run_of(file: list[bytes], chance: random.Random, most: int = 12) -> slice:
    start = chance.randrange(len(file) + 1)
    return slice(start, start + chance.randint(1, most))


def _drop(file, chance):
    del file[_run_of(file, chance, 3)]


def _insert(file, chance):
    file.insert(chance.randrange(len(file) + 1), _instruction(chance))


def _replace(file, chance):
    file[_run_of(file, chance, 1)] = [_instruction(chance)]


def _recode(file, chance):
    """Another instruction, with the old one's argument."""
    at = chance.randrange(len(file))
    file[at] = chance.choice(pickletools.opcodes).code.encode("latin1") + file[at][1:]


def _repeat(file, chance):
    run = _run_of(file, chance)
    file[run] = file[run] * chance.choice([2, 2, 3, 50])


def _swap(file, chance):
    a, b = chance.randrange(len(file)), chance.randrange(len(file))
    file[a], file[b] = file[b], file[a]


def _splice(file, chance):
    """A piece of another file, of another writer and protocol."""
    other = chance.choice(SEEDS)
    file[_run_of(file, chance)] = other[_run_of(other, chance)]


def _lengthen(file, chance):
    """A length, or a number, made extreme."""
    at = chance.randrange(len(file))
    width = min(chance.choice([1, 2, 4, 8]), len(file[at]) - 1)
    file[at] = file[at][:1] + chance.choice(LENGTHS).to_bytes(8, "little")[:width] + file[at][1 + width :]


def _reline(file, chance):
    at = chance.randrange(len(file))
    file[at] = file[at][:1] + chance.choice(LINES) + b"\n"


def _retext(file, chance):
    """A short text made another, its length right."""
    short = [n for n, piece in enumerate(file) if piece[0] in b"\x8cUCXBT" and len(piece) < 40]
    if short:
        at, text = chance.choice(short), chance.choice(TEXTS)
        size = 1 if file[at][0] in b"\x8cUC" else 4
        file[at] = file[at][:1] + len(text).to_bytes(size, "little") + text


def _remember(file, chance):
    """A value used again, or stored under another's number."""
    number = chance.choice([0, 1, 2, 3, 5, 8, 12, 20, 255])
    code = chance.choice([b"h", b"q", b"j", b"r", b"g", b"p"])
    argument = {b"h": bytes([number]), b"q": bytes([number]), b"g": b"%d\n" % number, b"p": b"%d\n" % number}
    file.insert(chance.randrange(len(file) + 1), code + argument.get(code, number.to_bytes(4, "little")))


def _bytes(file, chance):
    """Bytes changed, put in or removed in one instruction, most often at its start."""
    at = chance.randrange(len(file))
    piece = bytearray(file[at])
    start = min(int(chance.expovariate(0.3)), len(piece))
    piece[start : start + chance.randint(0, 3)] = chance.choice([b"", chance.randbytes(1), chance.randbytes(3)])
    file[at : at + 1] = [bytes(piece)] if piece else []


def _cut(file, chance):
    del file[chance.randrange(1, len(file) + 1) :]


MUTATIONS = [_drop, _insert, _insert, _replace, _recode, _repeat, _swap, _splice, _splice, _lengthen, _reline, _retext,
             _retext, _remember, _remember, _bytes, _bytes, _bytes, _cut]  # fmt: skip


def mutated(case: int, seed: int = 0) -> bytes:
    """The file of a case: an honest one, changed in one to four ways."""
    chance = random.Random(seed * 2**40 + case)
    file = list(chance.choice(SEEDS))
    for _ in range(chance.choice([1, 1, 1, 2, 2, 3, 4])):
        if file:
            chance.choice(MUTATIONS)(file, chance)
    return b"".join(file)


def trial(path: Path) -> bool:
    """Whether the reader reads it; if not, it says so in a line and its own exception."""
    try:
        got = unpickle.read(path)
    except BadPickle as error:
        if "\n" in str(error) or len(str(error)) > 500 + len(str(path)):
            raise AssertionError(f"not a line: {error}") from None
        return False
    if got.images.shape != (len(got.ids), 32, 32, 3) or got.images.dtype != np.uint8 or not got.ids:
        raise AssertionError(f"{got.images.shape} {got.images.dtype}, {len(got.ids)} ids")
    if {type(one) for one in got.ids} not in ({int}, {str}) or len(set(got.ids)) < len(got.ids):
        raise AssertionError(f"ids {got.ids[:9]}")
    return True


def confine(seconds: float) -> None:
    """A process that can fail alone: it ends after `seconds`, at a crash or for want of memory, and says nothing."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends it within C code too
    signal.setitimer(signal.ITIMER_REAL, seconds)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)


def _start(work: Callable[[], None]) -> int:
    """Run it in a child: status 0 if it returns, 1 if it raises."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setsid()
        work()
        status = 0
    finally:
        os._exit(status)


def _end(child: int) -> tuple[str, resource.struct_rusage]:
    """How a child ended, and what it took."""
    _, status, usage = os.wait4(child, 0)
    if os.WIFSIGNALED(status):
        return ("hang" if os.WTERMSIG(status) == signal.SIGALRM else f"signal {os.WTERMSIG(status)}"), usage
    return ("" if status == 0 else "foreign"), usage


def _batch(cases: range, seed: int, path: Path, counts: memoryview, read: Callable, make: Callable, patience: float):
    """In a child: read the files of these cases, each written to `path`, counting where the parent sees it."""

    def never(*_args):
        raise AssertionError("a name of the file was about to be imported")

    pickle._Unpickler.find_class = never
    confine(patience)
    for case in cases:
        counts[CASE] = case
        path.write_bytes(make(case, seed))
        signal.setitimer(signal.ITIMER_REAL, patience)
        start = time.thread_time_ns()
        counts[READ if read(path) else REFUSED] += 1
        took = time.thread_time_ns() - start
        if took > counts[SLOWEST]:
            counts[SLOWEST], counts[SLOWEST_CASE] = took, case


def run(
    cases: int,
    seed: int = 0,
    read: Callable = trial,
    make: Callable = mutated,
    size: int = 2000,
    patience: float = PATIENCE,
) -> dict:
    """Read that many cases as `make` makes them, `size` in each process, two processes at a time. A case that ends its
    process is named by its number."""
    found = {"cases": cases, "read": 0, "refused": 0, "crashes": [], "hangs": [], "foreign": []}
    found |= {"slowest_s": 0.0, "slowest_case": 0, "peak_mb": 0.0}
    todo = [range(start, min(start + size, cases)) for start in range(0, cases, size)][::-1]
    running, folder = [], tempfile.TemporaryDirectory(dir=SCRATCH)
    while todo or running:
        while todo and len(running) < 2:
            batch, counts = todo.pop(), memoryview(mmap.mmap(-1, 8 * 5)).cast("Q")
            given = batch, seed, Path(folder.name) / f"{batch.start}.pkl", counts, read, make, patience
            running.append((_start(lambda given=given: _batch(*given)), batch, counts))
        child, batch, counts = running.pop(0)
        end, usage = _end(child)
        if end:
            found[{"hang": "hangs", "foreign": "foreign"}.get(end, "crashes")].append(counts[CASE])
            todo.append(range(counts[CASE] + 1, batch.stop))
        found["read"] += counts[READ]
        found["refused"] += counts[REFUSED]
        found["peak_mb"] = max(found["peak_mb"], usage.ru_maxrss / 1024)
        if counts[SLOWEST] / 1e9 > found["slowest_s"]:
            found["slowest_s"], found["slowest_case"] = counts[SLOWEST] / 1e9, counts[SLOWEST_CASE]
    folder.cleanup()
    return found


def _one_file(path: Path, reader: str, pipe: int) -> None:
    """In a child: read the file, and write to the pipe what came of it."""
    copyreg.add_extension("os", "system", 1)
    for code in (2, 2**9, 2**20):
        copyreg._extension_cache[code] = os.system
    said = {"outcome": "read", "line": ""}
    try:
        unpickle.read(path) if reader == "unpickle" else pickle.loads(path.read_bytes())
    except BadPickle as error:
        said = {"outcome": "refused", "line": str(error)}
    except BaseException as error:
        said = {"outcome": "foreign", "line": f"{type(error).__name__}: {error}"[:500]}
    os.write(pipe, json.dumps(said).encode())
    with contextlib.suppress(ChildProcessError):  # what code of the file may have started
        while True:
            os.wait()


def judged(path: Path, reader: str = "unpickle", patience: float = PATIENCE) -> dict:
    """What comes of reading a file: outcome, line, whether its code ran, seconds of the processor, peak MB."""
    mine, theirs = os.pipe()
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:

        def work():
            os.chdir(folder)
            confine(patience)
            _one_file(path, reader, theirs)

        end, usage = _end(_start(work))
        ran = bool(os.listdir(folder))
    os.close(theirs)
    with os.fdopen(mine, "rb") as pipe:
        said = json.loads(pipe.read() or b"{}")
    took = {"seconds": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}
    return {"name": path.name, "outcome": end, "line": "", "ran": ran} | said | took


def parser(about: str, cases: int) -> argparse.ArgumentParser:
    """The options that every fuzz run has."""
    options = argparse.ArgumentParser(description=about.splitlines()[0])
    options.add_argument("--cases", type=int, default=cases)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, help="a JSON file for what was found")
    options.add_argument("--case", type=int, help="read this case alone, in this process")
    return options


def report(given: argparse.Namespace, read: Callable, make: Callable, **versions: str) -> None:
    """Read all cases, and print what came of them, with the versions they were read by, as a line of JSON."""
    start = time.monotonic()
    found = run(given.cases, given.seed, read, make) | {"seed": given.seed}
    found |= {"seconds": round(time.monotonic() - start, 1), "python": platform.python_version()} | versions
    line = json.dumps({name: round(value, 4) if type(value) is float else value for name, value in found.items()})
    print(line)
    if given.out:
        given.out.write_text(line + "\n")


def main() -> None:
    options = parser(__doc__, 20_000)
    options.add_argument("--files", type=Path, help="read the files of this folder instead")
    options.add_argument("--reader", choices=["unpickle", "pickle"], default="unpickle")
    given = options.parse_args()
    if given.files:
        for path in sorted(path for path in given.files.rglob("*") if path.is_file()):
            print(json.dumps(judged(path.absolute(), given.reader, PATIENCE if given.reader == "unpickle" else 2)))
    elif given.case is not None:
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(mutated(given.case, given.seed))
            print(unpickle.read(file.name))
    else:
        report(given, trial, mutated, numpy=np.__version__)


if __name__ == "__main__":
    main()
