"""A run is a folder of plain files, which a training leaves and everything after it only reads. No torch.

config.json  environment.json  history.csv  confusions.csv  model.safetensors  mistakes.npz  predictions.npz  SHA256SUMS
last.pt  previous.pt  events…
Whoever shows or compares runs imports this and nothing of the training. Begin with `run.Run`, then `folders`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "folders": "checked_name default_name check_same extend names open start",
        "history": "COLUMNS",
        "plain_network": "PlainNetwork",
        "predictions": "Mistakes Predictions",
        "run": "EXPLAINED FILES SHIFT_COLUMNS SUMS WEIGHTS DamagedRun Run RunError",
    },
)
