"""What README and the pages beside the notebooks state is what the files say, and what they tell to type runs."""

import importlib
import json
import re
import shlex
import subprocess
import sys
from itertools import chain, product

import numpy as np
import pytest
from conftest import FAULTS
from test_attacks import GROUPS
from test_mutants import MUTANTS

import cifar_lib
from cifar_lib import evidence, paths, tracked_tables
from cifar_lib.config import PRESETS, Config
from cifar_lib.evidence import edge_file, metrics, parity_tables, screening, size_curve, speed_file
from cifar_lib.evidence.comparison import interval
from cifar_lib.models import resnet
from cifar_lib.runs import Run

README, CARD, EVIDENCE, LOG = (path.read_text(encoding="utf-8") for path in tracked_tables.DOCUMENTS)
RELIABILITY, SPEED, USING = (
    (paths.NOTEBOOKS / f"{name}.md").read_text(encoding="utf-8") for name in ("reliability", "speed", "using")
)
REFERENCE = Run(paths.ROOT / "runs" / "reference")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DOCUMENTS = [*tracked_tables.DOCUMENTS, *paths.NOTEBOOKS.glob("*.md"), paths.ROOT / "CONTRIBUTING.md"]
LINES = re.findall(r"^python (-c .*|-m cifar_lib params.*)$", README + USING, flags=re.M)
MEASURED = re.findall(r"^## .* measured again.*$", LOG, flags=re.M)


def test_reference_row():
    summary = REFERENCE.summary
    counts = " | ".join(f"{summary[name]:,}" for name in ("epochs", "train_images", "parameters"))
    row = next(line for line in EVIDENCE.split("\n") if line.startswith("| `reference`"))
    config = REFERENCE.config
    what = f"{config.num_channels} channels, {size_curve.training(config)}"
    assert f"{what} | 1 (0) | {counts} |" in row
    assert f"| {100 * summary['test_accuracy']:.2f} |" in row
    assert row.endswith(f"| {summary['weights']} |") and config.dataset == "cifar10" and config.valid_size == 0
    every = [run.predictions.accuracy for run in chain(*size_curve.runs().values())]
    assert f"| **{summary['test_accuracy']:.2%}** |" in README and summary["test_accuracy"] == max(every)


def test_readme_is_read_in_one_sitting():
    """Its first screen has the result beside others', and how ours was measured against the plain loop."""
    assert sum(bool(re.search(r"\w", word)) for word in README.split()) <= 900  # a table's lines are no words
    first = README.split("## Quick start")[0]
    assert "<!-- table: results -->" in first and "![" in first and len(first.split()) < 350


def test_links_lead_somewhere():
    """Between the documents, to files and to headings as GitHub names them."""
    every = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
    anchors = {
        path: {_anchor(head) for head in re.findall(r"^#+ (.*)$", text, flags=re.M)} for path, text in every.items()
    }
    for path, text in every.items():
        for link in re.findall(r"\]\((?!https?://)([^)]+)\)", text):
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.exists(), (path.name, link)
            assert not anchor or anchor in anchors[target], (path.name, link)


def _anchor(head: str) -> str:
    return re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-")


def test_reference_is_a_real_run():
    assert REFERENCE.summary["test_accuracy"] >= 0.94 and len(REFERENCE.history) >= 10
    assert REFERENCE.config.num_channels == 64 and REFERENCE.summary["test_images"] == 10_000


def test_tables_are_those_of_the_runs():
    texts = (README, CARD, EVIDENCE, LOG)
    assert all(tracked_tables.filled(text) == text for text in texts)
    marked = [name for text in texts for _, name, _ in tracked_tables.MARKED.findall(text)]
    assert sorted(marked) == sorted(tracked_tables.made())


def test_a_table_that_differs_is_seen():
    wrong = EVIDENCE.replace("| 0 | 76.60 |", "| 0 | 76.61 |")
    assert wrong != EVIDENCE and tracked_tables.filled(wrong) == EVIDENCE


@pytest.mark.parametrize("variant", ["base", "fast"])
def test_the_parity_is_in_the_first_screen(variant):
    table = parity_tables.parity(evidence.study("ablation"), variant)
    low, high = interval(table.difference.tolist())
    first = README.split("## Quick start")[0].replace("\n", " ")
    said = f"{table.difference.mean():+.2f} points (95%: {low:+.2f} to {high:+.2f}) over {NUMBERS[len(table)]} pairs"
    assert said in first


def test_machines_of_the_studies():
    study = evidence.study("ablation")
    assert f"each run: {study.machines}" in EVIDENCE
    assert f"({REFERENCE.environment['device']}, {REFERENCE.environment['threads']} threads, " in EVIDENCE


