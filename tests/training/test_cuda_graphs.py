"""The recording, with a driver made up: what it does when it breaks. What it records: see test_gears."""

from contextlib import contextmanager, nullcontext
from unittest import mock

import pytest
import torch

from cifar_lib.training.cuda_graphs import WARM_UP, CudaGraphs


@pytest.fixture
def driver(monkeypatch) -> mock.Mock:
    """As torch.cuda: a recording that fails ends with words of its own, and leaves its stream in place."""
    made_up = mock.Mock(default_generators=[mock.Mock()])
    made_up.current_stream.return_value = mock.Mock(device_index=0)
    made_up.stream = lambda stream: nullcontext()

    @contextmanager
    def graph(graph, pool, capture_error_mode):
        try:
            yield
        except Exception:
            raise RuntimeError("failed due to a previous error during capture") from None

    made_up.graph = graph
    monkeypatch.setattr(torch, "cuda", made_up)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", made_up.end_allocate, raising=False)
    return made_up


def test_a_recording_is_warmed_up_and_replayed_by_the_graph(driver):
    work = mock.Mock()
    assert CudaGraphs()(work) is driver.CUDAGraph.return_value.replay
    assert work.call_count == WARM_UP + 1 and not driver.set_stream.called


def test_a_broken_recording_says_its_cause_and_is_left(driver):
    """Stream and generator are set right, or no plain step with dropout would work after it."""
    cause = ValueError("operation not permitted")
    with pytest.raises(ValueError, match="^operation not permitted$"):
        CudaGraphs()(mock.Mock(side_effect=[None] * WARM_UP + [cause]))
    driver.set_stream.assert_called_once_with(driver.current_stream.return_value)
    driver.end_allocate.assert_called_once_with(0, driver.graph_pool_handle.return_value)
    (generator,) = driver.default_generators
    generator.graphsafe_set_state.assert_called_once_with(generator.clone_state.return_value)


def test_a_recording_that_breaks_at_its_end_says_so(driver):
    @contextmanager
    def graph(graph, pool, capture_error_mode):
        yield
        raise RuntimeError("invalidated")

    driver.graph = graph
    with pytest.raises(RuntimeError, match="^invalidated$"):
        CudaGraphs()(mock.Mock())
    assert driver.set_stream.called
