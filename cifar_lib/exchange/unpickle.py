"""Images without labels, from a pickle that nobody trusts: what the file must hold, and a line for all else."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from cifar_lib.exchange.pickle_machine import loads
from cifar_lib.exchange.pickled_arrays import Array, BadPickle, clip
from cifar_lib.system import files

MAX_BYTES = 512 * 2**20  # 10,000 images are 31 MB, and up to four times that as Python 2's text
MAX_ID = 256  # characters
LAYOUTS = {(32, 32, 3): "(N, 32, 32, 3)", (3, 32, 32): "(N, 3, 32, 32)", (3072,): "(N, 3072) planar"}
WANTED = "expected a dict with data (uint8 images) and ids"
STARTS = {
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"PK\x03\x04": "a zip archive or .npz; unpack it first, or write its arrays as a pickle",
    b"BZh": "a bzip2 archive; unpack it first",
    b"\xfd7zXZ": "an xz archive; unpack it first",
    b"\x93NUMPY": "a .npy array; write {'data': array, 'ids': ids} as a pickle",
    b"\x89HDF": "an HDF5 file; write its arrays as a pickle",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself with git lfs pull",
}


@dataclass(frozen=True)
class Unlabelled:
    """images (N, 32, 32, 3) uint8 and one id each, all int or all str, in the file's order.

    `layout` is how the file has the images, `note` one line on all that was found.
    """

    images: np.ndarray
    ids: list[int] | list[str]
    layout: str
    note: str


def read(path: str | Path) -> Unlabelled:
    """Read a pickled dict of `data` and `ids` as data, never as code: text or bytes keys, protocols 0 to 5, written by
    Python 2 or 3, NumPy 1 or 2.

    `data` is uint8, (N, 32, 32, 3), (N, 3, 32, 32) or (N, 3072) planar; `ids` a list, tuple or array of N different
    ints or texts. Raises `BadPickle`, one line, for anything else.
    """
    with _about(path):
        content = _content(Path(path))
        images, layout, warning = _images(_field(content, "data"))
        ids = _ids(_field(content, "ids"), len(images))
        unused = [clip(key) for key in content if key not in ("data", b"data", "ids", b"ids")]
        count = f"{len(images):,} image{'s' * (len(images) > 1)}"
        note = f"{count} stored as {layout}, ids {clip(ids[0])} to {clip(ids[-1])}"
        note += f"; not used: {', '.join(unused[:5])}" * bool(unused) + warning + _formula_warning(ids)
        return Unlabelled(images, ids, layout, note)


def read_batch(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read an official labelled CIFAR-10 batch the same way: images (N, 32, 32, 3) uint8, labels (N,) int64."""
    with _about(path):
        content = _content(Path(path))
        images, _, _ = _images(_field(content, "data"))
        labels = _values(_field(content, "labels"), "labels", len(images))
        if not all(type(label) is int and 0 <= label <= 9 for label in labels):
            raise BadPickle("labels are not all integers 0 to 9; expected an official CIFAR-10 batch")
        return images, np.array(labels, np.int64)


def write(path: str | Path, images: np.ndarray, ids: list) -> Path:
    """Write images (N, 32, 32, 3) uint8 and ids as such a pickle: planar, bytes keys, as the official files."""
    planar = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)
    files.write_atomically(Path(path), pickle.dumps({b"data": planar, b"ids": list(ids)}, protocol=4))
    return Path(path)


