"""Lookahead: the published path, the inner optimizer's own where it must be, and nothing lost by a save."""

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, lr_scheduler
from torch.optim.optimizer import Optimizer

from cifar_lib import paths
from cifar_lib.optim.lookahead import Lookahead

INNER: dict[str, Callable[..., Optimizer]] = {
    "SGD": lambda params: SGD(params, lr=0.1),
    "momentum": lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=5e-4),
    "nesterov": lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True),
    "Adam": lambda params: Adam(params, lr=0.01, weight_decay=1e-3),
}


def point(value: float = 0.0) -> nn.Parameter:
    return nn.Parameter(torch.full((), value))


def push(optimizer: Optimizer, parameter: nn.Parameter, gradient: float = -1.0) -> float:
    """One step under a constant gradient; the weight it leads to."""
    parameter.grad = torch.full((), gradient)
    optimizer.step()
    return parameter.item()


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def loss_of(model: nn.Module, step: int) -> torch.Tensor:
    """The loss on the images of that step."""
    generator = torch.Generator().manual_seed(step)
    x, y = torch.randn(8, 5, generator=generator), torch.randint(3, (8,), generator=generator)
    return nn.functional.cross_entropy(model(x), y)


def walk(model: nn.Module, optimizer: Optimizer, steps: Iterator[int] | range, scheduler=None) -> None:
    for step in steps:
        optimizer.zero_grad()
        loss_of(model, step).backward()
        optimizer.step()
        if scheduler:
            scheduler.step()


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def same(a, b) -> bool:
    """Equal bit for bit: tensors, and lists and dicts of them."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def everything(model: nn.Module, optimizer: Lookahead) -> dict:
    return {"model": weights(model), "optimizer": copy.deepcopy(optimizer.state_dict())}


# -------------------------------------------------------------------------------------------------------- the path


def test_closed_path():
    parameter = point()
    lookahead = Lookahead(SGD([parameter], lr=1), k=2, alpha=0.5)
    assert [0.0, *(push(lookahead, parameter) for _ in range(6))] == [0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("alpha", [0.25, 0.5, 1.0])
def test_closed_form_for_any_k_and_alpha(k, alpha):
    parameter = point()
    lookahead = Lookahead(SGD([parameter], lr=1), k, alpha)
    for step in range(1, 4 * k + 3):
        windows, rest = divmod(step, k)
        assert push(lookahead, parameter) == windows * alpha * k + rest
        assert lookahead.slow[0].item() == windows * alpha * k


def test_against_the_algorithm_written_out():
    """Momentum, weights that move against each other: slow weights by the paper's two loops."""
    model, plain = network(), network()
    walk(model, Lookahead(INNER["momentum"](model.parameters()), k=3, alpha=0.3), range(10))
    inner, slow = INNER["momentum"](plain.parameters()), weights(plain)
    for step in range(10):
        walk(plain, inner, [step])
        if step % 3 == 2:
            for s, p in zip(slow, plain.parameters(), strict=True):
                s += 0.3 * (p.detach() - s)
                p.data.copy_(s)
    torch.testing.assert_close(weights(model), weights(plain), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", INNER)
@pytest.mark.parametrize("k", [1, 3])
def test_alpha_1_is_the_inner_optimizer_bit_for_bit(name, k):
    model, plain = network(), network()
    walk(model, Lookahead(INNER[name](model.parameters()), k, alpha=1), range(10))
    walk(plain, INNER[name](plain.parameters()), range(10))
    assert same(weights(model), weights(plain))


def test_k_1_is_the_inner_step_shortened():
    model, plain = network(), network()
    walk(model, Lookahead(SGD(model.parameters(), lr=0.2), k=1, alpha=0.5), range(8))
    walk(plain, SGD(plain.parameters(), lr=0.1), range(8))
    torch.testing.assert_close(weights(model), weights(plain), rtol=1e-6, atol=1e-7)


def test_slow_weights_start_before_the_first_step():
    model = network()
    start = weights(model)
    lookahead = Lookahead(INNER["momentum"](model.parameters()))
    assert same(lookahead.slow, start)
    walk(model, lookahead, range(4))
    assert same(lookahead.slow, start)
    assert not same(weights(model), start)


@pytest.mark.parametrize("steps", [5, 10])
def test_after_k_steps_fast_is_slow(steps):
    model = network()
    lookahead = Lookahead(INNER["momentum"](model.parameters()), k=5)
    walk(model, lookahead, range(steps))
    assert same(weights(model), lookahead.slow)


def test_slow_weights_own_their_memory():
    model = network()
    lookahead = Lookahead(INNER["SGD"](model.parameters()))
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in lookahead.slow}
    assert not any(p.requires_grad for p in lookahead.slow)


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "5", None])
def test_bad_k(k):
    with pytest.raises(ValueError, match="^k: got .*expected") as caught:
        Lookahead(SGD([point()], lr=1), k=k)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("alpha", [0, -0.5, 1.0001, float("nan"), float("inf")])