@pytest.mark.parametrize(
    "text",
    [EVIDENCE, *(LOG.split(f"{title}\n")[1].split("\n## ")[0] for title in MEASURED)],
    ids=["evidence", *(title[3:13] for title in MEASURED)],
)
def test_every_decimal_in_the_prose_is_of_a_run(text):
    """What has a decimal point in the evidence and in LOG's entries of what was measured again is of tracked runs; code
    aside, and tables, which another test holds to theirs."""
    prose = tracked_tables.MARKED.sub("", text)
    section = re.sub(r"`[^`]*`|arXiv \S+|\(https\S+\)", "", prose)
    said = set(re.findall(r"(?<![\d.])\d+\.\d+(?![\d.])", section))
    # the spread of two seeds, levels, sizes of networks
    protocol = {"0.1", "0.2", "0.05", "0.001", "94.8", "4.6", "6.6", "4.32", "6.57", "11.2", "0.27", "0.59", "1.97"}
    protocol |= {"9.9"}  # epochs
    protocol |= {"0.78", "0.64", "0.49", "0.20"}  # learning rate times weight decay over an epoch, by their settings
    # what others report
    elsewhere = set("96.04 93.95 93.92 94.68 95.09 96.29 95.01 95.27 95.23 92.60 94.01".split())
    # what the old measure gave, or cost
    withdrawn = {"88.50", "90.70", "2.20", "65.2", "69.8", "4.73", "13.20", "8.95", "2.95", "2.2", "4.6"}
    assert said and said <= known_numbers() | protocol | elsewhere | withdrawn, said - known_numbers()


def known_numbers() -> set[str]:
    """With one digit and with two: accuracies, deviations, differences and interval ends, of runs clean and shifted."""
    studies = [evidence.study(name) for name in evidence.names()]
    values = [v for study in studies for v in study.results[["mean", "std"]].to_numpy().ravel()]
    for study in studies:
        values += [*study.differences[["mean", "low", "high"]].to_numpy().ravel()]
        tables = [evidence.shifted(table) for table in study.shifts.values()]
        values += [v for table in tables for v in table.to_numpy().ravel()]
    found = parity_tables.rules(*studies)
    values += [*found[["accuracy", "mean", "low", "high", "seconds"]].to_numpy().ravel()]
    with_it, without, fast = (
        parity_tables.parity(evidence.study("ablation"), variant) for variant in ("base", "no-augmentation", "fast")
    )
    for loop, other in product(("plain", "ours"), (without, fast)):
        apart = (other[loop] - with_it[loop]).dropna().tolist()
        values += [sum(apart) / len(apart), *interval(apart)]
    for pairs in (with_it, without, fast):
        values += [*pairs.to_numpy().ravel(), *pairs.mean(), *interval(pairs.difference.tolist())]
        values += [*(pairs.plain_training - pairs.plain), *(pairs.ours_training - pairs.ours)]
    effects = screening.effects(evidence.study("screening").every)
    values += [*effects.effect, *(effects.effect - effects.margin), *(effects.effect + effects.margin)]
    said, trained = REFERENCE.predictions, 100 * REFERENCE.history.train_accuracy
    values += [100 * said.accuracy, 100 * REFERENCE.mirrored["accuracy"], REFERENCE.summary["seconds"] / 3600]
    values += [*trained, trained.iloc[-1] - trained.iloc[-2]]
    values += [100 * said.confidence.mean(), 100 * metrics.ece(said.confidence, said.right)]
    sizes = size_curve.table(size_curve.runs(), resnet.macs)
    values += [*sizes["mean"], *sizes.mirrored, *(sizes.parameters / 1e6), *map(np.ptp, sizes.every)]
    wide = size_curve.runs()[48][0]
    values += [100 * (wide.history.train_accuracy.iloc[-1] - wide.predictions.accuracy)]
    small = edge_file.read(paths.TINY.name).facts["forms"]
    p_int8 = [edge_file.read(name).facts["forms"][edge_file.INT8]["p"] for name in edge_file.names()]
    values += [*p_int8, 100 * Run(paths.TINY).predictions.accuracy, 100 * small[edge_file.INT8]["accuracy"]]
    p_values = chain(p_int8, *(study.differences[["p", "p_holm"]].to_numpy().ravel() for study in studies))
    return {f"{p:.3f}" for p in p_values} | {f"{abs(v):.{digits}f}" for v in values for digits in (1, 2) if v == v}


