"""A run to show validation by, for one that cut no validation split. No torch."""

from cifar_lib import paths
from cifar_lib.runs import Run
from cifar_lib.runs.run import CONFUSIONS

EXAMPLE = paths.EVIDENCE / "ablation" / "fast-0"  # a short training of a narrow network


def like(run: Run) -> Run | None:
    """`run` itself where it kept its confusion matrix of every epoch; else the tracked `EXAMPLE`, or None where that is
    not here or of another data set."""
    known = (one for one in (run, Run(EXAMPLE)) if one.has(CONFUSIONS))
    return next((one for one in known if one.config.dataset == run.config.dataset), None)
