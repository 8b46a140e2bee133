"""The tables of the documents, made again from the tracked runs, between markers in the text.

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`; the rest of the text is left as it is.
"""

import re

from cifar_lib import evidence, paths
from cifar_lib.evidence import claims, edge_file, headline, parity_tables, screening, size_curve, small_networks
from cifar_lib.models import macs
from cifar_lib.runs import Run
from cifar_lib.system import write_atomically

DOCUMENTS = (
    *(paths.ROOT / name for name in ("README.md", "MODEL_CARD.md")),
    *(paths.NOTEBOOKS / name for name in ("evidence.md", "LOG.md")),
)
MARKED = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
RESULTS = "| network | parameters | epochs | test accuracy | source |"
CARD = "| measure | value |"
CLASSES = "| class | accuracy (95%) | precision | most often taken for |"
CURVE = (
    "| channels | training | parameters | multiply-adds per image | epochs | runs | test accuracy, % "
    "| with its mirror image, % |"
)
EDGE = (
    "| run | form | MB | test accuracy | same answers | ms per image | times as fast as PyTorch (range) "
    "| MB of memory |"
)
FORMS = (edge_file.EAGER, "ONNX, float32", "ONNX, float16 weights", edge_file.INT8)
PARITY = "| seed | the plain loop | ours | difference, points (95%) |"
TINY = (
    "| blocks | channels | weight decay | parameters | multiply-adds | epochs | training accuracy, % "
    "| validation accuracy, % |"
)
VARIANTS = (
    "| | runs (seeds) | epochs | images | parameters | test accuracy, % | difference from the baseline, points (95%) "
    "| Holm's p | weights |"
)
SCREENING = "| setting | value | other value | the other value adds to validation accuracy, points (95%) | verdict |"


def write() -> None:
    """Fill the tables of all documents."""
    for path in DOCUMENTS:
        write_atomically(path, filled(path.read_text(encoding="utf-8")).encode())


def filled(text: str) -> str:
    """`text` with every marked table as `made` has it. Raises KeyError for a name that is not there."""
    tables = made()
    return MARKED.sub(lambda found: f"{found[1]}{tables[found[2]]}\n{found[3]}", text)


def made() -> dict[str, str]:
    """Name -> table in Markdown."""
    return _of_reference(Run(paths.REFERENCE)) | _of_studies()


def _of_reference(run: Run) -> dict[str, str]:
    return {
        "results": _table(RESULTS, headline.result_lines(run)),
        "model-card": _table(CARD, headline.card_lines(run)),
        "per-class": _table(CLASSES, headline.class_lines(run)),
        "edge": _table(EDGE, edge_file.lines(edge_file.read(run.name), FORMS) + _small()),
    }


def _small() -> list[str]:
    """Rows of the other measured networks, in int8."""
    others = set(edge_file.names()) - {paths.REFERENCE.name}
    return [line for name in sorted(others) for line in edge_file.lines(edge_file.read(name), (edge_file.INT8,))]


def _of_studies() -> dict[str, str]:
    study, every = evidence.study("ablation"), [evidence.study(name) for name in evidence.names()]
    pairs = {f"parity-{name}": parity_tables.parity(study, name) for name in ("base", "fast", "no-augmentation")}
    return {
        **{name: _table(PARITY, parity_tables.parity_lines(pair)) for name, pair in pairs.items()},
        "ablation": _table(VARIANTS, claims.lines(study.results, study.differences)),
        "curve": _table(CURVE, size_curve.lines(size_curve.table(size_curve.runs(), macs))),
        "screening": _table(SCREENING, screening.lines(screening.effects(evidence.study("screening").every))),
        "tiny": _table(TINY, small_networks.lines(small_networks.runs(), macs)),
        "statistics": "\n".join(parity_tables.lines(parity_tables.rules(*every))),
    }


def _table(head: str, rows: list[str]) -> str:
    """With the line under its head."""
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *rows])
