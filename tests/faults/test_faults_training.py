"""Numbers that are none, settings and data that are others, devices and memory that are not there."""

import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from digests import state_digest
from fault_runs import EPOCHS, answer, dataset, images_file, left, prepared, some_epochs, to_the_end

from cifar_lib import errors, paths, runs
from cifar_lib.config import Config
from cifar_lib.data import Split
from cifar_lib.device import memory, placement
from cifar_lib.inference import classifier
from cifar_lib.system import locks
from cifar_lib.training import NumericError, TrainError, checkpoint, environment, train_loop

BAD = (float("nan"), float("inf"), float("-inf"))


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return images_file(tmp_path_factory.mktemp("images"))


def files_of(run: runs.Run) -> dict[str, bytes]:
    """Name -> content, but of the lock, which names the process that held it last."""
    return {file.name: file.read_bytes() for file in run.folder.iterdir() if file.name != locks.NAME}


# ---------------------------------------------------------------------------------------------------- no finite numbers


def spoil(training: train_loop.Training, what: str, value: float) -> None:
    """Let the third step of the next epoch meet that value as its loss, in one gradient, in one weight."""
    stepper, run, calls = training.stepper, training.stepper.run, []

    def spoiled(*args):
        calls.append(args)
        if len(calls) == 3 and what == "weight":
            with torch.no_grad():
                training.network.stages[0][0].conv1.weight[0, 0, 0, 0] = value
        if len(calls) == 3 and what == "gradient":
            hooks.append(training.network.linear.bias.register_hook(lambda gradient: gradient * value))
        if len(calls) == 3 and what == "loss":
            loss = stepper.loss
            stepper.forward = stepper.loss = lambda *key: (loss(*key)[0] * value, loss(*key)[1])
        run(*args)

    hooks, stepper.run = [], spoiled


@pytest.mark.faults(8)
@pytest.mark.parametrize("look", ["at the end", "after each step"])
@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("what", ["loss", "gradient", "weight"])
def test_no_number_stops_before_the_step_is_kept(path, monkeypatch, what, value, look):
    """It names epoch, step, lr and the last good epoch, and nothing of the run changes."""
    name = f"bad-{what}-{value}-{look}".replace(" ", "-")
    monkeypatch.setattr(train_loop, "SHOW_EVERY", 0 if look == "after each step" else 60)
    training = prepared(name, path)
    steps = train_loop.fit(training)
    next(steps)
    before, rate = files_of(training.run), training.lr_schedule[1, 2].item()
    spoil(training, what, value)
    with pytest.raises(NumericError) as refused:
        next(steps)
    kind = "a gradient" if what == "gradient" else "the loss"
    line = (
        f"epoch 2, step 3 of 4: {kind} is no finite number, with lr {rate:.3g}; the step was not taken; the last good"
    )
    assert str(refused.value).startswith(f"{line} epoch is 1, which is kept") and refused.value.status == errors.NUMERIC
    assert files_of(training.run) == before
    slow = [p.isfinite().all() for p in training.optimizer.slow]
    assert all(slow) and (what == "weight" or all(p.isfinite().all() for p in training.network.parameters()))


@pytest.mark.faults(8)
@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("what", ["weight", "momentum", "slow", "validation"])
def test_no_number_after_the_last_step_is_not_saved(path, monkeypatch, what, value):
    """Nothing in the epoch's steps meets it: what would be saved is looked through, and the loss of validation."""
    training = prepared(f"late-{what}-{value}", path)
    steps = train_loop.fit(training)
    next(steps)
    before = files_of(training.run)
    place = {
        "weight": training.network.linear.weight,
        "momentum": training.optimizer.state[training.network.linear.weight]["momentum_buffer"],
        "slow": training.optimizer.slow[0],
        "validation": torch.zeros(1),
    }[what]

    def validate(training, number):
        with torch.no_grad():
            place[(0,) * place.ndim] = value
        return (value, 0.1) if what == "validation" else (1.0, 0.1)

    monkeypatch.setattr(train_loop, "_validate", validate)
    expected = "the validation loss is" if what == "validation" else "a weight, a statistic or a momentum is"
    with pytest.raises(NumericError, match=rf"^epoch 2, step 4 of 4: {expected} no finite number, with lr 0\.0"):
        next(steps)
    assert files_of(training.run) == before


