"""A stranger's pickle: every honest way of writing it is read, every other file gets its one line, no code runs."""

import gzip
import io
import pickle
import random
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from cifar_lib import unpickle
from cifar_lib.unpickle import BadPickle

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
IDS = [5, 3, 9, 70_000, 0, 2]
PLANAR = IMAGES.transpose(0, 3, 1, 2)
LAYOUTS = {"hwc": IMAGES, "chw": np.ascontiguousarray(PLANAR), "flat": PLANAR.reshape(6, 3072)}


def numpy1(data: bytes) -> bytes:
    """The same pickle as NumPy 1 would have written it: its modules stood under numpy.core."""
    for new, old in (
        (b"numpy._core.multiarray", b"numpy.core.multiarray"),
        (b"numpy._core.numeric", b"numpy.core.numeric"),
    ):
        data = data.replace(b"\x8c" + bytes([len(new)]) + new, b"\x8c" + bytes([len(old)]) + old)
        data = data.replace(b"c" + new + b"\n", b"c" + old + b"\n")
        data = data.replace(b"X" + struct.pack("<I", len(new)) + new, b"X" + struct.pack("<I", len(old)) + old)
    return data


def saved(tmp_path, value, protocol: int = 4):
    path = tmp_path / "file.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("old", [False, True], ids=["numpy2", "numpy1"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("keys", [(b"data", b"ids"), ("data", "ids")], ids=["bytes", "text"])
def test_every_honest_way_is_read(tmp_path, keys, protocol, layout, old):
    data = pickle.dumps(dict(zip(keys, (LAYOUTS[layout], IDS), strict=True)), protocol)
    if old and protocol < 4:  # later protocols frame the text, so that its length cannot be changed in place
        assert b"numpy._core" in data
        data = numpy1(data)
        assert b"numpy._core" not in data
    found = unpickle.read(saved(tmp_path, data))
    assert (found.images == IMAGES).all() and found.images.flags.c_contiguous and found.images.dtype == np.uint8
    assert found.ids == IDS


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "ids",
    [np.array(IDS), np.array(IDS, np.uint32).astype(">u4"), tuple(IDS), [np.int64(i) for i in IDS]],
    ids=["array", "big-endian", "tuple", "scalars"],
)
def test_every_kind_of_integer_ids(tmp_path, ids, protocol):
    assert unpickle.read(saved(tmp_path, {"data": IMAGES, "ids": ids}, protocol)).ids == IDS


@pytest.mark.parametrize("ids", [list("abcdef"), [c.encode() for c in "abcdef"], np.array(list("abcdef"))])
def test_text_ids(tmp_path, ids):
    assert unpickle.read(saved(tmp_path, {"data": IMAGES, "ids": ids})).ids == list("abcdef")


@pytest.mark.parametrize("protocol", range(6))
def test_fortran_order_and_views(tmp_path, protocol):
    for data in (np.asfortranarray(IMAGES), np.repeat(IMAGES, 2, 0)[::2]):
        assert (unpickle.read(saved(tmp_path, {"data": data, "ids": IDS}, protocol)).images == IMAGES).all()


def test_python_2_pickle(tmp_path):
    """As Python 2 wrote it, protocol 2: text as byte strings, NumPy under its old name."""
    raw = PLANAR.tobytes()
    text = lambda s: b"U" + bytes([len(s)]) + s  # noqa: E731
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
        b"(K\x01K\x06M\x00\x0c\x86cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
        b"(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", len(raw))
        + raw
        + b"tb"
    )
    ids = b"](K\x05K\x03K\x09J" + struct.pack("<i", 70_000) + b"K\x00K\x02e"
    found = unpickle.read(saved(tmp_path, b"\x80\x02}(" + text(b"data") + array + text(b"ids") + ids + b"u."))
    assert (found.images == IMAGES).all() and found.ids == IDS


