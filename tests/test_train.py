"""Training: continues as if never stopped, equals a plain loop, keeps its promises about files and the test set."""

import dataclasses
import itertools
import math
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn.functional import cross_entropy

from cifar_lib import checkpoint, classifier, data, model, runs, train
from cifar_lib.batches import seed_of
from cifar_lib.config import PRESETS, Config
from cifar_lib.data import Dataset, Split

TINY = {"dataset": "digits", "valid_size": 20, "batch_size": 32, "num_channels": 4, "num_blocks": (1, 1)}
TINY |= {"conv_kernel_sizes": (3, 3), "shortcut_kernel_sizes": (1, 1), "avg_pool_kernel_size": 16, "device": "cpu"}
TINY |= {"precision": "float32"}
MEASURED = ["seconds", "images_per_second", "memory_gb", "gpu_memory_gb"]
COUNTER = itertools.count()


@pytest.fixture(scope="module")
def small() -> Dataset:
    """100 training images, 20 for validation, 60 for the test: 4 batches of 32 an epoch, no multiple of lookahead_k."""
    every = data.load(Config(dataset="digits"))
    first = lambda split, n: Split(split.images[:n], split.labels[:n])  # noqa: E731
    return Dataset("digits", first(every.train, 100), first(every.valid, 20), first(every.test, 60))


def prepared(small: Dataset, name: str = "", **settings) -> train.Training:
    config = Config(**(TINY | settings))
    return train.prepare(config, small, runs.start(name or f"t{next(COUNTER)}", config))


def fingerprint(training: train.Training) -> dict[str, torch.Tensor]:
    """Every tensor and number that a training moves."""
    state = {name: part.state_dict() for name, part in training.parts.items()}
    flat = {}

    def walk(path, value):
        if isinstance(value, dict):
            for key, item in value.items():
                walk((*path, key), item)
        elif isinstance(value, (list, tuple)):
            for key, item in enumerate(value):
                walk((*path, key), item)
        else:
            flat[path] = value.clone() if isinstance(value, torch.Tensor) else value

    walk((), state | {"epoch": training.epoch, "best": training.best_accuracy})
    return flat


def equal(a: dict, b: dict) -> bool:
    same = lambda x, y: torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y  # noqa: E731
    return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)


def rows_without_time(run: runs.Run):
    return run.history.drop(columns=MEASURED)


STRONG = PRESETS["strong"] | {"mixup_off": 1}
SCHEDULES = [{"lr_sched": name} for name in ("CosineAnnealingLR", "OneCycleLR", "MultiStepLR", "none")]


@pytest.mark.parametrize("settings", [*SCHEDULES, STRONG, STRONG | {"lookahead": True}])
def test_interrupted_run_continues_bit_for_bit(small, settings):
    """Stopped after 2 of 4 epochs and prepared anew, a run ends with every bit of the run that never stopped."""
    settings = settings | {"max_epochs": 4}
    whole = prepared(small, **settings)
    for _ in train.fit(whole):
        pass
    stopped = prepared(small, **settings)
    list(itertools.islice(train.fit(stopped), 2))
    count = stopped.optimizer.count if stopped.config.lookahead else 1
    assert count % whole.config.lookahead_k, "the stop is within a window of Lookahead"
    again = prepared(small, name=stopped.run.name, **settings)
    assert again.epoch == 2
    for _ in train.fit(again):
        pass
    assert equal(fingerprint(whole), fingerprint(again))
    assert rows_without_time(whole.run).equals(rows_without_time(again.run))


def test_row_without_its_checkpoint_is_trained_again(small):
    """Death between the row and the checkpoint leaves one row too many; it is dropped, and comes out the same."""
    training = prepared(small, max_epochs=2)
    steps = train.fit(training)
    next(steps)
    kept = (training.run.folder / "last.pt").read_bytes()
    next(steps)
    (training.run.folder / "last.pt").write_bytes(kept)
    before = rows_without_time(training.run)
    list(train.fit(prepared(small, name=training.run.name, max_epochs=2)))
    assert rows_without_time(training.run).equals(before)


