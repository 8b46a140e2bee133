"""The network: exact counts, and each part equal to a plain computation of what it is said to be."""

import copy
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F
from torchvision import ops

from cifar_lib.config import PRESETS, Config
from cifar_lib.models.folding import fold
from cifar_lib.models.resnet import (
    BudgetError,
    ResidualBlock,
    SqueezeExcitation,
    build,
    build_on_meta,
    conv,
    macs,
    parameter_table,
    parameters,
)

TINY = {"num_channels": 4, "num_blocks": (1, 1, 1)}


def shape(blocks, pool, channels=4, kernel=3, shortcut=1, **others) -> Config:
    stages = len(blocks)
    return Config(
        num_blocks=blocks,
        conv_kernel_sizes=[kernel] * stages,
        shortcut_kernel_sizes=[shortcut] * stages,
        avg_pool_kernel_size=pool,
        num_channels=channels,
        **others,
    )


SHAPES = {
    "the default": Config(),
    "no SE": Config(squeeze_and_excitation=False),
    "SE after the stem": Config(se_placement="stem"),
    "one stage": shape([2], 32),
    "one stage, cells left": shape([1], 8),
    "two stages": shape([1, 2], 16, channels=20),
    "four stages": shape([2, 1, 1, 3], 4, channels=16),
    "four stages, cells left": shape([1, 1, 1, 1], 2),
    "six stages": shape([1] * 6, 1, channels=2),
    "kernels 5": shape([1, 2, 1], 8, channels=32, kernel=5),
    "shortcuts 3": shape([1, 2, 1], 4, channels=33, shortcut=3, se_placement="stem"),
    "kernels of a stage": Config(conv_kernel_sizes=[5, 3, 1], shortcut_kernel_sizes=[3, 1, 5], num_channels=8),
    "one channel": shape([1, 1], 8, channels=1),
}


def by_hand(c: Config) -> int:
    """Trainable parameters, from the description alone."""

    def se(channels: int) -> int:
        squeezed = max(1, channels // 16)
        return 2 * channels * squeezed + squeezed + channels

    w, stages = c.num_channels, len(c.num_blocks)
    total = 3 * w * 9 + 2 * w + (se(w) if c.squeeze_and_excitation and c.se_placement == "stem" else 0)
    inputs = w
    for i, (blocks, k, s) in enumerate(zip(c.num_blocks, c.conv_kernel_sizes, c.shortcut_kernel_sizes, strict=True)):
        outputs = w * 2**i
        total += inputs * outputs * k * k + (2 * blocks - 1) * outputs * outputs * k * k + blocks * 4 * outputs
        total += (inputs * outputs * s * s + 2 * outputs) if i else 0
        total += blocks * se(outputs) if c.squeeze_and_excitation and c.se_placement == "block" else 0
        inputs = outputs
    cells = (-(-32 // 2 ** (stages - 1)) // c.avg_pool_kernel_size) ** 2
    return total + inputs * cells * 10 + 10


def shaken(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The module with no weight, bias or statistic at its starting value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            if tensor.is_floating_point():  # scales and variances around 1, the rest around 0
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + (0.5 if tensor.dim() == 1 else -0.5))
    return module


def pixels(n: int = 3, channels: int = 3, size: int = 32) -> torch.Tensor:
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(1))


# ---------------------------------------------------------------------------------------------------------- counts


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"se_placement": "stem"}, 4_697_742),
        ({}, 4_733_610),
        ({"squeeze_and_excitation": False}, 4_697_162),
        (PRESETS["resnet18"], 11_173_962),
    ],
    ids=["stem", "block", "no SE", "ResNet-18"],
)
def test_exact_count(settings, count):
    assert parameters(build_on_meta(Config(**settings))) == count


@pytest.mark.parametrize("placement", ["stem", "block"])
def test_both_placements_are_under_the_budget(placement):
    assert parameters(build(Config(se_placement=placement))) < 5_000_000


@pytest.mark.parametrize("name", SHAPES)
def test_count_is_the_closed_form(name):
    assert parameters(build_on_meta(SHAPES[name])) == by_hand(SHAPES[name])


@pytest.mark.parametrize("name", SHAPES)
def test_table_totals_agree(name):
    model = build_on_meta(SHAPES[name])
    table = parameter_table(model)
    kinds = table.drop(columns=["parameters", "share"])
    assert (kinds.sum(axis=1) == table.parameters).all()
    assert table.parameters.drop("total").sum() == table.parameters["total"] == parameters(model)
    assert list(table.index) == ["stem", *(f"stage {i + 1}" for i in range(len(model.stages))), "linear", "total"]
    assert table.share.drop("total").sum() == pytest.approx(1)


