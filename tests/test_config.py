"""Config: text becomes values, a wrong setting gets one line that names it, and none of it needs torch."""

import decimal
import fractions
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cifar_lib import paths
from cifar_lib.config import CLASSES, PRESETS, Config, ConfigError, from_settings

COUNTS = (
    "batch_size", "num_channels", "avg_pool_kernel_size", "lookahead_k", "max_epochs", "se_reduction", "param_budget",
)  # fmt: skip
SIZES = ("valid_size", "num_workers", "seed", "cutout", "progressive_size")
FLOATS = (
    "drop", "lr", "momentum", "weight_decay", "lookahead_alpha", "grad_clip", "mixup", "label_smoothing",
    "ema_half_life", "mixup_off", "progressive_resizing", "warmup",
)  # fmt: skip
LISTS = ("num_blocks", "conv_kernel_sizes", "shortcut_kernel_sizes")
FLAGS = (
    "data_augmentation", "data_normalize", "squeeze_and_excitation", "lookahead", "sync_bn", "trivial_augment",
    "nesterov", "norm_weight_decay", "deterministic", "alternating_flip", "zero_init_residual", "whitening",
)  # fmt: skip
NAMES = (
    "dataset", "loader", "crop_padding", "se_placement", "drop_placement", "norm_statistics", "lr_sched", "device",
    "precision", "compile", "cuda_graphs", "init",
)  # fmt: skip


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
        ("conv_kernel_sizes", "5, 3,3", (5, 3, 3)),
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
    message = refusal(**{name: value})
    assert message.startswith(f"{name}: got {value!r}, ")
    assert "\n" not in message


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [-1, 1.5, True, math.nan, "-1", "many", "", [1]])
def test_no_size(name, value):
    message = refusal(**{name: value})
    assert message.startswith(f"{name}: got {value!r}, ")
    assert "\n" not in message


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", [-0.1, True, math.nan, math.inf, -math.inf, "nan", "inf", "-1e-3", "fast", "", [0.1]])
def test_no_float(name, value):
    message = refusal(**{name: value})
    assert message.startswith(f"{name}: got {value!r}, ")
    assert "\n" not in message


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
        ("ema_half_life", 1.1),
        ("ema_half_life", -0.1),
        ("mixup_off", 1.1),
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
    message = refusal(**{name: value})
    assert message.startswith(f"{name}: ")
    assert "\n" not in message


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", ["maybe", "", "2", "nan", 0, 1, 2, 0.5, None, [True]])
def test_no_flag(name, value):
    message = refusal(**{name: value})
    assert message.startswith(f"{name}: got ")
    assert "\n" not in message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["nonesuch", "", "cifar10\nstem", 0, 1.5, True, None, ["cifar10"]])
def test_no_name(name, value):
    message = refusal(**{name: value})
    assert message.startswith(f"{name}: got ")
    assert "\n" not in message


@pytest.mark.parametrize("name", COUNTS[:-1] + ("lr", "seed", "num_workers", "drop"))
@pytest.mark.parametrize("value", [None, "None"])
def test_none_only_where_it_means_something(name, value):
    assert refusal(**{name: value}).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("max_epcohs", "max_epochs"), ("epochs", "max_epochs"), ("num_chanels", "num_channels"), ("learning_rate", "")],
)
def test_unknown_name(name, meant):
    message = refusal(**{name: 1})
    assert message == f"{name}: no such setting" + (f"; did you mean {meant}?" if meant else "")


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
    message = refusal(**settings)
    assert message.startswith(f"{named}: ")
    assert "\n" not in message


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


DEVICE_ALONE = {"trivial_augment": True, "cutout": 8, "mixup": 0.2, "alternating_flip": True}
DEVICE_ALONE |= {"progressive_resizing": 0.5}


@pytest.mark.parametrize("name", DEVICE_ALONE)
def test_loader_processes_only_crop_and_flip(name):
    assert (
        refusal(loader="workers", **{name: DEVICE_ALONE[name]})
        == f"loader: workers: expected device, which alone has {name}"
    )