def test_lost_checkpoint_is_refused_not_restarted(small):
    training = prepared(small, max_epochs=3)
    list(itertools.islice(train.fit(training), 2))
    (training.run.folder / "last.pt").unlink()
    with pytest.raises(runs.RunError, match="missing") as refused:
        prepared(small, name=training.run.name, max_epochs=3)
    assert "\n" not in str(refused.value)
    assert training.run.epochs == 2


def test_damaged_checkpoint_is_refused(small):
    training = prepared(small, max_epochs=2)
    next(train.fit(training))
    path = training.run.folder / "last.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(runs.RunError, match="not a readable checkpoint"):
        prepared(small, name=training.run.name, max_epochs=2)


def test_changed_setting_is_refused_by_name(small):
    training = prepared(small, max_epochs=2)
    next(train.fit(training))
    with pytest.raises(runs.RunError, match=r"^lr: the run .* has 0.1, now 0.2"):
        prepared(small, name=training.run.name, max_epochs=2, lr=0.2)


def test_folder_where_nothing_was_trained_is_taken_over(small):
    """A network over the budget leaves no epoch, and its name can be given again."""
    with pytest.raises(model.BudgetError):
        prepared(small, name="over", param_budget=1)
    assert prepared(small, name="over").run.config.param_budget == 5_000_000


