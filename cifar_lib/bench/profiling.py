"""Where the time of a step goes, by torch's profiler."""

import os
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from cifar_lib.bench import op_costs


def rows(step: Callable[[], None], steps: int = 3) -> list[dict]:
    """Run `step` once to warm up and `steps` times under the profiler; a row for each operation, the longest first.

    A row has name, kind, calls a step, and seconds a step: of its own work, not of what it calls; where a GPU was used,
    the kernels' own.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it reports its own beginning and end, and that no GPU is there
    there = torch.cuda.is_available()
    step()
    if there:
        torch.cuda.synchronize()  # or the warm-up's kernels would end within the profile
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * there
    with profile(activities=activities, acc_events=True) as profiled:  # without it torch 2.11 warns of lost cycles
        for _ in range(steps):
            step()
    events = profiled.key_averages()
    kernels = [event for event in events if event.device_type == torch.autograd.DeviceType.CUDA]
    # Not regions such as Optimizer.step, over kernels that have rows of their own.
    took = [(event, event.self_device_time_total) for event in kernels if not event.is_user_annotation]
    took = took or [(event, event.self_cpu_time_total) for event in events]
    found = [_row(event, micros, steps) for event, micros in took if micros > 0]
    return sorted(found, key=lambda row: -row["seconds"])


def _row(event, micros: float, steps: int) -> dict:
    about = {"name": event.key, "kind": op_costs.kind(event.key)}
    return about | {"calls": event.count / steps, "seconds": micros / 1e6 / steps}
