"""Runs that have ended, made up with known numbers, for tests of studies and of their figures."""

import numpy as np

from cifar_lib import runs
from cifar_lib.config import Config
from cifar_lib.runs import Run
from cifar_lib.runs.predictions import Mistakes, Predictions

CURVE = (0.4, 0.6, 0.55, 0.7)


def made(folder, accuracy: float, curve=CURVE, images: int = 1000, data: str = "", facts=None, **settings) -> Run:
    """A run that has ended, with that accuracy on the test set, that curve on validation, and those facts of it."""
    config = Config(max_epochs=len(curve), **settings)
    folder.mkdir(parents=True)
    run = Run(folder)
    (folder / "config.json").write_text(config.model_dump_json())
    known = {"parameters": 7, "train_images": 45000, "device": "cpu: made up", "threads": 2, "precision": "float32"}
    run.record("environment.json", known | {"sha256": [data, config.seed]} | (facts or {}))
    row = dict.fromkeys(runs.COLUMNS, 1.0)
    run.record_history([row | {"epoch": epoch, "valid_accuracy": valid} for epoch, valid in enumerate(curve, 1)])
    labels = np.zeros(images, int)
    predicted = (np.arange(images) >= round(accuracy * images)).astype(int)
    none = np.zeros(0, int)
    mistakes = Mistakes(none, np.zeros((0, 32, 32, 3), np.uint8), none, none, none)
    run.finish(Predictions(labels, predicted, np.eye(10)[predicted]), mistakes)
    return run
