"""The tracked figures, made again from the tracked runs, byte for byte."""

from cifar_lib import evidence, paths
from cifar_lib.config import Config
from cifar_lib.evidence import screening, size_curve, variants
from cifar_lib.figures import architecture_plot, curve_plot, evidence_plots, plots
from cifar_lib.figures.picture import Picture
from cifar_lib.models import layer_graph, resnet
from cifar_lib.system import need_checkout


def make() -> list[str]:
    """Write figures/*.svg from the network and runs/evidence; their names. Raises `NoCheckout`."""
    need_checkout("the tracked runs")
    figures = drawn()
    for name, figure in figures.items():
        plots.save(figure, paths.FIGURES / name)
    return list(figures)


def drawn() -> dict[str, Picture]:
    """The tracked figures by file name."""
    parts = layer_graph.trace_layers(resnet.build_on_meta(Config()))
    study, rows = evidence.study("ablation"), evidence.study("screening")
    return {
        "architecture.svg": architecture_plot.architecture(parts, "the settings of the recipe"),
        "parity.svg": evidence_plots.curves(study.runs, ("base", variants.PLAIN), study.source),
        "screening.svg": evidence_plots.effects(screening.effects(rows.every), rows.source),
        "curve.svg": curve_plot.curve(size_curve.table(size_curve.runs(), resnet.macs), source="CIFAR-10"),
        "ablation.svg": evidence_plots.differences(study.differences, study.source),
    }