def test_bad_alpha(alpha):
    with pytest.raises(ValueError, match="^alpha: got .*expected") as caught:
        Lookahead(SGD([point()], lr=1), alpha=alpha)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------- as an optimizer is


def test_is_an_optimizer_whose_groups_and_state_are_the_inner_ones():
    model = network()
    inner = INNER["momentum"](model.parameters())
    lookahead = Lookahead(inner)
    walk(model, lookahead, range(3))
    assert isinstance(lookahead, Optimizer)
    assert lookahead.param_groups is inner.param_groups and lookahead.state is inner.state
    assert len(inner.state) == 4
    lookahead.load_state_dict(lookahead.state_dict())
    assert lookahead.param_groups is inner.param_groups and lookahead.state is inner.state


def test_groups_keep_their_own_settings():
    model = network()
    groups = [{"params": model[0].parameters(), "lr": 0.3}, {"params": model[2].parameters(), "weight_decay": 0.1}]
    lookahead = Lookahead(SGD(groups, lr=0.1, momentum=0.9))
    assert [(g["lr"], g["weight_decay"], len(g["params"])) for g in lookahead.param_groups] == [
        (0.3, 0, 2),
        (0.1, 0.1, 2),
    ]
    assert len(lookahead.slow) == 4


def test_named_parameters_keep_their_names():
    model = network()
    lookahead = Lookahead(SGD(model.named_parameters(), lr=0.1))
    assert lookahead.param_groups[0]["param_names"] == [name for name, _ in model.named_parameters()]
    walk(model, lookahead, range(6))


def test_wrapping_keeps_the_state_there_is():
    model, plain = network(), network()
    inner, other = (INNER["momentum"](m.parameters()) for m in (model, plain))
    walk(model, inner, range(3))
    walk(plain, other, range(3))
    kept = copy.deepcopy(inner.state_dict())
    lookahead = Lookahead(inner, k=2, alpha=1)
    assert same(inner.state_dict(), kept)
    walk(model, lookahead, range(3, 8))
    walk(plain, other, range(3, 8))
    assert same(weights(model), weights(plain))


@pytest.mark.parametrize("to_none", [True, False])
def test_zero_grad(to_none):
    model = network()
    lookahead = Lookahead(INNER["SGD"](model.parameters()))
    loss_of(model, 0).backward()
    lookahead.zero_grad(set_to_none=to_none)
    assert all(p.grad is None if to_none else not p.grad.any() for p in model.parameters())


def test_parameters_without_gradient_stay():
    used, unused = point(), point(7.0)
    lookahead = Lookahead(SGD([used, unused], lr=1, momentum=0.9, weight_decay=0.1), k=2)
    for _ in range(6):
        push(lookahead, used)
    assert unused.item() == lookahead.slow[1].item() == 7 and unused.grad is None
    assert unused not in lookahead.state


