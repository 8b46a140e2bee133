"""Several processes are one training: the same gradients, every image once, one writer, a good end whatever dies."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_train_loop import scalars
from test_train_step import TINY, noise
from torch.nn.parallel import DistributedDataParallel

from cifar_lib import data, paths, runs
from cifar_lib.config import Config
from cifar_lib.data.batches import Batches
from cifar_lib.device import distributed
from cifar_lib.models import resnet
from cifar_lib.optim import schedules
from cifar_lib.system import locks
from cifar_lib.training import train_loop, train_step

CPU = torch.device("cpu")
GROUP = pytest.mark.xdist_group("torchrun")
RANKS = 2
STEPS = 12  # two full windows of Lookahead and two steps


def work(share: distributed.World, frozen: bool, steps_taken: int) -> dict:
    """Steps on batches of 64 and, last in an epoch, of 35 images; the state they lead to, and the first gradients."""
    config = Config(**(TINY | {"batch_size": 64, "drop": 0, "sync_bn": True}))
    network = resnet.build(config)
    torch.manual_seed(7)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 2)
    distributed.synchronise_norms(network)
    network.double().train(not frozen)  # in float32 a rounding flips a ReLU here and there, by a thousandth
    network.register_forward_pre_hook(lambda module, given: (given[0].double(),))
    optimizer = schedules.optimizer_of(network, config)
    batches = Batches(noise(99), config, CPU, train=True, world=share)
    stepper = train_step.TrainStep(distributed.parallel(network), optimizer, batches, config)
    seen, gradients = [], []
    zero = stepper.inner.zero_grad
    stepper.inner.zero_grad = lambda: (gradients.append([p.grad.clone() for p in network.parameters()]), zero())
    for number in range(steps_taken // 2):
        for key, total in zip(batches.keys(number), (64, 35), strict=True):
            seen.append(key[0][:, 0].tolist())
            stepper.run([key], torch.full((1,), 0.01 if number else 0.0), total)
    totals = distributed.all_reduce_sum(stepper.totals)
    assert isinstance(stepper.network, DistributedDataParallel) == (share != distributed.ALONE)
    state = {"network": network.state_dict(), "slow": optimizer.slow, "totals": totals, "count": optimizer.count}
    return {"gradients": gradients[:2], "seen": seen} | state


def one_of_two(rank: int, store: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS)
    found = {frozen: work(distributed.world(), frozen, STEPS) for frozen in (False, True)}
    leader = distributed.on_rank_zero(lambda: os.getpid())
    try:
        distributed.on_rank_zero(lambda: 1 / 0)
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"
    torch.save({"found": found, "leader": leader, "pid": os.getpid(), "failed": failed}, f"{store}.{rank}")
    torch.distributed.destroy_process_group()
    os._exit(0)  # as the command line's processes end


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict]:
    store = tmp_path_factory.mktemp("gloo") / "store"
    torch.multiprocessing.spawn(one_of_two, (str(store),), nprocs=RANKS)
    return [torch.load(f"{store}.{rank}") for rank in range(RANKS)]


@GROUP
@pytest.mark.parametrize("frozen", [False, True], ids=["synchronised", "frozen"])
def test_two_ranks_give_the_gradients_of_one(two, frozen):
    """Of a full batch, and of a short one that does not divide by two, to float32 tolerance."""
    alone = work(distributed.ALONE, frozen, 2)
    for rank in two:
        for ours, whole in zip(rank["found"][frozen]["gradients"], alone["gradients"], strict=True):
            for a, b in zip(ours, whole, strict=True):
                assert (a - b).norm() <= 1e-5 * b.norm()


@GROUP
def test_every_image_once_an_epoch(two):
    first, second = (rank["found"][False]["seen"] for rank in two)
    for i in range(0, len(first), 2):
        assert sorted(sum(first[i : i + 2] + second[i : i + 2], [])) == list(range(99))
    assert [len(batch) for batch in first[:2]] == [32, 18] and [len(batch) for batch in second[:2]] == [32, 17]


@GROUP
def test_all_ranks_hold_the_same_weights_and_slow_weights(two):
    """Bit for bit after twelve steps; and they are those of one process to float tolerance, as are the statistics."""
    alone = work(distributed.ALONE, False, STEPS)
    a, b = (rank["found"][False] for rank in two)
    assert a["count"] == b["count"] == STEPS and torch.equal(a["totals"], b["totals"])
    assert all(torch.equal(x, y) for x, y in zip(a["slow"], b["slow"], strict=True))
    for name, value in a["network"].items():
        assert torch.equal(value, b["network"][name]), name
        torch.testing.assert_close(value, alone["network"][name], rtol=5e-3, atol=5e-4)
    assert a["totals"][:2].tolist() == pytest.approx(alone["totals"][:2].tolist(), rel=1e-2)
    assert a["totals"][2] == RANKS * alone["totals"][2] == RANKS * STEPS


@GROUP
def test_the_leader_works_for_all(two):
    assert two[0]["leader"] == two[1]["leader"] == two[0]["pid"] != two[1]["pid"]


@GROUP
def test_where_the_leader_fails_all_stop(two):
    """It raises its own error, and no other process waits for it until a time runs out."""
    assert two[0]["failed"] == "ZeroDivisionError: division by zero"
    assert two[1]["failed"] == "GroupError: the leading process failed (division by zero)"


def test_alone_everything_is_itself():
    network, tensor = torch.nn.Linear(2, 2), torch.ones(3)
    assert distributed.parallel(network) is network and distributed.all_reduce_sum(tensor) is tensor
    assert distributed.on_rank_zero(lambda: 7) == 7 and distributed.world() == distributed.ALONE
    with distributed.group(CPU) as share:
        assert share == distributed.ALONE


def test_synchronised_norm_alone_is_torchs(monkeypatch):
    norm, plain = torch.nn.BatchNorm2d(4), torch.nn.BatchNorm2d(4)
    distributed.synchronise_norms(norm)
    x = torch.randn(8, 4, 5, 5)
    assert type(norm) is distributed.SyncBatchNorm and torch.equal(norm(x), plain(x))
    assert list(norm.state_dict()) == list(plain.state_dict())


def test_more_processes_than_the_smallest_batch_has_images_are_refused(monkeypatch):
    config = Config(dataset="digits", num_channels=4)
    monkeypatch.setattr(distributed, "world", lambda: distributed.World(0, 106))
    with pytest.raises(train_loop.TrainError, match=r"^batch_size: the smallest batch has 105 images, too few for 106"):
        train_loop.prepare(config, data.load(config), runs.Run(paths.RUNS / "never"))


def test_workers_are_refused_under_torchrun(monkeypatch):
    config = Config(dataset="digits", num_channels=4, loader="workers")
    monkeypatch.setattr(distributed, "world", lambda: distributed.World(0, 2))
    with pytest.raises(train_loop.TrainError, match=r"^loader: got workers under torchrun, expected device"):
        train_loop.prepare(config, data.load(config), runs.Run(paths.RUNS / "never"))


# ------------------------------------------------------------------------------------------------- as a user types it

SETTINGS = "-p dataset digits -p num_channels 4 -p num_blocks [1,1] -p conv_kernel_sizes [3,3] -p drop 0 "
SETTINGS += "-p shortcut_kernel_sizes [1,1] -p avg_pool_kernel_size 16 -p precision float32 -p epochs 6"
SETTINGS += " -p batch_size 256"


def command(run: str, ranks: int, *flags: str) -> list[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", *flags] if ranks > 1 else []
    return [sys.executable, *torchrun, "-m", "cifar_lib", "train", "-p", "run", run, *SETTINGS.split()]


def typed(run: str, ranks: int, *flags: str, kill: int | None = None) -> subprocess.CompletedProcess:
    """The command, and of its processes the one of rank `kill` killed once the first epoch is on disk."""
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    line = command(run, ranks, *flags)
    with subprocess.Popen(
        line, cwd=paths.ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as it:
        deadline = time.monotonic() + 120
        while kill is not None and not (paths.RUNS / run / "last.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        if kill is not None:
            os.kill(_pid_of(run, kill), signal.SIGKILL)
        out, err = it.communicate(timeout=180)
    return subprocess.CompletedProcess(line, it.returncode, out, err)


def _pid_of(run: str, rank: int) -> int:
    for folder in os.listdir("/proc"):
        if folder.isdigit() and folder != str(os.getpid()):
            try:
                words = Path(f"/proc/{folder}/cmdline").read_text().split("\0")
                variables = Path(f"/proc/{folder}/environ").read_text().split("\0")
            except OSError:
                continue
            if run in words and f"RANK={rank}" in variables:
                return int(folder)
    raise AssertionError(f"no process of rank {rank}")


def rows(run: str) -> pd.DataFrame:
    return pd.read_csv(paths.RUNS / run / "history.csv")


@GROUP
def test_a_killed_rank_ends_in_one_line_and_one_process_continues():
    done = typed("killed", 2, kill=1)
    ours = [line for line in done.stderr.splitlines() if line.startswith(("GroupError: ", "stopped at epoch "))]
    assert done.returncode != 0 and len(ours) == 1 and "the same command continues" in ours[0], done.stderr[-3000:]
    assert 1 <= len(rows("killed")) < 6
    kept = rows("killed")
    done = typed("killed", 1)
    assert done.returncode == 0, done.stderr[-3000:]
    now = rows("killed")
    assert now.epoch.tolist() == [1, 2, 3, 4, 5, 6] and runs.open("killed").complete
    assert now.train_loss[: len(kept) - 1].tolist() == kept.train_loss[:-1].tolist()


@GROUP
def test_torchruns_restart_continues_and_ends_as_if_nothing_had_been():
    """Killed in the middle and restarted by torchrun, a run of two has the rows of a run of two that was left alone;
    and one process's checkpoint is continued by two."""
    done = typed("restarted", 2, "--max-restarts=1", kill=1)
    assert done.returncode == 0, done.stderr[-3000:]
    config = runs.open("restarted").config
    alone = train_loop.prepare(config, data.load(config), runs.start("begun", config))
    next(train_loop.fit(alone))
    locks.release(alone.run.folder)
    done = typed("begun", 2)
    assert done.returncode == 0, done.stderr[-3000:]
    for run in ("restarted", "begun"):
        assert rows(run).epoch.tolist() == [1, 2, 3, 4, 5, 6] and runs.open(run).complete
        assert rows(run).train_loss.is_monotonic_decreasing
        assert (paths.RUNS / run / "history.csv").read_text().count("epoch") == 1
    np.testing.assert_allclose(rows("begun").train_loss, rows("restarted").train_loss, rtol=0.2)
    for run in ("restarted", "begun"):  # one process writes, and each epoch is there once
        assert len(scalars(runs.open(run))["lr"]) == 6
