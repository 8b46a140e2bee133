"""The runs by which the smallest network's shape and weight decay were chosen. No torch."""

from collections.abc import Callable

from cifar_lib import paths
from cifar_lib.config import Config
from cifar_lib.runs import Run

STUDY = paths.EVIDENCE / "tiny"


def runs() -> list[Run]:
    """The runs of the study, by name."""
    return [Run(folder) for folder in sorted(STUDY.glob("*/")) if (folder / "predictions.npz").exists()]


def lines(some: list[Run], macs: Callable[[Config], dict[str, int]]) -> list[str]:
    """Markdown rows of blocks, channels, weight decay, parameters, multiply-adds as `macs` counts them, epochs,
    training accuracy under augmentation and validation accuracy in percent."""
    return [_line(run, run.config, macs(run.config)["total"]) for run in some]


def _line(run: Run, config: Config, multiply_adds: int) -> str:
    last, blocks = run.history.iloc[-1], ", ".join(map(str, config.num_blocks))
    size = f"{run.environment['parameters']:,} | {multiply_adds:,}"
    settings = f"{blocks} | {config.num_channels} | {config.weight_decay:g} | {size} | {config.max_epochs}"
    return f"| {settings} | {100 * last.train_accuracy:.2f} | {100 * last.valid_accuracy:.2f} |"
