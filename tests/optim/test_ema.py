"""The moving average of weights: its closed form, and nothing lost by a save."""

import copy

import pytest
import torch

from cifar_lib.optim.ema import Average


def walk(average: Average, values: list[float]) -> list[float]:
    """The average after each of the weight's values."""
    seen = []
    for value in values:
        average.params[0].data.fill_(value)
        average.update()
        seen.append(average.shadow[0].item())
    return seen


def test_begins_as_the_mean_and_forgets_where_it_stood():
    average = Average([torch.full((1,), 1e6)], decay=0.999)
    assert walk(average, [1.0, 2.0, 3.0, 4.0]) == pytest.approx([1.0, 1.5, 2.0, 2.5])


def test_then_it_is_exponential():
    """decay 0.5: from the third step on the half of the way, as 1/2 >= 1/n."""
    average = Average([torch.zeros(1)], decay=0.5)
    assert walk(average, [8.0, 4.0, 0.0, 0.0, 1.0]) == pytest.approx([8.0, 6.0, 3.0, 1.5, 1.25])


def test_no_decay_is_the_weights_themselves():
    assert walk(Average([torch.zeros(1)], decay=0.0), [3.0, -1.0, 7.0]) == [3.0, -1.0, 7.0]


def test_agrees_with_torchs_own():
    """torch.optim.swa_utils with the same decay, once both have the same average."""
    from torch.optim.swa_utils import get_ema_multi_avg_fn

    torch.manual_seed(0)
    weights = [torch.randn(4, 3), torch.randn(5)]
    average = Average(weights, 0.9)
    for _ in range(10):  # 1 / 10 = 1 - 0.9
        average.update()
    theirs, blend = [w.clone() for w in average.shadow], get_ema_multi_avg_fn(0.9)
    for _ in range(7):
        for w in weights:
            w.add_(torch.randn_like(w))
        average.update()
        blend(theirs, weights, None)
    for a, b in zip(average.shadow, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_slow_weights_are_held_and_given_back():
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    average = Average([weight], 0.5)
    average.update()
    weight.data.fill_(9.0)
    with average.shadow_weights():
        assert weight.tolist() == [1.0, 2.0]
    assert weight.tolist() == [9.0, 9.0]


def test_a_saved_one_goes_on_to_the_same_bits():
    torch.manual_seed(0)
    a = Average([torch.randn(1)], 0.7)
    walk(a, [1.0, 2.0])
    b = Average([a.params[0].clone()], 0.7)
    b.load_state_dict(copy.deepcopy(a.state_dict()))
    assert walk(a, [5.0, 1.0, 3.0]) == walk(b, [5.0, 1.0, 3.0])
