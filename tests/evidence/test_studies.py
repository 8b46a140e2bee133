"""Studies: tables of made-up runs with known numbers, and the tracked runs held to the queue that made them."""

import math
import re

import numpy as np
import pytest
from scipy import stats
from study_runs import made

from cifar_lib import evidence, paths, runs, tracked_figures
from cifar_lib.bench import parity
from cifar_lib.evidence import SHIFTS, Study, claims, comparison, variants
from cifar_lib.evidence.comparison import EvidenceError
from cifar_lib.sweep import jobs

MEANS = (*SHIFTS, "corrupted", "lost")
QUEUES = ("full", "ablation", "statistics", "wide")
STUDIES = ("ablation", "statistics")  # those whose runs are tracked


@pytest.fixture
def three(tmp_path) -> Study:
    """Two variants of three seeds, and of a third variant one that `base` does not have."""
    accuracies = {"base": (0.90, 0.91, 0.93), "without-it": (0.88, 0.90, 0.91), "near": (0.901, 0.909, 0.930)}
    for variant, values in accuracies.items():
        for seed, value in enumerate(values):
            other = {"lookahead": False} if variant == "without-it" else {}
            made(tmp_path / "study" / f"{variant}-{seed}", value, seed=seed, **other)
    made(tmp_path / "study" / "near-7", 0.1, seed=7)
    (tmp_path / "study" / "base-9").mkdir()  # begun, not ended
    return Study(tmp_path / "study")


def test_results_are_mean_and_deviation_over_the_seeds(three):
    table = three.results
    assert table.loc["base", "mean"] == pytest.approx(91.3333, abs=1e-3)
    assert table.loc["base", "std"] == pytest.approx(np.std([90, 91, 93], ddof=1))
    assert table.loc["near", "seeds"] == "0, 1, 2, 7" and table.loc["base", "runs"] == 3
    assert table.loc["base", ["epochs", "parameters", "train_images"]].tolist() == [4, 7, 45000]
    assert three.machines == "cpu: made up, 2 threads, float32"


def test_a_single_run_has_no_deviation(tmp_path):
    made(tmp_path / "base-4", 0.5, seed=4)
    assert math.isnan(Study(tmp_path).results.loc["base", "std"])


def test_differences_are_of_pairs_with_their_interval(three):
    row = three.differences.loc["without-it"]
    reference = stats.ttest_rel([88, 90, 91], [90, 91, 93]).confidence_interval()
    assert (row["mean"], row.pairs) == (pytest.approx(-5 / 3), 3)
    assert (row.low, row.high) == pytest.approx((reference.low, reference.high))
    assert row.p == pytest.approx(stats.ttest_rel([88, 90, 91], [90, 91, 93]).pvalue) and row.p < 0.05
    assert row.p_holm == pytest.approx(2 * row.p) and row.verdict == "inconclusive", "one of two comparisons"
    assert three.differences.loc["near", "pairs"] == 3


@pytest.mark.parametrize(
    ("points", "verdict"),
    [
        ((2.0, 2.1, 2.2), "higher"),
        ((-2.0, -2.1, -2.2), "lower"),
        ((-2.0, 2.1, 2.2), "inconclusive"),  # the interval has 0 in it
        ((0.1, 0.1, 0.11), "inconclusive"),  # it has not, but two seeds differ by as much
        ((2.0, 2.0, 2.0), "inconclusive"),  # there is none
    ],
)
def test_verdict(tmp_path, points, verdict):
    for seed, more in enumerate(points):
        made(tmp_path / f"base-{seed}", 0.9, seed=seed, images=100_000)
        made(tmp_path / f"variant-{seed}", 0.9 + more / 100, seed=seed, images=100_000)
    assert Study(tmp_path).differences.loc["variant", "verdict"] == verdict


@pytest.mark.parametrize(
    ("given", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 0.005 * 4, 0.01 * 3, 0.03 * 2, then no less than that
        ([0.6, 0.5], [1, 1]),
        ([0.04, math.nan, 0.02], [0.04, math.nan, 0.04]),  # a family of two
    ],
)
def test_holm(given, adjusted):
    assert comparison.holm(given).tolist() == pytest.approx(adjusted, nan_ok=True)


