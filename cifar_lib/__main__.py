"""The command line: `python -m cifar_lib COMMAND`; the same functions as the notebooks, no logic of its own.

Settings are given as to papermill: `-p NAME VALUE`, as often as needed.
"""

import argparse
import sys

import cifar_lib
from cifar_lib.config import Config


def report(args: argparse.Namespace) -> None:
    """run the notebooks 01 to 06 in order and build the pages"""
    print(cifar_lib.report.build(dict(args.p)))


def train(args: argparse.Namespace) -> None:
    """train one run; the same command continues it"""
    settings = dict(args.p)
    settings["max_epochs"] = settings.pop("epochs", settings.get("max_epochs", 1))
    config = Config(**settings)
    run = cifar_lib.runs.start(args.run, config)
    training = cifar_lib.train.prepare(config, cifar_lib.data.load(config), run)
    for row in cifar_lib.train.fit(training, cifar_lib.progress.terminal_line):
        cifar_lib.progress.terminal_line(cifar_lib.progress.line(row, config.max_epochs))
    for name, value in cifar_lib.train.finish(training).summary.items():
        print(f"{name:16} {value}")


def params(args: argparse.Namespace) -> None:
    """count a network's parameters and multiply-adds; fails above param_budget"""
    config = Config(**dict(args.p))
    network = cifar_lib.model.build(config)
    print(cifar_lib.model.parameter_table(network).drop(columns="share").to_string())
    print(f"\n{cifar_lib.model.macs(config)['total']:,} multiply-adds an image")


def submit(args: argparse.Namespace) -> None:
    """label an unlabelled pickle with a run's weights, into a CSV"""
    unlabelled = cifar_lib.unpickle.read(args.pickle)
    images = cifar_lib.data.Images(unlabelled.images, unlabelled.ids)
    labels = cifar_lib.load(args.run).labels(images)
    print(cifar_lib.submission.write(args.csv, unlabelled.ids, labels))


def pickle(args: argparse.Namespace) -> None:
    """write a data set's labelled test set as a pickle without labels"""
    print(cifar_lib.data.write_test_pickle(args.pickle, Config(**dict(args.p))))


def data(args: argparse.Namespace) -> None:
    """find the data set, or download it"""
    found = cifar_lib.data.load(Config(**dict(args.p)))
    print(f"{found.name}: {len(found.train):,} train, {len(found.valid):,} valid, {len(found.test):,} test images")


def runs(args: argparse.Namespace) -> None:
    """list the runs there are"""
    print("\n".join(cifar_lib.runs.names()))


def parser() -> argparse.ArgumentParser:
    """The commands and what each takes."""
    top = argparse.ArgumentParser(prog="python -m cifar_lib", description=__doc__.split("\n")[0])
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for command in (report, train, params, submit, pickle, data, runs):
        one = commands.add_parser(command.__name__, help=command.__doc__, description=command.__doc__)
        one.set_defaults(command=command)
        if command in (report, train, params, pickle, data):
            one.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a setting")
        if command is train:
            one.add_argument("--run", default="", help="name of the run's folder (default: made from its settings)")
        if command is submit:
            one.add_argument("run")
        if command in (submit, pickle):
            one.add_argument("pickle")
        if command is submit:
            one.add_argument("csv")
    return top


def main() -> None:
    args = parser().parse_args()
    try:
        args.command(args)
    except cifar_lib.errors.Refused as refused:
        sys.exit(f"{type(refused).__name__}: {refused}")
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command continues")


if __name__ == "__main__":
    main()
