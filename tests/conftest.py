"""What all tests share: a runs folder of their own, one thread, and the data sets."""

import atexit
import os
import tempfile
from pathlib import Path

_runs = tempfile.TemporaryDirectory(prefix="cifar-runs-")
atexit.register(_runs.cleanup)
os.environ["CIFAR_RUNS"] = _runs.name  # before cifar_lib.paths reads it; a process under pytest-xdist has its own

import pytest  # noqa: E402
import torch  # noqa: E402

from cifar_lib import paths  # noqa: E402
from cifar_lib.config import Config  # noqa: E402

torch.set_num_threads(1)

ABSENT = (
    "CIFAR-10 is not at hand: name the folder that holds cifar-10-batches-py in CIFAR10_ROOT, "
    "or run `python -m cifar_lib data` once with a network"
)


@pytest.fixture(scope="session")
def cifar10_root() -> Path:
    """The folder that holds the official files; skips where they are not at hand, for a test downloads nothing."""
    root = Path(os.environ.get("CIFAR10_ROOT") or paths.DATA)
    if not (root / "cifar-10-batches-py").is_dir():
        pytest.skip(ABSENT)
    return root


@pytest.fixture(scope="session")
def cifar10(cifar10_root):
    """Real CIFAR-10, 45,000 / 5,000 / 10,000."""
    from cifar_lib import data

    return data.load(Config(valid_size=5000))


@pytest.fixture(scope="session")
def digits():
    """The embedded data set, 1,257 / 180 / 360."""
    from cifar_lib import data

    return data.load(Config(dataset="digits"))
