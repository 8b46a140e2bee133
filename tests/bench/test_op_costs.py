"""What a step has to do, held to closed forms."""

import pytest

from cifar_lib.bench import op_costs
from cifar_lib.config import PRESETS, Config
from cifar_lib.models import resnet


@pytest.mark.parametrize("settings", [{}, {"se_placement": "stem"}, {"drop": 0}, PRESETS["resnet18"]])
def test_flops_are_three_forward_passes_less_the_gradient_of_the_images(settings):
    """Backward costs two forward passes, but nobody asks for the images' gradient; a multiply-add is two FLOPs."""
    config = Config(**settings)
    macs, counted = resnet.macs(config), op_costs.training(config)
    stem = resnet.parameters(resnet.build_on_meta(config).stem.conv) * 32 * 32
    assert sum(kind["flops"] for kind in counted.values()) == 6 * macs["total"] - 2 * stem


def test_the_known_figure():
    """4.789 GFLOP an image, 0.2394 PFLOP an epoch."""
    flops = sum(kind["flops"] for kind in op_costs.training(Config()).values())
    assert flops == 4_788_808_704 and flops * 50_000 == pytest.approx(0.2394e15, rel=1e-3)


def test_images_count_each_for_themselves():
    one, two = (op_costs.training(Config(batch_size=size)) for size in (64, 128))
    for kind in ("convolution, forward", "convolution, backward"):
        assert one[kind]["flops"] == two[kind]["flops"]


def test_every_image_sized_operation_has_a_kind():
    counted = op_costs.training(Config())
    elements = {kind: counts["elements"] for kind, counts in counted.items()}
    assert elements["other"] < 0.001 * sum(elements.values())
    assert set(elements) <= op_costs.KINDS.keys() | {"other"}
    assert all(elements[kind] > 1e6 for kind in ("convolution, forward", "batch norm", "activation, dropout"))


def test_elements_of_a_convolution_are_its_tensors():
    """Stem, 25 convolutions and SE's: each reads its maps and weights and writes its maps, once."""
    config = Config(num_blocks=[1], conv_kernel_sizes=[3], shortcut_kernel_sizes=[1], avg_pool_kernel_size=32)
    config = Config(**config.model_dump() | {"squeeze_and_excitation": False, "batch_size": 1})
    maps, image = 64 * 32 * 32, 3 * 32 * 32
    expected = (image + 27 * 64 + maps) + 2 * (maps + 9 * 64 * 64 + maps)
    assert op_costs.training(config)["convolution, forward"]["elements"] == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::convolution_backward", "convolution, backward"),
        ("aten::mkldnn_convolution", "convolution, forward"),
        ("aten::native_batch_norm_backward", "batch norm"),
        ("aten::threshold_backward", "activation, dropout"),
        ("aten::random_", "activation, dropout"),
        ("aten::_fused_sgd_", "optimizer"),
        ("aten::cudnn_convolution", "convolution, forward"),
        ("aten::cudnn_batch_norm_backward", "batch norm"),
        ("aten::_foreach_lerp_", "optimizer"),
        ("aten::mul", "squeeze-excitation, residual"),
        ("aten::index", "input"),
        ("aten::something_new", "other"),
    ],
)
def test_kind(name, kind):
    assert op_costs.kind(name) == kind
