"""The script that goes with the models reads a picture as the library does."""

import numpy as np
import pytest
from PIL import Image

from cifar_lib.edge import predict
from cifar_lib.exchange import pictures
from cifar_lib.inference import classifier

COLOURS = np.random.default_rng(0).integers(0, 256, (70, 45, 4), dtype=np.uint8)
GREY16 = np.random.default_rng(1).integers(0, 65536, (40, 90), dtype=np.uint16)


def turned(path):
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(COLOURS[..., :3]).save(path.with_suffix(".jpg"), exif=exif)
    return path.with_suffix(".jpg")


def saved(image: Image.Image, path, ending: str, **options):
    image.save(path.with_suffix(ending), **options)
    return path.with_suffix(ending)


PICTURES = {
    "PNG": lambda path: saved(Image.fromarray(COLOURS[..., :3]), path, ".png"),
    "32x32": lambda path: saved(Image.fromarray(COLOURS[:32, :32, :3]), path, ".png"),
    "JPEG, turned": turned,
    "CMYK": lambda path: saved(Image.fromarray(COLOURS[..., :3]).convert("CMYK"), path, ".jpg"),
    "transparent": lambda path: saved(Image.fromarray(COLOURS), path, ".png"),
    "grey and transparent": lambda path: saved(Image.fromarray(COLOURS).convert("LA"), path, ".png"),
    "palette": lambda path: saved(Image.fromarray(COLOURS[..., :3]).quantize(8), path, ".gif", transparency=3),
    "1 bit": lambda path: saved(Image.fromarray(COLOURS[..., 0]).convert("1"), path, ".png"),
    "16 bits": lambda path: saved(Image.fromarray(GREY16), path, ".png"),
    "16 bits, one value transparent": lambda path: saved(
        Image.fromarray(GREY16 % 3 * 9000), path, ".png", transparency=9000
    ),
    "16 bits, PPM": lambda path: saved(Image.fromarray(GREY16), path, ".pgm"),
    "WEBP": lambda path: saved(Image.fromarray(COLOURS), path, ".webp"),
    "one pixel": lambda path: saved(Image.fromarray(COLOURS[:1, :1, :3]), path, ".bmp"),
}


@pytest.mark.parametrize("make", PICTURES.values(), ids=PICTURES)
def test_the_same_pixels(make, tmp_path):
    path = make(tmp_path / "picture")
    assert (predict.decode(path) == classifier._small(path)).all()
    assert predict.decode(path).dtype == np.uint8 and predict.decode(path).shape == (32, 32, 3)
    assert pictures.decode(path).ndim == 3


def test_it_is_short():
    lines = predict.Path(predict.__file__).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 50 and "cifar_lib" not in "\n".join(lines)
