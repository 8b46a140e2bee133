"""ReLU and dropout in one: the mathematics of the two, from random bits of its own."""

import pytest
import torch
from torch import nn

from cifar_lib.models.dropout import LEVELS, ReLUDropout, kept_levels

SHAPES = [(1,), (7,), (3, 5, 4, 4), (8, 16, 9, 9)]


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.2, 0.5])
def test_output_is_zero_or_the_scaled_relu_and_the_gradient_follows(p, dtype, form):
    torch.manual_seed(0)
    x = torch.randn(16, 32, 10, 10).to(dtype).contiguous(memory_format=form).requires_grad_()
    y = ReLUDropout(p).train()(x)
    scale = LEVELS / kept_levels(p)
    kept = y != 0
    assert y.dtype == dtype and y.is_contiguous(memory_format=form)
    torch.testing.assert_close(y[kept], torch.relu(x)[kept] * scale)
    given = torch.randn_like(y)
    y.backward(given)
    torch.testing.assert_close(x.grad, torch.where(kept, given * scale, torch.zeros_like(given)))


@pytest.mark.parametrize("p", [0.05, 0.2, 0.5, 0.9])
def test_drops_as_often_as_asked_each_value_on_its_own(p):
    """Of a million values the share kept is within five standard deviations, and neighbours tell nothing."""
    torch.manual_seed(1)
    kept = (ReLUDropout(p).train()(torch.ones(1_000_000)) != 0).double()
    assert kept.mean().item() == pytest.approx(1 - p, abs=5 * (p * (1 - p) / 1e6) ** 0.5)
    for step in (1, 2, 3, 4, 64):
        pair = torch.stack([kept[:-step], kept[step:]])
        assert abs(torch.corrcoef(pair)[0, 1].item()) < 0.005
    assert (kept.sum() * LEVELS / kept_levels(p)).item() == pytest.approx(1_000_000, rel=0.02)


@pytest.mark.parametrize("shape", SHAPES)
def test_same_seed_same_mask_and_any_number_of_values(shape):
    x = torch.ones(shape)
    masks = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        masks.append(ReLUDropout(0.5).train()(x))
    assert torch.equal(masks[0], masks[1]) and masks[0].shape == x.shape
    assert x.numel() < 50 or not torch.equal(masks[0], masks[2])


@pytest.mark.parametrize("p", [0.0, 0.2])
def test_without_training_it_is_relu(p):
    x = torch.randn(4, 5)
    assert torch.equal(ReLUDropout(p).eval()(x), torch.relu(x))
    assert torch.equal(ReLUDropout(0.0).train()(x), torch.relu(x))


@pytest.mark.parametrize(("p", "levels"), [(0.2, 52429), (0.5, 32768), (1e-9, 65536), (1 - 1e-9, 1)])
def test_levels(p, levels):
    assert kept_levels(p) == levels


def test_keeps_one_tensor_where_torch_keeps_three():
    """For the way back: the output alone, which the next convolution keeps anyway; nn's two keep theirs and a mask."""

    def kept(layer: nn.Module) -> int:
        sizes = {}
        remember = lambda t: sizes.update({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()}) or t  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(remember, lambda t: t):
            y = layer(torch.randn(64, 64, requires_grad=True))
        return sum(size for place, size in sizes.items() if place != y.untyped_storage().data_ptr())

    torch.manual_seed(0)
    assert kept(ReLUDropout(0.2).train()) == 0
    assert kept(nn.Sequential(nn.ReLU(), nn.Dropout(0.2)).train()) >= 64 * 64 * 4
