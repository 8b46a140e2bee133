"""Training: continues as if never stopped, equals a plain loop, keeps its promises about files and the test set."""

import dataclasses
import itertools
import math
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
from digests import state_digest
from torch.nn.functional import cross_entropy

from cifar_lib import data, runs
from cifar_lib.config import PRESETS, Config
from cifar_lib.data import Dataset, Split
from cifar_lib.data.batches import seed_of
from cifar_lib.inference import classifier, evaluation
from cifar_lib.models import resnet
from cifar_lib.runs import events, history
from cifar_lib.training import checkpoint, train_loop

TINY = {"dataset": "digits", "valid_size": 20, "batch_size": 32, "num_channels": 4, "num_blocks": (1, 1)}
TINY |= {"conv_kernel_sizes": (3, 3), "shortcut_kernel_sizes": (1, 1), "avg_pool_kernel_size": 16, "device": "cpu"}
TINY |= {"precision": "float32"}
COUNTER = itertools.count()


def prepared(small: Dataset, name: str = "", **settings) -> train_loop.Training:
    config = Config(**(TINY | settings))
    return train_loop.prepare(config, small, runs.start(name or f"t{next(COUNTER)}", config))


def fingerprint(training: train_loop.Training) -> str:
    return state_digest(training.state)


def rows_without_time(run: runs.Run):
    return run.history.drop(columns=list(history.MEASURED))


STRONG = PRESETS["strong"] | {"mixup_off": 0.25}
SHORT = {"lr_sched": "LinearLR", "warmup": 0.3, "progressive_resizing": 0.75, "alternating_flip": True, "init": "he"}
SHORT |= {"whitening": True, "zero_init_residual": True}
SCHEDULES = [{"lr_sched": name} for name in ("CosineAnnealingLR", "OneCycleLR", "MultiStepLR", "none")]


@pytest.mark.parametrize("settings", [*SCHEDULES, STRONG, STRONG | {"lookahead": True}, SHORT])
def test_interrupted_run_continues_bit_for_bit(small, settings):
    """Stopped after 2 of 4 epochs and prepared anew, a run ends with every bit of the run that never stopped."""
    settings = settings | {"max_epochs": 4}
    whole = prepared(small, **settings)
    for _ in train_loop.fit(whole):
        pass
    stopped = prepared(small, **settings)
    list(itertools.islice(train_loop.fit(stopped), 2))
    count = stopped.optimizer.count if stopped.config.lookahead else 1
    assert count % whole.config.lookahead_k, "the stop is within a window of Lookahead"
    again = prepared(small, name=stopped.run.name, **settings)
    assert again.epoch == 2
    for _ in train_loop.fit(again):
        pass
    assert fingerprint(whole) == fingerprint(again)
    assert rows_without_time(whole.run).equals(rows_without_time(again.run))
    assert all(map(np.array_equal, whole.run.confusions, again.run.confusions))


def test_a_checkpoint_of_an_epoch_earlier_trains_the_last_one_again(small):
    """What history.csv and the weights have beyond the checkpoint is made anew, and comes out the same."""
    training = prepared(small, max_epochs=2)
    steps, folder = train_loop.fit(training), training.run.folder
    next(steps)
    kept = (folder / "last.pt").read_bytes()
    next(steps)
    whole, before = state_digest(checkpoint.read(folder / "last.pt")), rows_without_time(training.run)
    (folder / "last.pt").write_bytes(kept)
    again = prepared(small, name=training.run.name, max_epochs=2)
    assert again.run.epochs == 1
    list(train_loop.fit(again))
    assert rows_without_time(training.run).equals(before)
    assert state_digest(checkpoint.read(folder / "last.pt")) == whole


def test_lost_checkpoints_are_refused_not_restarted(small):
    training = prepared(small, max_epochs=3)
    list(itertools.islice(train_loop.fit(training), 2))
    for name in ("last.pt", "previous.pt"):
        (training.run.folder / name).unlink()
    with pytest.raises(checkpoint.CheckpointError, match=r"last\.pt: No such file.*previous\.pt: No such") as refused:
        prepared(small, name=training.run.name, max_epochs=3)
    assert "\n" not in str(refused.value)
    assert training.run.epochs == 2


