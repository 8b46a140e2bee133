"""Memory that is freed stays, and what was used is known."""

import subprocess
import sys

import pytest
import torch

from cifar_lib import paths
from cifar_lib.device import memory

COUNT = """
import resource, torch
from cifar_lib.device import memory
kept = {reuse}
make = lambda: torch.zeros(2**23).add_(1)  # 32 MiB
for _ in range(10): make()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10): make()
print(kept, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_large_tensor_is_not_fetched_page_by_page_again():
    """32 MiB are 8,192 pages; kept, they cost next to no page fault."""
    code = COUNT.format(reuse="memory.reuse()")
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    assert kept == "True" and float(faults) < 100


def test_peaks():
    before = memory.resident_peak()
    big = torch.ones(before // 4 + 2**26)  # more than was ever held
    assert memory.resident_peak() >= before + 2**27 and big[0] == 1
    assert memory.gpu_peak(torch.device("cpu")) is None