def test_holm_counts_what_was_planned():
    """What is trained first must not look surer than it will once the rest of the family is there."""
    assert comparison.holm([0.01, 0.02], 11).tolist() == pytest.approx([0.11, 0.2])
    assert comparison.holm([0.01, 0.02], 1).tolist() == pytest.approx([0.02, 0.02])
    study = evidence.study("ablation")
    least = study.differences.p.min()
    assert study.differences.p_holm.min() == pytest.approx(least * (len(study.planned) - 1))


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.0, 0.0, 0.0], [100 * (0.91 - 0.9), 100 * (0.93 - 0.92)]])
def test_differences_all_the_same_have_no_interval_and_no_p(values):
    assert np.isnan([*comparison.interval(values), comparison.p_value(values)]).all()


def test_variant_without_an_interval_is_no_part_of_the_family(tmp_path):
    for seed, value in enumerate((0.90, 0.91, 0.93)):
        for variant, more in {"base": 0, "same": 0.05, "other": (0.02, 0.03, 0.02)[seed]}.items():
            made(tmp_path / f"{variant}-{seed}", value + more, seed=seed)
    table = Study(tmp_path).differences
    assert table.loc["same", ["low", "high", "p", "p_holm"]].isna().all() and table.verdict["same"] == "inconclusive"
    assert table.p_holm["other"] == table.p["other"] < 0.05 and table.verdict["other"] == "higher"


def test_what_a_variant_changes(three):
    assert three.changes == {"without-it": {"lookahead": False}, "near": {}}


def test_a_variant_that_differs_in_more_than_the_seed_is_refused(tmp_path):
    made(tmp_path / "base-0", 0.9, seed=0)
    made(tmp_path / "base-1", 0.9, seed=1, lr=0.2)
    with pytest.raises(EvidenceError, match="^runs base-0, base-1: they differ in more than the seed$"):
        _ = Study(tmp_path).changes


def test_epochs_to_an_accuracy(three):
    assert comparison.epochs_to(three.runs["base"][0], 0.6) == 2
    assert comparison.epochs_to(three.runs["base"][0], 0.65) == 4
    assert math.isnan(comparison.epochs_to(three.runs["base"][0], 0.71))
    assert list(three.epochs_to(0.6)) == [0, 1, 2, 7]


def test_interval_of_one_is_refused():
    with pytest.raises(EvidenceError, match="needs two runs at least, there are 1"):
        comparison.interval([3.0])


def test_what_cannot_be_paired_is_left_out(tmp_path):
    """One seed in common, other images, another seed: nothing to compare, and no error."""
    for seed in (0, 1):
        made(tmp_path / f"base-{seed}", 0.9, seed=seed)
        made(tmp_path / f"all-images-{seed}", 0.9, seed=seed, data="other", valid_size=0)
    made(tmp_path / "one-0", 0.9, seed=0)
    made(tmp_path / "later-5", 0.9, seed=5)
    study = Study(tmp_path)
    assert study.unpaired == ["all-images-0", "all-images-1"]
    assert study.pairs == {} and len(study.differences) == len(study.delays(0.5)) == 0
    assert len(claims.judged(study.differences)) == 0 and len(study.results) == 4
    assert "45,000 images" in study.source


def test_each_variant_is_compared_with_the_base_that_had_its_images(tmp_path):
    """As in the whole queue: some variants have a validation split, as `base`, others all images, as `recipe`."""
    accuracies = {"base": 0.90, "se-none": 0.89, "recipe": 0.92, "peer": 0.95}
    for variant, accuracy in accuracies.items():
        for seed in (0, 1):
            whole = {"valid_size": 0, "data": "all"} if variant in ("recipe", "peer") else {}
            worse = (variant in ("base", "recipe")) * seed / 1000
            made(tmp_path / f"{variant}-{seed}", accuracy - worse, seed=seed, **whole)
    assert Study(tmp_path).unpaired == []
    table = Study(tmp_path).differences
    assert dict(table.baseline) == {"se-none": "base", "peer": "recipe"}
    assert dict(table["mean"]) == {"se-none": pytest.approx(-0.95), "peer": pytest.approx(3.05)}
    judged = claims.judged(table)
    assert judged.loc["peer", ["against", "verdict"]].tolist() == ["the recipe", "contradicted"]
    assert list(Study(tmp_path).changes) == ["peer", "se-none"]