def test_changed_setting_is_refused_by_name(small):
    training = prepared(small, max_epochs=2)
    next(train_loop.fit(training))
    with pytest.raises(runs.RunError, match=r"^lr: the run has 0.1, now 0.2"):
        prepared(small, name=training.run.name, max_epochs=2, lr=0.2)


def test_folder_where_nothing_was_trained_is_taken_over(small):
    """A network over the budget leaves no epoch, and its name can be given again."""
    with pytest.raises(resnet.BudgetError):
        prepared(small, name="over", param_budget=1)
    assert prepared(small, name="over").run.config.param_budget == 5_000_000


def test_step_equals_a_plain_loop(small):
    """One epoch without Lookahead is SGD on cross-entropy with torch's cosine, written out."""
    training = prepared(small, max_epochs=1, lookahead=False, drop=0.1, grad_clip=0.05)
    network = resnet.build(training.config)
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
    next(train_loop.fit(training))
    for own, plain in zip(training.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(own, plain, rtol=1e-4, atol=1e-6)


def test_published_weights_are_the_slow_ones_of_the_best_epoch(small):
    training = prepared(small, max_epochs=3)
    best, kept = -1.0, None
    for row in train_loop.fit(training):
        if row["valid_accuracy"] > best:
            best, kept = row["valid_accuracy"], [p.clone() for p in training.optimizer.slow]
    file = safetensors.torch.load_file(training.run.folder / runs.WEIGHTS)
    for (name, _), slow in zip(training.network.named_parameters(), kept, strict=True):
        assert torch.equal(file[name], slow.half() if slow.ndim > 1 else slow)


def test_without_validation_the_last_epoch_is_kept(small):
    training = prepared(dataclasses.replace(small, valid=small.valid[:0]), max_epochs=2, valid_size=0)
    rows = list(train_loop.fit(training))
    assert all(row["valid_accuracy"] is None for row in rows)
    run = train_loop.finish(training)
    assert run.summary["weights"] == "slow, last epoch" and run.summary["best_epoch"] == 2
    file = safetensors.torch.load_file(run.folder / runs.WEIGHTS)
    slow = dict(zip([n for n, _ in training.network.named_parameters()], training.optimizer.slow, strict=True))
    for name in slow:
        assert torch.equal(file[name], slow[name].half() if slow[name].ndim > 1 else slow[name])


def test_with_an_average_it_is_published(small):
    training = prepared(dataclasses.replace(small, valid=small.valid[:0]), max_epochs=2, valid_size=0, **STRONG)
    list(train_loop.fit(training))
    file = safetensors.torch.load_file(training.run.folder / runs.WEIGHTS)
    names = [name for name, _ in training.network.named_parameters()]
    assert training.average.count == 8 and not torch.equal(training.average.shadow[0], training.average.params[0])
    assert torch.equal(file[names[0]], training.average.shadow[0].half())


@pytest.mark.parametrize("settings", [{}, STRONG, {"loader": "workers", "num_workers": 0}, {"drop": 0.3}])
def test_published_statistics_are_of_the_images_trained_on(small, settings):
    """Gathered from the epoch's own batches, mixing and all, without dropout, with the weights that are published."""
    training = prepared(small, max_epochs=1, **settings)
    list(train_loop.fit(training))
    file = safetensors.torch.load_file(training.run.folder / runs.WEIGHTS)
    network = resnet.build(training.config)
    network.load_state_dict(file)
    own = {name: tensor.clone() for name, tensor in network.named_buffers()}
    evaluation.re_estimate(network, (x for x, _ in training.batches.epoch(1)))
    for name, tensor in network.named_buffers():
        torch.testing.assert_close(tensor, own[name], rtol=1e-4, atol=1e-5)


def test_a_checkpoint_from_before_confusions_were_kept_goes_on(small):
    training = prepared(small, max_epochs=2)
    next(train_loop.fit(training))
    state = checkpoint.read(training.run.folder / "last.pt")
    del state["confusions"]
    checkpoint.save(training.run.folder, state)
    list(train_loop.fit(prepared(small, name=training.run.name, max_epochs=2)))
    assert training.run.confusions[0].tolist() == [2]


def test_without_validation_no_confusions_are_kept(small):
    training = prepared(data.load(Config(**TINY | {"valid_size": 0})), max_epochs=1, valid_size=0)
    list(train_loop.fit(training))
    assert not training.run.has("confusions.csv") and train_loop.finish(training).complete


def test_running_statistics_are_trainings_own(small):
    training = prepared(small, max_epochs=1, norm_statistics="running")
    list(train_loop.fit(training))
    file = safetensors.torch.load_file(training.run.folder / runs.WEIGHTS)
    assert all(torch.equal(file[name], tensor) for name, tensor in training.network.named_buffers())


def test_validation_is_of_the_network_as_it_is_stored_and_leaves_training_alone(small):
    """What history.csv says is what anybody gets who loads the file; and no bit of training depends on it."""
    training, blind = prepared(small, max_epochs=2), prepared(small, max_epochs=2, norm_statistics="running")
    rows = list(train_loop.fit(training))
    list(train_loop.fit(blind))
    for a, b in zip(training.network.state_dict().values(), blind.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    network = resnet.build(training.config)
    network.load_state_dict(safetensors.torch.load_file(training.run.folder / runs.WEIGHTS))
    best = max(rows, key=lambda row: row["valid_accuracy"])
    loss, accuracy, confusion = evaluation.evaluate(network, training.valid)
    epochs, counts = training.run.confusions
    assert epochs.tolist() == [1, 2] and (counts[best["epoch"] - 1] == confusion.numpy()).all()
    shares = counts.trace(axis1=1, axis2=2) / len(training.valid.labels)
    assert shares.tolist() == [row["valid_accuracy"] for row in rows]
    assert accuracy == best["valid_accuracy"] and loss == pytest.approx(best["valid_loss"], rel=1e-6)


def test_finish_writes_what_the_published_weights_say(small):
    training = prepared(small, max_epochs=1)
    list(train_loop.fit(training))
    run = train_loop.finish(training)
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
        list(train_loop.fit(training))
        train_loop.finish(training)
    ends = [state_digest(training.state | {"data": "apart"}) for training in (a, b)]
    assert ends[0] == ends[1]
    weights = [(t.run.folder / runs.WEIGHTS).read_bytes() for t in (a, b)]
    assert weights[0] == weights[1]


def test_complete_run_stays_as_it_is(small):
    training = prepared(small, max_epochs=1)
    list(train_loop.fit(training))
    run = train_loop.finish(training)
    (run.folder / checkpoint.LAST).unlink()  # as in a clone, where it is not tracked
    before = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    again = prepared(small, name=run.name, max_epochs=1)
    assert list(train_loop.fit(again)) == []
    train_loop.finish(again)
    assert before == {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}


def test_loss_that_is_no_number_stops_before_any_save(small):
    training = prepared(small, max_epochs=3)
    steps = train_loop.fit(training)
    next(steps)
    before = {path.name: path.read_bytes() for path in training.run.folder.iterdir() if "events" not in path.name}
    with torch.no_grad():
        next(training.network.parameters()).fill_(float("nan"))
    expected = (
        r"^epoch 2, step 1 of 4: the loss is no finite number, with lr 0\.0.*; the last good epoch is 1, which is"
    )
    with pytest.raises(train_loop.NumericError, match=expected):
        next(steps)
    after = {path.name: path.read_bytes() for path in training.run.folder.iterdir() if "events" not in path.name}
    assert before == after


def test_tensorboard_holds_the_history(small):
    training = prepared(small, max_epochs=2)
    list(train_loop.fit(training))
    assert scalars(training.run) == {
        tag: training.run.history[column].tolist() for column, tag in events.TAGS.items() if column != "gpu_memory_gb"
    }


def scalars(run: runs.Run) -> dict[str, list[float]]:
    """Every event file, read one after the other: the values by tag, an epoch each, as float32 made float64 of them."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found = {}
    for path in sorted(run.folder.glob("events.out.tfevents.*")):
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert all([step for step, _ in values] == list(range(1, run.epochs + 1)) for values in found.values())
    return {tag: [pytest.approx(value, rel=1e-6) for _, value in values] for tag, values in found.items()}


def test_an_epoch_that_was_cut_off_is_no_state_to_go_on_from(small):
    """In a notebook: the loop was interrupted, and its cell is run again without the one that prepares."""
    training = prepared(small, max_epochs=3)
    next(train_loop.fit(training))

    def interrupted(text):
        raise KeyboardInterrupt

    monkey = pytest.MonkeyPatch()
    monkey.setattr(train_loop, "SHOW_EVERY", 0)
    with pytest.raises(KeyboardInterrupt):
        next(train_loop.fit(training, interrupted))
    monkey.undo()
    with pytest.raises(train_loop.TrainError, match=r"^epoch 2 was cut off, .*prepare it anew"):
        next(train_loop.fit(training))
    assert [row["epoch"] for row in train_loop.fit(prepared(small, name=training.run.name, max_epochs=3))] == [2, 3]


def test_the_test_set_is_not_read_before_the_last_epoch(small):
    training = prepared(small, max_epochs=2)
    next(train_loop.fit(training))
    with pytest.raises(train_loop.TrainError, match="1 of 2 epochs are done"):
        train_loop.finish(training)
    assert not training.run.complete


def test_more_epochs_are_allowed_if_asked_for(small):
    """What was trained stays; what follows has the rates of the longer run; a run that has ended stays as it is."""
    training = prepared(small, max_epochs=2)
    next(train_loop.fit(training))
    name, first = training.run.name, rows_without_time(training.run)
    with pytest.raises(runs.RunError, match=f"^max_epochs: the run has 2, now 4 .*python -m cifar_lib extend {name} 4"):
        prepared(small, name=name, max_epochs=4)
    for epochs in (1, 2):
        with pytest.raises(runs.RunError, match=f"^max_epochs: the run has 2, now {epochs}; expected more"):
            runs.extend(name, epochs)
    runs.extend(name, 4)
    longer = prepared(small, name=name, max_epochs=4)
    list(train_loop.fit(longer))
    train_loop.finish(longer)
    assert rows_without_time(longer.run).iloc[:1].equals(first) and longer.run.epochs == 4
    assert longer.run.history.lr.tolist()[1:] == longer.lr_schedule[1:, 0].tolist()
    with pytest.raises(runs.RunError, match="has ended, and its test set was read"):
        runs.extend(name, 5)


def test_both_loaders_train(small):
    """The reference loader feeds the same step; without augmentation its first loss equals the device loader's."""
    settings = {"max_epochs": 1, "num_workers": 0, "data_augmentation": False, "batch_size": 100, "drop": 0}
    rows = [next(train_loop.fit(prepared(small, loader=loader, **settings))) for loader in ("device", "workers")]
    assert rows[0]["train_loss"] == pytest.approx(rows[1]["train_loss"], rel=1e-5)


def test_same_seed_same_run_other_seed_other_run(small):
    a, b, c = (prepared(small, max_epochs=1, seed=seed) for seed in (3, 3, 4))
    for training in (a, b, c):
        list(train_loop.fit(training))
    assert fingerprint(a) == fingerprint(b) != fingerprint(c)


def test_learns(small):
    """20 images, without augmentation and dropout, are learnt by heart."""
    few = dataclasses.replace(small, train=small.train[:20])
    training = prepared(few, max_epochs=30, batch_size=10, data_augmentation=False, drop=0, avg_pool_kernel_size=4)
    *_, last = train_loop.fit(training)
    assert last["train_accuracy"] == 1.0


def test_unfinished_run_has_no_predictions(small):
    training = prepared(small, max_epochs=2)
    next(train_loop.fit(training))
    with pytest.raises(runs.RunError, match="has not ended"):
        _ = training.run.predictions
    shutil.rmtree(training.run.folder)
