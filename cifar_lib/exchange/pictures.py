"""Strangers' pictures, decoded to what a viewer shows, or refused in one line."""

import warnings
from pathlib import Path
from typing import IO

import numpy as np

from cifar_lib import errors
from cifar_lib.errors import UserError
from cifar_lib.exchange.pickled_arrays import clip

# No other decoder of Pillow's is tried: some start programs (EPS starts Ghostscript), most are hardly ever tested.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
MAX_PIXELS, MAX_SIDE = 100_000_000, 65_535  # 0.3 GB as RGB; and the longest side that a JPEG can have


class BadPicture(UserError):
    """What is no picture, or none that can be shown; the message is one line."""

    status = errors.DATA


def decode(source: str | Path | IO[bytes]) -> np.ndarray:
    """A picture file as a viewer shows it: (H, W, 3) uint8, turned as its EXIF says, transparent parts on white,
    16 bits scaled to 8, of an animation the first frame. Formats: `FORMATS`, whatever the file's name says.

    Raises `BadPicture`, one line, for anything else: also for 32-bit and floating-point pixels, whose range no file
    states, and above `MAX_PIXELS` or `MAX_SIDE`.
    """
    from PIL import Image, ImageOps

    name = str(source) if str(source).isprintable() else repr(str(source))
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(source, formats=FORMATS) as picture:
            _check(picture)
            picture.load()
            return np.array(_rgb(ImageOps.exif_transpose(picture)))
    except Exception as error:  # decoders raise errors of every kind for bytes they do not expect
        reason = getattr(error, "strerror", None) or clip(str(error))
        raise BadPicture(f"{name}: not a picture that can be read ({reason}); expected {', '.join(FORMATS)}") from None


def _check(picture) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS or max(picture.size) > MAX_SIDE:
        most = f"{MAX_PIXELS:,} in all and {MAX_SIDE:,} per side"
        raise ValueError(f"{width:,} by {height:,} pixels; at most {most} are read")
    if picture.mode in ("F", "I") and picture.format != "PPM":  # in a PPM, I is 0 to 65,535
        raise ValueError(f"{'floating-point' if picture.mode == 'F' else '32-bit'} pixels, whose range is not known")


def _rgb(picture):
    from PIL import Image

    if picture.mode.startswith("I"):
        picture = _eight_bits(picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")


def _eight_bits(picture):
    """Grey of 0 to 65,535 as grey of 0 to 255; the transparent value, where there is one, as white."""
    from PIL import Image

    values = np.asarray(picture).astype(np.float32)
    values[values == picture.info.get("transparency")] = 65535
    return Image.fromarray((values / 257).round().astype(np.uint8))