def test_a_change_of_a_variant_is_compared_with_that_variant(tmp_path):
    for variant, accuracy in {"base": 0.8, "fast": 0.9, "fast-lr": 0.93, "faster": 0.7}.items():
        for seed in (0, 1):
            made(tmp_path / f"{variant}-{seed}", accuracy, seed=seed)
    found = Study(tmp_path).differences
    assert found["mean"].to_dict() == pytest.approx({"fast": 10, "fast-lr": 3, "faster": -10})
    assert found.baseline.to_dict() == {"fast": "base", "fast-lr": "fast", "faster": "base"}


def test_study_without_a_base_compares_nothing(tmp_path):
    for seed in (0, 1):
        made(tmp_path / f"bare-{seed}", 0.9, seed=seed)
        made(tmp_path / f"peer-{seed}", 0.9, seed=seed)
    study = Study(tmp_path)
    assert study.pairs == study.changes == study.shifts == {} and len(claims.judged(study.differences)) == 0
    assert list(claims.judged(study.differences).groupby("verdict")) == []


def test_source_names_the_data(tmp_path):
    made(tmp_path / "base-0", 0.9, seed=0, dataset="digits")
    assert "scikit-learn's digits (not CIFAR-10), 45,000 images" in Study(tmp_path).source


def arriving(folder, **epochs) -> Study:
    """Runs of four epochs that reach 0.5 on validation in that one, a seed each; None: never."""
    for variant, each in epochs.items():
        for seed, first in enumerate(each):
            curve = [0.5 if first and epoch >= first else 0.1 for epoch in range(1, 5)]
            made(folder / f"{variant}-{seed}", 0.9, curve=curve, seed=seed)
    return Study(folder)


def test_delays_count_runs_that_never_arrive_as_one_epoch_more(tmp_path):
    """Without them the slow variant would be two epochs sooner: it is so in the one pair of which both arrived."""
    row = arriving(tmp_path, base=(4, 2, 1), slow=(2, None, None)).delays(0.5).loc["slow"]
    reference = stats.ttest_rel([2, 5, 5], [4, 2, 1]).confidence_interval()
    assert row.tolist() == pytest.approx([5 / 3, reference.low, reference.high, 3, 2])


def test_delays_where_none_arrives_are_known_by_their_count(tmp_path):
    row = arriving(tmp_path, base=(None, None), slow=(None, None)).delays(0.5).loc["slow"]
    assert row.tolist() == pytest.approx([0, math.nan, math.nan, 2, 4], nan_ok=True)


def test_delays_leave_out_variants_without_a_validation_split(tmp_path):
    for seed in (0, 1):
        for variant in ("recipe", "peer"):
            made(tmp_path / f"{variant}-{seed}", 0.9, seed=seed, valid_size=0)
    assert list(Study(tmp_path).pairs) == ["peer"] and len(Study(tmp_path).delays(0.5)) == 0


@pytest.mark.parametrize("facts", [{"device": "cpu: another"}, {"precision": "bfloat16"}, {"sha256": "others"}])
def test_run_made_otherwise_is_in_no_pair_but_named(three, facts):
    run = three.runs["near"][1]
    (run.folder / "SHA256SUMS").unlink()
    run.record("environment.json", run.environment | facts)
    assert [variant.name for _, variant in three.pairs["near"]] == ["near-0", "near-2"] and three.unpaired == ["near-1"]


def test_precision_may_differ_where_it_is_what_is_compared(tmp_path):
    for seed in (0, 1):
        made(tmp_path / f"base-{seed}", 0.9, facts={"precision": "bfloat16"}, seed=seed)
        made(
            tmp_path / f"float32-{seed}",
            0.91 + seed / 100,
            facts={"precision": "float32"},
            seed=seed,
            precision="float32",
        )
        elsewhere = {"precision": "float32", "device": "cpu: another"}
        made(tmp_path / f"far-{seed}", 0.9, facts=elsewhere, seed=seed, precision="float32")
    assert list(Study(tmp_path).pairs) == ["float32"] and Study(tmp_path).unpaired == ["far-0", "far-1"]


def test_extended_run_is_refused(tmp_path):
    extended = [{"epoch": 1, "from": 2, "to": 3}, {"epoch": 3, "from": 3, "to": 4}]
    run = made(tmp_path / "base-0", 0.9, facts={"extended": extended}, seed=0)
    assert run.summary["extended"] and not made(tmp_path / "base-1", 0.9, seed=1).summary["extended"]
    with pytest.raises(EvidenceError, match="^run base-0 was extended from 2 to 4 epochs, .*; train it straight"):
        _ = Study(tmp_path).runs


