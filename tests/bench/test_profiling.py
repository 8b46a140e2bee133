"""A profile holds what ran: its calls are exact, its seconds within the time that passed."""

import time

import torch
from torch import nn

from cifar_lib.bench import op_costs


def test_rows_count_the_calls_and_stay_within_the_wall_time():
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16))
    x = torch.randn(8, 3, 32, 32)
    took = []

    def step():
        began = time.perf_counter()
        network(x).sum().backward()
        took.append(time.perf_counter() - began)

    rows = op_costs.profile(step, steps=4)
    calls = {row["name"]: row["calls"] for row in rows}
    assert len(took) == 5 and calls["aten::convolution_backward"] == 2 and calls["aten::native_batch_norm"] == 1
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds, reverse=True) and seconds[-1] > 0
    assert sum(seconds) <= 1.05 * sum(took[1:]) / 4
    assert {"convolution, forward", "convolution, backward", "batch norm"} <= {row["kind"] for row in rows}