def test_table_counts_se_apart():
    total = {
        place: parameter_table(build_on_meta(Config(se_placement=place))).loc["total"] for place in ("stem", "block")
    }
    assert total["stem"]["SE"] == 2 * 64 * 4 + 4 + 64
    assert total["block"]["SE"] == 4_733_610 - 4_697_162
    assert total["stem"].drop(["SE", "parameters", "share"]).equals(total["block"].drop(["SE", "parameters", "share"]))


def test_macs():
    counts = macs(Config())
    assert counts["total"] == 798_724_608 == sum(n for name, n in counts.items() if name != "total")
    assert counts["stem"] == 32 * 32 * 64 * 3 * 3 * 3
    assert counts["linear"] == 256 * 10
    assert macs(Config(se_placement="stem"))["stem"] == counts["stem"] + 2 * 64 * 4


# ---------------------------------------------------------------------------------------------------------- budget


def test_above_the_budget_is_refused_in_one_line():
    with pytest.raises(BudgetError) as caught:
        build(Config(num_channels=128))
    message = str(caught.value)
    assert message.startswith("param_budget: ") and "5,000,000" in message and "\n" not in message
    assert f"{by_hand(Config(num_channels=128)):,}" in message


def test_the_budget_itself_is_within():
    count = by_hand(Config(**TINY))
    assert parameters(build(Config(**TINY, param_budget=count))) == count
    with pytest.raises(BudgetError):
        build(Config(**TINY, param_budget=count - 1))


def test_budget_lifted():
    assert parameters(build(Config(**PRESETS["resnet18"]))) == 11_173_962


# ----------------------------------------------------------------------------------------------------------- parts


