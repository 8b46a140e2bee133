"""What is to be labelled, and where the labels go."""

from pathlib import Path

from cifar_lib import errors, paths
from cifar_lib.config import Config, as_text
from cifar_lib.errors import UserError
from cifar_lib.system import OutputError

NAME = "cifar_test_nolabel.pkl"  # in the folder data


class NoPickle(UserError):
    """A place for labels of a pickle although there is none; the message is one line."""

    status = errors.DATA


def pickle_of(config: Config, path: str = "") -> Path | None:
    """The unlabelled pickle of a run of `config`: `path` if given; else, for a run on CIFAR-10, `NAME` in the folder
    data if it is there; else None, and the test set stands in for it."""
    if path:
        return Path(as_text("pickle_path", path))
    own = paths.DATA / NAME
    return own if config.dataset == "cifar10" and own.exists() else None


def csv_of(path: str, stand_in: bool, otherwise: Path) -> Path:
    """Where the labels go: `path` if given, else `otherwise`. Raises `NoPickle` for a path although the test set is a
    `stand_in`, whose labels are not to be taken for a submission, and `OutputError` where the folder is not there."""
    if not path:
        return otherwise
    place = Path(as_text("csv_path", path))
    if stand_in:
        raise NoPickle(f"csv_path: got {place}, but no pickle to label; name it with -p pickle_path")
    if not place.parent.is_dir():
        raise OutputError(f"{place}: its folder is not there; make it, or take another place with -p csv_path")
    return place
