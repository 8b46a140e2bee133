"""One image on its way through a network: what each part makes of it, and how wide each gate stands."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch

from cifar_lib import data, paths
from cifar_lib.config import DATA_SETS, STATISTICS, Config
from cifar_lib.data.batches import Batches, normalise
from cifar_lib.evidence import metrics
from cifar_lib.exchange import pictures
from cifar_lib.inference import mistakes
from cifar_lib.models import resnet
from cifar_lib.runs.predictions import Predictions

EXAMPLE, DOUBTFUL = 1, 6083  # which images of CIFAR-10's test set figures/example.png and figures/doubtful.png are
DIGIT = 0  # and which of the digits' stands for the first


@dataclass(frozen=True)
class Example:
    """One image (32, 32, 3) uint8, its label and the label's name, its place in the test set, and where it is from."""

    image: np.ndarray
    label: int
    name: str
    index: int
    origin: str


def example(dataset: str) -> Example:
    """The image that notebook 01 follows: a tracked file for CIFAR-10, so that it needs no download."""
    return _tracked("example.png", 8, EXAMPLE) if dataset == "cifar10" else _of_test_set(Config(dataset=dataset), DIGIT)


def doubtful(dataset: str, said: Predictions | None) -> Example:
    """The test image with the smallest margin between its two most probable classes, by the predictions `said`.

    Nothing is downloaded: where the pixels of that image are not at hand, or nothing was predicted, it is the tracked
    file, which is the one of runs/reference; of digits without predictions, the next after the example.
    """
    config = Config(dataset=dataset)
    other = DOUBTFUL if dataset == "cifar10" else DIGIT + 1
    index = other if said is None else int(metrics.margins(said.probabilities).argmin())
    if (dataset, index) != ("cifar10", DOUBTFUL) and mistakes.at_hand(config):
        with suppress(data.DataError):  # there, but incomplete or another
            return _of_test_set(config, index)
    return _tracked("doubtful.png", 2, DOUBTFUL)


def _tracked(name: str, label: int, index: int) -> Example:
    image = pictures.decode(paths.FIGURES / name)
    return Example(image, label, Config().classes[label], index, f"CIFAR-10, test image {index}")


def _of_test_set(config: Config, index: int) -> Example:
    test = data.load(config).test
    label = int(test.labels[index])
    origin = f"{DATA_SETS[config.dataset]}, test image {index}"
    return Example(test.images[index], label, config.classes[label], index, origin)


def as_trained_on(images: data.Split, config: Config, n: int) -> np.ndarray:
    """The first `n` images as an epoch shows them to the network, in the colours they have before they are normalised:
    (n, 32, 32, 3) uint8. What Cutout blots out has the mean colour, or is black without `data_normalize`."""
    alone = config.model_copy(update={"mixup": 0.0, "batch_size": n})
    few = Batches(images[:n], alone, torch.device("cpu"), train=True)
    order, (x, _) = few.plan(1)[0], next(iter(few.epoch(1)))
    x = x[np.argsort(order)].permute(0, 2, 3, 1)
    if config.data_normalize:
        facts = STATISTICS[config.dataset]
        x = x * torch.tensor(facts.std) + torch.tensor(facts.mean)
    return (255 * x).round().clamp(0, 255).to(torch.uint8).numpy()


def as_batch(image: np.ndarray, config: Config) -> torch.Tensor:
    """One image (32, 32, 3) uint8 as the network takes it: (1, 3, 32, 32) float32, normalised."""
    return normalise(torch.from_numpy(image).permute(2, 0, 1)[None], config)


def trace(network: resnet.ResNet, x: torch.Tensor) -> dict[str, np.ndarray]:
    """What each part makes of one image x (1, 3, 32, 32): name to (channels, height, width), or (10,) logits."""
    parts = {name: part for name, part in resnet.parts(network).items() if name != "linear"}
    parts |= {"pool": network.pool, "logits": network.linear}
    return _observe(network, x, parts, lambda _, given, made: made[0])


def most_active(maps: np.ndarray, most: int = 16) -> np.ndarray:
    """Which `most` of maps (channels, height, width) have the largest mean absolute activation, the largest first."""
    return (-np.abs(maps).mean((1, 2))).argsort(stable=True)[:most]


def gates(network: resnet.ResNet, x: torch.Tensor) -> dict[str, np.ndarray]:
    """The gates of every squeeze-and-excitation for one image x (1, 3, 32, 32): name to (channels,) in 0 to 1."""
    modules = {_plain(n): m for n, m in network.named_modules() if isinstance(m, resnet.SqueezeExcitation)}
    return _observe(network, x, modules, lambda se, given, _: se.gate(given[0])[0, :, 0, 0])


@torch.no_grad()
def _observe(network: resnet.ResNet, x: torch.Tensor, modules: dict[str, torch.nn.Module], look: Callable) -> dict:
    """Name -> what `look` makes of a module, its inputs and its output while the network runs on `x`, as an array."""
    seen = {}

    def hook(name: str) -> Callable:
        return lambda *given: seen.update({name: look(*given).numpy()})

    hooks = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        network.eval()(x)
    finally:
        for one in hooks:
            one.remove()
    return seen


def _plain(name: str) -> str:
    """`stages.1.0.se` as a reader counts: `stage 2, block 1`."""
    numbers = [int(part) + 1 for part in name.split(".") if part.isdigit()]
    return f"stage {numbers[0]}, block {numbers[1]}" if numbers else "stem"


def shapes(network: resnet.ResNet, x: torch.Tensor):
    """A DataFrame, one row per part: blocks, channels, height and width of its maps, and how many values that is."""
    import pandas as pd

    blocks = {f"stage {i}": len(stage) for i, stage in enumerate(network.stages, 1)}
    rows = []
    for name, made in ({"image": x[0].numpy()} | trace(network, x)).items():
        channels, *sides = made.shape
        size = "×".join(map(str, sides)) or "1"
        rows.append((name, blocks.get(name, ""), channels, size, made.size))
    return pd.DataFrame(rows, columns=["part", "blocks", "channels", "map", "values"]).set_index("part")
