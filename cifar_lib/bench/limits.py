"""A machine's limits: how fast it moves memory and how fast it calculates, by the fastest of several computations."""

from collections.abc import Callable

import torch
from torch.nn.functional import conv2d

from cifar_lib.bench.parts import measure


def measured(where: torch.device) -> dict:
    """Bytes a second of a + s b -> c; by precision the peak rate found, FLOP a second, and by which computation."""
    elements = 2**28 if where.type == "cuda" else 2**26
    a, b, c = (torch.ones(elements, device=where) for _ in range(3))
    found = {"bandwidth": 12 * elements / min(measure(lambda: torch.add(a, b, alpha=2.0, out=c), 1))}
    for precision in ("float32", "bfloat16"):
        rates = _product_rates(where, precision) | {"convolution, torch": _convolution_rate(where, precision)}
        by = max(rates, key=rates.get)
        found |= {f"peak_{precision}": rates[by], f"peak_{precision}_by": by}
    return found


def _product_rates(where: torch.device, precision: str) -> dict[str, float]:
    """FLOP a second of large square matrix products, by the library that computes them."""
    size = 8192 if where.type == "cuda" else 2048
    a = torch.randn(size, size, device=where, dtype=getattr(torch, precision))
    seconds = {"matrix product, torch": min(measure(lambda: a @ a, 1))}
    if precision == "float32" and where.type == "cpu":
        b = a.numpy()
        seconds["matrix product, NumPy's OpenBLAS"] = min(measure(lambda: b @ b, 1))
    elif precision == "float32":  # cuDNN's convolutions take TF32 by default, and no loop changes it
        seconds["matrix product, torch, in TF32"] = _in_tf32(lambda: min(measure(lambda: a @ a, 1)))
    return {by: 2 * size**3 / took for by, took in seconds.items()}


def _convolution_rate(where: torch.device, precision: str) -> float:
    """FLOP a second of a 3x3 convolution of 256 channels, channels last: on some CPUs faster than any product."""
    form = {"device": where, "dtype": getattr(torch, precision)}
    x = torch.randn(1024 if where.type == "cuda" else 128, 256, 18, 18, **form)
    kernel = torch.randn(256, 256, 3, 3, **form)
    x, kernel = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, kernel))
    seconds = min(measure(lambda: conv2d(x, kernel), 1))
    return 2 * kernel.numel() * len(x) * 16 * 16 / seconds


def _in_tf32(act: Callable[[], float]) -> float:
    """What `act` gives while float32 matrix products of a GPU round their factors to TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        return act()
    finally:
        torch.set_float32_matmul_precision(before)
