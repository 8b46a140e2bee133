"""The command line: `python -m cifar_lib COMMAND`; the same functions as the notebooks, no logic of its own.

Settings are given as to papermill: `-p NAME VALUE`, as often as needed.
"""

import argparse
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import cifar_lib
from cifar_lib.config import from_settings
from cifar_lib.errors import UserError
from cifar_lib.system import progress, signals

STATUSES = """exit status: 0 done, 2 usage or a setting, 3 data, 4 a checkpoint or a run's files, 5 output cannot be
written, 6 NaN or infinity, 7 out of memory, 75 another process trains the run, 130 SIGINT,
143 SIGTERM, 129 SIGHUP, 1 anything else. What refuses or fails says why in one line; --debug shows the traceback."""


def report(args: argparse.Namespace) -> None:
    """run the notebooks 01 to 06 in order and make the pages of the run"""
    run, notebooks, failed = cifar_lib.site.report.build(dict(args.p), explain=cifar_lib.inference.explanations.measure)
    wrong, near = cifar_lib.inference.mistakes.wrong(run), cifar_lib.inference.mistakes.nearest(run)
    print(cifar_lib.site.publish(run, notebooks, wrong, failed, nearest=near))
    if failed:
        raise next(iter(failed.values()))


def site(args: argparse.Namespace) -> None:
    """make the pages in docs/ from the notebooks as they are committed; nothing is run"""
    notebooks, run = cifar_lib.notebook.committed(), cifar_lib.runs.Run(cifar_lib.paths.REFERENCE)
    network, docs = cifar_lib.evidence.networks.narrowest(), cifar_lib.paths.DOCS
    print(cifar_lib.site.publish(run, notebooks, run.mistakes, network=network, to=docs))


def train(args: argparse.Namespace) -> None:
    """train one run, named by -p run NAME or from its settings; the same command continues it"""
    settings = dict(args.p)
    name, config = settings.pop("run", ""), from_settings({"epochs": 1} | settings)
    with cifar_lib.device.distributed.group(cifar_lib.device.placement.device(config)):
        run = cifar_lib.device.distributed.on_rank_zero(lambda: cifar_lib.runs.start(name, config))
        leads, silent = cifar_lib.device.distributed.world().rank == 0, cifar_lib.training.silent
        show = progress.terminal_line if leads else silent
        say = progress.terminal_remark if leads else silent
        training = cifar_lib.training.prepare(config, cifar_lib.data.load(config), run, say)
        for row in cifar_lib.training.fit(training, show):
            show(progress.line(row, config.max_epochs))
        summary = cifar_lib.device.distributed.on_rank_zero(lambda: cifar_lib.training.finish(training).summary)
        for name, value in summary.items():
            say(f"{name:16} {value}")


def extend(args: argparse.Namespace) -> None:
    """let a run that has not ended go on to more epochs; then train it with those"""
    run = cifar_lib.runs.extend(args.run, args.epochs)
    print(f"{run.name}: {run.config.max_epochs} epochs; train it with the same settings, and -p epochs {args.epochs}")


def parity(args: argparse.Namespace) -> None:
    """train pairs of runs with the same seeds, by the loop that most people write and by ours, and compare them"""
    settings = {"num_channels": 16, "train_size": 20_000, "epochs": 8, "drop": 0} | dict(args.p)
    for seed in args.seeds.split(","):
        config = from_settings(settings | {"seed": seed})
        cifar_lib.bench.parity.pair(config, cifar_lib.data.load(config), args.variant)


def bench(args: argparse.Namespace) -> None:
    """compare training loops on this machine, and write the measurements as JSON"""
    config = from_settings(dict(args.p))
    found = cifar_lib.bench.run(config, args.rounds, args.steps, not args.no_papermill)
    path = cifar_lib.paths.RUNS / "speed.json" if args.out is None else args.out
    cifar_lib.system.write_atomically(path, cifar_lib.evidence.speed_file.as_bytes(found))
    print(cifar_lib.evidence.speed_file.Speed(found).ladder.round(3).to_string(), path, sep="\n")


def profile(args: argparse.Namespace) -> None:
    """show where the time of a training step goes, by operation"""
    for row in cifar_lib.bench.profile(from_settings(dict(args.p))):
        print(f"{row['seconds']:9.4f} s  {row['calls']:5.0f} calls  {row['kind']:28} {row['name']}")


