"""An unlabelled pickle, or an official CIFAR batch, from a stranger: images and ids, or one clear line. No torch."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifar_lib import inert
from cifar_lib.inert import BadPickle
from cifar_lib.runs import write_atomically

MAX_BYTES = 2**30  # 349,525 images
LAYOUTS = {"(N, 32, 32, 3)": (32, 32, 3), "(N, 3, 32, 32)": (3, 32, 32), "(N, 3072), planar": (3072,)}
# How other files begin, for those who got one in place of a pickle.
OTHERS = {
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"PK\x03\x04": "a zip archive or an .npz: unpack it first",
    b"BZh": "a bzip2 archive: unpack it first",
    b"\x93NUMPY": "a NumPy .npy file, expected a pickle of a dict with data and ids",
    b"<": "an HTML page, perhaps of a login or an error: download the file itself",
}


@dataclass(frozen=True)
class Unlabelled:
    """images (N, 32, 32, 3) uint8, ids (N,) in the file's order, and in a line what was found."""

    images: np.ndarray
    ids: list[int] | list[str]
    note: str


def read(path: str | Path) -> Unlabelled:
    """Read a pickled dict of `data` and `ids`, of Python 2 or 3 and NumPy 1 or 2, as data and never as code.

    `data`: (N, 32, 32, 3), (N, 3, 32, 32) or planar (N, 3072), uint8. `ids`: N different integers or texts.
    Raises `BadPickle`, one line, for anything else.
    """
    found = _dict(Path(path), "data", "ids")
    try:
        images, layout = _images(found["data"])
        ids = _ids(found["ids"], len(images))
    except BadPickle as error:
        raise BadPickle(f"{path}: {error}") from None
    return Unlabelled(images, ids, f"{len(images):,} images, {layout}, uint8; ids {ids[0]!r} to {ids[-1]!r}")


def read_batch(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) uint8 and labels (N,) int64 of an official CIFAR batch, read the same way."""
    found = _dict(Path(path), "data", "labels")
    return _images(found["data"])[0], np.array(found["labels"], dtype=np.int64)


def write(path: str | Path, images: np.ndarray, ids: list) -> None:
    """Write images (N, 32, 32, 3) uint8 and N ids as such a pickle: whole or not at all."""
    write_atomically(Path(path), pickle.dumps({b"data": np.ascontiguousarray(images), b"ids": ids}, protocol=4))


def _dict(path: Path, *keys: str) -> dict:
    data = _bytes(path)
    try:
        found = inert.loads(data)
    except BadPickle as error:
        raise BadPickle(f"{path}: {error}") from None
    if not isinstance(found, dict):
        raise BadPickle(f"{path}: holds a {type(found).__name__}, expected a dict with {' and '.join(keys)}")
    for key in keys:
        if key not in found:
            have = ", ".join(sorted(found)) or "nothing"
            raise BadPickle(f"{path}: has no {key!r}, expected a dict with {' and '.join(keys)}; it has {have}")
    return found


def _bytes(path: Path) -> bytes:
    if not path.exists():
        raise BadPickle(f"{path}: not found; put the pickle there, or give its path")
    if not path.is_file():
        raise BadPickle(f"{path}: a folder, expected a pickle file")
    if path.stat().st_size > MAX_BYTES:
        raise BadPickle(f"{path}: {path.stat().st_size / 2**20:,.0f} MiB, expected at most {MAX_BYTES // 2**20:,} MiB")
    data = path.read_bytes()
    if not data:
        raise BadPickle(f"{path}: empty; fetch or copy it again")
    other = next((what for start, what in OTHERS.items() if data.lstrip()[: len(start)] == start), None)
    other = "a tar archive: unpack it first" if data[257:262] == b"ustar" else other
    if other:
        raise BadPickle(f"{path}: is {other}")
    return data


def _images(data) -> tuple[np.ndarray, str]:
    if not isinstance(data, np.ndarray):
        raise BadPickle(f"data is a {type(data).__name__}, expected a NumPy array of uint8")
    if data.dtype != np.uint8:
        span = f" from {data.min():g} to {data.max():g}" if data.size and data.dtype.kind in "uif" else ""
        raise BadPickle(f"data is {data.dtype}{span}, expected uint8 from 0 to 255: convert it with astype('uint8')")
    layout = next((name for name, shape in LAYOUTS.items() if data.shape[1:] == shape), None)
    if layout is None or len(data) == 0:
        raise BadPickle(f"data has the shape {data.shape}, expected {' or '.join(LAYOUTS)}, with at least one image")
    if layout != "(N, 32, 32, 3)":
        data = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(data), layout


def _ids(ids, images: int) -> list:
    if isinstance(ids, np.ndarray) and ids.ndim == 1:
        ids = ids.tolist()
    if not isinstance(ids, (list, tuple)):
        raise BadPickle(f"ids is a {type(ids).__name__}, expected a list or a one-dimensional array")
    ids = [item.decode("latin1") if isinstance(item, bytes) else item for item in ids]
    if len(ids) != images:
        raise BadPickle(f"{len(ids):,} ids for {images:,} images, expected one each")
    kinds = {type(item) for item in ids}
    if kinds not in ({int}, {str}):
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise BadPickle(f"ids are {names}, expected all integers or all texts")
    if len(set(ids)) < len(ids):
        seen = set()
        twice = next(item for item in ids if item in seen or seen.add(item))
        raise BadPickle(f"the id {twice!r} stands there twice, expected every id once")
    return list(ids)
