"""Config: text becomes values, a wrong setting gets one line that names it, and none of it needs torch."""

import json
import math
import subprocess
import sys

import pytest
from pydantic import ValidationError

from cifar_lib import paths
from cifar_lib.config import CLASSES, PRESETS, Config, ConfigError, of_training, over_preset, typed

COUNTS = ("batch_size", "num_channels", "avg_pool_kernel_size", "lookahead_k", "max_epochs", "param_budget")
SIZES = ("valid_size", "num_workers", "seed", "cutout", "mixup_off")
FLOATS = (
    "drop", "lr", "momentum", "weight_decay", "lookahead_alpha", "grad_clip", "mixup", "label_smoothing", "ema_decay"
)  # fmt: skip
LISTS = ("num_blocks", "conv_kernel_sizes", "shortcut_kernel_sizes")
FLAGS = (
    "data_augmentation", "data_normalize", "squeeze_and_excitation", "lookahead", "sync_bn", "trivial_augment",
    "nesterov", "norm_weight_decay",
)  # fmt: skip
NAMES = ("dataset", "loader", "se_placement", "lr_sched", "device", "precision", "compile", "cuda_graphs")


def refusal(**settings) -> str:
    with pytest.raises(ConfigError) as caught:
        Config(**settings)
    return str(caught.value)


def python(code: str, *flags: str) -> str:
    """What `python -c code` prints, run from the project's root."""
    command = [sys.executable, *flags, "-c", code]
    return subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


def test_every_setting_is_covered_here():
    assert set(COUNTS + ("train_size",) + SIZES + FLOATS + LISTS + FLAGS + NAMES) == set(Config.model_fields)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_epochs", "7", 7),
        ("max_epochs", " 7 ", 7),
        ("batch_size", "256", 256),
        ("valid_size", "0", 0),
        ("seed", "3", 3),
        ("lr", "1e-3", 0.001),
        ("lr", "0.05", 0.05),
        ("lr", "1", 1.0),
        ("drop", "0", 0.0),
        ("grad_clip", "0.1", 0.1),
        ("grad_clip", "none", None),
        ("grad_clip", "null", None),
        ("param_budget", "None", None),
        ("valid_size", "None", 5000),
        ("lookahead", "false", False),
        ("lookahead", "True", True),
        ("data_augmentation", "FALSE", False),
        ("num_blocks", "[2, 2, 2]", (2, 2, 2)),
        ("conv_kernel_sizes", " [5,3,3]", (5, 3, 3)),
        ("se_placement", "stem", "stem"),
        ("lr_sched", "none", "none"),
    ],
)
def test_text_becomes_the_value_it_spells(name, text, value):
    got = getattr(Config(**{name: text}), name)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.5, True, False, math.nan, math.inf, "0", "nan", "seven", "", "true", [7]])
def test_no_count(name, value):
    said = refusal(**{name: value})
    assert said.startswith(f"{name}: got {value!r}, ")
    assert "\n" not in said


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [-1, 1.5, True, math.nan, "-1", "many", "", [1]])
def test_no_size(name, value):
    said = refusal(**{name: value})
    assert said.startswith(f"{name}: got {value!r}, ")
    assert "\n" not in said


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", [-0.1, True, math.nan, math.inf, -math.inf, "nan", "inf", "-1e-3", "fast", "", [0.1]])
def test_no_float(name, value):
    said = refusal(**{name: value})
    assert said.startswith(f"{name}: got {value!r}, ")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", 0),
        ("grad_clip", 0),
        ("lookahead_alpha", 0),
        ("lookahead_alpha", 1.01),
        ("drop", 1),
        ("momentum", 1),
        ("seed", 2**31),
        ("cutout", 33),
        ("label_smoothing", 1),
        ("ema_decay", 1),
        ("train_size", 0),
    ],
)
def test_out_of_range(name, value):
    assert refusal(**{name: value}).startswith(f"{name}: got {value!r}, expected ")


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    "value",
    [
        [],
        3,
        None,
        True,
        [0, 1, 1],
        [-1, 1, 1],
        [1, True, 1],
        [1, 1.5, 1],
        [1, "x", 1],
        "[1, 1",
        "[1, true, 1]",
        "[]",
        "3",
    ],
)
def test_no_list(name, value):
    said = refusal(**{name: value})
    assert said.startswith(f"{name}: ")
    assert "\n" not in said


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", ["maybe", "", "2", "nan", 0, 1, 2, 0.5, None, [True]])
def test_no_flag(name, value):
    said = refusal(**{name: value})
    assert said.startswith(f"{name}: got ")
    assert "\n" not in said


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["nonesuch", "", "cifar10\nstem", 0, 1.5, True, None, ["cifar10"]])
def test_no_name(name, value):
    said = refusal(**{name: value})
    assert said.startswith(f"{name}: got ")
    assert "\n" not in said