def test_official_batch_equals_torchvision(cifar10_root):
    from torchvision.datasets import CIFAR10

    images, labels = unpickle.read_batch(cifar10_root / CIFAR10.base_folder / "test_batch")
    official = CIFAR10(cifar10_root, train=False)
    assert (images == official.data).all() and labels.tolist() == official.targets
    with pytest.raises(BadPickle, match="has no 'ids'.*batch_label, data, filenames, labels"):
        unpickle.read(cifar10_root / CIFAR10.base_folder / "test_batch")


def test_write_round_trip(tmp_path):
    unpickle.write(tmp_path / "w.pkl", IMAGES, IDS)
    found = unpickle.read(tmp_path / "w.pkl")
    assert (found.images == IMAGES).all() and found.ids == IDS
    with (tmp_path / "w.pkl").open("rb") as file:
        assert set(pickle.load(file)) == {b"data", b"ids"}


def archive(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("x"))
    elif kind == "zip":
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("x", "y")
    elif kind == "npz":
        np.savez(buffer, data=IMAGES)
    return buffer.getvalue() or gzip.compress(pickle.dumps({}))


def good(**other):
    return {"data": IMAGES, "ids": IDS} | other


WRONG = {
    "empty": (b"", "empty"),
    "html": (b"  <!DOCTYPE html><html>", "HTML page"),
    "gzip": (archive("gzip"), "gzip archive"),
    "zip": (archive("zip"), "zip archive"),
    "npz": (archive("npz"), "zip archive or an .npz"),
    "tar": (archive("tar"), "tar archive"),
    "text": (b"ID,Labels\n1,2\n", "damaged or cut short|instruction"),
    "truncated": (pickle.dumps(good())[:200], "damaged or cut short"),
    "list": ([1, 2], "holds a list, expected a dict with data and ids"),
    "array": (IMAGES, "holds a ndarray, expected a dict"),
    "no data": ({"ids": IDS}, "has no 'data'.*it has ids"),
    "no ids": ({"data": IMAGES}, "has no 'ids'.*it has data"),
    "both spellings": ({"data": IMAGES, b"data": IMAGES, "ids": IDS}, "'data' twice"),
    "ids of another length": (good(ids=IDS[:5]), "5 ids for 6 images"),
    "duplicate ids": (good(ids=[1, 2, 3, 4, 2, 1]), "the id 2 stands there twice"),
    "float ids": (good(ids=[1.0, 2, 3, 4, 5, 6]), "ids are float and int"),
    "nested ids": (good(ids=[[i] for i in IDS]), "ids are list"),
    "boolean ids": (good(ids=[True, False] * 3), "ids are bool"),
    "ids a number": (good(ids=3), "ids is a int"),
    "floats": (good(data=IMAGES / 255), "data is float64 from 0 to 1, expected uint8"),
    "over 255": (good(data=IMAGES.astype(np.int64) + 1), "data is int64 from 1 to 256"),
    "negative": (good(data=IMAGES.astype(np.int16) - 1), "data is int16 from -1"),
    "shape": (good(data=IMAGES[:, :28]), r"shape \(6, 28, 32, 3\), expected \(N, 32, 32, 3\)"),
    "one row short": (good(data=PLANAR.reshape(6, 3072)[:, 1:]), r"shape \(6, 3071\)"),
    "one image alone": (good(data=IMAGES[0], ids=[1]), r"shape \(32, 32, 3\)"),
    "no image": (good(data=IMAGES[:0], ids=[]), "at least one image"),
    "lists for data": (good(data=IMAGES.tolist()), "data is a list, expected a NumPy array"),
    "objects": (good(data=np.array([None] * 6)), "dtype 'O8'"),
    "dates": (good(ids=np.zeros(6, "M8[s]")), "dtype 'M8'"),
    "number key": ({1: 2}, "the key '1'"),
    "set": (good(ids={1, 2}), "EMPTY_SET"),
    "trailing": (pickle.dumps(good()) + b"more", "4 bytes after its end"),
    "second pickle": (pickle.dumps([]) + pickle.dumps(good()), "bytes after its end"),
    "protocol 6": (b"\x80\x06" + pickle.dumps(good())[2:], "protocol 6"),
    "persistent id": (b"Pname\n.", "PERSID"),
    "extension": (b"\x82\x01.", "EXT1"),
    "lying shape": (pickle.dumps(good(data=PLANAR.reshape(6, 3072))).replace(b"M\x00\x0c", b"M\x01\x0c"), "damaged"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_file_gets_its_line(tmp_path, name):
    value, expected = WRONG[name]
    path = saved(tmp_path, value)
    with pytest.raises(BadPickle, match=expected) as refused:
        unpickle.read(path)
    assert str(refused.value).startswith(str(path)) and "\n" not in str(refused.value)


def test_missing_and_folder(tmp_path):
    with pytest.raises(BadPickle, match="not found"):
        unpickle.read(tmp_path / "none.pkl")
    with pytest.raises(BadPickle, match="a folder, expected a pickle"):
        unpickle.read(tmp_path)


def test_too_large(tmp_path):
    with (tmp_path / "large.pkl").open("wb") as file:
        file.truncate(unpickle.MAX_BYTES + 1)
    with pytest.raises(BadPickle, match="1,024 MiB, expected at most 1,024 MiB"):
        unpickle.read(tmp_path / "large.pkl")


CODE = [
    "cposix\nsystem\n(S'touch SENTINEL'\ntR.",
    "cos\nsystem\n(S'touch SENTINEL'\ntR.",
    'c__builtin__\neval\n(S\'open("SENTINEL", "w")\'\ntR.',
    'cbuiltins\nexec\n(S\'open("SENTINEL", "w")\'\ntR.',
    "cnumpy\nload\n(S'SENTINEL'\ntR.",
    "cnumpy.core.multiarray\nfromfile\n.",
    "cnumpy\nndarray.tofile\n.",
    "(S'touch SENTINEL'\nios\nsystem\n.",
    "\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0etouch SENTINEL\x85R.",
    "\x80\x04\x8c\x08builtins\x8c\x07getattr\x93.",
    "\x80\x02cnumpy\ndtype\n)\x81.",
]


@pytest.mark.parametrize("code", CODE)
def test_code_is_named_and_never_run(tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadPickle, match="nothing was run"):
        unpickle.read(saved(tmp_path, code.encode("latin1")))
    assert not (tmp_path / "SENTINEL").exists()


def test_ndarray_cannot_be_called(tmp_path):
    with pytest.raises(BadPickle):
        unpickle.read(saved(tmp_path, b"cnumpy\nndarray\n(K\x01tR."))


def small(protocol: int) -> bytes:
    return pickle.dumps({b"data": np.zeros((1, 3072), np.uint8)[:, :8], b"ids": [7], "more": np.int64(3)}, protocol)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_cut_anywhere_is_refused(tmp_path, protocol):
    whole = small(protocol)
    for length in range(len(whole)):
        with pytest.raises(BadPickle):
            unpickle.read(saved(tmp_path, whole[:length]))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_mutations_are_read_or_refused(tmp_path, protocol, monkeypatch):
    """1,000 seeded mutations: an answer or a `BadPickle`, nothing else, and nothing left behind."""
    monkeypatch.chdir(tmp_path)
    rng, whole = random.Random(protocol), small(protocol)
    for _ in range(1000):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data))
            change = rng.randrange(3)
            data[place : place + (change > 0)] = bytes([rng.randrange(256)]) * (change != 2)
        path = saved(tmp_path, bytes(data))
        try:
            unpickle.read(path)
        except BadPickle as refused:
            assert "\n" not in str(refused)
    assert [p.name for p in tmp_path.iterdir()] == ["file.pkl"]
