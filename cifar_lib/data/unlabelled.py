"""The images without labels that a run is asked to label: the user's, or the test set in their place."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cifar_lib import paths
from cifar_lib.config import DATA_SETS, Config
from cifar_lib.data.datasets import load
from cifar_lib.exchange import unpickle
from cifar_lib.exchange.labelling import NAME, pickle_of
from cifar_lib.system.files import make_folder

STAND_IN = "_test_as_nolabel.pkl"  # after the data set's name


class Source(NamedTuple):
    """A pickle to label; whether it is the labelled test set, a stand-in for one; and a warning, "" for none."""

    path: Path
    stand_in: bool
    warning: str = ""


def unlabelled_pickle(config: Config, path: str = "") -> Source:
    """The pickle that a run of `config` is to label: `pickle_of`, or else the test set of `config`, as
    `write_test_pickle` writes it."""
    if given := pickle_of(config, path):
        return Source(given, False, foreign_warning(config))
    make_folder(paths.DATA)
    stand_in = write_test_pickle(paths.DATA / f"{config.dataset}{STAND_IN}", config)
    return Source(stand_in, True, _left_out(config))


def foreign_warning(config: Config) -> str:
    """What to say before a run labels images that are not of its own data set; "" for a run on CIFAR-10."""
    if config.dataset == "cifar10":
        return ""
    return f"this run was trained on {DATA_SETS[config.dataset]}: its labels of other images mean nothing"


def _left_out(config: Config) -> str:
    """Of the files in the folder data those that may have been meant, and why they are not read."""
    names = [path.name for path in paths.DATA.iterdir() if "nolabel" in path.name.lower()]
    names = sorted(name for name in names if name.endswith((".pkl", ".pickle")) and not name.endswith(STAND_IN))
    if not names:
        return ""
    why = f"expected {NAME}" if config.dataset == "cifar10" else foreign_warning(config)
    return f"not read: {', '.join(names[:3])} in {paths.DATA} ({why}); name it with -p pickle_path if it is meant"


def write_test_pickle(path: Path, config: Config) -> Path:
    """Write the test set, shuffled, as a pickle of `data` and `ids`, each image's place in the test set."""
    test = load(config).test
    order = np.random.default_rng(0).permutation(len(test))
    unpickle.write(path, test.images[order], order.tolist())
    return path