@pytest.mark.parametrize("name", COUNTS[:-1] + ("lr", "seed", "num_workers", "drop"))
@pytest.mark.parametrize("value", [None, "None"])
def test_none_only_where_it_means_something(name, value):
    assert refusal(**{name: value}).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("max_epcohs", "max_epochs"), ("epochs", "max_epochs"), ("num_chanels", "num_channels"), ("learning_rate", "")],
)
def test_unknown_name(name, meant):
    said = refusal(**{name: 1})
    assert said == f"{name}: no such setting" + (f"; did you mean {meant}?" if meant else "")


@pytest.mark.parametrize(
    ("named", "settings"),
    [
        ("conv_kernel_sizes", {"num_blocks": [4, 4]}),
        ("conv_kernel_sizes", {"conv_kernel_sizes": [3, 3]}),
        ("conv_kernel_sizes", {"conv_kernel_sizes": [3, 4, 3]}),
        ("shortcut_kernel_sizes", {"shortcut_kernel_sizes": [1, 1, 1, 1]}),
        ("shortcut_kernel_sizes", {"shortcut_kernel_sizes": [1, 2, 1]}),
        ("avg_pool_kernel_size", {"avg_pool_kernel_size": 9}),
        ("avg_pool_kernel_size", {"avg_pool_kernel_size": 16}),
        ("avg_pool_kernel_size", {"avg_pool_kernel_size": 3}),
        (
            "avg_pool_kernel_size",
            {"num_blocks": [1] * 4, "conv_kernel_sizes": [3] * 4, "shortcut_kernel_sizes": [1] * 4},
        ),
        ("valid_size", {"valid_size": 50_000}),
        ("valid_size", {"valid_size": 49_991}),
        ("valid_size", {"valid_size": 9}),
        ("valid_size", {"dataset": "digits", "valid_size": 5000}),
    ],
)
def test_impossible_together(named, settings):
    said = refusal(**settings)
    assert said.startswith(f"{named}: ")
    assert "\n" not in said


@pytest.mark.parametrize(("dataset", "size"), [("cifar10", 5000), ("digits", 180)])
@pytest.mark.parametrize("unset", [{}, {"valid_size": None}, {"valid_size": "None"}])
def test_valid_size_is_the_data_sets_own(dataset, size, unset):
    assert Config(dataset=dataset, **unset).valid_size == size


def test_what_the_user_asked_for_is_the_default():
    config = Config()
    assert (config.num_blocks, config.num_channels, config.drop) == ((4, 4, 3), 64, 0.2)
    assert (config.lr, config.momentum, config.weight_decay) == (0.1, 0.9, 5e-4)
    assert (config.lookahead_k, config.lookahead_alpha, config.lr_sched) == (5, 0.5, "CosineAnnealingLR")
    assert (config.batch_size, config.max_epochs, config.valid_size, config.num_workers) == (128, 300, 5000, 8)
    assert config.grad_clip is None
    assert config.squeeze_and_excitation and config.se_placement == "block" and config.param_budget == 5_000_000


