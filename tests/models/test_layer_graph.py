"""Laws of the outline: it is the network as built and as run, and nothing but plain data."""

from dataclasses import asdict

import pytest
import torch
from torch import nn

from cifar_lib.config import PRESETS, Config
from cifar_lib.inference import activations
from cifar_lib.models import layer_graph, resnet

STEM = ["convolution", "batch norm", "ReLU"]
BLOCK = [*STEM, "dropout", "convolution", "batch norm", "SE", "add", "ReLU"]
CONFIGS = {
    "default": {},
    "small": {"num_channels": 16},
    "whitened": {"whitening": True, "num_channels": 16},
    "stem": {"se_placement": "stem", "drop": 0},
    "bare": {"squeeze_and_excitation": False, "num_channels": 8},
    "resnet18": PRESETS["resnet18"],
    "one": {"num_blocks": [1], "conv_kernel_sizes": [5], "shortcut_kernel_sizes": [1]},
    "wide shortcuts": {"shortcut_kernel_sizes": [1, 3, 5], "num_channels": 8},
}


def outline(**settings) -> dict:
    return {part.name: part for part in layer_graph.trace_layers(resnet.build_on_meta(Config(**settings)))}


def kinds(ops) -> list[str]:
    return [op.kind for op in ops]


@pytest.mark.parametrize("settings", CONFIGS.values(), ids=CONFIGS)
def test_parameters_are_those_of_the_model(settings):
    network = resnet.build_on_meta(Config(**settings))
    parts = layer_graph.trace_layers(network)
    assert sum(part.parameters for part in parts) == resnet.parameters(network)
    table = resnet.parameter_table(network).parameters.drop("total")
    assert {part.name: part.parameters for part in parts if part.parameters} == table.to_dict()


def test_parameters_of_the_reference():
    assert sum(part.parameters for part in outline().values()) == 4_733_610


@pytest.mark.parametrize("settings", CONFIGS.values(), ids=CONFIGS)
def test_shapes_are_those_of_an_image_on_its_way(settings):
    config = Config(**settings | {"num_channels": 8})
    network = resnet.build(config)
    table = activations.shapes(network, torch.zeros(1, 3, 32, 32)).rename({"logits": "linear"})
    parts = [part for part in layer_graph.trace_layers(network) if part.name != "flatten"]
    assert [part.name for part in parts] == list(table.index)
    assert [part.shape[0] for part in parts] == table.channels.tolist()
    assert ["×".join(map(str, part.shape[1:])) or "1" for part in parts] == table["map"].tolist()
    assert [len(p.blocks) for p in parts if p.name.startswith("stage")] == list(config.num_blocks)


def test_operations_are_in_the_order_of_the_pass():
    parts = outline()
    assert kinds(parts["stem"].blocks[0].way) == STEM
    for block in (block for name in ("stage 1", "stage 2", "stage 3") for block in parts[name].blocks):
        assert kinds(block.way) == BLOCK
        assert (block.shortcut.start, block.shortcut.end) == (0, BLOCK.index("add"))
        assert [op.kernel for op in block.way if op.kernel] == [3, 3] and block.way[BLOCK.index("dropout")].p == 0.2
    assert [kinds(parts[name].blocks[0].way) for name in ("pool", "linear")] == [["pool"], ["linear"]]


def test_only_a_block_that_changes_the_size_has_a_convolution_in_its_shortcut():
    parts = outline(shortcut_kernel_sizes=[1, 3, 5], num_channels=8)
    for number, kernel in (("1", 0), ("2", 3), ("3", 5)):
        first, *others = parts[f"stage {number}"].blocks
        assert [(op.kind, op.kernel, op.stride) for op in first.shortcut.ops if op.kernel] == (
            [("convolution", kernel, 2)] if kernel else []
        )
        assert first.way[0].stride == (2 if kernel else 1)
        assert not any(block.shortcut.ops for block in others)


def test_what_is_not_in_the_network_is_not_in_the_outline():
    stem = outline(se_placement="stem", drop=0)
    assert kinds(stem["stem"].blocks[0].way) == [*STEM, "SE"]
    bare = outline(squeeze_and_excitation=False, drop=0)
    assert kinds(bare["stem"].blocks[0].way) == STEM
    for parts in (stem, bare):
        assert kinds(parts["stage 3"].blocks[1].way) == [k for k in BLOCK if k not in ("SE", "dropout")]


def changed(monkeypatch, forward) -> layer_graph.Block:
    monkeypatch.setattr(resnet.ResidualBlock, "forward", forward)
    return outline(num_channels=8)["stage 2"].blocks[0]


def test_another_order_is_another_outline(monkeypatch):
    def forward(self, x):
        x = torch.relu(x)
        y = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        return self.se(self.shortcut(x) + y)

    block = changed(monkeypatch, forward)
    assert kinds(block.way) == ["ReLU", "convolution", "batch norm", "convolution", "batch norm", "add", "SE"]
    assert kinds(block.shortcut.ops) == ["convolution", "batch norm"]
    assert (block.shortcut.start, block.shortcut.end) == (1, 5)


def test_a_block_without_shortcut(monkeypatch):
    block = changed(monkeypatch, lambda self, x: self.relu1(self.conv2(self.conv1(x))))
    assert kinds(block.way) == ["convolution", "convolution", "ReLU", "dropout"] and block.shortcut is None


def test_two_ways_round_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="at most one round it"):
        changed(monkeypatch, lambda self, x: self.conv2(self.conv1(x)) + self.shortcut(x) + self.shortcut(x))


def test_another_layer_is_called_by_its_name():
    network = resnet.ResNet(Config(num_channels=8))
    network.stem.relu = nn.Hardswish()
    assert kinds(layer_graph.trace_layers(network)[1].blocks[0].way) == ["convolution", "batch norm", "Hardswish"]


def test_the_network_is_left_as_it_is_and_the_outline_holds_no_tensor():
    network = resnet.build(Config(num_channels=8)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    parts = layer_graph.trace_layers(network)
    assert network.training and all(torch.equal(before[name], v) for name, v in network.state_dict().items())
    assert parts == layer_graph.trace_layers(network)
    assert "torch" not in repr([asdict(part) for part in parts]) and "tensor" not in repr(parts)
