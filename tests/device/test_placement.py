"""Where and how a run computes."""

import pytest
import torch

from cifar_lib.config import Config
from cifar_lib.device import placement


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_precision_as_asked(name):
    assert placement.precision(Config(precision=name, device="cpu")) == getattr(torch, name)


def _cpu(monkeypatch, name: str, avx512_bf16: bool, amx: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(placement, "processor", lambda: name)


@pytest.mark.parametrize(
    "name, avx512_bf16, amx, expected",
    [
        ("AMD EPYC", True, False, torch.bfloat16),
        ("AMD EPYC", False, False, torch.float32),
        ("Intel(R) Xeon(R) Processor", True, True, torch.bfloat16),
        ("Intel(R) Xeon(R) Processor", True, False, torch.float32),
        ("Apple M2", False, False, torch.float32),
    ],
)
def test_auto_is_bfloat16_on_a_cpu_that_is_faster_so(name, avx512_bf16, amx, expected, monkeypatch):
    _cpu(monkeypatch, name, avx512_bf16, amx)
    assert placement.precision(Config(device="cpu")) == expected


@pytest.mark.parametrize("has", [True, False])
def test_auto_is_bfloat16_on_a_gpu_that_has_it(has, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has)
    assert (placement.precision(Config(device="cuda")) == torch.bfloat16) == has
    assert placement.precision(Config(device="mps")) == torch.float32


def test_channels_last_but_for_narrow_networks_on_a_cpu():
    """oneDNN's gradient of the 1x1 convolution of stride 2 corrupts memory there with fewer than 16 channels."""
    forms = {
        (n, d): placement.memory_format(Config(num_channels=n, device=d)) for n in (15, 16) for d in ("cpu", "cuda")
    }
    narrow = [where for where, form in forms.items() if form == torch.contiguous_format]
    assert narrow == [(15, "cpu")]


def test_autocast_remembers_no_cast():
    with placement.autocast(Config(device="cpu", precision="bfloat16")):
        assert torch.is_autocast_enabled("cpu") and not torch.is_autocast_cache_enabled()
    with placement.autocast(Config(device="cpu", precision="float32")):
        assert not torch.is_autocast_enabled("cpu")
