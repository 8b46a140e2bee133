"""The packages that only an export needs."""

from importlib.util import find_spec

from cifar_lib.errors import UserError

NEEDED = ("onnx", "onnxruntime")


class NoExtra(UserError):
    """A package of the extra `edge` that is not installed; the message is one line."""


def need() -> None:
    """Raise `NoExtra` where one of them is not installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        how = f"pip install -r requirements-edge.txt, or without a clone: pip install {' '.join(missing)}"
        raise NoExtra(f"an export needs {' and '.join(missing)}, not installed here; {how}")
