"""The networks that come with the project: the narrowest is the one that a page can hold."""

from study_runs import made, with_weights

from cifar_lib.evidence import networks

NARROW = {"num_channels": 4, "num_blocks": [1, 1], "conv_kernel_sizes": [3, 3], "shortcut_kernel_sizes": [1, 1]}
NARROW |= {"avg_pool_kernel_size": 16, "drop": 0, "device": "cpu"}


def test_narrowest_is_the_smallest_that_has_weights_and_fits(tmp_path, monkeypatch):
    run = with_weights(made(tmp_path / "run", 0.5, **NARROW))
    size = (run.folder / "model.safetensors").stat().st_size
    monkeypatch.setattr(networks, "runs", lambda: {4: run, 64: None, "tiny": None})
    assert networks.narrowest().run == networks.narrowest(size).run == run
    assert networks.narrowest(size - 1) is None
    monkeypatch.setattr(networks, "runs", lambda: {"tiny": run})
    assert networks.narrowest() is None
