"""What a picture shows: `python predict.py PICTURE [MODEL]`. Needs numpy, onnxruntime and Pillow, and no torch.

Answers as the library does for every picture that it reads. The library also refuses some, which this does not check:
above 100 million pixels, of 32-bit or floating-point pixels, of rarer formats.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).parent


def decode(path):
    """A picture file as a viewer shows it, small: (32, 32, 3) uint8."""
    picture = ImageOps.exif_transpose(Image.open(path))
    if picture.mode.startswith("I"):  # grey of 16 bits
        grey = np.asarray(picture).astype(np.float32)
        grey[grey == picture.info.get("transparency")] = 65535
        picture = Image.fromarray((grey / 257).round().astype(np.uint8))
    if picture.has_transparency_data:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
    return np.asarray(picture.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))


def classify(image, model="model.onnx"):
    """The probability (10,) of each class for one image (32, 32, 3) uint8."""
    import onnxruntime  # here, so that the rest can be used without

    session = onnxruntime.InferenceSession(HERE / model, providers=["CPUExecutionProvider"])
    logits = session.run(None, {"image": image[None]})[0][0].astype(float)
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    classes = json.loads((HERE / "card.json").read_text(encoding="utf-8"))["classes"]
    found = classify(decode(sys.argv[1]), *sys.argv[2:])
    for label in np.argsort(-found)[:3]:
        print(f"{classes[label]:12} {found[label]:.6f}")
