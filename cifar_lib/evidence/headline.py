"""The rows of README's first table and of the model card: what one run says, and what others report. No torch."""

import numpy as np

from cifar_lib import paths
from cifar_lib.config import CLASSES
from cifar_lib.evidence import metrics
from cifar_lib.evidence.published import AIRBENCH_95, BY_ITS_AUTHORS, RESNET_9, RESNET_18, STRONGEST, Network
from cifar_lib.runs import Run

OTHERS = (AIRBENCH_95, RESNET_9, RESNET_18, BY_ITS_AUTHORS, STRONGEST)  # by epochs


def result_lines(run: Run) -> list[str]:
    """Markdown rows of network, parameters, epochs, test accuracy, source: ours, in bold, then what others report."""
    return [_ours(run), *(_reported(one) for one in OTHERS)]


def _ours(run: Run) -> str:
    summary, folder = run.summary, run.folder.relative_to(paths.ROOT).as_posix()
    name = f"**ours**, {summary['seconds'] / 3600:.1f} hours on {_machine(run.environment)}"
    size, accuracy = f"{summary['parameters'] / 1e6:.2f}M", f"**{summary['test_accuracy']:.2%}**"
    return f"| {name} | {size} | {summary['epochs']} | {accuracy} | `{folder}`, one seed |"


def _machine(environment: dict) -> str:
    """`2 CPU cores`, or the name of the GPU."""
    kind, _, name = environment["device"].partition(": ")
    return f"{environment['threads']} CPU cores" if kind == "cpu" else name or kind


def _reported(one: Network) -> str:
    views = (f"averaged over {one.views} views",) if one.views > 1 else ()
    remark = "".join(f", {each}" for each in (*views, *filter(None, [one.remark])))
    return (
        f"| {one.name} | {one.parameters:.2f}M | {one.epochs:g} | {one.accuracy:.2f}%{remark} "
        f"| [{one.cited}]({one.source}) |"
    )


def card_lines(run: Run) -> list[str]:
    """Markdown rows of measure and value: accuracy with its interval, loss, calibration, size of the network."""
    found, summary = run.predictions, run.summary
    low, high = metrics.wilson(found.right.sum(), len(found.right))
    rows = {
        "test accuracy": f"{found.right.mean():.2%} ({low:.2%} to {high:.2%})",
        "with the mirror image, two views averaged": _mirrored(run),
        "expected calibration error": f"{100 * metrics.ece(found.confidence, found.right):.2f} points",
        "mean confidence": f"{found.confidence.mean():.2%}",
        "trainable parameters": f"{summary['parameters']:,}",
        "epochs, training images": f"{summary['epochs']}, {summary['train_images']:,}",
    }
    return [f"| {name} | {value} |" for name, value in rows.items()]


def _mirrored(run: Run) -> str:
    return f"{run.mirrored['accuracy']:.2%}" if run.has("mirrored.json") else "not measured"


def class_lines(run: Run) -> list[str]:
    """Markdown rows of class, accuracy with its interval, precision, and what it is most often taken for."""
    found, names = run.predictions, CLASSES[run.config.dataset]
    matrix = metrics.confusion(found.labels, found.predicted, len(names))
    precision = matrix.diagonal() / np.maximum(matrix.sum(0), 1)
    wrong = matrix * (1 - np.eye(len(names), dtype=int))
    rows = zip(metrics.per_class(found.labels, found.predicted, names).itertuples(), precision, wrong, strict=True)
    return [
        f"| {row[1]} | {row.accuracy:.1%} ({row.low:.1%} to {row.high:.1%}) | {share:.1%} "
        f"| {names[errors.argmax()]}, {errors.max()} of {row.images:,} |"
        for row, share, errors in rows
    ]