@pytest.mark.parametrize("channels", [1, 8, 16, 40, 256])
def test_se_equals_torchvisions(channels):
    ours, theirs = SqueezeExcitation(channels, 16), ops.SqueezeExcitation(channels, max(1, channels // 16))
    theirs.load_state_dict(ours.state_dict())
    x = pixels(4, channels, 7)
    assert torch.equal(ours(x), theirs(x))


def test_gates_are_between_0_and_1():
    se, x = SqueezeExcitation(32, 16), pixels(5, 32, 8)
    gate = se.gate(x)
    assert gate.shape == (5, 32, 1, 1)
    assert (gate > 0).all() and (gate < 1).all()
    assert torch.equal(se(x), x * gate)


@pytest.mark.parametrize(("stride", "side"), [(1, 8), (2, 4)])
def test_a_1x1_convolution_is_one_matrix_for_every_pixel(stride, side):
    layer, x = conv(3, 5, 1, stride), pixels(2, 3, 8)
    wanted = torch.einsum("oi,nihw->nohw", layer.weight[..., 0, 0], x[..., ::stride, ::stride])
    torch.testing.assert_close(layer(x), wanted)
    assert layer(x).shape == (2, 5, side, side) and layer.bias is None


def plainly(block: ResidualBlock, x: torch.Tensor, stride: int) -> torch.Tensor:
    """conv-BN-ReLU-conv-BN, SE, plus the shortcut, ReLU: with the block's weights, by functions alone."""

    def norm(y, prefix):
        mean, var = (None, None) if block.training else (w[prefix + ".running_mean"], w[prefix + ".running_var"])
        return F.batch_norm(y, mean, var, w[prefix + ".weight"], w[prefix + ".bias"], training=block.training)

    w = block.state_dict()
    half = w["conv1.weight"].shape[-1] // 2
    y = F.relu(norm(F.conv2d(x, w["conv1.weight"], stride=stride, padding=half), "bn1"))
    y = norm(F.conv2d(y, w["conv2.weight"], padding=half), "bn2")
    if "se.fc1.weight" in w:
        gate = F.conv2d(F.adaptive_avg_pool2d(y, 1), w["se.fc1.weight"], w["se.fc1.bias"]).relu()
        y = y * F.conv2d(gate, w["se.fc2.weight"], w["se.fc2.bias"]).sigmoid()
    if "shortcut.0.weight" in w:
        weight = w["shortcut.0.weight"]
        x = norm(F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2), "shortcut.1")
    return F.relu(y + x)


def block_of(inputs, outputs, stride=1, kernel=3, shortcut=1, se=True, drop=0.0, **settings) -> ResidualBlock:
    kernels = {"conv_kernel_sizes": (kernel,) * 3, "shortcut_kernel_sizes": (shortcut,) * 3}
    config = Config(**kernels, squeeze_and_excitation=se, drop=drop, **settings)
    return ResidualBlock(inputs, outputs, stride, config, stage=0)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("se", [False, True], ids=["plain", "SE"])
@pytest.mark.parametrize(
    ("inputs", "outputs", "stride", "kernel", "shortcut"),
    [(16, 16, 1, 3, 1), (8, 16, 2, 3, 1), (8, 16, 1, 5, 1), (8, 8, 2, 3, 3), (8, 12, 2, 1, 5)],
)
def test_block_equals_the_plain_computation(inputs, outputs, stride, kernel, shortcut, se, training):
    block = shaken(block_of(inputs, outputs, stride, kernel, shortcut, se)).train(training)
    x = pixels(4, inputs, 8)
    wanted = plainly(block, x, stride)
    got = block(x)
    assert got.shape == (4, outputs, 8 // stride, 8 // stride)
    torch.testing.assert_close(got, wanted)
    assert (got > 0).any() and (got == 0).any()  # the last ReLU has something to do


def test_dropout_at_the_output_comes_after_the_last_relu():
    block = shaken(block_of(8, 8, drop=0.25, drop_placement="output")).train()
    x = pixels(8, 8, 16)
    undropped = plainly(block, x, 1)
    got = block(x)
    kept = got != 0
    torch.testing.assert_close(got[kept], undropped[kept] / 0.75)
    alive = undropped > 0
    assert (alive & ~kept).sum() / alive.sum() == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(block.eval()(x), plainly(block, x, 1))


def test_dropout_in_the_branch_comes_before_the_second_convolution():
    block = shaken(block_of(8, 8, drop=0.25, drop_placement="branch")).train()
    x, seen = pixels(8, 8, 16), []
    block.conv2.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    out = block(x)
    undropped = torch.relu(copy.deepcopy(block.bn1)(block.conv1(x)))
    kept = seen[0] != 0
    torch.testing.assert_close(seen[0][kept], undropped[kept] / 0.75)
    alive = undropped > 0
    assert (alive & ~kept).sum() / alive.sum() == pytest.approx(0.25, abs=0.03)
    y = block.se(copy.deepcopy(block.bn2)(block.conv2(seen.pop())))
    torch.testing.assert_close(out, torch.relu(y + x))  # the shortcut and the sum are whole
    torch.testing.assert_close(block.eval()(x), plainly(block, x, 1))


@pytest.mark.parametrize(("placement", "shares"), [("branch", (0.3, 0)), ("output", (0, 0.3))])
def test_every_block_has_the_drop_once(placement, shares):
    model = build_on_meta(Config(drop=0.3, drop_placement=placement))
    assert {(block.relu1.p, block.relu2.p) for stage in model.stages for block in stage} == {shares}
    assert parameters(model) == 4_733_610


def test_stem_se_follows_the_stems_relu_and_is_the_only_one():
    model = shaken(build(Config(**TINY, se_placement="stem"))).eval()
    x = pixels()
    y = model.stem.bn(model.stem.conv(x)).relu()
    assert (y == 0).any()
    assert torch.equal(model.stem(x), y * model.stem.se.gate(y))
    assert [name for name, m in model.named_modules() if isinstance(m, SqueezeExcitation)] == ["stem.se"]


def test_block_se_is_one_a_block():
    model = build_on_meta(Config())
    named = [name for name, m in model.named_modules() if isinstance(m, SqueezeExcitation)]
    assert named == [f"stages.{i}.{j}.se" for i, blocks in enumerate((4, 4, 3)) for j in range(blocks)]


def test_shortcuts_only_where_the_shape_changes():
    model = build_on_meta(Config())
    plain = [[isinstance(block.shortcut, torch.nn.Identity) for block in stage] for stage in model.stages]
    assert plain == [[True] * 4, [False, True, True, True], [False, True, True]]


# --------------------------------------------------------------------------------------------------------- network


@pytest.mark.parametrize("placement", ["stem", "block"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_network_is_its_parts_in_order(placement, training):
    config = Config(num_channels=4, num_blocks=(2, 1, 2), drop=0, se_placement=placement)
    model, x = shaken(build(config)).double().train(training), pixels().double()
    conv, norm = model.stem.conv, copy.deepcopy(model.stem.bn)
    y = F.relu(norm(F.conv2d(x, conv.weight, padding=1)))
    y = y * model.stem.se.gate(y) if placement == "stem" else y
    for i, stage in enumerate(model.stages):
        for j, block in enumerate(stage):
            y = plainly(block, y, 2 if i and not j else 1)
    wanted = F.linear(y.mean((2, 3)), model.linear.weight, model.linear.bias)
    torch.testing.assert_close(model(x), wanted)


@pytest.mark.parametrize("name", SHAPES)
def test_any_shape_gives_ten_logits(name):
    model = build_on_meta(SHAPES[name])
    assert model(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)
    sides = []
    y = model.stem(torch.empty(2, 3, 32, 32, device="meta"))
    for stage in model.stages:
        y = stage(y)
        sides.append(tuple(y.shape[1:]))
    width = SHAPES[name].num_channels
    assert sides == [(width * 2**i, 32 // 2**i, 32 // 2**i) for i in range(len(sides))]


def test_every_parameter_learns():
    model = build(Config(**TINY)).train()
    F.cross_entropy(model(pixels(8)), torch.arange(8)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert all(p.grad.any() for name, p in model.named_parameters() if ".se." not in name)


def test_evaluated_images_do_not_see_each_other():
    model, x = build(Config(**TINY)).eval(), pixels(4)
    torch.testing.assert_close(model(x), torch.cat([model(one[None]) for one in x]))


# -------------------------------------------------------------------------------------------------------- the seed


def test_the_seed_decides_the_weights():
    def weights(seed):
        return build(Config(**TINY, seed=seed)).state_dict()

    torch.manual_seed(5)
    first = weights(0)
    torch.manual_seed(6)
    second, other = weights(0), weights(1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["linear.weight"], other["linear.weight"])


def test_build_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    build(Config(**TINY))
    assert torch.equal(torch.get_rng_state(), before)


def test_outline_holds_no_memory_and_the_same_names():
    light, real = build_on_meta(Config(**TINY)), build(Config(**TINY))
    assert {p.device.type for p in light.parameters()} == {"meta"}
    assert {p.device.type for p in real.parameters()} == {"cpu"}
    assert list(light.state_dict()) == list(real.state_dict())


# ------------------------------------------------------------------------------------------------- how it begins


def test_zero_init_makes_every_block_its_shortcut_at_first():
    network = build(Config(num_channels=8, zero_init_residual=True)).eval()
    x = torch.randn(2, 8, 16, 16)
    torch.testing.assert_close(network.stages[0][1](x.relu()), x.relu())
    blocks = [m for m in network.modules() if isinstance(m, ResidualBlock)]
    assert len(blocks) == 11 and not any(block.bn2.weight.any() for block in blocks)


def test_he_init_keeps_the_variance_backward():
    network = build(Config(num_channels=32, init="he"))
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d) and m.bias is None]
    assert len(layers) == 25
    for layer in layers:
        fan_out = layer.out_channels * layer.kernel_size[0] ** 2
        assert layer.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


def test_whitened_patches_have_variance_1_and_no_correlation():
    """Of smoothed noise, which is correlated as photographs are."""
    torch.manual_seed(0)
    images = F.avg_pool2d(torch.randn(64, 3, 36, 36), 5, 1) * 5 + torch.randn(64, 1, 1, 1)
    layer = build(Config(num_channels=16, whitening=True)).stem.conv
    layer.whiten(images)
    patches = F.unfold(images, 3).transpose(1, 2).flatten(0, 1)
    covariance = (patches @ layer.whitening.T).T.cov()
    torch.testing.assert_close(covariance, torch.eye(27), atol=0.05, rtol=0)
    torch.testing.assert_close(layer(images), F.conv2d(images, layer.kernel, padding=1))
    assert not layer.whitening.requires_grad and torch.equal(layer.whitening, layer.whitening.half().float())


def test_whitening_adds_no_parameter_and_folds():
    config = Config(num_channels=16, whitening=True)
    assert parameters(build(config)) == parameters(build(Config(num_channels=16)))
    network, x = build(config).eval(), torch.randn(4, 3, 32, 32)
    network.stem.conv.whiten(x)
    torch.testing.assert_close(fold(network)(x), network(x), atol=1e-4, rtol=1e-4)


def test_whitening_is_counted_as_the_plain_network_and_stays_in_float32_under_autocast():
    config = Config(num_channels=16, whitening=True)
    assert macs(config) == macs(Config(num_channels=16))
    layer = build(config).stem.conv
    layer.whiten(torch.randn(8, 3, 32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.kernel.dtype == torch.float32
        within = layer.kernel
    assert torch.equal(within, layer.kernel)


def test_smaller_images_are_pooled_whole():
    assert build(Config(num_channels=8)).eval()(torch.randn(2, 3, 24, 24)).shape == (2, 10)


@pytest.mark.parametrize("settings", [{}, {"whitening": True}, {"se_placement": "stem"}, {"init": "he"}], ids=str)
def test_building_a_network_does_not_load_the_compiler(settings):
    """Which takes over 100 MB and some seconds, of every process that only classifies an image."""
    code = f"import sys; from cifar_lib import Config, models; models.build(Config(num_channels=8, **{settings})); "
    subprocess.run([sys.executable, "-c", code + "assert 'torch._dynamo' not in sys.modules"], check=True)
