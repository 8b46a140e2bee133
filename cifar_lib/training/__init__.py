"""A `Config` becomes epochs, a checkpoint, a run.

Notebook 03 and the command line import it. Begin with `train_loop.fit`; a step is `train_step.TrainStep.step`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "train_loop": "finish fit train_epoch",
        "train_state": "TrainError Training prepare silent",
        "numerics": "NumericError",
    },
)