def sweep(args: argparse.Namespace) -> None:
    """train the runs of a queue, each line of it as after `train`, one at a time on each device"""
    results = cifar_lib.sweep.run(cifar_lib.sweep.read(args.queue), cifar_lib.sweep.devices(args.devices))
    sys.exit(any(result.status == "failed" for result in results))


def shifts(args: argparse.Namespace) -> None:
    """measure a run's weights on mirrored and corrupted test images, all of them, into its shifts.csv"""
    run = cifar_lib.runs.open(args.run)
    cifar_lib.inference.corruptions.measure(run, cifar_lib.data.load(run.config))
    print(run.shifts.to_string(index=False))


def mirror(args: argparse.Namespace) -> None:
    """measure a run's weights on all test images, each with its mirror image, into its mirrored.json"""
    run = cifar_lib.runs.open(args.run)
    cifar_lib.inference.corruptions.mirror(run, cifar_lib.data.load(run.config))
    print(f"{run.predictions.accuracy:.2%} as they are, {run.mirrored['accuracy']:.2%} with their mirror images")


def explain(args: argparse.Namespace) -> None:
    """measure what explains a run's mistakes, for its pages, into its explained.npz"""
    run = cifar_lib.runs.open(args.run)
    cifar_lib.inference.explanations.measure(run)
    print(f"{len(run.explained.places):,} test images placed, {len(run.explained.index):,} mistakes explained")


def models(args: argparse.Namespace) -> None:
    """list the trained networks that come with this project"""
    print(cifar_lib.inference.pretrained.text())


def norms(args: argparse.Namespace) -> None:
    """measure on validation what each rule for batch norm's statistics is worth to a run's last weights"""
    run = cifar_lib.runs.open(args.run)
    cifar_lib.training.norm_statistics.measure(run, cifar_lib.data.load(run.config))
    print(run.norm_statistics.round(4).to_string(index=False))


def notebooks(args: argparse.Namespace) -> None:
    """execute the committed notebooks again, in place, from the tracked files"""
    for path in cifar_lib.notebook.committed():
        print(path.stem, flush=True)
        cifar_lib.site.refresh_notebooks.refresh(path)


def figures(args: argparse.Namespace) -> None:
    """make the tracked figures, and the tables of README and LOG, again from the tracked runs"""
    print("\n".join(cifar_lib.tracked_figures.make()))
    cifar_lib.tracked_tables.write()


def params(args: argparse.Namespace) -> None:
    """count a network's parameters and multiply-adds; fails above param_budget"""
    config = from_settings(dict(args.p))
    network = cifar_lib.models.build(config)
    print(cifar_lib.models.parameter_table(network).drop(columns="share").to_string())
    print(f"\n{cifar_lib.models.macs(config)['total']:,} multiply-adds per image")


def submit(args: argparse.Namespace) -> None:
    """label an unlabelled pickle with a run's weights, into a CSV"""
    unlabelled, run = cifar_lib.exchange.read(args.pickle), cifar_lib.runs.open(args.run)
    score = f"run {run.name}: {run.predictions.accuracy:.2%} on its test set"
    for line in filter(None, (score, unlabelled.note, cifar_lib.data.foreign_warning(run.config))):
        print(line, file=sys.stderr)
    labels = cifar_lib.load(run).labels(cifar_lib.data.Images(unlabelled.images, unlabelled.ids))
    print(cifar_lib.exchange.write(args.csv, unlabelled.ids, labels))


def export(args: argparse.Namespace) -> None:
    """write a run's network as ONNX files, with a script that needs no torch, into a folder"""
    written = cifar_lib.edge.export(cifar_lib.runs.open(args.run), Path(args.to), args.half, args.int8)
    for name, size in written.items():
        print(f"{size:12,} bytes  {Path(args.to) / name}")


def edge(args: argparse.Namespace) -> None:
    """measure a run's exported forms here: accuracy, size, memory, time of one image; write it as JSON"""
    run = cifar_lib.runs.open(args.run)
    found = cifar_lib.edge.measure(run, cifar_lib.data.load(run.config))
    path = cifar_lib.paths.RUNS / "edge.json" if args.out is None else args.out
    cifar_lib.system.write_atomically(path, cifar_lib.evidence.edge_file.as_bytes(found))
    print(cifar_lib.evidence.edge_file.Edge(found).costs.round(3).to_string(), path, sep="\n")