@contextmanager
def _about(path: str | Path) -> Iterator[None]:
    """Every error names the file, and every error is a `BadPickle`."""
    try:
        yield
    except BadPickle as error:
        raise BadPickle(f"{path}: {error}") from None
    except OSError as error:
        raise BadPickle(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:
        raise BadPickle(f"{path}: damaged ({type(error).__name__}); get the file again") from None


def _content(path: Path) -> dict:
    data = _bytes(path)
    start = next((what for magic, what in STARTS.items() if data.startswith(magic)), None)
    if data[257:262] == b"ustar":
        start = "a tar archive; unpack it first"
    if data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        start = "a web page (HTML), not the file behind its link; download it again"
    if start:
        raise BadPickle(f"not a pickle but {start}")
    content = loads(data)
    if type(content) is not dict:
        raise BadPickle(f"it is {_kind(content)}; {WANTED}")
    return content


def _bytes(path: Path) -> bytes:
    if not path.exists():
        raise BadPickle(f"not there (looked for {path.absolute()}); put it there, or give its path")
    if not path.is_file():
        raise BadPickle("a folder, or no plain file; give the path of the pickle itself")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise BadPickle(f"{size / 2**20:,.0f} MiB; expected at most {MAX_BYTES // 2**20}: split it")
    if size == 0:
        raise BadPickle(f"empty; {WANTED}: get the file again")
    return path.read_bytes()


def _field(content: dict, name: str):
    spellings = [key for key in (name, name.encode()) if key in content]
    if len(spellings) == 2:
        raise BadPickle(f"has both {name!r} and {name.encode()!r}; expected one: which is meant?")
    if spellings:
        return content[spellings[0]]
    keys = ", ".join(clip(key) for key in list(content)[:8]) or "none"
    way = "; a labelled CIFAR-10 batch: read_batch reads it" if {"labels", b"labels"} & content.keys() else ""
    raise BadPickle(f"no {name} among its keys ({keys}); expected {name!r}{way * (name == 'ids')}")


def _images(value) -> tuple[np.ndarray, str, str]:
    """Images (N, 32, 32, 3) uint8 of their own, C-contiguous; how the file has them; a warning about it, or ''."""
    if type(value) is not Array:
        raise BadPickle(f"data is {_kind(value)}; expected a NumPy array, uint8: np.asarray(data, 'uint8')")
    array = value.numpy()
    if array.dtype != np.uint8:
        raise BadPickle(f"data is {array.dtype}{_span(array)}; expected uint8, 0 to 255{_way_to_bytes(array)}")
    layout = LAYOUTS.get(array.shape[1:])
    if not layout:
        raise BadPickle(f"data has shape {clip(array.shape)}; expected {', '.join(LAYOUTS.values())}")
    if len(array) == 0:
        raise BadPickle("data holds no images (N = 0); expected at least one")
    planar = layout != LAYOUTS[32, 32, 3]
    images = np.array(_channels_last(array, planar), order="C")
    return images, layout, _layout_warning(images[:200], _channels_last(array[:200].copy(), not planar), planar)


def _span(array: np.ndarray) -> str:
    return f", {array.min()} to {array.max()}" if array.dtype.kind in "iuf" and array.size else ""


def _way_to_bytes(array: np.ndarray) -> str:
    """How to make uint8 of these pixels where nothing is lost by it; else what their scale looks like."""
    if array.dtype.kind not in "iuf" or not array.size or not np.isfinite(array).all():
        return ""
    low, high = array.min(), array.max()
    if low < 0:
        return "; it looks normalised: undo that first (times std, plus mean)" if array.dtype.kind == "f" else ""
    sample = array.reshape(-1)[:: 1 + array.size // 1_000_000]
    for factor, way in ((255, "np.rint(data * 255)"), (1, "data")):
        levels = sample * np.float64(factor)
        if float(high) * factor <= 255 and (high > 1 or factor > 1) and np.abs(levels - np.rint(levels)).max() < 1e-3:
            return f": write {way}.astype('uint8')"
    return "; its values are not 256 levels of 0 to 1 or of 0 to 255: scale and round it as it was meant"


def _channels_last(array: np.ndarray, planar: bool) -> np.ndarray:
    return array.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) if planar else array.reshape(-1, 32, 32, 3)


def _layout_warning(images: np.ndarray, other: np.ndarray, planar: bool) -> str:
    """Photographs are smooth: where the other layout gives smoother ones, a warning that the shape may lie, else ""."""
    here, there = (np.abs(np.diff(x.astype(np.int16), axis=1)).mean() for x in (images, other))
    if here < 1.3 * there or here == 0:
        return ""
    return f"; beware: its pixels look {'interleaved' if planar else 'planar'}, against its shape: look at some images"


def _values(value, name: str, n: int) -> list:
    """A list, a tuple or an array of n values, as a list."""
    if type(value) is Array:
        value = value.numpy()
        if value.ndim != 1:
            raise BadPickle(f"{name} has shape {clip(value.shape)}; expected ({n},)")
    elif type(value) not in (list, tuple):
        raise BadPickle(f"{name} is {_kind(value)}; expected a list or an array of {n:,}")
    if len(value) != n:
        raise BadPickle(f"{len(value):,} {name} for {n:,} images; expected one each, in the same order")
    return value.tolist() if isinstance(value, np.ndarray) else list(value)


def _ids(value, n: int) -> list:
    ids = [_id(one) for one in _values(value, "ids", n)]
    if len({type(one) for one in ids}) > 1:
        raise BadPickle("ids are both numbers and text; expected all of one kind")
    order = sorted(range(n), key=ids.__getitem__)  # not a dict: integers can be chosen to collide in it
    twice = min(((b, a) for a, b in pairwise(order) if ids[a] == ids[b]), default=None)
    if twice:
        raise BadPickle(f"id {clip(ids[twice[0]])} is there twice, at {twice[1]} and {twice[0]}; expected each once")
    return ids


def _formula_warning(ids: list) -> str:
    count = sum(isinstance(one, str) and one.startswith(("=", "+", "-", "@")) for one in ids)
    some = f"{count:,} ids begin" if count > 1 else "an id begins"
    return f"; beware: {some} with =, +, - or @, which a spreadsheet takes for a formula" * bool(count)


def _id(value) -> int | str:
    if type(value) is Array and value.shape == ():
        value = value.numpy().tolist()
    if type(value) not in (int, str, bytes):
        raise BadPickle(f"an id is {_kind(value)}; expected integers or text")
    if not 0 < len(str(value) if type(value) is int else value) <= MAX_ID:
        raise BadPickle(f"an id is empty or longer than {MAX_ID} characters ({clip(value)}); expected a short one")
    try:
        value = value.decode() if type(value) is bytes else value
        str(value).encode()
    except UnicodeError:
        raise BadPickle(f"the id {clip(value)} is not UTF-8 text; expected integers or text") from None
    return value


def _kind(value) -> str:
    """A value by its type, and itself where it is a number or text."""
    if isinstance(value, Array):
        return "a NumPy array"
    shown = f" ({clip(value)})" if isinstance(value, int | float | str | bytes) else ""
    return f"of type {type(value).__name__}{shown}"
