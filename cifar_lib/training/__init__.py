"""A `Config` becomes epochs, a checkpoint, a run.

Notebook 03 and the command line import it. Begin with `train_loop.fit`; a step is `train_step.Stepper.step`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "train_loop": "finish fit train_epoch",
        "train_state": "TrainError Training prepare silent",
        "numerics": "NumericError",
        "checkpoint": "",
        "cuda_graphs": "",
        "environment": "",
        "execution_mode": "",
        "norm_statistics": "",
        "train_step": "",
    },
)