def test_pictures_are_there():
    pictures = re.findall(r"!\[[^]]+\]\((?:\.\./)?(figures/[^)]+)\)", README + EVIDENCE)
    assert len(pictures) >= 4 and all((paths.ROOT / name).stat().st_size for name in pictures)


@pytest.mark.parametrize(
    "settings", [{}, {"se_placement": "stem"}, PRESETS["resnet18"]], ids=["default", "stem", "resnet18"]
)
def test_counts(settings):
    config = Config(**settings)
    count, macs = resnet.parameters(resnet.build_on_meta(config)), resnet.macs(config)["total"]
    assert f"| {count:,} | {macs:,} |" in EVIDENCE


def test_speed_is_what_the_benchmark_measured():
    """One row per loop: its throughput, its ratio with its range, share of the roofline, memory: the stored file's."""
    this = speed_file.read("cpu")
    ladder = this.ladder
    ours, references = ladder[~ladder.reference], ladder[ladder.reference]
    for row in [*ours.itertuples(), references.loc[references.img_s.idxmax()]]:
        ratio = f"{row.ratio:.2f} ({row.ratio_low:.2f} to {row.ratio_high:.2f})"
        cells = f"| {row.img_s:.1f} | {ratio} | {row.share_of_roofline:.0%} | {row.memory_gb:.2f} GB |"
        assert any(line.startswith(f"| {row.loop}") and line.endswith(cells) for line in SPEED.split("\n")), cells
    assert f"median of {len(this.facts['sides'][0]['seconds'])} rounds" in SPEED
    assert f"{this.facts['start_up']['python -m cifar_lib --help']:.2f} s" in SPEED


def test_papermill_costs_under_three_percent():
    turns = speed_file.read("cpu").papermill.set_index("how")
    assert turns.ratio["papermill"] < 1.03 and f"{turns.ratio['papermill']:.3f} times" in SPEED


def test_no_place_left_to_fill():
    assert not any(re.search(r"@[A-Z_]+@", path.read_text(encoding="utf-8")) for path in DOCUMENTS)


@pytest.mark.parametrize("line", LINES)
def test_one_liner_runs(line, monkeypatch):
    monkeypatch.delenv("CIFAR_RUNS")
    done = subprocess.run([sys.executable, *shlex.split(line)], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout, done.stderr


def test_there_are_one_liners():
    assert len(LINES) >= 4


def test_scoreboard_is_what_the_fault_suite_counted():
    """One row per fault, as the stored run of the suite has it, and the mutants; all survived, all caught."""
    board = json.loads((paths.EVIDENCE / "faults.json").read_text(encoding="utf-8"))
    assert sorted(map(int, board["rows"])) == sorted(FAULTS)
    for row, (survived, injected) in board["rows"].items():
        line = next(line for line in RELIABILITY.split("\n") if re.match(rf"\| {row} \| ", line))
        assert line.endswith(f"| {survived}/{injected} |") and survived == injected, line
    assert f"{sum(board['mutants'].values())} of {len(MUTANTS)} mutants" in RELIABILITY
    assert board["mutants"].keys() == set(MUTANTS)
    assert all(board["mutants"].values())


def test_strangers_files_are_counted():
    """The attacks of the corpus, and what a million fuzzed files of each kind came to."""
    assert f"{sum(len(list(group())) for group in GROUPS.values()):,} attacks" in RELIABILITY
    for name in ("fuzz", "fuzz_pictures"):
        fuzz = json.loads((paths.EVIDENCE / f"{name}.json").read_text(encoding="utf-8"))
        assert fuzz["cases"] == 1_000_000 and not fuzz["crashes"] + fuzz["hangs"] + fuzz["foreign"]
        figures_ = f"{fuzz['read']:,} read, {fuzz['refused']:,} refused, no crash, no hang, no other exception"
        slowest = f"{1000 * fuzz['slowest_s']:.1f} ms" if fuzz["slowest_s"] < 1 else f"{fuzz['slowest_s']:.1f} s"
        assert f"{figures_}, {slowest} at most" in RELIABILITY
    assert f" and {fuzz['peak_mb'] / 1000:.1f} GB, near the limit of 100 million pixels" in RELIABILITY


MAP = (paths.ROOT / "cifar_lib/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?!\w*__)[a-z_]+\.[A-Za-z_.]+)`", MAP))))
def test_the_map_names_what_is_there(name):
    """`package.module.name`, as the library's own README has it; a class's method stands after the class."""
    first, *rest = name.split(".")
    found = getattr(cifar_lib, first, None) or importlib.import_module(f"cifar_lib.{first}")
    for part in rest:
        found = getattr(found, part)
