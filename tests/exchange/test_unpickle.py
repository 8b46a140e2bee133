"""A stranger's pickle: every honest way of writing one is read, everything else is one line.

`test_attacks.py` has the files that are meant to do harm, `fuzz_unpickle.py` those changed at random.
"""

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import fuzz_unpickle
import numpy as np
import pytest
from fuzz_unpickle import WRITERS, written

from cifar_lib import errors, paths
from cifar_lib.exchange import pickle_machine, unpickle
from cifar_lib.exchange.unpickle import BadPickle

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
PLANAR = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
LAYOUTS = {
    "NHWC": IMAGES,
    "NCHW": PLANAR,
    "flat": PLANAR.reshape(3, 3072),
    "Fortran": np.asfortranarray(IMAGES),
    "Fortran flat": np.asfortranarray(PLANAR.reshape(3, 3072)),
    "a view of planar": PLANAR.transpose(0, 2, 3, 1),
    "every second": np.repeat(IMAGES, 2, axis=0)[::2],
}


@pytest.fixture
def file(tmp_path):
    def make(content) -> Path:
        path = tmp_path / "nolabel.pkl"
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, 4))
        return path

    return make


def refusal(path, reader=unpickle.read) -> str:
    with pytest.raises(BadPickle) as caught:
        reader(path)
    line = str(caught.value)
    assert caught.value.status == errors.DATA
    assert line.startswith(str(path)) and "\n" not in line and len(line) < 500 + len(str(path))
    return line


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("key", [str, str.encode], ids=["str", "bytes"])
@pytest.mark.parametrize(("writer", "protocol"), WRITERS)
def test_every_way_of_writing_reads_the_same(file, writer, protocol, key, layout):
    content = written({key("data"): LAYOUTS[layout], key("ids"): [7, 5, 6]}, protocol, writer)
    assert ("Python 3" in writer) or b"_codecs" not in content
    assert (b"numpy._core" in content) == (writer == "Python 3, NumPy 2")
    got = unpickle.read(file(content))
    np.testing.assert_array_equal(got.images, IMAGES)
    assert got.images.dtype == np.uint8 and got.images.flags.c_contiguous and got.images.flags.writeable
    assert got.ids == [7, 5, 6] and "3 images" in got.note


IDS = {
    "ints": ([30, -1, 2**70], [30, -1, 2**70]),
    "tuple": ((3, 1, 2), [3, 1, 2]),
    "text": (["b", 'ä,"\n', "1"], ["b", 'ä,"\n', "1"]),
    "bytes": ([b"b", b"a", "ä".encode()], ["b", "a", "ä"]),
    "int64": (np.array([3, 1, 2]), [3, 1, 2]),
    "big-endian": (np.array([3, 1, 2], ">i4"), [3, 1, 2]),
    "text array": (np.array(["b", "äb", "c"]), ["b", "äb", "c"]),
    "bytes array": (np.array([b"b", b"ab", b"c"]), ["b", "ab", "c"]),
    "NumPy ints": ([np.int64(3), np.int64(1), np.uint8(2)], [3, 1, 2]),
    "NumPy texts": ([np.str_("b"), np.str_("a"), np.bytes_(b"c")], ["b", "a", "c"]),
}


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize(("writer", "protocol"), WRITERS)
def test_ids_keep_kind_and_order(file, writer, protocol, ids):
    given, wanted = IDS[ids]
    assert unpickle.read(file(written({"data": IMAGES, "ids": given}, protocol, writer))).ids == wanted


COSTLY = {
    "NumPy ints": np.int64,
    "NumPy texts": lambda n: np.str_("x" * (n % 9) + str(n)),
    "arrays of one text": lambda n: np.array(f"x{n}"),
}


def instructions(content: bytes) -> int:
    machine = pickle_machine._Machine(content)
    machine.load()
    return machine.most - machine.left


@pytest.mark.parametrize("ids", COSTLY)
@pytest.mark.parametrize(("writer", "protocol"), WRITERS)
def test_an_honest_file_has_less_than_an_instruction_for_50_bytes(writer, protocol, ids):
    """However dearly each id is written, and dark pixels are written shortest; so any number of images is read."""
    content = {"data": np.zeros((400, 3072), np.uint8), "ids": [COSTLY[ids](n) for n in range(400)]}
    content = written(content, protocol, writer)
    assert instructions(content) < len(content) / pickle_machine.BYTES_EACH


@pytest.mark.parametrize("protocol", [0, 4])
def test_the_official_test_batch_with_a_numpy_scalar_as_each_id(cifar10_root, file, protocol):
    images, _ = unpickle.read_batch(cifar10_root / "cifar-10-batches-py" / "test_batch")
    path = file(pickle.dumps({"data": images, "ids": list(np.arange(10_000))}, protocol))
    got = unpickle.read(path)
    np.testing.assert_array_equal(got.images, images)
    assert got.ids == list(range(10_000))


