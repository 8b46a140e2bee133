"""One frozen, validated `Config`: every setting of a run, under the name its user writes.

It takes what papermill and a shell hand over (`'7'`, `'1e-3'`, `'true'`, `'[4, 4, 3]'`) and refuses everything
else in one line, before data or torch are loaded.
"""

import difflib
import json
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cifar_lib.errors import Refused

CLASSES = {
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "digits": tuple("0123456789"),
}
VALID_SIZE = {"cifar10": 5000, "digits": 180}
TRAIN_SIZE = {"cifar10": 50_000, "digits": 1437}  # images to cut the validation split from
IMAGE_SIZE = 32

Positive = Annotated[int, Field(gt=0)]
Kernels = Annotated[tuple[Positive, ...], Field(min_length=1)]


class ConfigError(Refused):
    """A setting that cannot be; the message is one line that names it."""


class Config(BaseModel):
    """All settings of one run. Raises `ConfigError`, one line, for a bad value or an unknown name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: Literal["cifar10", "digits"] = "cifar10"
    valid_size: int = Field(VALID_SIZE["cifar10"], ge=0)  # images cut from the training set; None: the set's own
    data_augmentation: bool = True  # crop with padding 4 and, where a mirrored image stays true, flip
    data_normalize: bool = True
    loader: Literal["device", "workers"] = "device"
    num_workers: int = Field(8, ge=0)  # processes of the "workers" loader, at most one a core
    batch_size: Positive = 128

    num_blocks: Kernels = (4, 4, 3)
    conv_kernel_sizes: Kernels = (3, 3, 3)
    shortcut_kernel_sizes: Kernels = (1, 1, 1)
    num_channels: Positive = 64  # of the first stage; doubles a stage
    avg_pool_kernel_size: Positive = 8
    drop: float = Field(0.2, ge=0, lt=1)
    squeeze_and_excitation: bool = True
    se_placement: Literal["block", "stem"] = "block"
    param_budget: Positive | None = 5_000_000  # trainable parameters; None lifts it

    lr: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    lookahead: bool = True
    lookahead_k: Positive = 5
    lookahead_alpha: float = Field(0.5, gt=0, le=1)
    lr_sched: Literal["CosineAnnealingLR", "OneCycleLR", "MultiStepLR", "none"] = "CosineAnnealingLR"
    grad_clip: float | None = Field(None, gt=0)  # by value, as arXiv 2306.12100 has it
    max_epochs: Positive = 300
    seed: int = Field(0, ge=0, lt=2**31)

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # bfloat16: of the convolutions, weights stay float32
    compile: Literal["auto", "on", "off"] = "auto"  # torch.compile; auto: on a GPU, where the run is long enough
    cuda_graphs: Literal["auto", "on", "off"] = "auto"  # the steps of a Lookahead window as one launch
    sync_bn: bool = False  # batch norm over all processes of a distributed run

    def __init__(self, **settings: Any):
        known = type(self).model_fields
        for name in settings:
            if name not in known:
                raise ConfigError(f"{name}: no such setting{did_you_mean(name, known)}")
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ConfigError(_one_line(error)) from None

    @field_validator("*", mode="before")
    @classmethod
    def _from_text(cls, value: Any, info) -> Any:
        """Text becomes the value it spells; a truth value is no number and a number no truth value."""
        kind = cls.model_fields[info.field_name].annotation
        if isinstance(value, str) and value.strip().startswith("["):
            value = _parse(value)
        if isinstance(value, str) and value.strip().lower() in ("none", "null") and type(None) in get_args(kind):
            return None
        if isinstance(value, bool) != (kind is bool) and not isinstance(value, str):
            raise ValueError("expected true or false" if kind is bool else "expected a number or a name")
        if isinstance(value, (list, tuple)) and any(isinstance(item, bool) for item in value):
            raise ValueError("expected numbers")
        return value

    @model_validator(mode="before")
    @classmethod
    def _own_valid_size(cls, settings: dict) -> dict:
        """`valid_size` None or unset is the data set's own size: 5,000 of CIFAR-10, 180 of digits."""
        if str(settings.get("valid_size")).lower() in ("none", "null"):
            settings = settings | {"valid_size": VALID_SIZE.get(str(settings.get("dataset", "cifar10")), 0)}
        return settings

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        stages = len(self.num_blocks)
        for name in ("conv_kernel_sizes", "shortcut_kernel_sizes"):
            kernels = getattr(self, name)
            _demand(len(kernels) == stages, name, f"{list(kernels)}: expected {stages} sizes, as num_blocks has")
            _demand(
                all(k % 2 for k in kernels),
                name,
                f"{list(kernels)}: expected odd sizes, which keep an image centred",
            )
        size, pool = self.final_size, self.avg_pool_kernel_size
        _demand(
            size % pool == 0,
            "avg_pool_kernel_size",
            f"{pool} does not fit the last stage's {size}x{size} maps: expected a divisor of {size}",
        )
        train = TRAIN_SIZE[self.dataset]
        _demand(
            self.valid_size <= train - 10,
            "valid_size",
            f"{self.valid_size} leaves nothing to train on: {self.dataset} has {train} training images",
        )
        _demand(
            self.valid_size == 0 or self.valid_size >= 10,
            "valid_size",
            f"{self.valid_size} is less than an image a class: expected 0 or at least 10",
        )
        return self

    @property
    def final_size(self) -> int:
        """Height and width, in pixels, of the last stage's maps: every stage but the first halves, rounding up."""
        return -(-IMAGE_SIZE // 2 ** (len(self.num_blocks) - 1))

    @property
    def classes(self) -> tuple[str, ...]:
        """The ten class names, by label."""
        return CLASSES[self.dataset]


# ResNet-18 (He et al. 2015) as it is trained on CIFAR, with a 3x3 stem and no max-pool: 11,173,962 parameters.
RESNET18 = {
    "num_blocks": (2, 2, 2, 2),
    "conv_kernel_sizes": (3, 3, 3, 3),
    "shortcut_kernel_sizes": (1, 1, 1, 1),
    "avg_pool_kernel_size": 4,
    "drop": 0.0,
    "squeeze_and_excitation": False,
    "param_budget": None,
}


def of_training(settings: dict) -> Config:
    """The settings of one training as they are typed: `epochs` stands for `max_epochs` and is 1 unless it is given."""
    rest = {name: value for name, value in settings.items() if name != "epochs"}
    return Config(**{"max_epochs": settings.get("epochs", 1)} | rest)


def did_you_mean(name: str, known) -> str:
    """`"; did you mean …?"` where a known name is near, else an empty string."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _demand(holds: bool, name: str, message: str) -> None:
    if not holds:
        raise ValueError(f"{name}: {message}")


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError("expected a list such as [4, 4, 3]") from None


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    said = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    name = ".".join(map(str, first["loc"][:1]))
    return f"{name}: got {first['input']!r}, {said}" if name else said
