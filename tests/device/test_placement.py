"""Where and how a run computes."""

import pytest
import torch

from cifar_lib.config import Config
from cifar_lib.device import placement


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_precision_as_asked(name):
    assert placement.precision(Config(precision=name, device="cpu")) == getattr(torch, name)


@pytest.mark.parametrize("has", [True, False])
def test_auto_is_bfloat16_where_the_machine_has_it(has, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has)
    for device in ("cpu", "cuda"):
        assert (placement.precision(Config(device=device)) == torch.bfloat16) == has
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