def test_closure_is_called_once_and_its_loss_returned():
    model, plain = network(), network()
    lookahead, calls = Lookahead(INNER["momentum"](model.parameters()), k=2), []

    def closure():
        calls.append(len(calls))
        lookahead.zero_grad()
        loss = loss_of(model, calls[-1])
        loss.backward()
        return loss

    losses = [lookahead.step(closure).item() for _ in range(5)]
    other, wanted = Lookahead(INNER["momentum"](plain.parameters()), k=2), []
    for step in range(5):
        wanted.append(loss_of(plain, step).item())
        walk(plain, other, [step])
    assert losses == wanted and calls == list(range(5))
    assert same(weights(model), weights(plain))
    assert lookahead.step() is None


def test_added_group_is_slow_from_its_own_start():
    first, second = point(), point(10.0)
    lookahead = Lookahead(SGD([first], lr=1), k=2)
    push(lookahead, first)
    lookahead.add_param_group({"params": [second], "lr": 2})
    assert len(lookahead.param_groups) == len(lookahead.optimizer.param_groups) == 2
    assert [p.item() for p in lookahead.slow] == [0, 10]
    second.grad = torch.tensor(-1.0)
    assert push(lookahead, first) == 1  # two steps, halved
    assert second.item() == 11  # one step of 2, halved
    assert [p.item() for p in lookahead.slow] == [1, 11]
    with pytest.raises(ValueError, match="more than one parameter group"):
        lookahead.add_param_group({"params": [first]})
    assert len(lookahead.slow) == len(lookahead.param_groups) == 2


# ----------------------------------------------------------------------------------------------------------- hooks


def test_step_hooks():
    parameter, seen = point(), []
    lookahead = Lookahead(SGD([parameter], lr=1), k=1)
    pre = lookahead.register_step_pre_hook(
        lambda o, args, kwargs: seen.append(("pre", o is lookahead, parameter.item()))
    )
    lookahead.register_step_post_hook(lambda o, args, kwargs: seen.append(("post", o is lookahead, parameter.item())))
    push(lookahead, parameter)
    assert seen == [("pre", True, 0), ("post", True, 0.5)]  # after: synchronised already
    pre.remove()
    push(lookahead, parameter)
    assert [name for name, *_ in seen] == ["pre", "post", "post"]


def test_hooks_of_the_inner_optimizer_run_too():
    parameter, seen = point(), []
    inner = SGD([parameter], lr=1)
    lookahead = Lookahead(inner, k=1)
    inner.register_step_post_hook(lambda o, args, kwargs: seen.append(parameter.item()))
    push(lookahead, parameter)
    assert seen == [1]


def test_state_dict_hooks():
    parameter, seen = point(), []
    lookahead = Lookahead(SGD([parameter], lr=1))
    lookahead.register_state_dict_pre_hook(lambda o: seen.append("save pre"))
    lookahead.register_state_dict_post_hook(lambda o, state: seen.append("save post") or state | {"note": "here"})
    lookahead.register_load_state_dict_pre_hook(lambda o, state: seen.append(state.pop("note")))
    lookahead.register_load_state_dict_post_hook(lambda o: seen.append(("load post", o.count)))
    push(lookahead, parameter)
    state = lookahead.state_dict()
    assert state["note"] == "here"
    lookahead.load_state_dict(state)
    assert seen == ["save pre", "save post", "here", ("load post", 1)]
    assert state["note"] == "here"  # the hook had a copy of its own


def test_state_dict_hooks_may_hand_back_another_state():
    lookahead = Lookahead(SGD([point()], lr=1))
    lookahead.register_load_state_dict_pre_hook(lambda o, state: state | {"count": 3})
    lookahead.register_state_dict_post_hook(lambda o, state: {"count": state["count"]})
    lookahead.register_state_dict_post_hook(lambda o, state: {"count": state["count"] + 1}, prepend=True)
    lookahead.load_state_dict(Lookahead(SGD([point()], lr=1)).state_dict())
    assert lookahead.count == 3
    assert lookahead.state_dict() == {"count": 4}