def test_nesterov_needs_momentum():
    assert refusal(nesterov=True, momentum=0).startswith("nesterov: true: expected a momentum above 0")


@pytest.mark.parametrize(("train_size", "valid_size"), [(9, 0), (50_000, 0), (44_991, 5000), (10_000, 40_000)])
def test_no_train_size(train_size, valid_size):
    message = refusal(train_size=train_size, valid_size=valid_size)
    expected = f"expected 10 to {50_000 - valid_size - 10:,} of cifar10's 50,000 images, or None for all"
    assert message == f"train_size: {train_size}: {expected}"


@pytest.mark.parametrize("name", PRESETS)
def test_preset_gives_way_to_what_is_given_beside_it(name):
    assert from_settings({"preset": name}) == Config(**PRESETS[name])
    given = from_settings({"preset": name, "epochs": "3", "drop": "0.2"})
    assert (given.max_epochs, given.drop) == (3, 0.2)


def test_unknown_preset():
    with pytest.raises(ConfigError, match="^preset: got 'stron', expected one of .*; did you mean strong[?]$"):
        from_settings({"preset": "stron"})


def test_strong_recipe_is_under_the_budget():
    assert Config(**PRESETS["strong"]).param_budget == 5_000_000


def steady(examples: int):
    """So many cases, the same ones every time."""
    return settings(max_examples=examples, derandomize=True, deadline=None)


@st.composite
def configs(draw) -> Config:
    """Any valid `Config`: what must fit together is drawn together."""
    share, least = st.floats(0, 1, exclude_max=True), st.integers(1, 2**31 - 1)
    stages = draw(st.integers(1, 7))
    odd = st.lists(st.integers(0, 50).map(lambda n: 2 * n + 1), min_size=stages, max_size=stages)
    size = -(-32 // 2 ** (stages - 1))
    given = {
        "dataset": draw(st.sampled_from(["cifar10", "digits"])),
        "valid_size": draw(st.just(0) | st.integers(10, 600)),
        "train_size": draw(st.none() | st.integers(10, 800)),
        "num_blocks": draw(st.lists(least, min_size=stages, max_size=stages)),
        "conv_kernel_sizes": draw(odd),
        "shortcut_kernel_sizes": draw(odd),
        "avg_pool_kernel_size": draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0])),
        "loader": draw(st.sampled_from(["device", "workers"])),
        "momentum": draw(share),
        "lookahead_alpha": draw(st.floats(0, 1, exclude_min=True)),
        "grad_clip": draw(st.none() | st.floats(0, exclude_min=True, allow_infinity=False)),
        "param_budget": draw(st.none() | least),
        "lr": draw(st.floats(0, exclude_min=True, allow_infinity=False)),
        "weight_decay": draw(st.floats(0, allow_infinity=False)),
        **{name: draw(least) for name in ("batch_size", "num_channels", "lookahead_k", "max_epochs")},
        **{name: draw(st.integers(0, 2**31 - 1)) for name in ("num_workers", "seed")},
        **{name: draw(share) for name in ("drop", "label_smoothing", "ema_half_life", "mixup_off", "warmup")},
        **{name: draw(st.booleans()) for name in set(FLAGS) - {"nesterov", "trivial_augment", "alternating_flip"}},
        "se_placement": draw(st.sampled_from(["block", "stem"])),
        "crop_padding": draw(st.sampled_from(["black", "mean", "reflect"])),
        "drop_placement": draw(st.sampled_from(["branch", "output"])),
        "norm_statistics": draw(st.sampled_from(["re-estimated", "running"])),
        "lr_sched": draw(st.sampled_from(["CosineAnnealingLR", "LinearLR", "OneCycleLR", "MultiStepLR", "none"])),
        "device": draw(st.sampled_from(["auto", "cpu", "cuda", "mps"])),
        "precision": draw(st.sampled_from(["auto", "float32", "bfloat16"])),
        **{name: draw(st.sampled_from(["auto", "on", "off"])) for name in ("compile", "cuda_graphs")},
    }
    given["nesterov"] = given["momentum"] > 0 and draw(st.booleans())
    if given["loader"] == "device":
        given |= {"trivial_augment": draw(st.booleans()), "cutout": draw(st.integers(0, 32))}
        given["mixup"] = draw(st.floats(0, allow_infinity=False))
    return Config(**given)