def test_planned_is_what_the_queue_fixed(three):
    assert three.planned == {} and set(three.results.planned) == set(three.differences.planned) == {0}
    lines = [f"-p run {variant}-{seed} -p seed {seed}" for variant in ("base", "near", "none-yet") for seed in range(5)]
    three.folder.with_name("study.queue").write_text("\n".join(lines[1:]))  # of base one seed less
    study = Study(three.folder)
    assert study.planned == {"base": {1, 2, 3, 4}, "near": {0, 1, 2, 3, 4}, "none-yet": {0, 1, 2, 3, 4}}
    assert dict(study.results.planned) == {"base": 4, "near": 5, "without-it": 0}
    assert study.differences.loc["near", ["pairs", "planned"]].tolist() == [3, 4]


def test_shifts_are_means_of_variants_whose_every_run_was_measured(three):
    for variant, values in {"base": (0.5, 0.6, 0.7), "near": (0.5,)}.items():
        for seed, value in enumerate(values):
            three.runs[variant][seed].record_table("shifts.csv", measured(value, value / 2))
    (table,) = three.shifts.values()
    assert list(three.shifts) == ["base"] and tuple(table) == runs.SHIFT_COLUMNS and table.images.unique() == [100]
    found = evidence.shifted(table)
    assert found.accuracy.to_dict() == pytest.approx({"none": 60, "mirrored": 61} | dict.fromkeys(MEANS, 30))
    reference = stats.ttest_1samp([50, 60, 70], 0).confidence_interval()
    assert found.loc["none", ["low", "high"]].tolist() == pytest.approx([reference.low, reference.high])


def measured(clean: float, corrupted: float) -> list[tuple]:
    """Rows of a shifts.csv, all intervals 0.1 to both sides."""
    rows = [("none", 0, clean), ("mirrored", 0, clean + 0.01)]
    rows += [(name, level, corrupted) for name in SHIFTS for level in (1, 2)]
    rows += [(name, "mean", clean - corrupted if name == "lost" else corrupted) for name in MEANS]
    return [(name, severity, 100, value, value - 0.1, value + 0.1) for name, severity, value in rows]


def test_shifts_of_one_seed_have_no_interval_over_seeds(tmp_path):
    made(tmp_path / "base-0", 0.5, seed=0).record_table("shifts.csv", measured(0.5, 0.3))
    found = evidence.shifted(Study(tmp_path).shifts["base"])
    assert found.accuracy["corrupted"] == pytest.approx(30) and found[["low", "high"]].isna().all(axis=None)


def test_folder_whose_name_has_another_seed_is_refused(tmp_path):
    made(tmp_path / "base-0", 0.9, seed=3)
    with pytest.raises(EvidenceError, match="expected VARIANT-SEED, with the seed 3 it has"):
        _ = Study(tmp_path).runs


def test_unknown_study_names_those_there_are():
    with pytest.raises(EvidenceError, match=r"study 'nothing' is not in .*there are: .*ablation"):
        evidence.study("nothing")


# ------------------------------------------------------------------------------------------- what is tracked


@pytest.mark.parametrize("name", QUEUES)
def test_queue_compares_like_with_like(name):
    """Every variant of a queue has three seeds or more, those of its base, and its runs differ in the seed alone."""
    variants: dict[str, dict] = {}
    for job in jobs.read(paths.EVIDENCE / f"{name}.queue"):
        variant, _, seed = job.run.rpartition("-")
        assert job.config.seed == int(seed)
        variants.setdefault(variant, {})[int(seed)] = job.config.model_dump(exclude={"seed"})
    assert all(len(seeds) >= 3 and seeds.keys() <= set(range(6)) for seeds in variants.values())
    assert name == "statistics" or all(
        seeds.keys() <= variants["base"].keys() | {0, 1, 2} for seeds in variants.values()
    )
    assert all(settings == seeds[0] for seeds in variants.values() for settings in seeds.values())
    assert len({str(seeds[0]) for seeds in variants.values()}) == len(variants)
    long = {variant: seeds for variant, seeds in variants.items() if not re.fullmatch(r"fast-\d+", variant)}
    assert len({seeds[0]["max_epochs"] for seeds in long.values()}) == 1
    assert all(variants[name][0]["max_epochs"] == int(name[5:]) for name in variants.keys() - long.keys())