# ----------------------------------------------------------------------------------------------------- save and go on


def training(k: int, inner: str):
    model = network()
    lookahead = Lookahead(INNER[inner](model.parameters()), k, alpha=0.5)
    return model, lookahead, lr_scheduler.CosineAnnealingLR(lookahead, T_max=20)


CASES = {
    f"{inner}, k {k}, step {step}": (inner, k, step) for inner in INNER for k, step in ((5, 7), (2, 3), (5, 10), (3, 1))
}
END = 18


def resume(folder: Path) -> None:
    """In a new process: read every saved case, go on to the end, save what came of it."""
    torch.set_num_threads(1)
    for path in sorted(folder.glob("*.pt")):
        saved = torch.load(path, weights_only=True)
        model, lookahead, scheduler = training(7, saved["inner"])  # k comes with the state
        for part, name in ((model, "model"), (lookahead, "optimizer"), (scheduler, "scheduler")):
            part.load_state_dict(saved[name])
        walk(model, lookahead, range(saved["step"], END), scheduler)
        torch.save(everything(model, lookahead) | {"lr": scheduler.get_last_lr()}, path)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("resumed")
    for name, (inner, k, step) in CASES.items():
        model, lookahead, scheduler = training(k, inner)
        walk(model, lookahead, range(step), scheduler)
        state = {"model": model.state_dict(), "optimizer": lookahead.state_dict(), "scheduler": scheduler.state_dict()}
        torch.save(state | {"inner": inner, "step": step}, folder / f"{name}.pt")
    code = "import sys; sys.path.append('tests/optim'); import test_lookahead as t; t.resume(t.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, folder], cwd=paths.ROOT, check=True, timeout=120)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_a_new_process_goes_on_bit_for_bit(name, resumed):
    inner, k, _ = CASES[name]
    model, lookahead, scheduler = training(k, inner)
    walk(model, lookahead, range(END), scheduler)
    got = torch.load(resumed / f"{name}.pt", weights_only=True)
    assert same(got, everything(model, lookahead) | {"lr": scheduler.get_last_lr()})


def test_the_saved_state_is_tensors_and_numbers_of_its_own():
    model = network()
    lookahead = Lookahead(INNER["momentum"](model.parameters()), k=1)
    walk(model, lookahead, range(2))
    state = lookahead.state_dict()
    slow = copy.deepcopy(state["slow"])
    walk(model, lookahead, range(2))
    assert same(state["slow"], slow)  # later steps do not reach into it
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    assert same(torch.load(buffer, weights_only=True), state)


def test_a_scheduler_drives_the_inner_rate_after_a_load():
    model, lookahead, scheduler = training(5, "momentum")
    walk(model, lookahead, range(3), scheduler)
    other, again, follower = training(5, "momentum")
    again.load_state_dict(lookahead.state_dict())
    follower.load_state_dict(scheduler.state_dict())
    for _ in range(4):
        before = again.optimizer.param_groups[0]["lr"]
        walk(other, again, [0], follower)
        walk(model, lookahead, [0], scheduler)
        assert again.optimizer.param_groups[0]["lr"] == lookahead.optimizer.param_groups[0]["lr"] < before
        assert again.param_groups is again.optimizer.param_groups


def other_shapes() -> list:
    wider = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    return [wider, nn.Sequential(nn.Linear(5, 7)), nn.Sequential(*network(), nn.Linear(3, 3))]


@pytest.mark.parametrize("index", range(3), ids=["wider", "fewer", "more"])
def test_load_refuses_other_shapes_and_changes_nothing(index):
    model, lookahead, scheduler = training(3, "momentum")
    walk(model, lookahead, range(4), scheduler)
    stranger = other_shapes()[index]
    theirs = Lookahead(SGD(stranger.parameters(), lr=3.0, momentum=0.5), k=9, alpha=0.9)
    before = everything(model, lookahead)
    with pytest.raises(ValueError) as caught:
        lookahead.load_state_dict(theirs.state_dict())
    assert "\n" not in str(caught.value) and "slow weights" in str(caught.value)
    assert same(everything(model, lookahead), before)
    assert lookahead.param_groups is lookahead.optimizer.param_groups


