"""A run's folder as a stranger left it: read, or refused in one line; and never what its training did not write."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifar_lib import paths, runs
from cifar_lib.config import Config
from cifar_lib.errors import UserError
from cifar_lib.runs import history
from cifar_lib.runs.predictions import Mistakes, Predictions
from cifar_lib.runs.run import Run, RunError
from cifar_lib.training import checkpoint

FIXED = settings(derandomize=True, deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
PROPERTIES = (
    "config",
    "environment",
    "history",
    "confusions",
    "predictions",
    "mistakes",
    "summary",
    "epochs",
    "complete",
    "begun",
)
READS = {
    "config.json": "config",
    "environment.json": "environment",
    "history.csv": "history",
    "confusions.csv": "confusions",
    "predictions.npz": "predictions",
    "mistakes.npz": "mistakes",
}


@pytest.fixture(scope="module")
def whole() -> runs.Run:
    """A run that has ended, with figures made up."""
    run = runs.start("strange", Config(dataset="digits", max_epochs=2))
    row = dict.fromkeys(runs.COLUMNS, 0.5)
    confusions = [{"epoch": epoch, "images": np.full((10, 10), epoch).tolist()} for epoch in (1, 2)]
    run.record_history([row | {"epoch": epoch, "gpu_memory_gb": None} for epoch in (1, 2)], confusions)
    run.record("environment.json", {"parameters": 10, "train_images": 5, "device": "cpu"})
    random = np.random.default_rng(0)
    logits = random.normal(size=(20, 10)).astype(np.float32)
    few = np.arange(2)
    mistakes = Mistakes(few, np.zeros((2, 32, 32, 3), np.uint8), few, few, few / 2)
    run.finish(Predictions(random.integers(0, 10, 20), logits.argmax(1), logits), mistakes)
    return run


@pytest.fixture
def copy(whole, tmp_path) -> runs.Run:
    return runs.Run(shutil.copytree(whole.folder, tmp_path / "copy"))


def values(run: runs.Run) -> dict:
    """Each property's value, or the line it is refused with."""
    found, run = {}, runs.Run(run.folder)
    for name in PROPERTIES:
        try:
            found[name] = getattr(run, name)
        except UserError as refused:
            assert "\n" not in str(refused)
            found[name] = refused
    return found


def edits():
    """A cut, some bytes written over, or another content altogether."""
    place = st.floats(0, 1, exclude_max=True)
    return st.one_of(
        st.tuples(st.just("cut"), place, st.just(b"")),
        st.tuples(st.just("over"), place, st.binary(min_size=1, max_size=6)),
        st.tuples(st.just("into"), place, st.sampled_from([b",", b"\n", b'"', b"nan", b"-", b"1e999", b"\xff", b"{}"])),
        st.tuples(st.just("all"), place, st.one_of(st.binary(max_size=60), st.sampled_from([b"[]", b"null", b"{}"]))),
    )


def edited(data: bytes, edit: tuple) -> bytes:
    how, place, new = edit
    at = int(place * len(data))
    cases = {"cut": data[:at], "over": data[:at] + new + data[at + len(new) :], "into": data[:at] + new + data[at:]}
    return cases.get(how, new)


@pytest.mark.parametrize("file", READS)
def test_any_edit_of_a_finished_runs_file_is_refused(copy, file):
    """With the checksums its training left, whatever the edit; the other files are read as before."""
    original, before = (copy.folder / file).read_bytes(), values(copy)

    @FIXED
    @given(edits())
    def edit(change):
        data = edited(original, change)
        (copy.folder / file).write_bytes(data)
        after = values(copy)
        assert isinstance(after[READS[file]], runs.DamagedRun) == (data != original)
        assert isinstance(after["history"], runs.DamagedRun) == (file == "history.csv" and data != original)

    edit()
    assert not any(isinstance(value, UserError) for value in before.values())


@pytest.mark.parametrize("file", READS)
def test_an_edit_without_checksums_is_read_or_refused(copy, file):
    """As of a run that has not ended: another value perhaps, but no other exception."""
    original = (copy.folder / file).read_bytes()
    (copy.folder / runs.SUMS).unlink()

    @FIXED
    @given(edits())
    def edit(change):
        (copy.folder / file).write_bytes(edited(original, change))
        values(copy)

    edit()


