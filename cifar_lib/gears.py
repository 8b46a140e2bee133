"""How fast the steps can be taken here: eager, compiled, captured; the fastest that agrees with eager is used."""

import time
from collections.abc import Callable, Iterator

import torch

from cifar_lib import placement
from cifar_lib.capture import Captured
from cifar_lib.config import Config
from cifar_lib.distributed import ALL, share
from cifar_lib.lookahead import Lookahead
from cifar_lib.placement import PlacementError
from cifar_lib.steps import Stepper, untouched

WINDOW = 5  # steps a graph without Lookahead, whose k it is otherwise
COMPILE_PAYS = 4000  # steps of a run; an estimate, not yet measured on a GPU
# How far one step may lie from the eager one: relative, of the loss and of the length of the weights' move. With
# dropout the two draw different masks.
TOLERANCE = {"dropout": (0.1, 0.5), torch.float32: (1e-3, 1e-2), torch.bfloat16: (2e-2, 1e-1)}


def wanted(config: Config, steps: int) -> tuple[bool, bool]:
    """Whether to compile, and whether to capture, a run of `steps` steps. Raises `PlacementError`, one line."""
    gpu, alone = placement.device(config).type == "cuda", share() == ALL
    if config.cuda_graphs == "on" and not (gpu and alone):
        raise PlacementError("cuda_graphs: on needs a GPU and a single process; take auto or off")
    compiled = config.compile == "on" or config.compile == "auto" and gpu and alone and steps >= COMPILE_PAYS
    return compiled, config.cuda_graphs != "off" and gpu and alone


def choose(stepper: Stepper, steps: int, say: Callable[[str], None]) -> tuple[Stepper | Captured, str]:
    """The gear for a run of `steps` steps, and its name. One that fails or disagrees is left out, and `say` told so."""
    compiled, captured = wanted(stepper.config, steps)
    if compiled:
        compiled = _holds("compiled", stepper.compile, stepper, say)
    if not compiled:
        stepper.forward = stepper.loss
    chosen = stepper
    if captured:
        graph = Captured(stepper, stepper.optimizer.k if isinstance(stepper.optimizer, Lookahead) else WINDOW)
        captured = _holds("captured", lambda: graph, stepper, say)
        chosen = graph if captured else stepper
    return chosen, ", ".join(["compiled"] * compiled + ["captured"] * captured) or "eager"


def _holds(name: str, build: Callable, stepper: Stepper, say: Callable[[str], None]) -> bool:
    """Whether the gear that `build` makes runs here and agrees with eager on the first batch."""
    began = time.perf_counter()
    try:
        eager = outcome(Stepper(stepper.network, stepper.optimizer, stepper.batches, stepper.config))
        there = outcome(build())
    except Exception as error:  # whatever a compiler or a driver may raise, eager still works
        say(f"{name}: not possible here ({str(error).strip().splitlines()[0][:200]}); going on without")
        return False
    finally:
        for group in stepper.inner.param_groups:
            group["lr"] = stepper.rate
    limits = TOLERANCE["dropout" if stepper.config.drop else placement.precision(stepper.config)]
    agrees = all(abs(a - b) <= limit * abs(a) for a, b, limit in zip(eager, there, limits, strict=True))
    seconds = f"{time.perf_counter() - began:.0f} s"
    verdict = "agrees with eager on one batch" if agrees else f"not used: it gives {there}, eager {eager}"
    say(f"{name}: {verdict}; {seconds}")
    return agrees


def outcome(stepper: Stepper | Captured) -> tuple[float, float]:
    """The loss an image and the length of the weights' move of one step on the first batch; all is left as it was."""
    plain = stepper if isinstance(stepper, Stepper) else stepper.stepper
    key = next(iter(plain.batches.keys(1)))
    size = len(key[0]) * share().size
    parameters = list(plain.network.parameters())
    with untouched(plain):
        torch.manual_seed(plain.config.seed)
        plain.network.train()
        plain.totals.zero_()
        before = [p.detach().clone() for p in parameters]
        rates = torch.full((1,), plain.config.lr, device=plain.rate.device)
        stepper.take([key], rates, size)
        moved = torch.stack([(p.detach() - b).norm() for p, b in zip(parameters, before, strict=True)]).norm()
        return plain.totals[0].item() / size, moved.item()


def windows(steps: int, full: int, count: int, reach: int) -> Iterator[int]:
    """How many steps each call takes in an epoch of `steps`, the first `full` of which have whole batches.

    `reach` where a window of Lookahead begins (`count` steps were taken before) and all its batches are whole, else 1.
    """
    done = 0
    while done < steps:
        whole = (count + done) % reach == 0 and done + reach <= full
        yield (size := reach if whole else 1)
        done += size