def spelled(value, style) -> str:
    """A value as text: as JSON, as Python prints it, or between spaces and in capitals, but for names."""
    if isinstance(value, str):
        return f" {value} " if style == "capitals" else value
    value = list(value) if isinstance(value, tuple) else value
    text = json.dumps(value) if style == "JSON" else str(value)
    return f" {text.upper()} " if style == "capitals" else text


@steady(300)
@given(config=configs(), style=st.sampled_from(["JSON", "Python", "capitals"]))
def test_text_of_every_value_makes_the_same_config(config, style):
    texts = {name: spelled(value, style) for name, value in config}
    assert Config(**texts) == config
    assert Config(**json.loads(config.model_dump_json())) == config


class Hostile:
    """Has no text."""

    def __repr__(self):
        raise RuntimeError


class Tall:
    def __repr__(self):
        return "two\nlines"


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals()
SPELT = st.sampled_from(
    ["none", "NULL", "true", "False", "yes", "on", "1e-3", "1_000", "+7", "7.0", "0x10", "1e400", "-0", "nan", "[",
     "[[]]", "[1e999, 1]", "[null]", "[4, 4, 3]", "(4, 4, 3)", "cifar10", "stem", "\ud800", "a\nb", "\u0663", "7\0",
     "9" * 5000, "[" * 10**5, "[" + "9" * 5000 + "]", "a" * 10**5]
)  # fmt: skip
ODD = st.sampled_from(
    [10**5000, -(10**5000), [10**5000], [1] * 10**5, {3, 4}, Hostile(), [Hostile()], Tall(), object, len, range(1, 4),
     np.float32(0.5), np.int64(3), np.bool_(True), np.ones(3), np.ones((99, 99)), decimal.Decimal("NaN"),
     fractions.Fraction(1, 3), math.nan, -math.inf, 10**400, 1j, {"a": [1]}, [[1]], [None], ["1", "2", "3"]]
)  # fmt: skip
NESTED = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
JUNK = SPELT | ODD | NESTED
NAME = st.sampled_from(sorted(Config.model_fields))


def answer(function, *arguments, **settings) -> Config | None:
    """What comes of it: a `Config`, or None for a line of a `ConfigError`. Nothing else may come."""
    try:
        return function(*arguments, **settings)
    except ConfigError as error:
        message = str(error)
        assert message.isprintable() and ": " in message and len(message) < 400
        return None


@steady(1500)
@given(name=NAME, value=JUNK)
def test_any_value_of_any_setting_is_taken_or_named_in_a_line(name, value):
    config = answer(Config, **{name: value})
    if config:
        assert Config(**json.loads(config.model_dump_json())) == config
        assert Config(**{field: spelled(got, "JSON") for field, got in config}) == config


@steady(200)
@given(given=st.dictionaries(NAME, JUNK, max_size=6), preset=st.just("") | st.sampled_from(sorted(PRESETS)) | JUNK)
def test_any_settings_at_once_are_taken_or_one_is_named(given, preset):
    answer(from_settings, {"preset": preset, **given})


@steady(100)
@given(name=st.text() | NAME.map(str.upper), value=JUNK)
@example(name="a\nb", value=1)
@example(name="\ud800", value=1)
@example(name="a" * 10**5, value=1)
def test_any_other_name_is_no_setting(name, value):
    if name not in Config.model_fields:
        assert answer(Config, **{name: value}) is None