def test_write_is_read_back(tmp_path):
    path = unpickle.write(tmp_path / "a.pkl", IMAGES, [2, 0, 1])
    got = unpickle.read(path)
    np.testing.assert_array_equal(got.images, IMAGES)
    assert got.ids == [2, 0, 1] and list(pickle.loads(path.read_bytes())) == [b"data", b"ids"]


def test_the_official_batch_equals_what_torchvision_reads(cifar10_root):
    from torchvision.datasets import CIFAR10

    path, theirs = cifar10_root / "cifar-10-batches-py" / "test_batch", CIFAR10(cifar10_root, train=False)
    images, labels = unpickle.read_batch(path)
    np.testing.assert_array_equal(images, theirs.data)
    assert labels.tolist() == theirs.targets and labels.dtype == np.int64
    assert "read_batch reads it" in refusal(path)


def test_a_batch_with_other_labels_is_refused(file):
    for labels in ([1, 2, 10], [1, 2, -1], [1, 2, 0.0], [1, 2, True]):
        assert "0 to 9" in refusal(file({"data": IMAGES, "labels": labels}), unpickle.read_batch)


@pytest.mark.parametrize("shape", [(2, 3072), (2, 3, 32, 32)])
def test_a_layout_that_contradicts_the_pixels_is_doubted(file, shape):
    ramp = np.add.outer(np.arange(32), np.arange(32))[None, :, :, None] * np.array([4, 2, 1])
    images = np.repeat(ramp, 2, axis=0).astype(np.uint8)
    planar = images.transpose(0, 3, 1, 2)
    assert "beware" in unpickle.read(file({"data": images.reshape(shape), "ids": [0, 1]})).note
    assert "beware" not in unpickle.read(file({"data": planar.reshape(shape), "ids": [0, 1]})).note
    assert "beware" not in unpickle.read(file({"data": images, "ids": [0, 1]})).note


def test_other_keys_are_named(file):
    note = unpickle.read(file({"data": IMAGES, "ids": [1, 2, 3], "labels": None})).note
    assert note == "3 images stored as (N, 32, 32, 3), ids 1 to 3; not used: labels"


def made(write) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def tar(buffer):
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))


