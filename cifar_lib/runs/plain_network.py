"""A run's network without a framework: its layers as plain data, its numbers as bytes, for a browser. No torch."""

from dataclasses import dataclass, field

import numpy as np

from cifar_lib.config import IMAGE_SIZE, STATISTICS
from cifar_lib.runs.run import WEIGHTS, DamagedRun, Run

EPSILON = 1e-5  # batch norm's, under the root


@dataclass(frozen=True)
class PlainNetwork:
    """The network that `run` published, and its multiply-adds per image.

    `layers` is what JSON can hold; each array in it stands as {"at": offset in `numbers`, "type": "float16" or
    "float32", "shape": [...]}, C-contiguous and little-endian. A convolution's weight is (outputs, kernel, kernel,
    inputs), as a patch of a channels-last image lies in memory, times `scale` and plus `bias` (outputs,), which are
    its batch norm; where it whitens, the matrix is multiplied in.
    """

    run: Run
    multiply_adds: int
    layers: dict
    numbers: bytes


@dataclass
class Numbers:
    """Arrays, one after the other: in float16 where that loses nothing, else in float32."""

    data: bytearray = field(default_factory=bytearray)

    def pack(self, tree):
        """`tree` of dicts, lists and whatever else, each array in it appended to `data` and replaced by its place."""
        if isinstance(tree, dict):
            return {name: self.pack(value) for name, value in tree.items()}
        if isinstance(tree, (list, tuple)):
            return [self.pack(value) for value in tree]
        return self._append(tree) if isinstance(tree, np.ndarray) else tree

    def _append(self, array: np.ndarray) -> dict:
        exact = array.astype("<f4")
        with np.errstate(over="ignore"):
            half = exact.astype("<f2")
        kept, kind = (half, "float16") if np.array_equal(half.astype("<f4"), exact) else (exact, "float32")
        place = {"at": len(self.data), "type": kind, "shape": list(array.shape)}
        self.data += kept.tobytes()
        return place


def read(run: Run) -> PlainNetwork:
    """The published network of `run`. Raises `RunError` where its weights are not here, `DamagedRun` where they are
    not those of its network."""
    import safetensors.numpy

    data, facts = run.read(WEIGHTS, "of a tracked run they may be left out"), STATISTICS[run.config.dataset]
    mean, std = (facts.mean, facts.std) if run.config.data_normalize else ((0.0,) * 3, (1.0,) * 3)
    try:
        layers = _layers(run, safetensors.numpy.load(data))
    except (KeyError, safetensors.SafetensorError) as error:
        raise DamagedRun(f"{run.folder / WEIGHTS}: not the published weights of this network ({error})") from None
    numbers = Numbers()
    packed = numbers.pack({"classes": run.config.classes, "mean": mean, "std": std} | layers)
    return PlainNetwork(run, _multiply_adds(layers), packed, bytes(numbers.data))


def _layers(run: Run, weights: dict[str, np.ndarray]) -> dict:
    config, exact = run.config, {name: array.astype(np.float64) for name, array in weights.items()}
    side = config.final_size // config.avg_pool_kernel_size
    blocks = [[_block(exact, i, j) for j in range(count)] for i, count in enumerate(config.num_blocks)]
    last = exact["linear.weight"]
    return {
        "stem": {"conv": _conv(exact, "stem.conv", "stem.bn"), "gate": _gate(exact, "stem.se")},
        "stages": blocks,
        "pool": side,
        "linear": {
            "weight": last.reshape(len(last), -1, side, side).transpose(0, 2, 3, 1).reshape(len(last), -1),
            "bias": exact["linear.bias"],
        },
    }


def _block(weights: dict, stage: int, number: int) -> dict:
    name, stride = f"stages.{stage}.{number}", 2 if stage and not number else 1
    projects = f"{name}.shortcut.0.weight" in weights
    return {
        "conv1": _conv(weights, f"{name}.conv1", f"{name}.bn1", stride),
        "conv2": _conv(weights, f"{name}.conv2", f"{name}.bn2"),
        "gate": _gate(weights, f"{name}.se"),
        "shortcut": _conv(weights, f"{name}.shortcut.0", f"{name}.shortcut.1", stride) if projects else None,
    }


def _conv(weights: dict, conv: str, norm: str, stride: int = 1) -> dict:
    kernel = weights[f"{conv}.weight"]
    if f"{conv}.whitening" in weights:
        flat = kernel.reshape(len(kernel), -1, 1) * weights[f"{conv}.whitening"]  # BLAS would round by machine
        kernel = flat.sum(1).reshape(kernel.shape)
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + EPSILON)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    arrays = {"weight": kernel.transpose(0, 2, 3, 1), "scale": scale, "bias": bias}
    return {"kernel": kernel.shape[2], "stride": stride} | arrays


def _gate(weights: dict, name: str) -> dict | None:
    def linear(part: str) -> dict:
        weight = weights[f"{name}.{part}.weight"]
        return {"weight": weight.reshape(len(weight), -1), "bias": weights[f"{name}.{part}.bias"]}

    return {part: linear(part) for part in ("fc1", "fc2")} if f"{name}.fc1.weight" in weights else None


def _multiply_adds(layers: dict) -> int:
    """Of convolutions, gates and classifier, of one image."""
    side, stem = IMAGE_SIZE, layers["stem"]
    total = _of_conv(stem["conv"], side) + _of_gate(stem["gate"]) + layers["linear"]["weight"].size
    for block in (block for stage in layers["stages"] for block in stage):
        side = -(-side // block["conv1"]["stride"])
        convs = [block[name] for name in ("conv1", "conv2", "shortcut") if block[name]]
        total += sum(_of_conv(conv, side) for conv in convs) + _of_gate(block["gate"])
    return total


def _of_conv(conv: dict, side: int) -> int:
    return conv["weight"].size * side**2


def _of_gate(gate: dict | None) -> int:
    return sum(layer["weight"].size for layer in gate.values()) if gate else 0