def test_load_of_other_groups_changes_nothing():
    """The same slow weights, grouped otherwise: the inner optimizer refuses."""
    model, lookahead, _ = training(3, "momentum")
    walk(model, lookahead, range(4))
    groups = [{"params": layer.parameters()} for layer in (network()[0], network()[2])]
    before = everything(model, lookahead)
    with pytest.raises(ValueError, match="parameter groups"):
        lookahead.load_state_dict(Lookahead(SGD(groups, lr=3.0), k=9).state_dict())
    assert same(everything(model, lookahead), before)


def test_load_leaves_the_given_state_alone():
    model, lookahead, _ = training(3, "momentum")
    state = lookahead.state_dict()
    kept = copy.deepcopy(state)
    other, again, _ = training(3, "momentum")
    again.load_state_dict(state)
    walk(other, again, range(4))
    assert same(state, kept)


# ---------------------------------------------------------------------------------------------------------- copies


def copies(model: nn.Module, lookahead: Lookahead, how: str):
    if how == "deepcopy":
        return copy.deepcopy((model, lookahead))
    return pickle.loads(pickle.dumps((model, lookahead)))


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
@pytest.mark.parametrize("inner", ["momentum", "Adam"])
def test_a_copy_steps_alone_and_alike(how, inner):
    model = network()
    lookahead = Lookahead(INNER[inner](model.parameters()), k=3, alpha=0.3)
    walk(model, lookahead, range(4))
    twin, follower = copies(model, lookahead, how)
    before = everything(model, lookahead)
    assert follower.param_groups is follower.optimizer.param_groups
    walk(twin, follower, range(4, 9))
    assert same(everything(model, lookahead), before)
    walk(model, lookahead, range(4, 9))
    assert same(everything(twin, follower), everything(model, lookahead))
    with follower.slow_weights():
        assert same(weights(twin), follower.slow)


# --------------------------------------------------------------------------------------------------------- scaling


def test_a_skipped_scaler_step_does_not_count():
    parameter = point()
    lookahead = Lookahead(SGD([parameter], lr=1, momentum=0.9), k=2)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    counts = []
    for factor in (1.0, float("inf"), 1.0):
        lookahead.zero_grad()
        scaler.scale(-parameter * factor).backward()
        scaler.step(lookahead)
        scaler.update()
        counts.append((lookahead.count, parameter.item()))
    assert counts == [(1, 1), (1, 1), (2, pytest.approx(0.5 * (1 + 1.9)))]


# -------------------------------------------------------------------------------------------------------- slow weights


def test_slow_weights_swap_and_restore_bit_for_bit():
    model = network()
    lookahead = Lookahead(INNER["momentum"](model.parameters()), k=5)
    walk(model, lookahead, range(7))
    before = everything(model, lookahead)
    with lookahead.slow_weights():
        assert same(weights(model), lookahead.slow)
        assert not same(weights(model), before["model"])
    assert same(everything(model, lookahead), before)


def test_slow_weights_restore_when_the_body_raises():
    model = network()
    lookahead = Lookahead(INNER["momentum"](model.parameters()), k=5)
    walk(model, lookahead, range(7))
    before = everything(model, lookahead)
    with pytest.raises(KeyError), lookahead.slow_weights():
        raise KeyError
    assert same(everything(model, lookahead), before)


def test_a_look_at_the_slow_weights_changes_no_path():
    model, plain = network(), network()
    looked, other = (Lookahead(INNER["momentum"](m.parameters()), k=5) for m in (model, plain))
    for step in range(12):
        walk(model, looked, [step])
        walk(plain, other, [step])
        with looked.slow_weights():
            loss_of(model, 99)
    assert same(everything(model, looked), everything(plain, other))