GROWING = b"\x80\x02(c_codecs\nencode\nq\x00(V" + b"a" * 10_000 + b"\nVlatin1\ntq\x01" + b"h\x00h\x01R" * 50 + b"l."
GOOD = pickle.dumps({"data": IMAGES, "ids": [1, 2, 3]}, 4)
N3 = {"ids": [1, 2, 3]}
WRONG = {
    "empty": (b"", "empty"),
    "truncated": (GOOD[:-100], "truncated"),
    "HTML": (b"\n<!DOCTYPE html><html>", "web page (HTML)"),
    "gzip": (gzip.compress(GOOD), "gzip"),
    "tar": (made(tar), "tar archive"),
    "npz": (made(lambda f: np.savez(f, data=IMAGES)), "npz"),
    "npy": (made(lambda f: np.save(f, IMAGES)), ".npy"),
    "text": (b"hello", "not a pickle"),
    "JSON": (b'{"data": 1}', "not a pickle: byte 0x7b"),
    "list": ([1, 2], "of type list; expected a dict"),
    "array": (IMAGES, "a NumPy array; expected a dict"),
    "no data": (N3, "no data among its keys (ids)"),
    "no ids": ({b"data": IMAGES}, "no ids among its keys (b'data')"),
    "empty dict": ({}, "no data among its keys (none)"),
    "both spellings of data": ({"data": IMAGES, b"data": IMAGES, "ids": [1, 2, 3]}, "both 'data' and b'data'"),
    "both spellings of ids": ({"data": IMAGES, "ids": [1, 2, 3], b"ids": [1, 2, 3]}, "both 'ids' and b'ids'"),
    "fewer ids": ({"data": IMAGES, "ids": [1, 2]}, "2 ids for 3 images"),
    "more ids": ({"data": IMAGES, "ids": np.arange(4)}, "4 ids for 3 images"),
    "ids 2-D": ({"data": IMAGES, "ids": np.ones((3, 1), int)}, "ids has shape (3, 1); expected (3,)"),
    "ids one text": ({"data": IMAGES, "ids": "abc"}, "ids is of type str (abc)"),
    "ids twice": ({"data": IMAGES, "ids": [4, 9, 9]}, "id 9 is there twice, at 1 and 2"),
    "ids float": ({"data": IMAGES, "ids": [1.0, 2.5, 3.0]}, "an id is of type float (1.0)"),
    "ids float array": ({"data": IMAGES, "ids": np.ones(3)}, "an id is of type float"),
    "ids bool": ({"data": IMAGES, "ids": [True, False, 2]}, "of type bool (True)"),
    "ids None": ({"data": IMAGES, "ids": [1, None, 2]}, "of type NoneType"),
    "ids nested": ({"data": IMAGES, "ids": [[1], [2], [3]]}, "of type list"),
    "ids mixed": ({"data": IMAGES, "ids": [1, "1", 2]}, "both numbers and text"),
    "id empty": ({"data": IMAGES, "ids": ["", "a", "b"]}, "empty or longer"),
    "id long": ({"data": IMAGES, "ids": ["a" * 257, "a", "b"]}, "empty or longer"),
    "id not UTF-8": ({"data": IMAGES, "ids": [b"\xff", b"a", b"b"]}, "not UTF-8"),
    "id a surrogate": ({"data": IMAGES, "ids": ["\ud800", "a", "b"]}, "not UTF-8"),
    "data a list": (N3 | {"data": [[1, 2]]}, "data is of type list; expected a NumPy array"),
    "floats": (N3 | {"data": (IMAGES / 255).astype("f4")}, "data is float32, 0.0 to 1.0; expected uint8"),
    "over 255": (N3 | {"data": IMAGES.astype(int) + 45}, "data is int64, 45 to 300; expected uint8, 0 to 255"),
    "negative": (N3 | {"data": IMAGES.astype("i2") - 300}, "data is int16, -300 to"),
    "int in range": (N3 | {"data": IMAGES.astype("i4")}, "write data.astype('uint8')"),
    "bool": (N3 | {"data": IMAGES > 9}, "data is bool; expected uint8, 0 to 255"),
    "floats of 0 to 255": (N3 | {"data": IMAGES.astype("f8")}, "0 to 255: write data.astype('uint8')"),
    "floats of 0 to 1": (N3 | {"data": (IMAGES / 255).astype("f4")}, "write np.rint(data * 255).astype('uint8')"),
    "finer than bytes": (N3 | {"data": (IMAGES / 999.0)}, "scale and round it as it was meant"),
    "normalised": (N3 | {"data": (IMAGES / 64.0 - 2)}, "it looks normalised: undo that first"),
    "16 bits": (N3 | {"data": IMAGES.astype("u2") * 257}, "scale and round it as it was meant"),
    "grey": (N3 | {"data": IMAGES[..., :1]}, "shape (3, 32, 32, 1); expected (N, 32, 32, 3)"),
    "one image": (N3 | {"data": IMAGES[0]}, "shape (32, 32, 3)"),
    "a column short": (N3 | {"data": IMAGES.reshape(3, 3072)[:, 1:]}, "shape (3, 3071)"),
    "a line": (N3 | {"data": IMAGES.reshape(-1)}, "shape (9216,)"),
    "N = 0": ({"data": IMAGES[:0], "ids": []}, "no images (N = 0)"),
    "object array": (N3 | {"data": np.array([IMAGES, None, 3], object)}, "object array"),
    "object ids": ({"data": IMAGES, "ids": np.array([1, 2, 3], object)}, "object array"),
    "structured": (N3 | {"data": np.zeros(3, [("a", "u1")])}, "structured"),
    "dates": ({"data": IMAGES, "ids": np.array([1, 2, 3], "M8[s]")}, "M8"),
    "complex": (N3 | {"data": IMAGES.astype(complex)}, "type c16"),
    "trailing": (GOOD + b"abc", "3 bytes after the pickle's end"),
    "two pickles": (GOOD + GOOD, "bytes after the pickle's end"),
    "protocol 6": (b"\x80\x06}.", "protocol 6; expected 0 to 5"),
    "key a number": ({1: 2}, "key of type int"),
    "key a tuple": ({(1, 2): 2}, "key of type tuple"),
    "key long": ({b"\xff" * 10**6: 1}, "no data among its keys (b'\\xff\\xff"),
    "a name with a line end": (b"\x80\x04\x8c\x03o\ns\x8c\x01x\x93.", "names o?s.x, which could be code"),
    "a name in INST": (b"(inumpy\ndtype\n.", "it uses INST, which can run or hide code"),
    "another codec": (b"c_codecs\nencode\n(Va\nVrot13\ntR.", "another encoding than latin1"),
    "instructions": (b"\x80\x04" + b"N" * 100_001 + b".", "more than 12,000 instructions"),
    "a nest as a key": (b"\x80\x02})" + b"q\x00h\x00\x86" * 100 + b"I1\ns.", "key of type tuple"),
    "length beyond the end": (b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"a.", "truncated"),
    "memo far": (b"\x80\x02}r\xff\xff\xff\xff.", "its memo has a number beyond 10,000"),
    "shape far": (GOOD.replace(b"(K\x03K K K\x03t", b"(J\xff\xff\xff\x7fK K K\x03t"), "uint8 (2147483647, 32, 32, 3)"),
    "shape wide": (GOOD.replace(b"(K\x03K K K\x03t", b"(" + b"K\x03" * 99 + b"t"), "without its type, shape"),
    "type long": (b"\x80\x02cnumpy\ndtype\n(V" + b"u" * 99 + b"\ntR.", "no short text"),
    "grows": (GROWING, "grows beyond its own size"),
    "key twice": (b"(dVdata\nI1\nsVdata\nI2\ns.", "the key data is there twice"),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_file_gets_its_line(file, name):
    content, words = WRONG[name]
    assert words in refusal(file(content))


def test_what_is_no_plain_file_gets_its_line(tmp_path):
    assert "not there (looked for" in refusal(tmp_path / "none.pkl")
    assert "a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "no plain file" in refusal(tmp_path / "pipe")
    with (tmp_path / "large.pkl").open("wb") as file:
        file.truncate(unpickle.MAX_BYTES + 1)
    assert "expected at most 512" in refusal(tmp_path / "large.pkl")


@pytest.mark.parametrize("protocol", range(6))
def test_every_truncation_is_refused(protocol):
    small = {"data": np.arange(4, dtype=np.uint8), "ids": [np.int64(3), 1, "a"], "x": b"abc"}
    whole = pickle.dumps(small, protocol)
    pickle_machine.loads(whole)
    for end in range(len(whole)):
        with pytest.raises(BadPickle):
            pickle_machine.loads(whole[:end])


def fuzzed(cases: int, reader: str = "fuzz_unpickle.trial", **options) -> dict:
    """What `fuzz_unpickle.run` finds, in a process without all that the tests have in memory."""
    call = f"fuzz_unpickle.run({cases}, read={reader}, **{options})"
    code = f"import json, fuzz_unpickle, test_unpickle; print(json.dumps({call}))"
    folders = [paths.ROOT, paths.ROOT / "tests", paths.ROOT / "tests/exchange"]
    path = {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | path, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def test_twenty_thousand_damaged_files_give_an_answer_or_a_line():
    found = fuzzed(20_000)
    assert (found["crashes"], found["hangs"], found["foreign"]) == ([], [], [])
    assert found["read"] + found["refused"] == 20_000 and 1000 < found["read"] < 10_000
    assert found["slowest_s"] < 0.5 and found["peak_mb"] < 300


def numpys_own(path: Path) -> bool:
    """The usual advice: Python's unpickler with a list of allowed names, and these NumPy's own."""

    class Restricted(pickle.Unpickler):
        def find_class(self, module, name):
            if (module, name) not in pickle_machine.NAMES:
                raise pickle.UnpicklingError
            return super().find_class(module, name)

    try:
        Restricted(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except Exception:
        return False
    return True


def planted(path: Path) -> bool:
    """A reader with three faults, in cases 7, 30 and 31 of 60."""
    for case, fault in {7: lambda: os.abort(), 30: lambda: time.sleep(60), 31: lambda: 1 / 0}.items():
        if path.read_bytes() == fuzz_unpickle.mutated(case):
            fault()
    return False


def test_the_fuzzing_names_the_case_that_crashes_hangs_or_raises():
    found = fuzzed(60, "test_unpickle.planted", size=25, patience=1)
    assert (found["crashes"], found["hangs"], found["foreign"]) == ([7], [30], [31])
    assert (found["read"], found["refused"]) == (0, 57)


def test_the_fuzzing_finds_what_numpy_does_with_damage():
    found = fuzzed(4_000, "test_unpickle.numpys_own", patience=1)
    assert found["crashes"], "NumPy 2.4.6 crashes on 5; a later one may not: then drop this test"


def test_a_case_is_the_same_file_wherever_it_is_made():
    assert fuzz_unpickle.mutated(650) == fuzz_unpickle.mutated(650) != fuzz_unpickle.mutated(650, seed=1)
    assert len({fuzz_unpickle.mutated(case) for case in range(1000)}) > 900


@pytest.mark.parametrize("array", [IMAGES / 64 - 2, IMAGES > 9, IMAGES / 999, IMAGES.astype("i2") - 300])
def test_no_advice_that_would_ruin_the_pixels(array, tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"data": array, "ids": [1, 2, 3]}))
    with pytest.raises(BadPickle) as refused:
        unpickle.read(path)
    assert "astype" not in str(refused.value)


def test_ids_that_a_spreadsheet_takes_for_formulas_are_told(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"data": IMAGES, "ids": ["=1+1", "a", "@b"]}))
    read = unpickle.read(path)
    assert read.ids == ["=1+1", "a", "@b"] and "2 ids begin with =, +, - or @" in read.note
