"""Laws of the machine's limits: the fastest computation counts, FLOPs are torch's, and TF32 ends where it began."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from cifar_lib.bench import limits


def test_the_peak_rate_is_of_the_fastest_computation(monkeypatch):
    """So a slow library for matrix products does not make a limit that training steps exceed."""
    monkeypatch.setattr(limits, "measure", lambda act, seconds: [1.0])
    monkeypatch.setattr(limits, "_product_rates", lambda where, precision: {"a": 2.0, "b": 1.0})
    for rate, by in ((1.0, "a"), (3.0, "convolution, torch")):
        monkeypatch.setattr(limits, "_convolution_rate", lambda where, precision, rate=rate: rate)
        found = limits.measured(torch.device("cpu"))
        for precision in ("float32", "bfloat16"):
            assert (found[f"peak_{precision}"], found[f"peak_{precision}_by"]) == (max(2.0, rate), by)


def test_rates_count_the_flops_that_torch_counts(monkeypatch):
    counted = []

    def measure(act, seconds):
        with FlopCounterMode(display=False) as counter:
            act()
        counted.append(counter.get_total_flops())
        return [1.0]

    monkeypatch.setattr(limits, "measure", measure)
    assert limits._convolution_rate(torch.device("cpu"), "float32") == counted[-1] > 0
    assert limits._product_rates(torch.device("cpu"), "bfloat16") == {"matrix product, torch": counted[-1]}


def test_tf32_ends_with_what_is_done_in_it():
    before = torch.get_float32_matmul_precision()
    assert limits._in_tf32(torch.get_float32_matmul_precision) == "high"
    assert torch.get_float32_matmul_precision() == before != "high"
