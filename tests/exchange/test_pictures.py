"""A picture is decoded to what a viewer shows, whatever its format and mode; all else is refused in one line."""

import io
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_lib import paths
from cifar_lib.exchange import pictures
from cifar_lib.exchange.pictures import BadPicture, decode

ORIENTATION = 0x112
# What a viewer does with pixels stored for each orientation, so this is what makes such a file (EXIF 2.3, 4.6.4.A).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    """30 by 20 pixels, no two corners alike, smooth enough for JPEG."""
    y, x = np.mgrid[:20, :30]
    return Image.fromarray(np.stack([8 * x, 12 * y, 255 - 4 * x - 5 * y], 2).astype(np.uint8))


def saved(image: Image.Image, form: str, **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, form, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_orientation_is_the_viewers(scene, form, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = scene.transpose(STORED[orientation]) if STORED[orientation] is not None else scene
    options = {"quality": 100} if form in ("JPEG", "WEBP") else {}
    shown = decode(saved(stored, form, exif=exif, **options)).astype(int)
    assert shown.shape == (20, 30, 3)
    assert abs(shown - np.asarray(scene)).mean() < 3


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled(scene, form):
    grey = np.asarray(scene.convert("L"))
    shown = decode(saved(Image.fromarray(grey.astype(np.uint16) * 257), form))
    assert (shown == grey[..., None]).all()


def test_transparent_parts_are_white_and_hidden_colours_decide_nothing(scene):
    shown = []
    for hidden in ("black", "red", "blue"):
        image = Image.new("RGBA", scene.size, hidden)
        image.putalpha(0)
        image.paste(scene.crop((0, 0, 15, 20)).convert("RGBA"), (0, 0))
        shown.append(decode(saved(image, "PNG")))
    assert (shown[0] == shown[1]).all() and (shown[0] == shown[2]).all()
    assert (shown[0][:, 15:] == 255).all() and (shown[0][:, :15] == np.asarray(scene)[:, :15]).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA", "I;16"])
def test_the_transparent_colour_of_a_png_is_white(mode):
    """A grey or a palette's entry can be declared transparent, in place of an alpha channel."""
    image = Image.new({"LA": "LA", "RGBA": "RGBA"}.get(mode, mode), (4, 4))
    clear = {"RGB": (0, 0, 0), "P": 0, "1": 0, "L": 0, "I;16": 0}.get(mode)
    if clear is None:
        image.putalpha(0)
    shown = decode(saved(image, "PNG", **({} if clear is None else {"transparency": clear})))
    assert (shown == 255).all()


def test_half_transparent_is_half_white():
    assert (decode(saved(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), "PNG")) == 127).all()


@pytest.mark.parametrize("form", pictures.FORMATS)
def test_every_format_is_read_under_any_name(scene, form, tmp_path):
    path = tmp_path / "holiday.txt"
    path.write_bytes(saved(scene, form).read())
    assert abs(decode(path).astype(int) - np.asarray(scene)).mean() < 12  # GIF has 256 colours
    assert decode(str(path)).dtype == np.uint8


def test_no_decoder_starts_a_program(scene, tmp_path, monkeypatch):
    """EPS, by any name, would start Ghostscript."""
    for call in ("Popen", "run", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, call, lambda *_, **__: pytest.fail("a program was started"))
    path = tmp_path / "holiday.png"
    path.write_bytes(saved(scene, "EPS").read())
    with pytest.raises(BadPicture, match="cannot identify"):
        decode(path)


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises that many pixels."""
    data = bytearray(saved(Image.new("L", (1, 1)), "PNG").read())
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + data[24:29]
    data[12:33] = header + zlib.crc32(header).to_bytes(4, "big")
    return bytes(data)


def half_an_idat() -> bytes:
    data = bytearray(saved(Image.new("RGB", (32, 32)), "PNG").read())
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") // 2).to_bytes(4, "big")
    return bytes(data)


BROKEN = {
    "nothing": b"",
    "a page": b"<html>",
    "half of an IDAT": half_an_idat(),
    "a PPM of 4x": b"P6\n4x 4\n255\n" + 48 * b"\0",
    "50,000 by 50,000": png_of(50_000, 50_000),
    "11,000 by 10,000": png_of(11_000, 10_000),
    "70,000 by 1": png_of(70_000, 1),
    "no width": png_of(0, 10),
    "floats": saved(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF").read(),
    "32 bits": saved(Image.fromarray(np.zeros((4, 4), np.int32)), "TIFF").read(),
    "half of a JPEG": saved(Image.effect_noise((64, 64), 90), "JPEG").read()[:900],
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_picture_is_refused_in_one_line(what, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(BROKEN[what])
    with pytest.raises(BadPicture) as refused:
        decode(path)
    line = str(refused.value)
    assert line.startswith(f"{path}: ") and "expected PNG" in line and line.isprintable()


@pytest.mark.parametrize("path", ["nul\0.png", "no\nsuch.png", "", ".", "missing.png"])
def test_a_path_that_leads_nowhere_is_refused_in_one_line(path):
    for given in (path, Path(path)):
        with pytest.raises(BadPicture) as refused:
            decode(given)
        assert str(refused.value).isprintable()


def test_broken_exif_is_no_reason_to_refuse(scene):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = saved(scene, "JPEG", exif=exif, quality=100).read()
    at = data.index(b"Exif\0\0") + 6
    for broken in (data[:at] + b"XX" + data[at + 2 :], data[: at + 4] + b"\xff\xff\xff\x7f" + data[at + 8 :]):
        assert decode(io.BytesIO(broken)).shape == (20, 30, 3)


def test_ten_thousand_mutated_pictures_are_decoded_or_refused():
    """In a process of its own, since a decoder that crashes takes its process with it."""
    folders = map(str, [paths.ROOT, paths.ROOT / "tests"])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    command = [sys.executable, paths.ROOT / "tests" / "fuzz_pictures.py", "--cases", "10000"]
    found = json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)
    assert not found["crashes"] + found["hangs"] + found["foreign"]
    assert found["read"] + found["refused"] == 10_000 and min(found["read"], found["refused"]) > 1000