@pytest.mark.parametrize(
    "settings",
    [{}, *PRESETS.values(), {"dataset": "digits", "lr": 0.1 + 0.2, "grad_clip": 0.1, "num_blocks": "[1, 2, 1]"}],
)
def test_json_round_trip(settings):
    config = Config(**settings)
    assert Config(**json.loads(config.model_dump_json())) == config
    assert Config(**json.loads(json.dumps(config.model_dump()))) == config


def test_frozen():
    with pytest.raises(ValidationError):
        Config().lr = 1
    assert hash(Config()) == hash(Config())


def test_one_stage_and_six():
    assert Config(num_blocks=[1], conv_kernel_sizes=[3], shortcut_kernel_sizes=[1]).final_size == 32
    lists = {name: [1] * 6 for name in LISTS}
    assert Config(**lists, avg_pool_kernel_size=1).final_size == 1


@pytest.mark.parametrize("dataset", CLASSES)
def test_ten_classes(dataset):
    assert Config(dataset=dataset).classes == CLASSES[dataset]
    assert len(set(CLASSES[dataset])) == 10


REFUSE = """
import sys
from cifar_lib import Config, ConfigError
for settings in ({"lr": "nan"}, {"max_epcohs": 1}, {"avg_pool_kernel_size": 9}, {"lookahead": 1}, {"valid_size": 9}):
    try:
        print(Config(**settings))
    except ConfigError as error:
        print(error)
print(Config(lr="1e-3", num_blocks="[4, 4, 3]"))
print(sorted({"torch", "torchvision", "sklearn"} & set(sys.modules)))
"""


def test_no_torch_and_optimised_python_the_same():
    plain = python(REFUSE)
    assert plain.splitlines()[-1] == "[]"
    assert [line.split(":")[0] for line in plain.splitlines()[:5]] == [
        "lr",
        "max_epcohs",
        "avg_pool_kernel_size",
        "lookahead",
        "valid_size",
    ]
    assert python(REFUSE, "-O") == plain


@pytest.mark.parametrize("settings", [{"trivial_augment": True}, {"cutout": 8}, {"mixup": 0.2}])
def test_loader_processes_only_crop_and_flip(settings):
    assert refusal(loader="workers", **settings).startswith("loader: workers: expected device, which alone has ")


def test_nesterov_needs_momentum():
    assert refusal(nesterov=True, momentum=0).startswith("nesterov: true: expected a momentum above 0")


@pytest.mark.parametrize(("train_size", "valid_size"), [(9, 0), (50_000, 0), (44_991, 5000), (10_000, 40_000)])
def test_no_train_size(train_size, valid_size):
    said = refusal(train_size=train_size, valid_size=valid_size)
    expected = f"expected 10 to {50_000 - valid_size - 10:,} of cifar10's 50,000 images, or None for all"
    assert said == f"train_size: {train_size}: {expected}"


@pytest.mark.parametrize("name", PRESETS)
def test_preset_gives_way_to_what_is_given_beside_it(name):
    assert of_training({"preset": name}) == Config(max_epochs=1, **PRESETS[name])
    assert of_training({"preset": name, "epochs": "3", "drop": "0.5"}).drop == 0.5


def test_unknown_preset():
    with pytest.raises(ConfigError, match="^preset: got 'stron', expected one of .*; did you mean strong[?]$"):
        of_training({"preset": "stron"})


def test_strong_recipe_is_under_the_budget():
    assert Config(**PRESETS["strong"]).param_budget == 5_000_000


@pytest.mark.parametrize("name", PRESETS)
def test_preset_over_the_defaults_of_a_notebook(name):
    assert over_preset(Config(max_epochs=1), name) == of_training({"preset": name})
    given = {"lr": 0.3, "dataset": "digits", "valid_size": None, "num_channels": 8}
    assert over_preset(Config(**given), name) == typed(given | {"preset": name})
    assert over_preset(Config(**given), "") == Config(**given)