def test_any_edit_of_the_checksums_is_read_or_refused(copy):
    original = (copy.folder / runs.SUMS).read_bytes()

    @FIXED
    @given(edits())
    def edit(change):
        (copy.folder / runs.SUMS).write_bytes(edited(original, change))
        values(copy)

    edit()


@settings(FIXED, max_examples=300)
@given(st.text(max_size=120))
def test_any_name_is_a_plain_folder_or_refused(name):
    for use in (runs.open, runs.checked_name):
        try:
            assert use(name) and paths.RUNS / name == (paths.RUNS / name).resolve()
        except runs.RunError as refused:
            assert "\n" not in str(refused)


@settings(FIXED, max_examples=300)
@given(edits())
def test_any_edit_of_a_checkpoint_is_refused(whole, change):
    folder = whole.folder
    if not (folder / "good.pt").exists():
        checkpoint.save(folder, {"epoch": 1, "config": "{}"})
        shutil.copy(folder / "last.pt", folder / "good.pt")
    original = (folder / "good.pt").read_bytes()
    data = edited(original, change)
    (folder / "last.pt").write_bytes(data)
    try:
        assert checkpoint.read(folder / "last.pt")["epoch"] == 1 and data == original
    except checkpoint.CheckpointError as refused:
        assert "\n" not in str(refused) and data != original


def test_a_file_that_is_a_folder_is_refused(copy):
    (copy.folder / "history.csv").unlink()
    (copy.folder / "history.csv").mkdir()
    assert isinstance(values(copy)["history"], runs.DamagedRun)


def test_sums_are_what_sha256sum_says(copy):
    import subprocess

    done = subprocess.run(["sha256sum", "--check", "--quiet", runs.SUMS], cwd=copy.folder, capture_output=True)
    listed = (copy.folder / runs.SUMS).read_text(encoding="utf-8").splitlines()
    assert done.returncode == 0 and len(listed) == 6


def test_a_run_measured_by_the_old_rule_is_refused_with_the_reason(tmp_path):
    """Its statistics were of other images than those trained on: never silently read as an equal."""
    old = Config().model_dump(mode="json")
    del old["norm_statistics"]
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text(json.dumps(old))
    with pytest.raises(
        RunError, match="^run old: trained when batch norm's statistics were gathered from other images"
    ) as no:
        _ = Run(tmp_path / "old").config
    assert "\n" not in str(no.value) and "train it anew" in str(no.value)


def test_rules_round_trip(tmp_path):
    run = Run(tmp_path)
    run.record_table("norm_statistics.csv", [("as fed, 10,000 images", 1.5, 2.0, 0.1 + 0.2)])
    assert run.norm_statistics.to_numpy().tolist() == [["as fed, 10,000 images", 1.5, 2.0, 0.1 + 0.2]]
    (tmp_path / "norm_statistics.csv").write_text("rule,loss\nas fed,1\n")
    with pytest.raises(runs.DamagedRun, match="columns rule, loss, expected .* python -m cifar_lib norms"):
        _ = run.norm_statistics


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("epoch,true", "epoch,truth", "expected ten rows per epoch"),
        ("2,9,2,2,2,2,2,2,2,2,2,2\n", "", "expected ten rows per epoch"),
        ("1,0,1", "1,0,-1", "expected counts"),
        ("1,0,1", "1,0,1.5", "expected counts"),
        ("1,0,1", "1,0,cat", "expected counts"),
        ("\n2,", "\n1,", "expected each epoch once"),
        ("1,3,", "1,4,", "expected each epoch once"),
    ],
)
def test_confusions_that_are_none_are_refused(whole, before, after, expected):
    text = (whole.folder / "confusions.csv").read_text()
    assert history.parse_confusions(text.encode())[1].sum((1, 2)).tolist() == [100, 200] and before in text
    with pytest.raises(ValueError, match=expected):
        history.parse_confusions(text.replace(before, after).encode())


def test_changed_line_ends_are_named(copy):
    """Of a checkout without the project's .gitattributes, or a copy by way of Windows."""
    path = copy.folder / "history.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(runs.DamagedRun, match="its line ends were changed, as git does where core.autocrlf is true"):
        _ = copy.history
    path.write_bytes(path.read_bytes() + b"\r\n")
    with pytest.raises(runs.DamagedRun, match="put the right one back"):
        _ = copy.history
