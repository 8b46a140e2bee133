"""Times are of one image, ratios of the same round, and a busy machine is refused."""

import time

import numpy as np
import pytest

from cifar_lib.edge import latency

IMAGES = np.zeros((3, 32, 32, 3), np.uint8)


def busy(seconds: float):
    """Computes for so long, whatever it is asked."""

    def ask(images: np.ndarray) -> None:
        assert len(images) == 1
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return ask


def test_twice_as_fast_is_seen(monkeypatch):
    monkeypatch.setattr(latency, "BUSY", 50)  # tests share the machine
    found = latency.measure({"slow": busy(0.02), "fast": busy(0.01)}, IMAGES, 4, "slow")
    assert found["slow"]["ratio"] == 1 and found["slow"]["cpu_ms"] == pytest.approx(20, rel=0.2)
    assert found["fast"]["cpu_ms"] == pytest.approx(10, rel=0.2)
    row = found["fast"]
    assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"] and row["ms"] <= row["ms_95"]


def test_a_busy_machine_is_refused_in_one_line():
    """Somebody else has the core: wall time passes and CPU time does not."""
    with pytest.raises(latency.BusyMachine, match=r"^timing: wall time is .* times CPU time, expected at most 1\.1"):
        latency.measure({"waits": lambda images: time.sleep(0.01)}, IMAGES, 2, "waits")


def test_the_ratio_is_of_the_round(monkeypatch):
    """Of a machine that becomes three times as slow half way, the ratio is what it was."""
    turns = iter([[8.0, 8.0], [4.0, 4.0], [24.0, 24.0], [12.0, 12.0]])
    monkeypatch.setattr(latency, "_turn", lambda ask, images: (values := next(turns), values))
    found = latency.measure({"slow": len, "fast": len}, IMAGES, 2, "slow")
    assert found["fast"]["ratio"] == found["fast"]["ratio_low"] == found["fast"]["ratio_high"] == 2
