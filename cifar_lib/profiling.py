"""Where the time of a step goes, by torch's profiler."""

import os
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from cifar_lib import work


def rows(step: Callable[[], None], steps: int = 3) -> list[dict]:
    """Run `step` once to warm up and `steps` times under the profiler; a row for each operation, the longest first.

    A row has name, kind, calls a step, and seconds a step: of its own work, not of what it calls; on a GPU the
    kernels' own.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it reports its own beginning and end, and that no GPU is there
    gpu = torch.cuda.is_available()
    step()
    if gpu:
        torch.cuda.synchronize()  # or the warm-up's kernels would end within the profile
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * gpu) as profiled:
        for _ in range(steps):
            step()
    found = []
    for event in profiled.key_averages():
        on_gpu = event.device_type == torch.autograd.DeviceType.CUDA
        if on_gpu and event.is_user_annotation:
            continue  # a region such as Optimizer.step, over kernels that have rows of their own
        micros = event.self_device_time_total if gpu else event.self_cpu_time_total
        if micros > 0 and on_gpu == gpu:
            values = (event.key, work.kind(event.key), event.count / steps, micros / 1e6 / steps)
            found.append(dict(zip(("name", "kind", "calls", "seconds"), values, strict=True)))
    return sorted(found, key=lambda row: -row["seconds"])


def by_kind(found: list[dict]) -> dict[str, float]:
    """Seconds a step of each kind, the longest first."""
    kinds: dict[str, float] = {}
    for row in found:
        kinds[row["kind"]] = kinds.get(row["kind"], 0.0) + row["seconds"]
    return dict(sorted(kinds.items(), key=lambda pair: -pair[1]))