def test_step_equals_a_plain_loop(small):
    """One epoch without Lookahead is SGD on cross-entropy with torch's cosine, written out."""
    training = prepared(small, max_epochs=1, lookahead=False, drop=0.1, grad_clip=0.05)
    network = model.build(training.config)
    sgd = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    torch.manual_seed(seed_of(training.config, 1))
    network.train()
    steps = len(training.batches)
    for i, (x, y) in enumerate(training.batches.epoch(1)):
        for group in sgd.param_groups:
            group["lr"] = 0.1 * (1 + math.cos(math.pi * i / steps)) / 2
        loss = cross_entropy(network(x), y)
        sgd.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_value_(network.parameters(), 0.05)
        sgd.step()
    next(train.fit(training))
    for own, plain in zip(training.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(own, plain, rtol=1e-4, atol=1e-6)


def test_published_weights_are_the_slow_ones_of_the_best_epoch(small):
    training = prepared(small, max_epochs=3)
    best, kept = -1.0, None
    for row in train.fit(training):
        if row["valid_accuracy"] > best:
            best, kept = row["valid_accuracy"], [p.clone() for p in training.optimizer.slow]
    file = safetensors.torch.load_file(training.run.folder / checkpoint.WEIGHTS)
    for (name, _), slow in zip(training.network.named_parameters(), kept, strict=True):
        assert torch.equal(file[name], slow.half() if slow.ndim > 1 else slow)


def test_without_validation_the_last_epoch_is_kept(small):
    training = prepared(dataclasses.replace(small, valid=small.valid[:0]), max_epochs=2, valid_size=0)
    rows = list(train.fit(training))
    assert all(row["valid_accuracy"] is None for row in rows)
    run = train.finish(training)
    assert run.summary["weights"] == "slow, last epoch" and run.summary["best_epoch"] == 2
    file = safetensors.torch.load_file(run.folder / checkpoint.WEIGHTS)
    slow = dict(zip([n for n, _ in training.network.named_parameters()], training.optimizer.slow, strict=True))
    for name in slow:
        assert torch.equal(file[name], slow[name].half() if slow[name].ndim > 1 else slow[name])


def test_with_an_average_it_is_published(small):
    training = prepared(dataclasses.replace(small, valid=small.valid[:0]), max_epochs=2, valid_size=0, **STRONG)
    list(train.fit(training))
    file = safetensors.torch.load_file(training.run.folder / checkpoint.WEIGHTS)
    names = [name for name, _ in training.network.named_parameters()]
    assert training.average.count == 8 and not torch.equal(training.average.slow[0], training.average.fast[0])
    assert torch.equal(file[names[0]], training.average.slow[0].half())


def test_finish_writes_what_the_published_weights_say(small):
    training = prepared(small, max_epochs=1)
    list(train.fit(training))
    run = train.finish(training)
    assert run.complete
    logits = classifier.load(run).logits(data.Images(small.test.images, small.test.labels))
    assert (run.predictions.predicted == logits.argmax(1)).all()
    np.testing.assert_allclose(run.predictions.logits, logits, atol=np.abs(logits).max() * 2**-10)
    wrong = run.predictions.predicted != small.test.labels
    assert len(run.mistakes.index) == min(25, wrong.sum()) and wrong[run.mistakes.index].all()
    assert (run.mistakes.images == small.test.images[run.mistakes.index]).all()
    assert (np.diff(run.mistakes.confidence) <= 0).all()


def test_test_set_chooses_nothing(small):
    """With every test label changed, the run's weights and history stay what they are."""
    relabelled = dataclasses.replace(small, test=Split(small.test.images, (small.test.labels + 1) % 10))
    a, b = prepared(small, max_epochs=2), prepared(relabelled, max_epochs=2)
    for training in (a, b):
        list(train.fit(training))
        train.finish(training)
    assert equal(fingerprint(a), fingerprint(b))
    weights = [(t.run.folder / checkpoint.WEIGHTS).read_bytes() for t in (a, b)]
    assert weights[0] == weights[1]


def test_complete_run_stays_as_it_is(small):
    training = prepared(small, max_epochs=1)
    list(train.fit(training))
    run = train.finish(training)
    (run.folder / checkpoint.LAST).unlink()  # as in a clone, where it is not tracked
    before = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    again = prepared(small, name=run.name, max_epochs=1)
    assert list(train.fit(again)) == []
    train.finish(again)
    assert before == {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}


def test_loss_that_is_no_number_stops_before_any_save(small):
    training = prepared(small, max_epochs=3)
    steps = train.fit(training)
    next(steps)
    before = {path.name: path.read_bytes() for path in training.run.folder.iterdir() if "events" not in path.name}
    with torch.no_grad():
        next(training.network.parameters()).fill_(float("nan"))
    with pytest.raises(train.TrainError, match=r"^epoch 2: the loss is nan, with lr 0\.0"):
        next(steps)
    after = {path.name: path.read_bytes() for path in training.run.folder.iterdir() if "events" not in path.name}
    assert before == after


def test_tensorboard_holds_the_history(small):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    training = prepared(small, max_epochs=2)
    list(train.fit(training))
    events = EventAccumulator(str(training.run.folder), size_guidance={"scalars": 0}).Reload()
    history = training.run.history
    for column, tag in train.TAGS.items():
        if history[column].isna().all():  # no GPU
            continue
        assert [e.value for e in events.Scalars(tag)] == pytest.approx(history[column].tolist(), rel=1e-6)


def test_both_loaders_train(small):
    """The reference loader feeds the same step; without augmentation its first loss equals the device loader's."""
    settings = {"max_epochs": 1, "num_workers": 0, "data_augmentation": False, "batch_size": 100, "drop": 0}
    rows = [next(train.fit(prepared(small, loader=loader, **settings))) for loader in ("device", "workers")]
    assert rows[0]["train_loss"] == pytest.approx(rows[1]["train_loss"], rel=1e-5)


def test_same_seed_same_run_other_seed_other_run(small):
    a, b, c = (prepared(small, max_epochs=1, seed=seed) for seed in (3, 3, 4))
    for training in (a, b, c):
        list(train.fit(training))
    assert equal(fingerprint(a), fingerprint(b)) and not equal(fingerprint(a), fingerprint(c))


def test_learns(small):
    """20 images, without augmentation and dropout, are learnt by heart."""
    few = dataclasses.replace(small, train=small.train[:20])
    training = prepared(few, max_epochs=30, batch_size=10, data_augmentation=False, drop=0, avg_pool_kernel_size=4)
    *_, last = train.fit(training)
    assert last["train_accuracy"] == 1.0


def test_unfinished_run_has_no_predictions(small):
    training = prepared(small, max_epochs=2)
    next(train.fit(training))
    with pytest.raises(runs.RunError, match="has not ended"):
        _ = training.run.predictions
    shutil.rmtree(training.run.folder)
