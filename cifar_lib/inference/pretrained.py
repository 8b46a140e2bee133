"""The trained networks that come with this project."""

from cifar_lib.errors import Refused
from cifar_lib.evidence import size_curve
from cifar_lib.inference.classifier import Classifier, load


class NoSuchModel(Refused):
    """A width of which no trained network is here; the message is one line."""


def load_pretrained(width: int = 64) -> Classifier:
    """The classifier of that many channels (`num_channels`) whose weights come with this project.

    Its test accuracy is in README, and `python -m cifar_lib models` lists all. Raises `NoSuchModel` for another width.
    """
    have = size_curve.pretrained()
    if width not in have:
        raise NoSuchModel(f"width: got {width!r}, expected one of {', '.join(map(str, have))}")
    return load(have[width])
