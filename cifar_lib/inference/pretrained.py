"""The trained networks that come with this project."""

from cifar_lib.errors import UserError
from cifar_lib.evidence import size_curve
from cifar_lib.inference.classifier import Classifier, load
from cifar_lib.models import macs
from cifar_lib.runs import WEIGHTS, Run
from cifar_lib.system import need_checkout


class NoSuchModel(UserError):
    """A width of which no trained network is here; the message is one line."""


def load_pretrained(width: int = 64) -> Classifier:
    """The classifier of that many channels (`num_channels`) whose weights come with this project; `python -m cifar_lib
    models` lists all. Raises `NoSuchModel` for another width."""
    have = runs()
    if width not in have:
        raise NoSuchModel(f"width: got {width!r}, expected one of {', '.join(map(str, have))}")
    return load(have[width])


def runs() -> dict[int, Run]:
    """Width -> the run whose weights are here, the first of its width. Raises `NoCheckout`."""
    need_checkout("the trained networks")
    first = {width: some[0] for width, some in size_curve.runs().items()}
    return {width: run for width, run in first.items() if run.has(WEIGHTS)}


def text() -> str:
    """One row per width: parameters, multiply-adds, test accuracy in percent, with mirror images too, size, epochs."""
    shown = size_curve.table({width: [run] for width, run in runs().items()}, macs)
    shown["MB"] = [(run.folder / WEIGHTS).stat().st_size / 1e6 for run in runs().values()]
    shown = shown.rename(columns={"mean": "accuracy"})
    columns = ["parameters", "multiply_adds", "accuracy", "mirrored", "MB", "epochs"]
    form = {"parameters": "{:,}".format, "multiply_adds": "{:,}".format, "MB": "{:.1f}".format}
    return shown[columns].to_string(formatters=form, float_format="{:.2f}".format, na_rep="–")
