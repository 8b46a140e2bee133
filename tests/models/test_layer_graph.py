"""Laws of the traced network: it is the network as built and as run, and nothing but plain data."""

from dataclasses import asdict

import pytest
import torch
from torch import nn

from cifar_lib.config import PRESETS, Config
from cifar_lib.inference import activations
from cifar_lib.models import layer_graph, resnet
from cifar_lib.models.layer_graph import Block, Op

STEM = [Op("conv", 3), Op("BN"), Op("ReLU")]


def staged(*blocks: int, kernel: int = 3, **others) -> dict:
    count = len(blocks)
    sizes = {"conv_kernel_sizes": [kernel] * count, "shortcut_kernel_sizes": [1] * count}
    return {"num_blocks": blocks, "avg_pool_kernel_size": 1, "num_channels": 8, "param_budget": None} | sizes | others


CONFIGS = {
    "default": {},
    "output": {"drop_placement": "output", "drop": 0.25, "num_channels": 8},
    "stem": {"se_placement": "stem", "drop": 0, "num_channels": 16},
    "bare": {"squeeze_and_excitation": False, "num_channels": 8},
    "whitening": {"whitening": True, "se_placement": "stem", "num_channels": 8},
    "resnet18": PRESETS["resnet18"],
    "one": staged(1, kernel=5, avg_pool_kernel_size=8),
    "two": staged(3, 1, kernel=1, drop_placement="output"),
    "kernels": staged(2, 9, 18, conv_kernel_sizes=[3, 5, 3], shortcut_kernel_sizes=[1, 3, 5]),
    "six": staged(*[2] * 6, num_channels=16),
    "seven": staged(*[1] * 7, num_channels=64),
}
every = pytest.mark.parametrize("name", CONFIGS)


def network(name: str = "", **settings) -> resnet.ResNet:
    return resnet.build_on_meta(Config(**CONFIGS[name] if name else settings))


def traced(**settings) -> dict:
    return {part.name: part for part in layer_graph.trace_layers(network(**settings))}


def block_of(config: Config, stage: int, first: bool) -> Block:
    """What `config` asks for, in the order of the papers."""
    stride = 2 if first and stage else 1
    kernel, drop = config.conv_kernel_sizes[stage], [Op("dropout", p=config.drop)] * bool(config.drop)
    se = [Op("SE")] * (config.squeeze_and_excitation and config.se_placement == "block")
    inner, outer = (drop, []) if config.drop_placement == "branch" else ([], drop)
    before = [Op("conv", kernel, stride), Op("BN"), Op("ReLU"), *inner, Op("conv", kernel), Op("BN"), *se]
    shortcut = (Op("conv", config.shortcut_kernel_sizes[stage], 2), Op("BN")) if stride == 2 else ()
    return Block((*before, Op("add"), Op("ReLU"), *outer), shortcut)


@every
def test_operations_are_those_of_the_config_in_the_order_of_the_pass(name):
    config = Config(**CONFIGS[name])
    _, stem, *stages, pool, linear = layer_graph.trace_layers(network(name))
    at_stem = config.squeeze_and_excitation and config.se_placement == "stem"
    assert stem.blocks == (Block((*STEM, *[Op("SE")] * at_stem)),)
    assert [list(stage.blocks) for stage in stages] == [
        [block_of(config, i, not k) for k in range(count)] for i, count in enumerate(config.num_blocks)
    ]
    side = config.avg_pool_kernel_size
    assert (pool.blocks, linear.blocks) == ((Block((Op("pool", side, side),)),), (Block((Op("linear"),)),))


@every
def test_parameters_are_those_of_the_model(name):
    parts = layer_graph.trace_layers(network(name))
    table = resnet.parameter_table(network(name)).parameters
    assert sum(part.parameters for part in parts) == table.total
    assert {part.name: part.parameters for part in parts if part.parameters} == table.drop("total").to_dict()


def test_parameters_of_the_reference():
    assert sum(part.parameters for part in traced().values()) == 4_733_610


@every
def test_shapes_are_those_of_an_image_on_its_way(name):
    built = resnet.build(Config(**CONFIGS[name] | {"num_channels": 4}))
    table = activations.shapes(built, torch.zeros(1, 3, 32, 32)).rename({"logits": "linear"})
    parts = layer_graph.trace_layers(built)
    shapes = [(part.name, part.shape[0], "×".join(map(str, part.shape[1:])) or "1") for part in parts]
    assert shapes == list(table[["channels", "map"]].itertuples(name=None))


def changed(monkeypatch, forward) -> Block:
    monkeypatch.setattr(resnet.ResidualBlock, "forward", forward)
    return traced(num_channels=8)["stage 2"].blocks[0]


def test_another_forward_pass_is_another_block(monkeypatch):
    block = changed(monkeypatch, lambda self, x: self.se(self.shortcut(x) + self.bn1(self.conv1(torch.relu(x)))))
    assert [op.kind for op in block.ops] == ["ReLU", "conv", "BN", "add", "SE"]
    assert [op.kind for op in block.shortcut] == ["conv", "BN"]
    block = changed(monkeypatch, lambda self, x: self.relu1(self.conv2(self.conv1(x))))
    assert [op.kind for op in block.ops] == ["conv", "conv", "ReLU", "dropout"] and block.shortcut is None


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: self.conv2(self.conv1(x)) + self.shortcut(x) + self.shortcut(x),
        lambda self, x: self.conv2(self.conv1(x)) * self.shortcut(x),
        lambda self, x: self.conv2(y := self.conv1(x)) + y,
        lambda self, x: self.conv1(x) + 1,
        lambda self, x: (y := self.conv1(x)) + y,
        lambda self, x: self.conv1(x) * self.bn1.weight[:, None, None],
    ],
    ids=["two shortcuts", "a product", "a fork inside", "a number", "twice itself", "a weight"],
)
def test_what_is_no_row_with_one_shortcut_is_refused(monkeypatch, forward):
    with pytest.raises(ValueError, match="one shortcut added to it"):
        changed(monkeypatch, forward)


def test_another_layer_is_called_by_its_name():
    net = network(num_channels=8)
    net.stem.relu = nn.Hardswish()
    assert [op.kind for op in layer_graph.trace_layers(net)[1].blocks[0].ops] == ["conv", "BN", "Hardswish"]


def test_the_network_is_left_as_it_is_and_the_parts_hold_no_tensor():
    net = resnet.build(Config(num_channels=8)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    parts = layer_graph.trace_layers(net)
    assert net.training and all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert parts == layer_graph.trace_layers(net)
    assert "torch" not in repr([asdict(part) for part in parts]) and "tensor" not in repr(parts)