@pytest.mark.faults(8)
@pytest.mark.parametrize("settings", [{"lr": 1e6}, {"lr": 1e6, "lookahead": False}, {"lr": 1e30, "valid_size": 20}])
def test_a_rate_beyond_all_reason_is_named(path, settings):
    training = prepared(f"lr-{len(settings)}-{int(settings['lr'])}", path, **settings)
    with pytest.raises(NumericError, match=r"^epoch \d, step \d of 4: .* no finite number, with lr .*e\+") as refused:
        list(train_loop.fit(training))
    assert "take a lower lr" in str(refused.value)
    assert not training.run.begun or checkpoint.read(training.run.folder / "last.pt")["epoch"] == training.epoch


# ------------------------------------------------------------------------------------------- other settings, other data


OTHER = {  # a value that each setting could have as well
    "dataset": "digits",
    "valid_size": 21,
    "train_size": 100,
    "loader": "workers",
    "num_blocks": (1, 2),
    "conv_kernel_sizes": (3, 5),
    "shortcut_kernel_sizes": (3, 1),
    "avg_pool_kernel_size": 8,
    "se_placement": "stem",
    "param_budget": 4_000_000,
    "lr_sched": "OneCycleLR",
    "init": "he",
    "grad_clip": 0.1,
    "device": "auto",
    "crop_padding": "black",
    "drop_placement": "output",
    "norm_statistics": "running",
    "precision": "bfloat16",
    "compile": "on",
    "cuda_graphs": "off",
    "max_epochs": EPOCHS - 1,
}


def other(name: str, value):
    """Another value of that setting."""
    if name in OTHER:
        return OTHER[name]
    return not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value / 2 + 0.2


@pytest.fixture(scope="module")
def begun(path) -> runs.Run:
    answer(some_epochs, "begun-as-it-was", path, 1)
    return runs.open("begun-as-it-was")


@pytest.mark.faults(9)
@pytest.mark.parametrize("name", Config.model_fields)
def test_a_changed_setting_is_refused_by_name(begun, name):
    old = getattr(begun.config, name)
    new = other(name, old)
    before = files_of(begun)
    with pytest.raises(runs.RunError) as refused:
        runs.start(begun.name, Config(**dict(begun.config) | {name: new}))
    assert str(refused.value).startswith(f"{name}: the run has {old}, now {new} (") and "\n" not in str(refused.value)
    assert files_of(begun) == before


@pytest.mark.faults(9)
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_other_data_is_refused_by_name(begun, path, split):
    import dataclasses

    images = dataset(path)
    part = getattr(images, split)
    changed = part.images.copy()
    changed[-1, -1, -1, -1] ^= 1  # one bit of one pixel
    images = dataclasses.replace(images, **{split: Split(changed, part.labels)})
    with pytest.raises(TrainError, match=f"^{split} images: the run .* has those of SHA-256 .*, now ") as refused:
        train_loop.prepare(begun.config, images, runs.start(begun.name, begun.config))
    assert refused.value.status == errors.DATA and "\n" not in str(refused.value)


# --------------------------------------------------------------------------------------------------- devices and memory


@pytest.mark.faults(12)
def test_a_gpu_that_is_not_there_is_refused(path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(placement.PlacementError, match="^device: got cuda, which is not available here; take auto,"):
        prepared("no-gpu", path, device="cuda")
    assert not runs.open("no-gpu").begun


@pytest.mark.faults(12)
def test_auto_without_a_gpu_is_the_cpu_and_says_so(path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    training = prepared("auto", path, device="auto")
    assert training.device.type == "cpu" and runs.open("auto").environment["device"].startswith("cpu: ")


@pytest.mark.faults(12)
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), MemoryError()]
)
def test_too_little_memory_is_one_line_and_the_run_goes_on(path, error):
    """As torch raises it on a GPU, in the middle of the second epoch; the checkpoint is as it was."""
    name = f"short-{type(error).__name__}"
    training = prepared(name, path, max_epochs=2)
    steps = train_loop.fit(training)
    next(steps)
    before = files_of(training.run)

    def short(*args):
        raise error

    training.stepper.run = short
    with pytest.raises(memory.MemoryShort, match=r"^epoch 2: out of memory \(.*smaller batch_size") as refused:
        next(steps)
    assert refused.value.status == errors.MEMORY and files_of(training.run) == before
    locks.release(training.run.folder)
    for each in (name, f"{name}-whole"):
        answer(to_the_end, each, path, max_epochs=2)
    assert left(name) == left(f"{name}-whole")


@pytest.mark.faults(12)
def test_a_cpu_without_room_is_one_line_too(path):
    lines = answer(without_room, path)
    assert ": out of memory (" in lines and "smaller batch_size" in lines and "\n" not in lines


