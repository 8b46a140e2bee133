"""How fast the steps can be taken here: eager, compiled, captured; the fastest that agrees with eager is used."""

import itertools
import time
from collections.abc import Callable, Iterator

import torch

from cifar_lib.config import Config
from cifar_lib.device import placement
from cifar_lib.device.distributed import ALONE, world
from cifar_lib.device.placement import PlacementError
from cifar_lib.optim.lookahead import Lookahead
from cifar_lib.training.cuda_graphs import CallShape, CudaGraphStep, call_shapes
from cifar_lib.training.train_step import TrainStep, preserved_state

WINDOW = 5  # steps a graph without Lookahead, whose k it is otherwise
COMPILE_PAYS = 4000  # steps of a run; an estimate, not yet measured on a GPU
SETTING = {"compiled": "compile", "captured": "cuda_graphs"}  # that asks for the mode
# How far a call may lie from plain steps: the mean loss, relative from 1 on, and the weights' move, relative.
# Compiled dropout draws other masks, and late in a run the masks are much of a gradient.
TOLERANCE = {"dropout": (0.1, 2.0), torch.float32: (1e-3, 1e-2), torch.bfloat16: (2e-2, 1e-1)}
Step = TrainStep | CudaGraphStep


def wanted(config: Config, steps: int) -> tuple[bool, bool]:
    """Whether to compile, and whether to capture, a run of `steps` steps. Raises `PlacementError`, one line."""
    gpu, alone = placement.device(config).type == "cuda", world() == ALONE
    if config.cuda_graphs == "on" and not (gpu and alone):
        raise PlacementError("cuda_graphs: on needs a GPU and a single process; take auto or off")
    pays = gpu and alone and steps >= COMPILE_PAYS and not config.deterministic  # a compiler may choose anew each time
    compiled = config.compile == "on" or config.compile == "auto" and pays
    return compiled, config.cuda_graphs != "off" and gpu and alone


def choose(stepper: TrainStep, steps: int, images: int, say: Callable[[str], None]) -> tuple[Step, str]:
    """The mode for a run of `steps` steps, in epochs of `images` images, and its name.

    One that fails or disagrees is left out, with a line to `say`. Raises `PlacementError` if nothing works after it.
    """
    compiled, captured = wanted(stepper.config, steps)
    exact = TOLERANCE[placement.precision(stepper.config)]
    loose = TOLERANCE["dropout"] if stepper.config.drop else exact
    chosen, names, size = stepper, [], stepper.config.batch_size
    if compiled and images >= size and _faster("compiled", stepper.compile, stepper, [(1, size)], loose, say):
        names.append("compiled")
    if captured:
        steps_per_call = stepper.optimizer.k if isinstance(stepper.optimizer, Lookahead) else WINDOW
        build, shapes = (
            lambda: CudaGraphStep(stepper, steps_per_call, images),
            call_shapes(images, size, steps_per_call),
        )
        if graph := _faster("captured", build, stepper, shapes, exact, say):
            chosen, names = graph, [*names, "captured"]
    return chosen, ", ".join(names) or "eager"


def _faster(name: str, build: Callable, stepper: TrainStep, calls: list[CallShape], limits: tuple[float, float], say):
    """The mode that `build` makes, if in each shape of call it does what `stepper` did before; else None."""
    began, forward = time.perf_counter(), stepper.forward
    before = [outcome(stepper, shape) for shape in calls]
    try:
        mode = build()
        wrong = _difference(calls, before, [outcome(mode, shape) for shape in calls], limits)
    except Exception as error:  # whatever a compiler or a driver may raise
        wrong = f"not possible here ({_reason(error)})"
    if wrong:
        stepper.forward = forward
        _check_life(stepper, calls[0], f"{name}: {wrong}", SETTING[name])
        say(f"{name}: {wrong}; going on without")
        return None
    say(f"{name}: agrees with plain steps; {time.perf_counter() - began:.0f} s")
    return mode


def _difference(calls: list[CallShape], before: list[tuple], after: list[tuple], limits: tuple[float, float]) -> str:
    """Which shape of call goes too far from its plain steps, in words; empty if none does."""
    for shape, (loss, move), (other_loss, other_move) in zip(calls, before, after, strict=True):
        near = abs(loss - other_loss) <= limits[0] * max(loss, 1)
        if not (near and abs(move - other_move) <= limits[1] * min(move, other_move)):
            way = f"{shape[0]} steps of {shape[1]} images" if shape[0] > 1 else f"a step of {shape[1]} images"
            found = f"the loss is {other_loss:.5g} and the weights move by {other_move:.5g}"
            return f"not used: in {way} {found}, plainly taken {loss:.5g} and {move:.5g}"
    return ""


def _reason(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0][:200]


def _check_life(stepper: TrainStep, shape: CallShape, message: str, setting: str) -> None:
    """Raise `PlacementError` if a plain step does not work any more: a driver may not recover from a failure."""
    try:
        outcome(stepper, shape)
    except Exception as error:
        reason = f"{message}; and after it no plain step works ({_reason(error)})"
        raise PlacementError(f"{reason}; take {setting} off") from None


def outcome(stepper: Step, shape: CallShape) -> tuple[float, float]:
    """The loss per image, and the length of the weights' move, of one call of that shape; all is left as it was.

    No two of its steps have the same images or learning rate. The rates are small, so that roundings do not grow.
    """
    plain, (count, total) = stepper if isinstance(stepper, TrainStep) else stepper.stepper, shape
    keys = [tuple(part[:total] for part in key) for key in itertools.islice(plain.batches.keys(1), count)]
    lrs = torch.linspace(plain.config.lr / 20, plain.config.lr / 10, count, device=plain.lr.device)
    parameters = list(plain.network.parameters())
    with preserved_state(plain):
        if isinstance(plain.optimizer, Lookahead):
            plain.optimizer.count = 0  # a window begins
        torch.manual_seed(plain.config.seed)
        plain.network.train()
        plain.totals.zero_()
        before = [p.detach().clone() for p in parameters]
        stepper.run(keys, lrs, total)
        moved = torch.stack([(p.detach() - b).norm() for p, b in zip(parameters, before, strict=True)]).norm()
        return plain.totals[0].item() / (count * total), moved.item()


def windows(steps: int, full: int, count: int, steps_per_call: int) -> Iterator[int]:
    """How many steps each call takes in an epoch of `steps`, the first `full` of which have whole batches:
    `steps_per_call` where a window of Lookahead begins (`count` steps came before) and all its batches are whole, or 1.
    """
    done = 0
    while done < steps:
        whole = (count + done) % steps_per_call == 0 and done + steps_per_call <= full
        yield (size := steps_per_call if whole else 1)
        done += size