def test_queue_changes_one_thing_at_a_time():
    variants = {job.run: job.config.model_dump() for job in jobs.read(paths.EVIDENCE / "ablation.queue")}
    presets = ("strong", "fast")  # which change many
    for run, settings in variants.items():
        base = variants[f"base-{run[-1]}"]
        changed = {name for name in base if base[name] != settings[name]}
        two = {"drop", "drop_placement"} if run.startswith("drop-output") else set()
        assert changed == two or len(changed) == (0 if run.startswith("base") else 1) or run.startswith(presets)


@pytest.mark.parametrize("name", STUDIES)
def test_tracked_study_is_its_queue(name):
    """Each run that README and notebook count has the settings of its line, all its epochs, and a clean revision; the
    plain loop's are in no queue, and have those of the run they are held to."""
    queue = {job.run: job.config for job in jobs.read(paths.EVIDENCE / f"{name}.queue")}
    tracked = {run.name: run for run in evidence.study(name).every}
    plain = {f"{variants.plain(variants.variant_of(job))}-{config.seed}": config for job, config in queue.items()}
    queue |= {job: parity.plain_settings(plain[job]) for job in tracked.keys() & plain.keys()}
    assert tracked.keys() <= queue.keys()
    assert {variants.variant_of(run) for run in tracked} <= claims.WORDS.keys()
    for name, run in tracked.items():
        assert run.config == queue[name] and run.epochs == run.config.max_epochs
        assert run.predictions.logits.dtype == np.float16 and len(run.predictions.labels) == 10_000
        assert not (run.environment["revision"] or "").endswith("+changes")


@pytest.mark.parametrize("name", STUDIES)
def test_paired_runs_had_the_same_images(name):
    study = evidence.study(name)
    for seed in range(6):
        same = [variant[seed] for variant in study.runs.values() if seed in variant]
        assert len({str(run.environment["sha256"]) for run in same}) <= 1
    assert len({run.environment["device"] for run in study.every}) == 1 and study.unpaired == []
    assert (study.differences.pairs <= study.differences.planned).all()


def test_nothing_large_is_tracked():
    import subprocess

    command = ["git", "-C", str(paths.ROOT), "ls-files", "runs"]
    listed = subprocess.run(command, capture_output=True, text=True).stdout.split()
    if not listed:
        pytest.skip("not a git checkout: nothing is tracked")
    kinds = {path.rpartition("/")[2] for path in listed if "/figures/" not in path}
    assert not {name for name in kinds if name == "last.pt" or name.startswith("events")}
    sizes = {path: (paths.ROOT / path).stat().st_size for path in listed}
    weights = [size for path, size in sizes.items() if path.endswith(".safetensors")]
    assert max(weights) < 10e6 and sum(weights) < 25e6 and sum(sizes.values()) - sum(weights) < 30e6


def test_figures_are_made_again_byte_for_byte(tmp_path, monkeypatch):
    tracked = {path.name: path.read_bytes() for path in paths.FIGURES.glob("*.svg")}
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    assert sorted(tracked_figures.make()) == sorted(tracked)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == tracked


def test_no_words_of_a_tracked_figure_are_cut_off():
    """A long name of a variant moves the axes to the right, and the words under them must still fit."""
    for name, figure in tracked_figures.drawn().items():
        figure.draw_without_rendering()
        width, height = figure.bbox.size
        labels = [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label, *axes.texts)]
        for text in filter(lambda text: text.get_visible() and text.get_text(), [*labels, *figure.texts]):
            box = text.get_window_extent()
            assert min(box.x0, box.y0) >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, (name, text.get_text())


def test_no_legend_of_a_tracked_figure_stands_on_words_or_axes():
    for name, figure in tracked_figures.drawn().items():
        figure.draw_without_rendering()
        taken = [text.get_window_extent() for text in figure.texts if text.get_text()]
        taken += [axes.get_tightbbox() for axes in figure.axes]
        for legend in figure.legends:
            box = legend.get_window_extent()
            assert not any(box.overlaps(other) for other in taken), name
            assert box.y0 >= figure.foot * figure.dpi - 1, f"{name}: a page would cut it off"