def without_room(path: Path) -> str:
    """With an address space that a network of this size does not fit into."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 300_000_000, resource.RLIM_INFINITY))
    try:
        to_the_end("no-room", path, num_channels=2048, param_budget=None)
    except memory.MemoryShort as refused:
        return str(refused)
    return "nothing"


@pytest.mark.faults(12)
def test_a_checkpoint_of_a_gpu_goes_on_on_a_cpu(path, monkeypatch):
    """Its tensors say that they were on `cuda:0`; the run says that it is on another device now."""
    answer(some_epochs, "moved", path, 2, device="auto")
    run = runs.open("moved")
    state = checkpoint.read(run.folder / "last.pt")
    with monkeypatch.context() as patched:
        patched.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        checkpoint.save(run.folder, state)
    assert b"cuda:0" in (run.folder / "last.pt").read_bytes()
    run.record("environment.json", run.environment | {"device": "NVIDIA H100", "threads": 1})
    lines = []
    training = prepared("moved", path, lines.append, device="auto")
    assert training.epoch == 2 and next(training.network.parameters()).device.type == "cpu"
    assert [line for line in lines if line.startswith("device: the run began with NVIDIA H100, now cpu: ")]
    assert [row["epoch"] for row in train_loop.fit(training)] == list(range(3, EPOCHS + 1))
    assert run.environment["continued"][0]["epoch"] == 2 and run.environment["device"] == "NVIDIA H100"


def test_weights_of_a_gpu_run_are_used_on_a_cpu(path, monkeypatch):
    answer(to_the_end, "for-cuda", path, max_epochs=1)
    run = runs.open("for-cuda")
    (run.folder / "SHA256SUMS").unlink()
    run.record("config.json", dict(run.config.model_dump(mode="json")) | {"device": "cuda"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = classifier.load("for-cuda")
    assert found.device.type == "cpu" and found.logits([(np.zeros((32, 32, 3), np.uint8), 0)]).shape == (1, 10)


# -------------------------------------------------------------------------------------------------------- the same bits


@pytest.mark.parametrize(
    ("name", "now"),
    [
        ("threads", 7),
        ("precision", "bfloat16"),
        ("memory_format", "contiguous"),
        ("gear", "compiled"),
        ("instructions", "x"),
    ],
)
def test_a_resume_that_cannot_promise_the_same_bits_says_so(begun, path, monkeypatch, name, now):
    shutil.copytree(begun.folder, copy := paths.RUNS / f"changed-{name}")
    describe = environment.describe
    monkeypatch.setattr(environment, "describe", lambda *args: describe(*args) | {name: now})
    lines, old = [], begun.environment[name]
    prepared(copy.name, path, lines.append)
    assert lines == [
        f"{name}: the run began with {old}, now {now}: it goes on, but not bit for bit as if never stopped"
    ]
    assert runs.open(copy.name).environment["continued"] == [{"epoch": 1, name: [old, now]}]


def test_a_resume_that_can_says_nothing(begun, path):
    shutil.copytree(begun.folder, paths.RUNS / "unchanged")
    assert answer(said_by, "unchanged", path) == []


def said_by(name: str, path: Path) -> list[str]:
    lines = []
    prepared(name, path, lines.append)
    return lines


@pytest.mark.parametrize("deterministic", [False, True])
def test_deterministic_asks_torch_for_it(monkeypatch, deterministic):
    """On a GPU, which is not at hand: the switches that decide, and that nothing else is tried out."""
    monkeypatch.setattr(placement, "available", lambda where: True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        placement.prepare_backends(torch.device("cuda"), deterministic)
        assert torch.are_deterministic_algorithms_enabled() == torch.backends.cudnn.deterministic == deterministic
        assert torch.backends.cudnn.benchmark != deterministic
        config = Config(device="cuda", deterministic=deterministic)
        assert placement.repeatable(config) == deterministic and placement.repeatable(Config(device="cpu"))
    finally:
        placement.prepare_backends(torch.device("cpu"), False)


def test_deterministic_training_is_the_training(path):
    """On a CPU it changes nothing: no operation of the network lacks a repeatable form."""
    for name, deterministic in (("plain-bits", False), ("asked-bits", True)):
        answer(some_epochs, name, path, 2, max_epochs=2, deterministic=deterministic)
    states = [checkpoint.read(paths.RUNS / name / "last.pt") | {"config": ""} for name in ("plain-bits", "asked-bits")]
    assert state_digest(states[0]) == state_digest(states[1])
