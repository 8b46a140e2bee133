"""The tracked figures, made again from the tracked runs, byte for byte."""

from cifar_lib import evidence, paths
from cifar_lib.config import Config
from cifar_lib.evidence import variants
from cifar_lib.figures import architecture_plot, evidence_plots, plots
from cifar_lib.figures.picture import Picture
from cifar_lib.models import layer_graph, resnet
from cifar_lib.runs import Run


def make() -> list[str]:
    """Write figures/*.svg from the network, runs/reference and runs/evidence; their names."""
    figures = drawn()
    for name, figure in figures.items():
        plots.save(figure, paths.FIGURES / name)
    return list(figures)


def drawn() -> dict[str, Picture]:
    """The tracked figures by file name."""
    return _network() | _reference() | _ablation()


def _network() -> dict[str, Picture]:
    parts = layer_graph.trace_layers(resnet.build_on_meta(Config()))
    return {"architecture.svg": architecture_plot.architecture(parts, "the settings of the recipe")}


def _reference() -> dict[str, Picture]:
    run = Run(paths.REFERENCE)
    summary = run.summary
    return {"accuracy.svg": plots.accuracy(run.history, summary["best_epoch"], plots.source(summary))}


def _ablation() -> dict[str, Picture]:
    study = evidence.study("ablation")
    found = {"parity.svg": evidence_plots.curves(study.runs, ("base", variants.PLAIN), study.source)}
    if study.pairs:  # two of a variant, at least
        found["ablation.svg"] = evidence_plots.differences(study.differences, study.source)
    return found
