"""The trained networks that come with this project."""

from cifar_lib.errors import UserError
from cifar_lib.evidence import networks, size_curve
from cifar_lib.inference.classifier import Classifier, load
from cifar_lib.models import macs
from cifar_lib.runs import WEIGHTS


class NoSuchModel(UserError):
    """A width of which no trained network is here; the message is one line."""


def load_pretrained(width: int | str = 64) -> Classifier:
    """The classifier of that many channels (`num_channels`), or "tiny", the smallest, whose weights come with this
    project; `python -m cifar_lib models` lists all. Raises `NoSuchModel` for another width."""
    have = networks.runs()
    if width not in have:
        raise NoSuchModel(f"width: got {width!r}, expected one of {', '.join(map(str, have))}")
    return load(have[width])


def text() -> str:
    """One row per network: parameters, multiply-adds, test accuracy in percent, also with mirror images, MB, epochs."""
    have = networks.runs()
    shown = size_curve.table({width: [run] for width, run in have.items()}, macs)
    shown["MB"] = [(run.folder / WEIGHTS).stat().st_size / 1e6 for run in have.values()]
    shown = shown.rename(columns={"mean": "accuracy"})
    columns = ["parameters", "multiply_adds", "accuracy", "mirrored", "MB", "epochs"]
    form = {"parameters": "{:,}".format, "multiply_adds": "{:,}".format, "MB": "{:.2f}".format}
    return shown[columns].to_string(formatters=form, float_format="{:.2f}".format, na_rep="–")
