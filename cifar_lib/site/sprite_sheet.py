"""Wrong test images for a page to filter: all in one picture, and a line of facts each. No torch."""

import base64
import io

import numpy as np

from cifar_lib.runs import Run
from cifar_lib.runs.predictions import Mistakes, Predictions
from cifar_lib.runs.run import EXPLAINED

FILE, NEAREST = "figures/mistakes.webp", "figures/nearest.webp"
COLUMNS = 40
MOST = 1500  # images: about 3 MB, without loss


def listed(mistakes: Mistakes, run: Run) -> dict:
    """What the page says: each mistake's place in the picture, classes, confidence, and probabilities, and what
    explains it; the classes; how many of how many; `stored`: whether these are the few that the run keeps, since the
    rest was not at hand."""
    predictions, names = run.predictions, run.config.classes
    mistakes = first(mistakes)
    sure, explained = tenths(predictions, mistakes), explanations(run)
    rows = zip(mistakes.index, mistakes.labels, mistakes.predicted, mistakes.percent, sure, strict=True)
    every = [
        {"index": int(index), "true": int(true), "predicted": int(guess), "confidence": float(percent)}
        | {"column": i % COLUMNS, "row": i // COLUMNS, "tenths": " ".join(map(str, row))}
        | explained.get(int(index), {})
        for i, (index, true, guess, percent, row) in enumerate(rows)
    ]
    wrong = int((predictions.labels != predictions.predicted).sum())
    stored = len(every) == len(run.mistakes.index) < wrong
    return {"mistakes": every, "classes": names, "wrong": wrong, "stored": stored}


def explanations(run: Run) -> dict[int, dict]:
    """By test image, of the mistakes that are explained: `heat`, the places that speak for the predicted and the true
    class as two lines of digits; `near`, the nearest training images' places in their picture, numbers and classes."""
    if not run.has(EXPLAINED):
        return {}
    found = run.explained
    heat = ["".join(map(str, both.ravel())) for both in found.heat]
    facts = np.stack(
        [np.arange(found.nearest.size).reshape(found.nearest.shape), found.nearest, found.nearest_labels], 2
    )
    near = [" ".join(":".join(map(str, one)) for one in row) for row in facts]
    return {int(i): {"heat": h, "near": n} for i, h, n in zip(found.index, heat, near, strict=True)}


def first(mistakes: Mistakes) -> Mistakes:
    """As many of them as a page holds."""
    return Mistakes(*(getattr(mistakes, name)[:MOST] for name in mistakes.__dataclass_fields__))


def tenths(predictions: Predictions, mistakes: Mistakes) -> np.ndarray:
    """(M, 10) int: the probability of each class for each mistake, in tenths of a percent, rounded down as
    `Mistakes.percent`; that of the predicted class is the mistake's own."""
    every = np.floor(1000 * predictions.probabilities[mistakes.index] + 1e-6).astype(int)
    every[np.arange(len(every)), mistakes.predicted] = np.rint(10 * mistakes.percent)
    return every


def picture(images: np.ndarray) -> bytes:
    """Images (N, 32, 32, 3) uint8 as tiles of one WebP, row by row, without loss."""
    from PIL import Image

    rows = -(-len(images) // COLUMNS)
    tiles = np.full((rows * COLUMNS, 32, 32, 3), 255, np.uint8)
    tiles[: len(images)] = images
    whole = tiles.reshape(rows, COLUMNS, 32, 32, 3).swapaxes(1, 2).reshape(rows * 32, COLUMNS * 32, 3)
    buffer = io.BytesIO()
    Image.fromarray(whole).save(buffer, "webp", lossless=True, quality=80)
    return buffer.getvalue()


def data_uri(image: np.ndarray) -> str:
    """One image (H, W, 3) uint8 as an address that holds it, a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