def pickle(args: argparse.Namespace) -> None:
    """write a data set's labelled test set as a pickle without labels"""
    print(cifar_lib.data.write_test_pickle(args.pickle, from_settings(dict(args.p))))


def data(args: argparse.Namespace) -> None:
    """find the data set, or download it"""
    found = cifar_lib.data.load(from_settings(dict(args.p)))
    print(f"{found.name}: {len(found.train):,} train, {len(found.valid):,} valid, {len(found.test):,} test images")


def runs(args: argparse.Namespace) -> None:
    """list the runs there are"""
    print("\n".join(cifar_lib.runs.names()))


COMMANDS = (report, site, train, extend, sweep, parity, norms, shifts, mirror, explain, notebooks, figures, bench)
COMMANDS += (profile, params, models, submit, export, edge, pickle, data, runs)


def parser() -> argparse.ArgumentParser:
    """The commands and what each takes."""
    top = argparse.ArgumentParser(prog="python -m cifar_lib", description=__doc__.split("\n")[0], epilog=STATUSES)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        one = commands.add_parser(command.__name__, help=command.__doc__, description=command.__doc__)
        one.set_defaults(command=command)
        one.add_argument("--debug", action="store_true", help="show the traceback of what refuses or fails")
        if command in (report, train, parity, bench, profile, params, pickle, data):
            one.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a setting")
        if command is sweep:
            one.add_argument("queue")
            one.add_argument("--devices", help="such as 0,1 or cpu,cpu (default: every GPU, else the CPU)")
        if command is parity:
            one.add_argument("--seeds", default="0,1,2,3,4,5", help="such as 0,1,2 (default: 0,1,2,3,4,5)")
            one.add_argument("--variant", default="base", help="our runs' name before the seed (default: base)")
        if command is bench:
            one.add_argument("--rounds", type=int, default=5)
            one.add_argument("--steps", type=int, default=2, help="timed steps a turn (2; on a GPU take 200)")
            one.add_argument("--out", help="where to write (default: runs/speed.json)")
            one.add_argument("--no-papermill", action="store_true", help="leave the notebook's overhead out")
        if command in (submit, norms, shifts, mirror, explain, extend, export, edge):
            one.add_argument("run")
        if command is extend:
            one.add_argument("epochs", type=int)
        if command is export:
            one.add_argument("--to", required=True, metavar="DIR", help="a new folder, or one of an earlier export")
            one.add_argument("--half", action="store_true", help="also a model whose weights are stored in 16 bits")
            one.add_argument("--int8", action="store_true", help="also one that computes in 8 bits; reads the data set")
        if command is edge:
            one.add_argument("--out", help="where to write (default: runs/edge.json)")
        if command in (submit, pickle):
            one.add_argument("pickle")
        if command is submit:
            one.add_argument("csv")
    return top


def main() -> None:
    """Run the command typed; whatever stops it ends in one line on stderr and the exit status of `STATUSES`."""
    sys.stdout.reconfigure(errors="backslashreplace")  # a C locale has no ±, and stderr does the same
    args, message, status = parser().parse_args(), "", 0
    try:
        with signals.handle():
            args.command(args)
    except (Exception, KeyboardInterrupt) as error:
        if "RANK" in os.environ:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends all the rest, and one line is to be printed
        message, status = error_line(error), getattr(error, "status", 1)
        if args.debug:
            error.__suppress_context__ = False
            traceback.print_exc()
    progress.end_line()
    if message:
        print(message, file=sys.stderr)
    if "RANK" in os.environ:
        leave_group(status)
    if status:
        sys.exit(status)


def error_line(error: BaseException) -> str:
    """One line about what stopped a command; of torchrun's processes one speaks where all have the same to say."""
    name, line = type(error).__name__, " ".join(str(error).split())
    same = isinstance(error, KeyboardInterrupt) or name == "GroupError" or getattr(error, "reported", False)
    if same and os.environ.get("RANK", "0") != "0":
        return ""
    if isinstance(error, KeyboardInterrupt):
        return line or signals.PLAIN
    if isinstance(error, UserError):
        return f"{name}: {line}"
    return f"{name}: {line[:300]}; unexpected: --debug shows where, please report it"


def leave_group(status: int) -> NoReturn:
    """End one of torchrun's processes as `sys.exit` would, but without Python's teardown: a thread of the group that
    still lets go of a tensor then wants the interpreter, and aborts the process (pytorch#190489)."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
