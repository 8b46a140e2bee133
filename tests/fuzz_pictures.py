"""Pictures changed at random, each decoded in a process that may die: `python tests/fuzz_pictures.py --cases 1000000`.

Case N of a seed is always the same file, so that a failure is named by its number; `--case N` decodes that one alone.
"""

import io
import random
from pathlib import Path

import fuzz_unpickle
import numpy as np
import PIL
from PIL import Image

from cifar_lib.exchange import pictures
from cifar_lib.exchange.pictures import BadPicture

MODES = {
    "PNG": ["1", "L", "P", "RGB", "LA", "RGBA", "I;16"],
    "JPEG": ["L", "RGB", "CMYK"],
    "WEBP": ["RGB", "RGBA"],
    "GIF": ["1", "L", "P", "RGBA"],
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "TIFF": ["1", "L", "P", "RGB", "LA", "RGBA", "CMYK", "I;16", "I", "F"],
    "PPM": ["1", "L", "RGB", "I;16"],
}
OPTIONS = {
    "TIFF": [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}, {"compression": "packbits"}],
    "JPEG": [{}, {"progressive": True}],
    "PNG": [{}, {"interlace": 1}],
    "WEBP": [{}, {"lossless": True}],
}


def _seeds() -> list[bytes]:
    y, x = np.mgrid[:11, :13]
    scene = Image.fromarray(np.stack([16 * x, 20 * y, 200 - 5 * x * y % 200], 2).astype(np.uint8))
    exif = Image.Exif()
    exif[0x112] = 6
    files = []
    for form, modes in MODES.items():
        assert form in pictures.FORMATS
        for mode in modes:
            image = scene.convert("L").convert(mode) if mode[0] in "IF" else scene.convert(mode)
            for options in OPTIONS.get(form, [{}]):
                file = io.BytesIO()
                image.save(file, form, **options | ({"exif": exif} if form in ("PNG", "JPEG", "WEBP") else {}))
                files.append(file.getvalue())
    return files


SEEDS = _seeds()
NUMBERS = [0, 1, 2, 3, 8, 16, 32, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1]


def _flip(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set(data: bytearray, chance: random.Random) -> None:
    """A number of 1, 2 or 4 bytes, in either order, made extreme; most often in the headers."""
    at, width = min(int(chance.expovariate(1 / 60)), len(data) - 1), chance.choice([1, 2, 4])
    number = chance.choice(NUMBERS) % 2 ** (8 * width)
    data[at : at + width] = number.to_bytes(width, chance.choice(["big", "little"]))


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _drop(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.randint(1, 20)]


def _insert(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(chance.randint(1, 20))


def _splice(data: bytearray, chance: random.Random) -> None:
    """The end of another picture."""
    other = chance.choice(SEEDS)
    at = chance.randrange(len(data))
    data[at:] = other[min(at, len(other)) :]


MUTATIONS = [_flip, _flip, _flip, _set, _set, _set, _cut, _drop, _insert, _splice]


def mutated(case: int, seed: int = 0) -> bytes:
    """The file of a case: an honest one, changed in one to four ways."""
    chance = random.Random(seed * 2**40 + case)
    data = bytearray(chance.choice(SEEDS))
    for _ in range(chance.choice([1, 1, 1, 2, 2, 3, 4])):
        if data:
            chance.choice(MUTATIONS)(data, chance)
    return bytes(data)


def trial(path: Path) -> bool:
    """Whether it is decoded; if not, that is said in a line and by the decoder's own exception."""
    try:
        got = pictures.decode(path)
    except BadPicture as error:
        if not str(error).isprintable() or len(str(error)) > 300 + len(str(path)):
            raise AssertionError(f"not a line: {error!r}") from None
        return False
    if got.dtype != np.uint8 or got.ndim != 3 or got.shape[2] != 3 or 0 in got.shape:
        raise AssertionError(f"{got.dtype} {got.shape}")
    return True


def main() -> None:
    given = fuzz_unpickle.parser(__doc__, 10_000).parse_args()
    if given.case is not None:
        print(pictures.decode(io.BytesIO(mutated(given.case, given.seed))).shape)
    else:
        fuzz_unpickle.report(given, trial, mutated, pillow=PIL.__version__)


if __name__ == "__main__":
    main()
