"""The tracked figures, made again from the tracked runs, byte for byte."""

from cifar_lib import architecture_plot, blueprint, claims, evidence, evidence_plots, model, paths, plots
from cifar_lib.config import Config
from cifar_lib.evidence import Study
from cifar_lib.pictures import Picture
from cifar_lib.runs import Run


def make() -> list[str]:
    """Write figures/*.svg from the network, runs/reference and runs/evidence; their names."""
    figures = _network() | _reference() | _ablation()
    for name, figure in figures.items():
        plots.save(figure, paths.FIGURES / name)
    return list(figures)


def tables() -> list[str]:
    """README's rows of the tracked studies, each study under its name."""
    return [line for name in evidence.names() for line in _table(evidence.study(name))]


def _table(study: Study) -> list[str]:
    return [study.source, study.machines, *claims.lines(study.results, study.differences)]


def _network() -> dict[str, Picture]:
    parts = blueprint.outline(model.outline(Config()))
    return {"architecture.svg": architecture_plot.architecture(parts, "the settings of the recipe")}


def _reference() -> dict[str, Picture]:
    run = Run(paths.REFERENCE)
    summary, shifts = run.summary, run.shifts
    source = plots.source(summary)
    return {
        "accuracy.svg": plots.accuracy(run.history, summary["best_epoch"], source),
        "shifts.svg": evidence_plots.shifts({"reference": shifts}, source),
    }


def _ablation() -> dict[str, Picture]:
    study, longer = evidence.study("ablation"), evidence.study("longer")
    return {
        "shifts_ablation.svg": evidence_plots.shifts(study.shifts, study.source),
        "ablation.svg": evidence_plots.differences(study.differences, study.source),
        "longer.svg": evidence_plots.differences(longer.differences, longer.source),
        "convergence.svg": evidence_plots.curves(study.runs, claims.PACE, study.source),
    }
