"""One frozen, validated `Config`: every setting of a run, under the name its user writes.

It takes what papermill and a shell hand over (`'7'`, `'1e-3'`, `'true'`, `'[4, 4, 3]'`) and refuses everything
else in one line, before data or torch are loaded.
"""

import difflib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cifar_lib.errors import UserError

CLASSES = {
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "digits": tuple("0123456789"),
}
DATA_SETS = {"cifar10": "CIFAR-10", "digits": "scikit-learn's digits (not CIFAR-10)"}
VALID_SIZE = {"cifar10": 5000, "digits": 180}
TRAIN_SIZE = {"cifar10": 50_000, "digits": 1437}  # images to cut the validation split from
IMAGE_SIZE = 32


@dataclass(frozen=True)
class DatasetStatistics:
    """mean and std per channel, of pixels in [0, 1], over all training images; whether a mirrored one stays true."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    flip: bool


# Over all pixels of the 50,000 (1,437) training images together: images.mean((0, 1, 2)) / 255, and .std alike.
STATISTICS = {
    "cifar10": DatasetStatistics((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), flip=True),
    "digits": DatasetStatistics((0.3057,) * 3, (0.3235,) * 3, flip=False),
}

Size = Annotated[int, Field(ge=0, lt=2**31)]
Positive = Annotated[int, Field(gt=0, lt=2**31)]
Kernels = Annotated[tuple[Positive, ...], Field(min_length=1)]


class ConfigError(UserError):
    """A setting that cannot be; the message is one line that names it."""


class Config(BaseModel):
    """All settings of one run. Raises `ConfigError`, one line, for a bad value or an unknown name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: Literal["cifar10", "digits"] = "cifar10"
    valid_size: Size = VALID_SIZE["cifar10"]  # images cut from the training set; None: the set's own
    train_size: Positive | None = None  # images to train on, the same ones for every seed; None: all that are left
    data_augmentation: bool = True  # crop with padding 4 and, where a mirrored image stays true, flip
    crop_padding: Literal["black", "mean", "reflect"] = "reflect"  # what borders an image before it is cropped
    alternating_flip: bool = False  # mirrored in every second epoch, in place of at random (arXiv 2404.00498)
    data_normalize: bool = True
    trivial_augment: bool = False  # one of 14 distortions an image, of a strength drawn anew (arXiv 2103.10158)
    cutout: int = Field(0, ge=0, le=IMAGE_SIZE)  # side, in pixels, of a square that is cut out (arXiv 1708.04552)
    mixup: float = Field(0.0, ge=0)  # alpha of the shares in which two images are mixed (arXiv 1710.09412)
    mixup_off: float = Field(0.0, ge=0, le=1)  # share of the epochs, the last ones, in which none are mixed
    progressive_resizing: float = Field(0.0, ge=0, lt=1)  # share of the epochs, the first ones, on smaller images
    progressive_size: int = Field(24, ge=8, le=IMAGE_SIZE)  # their side, in pixels
    loader: Literal["device", "workers"] = "device"
    num_workers: Size = 8  # processes of the "workers" loader, at most one per core
    batch_size: Positive = 128

    num_blocks: Kernels = (4, 4, 3)
    conv_kernel_sizes: Kernels = (3, 3, 3)
    shortcut_kernel_sizes: Kernels = (1, 1, 1)
    num_channels: Positive = 64  # of the first stage; doubles per stage
    avg_pool_kernel_size: Positive = 8
    drop: float = Field(0.2, ge=0, lt=1)
    drop_placement: Literal["branch", "output"] = "branch"  # between a block's convolutions (arXiv 1605.07146), or last
    squeeze_and_excitation: bool = True
    se_placement: Literal["block", "stem"] = "block"
    se_reduction: Positive = 16  # channels per squeezed channel
    init: Literal["torch", "he"] = "torch"  # of the convolutions before a batch norm; he: by fan out (arXiv 1502.01852)
    zero_init_residual: bool = False  # each block's last batch norm begins with weight 0 (arXiv 1706.02677)
    whitening: bool = False  # the first convolution sees patches decorrelated by a fixed matrix
    param_budget: Positive | None = 5_000_000  # trainable parameters; None lifts it

    lr: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(5e-4, ge=0)
    norm_weight_decay: bool = True  # weight decay of batch norm and biases too
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    ema_half_life: float = Field(0.0, ge=0, le=1)  # share of the steps; the average is published; 0: none
    lookahead: bool = True
    lookahead_k: Positive = 5
    lookahead_alpha: float = Field(0.5, gt=0, le=1)
    lr_sched: Literal["CosineAnnealingLR", "LinearLR", "OneCycleLR", "MultiStepLR", "none"] = "CosineAnnealingLR"
    warmup: float = Field(0.0, ge=0, lt=1)  # share of the steps, the first ones, in which the rate rises from a fifth
    grad_clip: float | None = Field(None, gt=0)  # by value, as arXiv 2306.12100 has it
    norm_statistics: Literal["re-estimated", "running"] = "re-estimated"  # batch norm's, in the published network
    max_epochs: Positive = 300
    seed: Size = 0

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # bfloat16: of the convolutions, weights stay float32
    compile: Literal["auto", "on", "off"] = "auto"  # torch.compile; auto: on a GPU, where the run is long enough
    cuda_graphs: Literal["auto", "on", "off"] = "auto"  # the steps of a Lookahead window as one launch
    sync_bn: bool = False  # batch norm over all processes of a distributed run
    deterministic: bool = False  # the same bits each time on a GPU too, where it is slower; a CPU gives them anyway

    def __init__(self, **settings: Any):
        known = type(self).model_fields
        for name in settings:
            if name not in known:
                shown = name if name.isprintable() and len(name) < 80 else _shown(name)
                raise ConfigError(f"{shown}: no such setting{did_you_mean(name, known)}")
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ConfigError(_one_line(error)) from None

    @field_validator("*", mode="before")
    @classmethod
    def _from_text(cls, value: Any, info) -> Any:
        """Text becomes the value it spells; booleans are not numbers and numbers are not booleans."""
        kind = cls.model_fields[info.field_name].annotation
        value = value.strip() if isinstance(value, str) else value
        if get_origin(kind) is tuple and isinstance(value, str) and "," in value and value[0] != "[":
            value = f"[{value}]"  # 4,4,3
        if isinstance(value, str) and value.startswith("["):
            value = _parse(value)
        if _is_none(value) and type(None) in get_args(kind):
            return None
        if isinstance(value, bool) != (kind is bool) and not isinstance(value, str):
            raise ValueError("expected true or false" if kind is bool else "expected a number or a name")
        if isinstance(value, (set, frozenset)):
            raise ValueError("expected a list, which has an order")
        if isinstance(value, (list, tuple)) and any(isinstance(item, bool) for item in value):
            raise ValueError("expected numbers")
        return value

    @model_validator(mode="before")
    @classmethod
    def _own_valid_size(cls, settings: dict) -> dict:
        """`valid_size` None or unset is the data set's own size: 5,000 of CIFAR-10, 180 of digits."""
        if _is_none(settings.get("valid_size")):
            dataset = settings.get("dataset", "cifar10")
            own = VALID_SIZE.get(dataset.strip(), 0) if isinstance(dataset, str) else 0
            settings = settings | {"valid_size": own}
        return settings

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        stages = len(self.num_blocks)
        for name in ("conv_kernel_sizes", "shortcut_kernel_sizes"):
            kernels = getattr(self, name)
            shown = _shown(list(kernels))
            _check(len(kernels) == stages, name, f"{shown}: expected {stages} sizes, as num_blocks has")
            _check(all(k % 2 for k in kernels), name, f"{shown}: expected odd sizes, which keep an image centred")
        _check(self.momentum > 0 or not self.nesterov, "nesterov", "true: expected a momentum above 0 with it")
        for name in ("trivial_augment", "cutout", "mixup", "alternating_flip", "progressive_resizing"):
            fits = self.loader == "device" or not getattr(self, name)
            _check(fits, "loader", f"workers: expected device, which alone has {name}")
        size, pool = self.final_size, self.avg_pool_kernel_size
        wanted = f"does not fit the last stage's {size}x{size} maps: expected a divisor of {size}"
        _check(size % pool == 0, "avg_pool_kernel_size", f"{pool} {wanted}")
        self._check_sizes()
        return self

    def _check_sizes(self) -> None:
        """Raise ValueError unless the cut leaves each split, where it has any images, at least one per class."""
        train, valid, few = TRAIN_SIZE[self.dataset], self.valid_size, self.train_size
        left = f"{valid} leaves nothing to train on: {self.dataset} has {train} training images"
        _check(valid <= train - 10, "valid_size", left)
        most = train - valid - 10
        wanted = f"expected 10 to {most:,} of {self.dataset}'s {train:,} images, or None for all"
        _check(few is None or 10 <= few <= most, "train_size", f"{few}: {wanted}")
        short = f"{valid} is less than one image per class: expected 0 or at least 10"
        _check(valid == 0 or valid >= 10, "valid_size", short)

    @property
    def final_size(self) -> int:
        """Height and width, in pixels, of the last stage's maps: every stage but the first halves, rounding up."""
        return -(-IMAGE_SIZE // 2 ** (len(self.num_blocks) - 1))

    @property
    def published(self) -> str:
        """Which weights are evaluated and published: "average", "slow" (Lookahead's), or "plain"."""
        return "average" if self.ema_half_life else "slow" if self.lookahead else "plain"

    @property
    def classes(self) -> tuple[str, ...]:
        """The ten class names, by label."""
        return CLASSES[self.dataset]


# For 10 to 30 epochs, by the 20 runs of screening.queue; the pairs of fast.queue are under way.
FAST = {
    "alternating_flip": True,
    "batch_size": 256,
    "drop": 0.0,
    "whitening": True,
    "lr": 0.4,
    "nesterov": True,
    "weight_decay": 1e-3,
    "norm_weight_decay": False,
    "lookahead": False,
    "lr_sched": "LinearLR",
    "warmup": 0.1,
}

# Settings by name, as in `-p preset strong`; what is given beside one comes before it.
PRESETS = {
    "fast": FAST,
    # For microcontrollers: 82,030 parameters, less than 96 KB in int8.
    "tiny": FAST | {"num_channels": 14, "num_blocks": (3, 2, 1)},
    # ResNet-18 (He et al. 2015) as it is trained on CIFAR, with a 3x3 stem and no max-pool: 11,173,962 parameters.
    "resnet18": {
        "num_blocks": (2, 2, 2, 2),
        "conv_kernel_sizes": (3, 3, 3, 3),
        "shortcut_kernel_sizes": (1, 1, 1, 1),
        "avg_pool_kernel_size": 4,
        "drop": 0.0,
        "squeeze_and_excitation": False,
        "param_budget": None,
    },
    # Thakur et al. 2023 (arXiv 2306.12100), as their code has it.
    "peer": {
        "crop_padding": "black",
        "se_placement": "stem",
        "drop": 0.0,
        "drop_placement": "output",
        "norm_statistics": "running",
        "grad_clip": 0.1,
    },
    # What is reported to help at this size: not yet measured at its full length here.
    "strong": {
        "drop": 0.0,
        "lookahead": False,
        "nesterov": True,
        "norm_weight_decay": False,
        "label_smoothing": 0.1,
        "ema_half_life": 0.006,  # of 300 epochs 700 steps: a decay of 0.999
        "trivial_augment": True,
        "cutout": 8,
        "mixup": 0.2,
        "mixup_off": 0.05,  # 15 epochs of 300
    },
}


def from_settings(settings: dict) -> Config:
    """The `Config` of settings as they are typed, text or not: `epochs` stands for `max_epochs`, and `preset` for the
    settings that `PRESETS` has under that name, over which those given take precedence. Raises `ConfigError`."""
    given = {"max_epochs" if name == "epochs" else name: value for name, value in settings.items()}
    preset = given.pop("preset", "")
    if not isinstance(preset, str) or preset and preset not in PRESETS:
        near = did_you_mean(preset, PRESETS) if isinstance(preset, str) else ""
        raise ConfigError(f"preset: got {_shown(preset)}, expected one of {', '.join(PRESETS)}{near}")
    return Config(**PRESETS.get(preset, {}) | given)


def as_text(name: str, value: Any) -> str:
    """The text that `value` was typed as. Raises `ConfigError` where papermill's -p has made something else of it than
    a whole number, which cannot be undone: of 1e5, 0.10 or True."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ConfigError(
            f"{name}: got {_shown(value)}, expected text; papermill keeps it as text with -r {name} VALUE"
        )
    return value


def did_you_mean(name: str, known) -> str:
    """`"; did you mean …?"` where a known name is near, else an empty string."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _check(holds: bool, name: str, message: str) -> None:
    if not holds:
        raise ValueError(f"{name}: {message}")


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("expected a list such as [4, 4, 3]") from None


def _is_none(value: Any) -> bool:
    return value is None or isinstance(value, str) and value.strip().lower() in ("none", "null")


def _shown(value: Any) -> str:
    """A value as a piece of a line; not every value has a text, and some have many lines."""
    try:
        text = "".join(c if c.isprintable() else " " for c in repr(value)[:81])
    except Exception:
        return f"what cannot be shown, of type {type(value).__name__}"
    return text if len(text) < 81 else text[:80] + "…"


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    name = ".".join(map(str, first["loc"][:1]))
    return f"{name}: got {_shown(first['input'])}, {message}" if name else message
